/**
 * The commands that give a connection a state, or take one for themselves: MULTI and WATCH, blocking commands, SUBSCRIBE,
 * SCAN, CLIENT REPLY and TRACKING.
 *
 * What they need lives in files of its own (redis/transaction.ts, redis/blocking.ts, redis/pubsub.ts, redis/tracking.ts);
 * here is who gets what. Every method returns false if the client has been blocked and has to offer its request
 * again, for instance because replies are still owed that the command must not overtake.
 */
import { concat, encode, equalsFolded, latin1 } from "../bytes/ascii.ts";
import { Args } from "../protocol/redis/args.ts";
import { clientLine } from "../protocol/redis/client_view.ts";
import { type Command, FINDER, FLAG, JOIN, ROUTE, TOPIC } from "../protocol/redis/command.ts";
import { docsFrom, type DocsNames, documented, ownDocs } from "../protocol/redis/command_docs.ts";
import { command, commandHead } from "../protocol/redis/encode.ts";
import { crossSlot, CROSSSLOT_SLOTS, errorReply, NOT_AN_INTEGER } from "../protocol/redis/errors.ts";
import { joinEvery } from "../protocol/redis/join.ts";
import { joinCounts, joinLargest, joinPairMin, pickValue } from "../protocol/redis/join_odd.ts";
import { findKeys, KeyList, keysError } from "../protocol/redis/keys.ts";
import { bulksOf, integerOf, isError } from "../protocol/redis/reply.ts";
import { joinSettings, POOL_SETTINGS } from "../protocol/redis/settings.ts";
import { parseTracking, trackingConflict } from "../protocol/redis/tracking_options.ts";
import {
  emptyPageAfter,
  numberAfter,
  placeOf,
  readCursor,
  type ScanPlace,
  scanReplyFrom,
  scanRequestFor,
  type ScanServers,
  scanServersOf,
} from "../protocol/redis/scan_cursor.ts";
import { type Client, LEASED } from "../proxy/client.ts";
import type { Pool } from "../proxy/pool.ts";
import { OK, ReplyWriter } from "../protocol/redis/reply_writer.ts";
import { type Host, ownSettings, settingsReply } from "../protocol/redis/answers.ts";
import { joinInfoTexts } from "../protocol/redis/info_join.ts";
import { isAcl } from "./acl.ts";
import { BlockingCall } from "./blocking.ts";
import type { PoolRedirects } from "./redirect.ts";
import { NAME_MAX } from "./scripts.ts";
import { GONE, SILENT } from "../proxy/client_question.ts";
import { ClientsWork, viewOf } from "./clients.ts";
import { DocsQuestion, EveryServerWork, InfoRows } from "./command_walk.ts";
import { ACROSS, KEYLESS, ownerOfKeys } from "./places.ts";
import type { Preparation } from "./preparation.ts";
import { PubSub, SubscribeWork, UnsubscribeWork } from "./pubsub.ts";
import { type RedisSession, REPLIES_OFF, REPLIES_ON, REPLIES_SKIP_NEXT } from "./session.ts";
import { anyNode, sendEverywhere } from "./split.ts";
import { Tracking } from "./tracking.ts";
import { Transaction } from "./transaction.ts";
import { pace, refuse, sendFragment } from "../proxy/fan_out.ts";
import { Request } from "../proxy/request.ts";
import type { Server } from "../proxy/server.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";
import { type Joiner, Split } from "../proxy/split.ts";
import { type SliceWork, Walk, WALK_ARGUMENTS, WalkSplit } from "./walk.ts";

