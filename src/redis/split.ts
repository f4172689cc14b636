/**
 * Sends one request of many keys as one fragment a server, all in the same turn.
 *
 *   MGET a b c d   ──►  server 0: MGET a d      owners: 0 1 1 0
 *                  ──►  server 1: MGET b c      (places among the fragments, in the order of the keys)
 *
 * Keys are copied straight from the client's bytes to the servers' outboxes; neighbours that go to one server are one
 * copy. Nothing is made per key.
 */
import { copy } from "../bytes/ascii.ts";
import { writeDecimal } from "../bytes/decimal.ts";
import { Outbox } from "../bytes/outbox.ts";
import type { Args } from "../protocol/redis/args.ts";
import { type Command, FLAG, JOIN } from "../protocol/redis/command.ts";
import { FRAGMENTS } from "../stats/metrics.ts";
import type { Client } from "../proxy/client.ts";
import { enqueueFragment, pace, refuseFragment, sendToAll, takeNoServer } from "../proxy/fan_out.ts";
import type { Pool } from "../proxy/pool.ts";
import { KEPT_MAX, KeptRequest, Request } from "../proxy/request.ts";
import type { Server } from "../proxy/server.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";
import { ReadFragment } from "./reads.ts";
import type { RedisSession } from "./session.ts";
import { takeRequest } from "../proxy/spare_requests.ts";
import { type Joiner, NO_OWNERS, Split } from "../proxy/split.ts";

/** The server of each key of the request at hand; grows. */
let ownerOf = new Uint16Array(64);
/** Keys of each server in the request at hand. */
let keysOf = new Int32Array(8);
/** Bytes of each server's fragment, as they are written. */
let sizeOf = new Float64Array(8);
/** Where `writeHead` writes. */
export const header: Uint8Array = new Uint8Array(160);
const writers: (ServerConnection | ReadFragment | null)[] = [];

/**
 * Finds the server of every key.
 * @param step 1: every argument is a key; 2: every other one
 * @returns the only server's index; MANY if there are several; NONE_LIVE
 */
export const MANY = -1;
export const NONE_LIVE = -2;
export function placeKeys(pool: Pool, bytes: Uint8Array, args: Args, step: number): number {
  const keys = (args.count - 1) / step;
  if (keys > ownerOf.length) ownerOf = new Uint16Array(keys * 2);
  const servers = pool.servers.length;
  if (servers > keysOf.length) {
    keysOf = new Int32Array(servers * 2);
    sizeOf = new Float64Array(servers * 2);
  }
  keysOf.fill(0, 0, servers);
  const placement = pool.placement;
  for (let k = 0, i = 1; k < keys; k++, i += step) {
    const server = placement.serverOf(bytes, args.starts[i]!, args.ends[i]!);
    if (server < 0) return NONE_LIVE;
    ownerOf[k] = server;
    keysOf[server]!++;
  }
  const first = ownerOf[0]!;
  return keysOf[first] === keys ? first : MANY;
}

/**
 * Sends the fragments of the request whose keys have just been placed (`placeKeys` returned MANY).
 * @param sliceOf set if these are but some keys of a request that is in the client's queue already: makes their split
 */
export function sendFragments(
  client: Client,
  command: Command,
  bytes: Uint8Array,
  args: Args,
  step: number,
  join: Joiner,
  keepOwners: boolean,
  sliceOf: ((owners: Uint16Array) => Split) | null = null,
): void {
  const pool = client.pool;
  const keys = (args.count - 1) / step;
  const split = sliceOf !== null
    ? sliceOf(keepOwners ? new Uint16Array(keys) : NO_OWNERS)
    : Split.take(client, join, keepOwners ? keys : 0);
  if (sliceOf === null) client.enqueue(split.parent);
  const { owners } = split;
  const keeps = pool.config.retryReads && (command.flags & FLAG.READ) !== 0;
  const placeOf = keysOf;
  openFragments(client, split, command, step, placeOf, keeps);
  if (keepOwners) { for (let k = 0; k < keys; k++) owners[k] = placeOf[ownerOf[k]!]!; }
  for (let k = 0; k < keys;) {
    const server = ownerOf[k]!;
    const from = args.ends[k * step]! + 2;
    do k++; while (k < keys && ownerOf[k] === server);
    const to = args.ends[k * step]! + 2;
    writers[server]?.writePart(bytes, from, to);
    if (keeps) kept[server]?.bytes.append(bytes, from, to);
    sizeOf[server]! += to - from;
  }
  for (let server = 0; server < pool.servers.length; server++) {
    const writer = writers[server];
    writers[server] = null;
    if (placeOf[server]! < 0) continue;
    if (writer === null || writer === undefined) {
      refuseFragment(split, placeOf[server]!, pool.servers[server]!);
    } else if (writer instanceof ReadFragment) writer.send();
    else {
      writer.wrote(sizeOf[server]!);
      if (keeps) keep(kept[server]!);
      pace(client, writer);
    }
    if (keeps) kept[server] = undefined;
  }
}

