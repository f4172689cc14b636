/** Parameters that several routes have, checked. */
import type { Config } from "../config/config.ts";
import { quoted } from "../config/config_error.ts";
import { Refused } from "./answer.ts";

/** A pool's name; null: none is given. */
export function poolOf(config: Config, text: string): string | null {
  if (text === "") return null;
  if (config.pools.some(({ name }) => name === text)) return text;
  const names = config.pools.map(({ name }) => name).join(", ");
  throw new Refused(404, `pool: found ${quoted(text)}, expected one of ${names}`);
}

/** @param otherwise what it is if none is given */
export function countOf(text: string, otherwise: number, max: number, name = "count"): number {
  if (text === "") return otherwise;
  const count = /^[0-9]{1,6}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > max) {
    throw new Refused(400, `${name}: found ${quoted(text)}, expected a number from 1 to ${max}`);
  }
  return count;
}
