/**
 * Gets of one turn that ask one server, for whichever clients, in one line; the reply is cut by key again.
 *
 *   client 1: get a ─┐                              ┌─► client 1: VALUE a … END
 *   client 2: get b ─┼─►  get a b c  ──►  VALUE a … ┼─► client 2: END
 *   client 3: get c ─┘                    VALUE c … ┴─► client 3: VALUE c … END
 *                                         END
 *
 * memcached answers each pipelined get by a system call of its own (1.6.18: every get ends in `conn_mwrite`), and each
 * of those wakes us; the values of one line come together.
 *
 * A value goes to the first that asks for its key and has nothing yet, as soon as all of it is here. That a key was not
 * there is known at END only, so the order of the values does not matter. If a key that two ask for comes or goes in
 * between, either may get it: both were asking all the while.
 */
import { copy } from "../bytes/ascii.ts";
import { blockEnd, blockHasKey, END } from "../protocol/memcached/value_block.ts";
import type { Client } from "./client.ts";
import type { Request } from "./request.ts";

/** Keys in a line: the first value leaves memcached when it has looked up the last. */
export const BATCH_KEYS_MAX = 64;
/** Bytes of values that a line is expected to bring, at most: memcached holds on to all of them until they have left. */
export const BATCH_VALUES_MAX = 256 * 1024;
/** Bytes of a line; every memcached takes 2,048. */
const LINE_SIZE_MAX = 2000;

const V = 86;
const E = 69;
const N = 78;
const SPACE = 32;

/** Batches that nobody uses now, of all connections of the thread. */
const unused: GetBatch[] = [];
const UNUSED_MAX = 64;

/** A batch for `begin`; the caller's until `giveBatch`. */
export function takeBatch(): GetBatch {
  return unused.pop() ?? new GetBatch();
}

export function giveBatch(batch: GetBatch): void {
  if (unused.length < UNUSED_MAX) unused.push(batch);
}

export class GetBatch {
  /** "get a b c": what is sent, and what the reply's keys are compared with. */
  readonly line: Uint8Array = new Uint8Array(LINE_SIZE_MAX + 2);
  lineEnd = 0;
  /** Which command, as `Request.check`. */
  private check = 0;
  /** Who asks for key i; null = answered. */
  private readonly members: (Request | null)[] = [];
  /** Key i is line[keyStarts[i], keyEnds[i]). */
  private readonly keyStarts = new Int32Array(BATCH_KEYS_MAX);
  private readonly keyEnds = new Int32Array(BATCH_KEYS_MAX);
  /** Members that have not been answered. */
  waiting = 0;
  /** Bytes of the reply that came before its last part. */
  valueBytes = 0;
  /** Where the search for the next value's key begins: as a rule they come in order. */
  private next = 0;

  get size(): number {
    return this.members.length;
  }

  /** @param name of the command, with the check that its requests have */
  begin(name: Uint8Array, check: number): void {
    this.check = check;
    this.lineEnd = copy(this.line, 0, name, 0, name.length);
    this.members.length =
      this.waiting =
      this.next =
      this.valueBytes =
        0;
  }

  /** True if there is room for a get of that command and a key of so many bytes. */
  takes(check: number, keySize: number, keysMax: number): boolean {
    const { size } = this;
    return check === this.check && size < BATCH_KEYS_MAX && size < keysMax &&
      this.lineEnd + 1 + keySize <= LINE_SIZE_MAX;
  }

  /** The key `bytes[start, end)`, borrowed, is asked for by `request`. */
  add(request: Request, bytes: Uint8Array, start: number, end: number): void {
    const i = this.members.length;
    this.members.push(request);
    this.waiting++;
    let at = this.lineEnd;
    this.line[at++] = SPACE;
    this.keyStarts[i] = at;
    this.keyEnds[i] = this.lineEnd = copy(this.line, at, bytes, start, end);
  }

  /** No more will be added: ends the line. */
  close(): void {
    this.line[this.lineEnd++] = 13;
    this.line[this.lineEnd++] = 10;
  }

  /**
   * Delivers the values in `bytes[at, end)`; bytes as for `Client.deliver`.
   * @returns the offset past the last of them; -1 if there is one that nobody asks for
   */
  takeValues(bytes: Uint8Array, at: number, end: number): number {
    while (at < end && bytes[at] === V) {
      const i = this.find(bytes, at, end);
      if (i < 0) return -1;
      const past = blockEnd(bytes, at, this.keyEnds[i]! - this.keyStarts[i]!, end);
      if (past < 0) return -1;
      const request = this.take(i);
      release(request)?.deliverBoth(request, bytes, at, past, END);
      at = past;
    }
    return at;
  }

  /**
   * Delivers the last bytes of the reply: values, if any, then END or an error instead of everything.
   * @returns false if this is no reply to what was asked
   */
  finish(bytes: Uint8Array, start: number, end: number): boolean {
    const at = this.takeValues(bytes, start, end);
    if (at < 0) return false;
    const isEnd = bytes[at] === E && bytes[at + 1] === N;
    if (!isEnd && this.waiting < this.size) return false;
    this.answerRest(bytes, at, end, false);
    return true;
  }

  /** Answers everybody who has nothing yet with an error that the proxy has made; shared. */
  fail(reply: Uint8Array): void {
    this.answerRest(reply, 0, reply.length, true);
  }

  private answerRest(bytes: Uint8Array, start: number, end: number, failed: boolean): void {
    for (let i = 0; this.waiting > 0; i++) {
      if (this.members[i] === null) continue;
      const request = this.take(i);
      const client = release(request);
      if (failed) client?.countForwardError();
      client?.deliver(request, bytes, start, end);
    }
  }

  /** Whose value begins at `start`, as far as its key is here. */
  receiver(bytes: Uint8Array, start: number, end: number): Client | null {
    const i = this.find(bytes, start, end);
    return i < 0 ? null : this.members[i]!.client;
  }

  private take(i: number): Request {
    const request = this.members[i]!;
    this.members[i] = null;
    this.waiting--;
    this.next = i + 1;
    return request;
  }

  /** Who asks for the value at `start`, and has nothing yet; -1 = nobody. */
  private find(bytes: Uint8Array, start: number, end: number): number {
    const { size } = this;
    for (let k = 0; k < size; k++) {
      const i = this.next + k < size ? this.next + k : this.next + k - size;
      if (this.members[i] === null) continue;
      if (blockHasKey(bytes, start, end, this.line, this.keyStarts[i]!, this.keyEnds[i]!)) return i;
    }
    return -1;
  }
}

/** Whose request it was: the connection has nothing more for it. */
function release(request: Request): Client | null {
  const { client } = request;
  request.client = null;
  return client;
}