/** Nothing more, from nowhere. */
const SCANNED = encode("*2\r\n$1\r\n0\r\n*0\r\n");
const BAD_CURSOR = encode("-ERR invalid cursor\r\n");
const SYNTAX = encode("-ERR syntax error\r\n");
const NOT_INSIDE = errorReply("ERR Command not allowed inside a transaction");
const CACHING_OFF = errorReply(
  "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
);
const CACHING_NOT_OPTIN = errorReply(
  "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
);
const CACHING_NOT_OPTOUT = errorReply(
  "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
);
/** Arguments of CONFIG GET; there are not so many settings, and each is looked for. */
const PATTERNS_MAX = 1024;
const TOO_MANY_PATTERNS = errorReply(`ERR too many patterns (${PATTERNS_MAX})`);
const NO_SUCH_CLIENT = errorReply("ERR The client ID you want redirect to does not exist");
const OTHER_WORKER = errorReply(
  "ERR The client ID you want redirect to is served by another worker of this proxy, which cannot reach it; " +
    "use RESP3 (HELLO 3) without REDIRECT, or set workers: 1",
);
const WORKER_SILENT = errorReply(
  "ERR the worker of the proxy that serves this client does not answer; try again",
);
const BAD_REASON = encode("-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n");
const ONE = encode(":1\r\n");
const ZERO = encode(":0\r\n");
const NO_OWNERS = new Uint16Array(0);

/** What the front lends: the arguments of the request at hand, and the plain ways of sending it. */
export interface Sender {
  readonly args: Args;
  /** What is known already of the keys of the request at hand. */
  readonly prepared: Preparation | null;
  /** Null if the pool is no cluster. */
  readonly redirects: PoolRedirects | null;
  /** To the server with this index (-1 = none live). */
  forward(client: Client, server: number, bytes: Uint8Array, start: number, end: number): void;
  /** See Front.connectionTo. */
  connectionTo(client: Client, server: Server): ServerConnection | null;
  fixedServer(): number;
  /** The command of a request that is not in the table, if servers have told of it. */
  known(bytes: Uint8Array, args: Args): Command | undefined;
  /** A request that was checked when it came, for one reply: EXEC's part that no server has. */
  rerun(client: Client, bytes: Uint8Array): void;
}

/** `onlyOwner` has answered with an error. */
const ANSWERED = -4;

export class RedisModes {
  readonly pubsub: PubSub;
  /** The servers as SCAN's cursors see them. */
  private scanServers: ScanServers;
  private readonly keyList = new KeyList();
  /** The keys that `ownerOf` has looked at last. */
  private keys = this.keyList;

  constructor(private readonly pool: Pool, private readonly sender: Sender, private readonly host: Host) {
    this.pubsub = new PubSub(pool);
    this.scanServers = this.numberServers(null);
  }

  /** The pool has another configuration. @param moved keys may be elsewhere */
  adopt(moved: boolean): void {
    this.scanServers = this.numberServers(this.scanServers);
    if (moved) this.ringChanged();
  }

  private numberServers(before: ScanServers | null): ScanServers {
    return scanServersOf(this.pool.servers.map(({ cells }) => cells.number), before);
  }

  /**
   * The server of all keys of a request.
   * @returns its index, or NOWHERE, ACROSS or KEYLESS; or the error reply that the request deserves
   */
  private ownerOf(command: Command, bytes: Uint8Array): number | Uint8Array {
    const { args, prepared } = this.sender;
    const known = prepared === null ? null : prepared.keysOf(command);
    const count = known === null ? findKeys(command, bytes, args, this.keyList) : known.count;
    this.keys = known ?? this.keyList;
    // The only server there is may say itself what is wrong.
    if (count < 0) {
      return this.pool.servers.length > 1 ? keysError(command, count) : this.sender.fixedServer();
    }
    if (count === 0) return KEYLESS;
    return known === null ? ownerOfKeys(this.pool, bytes, args, this.keyList) : prepared!.owner;
  }

  /** As `ownerOf`, for a command that goes to one server; answers what is wrong and returns ANSWERED then. */
  private onlyOwner(client: Client, command: Command, bytes: Uint8Array): number {
    const owner = this.ownerOf(command, bytes);
    if (typeof owner !== "number") client.answer(owner);
    else if (owner === ACROSS) client.answer(this.crossSlot(bytes));
    else if (owner === -1) this.sender.forward(client, -1, bytes, 0, 0);
    else return owner;
    return ANSWERED;
  }

  /** For the request at hand, the keys of which have just been looked for. */
  private crossSlot(bytes: Uint8Array): Uint8Array {
    const { cluster, config } = this.pool;
    return cluster ? CROSSSLOT_SLOTS : crossSlot(bytes, this.sender.args, this.keys, config.hashTag);
  }

