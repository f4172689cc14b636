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
import { readBlock, readError, readReply } from "../protocol/memcached/binary_replies.ts";
import { GET, type Packet } from "../protocol/memcached/binary.ts";
import { blockEnd } from "../protocol/memcached/value_block.ts";
import type { Request } from "../proxy/request.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";
import { deliverSaid } from "./binary_request.ts";
import { BATCH_KEYS_MAX, BATCH_UNUSED_MAX, GetBatch, paceOf, release } from "./get_batch.ts";
import type { GetPace } from "./get_pace.ts";

const GETS = encode("gets");
const NO_CAS = encode("SERVER_ERROR Invalid argument: the server sent a value without its cas\r\n");
/** Batches that nobody uses now. */
const unused: BinaryGets[] = [];

/** Sends the get of a plain key that is `packet` of `bytes`, borrowed: in one line with those of this turn before it, if it can. */
export function sendBinaryGet(
  connection: ServerConnection,
  request: Request,
  bytes: Uint8Array,
  packet: Packet,
): void {
  const { openLine } = connection;
  const pace = paceOf(connection);
  const { check } = request;
  const { key, keyEnd, opcode, opaque } = packet;
  // Of one `check` are batches of one kind.
  if (openLine !== null && (openLine as BinaryGets).takes(check, keyEnd - key, pace.getsAtOnce())) {
    (openLine as BinaryGets).addPacket(request, bytes, key, keyEnd, opcode, opaque);
    return connection.joined(openLine);
  }
  connection.enqueue(request);
  const batch = unused.pop() ?? new BinaryGets();
  batch.begin(GETS, check, pace);
  batch.addPacket(request, bytes, key, keyEnd, opcode, opaque);
  // Alone, too, it is not answered with the reply as it comes.
  request.line = batch;
  connection.beginLine(batch);
}

export class BinaryGets extends GetBatch {
  /** A value without its cas has come: it answers no `gets`. */
  private misread = false;
  /** Of the packet that asks for key i. Here, so that each is a `Request` and no more (see its size). */
  private readonly opcodes = new Uint8Array(BATCH_KEYS_MAX);
  private readonly opaques = new Int32Array(BATCH_KEYS_MAX);

  override begin(name: Uint8Array, check: number, pace: GetPace): void {
    this.misread = false;
    super.begin(name, check, pace);
  }

  addPacket(
    request: Request,
    bytes: Uint8Array,
    start: number,
    end: number,
    opcode: number,
    opaque: number,
  ): void {
    const i = this.size;
    this.opcodes[i] = opcode;
    this.opaques[i] = opaque;
    this.add(request, bytes, start, end);
  }

  override takeParts(bytes: Uint8Array, at: number, end: number): boolean {
    return super.takeParts(bytes, at, end) && !this.misread;
  }

  override finish(bytes: Uint8Array, start: number, end: number): boolean {
    return super.finish(bytes, start, end) && !this.misread;
  }

  /** Reads it as well: the value is given next. */
  protected override pastOf(bytes: Uint8Array, start: number, keySize: number, end: number): number {
    const past = readBlock(bytes, start, keySize);
    if (past > 0) return past <= end ? past : -1;
    this.misread = true;
    readError(NO_CAS, 0, NO_CAS.length);
    return blockEnd(bytes, start, keySize, end);
  }

  protected override giveValue(request: Request, i: number, bytes: Uint8Array): void {
    this.give(request, i, bytes);
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
    this.give(request, i, bytes);
  }

  private give(request: Request, i: number, bytes: Uint8Array): void {
    const client = release(request);
    if (client === null) return;
    const { opcodes, opaques, keyStarts, keyEnds } = this;
    deliverSaid(client, request, opcodes[i]!, opaques[i]!, bytes, this.bytes, keyStarts[i]!, keyEnds[i]!);
  }

  override release(): void {
    if (unused.length < BATCH_UNUSED_MAX) unused.push(this);
  }
}
