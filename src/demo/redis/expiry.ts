/** Times to live in arguments: what SET, GETEX and the EXPIRE family share. */
import type { Call } from "./command.ts";
import { CommandError, SYNTAX } from "./errors.ts";
import { INT64_MAX, integer } from "./numbers.ts";

/** How a time is given: relative or absolute, seconds or milliseconds. */
export interface Unit {
  readonly absolute: boolean;
  readonly scale: 1n | 1000n;
}

export const UNITS: Readonly<Record<string, Unit>> = {
  EX: { absolute: false, scale: 1000n },
  PX: { absolute: false, scale: 1n },
  EXAT: { absolute: true, scale: 1000n },
  PXAT: { absolute: true, scale: 1n },
};

/**
 * Wall milliseconds at which a key dies, for commands that refuse zero and less.
 * @throws CommandError that names the command
 */
export function expiryOf(call: Call, text: string, unit: Unit): number {
  const given = integer(text);
  const invalid = `ERR invalid expire time in '${call.name}' command`;
  if (given <= 0n || given > INT64_MAX / unit.scale) throw new CommandError(invalid);
  const base = unit.absolute ? 0n : BigInt(Math.floor(call.server.nowMs()));
  if (given * unit.scale > INT64_MAX - base) throw new CommandError(invalid);
  return Number(given * unit.scale + base);
}

/** Options of SET (from argument 3 on) and GETEX (from 2 on). */
export interface StringOptions {
  nx: boolean;
  xx: boolean;
  get: boolean;
  keepTtl: boolean;
  persist: boolean;
  unit: Unit | null;
  time: string;
}

export function stringOptions(args: readonly string[], from: number, set: boolean): StringOptions {
  const options: StringOptions = {
    nx: false,
    xx: false,
    get: false,
    keepTtl: false,
    persist: false,
    unit: null,
    time: "",
  };
  for (let i = from; i < args.length; i++) {
    const word = args[i]!.toUpperCase();
    const free = !options.keepTtl && !options.persist;
    if (set && word === "NX" && !options.xx) options.nx = true;
    else if (set && word === "XX" && !options.nx) options.xx = true;
    else if (set && word === "GET") options.get = true;
    else if (set && word === "KEEPTTL" && !options.persist && options.unit === null) options.keepTtl = true;
    else if (!set && word === "PERSIST" && options.unit === null) options.persist = true;
    else if (
      free && Object.hasOwn(UNITS, word) && (options.unit ?? UNITS[word]) === UNITS[word] &&
      i + 1 < args.length
    ) {
      options.unit = UNITS[word]!;
      options.time = args[++i]!;
    } else throw new CommandError(SYNTAX);
  }
  return options;
}
