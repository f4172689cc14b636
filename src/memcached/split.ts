/**
 * Sends one memcached request to several servers, all in the same turn, and joins their replies.
 *
 *   get a b c d   ──►  server 0: get a d     ──►  VALUE a … VALUE d … END  ─┐
 *                 ──►  server 1: get b c     ──►  VALUE b … END            ─┴─►  a b d, END
 *
 * Keys are copied straight from the client's bytes into the fragments' lines; one copy of them stays for the join, since
 * hits have to be put back into the order of the request.
 */
import { copy, encode } from "../bytes/ascii.ts";
import { decodeKey } from "../protocol/memcached/base64.ts";
import { rowOf } from "../protocol/memcached/commands.ts";
import { firstError, joinedSizeMax, joinGet, type Keys, type Replies } from "../protocol/memcached/join.ts";
import { replyClass } from "../protocol/memcached/reply.ts";
import { CLASS_ERROR } from "../protocol/memcached/reply_types.ts";
import { LINE_MAX, type MemcachedRequest, STATS_RESET } from "../protocol/memcached/request.ts";
import { GetSplit, writeFragment } from "../protocol/memcached/split.ts";
import { joinStats } from "../protocol/memcached/stats.ts";
import { NO_SERVER } from "../ring/placement.ts";
import { FRAGMENTS } from "../stats/metrics.ts";
import type { Client } from "../proxy/client.ts";
import { failureOf } from "../proxy/failures.ts";
import { enqueueFragment, pace, refuseFragment, sendFragment } from "../proxy/fan_out.ts";
import type { Pool } from "../proxy/pool.ts";
import { Request } from "../proxy/request.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";
import { type FragmentReply, type Joiner, SCRATCH, Split } from "../proxy/split.ts";

const ROW_BGET = rowOf("bget");

/** The keys of the request at hand are on several servers. */
export const MANY = -2;

const NO_OWNERS = new Uint16Array(0);
const getSplit = new GetSplit();
let keyServers = new Int32Array(64);
const line = new Uint8Array(64 * 1024);
/** A base64 key of 250 bytes, decoded. */
const decoded = new Uint8Array(192);

/** `Request.check` of a request of this row: what the front's `fits` takes apart again. */
export function checkOf(row: number, quiet: number): number {
  return (row + 1) | (quiet << 8);
}

/** The server of a request with one key; NO_SERVER if none is live. */
export function placeKey(pool: Pool, bytes: Uint8Array, request: MemcachedRequest): number {
  const start = request.wordStarts[request.keyFirst]!;
  const end = request.wordEnds[request.keyFirst]!;
  if (request.base64 === 1) {
    const size = decodeKey(bytes, start, end, decoded);
    if (size > 0) return pool.placement.serverOf(decoded, 0, size);
  }
  return pool.placement.serverOf(bytes, start, end);
}

/**
 * Finds the server of every key of a get.
 * @returns the only server's index, if the line can be forwarded to it as it is; MANY; NO_SERVER
 */
export function placeKeys(pool: Pool, bytes: Uint8Array, start: number, request: MemcachedRequest): number {
  const { keyFirst, keyCount, wordStarts, wordEnds } = request;
  if (keyServers.length < keyCount) keyServers = new Int32Array(keyCount * 2);
  const { placement } = pool;
  let only = true;
  for (let k = 0; k < keyCount; k++) {
    const server = placement.serverOf(bytes, wordStarts[keyFirst + k]!, wordEnds[keyFirst + k]!);
    if (server < 0) return NO_SERVER;
    keyServers[k] = server;
    if (server !== keyServers[0]) only = false;
  }
  // The LF counts here: a line of LINE_MAX bytes before it may be forwarded.
  return only && request.lineEnd - start <= LINE_MAX + 1 && request.row !== ROW_BGET ? keyServers[0]! : MANY;
}

/** Of a get that is split: its keys, the fragment of each, and the connection of each fragment. */
export interface GetParts {
  readonly keys: Keys;
  readonly keyFragments: Int32Array;
  readonly connections: (ServerConnection | null)[];
}

/** A get that was split: what its join needs besides the replies. */
export class SplitOfGet extends Split {
  constructor(parent: Request, readonly parts: GetParts) {
    super(parent, JOIN_GET, NO_OWNERS, 0);
  }
}

/** Sends the fragments of the get whose keys have just been placed (`placeKeys` returned MANY). */
export function sendFragments(client: Client, bytes: Uint8Array, request: MemcachedRequest): void {
  const parent = new Request(client);
  client.enqueue(parent);
  sendParts(client, bytes, request, (parts) => new SplitOfGet(parent, parts));
}

