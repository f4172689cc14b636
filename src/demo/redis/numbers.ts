/** Numbers in arguments and values, with Redis' strictness: 64-bit integers, doubles, and decimals for …FLOAT. */
import { CommandError, NOT_FLOAT, NOT_INTEGER } from "./errors.ts";

export const INT64_MIN = -(2n ** 63n);
export const INT64_MAX = 2n ** 63n - 1n;

/** The 64-bit integer that the whole text spells, or null: no plus sign, no leading zero, no spaces. */
export function parseInteger(text: string): bigint | null {
  if (!/^(0|-?[1-9]\d{0,18})$/.test(text)) return null;
  const value = BigInt(text);
  return value < INT64_MIN || value > INT64_MAX ? null : value;
}

/** @throws CommandError with `message` */
export function integer(text: string, message = NOT_INTEGER): bigint {
  const value = parseInteger(text);
  if (value === null) throw new CommandError(message);
  return value;
}

/** An index or count; beyond 2^53 it is only nearly right, which is as good as infinite. */
export function index(text: string, message = NOT_INTEGER): number {
  return Number(integer(text, message));
}

/** The double that the whole text spells, or null. */
export function parseDouble(text: string): number | null {
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
    const value = Number(text);
    return Number.isFinite(value) ? value : null;
  }
  if (/^\+?inf(inity)?$/i.test(text)) return Infinity;
  return /^-inf(inity)?$/i.test(text) ? -Infinity : null;
}

/** @throws CommandError with `message` */
export function double(text: string, message = NOT_FLOAT): number {
  const value = parseDouble(text);
  if (value === null) throw new CommandError(message);
  return value;
}

/**
 * Sum of two decimals as INCRBYFLOAT computes and writes it: 80-bit floats (64 bits of mantissa), up to 17 places,
 * no trailing zeros.
 * @returns null if one is not a finite decimal
 */
export function addDecimals(a: string, b: string): string | null {
  const x = parseLong(a);
  const y = parseLong(b);
  if (x === null || y === null) return null;
  const exponent = Math.min(x.exponent, y.exponent);
  const sum = (x.mantissa << BigInt(x.exponent - exponent)) + (y.mantissa << BigInt(y.exponent - exponent));
  const { mantissa, exponent: e } = round(
    sum << BigInt(Math.max(0, exponent)),
    1n << BigInt(Math.max(0, -exponent)),
  );
  const scaled = divide(mantissa * 10n ** PLACES << BigInt(Math.max(0, e)), 1n << BigInt(Math.max(0, -e)));
  const digits = (scaled < 0n ? -scaled : scaled).toString().padStart(Number(PLACES) + 1, "0");
  const whole = digits.slice(0, -Number(PLACES));
  const fraction = digits.slice(-Number(PLACES)).replace(/0+$/, "");
  return `${scaled < 0n ? "-" : ""}${whole}${fraction === "" ? "" : "." + fraction}`;
}

const PLACES = 17n;
const MANTISSA_BITS = 64;

/** mantissa × 2^exponent, the mantissa of at most 64 bits. */
interface Long {
  readonly mantissa: bigint;
  readonly exponent: number;
}

function parseLong(text: string): Long | null {
  const match = /^([+-]?)(\d*)\.?(\d*)(?:e([+-]?\d{1,4}))?$/i.exec(text);
  if (match === null || match[2] + match[3]! === "") return null;
  const digits = BigInt(match[2]! + match[3]!) * (match[1] === "-" ? -1n : 1n);
  const exponent = Number(match[4] ?? 0) - match[3]!.length;
  return exponent < 0 ? round(digits, 10n ** BigInt(-exponent)) : round(digits * 10n ** BigInt(exponent), 1n);
}

/** The 80-bit float nearest to a fraction. */
function round(numerator: bigint, denominator: bigint): Long {
  if (numerator === 0n) return { mantissa: 0n, exponent: 0 };
  let exponent = bits(numerator) - bits(denominator) - MANTISSA_BITS - 1;
  for (;; exponent++) {
    const up = BigInt(Math.max(0, -exponent));
    const down = BigInt(Math.max(0, exponent));
    const mantissa = divide(numerator << up, denominator << down);
    if (bits(mantissa) <= MANTISSA_BITS) return { mantissa, exponent };
  }
}

function bits(value: bigint): number {
  return (value < 0n ? -value : value).toString(2).length;
}

/** Nearest integer, halves to the even one; the denominator is positive. */
function divide(numerator: bigint, denominator: bigint): bigint {
  if (numerator < 0n) return -divide(-numerator, denominator);
  const quotient = numerator / denominator;
  const twice = (numerator % denominator) * 2n;
  return twice > denominator || twice === denominator && quotient % 2n === 1n ? quotient + 1n : quotient;
}
