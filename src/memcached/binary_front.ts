/**
 * Clients of the binary protocol in a memcached pool: takes packets off their bytes and sends what they ask for to servers in lines.
 *
 *   packet ──scanPacket──► Packet ──asks──► one server: gets (with others of the turn), or a line of its own
 *                                      ├──► every server: flush, stat
 *                                      └──► answered here: noop, version, quit, and what is wrong
 *
 * Servers never see a packet: see protocol/memcached/binary_lines.ts. What stores has a data block behind its line, which a server
 * without meta commands (before 1.6) would run as commands; so a connection is asked for them before the first such line is sent on it,
 * and the clients wait meanwhile (meta_learning.ts). It is also asked how large an item may be: `ms` removes the old item where the new
 * one is too large, an add, replace, append or prepend does not.
 *
 * Each packet has its place in its client's queue, quiet ones too: whatever servers they go to, replies leave in the order of the packets.
 */
import { copy, encode, latin1 } from "../bytes/ascii.ts";
import { writeDecimal } from "../bytes/decimal.ts";
import { shownWord } from "../bytes/shown.ts";
import {
  DECR,
  DELETE,
  FLUSH,
  GAT,
  GET,
  NAMES_BY_CODE,
  NEED_MORE,
  NOOP,
  OPCODE_SET,
  OPCODE_SETQ,
  Packet,
  PACKET_FAULT,
  PACKET_SKIP,
  PREPEND,
  QUIT,
  SASL_AUTH,
  SASL_LIST,
  SASL_STEP,
  scanPacket,
  STAT,
  STATUS_AUTH,
  STATUS_AUTH_CONTINUE,
  STATUS_INVALID,
  STATUS_NOT_FOUND,
  STATUS_OK,
  STATUS_OUT_OF_MEMORY,
  STATUS_TOO_LARGE,
  STATUS_UNKNOWN_COMMAND,
  statusPacket,
  statusText,
  STORE,
  uint32,
  UNKNOWN_OPCODE,
  VERSION,
  WITH_KEY,
} from "../protocol/memcached/binary.ts";
import {
  KEY_PLAIN,
  KEY_UNSAYABLE,
  keyForm,
  LINE_SIZE_MAX,
  lineRow,
  writeLine,
} from "../protocol/memcached/binary_lines.ts";
import { NO_META, readError, said } from "../protocol/memcached/binary_replies.ts";
import { statPackets, STATS_REFUSED, STATS_UNKNOWN, statsNamed } from "../protocol/memcached/binary_stats.ts";
import { ROW_FLUSH_ALL, ROW_STATS } from "../protocol/memcached/commands.ts";
import { replyClass } from "../protocol/memcached/reply.ts";
import { CLASS_ERROR } from "../protocol/memcached/reply_types.ts";
import { STATS_PROXY } from "../protocol/memcached/request.ts";
import { type Client, LEARNING } from "../proxy/client.ts";
import { pace } from "../proxy/fan_out.ts";
import { MEMORY_FULL_TEXT } from "../proxy/memory.ts";
import type { Pool } from "../proxy/pool.ts";
import { Request } from "../proxy/request.ts";
import type { Seen } from "../proxy/seen.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";
import type { Joiner } from "../proxy/split.ts";
import { NO_SERVER } from "../ring/placement.ts";
import { CLASS_OTHER, CLASS_READ, CLASS_WRITE } from "../stats/latency.ts";
import { LIMIT_MEMORY, LIMIT_REQUEST, PROTOCOL_ERROR, REQUESTS_TOTAL } from "../stats/metrics.ts";
import { sendBinaryGet } from "./binary_gets.ts";
import { BinaryRequest, KEY_BYTES, KeyedRequest } from "./binary_request.ts";
import { LACKS_META, learnMeta } from "./meta_learning.ts";
import { type Logins, SECRET_MAX } from "./login.ts";
import { type BinarySession, LOCKED, type MemcachedSession } from "./session.ts";
import { askRing, checkOf, JOIN_SAME, JOIN_STATS } from "./split.ts";
import { type MemcachedHost, proxyStats } from "./stats.ts";
import type { ServerVersions } from "./versions.ts";

