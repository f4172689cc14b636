/**
 * The keys with the largest values that have passed lately, in requests or replies: BIG_KEYS of them, none smaller than BIG_MIN.
 *
 * `floor` is all that the data path looks at: what is no larger than that would not be listed. A size is that of the whole message, of
 * which the value is nearly all.
 */
import { latin1 } from "../bytes/ascii.ts";
import { KEY_KEPT } from "./heavy_hitters.ts";

/** Bytes of a message that is not worth a word. */
export const BIG_MIN = 16 * 1024;
/** Keys that are kept. */
export const BIG_KEYS = 64;
/** What has not passed for so long is forgotten. */
export const BIG_KEPT_MS = 3_600_000;

/** Plain data: it goes to other threads. */
export interface BigKey {
  /** Latin1, a character a byte; at most KEY_KEPT. */
  readonly key: string;
  /** Bytes of the whole key. */
  readonly size: number;
  /** The largest message seen, and when it was; ms since the epoch. */
  readonly bytes: number;
  readonly atMs: number;
  /** Lower case. */
  readonly command: string;
  readonly side: "request" | "reply";
}

export class BigKeys {
  /** Bytes: nothing that is not larger has to be noted. */
  floor = BIG_MIN;
  readonly #keys = new Map<string, BigKey>();

  /** A message of `bytes` bytes has passed for the key in `from[start, end)`, which is borrowed. */
  note(
    from: Uint8Array,
    start: number,
    end: number,
    bytes: number,
    side: BigKey["side"],
    command: string,
    atMs: number,
  ): void {
    if (bytes <= this.floor) return;
    const size = end - start;
    const key = latin1(from, start, Math.min(end, start + KEY_KEPT));
    const id = `${size} ${key}`;
    const known = this.#keys.get(id);
    if (known !== undefined && known.bytes >= bytes && atMs - known.atMs < BIG_KEPT_MS) return;
    this.#keys.set(id, { key, size, bytes, atMs, command, side });
    if (this.#keys.size > BIG_KEYS) this.#forget(atMs);
  }

  /** Largest first. */
  list(nowMs: number): BigKey[] {
    this.#forget(nowMs);
    return sorted(this.#keys.values());
  }

  #forget(nowMs: number): void {
    for (const [id, { atMs }] of this.#keys) if (nowMs - atMs >= BIG_KEPT_MS) this.#keys.delete(id);
    let smallest = "";
    let floor = Infinity;
    for (const [id, { bytes }] of this.#keys) {
      if (bytes >= floor) continue;
      smallest = id;
      floor = bytes;
    }
    if (this.#keys.size > BIG_KEYS) this.#keys.delete(smallest);
    this.floor = this.#keys.size < BIG_KEYS ? BIG_MIN : floor;
  }
}

/** What several workers have seen, as one list. */
export function mergeBig(lists: readonly (readonly BigKey[])[], most: number): BigKey[] {
  const keys = new Map<string, BigKey>();
  for (const each of lists.flat()) {
    const id = `${each.size} ${each.key}`;
    const known = keys.get(id);
    if (known === undefined || known.bytes < each.bytes) keys.set(id, each);
  }
  return sorted(keys.values()).slice(0, most);
}

function sorted(keys: Iterable<BigKey>): BigKey[] {
  return [...keys].sort((a, b) => b.bytes - a.bytes);
}
