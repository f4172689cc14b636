/** One array for what is made and copied on at once, over and over. */
import { newArray } from "./chunks.ts";

/** Room that joins may write to instead of making an array: `bytes[0, end)` holds until the next join. */
export class Scratch {
  bytes: Uint8Array = new Uint8Array(SCRATCH_MIN);
  end = 0;

  /** `bytes`, with room for `size` bytes; if those are too many to keep for good, a new array of just that size. */
  arrayFor(size: number): Uint8Array {
    if (size > SCRATCH_MAX) return newArray(size);
    if (size > this.bytes.length) this.bytes = new Uint8Array(1 << (32 - Math.clz32(size - 1)));
    return this.bytes;
  }
}

const SCRATCH_MIN = 32 * 1024;
/** Smaller than what is shared without a copy (SHARE_MIN): what lies here has to be copied on. */
const SCRATCH_MAX = 1024 * 1024;