/** A split whose request is in the client's queue. @param sliceOf null: it is not there yet */
export function beginSplit(
  client: Client,
  join: Joiner,
  owners: Uint16Array,
  sliceOf: ((owners: Uint16Array) => Split) | null,
): Split {
  if (sliceOf !== null) return sliceOf(owners);
  const split = new Split(new Request(client), join, owners, 0);
  client.enqueue(split.parent);
  return split;
}

/** The fragments of a read that may be sent again (retry_reads), by server, while they are written. */
const kept: ({ request: KeptRequest; bytes: Outbox } | undefined)[] = [];

function keep({ request, bytes }: { request: KeptRequest; bytes: Outbox }): void {
  if (bytes.size > KEPT_MAX) {
    // As if it had been sent again already.
    request.again = true;
    return bytes.clear();
  }
  request.bytes = new Uint8Array(bytes.size);
  bytes.moveTo(request.bytes);
}

/** Queues a fragment for each server that has keys and writes its head; `keysOf` turns from counts into places. */
function openFragments(
  client: Client,
  split: Split,
  command: Command,
  step: number,
  counts: Int32Array,
  keeps: boolean,
): void {
  const pool = client.pool;
  const session = client.session as RedisSession;
  for (let server = 0; server < pool.servers.length; server++) {
    const count = counts[server]!;
    counts[server] = -1;
    if (count === 0) continue;
    pool.counters[FRAGMENTS]!++;
    const place = split.add();
    counts[server] = place;
    const read = session.reads !== null && command.onReplica
      ? session.reads.fragment(session, pool.servers[server]!, split, place)
      : null;
    const writer = read ?? pool.front.connectionTo(client, pool.servers[server]!);
    writers[server] = writer;
    if (writer === null) continue;
    const size = writeHead(command, count * step + 1);
    if (read === null) {
      const request = keeps ? new KeptRequest(null) : takeRequest(null);
      enqueueFragment(split, place, writer as ServerConnection, false, request);
      if (request instanceof KeptRequest) {
        const written = kept[server] = { request, bytes: new Outbox() };
        written.bytes.append(header, 0, size);
      }
    }
    writer.writePart(header, 0, size);
    sizeOf[server] = size;
  }
}

/** `*<count>\r\n$<n>\r\n<NAME>\r\n` into `header`; returns its length. */
export function writeHead(command: Command, count: number): number {
  header[0] = 42;
  let at = writeDecimal(header, 1, count);
  header[at++] = 13;
  header[at++] = 10;
  header[at++] = 36;
  at = writeDecimal(header, at, command.word.length);
  header[at++] = 13;
  header[at++] = 10;
  at = copy(header, at, command.word, 0, command.word.length);
  header[at++] = 13;
  header[at++] = 10;
  return at;
}

/**
 * Which servers a command for every server goes to: those on the ring, so that one that is down does not fail what concerns them
 * all. But OK to FLUSHALL or CONFIG SET would be a lie if it were not so everywhere, and a server that is busy with a script, and
 * ejected for it, is the one that SCRIPT KILL is for: those go to all.
 */
export function everyServer(pool: Pool, command: Command): readonly Server[] {
  const all = (command.flags & FLAG.DANGEROUS) !== 0 || command.join === JOIN.ONE_OK;
  return all ? pool.servers : pool.onRing();
}

/**
 * Sends the whole request to every server on the ring.
 * @param sliceOf set if it is a slice of a request that is in the client's queue already: its split
 * @param servers others than those on the ring
 */
export function sendEverywhere(
  client: Client,
  bytes: Uint8Array,
  start: number,
  end: number,
  join: Joiner,
  detail: number,
  sliceOf: Split | null = null,
  servers: readonly Server[] = client.pool.onRing(),
): void {
  const pool = client.pool;
  const split = sliceOf ?? new Split(new Request(client), join, NO_OWNERS, detail);
  if (sliceOf === null) client.enqueue(split.parent);
  if (servers.length === 0) return takeNoServer(split, pool.front.noLiveServer);
  pool.counters[FRAGMENTS]! += sendToAll(client, split, servers, bytes, start, end);
}

/** Where a request goes that any node of a cluster can serve: to `index`, or if nobody is there to one who is. In other pools to `index`. */
export function anyNode({ cluster, servers }: Pool, index: number): number {
  if (!cluster || index < 0 || !servers[index]!.isDown) return index;
  const other = servers.findIndex((server) => !server.isDown);
  return other < 0 ? index : other;
}