const CRLF = encode("\r\n");
const FLUSH_ALL = encode("flush_all");
const STATS = encode("stats");

const NO_FLUSH = encode("flush is not allowed, unless dangerous_commands of the pool is allow");
const NO_SUCH_STATS = encode("These stats are not available through a proxy, ask the servers themselves");
const UNSAYABLE = encode(
  "A key with a blank, CR, LF or NUL may have 186 bytes: longer ones cannot be sent to servers",
);

/** Bytes of an item besides key, value, and flags that are not 0: its head, a NUL, CRLF and cas. */
const ITEM_HEAD = 48 + 1 + 2 + 8;
const ITEM_FLAGS = 4;

/** Of `Request.check`: its reply becomes a packet, so that it shares no line with a text client's. */
const CHECK_BINARY = 0x200;
/** Values up to this size are copied behind their line: one piece is cheaper to hand on than three. */
const COPIED_MAX = 1024;
/** Expiry of a flush in a line is signed. */
const SECONDS_MAX = 0x7fffffff;

const packet = new Packet();
const line = new Uint8Array(LINE_SIZE_MAX + COPIED_MAX + CRLF.length);

function latencyClassOf(asks: number): number {
  if (asks === GET || asks === GAT) return CLASS_READ;
  return asks !== UNKNOWN_OPCODE && asks <= DECR ? CLASS_WRITE : CLASS_OTHER;
}

/** It has a key that says which server is asked. */
function isKeyed(asks: number): boolean {
  return asks >= GET && asks <= DECR;
}

function isStore(asks: number): boolean {
  return asks >= STORE && asks <= PREPEND;
}

function isSet(opcode: number): boolean {
  return opcode === OPCODE_SET || opcode === OPCODE_SETQ;
}

/** Bytes of the item that the packet at hand would make, as memcached counts them. */
function itemSize(bytes: Uint8Array): number {
  const { key, end, asks, extras } = packet;
  return ITEM_HEAD + end - key + (asks === STORE && uint32(bytes, extras) !== 0 ? ITEM_FLAGS : 0);
}

export class BinaryFront {
  private valueMax: number;
  private readonly seen: Seen;
  /** The last of its client's queue before the packet that is looked at came. */
  private before: Request | null = null;
  /** Of a pool with users. */
  logins: Logins | null = null;

  constructor(
    private readonly pool: Pool,
    private readonly host: MemcachedHost,
    private readonly versions: ServerVersions,
  ) {
    this.valueMax = pool.config.requestSizeMax;
    this.seen = pool.seen;
  }

  adopt(): void {
    this.valueMax = this.pool.config.requestSizeMax;
  }

  /** As Front.step. */
  step(client: Client, session: BinarySession, bytes: Uint8Array, start: number, end: number): number {
    if (session.skipBytes !== 0) {
      return session.skipBytes === LOCKED
        ? this.stepLocked(client, session, bytes, start, end)
        : skip(session, session.skipBytes, start, end);
    }
    const { pool, seen } = this;
    const next = scanPacket(bytes, start, end, this.valueMax, packet);
    if (next === NEED_MORE) {
      client.lacks(packet.needed);
      return NEED_MORE;
    }
    if (next === PACKET_FAULT) {
      pool.counters[PROTOCOL_ERROR]!++;
      if (packet.fault !== STATUS_OK) this.say(client, packet.fault);
      client.protocolError();
      return NEED_MORE;
    }
    const { asks } = packet;
    const skips = next === PACKET_SKIP;
    const index = isKeyed(asks) ? pool.placement.serverOf(bytes, packet.key, packet.keyEnd) : NO_SERVER;
    if (isStore(asks) && !skips && !this.mayStore(client, session, index)) {
      client.lacks(0);
      return NEED_MORE;
    }
    if (asks >= VERSION && !skips) {
      if (asks >= SASL_AUTH && this.logins !== null) return this.logIn(client, session, bytes, next);
      if (asks === VERSION && !this.versions.learn(client)) return wait(client);
    }
    const looked = ++pool.counters[REQUESTS_TOTAL]! >= seen.drawAt || packet.needed > seen.bigFloor;
    if (looked) this.look(client, bytes, index);
    pool.counting = 1 + latencyClassOf(asks);
    if (skips) {
      // It may have become too large for a reload while its server was asked.
      session.verdict = null;
      this.refuseValue(client, index, bytes);
    } else this.dispatch(client, session, index, bytes);
    session.opcode = packet.opcode;
    client.countHere();
    if (looked) this.sent(client);
    return skips ? skip(session, packet.needed, start, end) : next;
  }

