/**
 * Gets of binary clients that ask one server in one turn, for whichever of them: as text clients' (get_batch.ts), by one `gets` line.
 *
 *   getq a ─┐                            ┌─► 81 09 … flags, value, cas
 *   getkq b ┼─► gets a b c ──► VALUE a … ┼─► nothing: a miss, and quiet
 *   get c ──┘                  VALUE c … └─► 81 00 … flags, value, cas
 *                              END
 *
 * Each is answered in its place in its client's queue, so a run of quiet gets over several servers reads as one server would have
 * answered it.
 */
import { encode } from "../bytes/ascii.ts";
import { readError, readReply, readValue } from "../protocol/memcached/binary_replies.ts";
import { GET } from "../protocol/memcached/binary.ts";
import type { Request } from "../proxy/request.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";
import { type BinaryRequest, deliverSaid } from "./binary_request.ts";
import { BATCH_UNUSED_MAX, GetBatch, paceOf, release } from "./get_batch.ts";
import type { GetPace } from "./get_pace.ts";

const GETS = encode("gets");
const NO_CAS = encode("SERVER_ERROR Invalid argument: the server sent a value without its cas\r\n");
/** Batches that nobody uses now. */
const unused: BinaryGets[] = [];

/** Sends a get of the plain key `bytes[start, end)`, borrowed: in one line with those of this turn before it, if it can. */
export function sendBinaryGet(
  connection: ServerConnection,
  request: BinaryRequest,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  const { openLine } = connection;
  const pace = paceOf(connection);
  const { check } = request;
  // Of one `check` are batches of one kind.
  if (openLine !== null && (openLine as BinaryGets).takes(check, end - start, pace.getsAtOnce())) {
    (openLine as BinaryGets).add(request, bytes, start, end);
    return connection.joined(openLine);
  }
  connection.enqueue(request);
  const batch = unused.pop() ?? new BinaryGets();
  batch.begin(GETS, check, pace);
  batch.add(request, bytes, start, end);
  // Alone, too, it is not answered with the reply as it comes.
  request.line = batch;
  connection.beginLine(batch);
}

export class BinaryGets extends GetBatch {
  /** A value without its cas has come: it answers no `gets`. */
  private misread = false;

  override begin(name: Uint8Array, check: number, pace: GetPace): void {
    this.misread = false;
    super.begin(name, check, pace);
  }

  override takeParts(bytes: Uint8Array, at: number, end: number): boolean {
    return super.takeParts(bytes, at, end) && !this.misread;
  }

  override finish(bytes: Uint8Array, start: number, end: number): boolean {
    return super.finish(bytes, start, end) && !this.misread;
  }

  protected override giveValue(
    request: Request,
    i: number,
    bytes: Uint8Array,
    start: number,
    _: number,
  ): void {
    if (!readValue(bytes, start)) {
      this.misread = true;
      readError(NO_CAS, 0, NO_CAS.length);
    }
    this.give(request as BinaryRequest, i, bytes);
  }

  protected override giveRest(
    request: Request,
    i: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    failed: boolean,
  ): void {
    if (failed) request.client?.countForwardError();
    if (failed) readError(bytes, start, end);
    else readReply(bytes, start, end, GET, 0);
    this.give(request as BinaryRequest, i, bytes);
  }

  private give(request: BinaryRequest, i: number, bytes: Uint8Array): void {
    const client = release(request);
    request.waiting = 0;
    if (client !== null) {
      deliverSaid(client, request, bytes, this.bytes, this.keyStarts[i]!, this.keyEnds[i]!);
    }
  }

  override release(): void {
    if (unused.length < BATCH_UNUSED_MAX) unused.push(this);
  }
}
