/**
 * Replies as plain data that can be compared and printed: bytes, errors, maps and sets have a form of their own, and what
 * is long becomes its length and digest.
 */
import { createHash } from "node:crypto";

export type Plain = string | number | boolean | null | Plain[] | { [kind: string]: Plain };

const LONG = 2000;

export function plain(value: unknown): Plain {
  if (value === undefined) return { undefined: true };
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "number") return Number.isFinite(value) ? value : { number: String(value) };
  if (typeof value === "bigint") return { bigint: String(value) };
  if (typeof value === "string") return value.length <= LONG ? value : digest("text", value);
  if (value instanceof Uint8Array) {
    return value.length <= LONG ? { bytes: [...value].join(" ") } : digest("bytes", value);
  }
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Error) return { error: value.message, replies: plain(repliesOf(value)) };
  if (value instanceof Map) return { map: [...value].map(([k, v]) => [plain(k), plain(v)]) };
  if (value instanceof Set) return { set: [...value].map(plain) };
  if (typeof value === "object") {
    return { object: Object.entries(value).map(([k, v]) => [k, plain(v)]) };
  }
  return String(value);
}

/** node-redis packs the errors of a transaction into one. */
function repliesOf(error: Error): unknown {
  return (error as { replies?: unknown }).replies ?? null;
}

function digest(kind: string, value: string | Uint8Array): Plain {
  return { [kind]: createHash("sha256").update(value).digest("hex"), length: value.length };
}

/** For replies whose order Redis leaves open. */
export function sorted(value: unknown): Plain {
  // redis-cli's: a line an item, with its number in front.
  if (typeof value === "string") return value.split("\n").map((line) => line.replace(/^\d+[)~] /, "")).sort();
  const list = plain(value);
  const items = Array.isArray(list) ? list : (list as { set: Plain[] }).set;
  return [...items].sort((a, b) => JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
}