  // ---- transactions

  transaction(
    client: Client,
    session: RedisSession,
    command: Command,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    const transaction = session.transaction ??= new Transaction(
      session,
      (who, part) => this.sender.rerun(who, part),
      (at) => this.crossSlot(at),
      (part, args) => this.sender.known(part, args),
    );
    const done = this.transact(transaction, client, command, bytes, start, end);
    if (transaction.over) session.transaction = null;
    return done;
  }

  /** EXEC was called wrongly inside a transaction. */
  abort(session: RedisSession, error: Uint8Array): boolean {
    const transaction = session.transaction!;
    const done = transaction.abort(error);
    if (transaction.over) session.transaction = null;
    return done;
  }

  private transact(
    transaction: Transaction,
    client: Client,
    command: Command,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    switch (command.name) {
      case "MULTI":
        transaction.multi();
        return true;
      case "EXEC":
        return transaction.exec(this.sender.fixedServer());
      case "DISCARD":
        return transaction.discard();
      case "UNWATCH":
        return transaction.unwatch();
      default: {
        const server = this.onlyOwner(client, command, bytes);
        return server < 0 || transaction.startWatch(server, bytes, start, end);
      }
    }
  }

  /** Keeps a command between MULTI and EXEC. */
  queue(session: RedisSession, command: Command, bytes: Uint8Array, start: number, end: number): void {
    const { args } = this.sender;
    const transaction = session.transaction!;
    const sizeMax = this.pool.config.requestSizeMax;
    if ((command.flags & FLAG.NO_MULTI) !== 0) return transaction.refuse(NOT_INSIDE);
    const alone = this.pool.servers.length === 1;
    const name = command.name.replace("|", " ");
    const cost = this.asideCost(command, bytes, session);
    if (cost > 0) {
      const owner = command.name === "PUBLISH"
        ? this.pool.servers[this.pool.placement.serverOf(bytes, args.starts[1]!, args.ends[1]!)]
        : undefined;
      return transaction.addAside(name, cost, owner, bytes, start, end, sizeMax);
    }
    if (!canQueue(command, alone)) {
      const other = command.name === "SELECT" ? "SELECT of another database" : `'${name}'`;
      return transaction.refuseOurs(
        name,
        errorReply(`ERR ${other} cannot be part of a transaction through this proxy`),
      );
    }
    const owner = command.finder === FINDER.NONE ? KEYLESS : this.ownerOf(command, bytes);
    if (typeof owner !== "number") return transaction.refuse(owner);
    if (command.name === "PUBLISH" || !canQueue(command, false)) transaction.meansWholePool();
    if (command.name.startsWith("EVALSHA")) transaction.namesScript();
    if (command.name.startsWith("FCALL")) transaction.callsFunction(this.functionName(bytes));
    transaction.add(name, owner, bytes, start, end, sizeMax);
  }

  private functionName(bytes: Uint8Array): string {
    const { starts, ends } = this.sender.args;
    return latin1(bytes, starts[1]!, Math.min(ends[1]!, starts[1]! + NAME_MAX));
  }

  /** What a command costs that is kept aside in a transaction (redis/woven.ts); 0 if its server gets it, or it is refused. */
  private asideCost(command: Command, bytes: Uint8Array, session: RedisSession): number {
    const { args } = this.sender;
    // An invalidation that is said again behind a reply (ReplyQueue.insertBehind) would stand between the elements of EXEC's.
    if (session.tracking !== null) return 0;
    if (this.pool.config.users !== null) {
      // Who logs in may have to wait, and what follows would be another's.
      if (command.name === "AUTH") return 0;
      if (isAcl(command)) return COSTLY;
    }
    if (command.name === "PUBLISH") return this.pool.servers.length === 1 ? 0 : 1;
    if (command.name === "CLIENT|INFO") return 1;
    if (command.name === "CLIENT|LIST") return COSTLY;
    if (command.route !== ROUTE.LOCAL || (command.flags & FLAG.QUEUED) !== 0) return 0;
    // It changes how replies are read.
    if (command.name === "HELLO") return 0;
    if (command.name === "SELECT") {
      const db = latin1(bytes, args.starts[1]!, args.ends[1]!);
      // A wrong number is an error in its place; another database would be the server's for what follows.
      const other = /^[0-9]+$/.test(db) && Number(db) < this.pool.config.databases &&
        Number(db) !== session.db;
      return other ? 0 : 1;
    }
    return (command.flags & FLAG.COSTLY) !== 0 ? COSTLY : 1;
  }