  /** Sends a whole packet on its way, or answers it. */
  private dispatch(client: Client, session: BinarySession, index: number, bytes: Uint8Array): void {
    const { asks } = packet;
    if (isKeyed(asks)) {
      if (this.pool.refusing !== 0) {
        session.verdict = null;
        return this.refuseWork(client);
      }
      return this.forward(client, session, index, bytes);
    }
    if (this.pool.refusing !== 0) client.allowance?.pass();
    switch (asks) {
      case NOOP:
        return this.say(client, STATUS_OK);
      case VERSION:
        return this.say(client, STATUS_OK, encode(this.versions.text));
      case FLUSH:
        return this.flush(client, bytes);
      case STAT:
        return this.stat(client, bytes);
      case QUIT:
        if (packet.opcode === OPCODE_QUIT) this.say(client, STATUS_OK);
        return client.closeAfterReplies();
      case SASL_LIST:
        if (this.logins !== null) return this.say(client, STATUS_OK, MECHANISMS);
    }
    // SASL's too, as from a server that has none. Its login may have waited while `users` were taken away.
    if (asks >= SASL_AUTH) (client.session as MemcachedSession).login = null;
    this.say(client, STATUS_UNKNOWN_COMMAND);
  }

  // ---- who it is

  /** As `step`, of a client that has not logged in: whatever else it asks is refused as soon as its head is here, and ends the connection. */
  private stepLocked(
    client: Client,
    session: BinarySession,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): number {
    const head = scanPacket(bytes, start, end, -1, packet);
    if (head === NEED_MORE) {
      client.lacks(packet.needed);
      return NEED_MORE;
    }
    const { asks, fault, needed } = packet;
    const broken = head === PACKET_FAULT && (fault === STATUS_OK || fault === STATUS_UNKNOWN_COMMAND);
    const free = asks === VERSION || asks >= SASL_LIST;
    if (head === PACKET_FAULT || !free || needed > SECRET_MAX) {
      this.pool.counters[PROTOCOL_ERROR]!++;
      const status = broken || head === PACKET_FAULT && free
        ? fault
        : free
        ? STATUS_OUT_OF_MEMORY
        : STATUS_AUTH;
      if (status !== STATUS_OK) this.say(client, status);
      client.protocolError();
      return NEED_MORE;
    }
    if (end - start < needed) {
      client.lacks(needed);
      return NEED_MORE;
    }
    const next = packet.end = start + needed;
    if (asks >= SASL_AUTH) return this.logIn(client, session, bytes, next);
    if (asks === VERSION && !this.versions.learn(client)) return wait(client);
    this.pool.counters[REQUESTS_TOTAL]!++;
    this.pool.counting = 1 + CLASS_OTHER;
    this.dispatch(client, session, NO_SERVER, bytes);
    client.countHere();
    return next;
  }

