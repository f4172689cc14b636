/**
 * Feeds one message to a scanner in every way a network could: whole, byte by byte, in every two-way split, and in
 * 50 seeded random cuts. Whatever the cuts, the outcome must be the same.
 *
 *   feed(bytes, run)        run gets the pieces and returns what came out (any value; compared deeply)
 *   feedScan(bytes, scan)   for `scan(bytes, start, end) → offset past the message | NEED_MORE | BAD`
 */
import { deepStrictEqual } from "node:assert/strict";
import { show } from "./bytes.ts";
import { Random } from "./random.ts";

/** What scanners return when the message is not all there. */
const NEED_MORE = -1;
const RANDOM_CUTS = 50;
/** Longer messages get this many two-way splits: all near both ends, the rest spread evenly. */
const SPLITS_MAX = 2048;

/** One way to cut a message: a name for the error message, and the pieces (copies; the receiver may keep them). */
export interface Cut {
  name: string;
  pieces: Uint8Array[];
}

/** Every way in which `feed` cuts `bytes`. */
export function* cuts(bytes: Uint8Array, seed = 1): Generator<Cut> {
  yield { name: "whole", pieces: [bytes.slice()] };
  if (bytes.length < 2) return;
  yield { name: "byte by byte", pieces: Array.from(bytes, (byte) => Uint8Array.of(byte)) };
  for (const at of splitPoints(bytes.length)) {
    yield { name: `split at ${at}`, pieces: [bytes.slice(0, at), bytes.slice(at)] };
  }
  const random = new Random(seed);
  for (let i = 0; i < RANDOM_CUTS; i++) {
    const pieces: Uint8Array[] = [];
    const largest = random.between(1, bytes.length);
    for (let at = 0; at < bytes.length;) {
      const size = random.between(1, Math.min(largest, bytes.length - at));
      pieces.push(bytes.slice(at, at + size));
      at += size;
    }
    yield {
      name: `random cut ${i} of seed ${seed} (sizes ${pieces.map((p) => p.length).join(" ").slice(0, 200)})`,
      pieces,
    };
  }
}

/**
 * Runs `run` on every cut of `bytes` and checks that all outcomes equal that of the whole message, which is returned.
 */
export function feed<T>(bytes: Uint8Array, run: (pieces: Uint8Array[]) => T, seed = 1): T {
  let whole: { outcome: T } | null = null;
  for (const cut of cuts(bytes, seed)) {
    let outcome: T;
    try {
      outcome = run(cut.pieces);
    } catch (error) {
      throw new Error(`${show(bytes)} fed ${cut.name}: ${(error as Error).message}`, { cause: error });
    }
    if (whole === null) whole = { outcome };
    else deepStrictEqual(outcome, whole.outcome, `${show(bytes)} fed ${cut.name} differs from fed whole`);
  }
  return whole!.outcome;
}

/** What `feedScan` saw: the scanner's answer, and how many bytes had come when it stopped asking for more. */
export interface Scanned<T> {
  /** Offset past the message, relative to its start; or the negative code; NEED_MORE if it wanted more than there was. */
  result: number;
  /** What `note` returned after the deciding call. */
  noted: T;
}

/**
 * Feeds a scanner that is asked again, from the same start, with more and more bytes.
 *
 * The message lies at an offset, and the bytes after `end` are poison: different in each call, so a scanner that reads
 * past its end gives different answers. A scanner that says BAD early must say the same of the whole message; an
 * answer ≥ 0 must not come before the message is all there.
 *
 * @param start0 restart hook, called before each cut (for scanners that keep state between calls)
 * @param note reads what the scan left behind (arguments, key positions); compared deeply
 */
export function feedScan<T = undefined>(
  bytes: Uint8Array,
  scan: (bytes: Uint8Array, start: number, end: number) => number,
  { start0, note, seed = 1 }: { start0?: () => void; note?: (start: number) => T; seed?: number } = {},
): Scanned<T> {
  const OFFSET = 3;
  const poison = new Random(seed ^ 0x5eed);
  return feed(bytes, (pieces) => {
    start0?.();
    let have = 0;
    let result = NEED_MORE;
    let array = new Uint8Array(0);
    for (const piece of pieces) {
      have += piece.length;
      array = new Uint8Array(OFFSET + have + 16);
      for (let i = 0; i < OFFSET; i++) array[i] = poison.below(256);
      array.set(bytes.subarray(0, have), OFFSET);
      for (let i = OFFSET + have; i < array.length; i++) {
        array[i] = poison.pick([10, 13, 36, 42, 48, 49, 58, 0, 255]);
      }
      result = scan(array, OFFSET, OFFSET + have);
      if (result > OFFSET + have) throw new Error(`scan answered ${result}, past its end ${OFFSET + have}`);
      if (result !== NEED_MORE) break;
    }
    return { result: result < 0 ? result : result - OFFSET, noted: note?.(OFFSET) as T };
  }, seed);
}

function* splitPoints(length: number): Generator<number> {
  if (length - 1 <= SPLITS_MAX) {
    for (let at = 1; at < length; at++) yield at;
    return;
  }
  const near = SPLITS_MAX / 4;
  const stride = Math.ceil((length - 2 * near) / (SPLITS_MAX / 2));
  for (let at = 1; at <= near; at++) yield at;
  for (let at = near + stride; at < length - near; at += stride) yield at;
  for (let at = length - near; at < length; at++) yield at;
}