  // ---- blocking

  blocking(
    client: Client,
    session: RedisSession,
    command: Command,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    if (!client.atRest()) return false;
    const call = new BlockingCall(client, () => session.blocking = null);
    if (command.finder === FINDER.NONE) {
      session.blocking = call;
      call.startEverywhere(bytes, start, end, command.name === "WAIT" ? JOIN_MIN : JOIN_PAIR_MIN);
      return true;
    }
    const owner = this.onlyOwner(client, command, bytes);
    if (owner < 0) return true;
    const server = this.pool.servers[owner]!;
    const { redirects } = this.sender;
    if (redirects !== null) {
      session.blocking = call;
      call.startIn(redirects, server, bytes, start, end);
    } else if (call.start(server, bytes, start, end)) session.blocking = call;
    else refuse(client, server.refusal());
    return true;
  }

  // ---- pub/sub

  publish(
    client: Client,
    session: RedisSession,
    command: Command,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    switch (command.name) {
      case "PUBLISH":
      case "SPUBLISH":
        this.sendMessage(client, command.topic === TOPIC.SHARD, bytes, start, end);
        return true;
      case "PUBSUB|CHANNELS":
        this.listChannels(client, bytes, start, end);
        return true;
      case "PUBSUB|SHARDCHANNELS":
        sendEverywhere(client, bytes, start, end, JOIN_ALL, JOIN.CONCAT);
        return true;
      case "PUBSUB|NUMPAT":
        sendEverywhere(client, bytes, start, end, JOIN_LARGEST, 0);
        return true;
      case "PUBSUB|NUMSUB":
      case "PUBSUB|SHARDNUMSUB": {
        const wires = command.topic === TOPIC.CHANNEL
          ? this.pubsub.channels.wireBulks(bytes, this.sender.args, 2)
          : null;
        const request = wires === null ? null : concat(
          commandHead(this.sender.args.count, "PUBSUB", "NUMSUB"),
          wires,
        );
        const join = this.joinNumsub(command);
        if (request === null) sendEverywhere(client, bytes, start, end, join, 0);
        else sendEverywhere(client, request, 0, request.length, join, 0);
        return true;
      }
    }
    if (!client.atRest()) return false;
    const names = this.words(bytes, 1);
    const kind = command.topic & TOPIC.KIND;
    if ((command.topic & TOPIC.LEAVES) !== 0) {
      const mine = session.subscriptions;
      const many = mine === null ? 0 : mine.names[kind]!.size;
      if (names.length === 0 && many > WALK_ARGUMENTS) {
        new Walk(session, bytes, start, end, 1, 1, new UnsubscribeWork(this.pubsub, kind, true));
      } else this.pubsub.unsubscribe(client, kind, names);
    } else if (names.length > this.pubsub.namesATurn(kind)) {
      new Walk(
        session,
        bytes,
        start,
        end,
        1,
        names.length + 1,
        new SubscribeWork(this.pubsub, kind, session.rights),
      );
    } else this.pubsub.subscribe(client, kind, names);
    return true;
  }

  private joinNumsub(command: Command): Joiner {
    const kind = command.topic;
    const more = (name: string) => this.pubsub.clientsBehind(kind, name);
    const called = (wire: string) =>
      kind === TOPIC.SHARD ? wire : this.pubsub.channels.toClient(wire) ?? wire;
    return (split) => joinCounts(split.replies, more, called);
  }

