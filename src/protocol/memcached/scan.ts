/**
 * How far a scanner has come in bytes that are not all here yet. One per connection and direction, beside its
 * inbox; all numbers are relative to the start of the request (reply) being scanned, so the inbox may move.
 *
 *   start ───────── at ──────── seen ──────── end ─ ─ ─ ─ ─ needed
 *   whole elements     no LF here     new bytes   not here   enough to go on
 *
 * The scanner sets everything to 0 when it returns anything but NEED_MORE. Whoever drops the bytes of an
 * unfinished request or reply must call `reset`.
 */

/** More bytes are needed; never an error. */
export const NEED_MORE = -1;

/** What the finished elements of a reply are. */
export const NO_LIST = 0;
export const VALUE_LIST = 1;
export const STAT_LIST = 2;

export class Scan {
  /** Bytes of finished elements: VALUE blocks or STAT lines of a reply. Requests have none. */
  at = 0;
  /** NO_LIST, VALUE_LIST or STAT_LIST: what a reply that is not all here has begun with. */
  list = NO_LIST;
  /** Bytes known to hold no line feed from `at` on. */
  seen = 0;
  /**
   * Bytes, from the start, without which another scan cannot get further; 0 if that is not known. Waiting for
   * them is what makes a 100 MB value that arrives in pieces linear work.
   */
  needed = 0;
  /** As `needed`: nothing says how many elements are to come. */
  get expected(): number {
    return this.needed;
  }
  /** Lines are short. */
  get lineBytes(): number {
    return 0;
  }
  /** REPLY_… of the last whole reply. Requests have none. */
  type = 0;

  /** The first `count` bytes of the reply, finished elements, are gone from where it lies. */
  forget(count: number): void {
    this.at -= count;
    if (this.needed > 0) this.needed -= count;
  }

  reset(): void {
    this.at = 0;
    this.list = NO_LIST;
    this.seen = 0;
    this.needed = 0;
  }
}
