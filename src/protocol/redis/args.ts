/**
 * Where the arguments of the last scanned request lie: offsets into the array that was scanned.
 *
 * There is one `Args` per thread, written by the request scanner and read before the next scan; nothing here
 * is kept. That is why a request costs no array of its own.
 */
export class Args {
  /** How many arguments, the command's name included; ≥ 1. */
  count = 0;
  /** First byte of argument i. */
  starts: Int32Array = new Int32Array(64);
  /** Just past the last byte of argument i. */
  ends: Int32Array = new Int32Array(64);

  /** FINDER.ASKED: the argument indexes of the request's keys, as a server has told; null if none was asked. */
  told: Int32Array | null = null;

  /** Makes room for `count` arguments, keeping what is there. */
  reserve(count: number): void {
    if (count <= this.starts.length) return;
    const size = Math.max(count, this.starts.length * 2);
    const starts = new Int32Array(size);
    const ends = new Int32Array(size);
    starts.set(this.starts);
    ends.set(this.ends);
    this.starts = starts;
    this.ends = ends;
  }
}