  /** PUBSUB CHANNELS: those of other pools' databases are left out, and those that all servers are asked for are there once. */
  private listChannels(client: Client, bytes: Uint8Array, start: number, end: number): void {
    const { args } = this.sender;
    const { channels } = this.pubsub;
    const pattern = args.count > 2 ? latin1(bytes, args.starts[2]!, args.ends[2]!) : "*";
    const wire = channels.toWirePattern(pattern);
    const join: Joiner = (split) => {
      const joined = joinEvery(split.replies, JOIN.CONCAT);
      return isError(joined, 0) ? joined : channels.listed(pattern, wire, joined);
    };
    if (wire === pattern) return sendEverywhere(client, bytes, start, end, join, 0);
    const request = command("PUBSUB", "CHANNELS", wire);
    sendEverywhere(client, request, 0, request.length, join, 0);
  }

  private sendMessage(
    client: Client,
    sharded: boolean,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    const { args } = this.sender;
    const placed = this.pool.placement.serverOf(bytes, args.starts[1]!, args.ends[1]!);
    // In a cluster every node tells all others.
    const owner = sharded ? placed : anyNode(this.pool, placed);
    const channel = latin1(bytes, args.starts[1]!, args.ends[1]!);
    const more = this.pubsub.idle ? 0 : this.pubsub.receiversBehind(channel, sharded);
    if (owner < 0 || more === 0) return this.sender.forward(client, owner, bytes, start, end);
    this.sendJoined(client, owner, bytes, start, end, (split) => {
      const { bytes: reply, start: from, end: to } = split.replies[0]!;
      const count = integerOf(reply, from, to);
      return Number.isNaN(count) ? reply.slice(from, to) : encode(`:${count + more}\r\n`);
    });
  }

  private words(bytes: Uint8Array, from: number): string[] {
    const { args } = this.sender;
    const words: string[] = [];
    for (let i = from; i < args.count; i++) words.push(latin1(bytes, args.starts[i]!, args.ends[i]!));
    return words;
  }

  /** Sends a request to one server and makes its reply over. */
  private sendJoined(
    client: Client,
    index: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    join: Joiner,
  ): void {
    const server = this.pool.servers[index]!;
    const connection = this.sender.connectionTo(client, server);
    if (connection === null) return refuse(client, server.refusal());
    const parent = new Request(client);
    client.enqueue(parent);
    const split = new Split(parent, join, NO_OWNERS, 0);
    sendFragment(split, split.add(), connection, bytes, start, end);
    pace(client, connection);
  }

  // ---- the whole pool

  scan(client: Client, bytes: Uint8Array, start: number, end: number): void {
    const cursor = readCursor(bytes, this.sender.args);
    if (cursor === null) return client.answer(BAD_CURSOR);
    const known = this.scanServers;
    let place = placeOf(cursor, known);
    let server = this.numbered(place);
    // Its keys are out of reach: as if it had been walked. The cursor is good again when the server is back.
    while (server?.ejected) {
      const number = numberAfter(place!.number, known.numbers);
      place = number < 0 ? null : { number, cursor: "0" };
      server = this.numbered(place);
    }
    if (server === undefined) {
      if (this.pool.onRing().length > 0) return client.answer(SCANNED);
      return this.sender.forward(client, -1, bytes, start, end);
    }
    const { number } = place!;
    const request = scanRequestFor(bytes, start, end, this.sender.args, place!.cursor);
    this.sendJoined(client, server.index, request, 0, request.length, (split) => {
      const reply = split.replies[0]!;
      // The servers may be others when the reply comes. Of one that has left meanwhile, or leaves as we are told, the walk comes to
      // whoever has its keys now.
      if (server.gone && isError(reply.bytes, reply.start)) {
        return emptyPageAfter(number, this.numberServers(this.scanServers));
      }
      return scanReplyFrom(reply.bytes, reply.start, reply.end, number, this.scanServers);
    });
  }

  private numbered(place: ScanPlace | null): Server | undefined {
    return place === null ? undefined : this.pool.servers.find(({ cells }) => cells.number === place.number);
  }

  randomKey(client: Client, bytes: Uint8Array, start: number, end: number): void {
    const draw = this.pool.random();
    sendEverywhere(client, bytes, start, end, (split) => pickValue(split.replies, draw), 0);
  }