  /** SASL's PLAIN, in one step or two. A failure logs out whoever was logged in, as on memcached. @returns as `step` */
  private logIn(client: Client, session: BinarySession, bytes: Uint8Array, next: number): number {
    const logins = this.logins!;
    const { asks, key, keyEnd, end } = packet;
    const begins = asks === SASL_AUTH && latin1(bytes, key, keyEnd).toUpperCase() === "PLAIN";
    const owner = client.session as MemcachedSession;
    const asksOn = begins && keyEnd === end;
    const right = !asksOn && (begins || asks === SASL_STEP && session.begun) &&
      logins.loginPlain(client, owner, bytes.subarray(keyEnd, end));
    if (right === null) return wait(client);
    this.pool.counters[REQUESTS_TOTAL]!++;
    this.pool.counting = 1 + CLASS_OTHER;
    session.begun = right || asksOn;
    if (asksOn) this.say(client, STATUS_AUTH_CONTINUE);
    else if (right) {
      session.skipBytes = 0;
      this.say(client, STATUS_OK, AUTHENTICATED);
    } else {
      owner.user = null;
      if (!logins.areOpen) session.skipBytes = LOCKED;
      this.say(client, STATUS_AUTH);
    }
    client.countHere();
    return next;
  }

  // ---- one server

  private forward(client: Client, session: BinarySession, index: number, bytes: Uint8Array): void {
    const { asks, key, keyEnd, opcode } = packet;
    if (session.verdict !== null) return this.refuse(client, takeVerdict(session));
    const form = keyForm(bytes, key, keyEnd);
    if (form === KEY_UNSAYABLE) return this.say(client, STATUS_INVALID, UNSAYABLE);
    const connection = this.reach(client, index);
    if (connection === null) return;
    const stores = isStore(asks);
    if (stores && connection.reached === LACKS_META) {
      client.countForwardError();
      return this.say(client, STATUS_UNKNOWN_COMMAND, NO_META);
    }
    if (stores && !isSet(opcode) && itemSize(bytes) > connection.reached) {
      return this.say(client, STATUS_TOO_LARGE);
    }
    const check = checkOf(lineRow(asks, form), 0) | CHECK_BINARY;
    if (asks === GET && form === KEY_PLAIN) {
      const request = new Request(client);
      client.enqueue(request);
      request.check = check;
      sendBinaryGet(connection, request, bytes, packet);
    } else {
      const keyed = WITH_KEY[opcode] === 1 || asks === GAT;
      if (keyed) session.keyBytes += keyEnd - key + KEY_BYTES;
      const request = keyed
        ? new KeyedRequest(client, packet, check, bytes.slice(key, keyEnd))
        : new BinaryRequest(client, packet, check);
      client.enqueue(request);
      connection.enqueue(request);
      const size = writeLine(bytes, packet, form, line);
      if (stores) writeValue(connection, size, bytes, keyEnd, packet.end);
      else connection.write(line, 0, size);
      request.line = request;
    }
    pace(client, connection);
  }

  /** The client's connection to a server, or null: it has been told why there is none. */
  private reach(client: Client, index: number): ServerConnection | null {
    if (index === NO_SERVER) {
      this.refuse(client, this.pool.front.noLiveServer);
      return null;
    }
    const server = this.pool.servers[index]!;
    const connection = this.pool.front.connectionTo(client, server);
    if (connection === null) this.refuse(client, server.refusal());
    return connection;
  }

  /** False if the client has to wait until it is known whether the server speaks meta commands; the packet is taken again then. */
  private mayStore(client: Client, session: BinarySession, index: number): boolean {
    const { pool } = this;
    if (session.verdict !== null || index === NO_SERVER || pool.refusing !== 0) return true;
    const connection = pool.front.connectionTo(client, pool.servers[index]!);
    if (connection === null || connection.reached >= 0) return true;
    client.block(LEARNING);
    learnMeta(connection, (error) => {
      session.verdict = error;
      client.unblock(LEARNING);
    });
    pace(client, connection);
    return false;
  }

  // ---- every server

  private flush(client: Client, bytes: Uint8Array): void {
    const { pool } = this;
    if (!pool.config.dangerousCommands) return this.say(client, STATUS_AUTH, NO_FLUSH);
    let size = copy(line, 0, FLUSH_ALL, 0, FLUSH_ALL.length);
    if (packet.extrasEnd > packet.extras) {
      line[size++] = 32;
      size = writeDecimal(line, size, Math.min(uint32(bytes, packet.extras), SECONDS_MAX));
    }
    this.sendEverywhere(client, size, ROW_FLUSH_ALL, JOIN_FLUSH, 0);
  }

