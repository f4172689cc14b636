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
import type { Client } from "../proxy/client.ts";
import type { Request } from "../proxy/request.ts";
import type { RequestLine } from "../proxy/request_line.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";
import type { Timing } from "../proxy/timing.ts";
import { GetPace } from "./get_pace.ts";

/** Keys in a line: the first value leaves memcached when it has looked up the last. */
export const BATCH_KEYS_MAX = 64;
/** Bytes of a line; every memcached takes 2,048. */
const LINE_SIZE_MAX = 2000;

const V = 86;
const E = 69;
const N = 78;
const SPACE = 32;

/** Batches that nobody uses now, of all connections of the thread; whoever takes one has it until its `release`. */
const unused: GetBatch[] = [];
export const BATCH_UNUSED_MAX = 64;

/**
 * Sends a get of the key `bytes[start, end)`, borrowed: in one line with those of this turn before it, if no other request has
 * come between. @param name of the command, the same wherever `request.check` is
 */
export function sendGet(
  connection: ServerConnection,
  request: Request,
  name: Uint8Array,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  const { openLine } = connection;
  const pace = paceOf(connection);
  const { check } = request;
  if (openLine !== null && (openLine as GetBatch).takes(check, end - start, pace.getsAtOnce())) {
    (openLine as GetBatch).add(request, bytes, start, end);
    return connection.joined(openLine);
  }
  connection.enqueue(request);
  const batch = unused.pop() ?? new GetBatch();
  batch.begin(name, check, pace);
  batch.add(request, bytes, start, end);
  connection.beginLine(batch);
}

/** How many gets may go at once to where the connection goes. */
export function paceOf({ endpoint, server }: ServerConnection): GetPace {
  return (endpoint.pace ??= new GetPace(server.pool.turn)) as GetPace;
}

export class GetBatch implements RequestLine {
  /** "get a b c": what is sent, and what the reply's keys are compared with. */
  readonly bytes: Uint8Array = new Uint8Array(LINE_SIZE_MAX + 2);
  end = 0;
  readonly misfit = "a value that was not asked for; its keys are asked for one at a time for a while";
  private pace!: GetPace;
  /** Which command, as `Request.check`. */
  private check = 0;
  /** Who asks for key i; null = answered. */
  private readonly members: (Request | null)[] = [];
  /** Key i is bytes[keyStarts[i], keyEnds[i]). */
  protected readonly keyStarts: Int32Array = new Int32Array(BATCH_KEYS_MAX);
  protected readonly keyEnds: Int32Array = new Int32Array(BATCH_KEYS_MAX);
  /** Members that have not been answered. */
  waiting = 0;
  /** Who counts what comes now, and when that was asked for; see `comes`. */
  private timing: Timing | null = null;
  private writtenMs: number | null = null;
  /** Bytes of the reply that came before its last part. */
  private valueBytes = 0;
  /** Where the search for the next value's key begins: as a rule they come in order. */
  private next = 0;

  /** Requests that it stands for. */
  get size(): number {
    return this.members.length;
  }

  /** @param name of the command, with the check that its requests have; @param pace of the address that is asked */
  begin(name: Uint8Array, check: number, pace: GetPace): void {
    this.check = check;
    this.pace = pace;
    this.timing = null;
    this.end = copy(this.bytes, 0, name, 0, name.length);
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
      this.end + 1 + keySize <= LINE_SIZE_MAX;
  }

  /** The key `bytes[start, end)`, borrowed, is asked for by `request`. */
  add(request: Request, bytes: Uint8Array, start: number, end: number): void {
    const i = this.members.length;
    this.members.push(request);
    this.waiting++;
    let at = this.end;
    this.bytes[at++] = SPACE;
    this.keyStarts[i] = at;
    this.keyEnds[i] = this.end = copy(this.bytes, at, bytes, start, end);
  }