  /** INFO: what the servers say, made one. Of the pool's own section alone we can speak ourselves: false then. */
  info(client: Client, session: RedisSession, bytes: Uint8Array, start: number, end: number): boolean {
    const { args } = this.sender;
    const wanted = new Set(this.words(bytes, 1).map((name) => name.toLowerCase()));
    if (args.count === 2 && wanted.has("ringmaster")) return false;
    sendEverywhere(client, bytes, start, end, (split) => {
      const texts = split.replies.flatMap((r) => bulksOf(r.bytes, r.start, r.end));
      return new ReplyWriter(session.resp).text(joinInfoTexts(texts, wanted, this.host)).take();
    }, 0);
    return true;
  }

  /** CONFIG GET: the servers' settings, with the pool's own laid over them. */
  configGet(client: Client, session: RedisSession, bytes: Uint8Array, start: number, end: number): void {
    if (this.sender.args.count > PATTERNS_MAX) return client.answer(TOO_MANY_PATTERNS);
    const own = ownSettings(bytes, this.sender.args, this.host);
    const names = this.words(bytes, 2).map((name) => name.toLowerCase());
    if (names.every((name) => POOL_SETTINGS.has(name))) {
      return client.answer(settingsReply(own, session.resp));
    }
    const { dangerousCommands } = this.pool.config;
    sendEverywhere(client, bytes, start, end, (split) => {
      const answered = split.replies.filter((r) => !isError(r.bytes, r.start));
      const error = split.replies[0]!;
      if (answered.length === 0 && own.size === 0) return error.bytes.slice(error.start, error.end);
      const settings = answered.map((r) => new Map(pairs(bulksOf(r.bytes, r.start, r.end))));
      return settingsReply(joinSettings(settings, own, dangerousCommands), session.resp);
    }, 0);
  }

  /** COMMAND DOCS: the fixed server's, with our word on what this proxy refuses; our own if it does not answer. */
  commandDocs(client: Client, session: RedisSession, bytes: Uint8Array, start: number, end: number): void {
    const commands = documented(bytes, this.sender.args);
    const server = this.sender.fixedServer();
    if (server < 0) return client.answer(ownDocs(commands, session.resp));
    this.sendJoined(client, server, bytes, start, end, this.joinDocs(commands, session.resp));
  }

  private joinDocs(commands: readonly Command[], resp: 2 | 3): Joiner {
    return (split) => {
      const { bytes: reply, start: from, end: to } = split.replies[0]!;
      // Servers older than 7.0 do not know COMMAND DOCS.
      if (isError(reply, from)) return ownDocs(commands, resp);
      return docsFrom(reply, from, to, commands, this.pool.config.dangerousCommands, resp);
    };
  }

  /** The same for very many names. */
  private askDocs(walk: Walk, names: DocsNames): void {
    const { client, session } = walk;
    const { commands } = names;
    const server = this.sender.fixedServer();
    const connection = server < 0 ? null : this.sender.connectionTo(client, this.pool.servers[server]!);
    if (connection === null) return walk.finish(ownDocs(commands, session.resp));
    const split = new WalkSplit(walk, this.joinDocs(commands, session.resp));
    const request = names.request();
    sendFragment(split, split.add(), connection, request, 0, request.length);
  }

  // ---- very many arguments

  /** What is to be done with the arguments of a request of very many, slice by slice; null if it is taken whole. */
  walkWork(client: Client, session: RedisSession, command: Command, count: number): SliceWork | null {
    const kind = command.topic & TOPIC.KIND;
    if ((command.topic & TOPIC.LEAVES) !== 0) return new UnsubscribeWork(this.pubsub, kind, false);
    if ((command.topic & TOPIC.SUBSCRIBES) !== 0) return new SubscribeWork(this.pubsub, kind, session.rights);
    switch (command.name) {
      case "PUBSUB|NUMSUB":
      case "PUBSUB|SHARDNUMSUB": {
        const channels = command.topic === TOPIC.CHANNEL ? this.pubsub.channels : null;
        return new EveryServerWork(command, count - 2, 2, this.joinNumsub(command), channels);
      }
      case "CLIENT|KILL":
      case "CLIENT|LIST":
        return new ClientsWork(client, command.name === "CLIENT|KILL", false);
      case "SCRIPT|EXISTS":
        return new EveryServerWork(command, count - 2, 1, (split) => joinEvery(split.replies, command.join));
      case "COMMAND|INFO":
        return new InfoRows(count - 2, session.resp);
      case "COMMAND|DOCS":
        return new DocsQuestion((walk, names) => this.askDocs(walk, names));
      default:
        return null;
    }
  }