  private stat(client: Client, bytes: Uint8Array): void {
    const { pool } = this;
    const { key, keyEnd, opcode, opaque } = packet;
    const group = statsNamed(latin1(bytes, key, keyEnd));
    if (group === STATS_UNKNOWN) return this.say(client, STATUS_NOT_FOUND);
    if (group === STATS_REFUSED) return this.say(client, STATUS_NOT_FOUND, NO_SUCH_STATS);
    if (group === STATS_PROXY) {
      const text = proxyStats(this.host, pool.config.name);
      return client.answer(statPackets(text, 0, text.length, opcode, opaque));
    }
    let size = copy(line, 0, STATS, 0, STATS.length);
    if (keyEnd > key) {
      line[size++] = 32;
      size = copy(line, size, bytes, key, keyEnd);
    }
    this.sendEverywhere(client, size, ROW_STATS, JOIN_STAT, group);
  }

  /** Sends `line[0, size)` to every server that is on the ring; its CRLF is yet to be written. */
  private sendEverywhere(client: Client, size: number, row: number, join: Joiner, detail: number): void {
    const { pool } = this;
    if (pool.refusing !== 0) return this.refuseWork(client);
    if (pool.servers.every((server) => server.ejected)) return this.refuse(client, pool.front.noLiveServer);
    size = copy(line, size, CRLF, 0, CRLF.length);
    const parent = new BinaryRequest(client, packet, 0);
    client.enqueue(parent);
    askRing(client, parent, row, join, detail, (connection) => connection.write(line, 0, size));
  }

  // ---- answers from here

  private say(client: Client, status: number, text = statusText(status)): void {
    client.answer(statusPacket(packet.opcode, packet.opaque, status, text));
  }

  /** @param error as a text client would read it */
  private refuse(client: Client, error: Uint8Array): void {
    client.countForwardError();
    readError(error, 0, error.length);
    this.say(client, said.status, said.text);
  }

  /** See Pool.refusing. */
  private refuseWork(client: Client): void {
    if (!this.pool.memory.full) {
      const error = client.allowance!.refuse(true);
      readError(error, 0, error.length);
      return this.say(client, said.status, said.text);
    }
    this.pool.counters[LIMIT_MEMORY]!++;
    this.say(client, STATUS_OUT_OF_MEMORY, MEMORY_FULL);
  }

  /** The value is over the limit and will not be read. The old one goes, as memcached sees to it: it would be stale. */
  private refuseValue(client: Client, index: number, bytes: Uint8Array): void {
    this.pool.counters[LIMIT_REQUEST]!++;
    const { opcode, key, keyEnd } = packet;
    if (packet.asks === UNKNOWN_OPCODE) return this.say(client, STATUS_UNKNOWN_COMMAND);
    this.say(client, STATUS_TOO_LARGE);
    if (!isSet(opcode) || index === NO_SERVER) return;
    const form = keyForm(bytes, key, keyEnd);
    if (form === KEY_UNSAYABLE) return;
    const connection = this.pool.front.connectionTo(client, this.pool.servers[index]!);
    if (connection === null) return;
    packet.asks = DELETE;
    packet.casHigh = packet.casLow = 0;
    connection.ask(line.slice(0, writeLine(bytes, packet, form, line)), () => {});
    pace(client, connection);
  }

  // ---- what is seen