/** As sendFragments, for keys that have just been placed, on however many servers, and with a split of the caller's own. */
export function sendParts(
  client: Client,
  bytes: Uint8Array,
  request: MemcachedRequest,
  makeSplit: (parts: GetParts) => SplitOfGet,
): void {
  const { pool } = client;
  getSplit.split(request, keyServers, pool.servers.length);
  const { count } = getSplit;
  const connections: (ServerConnection | null)[] = [];
  const split = makeSplit({
    keys: copyKeys(bytes, request),
    keyFragments: getSplit.keyFragments.slice(0, request.keyCount),
    connections,
  });
  for (let f = 0; f < count; f++) split.add();
  for (let f = 0; f < count; f++) {
    const server = pool.servers[getSplit.servers[f]!]!;
    const connection = pool.front.connectionTo(client, server);
    connections.push(connection);
    pool.counters[FRAGMENTS]!++;
    if (connection === null) {
      refuseFragment(split, f, server);
      continue;
    }
    const size = getSplit.sizes[f]!;
    // What is shared with the socket must be nobody else's.
    const to = size <= line.length ? line : new Uint8Array(size);
    writeFragment(bytes, request, getSplit, f, to, 0);
    sendFragment(split, f, connection, to, 0, size).check = checkOf(request.row, 0);
    pace(client, connection);
  }
}

/** The keys alone, in an array of their own. */
function copyKeys(bytes: Uint8Array, request: MemcachedRequest): Keys {
  const { keyFirst, keyCount, wordStarts, wordEnds } = request;
  const from = wordStarts[keyFirst]!;
  const last = keyFirst + keyCount;
  const starts = wordStarts.slice(keyFirst, last);
  const ends = wordEnds.slice(keyFirst, last);
  for (let k = 0; k < keyCount; k++) {
    starts[k]! -= from;
    ends[k]! -= from;
  }
  return { bytes: bytes.slice(from, wordEnds[last - 1]), starts, ends, first: 0, count: keyCount };
}

/**
 * Sends one line to every server of the pool but the ejected: with auto_eject_hosts one server that is down is not to fail what concerns
 * them all. One at least must be live.
 */
export function sendEverywhere(
  client: Client,
  bytes: Uint8Array,
  request: MemcachedRequest,
  join: Joiner,
): void {
  const parent = new Request(client);
  client.enqueue(parent);
  if (request.noreply === 1) parent.muted = true;
  askRing(client, parent, request.row, join, request.stats, (connection) => {
    writeCut(connection, bytes, request.wordStarts[0]!, request.lineEnd, request);
  });
}

/**
 * Asks every server that is on the ring.
 * @param parent in the client's queue already; its reply is what `join` makes of theirs
 * @param row of the commands' table, for what their replies may be
 * @param write writes the request, of one reply, to a connection
 */
export function askRing(
  client: Client,
  parent: Request,
  row: number,
  join: Joiner,
  detail: number,
  write: (connection: ServerConnection) => void,
): void {
  const { pool } = client;
  const split = new Split(parent, join, NO_OWNERS, detail);
  const servers = pool.onRing();
  for (let i = 0; i < servers.length; i++) split.add();
  for (let i = 0; i < servers.length; i++) {
    const server = servers[i]!;
    const connection = pool.front.connectionTo(client, server);
    if (connection === null) {
      refuseFragment(split, i, server);
      continue;
    }
    pool.counters[FRAGMENTS]!++;
    enqueueFragment(split, i, connection).check = checkOf(row, 0);
    write(connection);
    pace(client, connection);
  }
}

/** Writes `bytes[start, end)` without what must not reach a server (noreply, q). */
export function writeCut(
  connection: ServerConnection,
  bytes: Uint8Array,
  start: number,
  end: number,
  request: MemcachedRequest,
): void {
  if (request.cutEnd === 0) return connection.write(bytes, start, end);
  connection.write(bytes, start, request.cutStart);
  connection.write(bytes, request.cutEnd, end);
}

/** Values of healthy servers are withheld if another failed: a missing VALUE would read as a miss. */
const JOIN_GET: Joiner = (split) => {
  const { keys, keyFragments, connections } = (split as SplitOfGet).parts;
  const replies = repliesOf(split);
  const joined = SCRATCH.arrayFor(joinedSizeMax(replies));
  const end = joinGet(keys, keyFragments, replies, joined, 0);
  if (end >= 0) {
    if (joined !== SCRATCH.bytes) return joined.subarray(0, end);
    SCRATCH.end = end;
    return joined;
  }
  const spoiler = split.replies[-1 - end]!;
  if (replyClass(spoiler.bytes, spoiler.start, spoiler.end) >= CLASS_ERROR) return ownedReply(spoiler);
  // Values that nobody asked for: somebody else may be getting ours.
  connections[-1 - end]?.fail("EPROTO");
  return encode(`SERVER_ERROR ${failureOf("EPROTO").text}\r\n`);
};

/** flush_all: the first error, else what they all say. */
export const JOIN_SAME: Joiner = (split) => {
  const error = firstError(repliesOf(split));
  return ownedReply(split.replies[Math.max(error, 0)]!);
};

export const JOIN_STATS: Joiner = (split) => {
  const replies = repliesOf(split);
  if (split.detail === STATS_RESET || firstError(replies) >= 0) return JOIN_SAME(split);
  return joinStats(replies, split.detail);
};

function repliesOf(split: Split): Replies {
  const { replies } = split;
  return {
    bytes: replies.map((reply) => reply.bytes),
    starts: replies.map((reply) => reply.start),
    ends: replies.map((reply) => reply.end),
    count: replies.length,
  };
}

function ownedReply(reply: FragmentReply): Uint8Array {
  const owned = new Uint8Array(reply.end - reply.start);
  copy(owned, 0, reply.bytes, reply.start, reply.end);
  return owned;
}