  // ---- CLIENT REPLY, TRACKING, CACHING

  clientMode(
    client: Client,
    session: RedisSession,
    command: Command,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    if (command.name === "CLIENT|REPLY") return this.setReplies(client, session, bytes);
    if (command.name === "CLIENT|LIST" || command.name === "CLIENT|KILL") {
      const { count } = this.sender.args;
      const kills = command.name === "CLIENT|KILL";
      // No barrier: its reply comes in one piece, in its place.
      new Walk(session, bytes, start, end, 2, count, new ClientsWork(client, kills, kills && count === 3));
      return true;
    }
    if (command.name === "CLIENT|INFO") {
      const view = viewOf(client, this.pool.turn.now(), this.host.wallMs());
      client.answer(new ReplyWriter(session.resp).text(clientLine(view)).take());
      return true;
    }
    if (command.name === "CLIENT|UNBLOCK") return this.unblock(client, bytes);
    if (command.name === "CLIENT|CACHING") {
      client.answer(this.setCaching(session, bytes, start, end));
      return true;
    }
    return this.setTracking(client, session, bytes);
  }

  /** Ends the wait of a client, of whatever worker, which has the id that CLIENT ID gave it. */
  private unblock(client: Client, bytes: Uint8Array): boolean {
    const [text, how = "TIMEOUT", more] = this.words(bytes, 2);
    const reason = how.toUpperCase();
    if (more !== undefined) client.answer(SYNTAX);
    else if (reason !== "TIMEOUT" && reason !== "ERROR") client.answer(BAD_REASON);
    else if (!/^(0|-?[1-9][0-9]{0,17})$/.test(text!)) client.answer(NOT_AN_INTEGER);
    else {
      const id = Number(text);
      const worker = this.pool.workerOf(id);
      if (worker < 0) client.answer(ZERO);
      else {
        const request = new Request(client);
        client.enqueue(request);
        this.pool.askWorker(worker, { kind: "unblock", id, reason }, (answer) => {
          const reply = answer === SILENT
            ? WORKER_SILENT
            : answer !== GONE && answer.ids.length > 0
            ? ONE
            : ZERO;
          if (request.client !== null) client.deliver(request, reply, 0, reply.length);
        });
      }
    }
    return true;
  }

  /** For the next request: kept until it is sent, since the servers have to hear it right before. */
  private setCaching(session: RedisSession, bytes: Uint8Array, start: number, end: number): Uint8Array {
    const { tracking } = session;
    if (tracking === null) return CACHING_OFF;
    const yes = this.isWord(bytes, 2, "YES");
    if (!yes && !this.isWord(bytes, 2, "NO")) return SYNTAX;
    if (!(yes ? tracking.options.optin : tracking.options.optout)) {
      return yes ? CACHING_NOT_OPTIN : CACHING_NOT_OPTOUT;
    }
    tracking.caching = bytes.slice(start, end);
    return OK;
  }

  private setReplies(client: Client, session: RedisSession, bytes: Uint8Array): boolean {
    if (this.isWord(bytes, 2, "ON")) {
      session.replies = REPLIES_ON;
      client.muted = false;
      client.answer(OK);
    } else if (this.isWord(bytes, 2, "OFF")) {
      session.replies = REPLIES_OFF;
      client.muted = true;
    } else if (this.isWord(bytes, 2, "SKIP")) {
      if (session.replies !== REPLIES_OFF) session.replies = REPLIES_SKIP_NEXT;
    } else client.answer(SYNTAX);
    return true;
  }