  /** A packet has been drawn, or is large (see proxy/seen.ts). */
  private look(client: Client, bytes: Uint8Array, index: number): void {
    const { seen, turn, counters, clock } = this.pool;
    const requests = counters[REQUESTS_TOTAL]!;
    const nowMs = turn.now();
    const drawn = requests >= seen.drawAt;
    this.before = client.replies.tail;
    const weight = drawn ? seen.draw(requests, nowMs) : 0;
    const { asks, key, keyEnd, needed, opcode } = packet;
    if (!isKeyed(asks)) return;
    const command = NAMES_BY_CODE[opcode]!;
    if (weight > 0) seen.asked(bytes, key, keyEnd, weight, nowMs);
    if (needed > seen.bigFloor) seen.passed(bytes, key, keyEnd, needed, "request", command, clock.wallMs());
    if (!drawn) return;
    const followed = seen.keyOf(bytes, key, keyEnd);
    if (seen.taps.length === 0) {
      if (followed === null) return;
      return seen.follow({ command, key: followed, taps: [], server: null, client: "", words: [] });
    }
    const address = client.peer();
    const taps = seen.listeners(command, address, [latin1(bytes, key, keyEnd)], nowMs);
    if (followed === null && taps.length === 0) return;
    seen.follow({
      command,
      key: followed,
      taps,
      server: this.pool.servers[index]?.config.name ?? null,
      client: address,
      words: taps.length === 0 ? [] : [shownWord(bytes, key, keyEnd, WORD_SHOWN)],
    });
  }

  /** The packet that was looked at has been sent on its way. */
  private sent(client: Client): void {
    const { tail } = client.replies;
    this.seen.sent(tail === this.before ? null : tail, this.pool.clock.wallMs());
    this.before = null;
  }
}

const OPCODE_QUIT = 0x07;
const MEMORY_FULL = encode(MEMORY_FULL_TEXT);
const MECHANISMS = encode("PLAIN");
const AUTHENTICATED = encode("Authenticated");
/** What a tap shows of a key, bytes. */
const WORD_SHOWN = 64;

/** The client waits, and offers its packet again. */
function wait(client: Client): number {
  client.lacks(0);
  return NEED_MORE;
}

/** Writes the line, `line[0, size)`, with the value `bytes[start, end)` behind it. */
function writeValue(
  connection: ServerConnection,
  size: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  if (end - start > COPIED_MAX) {
    connection.write(line, 0, size);
    connection.write(bytes, start, end);
    return connection.write(CRLF, 0, CRLF.length);
  }
  size = copy(line, size, bytes, start, end);
  line[size] = 13;
  line[size + 1] = 10;
  connection.write(line, 0, size + CRLF.length);
}

function takeVerdict(session: BinarySession): Uint8Array {
  const verdict = session.verdict!;
  session.verdict = null;
  return verdict;
}

/** Drops `size` bytes from `start` on: what is here now, the rest as it comes. */
function skip(session: BinarySession, size: number, start: number, end: number): number {
  const here = Math.min(size, end - start);
  session.skipBytes = size - here;
  return start + here;
}

/** Done on all servers, or the first error. */
const JOIN_FLUSH: Joiner = (split) => {
  const { opcode, opaque, quiet } = split.parent as BinaryRequest;
  const reply = JOIN_SAME(split);
  if (replyClass(reply, 0, reply.length) >= CLASS_ERROR) return errorPacket(reply, opcode, opaque);
  split.parent.muted = quiet;
  return statusPacket(opcode, opaque, STATUS_OK);
};

const JOIN_STAT: Joiner = (split) => {
  const { opcode, opaque } = split.parent as BinaryRequest;
  const { bytes, start, end } = split.replies[0]!;
  // One server's statistics stay as it says them.
  const alone = split.replies.length === 1;
  const reply = alone ? bytes : JOIN_STATS(split);
  const from = alone ? start : 0;
  const to = alone ? end : reply.length;
  if (replyClass(reply, from, to) >= CLASS_ERROR) {
    return errorPacket(reply.subarray(from, to), opcode, opaque);
  }
  return statPackets(reply, from, to, opcode, opaque);
};

function errorPacket(reply: Uint8Array, opcode: number, opaque: number): Uint8Array {
  readError(reply, 0, reply.length);
  return statusPacket(opcode, opaque, said.status, said.text);
}