  comes(timing: Timing, writtenMs: number | null): void {
    this.timing = timing;
    this.writtenMs = writtenMs;
  }

  /** No more will be added: ends the line. */
  close(): void {
    this.bytes[this.end++] = 13;
    this.bytes[this.end++] = 10;
  }

  takeParts(bytes: Uint8Array, at: number, end: number): boolean {
    this.valueBytes += end - at;
    if (this.takeValues(bytes, at, end) === end) return true;
    this.pace.askApart();
    return false;
  }

  /**
   * Delivers the values in `bytes[at, end)`.
   * @returns the offset past the last of them; -1 if there is one that nobody asks for
   */
  private takeValues(bytes: Uint8Array, at: number, end: number): number {
    while (at < end && bytes[at] === V) {
      const i = this.find(bytes, at, end);
      if (i < 0) return -1;
      const past = this.pastOf(bytes, at, this.keyEnds[i]! - this.keyStarts[i]!, end);
      if (past < 0) return -1;
      this.giveValue(this.take(i), i, bytes, at, past);
      at = past;
    }
    return at;
  }

  /** Values, if any, then END; or an error instead of everything. */
  finish(bytes: Uint8Array, start: number, end: number): boolean {
    const at = this.takeValues(bytes, start, end);
    const isEnd = bytes[at] === E && bytes[at + 1] === N;
    if (at < 0 || !isEnd && this.waiting < this.size) {
      this.pace.askApart();
      return false;
    }
    this.answerRest(bytes, at, end, false);
    this.pace.note(this.valueBytes + end - start, this.size);
    return true;
  }

  fail(reply: Uint8Array): void {
    this.answerRest(reply, 0, reply.length, true);
  }

  private answerRest(bytes: Uint8Array, start: number, end: number, failed: boolean): void {
    for (let i = 0; this.waiting > 0; i++) {
      if (this.members[i] === null) continue;
      this.giveRest(this.take(i), i, bytes, start, end, failed);
    }
  }

  /** Offset past the value at `start`, whose key has `keySize` bytes; -1 if it does not end at `end` or before. */
  protected pastOf(bytes: Uint8Array, start: number, keySize: number, end: number): number {
    return blockEnd(bytes, start, keySize, end);
  }

  /** Answers the request for key i with the value `bytes[start, end)`. */
  protected giveValue(request: Request, _: number, bytes: Uint8Array, start: number, end: number): void {
    release(request)?.deliverBoth(request, bytes, start, end, END);
  }

  /** Answers it with END, or with an error. @param failed the proxy has made it */
  protected giveRest(
    request: Request,
    _: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    failed: boolean,
  ): void {
    const client = release(request);
    if (failed) client?.countForwardError();
    client?.deliver(request, bytes, start, end);
  }

  release(): void {
    if (unused.length < BATCH_UNUSED_MAX) unused.push(this);
  }

  receiver(bytes: Uint8Array, start: number, end: number): Client | null {
    const i = this.find(bytes, start, end);
    return i < 0 ? null : this.members[i]!.client;
  }

  private take(i: number): Request {
    const request = this.members[i]!;
    this.members[i] = null;
    this.waiting--;
    this.next = i + 1;
    if (this.writtenMs === null) this.timing?.replied(request);
    else this.timing?.served(request, this.writtenMs);
    return request;
  }

  /** Who asks for the value at `start`, and has nothing yet; -1 = nobody. */
  private find(bytes: Uint8Array, start: number, end: number): number {
    const { size } = this;
    for (let k = 0; k < size; k++) {
      const i = this.next + k < size ? this.next + k : this.next + k - size;
      if (this.members[i] === null) continue;
      if (blockHasKey(bytes, start, end, this.bytes, this.keyStarts[i]!, this.keyEnds[i]!)) return i;
    }
    return -1;
  }
}

/** Whose request it was: the connection has nothing more for it. */
export function release(request: Request): Client | null {
  const { client } = request;
  request.client = null;
  return client;
}