  private setTracking(
    client: Client,
    session: RedisSession,
    bytes: Uint8Array,
  ): boolean {
    if (!client.atRest()) return false;
    const options = parseTracking(bytes, this.sender.args, (id) => this.redirectRefusal(id));
    if (options instanceof Uint8Array) {
      client.answer(options);
      return true;
    }
    if (!options.on) {
      this.stopTracking(session);
      client.answer(OK);
      return true;
    }
    const conflict = trackingConflict(options, session.tracking?.options ?? null);
    if (conflict !== null) {
      client.answer(conflict);
      return true;
    }
    const target = options.redirect === 0 ? client : this.clientWith(options.redirect)!;
    const begins = session.tracking === null;
    const request = new Request(client);
    client.enqueue(request);
    client.block(LEASED);
    const done = (reply: Uint8Array) => {
      if (begins && isError(reply, 0)) this.stopTracking(session);
      session.refresh();
      client.deliver(request, reply, 0, reply.length);
      client.unblock(LEASED);
    };
    if (session.tracking !== null) session.tracking.change(options, target, done);
    else {
      session.tracking = new Tracking(session, options, target);
      session.tracking.start(done);
    }
    return true;
  }

  private stopTracking(session: RedisSession): void {
    session.tracking?.stop();
    session.tracking = null;
  }

  private clientWith(id: number): Client | undefined {
    return [...this.pool.clients].find((client) => client.serial === id && !client.closing);
  }

  /** Why invalidations cannot be redirected to the client with this id; null if they can. */
  private redirectRefusal(id: number): Uint8Array | null {
    if (this.clientWith(id) !== undefined) return null;
    return this.pool.isOfOtherWorker(id) ? OTHER_WORKER : NO_SUCH_CLIENT;
  }

  private isWord(bytes: Uint8Array, i: number, word: string): boolean {
    const { args } = this.sender;
    return equalsFolded(bytes, args.starts[i]!, args.ends[i]!, encode(word));
  }

  /** Keys have moved: nobody tells of changes where they were read. */
  ringChanged(): void {
    this.pubsub.ringChanged();
    for (const client of this.pool.clients) (client.session as RedisSession).tracking?.keysMoved();
  }

  // ---- the end

  /** Lets go of everything the client holds: it is gone, or said RESET. */
  abandon(client: Client, session: RedisSession): void {
    session.transaction?.abandon();
    session.transaction = null;
    session.blocking?.abandon();
    session.blocking = null;
    session.large?.abandon();
    session.large = null;
    session.sliced?.abandon?.();
    session.sliced = null;
    session.preparation = null;
    this.stopTracking(session);
    this.pubsub.abandon(client);
    session.replies = REPLIES_ON;
    client.muted = false;
    session.refresh();
  }
}

/** Of ASIDE_MAX: an answer of many kilobytes, or one that all servers are asked for. */
const COSTLY = 64;

/** @param alone the pool has one server, which then is the whole pool inside a transaction too */
function canQueue(command: Command, alone: boolean): boolean {
  switch (command.route) {
    case ROUTE.EVERY_SERVER:
    case ROUTE.SCAN:
    case ROUTE.RANDOM_SERVER:
      return alone;
    case ROUTE.KEYED:
    case ROUTE.SCRIPT_KEYED:
    case ROUTE.SPLIT_VALUES:
    case ROUTE.SPLIT_PAIRS:
    case ROUTE.SPLIT_SUM:
    case ROUTE.FIXED:
    case ROUTE.BLOCKING:
      return true;
    default:
      return (command.flags & FLAG.QUEUED) !== 0;
  }
}

const JOIN_ALL: Joiner = (split) => joinEvery(split.replies, split.detail);
const JOIN_MIN: Joiner = (split) => joinEvery(split.replies, JOIN.MIN);
const JOIN_LARGEST: Joiner = (split) => joinLargest(split.replies);
const JOIN_PAIR_MIN: Joiner = (split) => joinPairMin(split.replies);

function pairs(texts: readonly string[]): [string, string][] {
  const found: [string, string][] = [];
  for (let i = 0; i + 1 < texts.length; i += 2) found.push([texts[i]!, texts[i + 1]!]);
  return found;
}
