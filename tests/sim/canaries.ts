/**
 * Mistakes made on purpose, to see that the simulator notices them. Each is a patch of a class in src/, put on while some
 * seeds run and taken off again. If none of the seeds complains, the checkers are blind.
 */
import { Outbox } from "../../src/bytes/outbox.ts";
import type { PoolConfig } from "../../src/config/config.ts";
import { Client } from "../../src/proxy/client.ts";
import { Limits } from "../../src/proxy/limits.ts";
import { BinaryRequest } from "../../src/memcached/binary_request.ts";
import { GetBatch } from "../../src/memcached/get_batch.ts";
import { Endpoint } from "../../src/proxy/endpoint.ts";
import { Ejection } from "../../src/proxy/ejection.ts";
import { MemcachedFront } from "../../src/memcached/front.ts";
import { Logins } from "../../src/memcached/login.ts";
import type { MemcachedSession } from "../../src/memcached/session.ts";
import { OLDEST, ServerVersions } from "../../src/memcached/versions.ts";
import { READ_AS_1_6_18 } from "../../src/protocol/memcached/request.ts";
import { PoolUsers } from "../../src/proxy/users.ts";
import { RedisFront } from "../../src/redis/front.ts";
import { ReplyQueue } from "../../src/proxy/reply_queue.ts";
import { ReplyStream } from "../../src/proxy/reply_stream.ts";
import { Request } from "../../src/proxy/request.ts";
import type { RedisSession } from "../../src/redis/session.ts";
import { Execution } from "../../src/redis/exec.ts";
import { Preparation } from "../../src/redis/preparation.ts";
import { Scripts } from "../../src/redis/scripts.ts";
import { SlicedRequest } from "../../src/redis/slices.ts";
import { PubSub } from "../../src/redis/pubsub.ts";
import { Tracking } from "../../src/redis/tracking.ts";
import { Upstream } from "../../src/redis/upstream.ts";
import { Transaction } from "../../src/redis/transaction.ts";
import { type Aside, Weaver } from "../../src/redis/woven.ts";
import { Server } from "../../src/proxy/server.ts";
import { ServerConnection } from "../../src/proxy/server_connection.ts";
import { Split } from "../../src/proxy/split.ts";
import { Pool } from "../../src/proxy/pool.ts";
import { RunningTime } from "../../src/runtime/running_time.ts";
import { Proxy } from "../../src/service/proxy.ts";
import { type Arrangement, Board, PoolBoard, type ServerCells } from "../../src/stats/board.ts";
import { Quotas } from "../../src/stats/quotas.ts";
import { SERVER_EJECTS } from "../../src/stats/metrics.ts";
import { Placement } from "../../src/ring/placement.ts";
import { concat, latin1, textOf } from "../lib/bytes.ts";
import { passwordsOf } from "./auth.ts";
import { SimSocket } from "./net.ts";
import { FEW, isOrdered, PASS_USUAL, type Plan } from "./plan.ts";

export interface Canary {
  readonly name: string;
  /** The worlds in which it can show; absent: all. */
  readonly where?: (plan: Plan) => boolean;
  /** In worlds that are asked for, since few are so by themselves: see planOf. */
  readonly meeting?: boolean;
  /** It is about something that the other protocol does not have. */
  readonly only?: "redis" | "memcached";
  /** The first seed, where it shows in one world of hundreds and one of those is known; absent: 1. */
  readonly from?: number;
  /** Makes the mistake; returns what takes it back. */
  plant(): () => void;
}

type Method = (this: any, ...args: any[]) => unknown;

/** Replaces a method; `make` gets the old one. */
function patch(owner: object, name: string, make: (old: Method) => Method): () => void {
  const methods = owner as Record<string, Method>;
  const old = methods[name];
  if (typeof old !== "function") throw new Error(`there is no ${name} to make a mistake in`);
  methods[name] = make(old);
  return () => {
    methods[name] = old;
  };
}

/** Replaces what an accessor says. */
function patchGetter(owner: object, name: string, get: (it: any) => unknown): () => void {
  const old = Object.getOwnPropertyDescriptor(owner, name)!;
  Object.defineProperty(owner, name, {
    ...old,
    get() {
      return get(this);
    },
  });
  return () => Object.defineProperty(owner, name, old);
}

/** True every nth time. */
function nth(n: number): () => boolean {
  let count = 0;
  return () => ++count % n === 0;
}

/** Worlds in which something comes between the slices of a transaction. */
const inSlices = (plan: Plan) => plan.sliceArguments < 100 && plan.transactionsMax > FEW && plan.slowTurns;

/** Worlds in which redis_auth changes. */
const changesAuth = (plan: Plan) => passwordsOf(plan).size > 1;

/** Worlds in which memcached clients have to log in, at first at least. */
const hasUsers = (plan: Plan) => plan.pool.users !== null;

/** Worlds in which it is certain what the proxy knows of its memcacheds. */
const knowsVersions = (plan: Plan) => plan.calm && !plan.longTurns && plan.stops.length === 0;

/** Worlds in which others take the place of servers. */
const isReplaced = (plan: Plan) => plan.switches.length > 0;

export const CANARIES: readonly Canary[] = [
  {
    name: "two requests in flight of different clients get each other's replies",
    plant() {
      const now = nth(20);
      return patch(ServerConnection.prototype, "takeReply", (old) =>
        function (bytes, start, end) {
          const first: Request | null = this.head;
          const second = first?.nextInFlight ?? null;
          if (
            first !== null && second !== null && first.client !== null && second.client !== null &&
            first.client !== second.client && now()
          ) [first.client, second.client] = [second.client, first.client];
          return old.call(this, bytes, start, end);
        });
    },
  },
  {
    name: "two replies on one connection are swapped",
    plant() {
      const now = nth(20);
      return patch(ServerConnection.prototype, "takeReply", (old) =>
        function (bytes, start, end) {
          const first: Request | null = this.head;
          const second = first?.nextInFlight ?? null;
          if (
            first?.client && second?.client && first.split === null && second.split === null &&
            this.oldest !== second && second.nextInFlight === null && now()
          ) {
            second.nextInFlight = first;
            first.nextInFlight = null;
            this.head = second;
            this.tail = first;
            if (this.oldest === first) this.oldest = second;
          }
          return old.call(this, bytes, start, end);
        });
    },
  },
  {
    name: "the last two bytes of a reply are not sent",
    plant() {
      const now = nth(50);
      return patch(Client.prototype, "send", (old) =>
        function (bytes, start, end) {
          return old.call(this, bytes, start, now() ? end - 2 : end);
        });
    },
  },
  {
    name: "what a short write leaves is lost",
    plant: () =>
      patch(SimSocket.prototype, "askWrite", (old) =>
        function () {
          const { queue } = this as { queue: { start: number; bytes: Uint8Array }[] };
          const last = queue.at(-1);
          if (last !== undefined && last.start < last.bytes.length - 1) {
            this.queuedBytes -= last.bytes.length - last.start;
            queue.pop();
          }
          return old.call(this);
        }),
  },
  {
    name: "fragments in flight are forgotten when their connection ends",
    plant: () =>
      patch(ServerConnection.prototype, "answerFailed", (old) =>
        function (request: Request, failure) {
          if (request.split !== null) return;
          return old.call(this, request, failure);
        }),
  },
  {
    name: "requests of clients in flight are forgotten when their connection ends",
    plant: () =>
      patch(ServerConnection.prototype, "failAll", (old) =>
        function (failure) {
          if (this.head !== null && this.head === this.tail) this.head = this.tail = this.oldest = null;
          return old.call(this, failure);
        }),
  },
  {
    name: "a held reply is a view of borrowed bytes",
    plant: () =>
      patch(ReplyQueue.prototype, "hold", (old) =>
        function (request: Request, bytes, start, end) {
          old.call(this, request, bytes, start, end);
          request.reply = bytes;
          request.replyStart = start;
          request.replyEnd = end;
        }),
  },
  {
    name: "a fragment's reply is a view of borrowed bytes",
    plant: () =>
      patch(Split.prototype, "take", (old) =>
        function (fragment, bytes, start, end, failed) {
          old.call(this, fragment, bytes, start, end, failed);
          const reply = this.replies[fragment];
          // With the last one all has been joined, and is used again.
          if (reply === undefined) return;
          reply.bytes = bytes;
          reply.start = start;
          reply.end = end;
        }),
  },
  {
    name: "the late reply of a request that timed out goes to the next one",
    plant: () =>
      patch(ServerConnection.prototype, "sweep", (old) =>
        function (nowMs) {
          const result = old.call(this, nowMs);
          // Forgets what has timed out, whose reply may still come.
          while (this.head !== null && this.head !== this.oldest && this.oldest !== null) {
            this.head = this.head.nextInFlight;
          }
          return result;
        }),
  },
  {
    name: "an ejection is counted twice",
    plant: () =>
      patch(Ejection.prototype, "eject", (old) =>
        function (server: Server) {
          server.pool.counters[SERVER_EJECTS]!++;
          return old.call(this, server);
        }),
  },
  {
    name: "more servers leave the ring than max_ejected allows",
    where: (plan) => plan.pool.autoEjectHosts && plan.pool.maxEjected < 1 && plan.changes.length === 0,
    plant: () =>
      patch(PoolBoard.prototype, "eject", (old) =>
        function (server: ServerCells, worker: number) {
          return old.call(this, server, worker, Infinity);
        }),
  },
  {
    name: "a request that may have been executed is sent again on another connection",
    plant() {
      const sent = new WeakMap<Request, Uint8Array>();
      const first = patch(
        ServerConnection.prototype,
        "write",
        (old) =>
          function (bytes: Uint8Array, start: number, end: number) {
            const request: Request = this.tail;
            const before = sent.get(request) ?? new Uint8Array(0);
            sent.set(request, concat([before, bytes.subarray(start, end)]));
            return old.call(this, bytes, start, end);
          },
      );
      const second = patch(ServerConnection.prototype, "failAll", (old) =>
        function (failure) {
          const requests: Request[] = [];
          for (let r: Request | null = this.head; r !== null; r = r.nextInFlight) {
            if (r.client !== null) requests.push(r);
          }
          old.call(this, failure);
          for (const request of requests) {
            const again = (this.server as Server).connection(this.connectionClass, 0);
            const bytes = sent.get(request);
            if (bytes !== undefined) again?.ask(bytes, () => {});
          }
        });
      return () => {
        second();
        first();
      };
    },
  },
  {
    name: "the line of a full server is taken for a reply",
    where: (plan) => plan.turnsAway > 0 && plan.pool.clientConnectionsMax === 0,
    plant: () => patch(ServerConnection.prototype, "isTurnedAway", () => () => false),
  },
  {
    name: "what concerns all servers is asked of the ejected as well",
    only: "redis",
    where: (plan) => plan.pool.autoEjectHosts,
    plant: () =>
      patch(Pool.prototype, "onRing", () =>
        function () {
          return this.servers;
        }),
  },
  {
    name: "a server that returns is not told the scripts",
    only: "redis",
    where: (plan) => plan.scripts && plan.trackers === 0,
    plant: () => patch(RedisFront.prototype, "tells", () => () => false),
  },
  {
    name: "the ring forgets that a server was ejected",
    plant: () => patch(Placement.prototype, "setLive", () => function () {}),
  },
  {
    name: "a key is hashed without its last byte",
    plant: () =>
      patch(Placement.prototype, "serverOf", (old) =>
        function (bytes, start, end) {
          return old.call(this, bytes, start, end - start > 3 ? end - 1 : end);
        }),
  },
  {
    name: "a client that is gone is still counted",
    plant: () => patch(Pool.prototype, "forget", () => function () {}),
  },
  {
    name: "a client paused for its requests in flight is never resumed",
    plant: () =>
      patch(Client.prototype, "unblock", (old) =>
        function (reason) {
          if (reason === 2) return;
          return old.call(this, reason);
        }),
  },
  {
    name: "the values of one slice are put before those of the slice before it",
    only: "redis",
    where: (plan) => plan.sliceArguments < 100,
    plant: () =>
      patch(SlicedRequest.prototype, "keep", (old) =>
        function (joined, end) {
          const before = this.values as Outbox;
          this.values = new Outbox();
          const may = old.call(this, joined, end);
          this.values.adopt(before);
          return may;
        }),
  },
  {
    name: "a transaction goes out in slices on a connection that others use",
    only: "redis",
    where: inSlices,
    plant: () =>
      patch(Execution.prototype, "sendLeased", () =>
        function (server: Server) {
          const client: Client = this.client;
          const connection = server.connection(client.pool.front.connectionClass(client), client.serial);
          if (connection !== null) this.sendSliced(connection);
          return connection !== null;
        }),
  },
  {
    name: "the connection of a transaction whose client leaves in the middle is given to the next",
    only: "redis",
    where: inSlices,
    plant: () =>
      patch(Execution.prototype, "abandon", () =>
        function () {
          this.stop();
          const { connection } = this;
          connection.holder = null;
          connection.endpoint.spare.push(connection);
        }),
  },
  {
    name: "after a stop of the process deadlines are judged before sockets are read",
    where: (plan) => plan.calm && plan.stops.length > 0 && plan.pool.timeoutMs > 0,
    plant: () =>
      patch(RunningTime.prototype, "look", () =>
        function () {
          return this.real();
        }),
  },
  {
    name: "in EXEC's reply what is answered here stands before all else",
    only: "redis",
    where: (plan) => plan.asides,
    plant: () =>
      patch(Weaver.prototype, "weave", (old) =>
        function (reply, start, end) {
          this.asides = this.asides.map((aside: Aside) => ({ ...aside, before: 0 }));
          return old.call(this, reply, start, end);
        }),
  },
  {
    name: "who has got a part of a reply gets an error as its rest",
    where: (plan) => plan.passMin < PASS_USUAL && plan.pool.servers.length === 1 && !plan.calm,
    plant: () => patch(ServerConnection.prototype, "breakOff", () => function () {}),
  },
  {
    name: "the next in a batch gets the next value, whatever its key",
    only: "memcached",
    plant: () =>
      patch(GetBatch.prototype, "find", () =>
        function () {
          return this.members.findIndex((member: Request | null) => member !== null);
        }),
  },
  {
    name: "who gets nothing from a batch is not told so",
    only: "memcached",
    plant: () =>
      patch(GetBatch.prototype, "finish", (old) =>
        function (bytes, start, end) {
          const at = this.takeValues(bytes, start, end);
          for (const member of this.members) if (member !== null && this.waiting > 1) member.client = null;
          return old.call(this, bytes, at, end);
        }),
  },
  {
    name: "when a server fails, only the first of a batch is told",
    only: "memcached",
    plant: () =>
      patch(GetBatch.prototype, "fail", (old) =>
        function (reply) {
          for (const member of this.members.slice(1)) if (member !== null) member.client = null;
          old.call(this, reply);
        }),
  },
  {
    name: "the line of a batch is written once more",
    only: "memcached",
    plant: () =>
      patch(ServerConnection.prototype, "closeLine", (old) =>
        function (line) {
          old.call(this, line);
          if (line.size > 1) this.write(line.bytes, 0, line.end);
        }),
  },
  {
    name: "parts of a reply overtake what is owed before it",
    where: (plan) => plan.passMin < PASS_USUAL,
    plant: () => patch(ReplyStream.prototype, "mayBegin", () => (head: Request) => head.client !== null),
  },
  {
    name: "a request times out twice as late as it should, and its client is never told",
    plant: () => patch(ServerConnection.prototype, "sweep", () => () => false),
  },
  {
    name: "nobody looks whether a drained socket has clients waiting",
    where: (plan) => plan.hugeValues,
    plant: () => patch(ServerConnection.prototype, "releaseWaiters", () => function () {}),
  },
  {
    name: "a leased connection is given back although it still watches",
    only: "redis",
    plant: () =>
      patch(Endpoint.prototype, "giveBack", (old) =>
        function (connection) {
          return old.call(this, connection, true);
        }),
  },
  {
    name: "after a server has returned nobody subscribes again",
    only: "redis",
    where: (plan) => plan.subscribers > 0,
    plant() {
      const begun = new WeakSet<object>();
      return patch(Upstream.prototype, "catchUp", (old) =>
        function () {
          if (begun.has(this)) this.missing = null;
          else old.call(this);
          begun.add(this);
        });
    },
  },
  {
    name: "a message reaches whoever is subscribed to anything",
    only: "redis",
    where: (plan) => plan.subscribers > 0,
    plant: () =>
      patch(
        PubSub.prototype,
        "message",
        () =>
          function (_server, kind: number, _wire, _channel, message, start, end) {
            const clients = new Set<Client>();
            for (const topic of this.topics[kind].values()) {
              for (const client of [topic.first, ...topic.more ?? []]) {
                if (client !== null) clients.add(client);
              }
            }
            for (const client of clients) client.push(message.slice(start, end), 0, end - start);
          },
      ),
  },
  {
    name: "an invalidation is dropped",
    only: "redis",
    where: (plan) => plan.trackers > 0,
    plant() {
      const now = nth(10);
      return patch(Tracking.prototype, "pushed", (old) =>
        function (bytes, start, end, behind) {
          if (!now()) return old.call(this, bytes, start, end, behind);
        });
    },
  },
  {
    name: "an invalidation goes to another client",
    only: "redis",
    where: (plan) => plan.trackers > 0,
    plant() {
      const now = nth(10);
      return patch(Tracking.prototype, "pushed", (old) =>
        function (bytes, start, end, behind) {
          const { client, target } = this as { client: Client; target: Client };
          const other = [...client.pool.clients].find((one) => one !== target && !one.closed);
          if (other === undefined || !now()) return old.call(this, bytes, start, end, behind);
          other.push(bytes, start, end);
        });
    },
  },
  {
    name: "an invalidation overtakes the reply that it is about",
    only: "redis",
    where: (plan) => plan.trackers > 0,
    plant: () => patch(Tracking.prototype, "repeat", () => function () {}),
  },
  {
    name: "a lost connection of a client that tracks invalidates nothing",
    only: "redis",
    where: (plan) => plan.trackers > 0,
    plant: () =>
      patch(
        Tracking.prototype,
        "lineLost",
        () =>
          function (line: { server: Server; connectionClass: number }) {
            const classes = this.lines.get(line.server);
            if (classes !== undefined) classes[line.connectionClass] = undefined;
          },
      ),
  },
  {
    name: "what clients do is not counted against their limits",
    where: (plan) => plan.pools.every(({ perAddress }) => (perAddress?.requestsMax ?? 0) > 0),
    from: 3660,
    plant: () => patch(Quotas.prototype, "spend", () => function () {}),
  },
  {
    name: "who leaves keeps his place among those of his address",
    where: (plan) => plan.limited,
    plant: () => patch(Quotas.prototype, "leave", () => function () {}),
  },
  {
    name: "what is refused for a limit is done all the same",
    only: "redis",
    where: (plan) => plan.limited,
    plant: () =>
      patch(RedisFront.prototype, "refuseWork", (old) =>
        function (client: Client, session, bytes) {
          const refused = old.call(this, client, session, bytes) as boolean;
          if (refused) client.muted = true;
          return false;
        }),
  },
  {
    name: "who was here before the limits has no part in them",
    where: (plan) => plan.limited && plan.changes.length > 0,
    plant: () => patch(Limits.prototype, "shareSoon", () => function () {}),
  },
  {
    name: "whoever is logged in keeps the rights that he has",
    only: "redis",
    where: (plan) => plan.ruled && plan.changes.length > 0,
    plant: () => patch(RedisFront.prototype, "adoptUser", () => function () {}),
  },
  {
    name: "a transaction is done by rules that are gone",
    only: "redis",
    where: (plan) => plan.ruled && plan.changes.length > 0 && plan.transactionsMax > FEW,
    meeting: true,
    plant: () => patch(Transaction.prototype, "rightsChanged", () => function () {}),
  },
  {
    name: "who hears what he may not hear any more goes on hearing it",
    only: "redis",
    where: (plan) => plan.ruled && plan.changes.length > 0 && plan.subscribers > 0,
    plant: () =>
      patch(RedisFront.prototype, "adoptUser", (old) =>
        function (client: Client, session: RedisSession) {
          const { subscriptions } = session;
          session.subscriptions = null;
          old.call(this, client, session);
          session.subscriptions = subscriptions;
        }),
  },
  {
    name: "what rules forbid is done all the same",
    only: "redis",
    where: (plan) => plan.ruled,
    plant: () =>
      patch(RedisFront.prototype, "forbids", (old) =>
        function (session: RedisSession, command, bytes) {
          old.call(this, session, command, bytes);
          return null;
        }),
  },
  {
    name: "a server that returns is told no libraries",
    only: "redis",
    where: (plan) => plan.libraries,
    plant: () => patch(Scripts.prototype, "tells", () => () => false),
  },
  {
    name: "keys that move invalidate nothing",
    only: "redis",
    where: (plan) => plan.trackers > 0 && plan.pool.autoEjectHosts,
    plant: () => patch(Tracking.prototype, "keysMoved", () => function () {}),
  },
  {
    name: "what is read before the servers know of the ear is read unheard",
    only: "redis",
    where: (plan) => plan.trackers > 0,
    plant() {
      const held = new WeakMap<object, Request>();
      const takeBack = [
        patch(ServerConnection.prototype, "hold", () =>
          function (request: Request) {
            held.set(this, request);
          }),
        patch(ServerConnection.prototype, "release", () =>
          function (request: Request, bytes) {
            if (held.delete(this)) this.ask(bytes, request.internal);
          }),
        patch(ServerConnection.prototype, "failAll", (old) =>
          function (failure) {
            const request = held.get(this);
            held.delete(this);
            const reply = (this.server as Server).errorReply(failure);
            request?.internal?.(reply, 0, reply.length, true);
            return old.call(this, failure);
          }),
      ];
      return () => takeBack.forEach((one) => one());
    },
  },
  {
    name: "the connections of a client that tracks are given to others afterwards",
    only: "redis",
    where: (plan) => plan.trackers > 0,
    plant: () =>
      patch(Tracking.prototype, "stop", () =>
        function () {
          this.stopped = true;
          this.answer = null;
          for (const line of this.eachLine()) line.connection.endpoint.giveBack(line.connection, true);
          this.lines.clear();
        }),
  },
  {
    name: "a line whose data block some memcacheds run as a command is forwarded",
    only: "memcached",
    plant: () =>
      patch(MemcachedFront.prototype, "dispatch", (old) =>
        function (client: Client, bytes, start, end) {
          const odd = /^set \S+ 5 0 \+/.test(textOf(bytes, start, Math.min(end, start + 300)));
          const connection = odd ? this.pool.servers[0].connection(0, client.serial) : null;
          if (connection === null) return old.call(this, client, bytes, start, end);
          const request = new Request(client);
          client.enqueue(request);
          connection.forward(request, bytes, start, end);
        }),
  },
  {
    name: "the pool is as new as its newest memcached",
    only: "memcached",
    where: (plan) => knowsVersions(plan) && new Set(plan.versions).size > 2,
    plant: () =>
      patch(ServerVersions.prototype, "answered", (old) =>
        function () {
          this.known = this.known.map(() => this.known.toSorted().at(-1));
          old.call(this);
        }),
  },
  {
    name: "lines are read as of old whatever the servers say they are",
    only: "memcached",
    where: (plan) => knowsVersions(plan) && !plan.versions.includes(OLDEST),
    plant: () =>
      patch(ServerVersions.prototype, "answered", (old) =>
        function () {
          const { changed } = this;
          this.changed = () => changed(READ_AS_1_6_18);
          old.call(this);
          this.changed = changed;
        }),
  },
  {
    name: "who comes may do everything before it has logged in",
    only: "memcached",
    where: hasUsers,
    plant: () => patch(Logins.prototype, "welcome", () => function () {}),
  },
  {
    name: "logins are judged by the users of the first configuration",
    only: "memcached",
    where: (plan) => hasUsers(plan) && changesAuth(plan),
    plant() {
      const known = new WeakSet<object>();
      return patch(PoolUsers.prototype, "adopt", (old) =>
        function (config) {
          if (!known.has(this)) old.call(this, config);
          known.add(this);
        });
    },
  },
  {
    name: "noreply and q are cut out, and then forgotten",
    only: "memcached",
    plant: () =>
      patch(MemcachedFront.prototype, "fits", (old) =>
        function (request: Request) {
          const fits = old.call(this, request);
          request.muted = false;
          return fits;
        }),
  },
  {
    name: "q hides whatever the reply is",
    only: "memcached",
    plant: () =>
      patch(MemcachedFront.prototype, "fits", (old) =>
        function (request: Request) {
          const fits = old.call(this, request);
          if (request.check > 0xff) request.muted = true;
          return fits;
        }),
  },
  {
    name: "a failed server's keys of a multi-get are misses",
    only: "memcached",
    plant: () =>
      patch(Split.prototype, "take", (old) =>
        function (fragment, bytes, start, end, failed) {
          if (!failed) return old.call(this, fragment, bytes, start, end, failed);
          const none = latin1("END\r\n");
          return old.call(this, fragment, none, 0, none.length, false);
        }),
  },
  {
    name: "a quiet packet whose server has failed is silent",
    only: "memcached",
    plant: () =>
      patch(BinaryRequest.prototype, "fail", (old) =>
        function (reply) {
          if (this.quiet) this.muted = true;
          old.call(this, reply);
        }),
  },
  {
    name: "some packets are answered with another's opaque",
    only: "memcached",
    plant() {
      const now = nth(20);
      return patch(BinaryRequest.prototype, "finish", (old) =>
        function (bytes, start, end) {
          if (now()) this.fragment--;
          return old.call(this, bytes, start, end);
        });
    },
  },
  {
    name: "the last byte of a refused value that comes in pieces is taken for a request",
    only: "memcached",
    where: (plan) => plan.pool.requestSizeMax < 64 * 1024,
    plant: () =>
      patch(MemcachedFront.prototype, "step", (old) =>
        function (client: Client, bytes, start, end) {
          const session = client.session as MemcachedSession;
          const wasSkipping = session.skipBytes > 0;
          const next = old.call(this, client, bytes, start, end);
          if (!wasSkipping && session.skipBytes > 0) session.skipBytes--;
          return next;
        }),
  },
  {
    name: "a push does not wait for the end of the reply that is begun",
    where: (plan) => plan.passMin < PASS_USUAL && plan.trackers > 0,
    only: "redis",
    plant: () =>
      patch(Client.prototype, "push", () =>
        function (bytes, start, end) {
          if (!this.closed) this.send(bytes, start, end);
        }),
  },
  {
    name: "the old ring is used after a commit",
    where: (plan) => plan.changes.length > 0,
    plant: () =>
      patch(Pool.prototype, "adopt", (old) =>
        function (config: PoolConfig) {
          const { placement } = this as Pool;
          const servers = this.servers.length;
          old.call(this, config);
          if (servers !== this.servers.length) return;
          this.placement = placement;
          placement.setLive(this.live);
        }),
  },
  {
    name: "two workers are on different epochs for the same key",
    where: (plan) => plan.changes.length > 0 && plan.workers > 1,
    plant: () =>
      patch(Proxy.prototype, "commit", (old) =>
        function (prepared) {
          if (this.seat.worker === 0) old.call(this, prepared);
        }),
  },
  {
    name: "a counter is lost",
    where: (plan) => plan.changes.length > 0,
    plant: () =>
      patch(Board.prototype, "arrange", (old) =>
        function (plan: Arrangement) {
          return old.call(this, plan.map(({ pool, servers }) => ({ pool, servers: servers.map(() => -1) })));
        }),
  },
  {
    name: "the connections of a server that has gone stay",
    where: (plan) => plan.changes.length > 0,
    plant: () =>
      patch(Server.prototype, "leave", () =>
        function () {
          this.gone = true;
          this.index = -1;
        }),
  },
  {
    name: "a server that has gone is asked something new",
    only: "redis",
    where: (plan) => plan.changes.length > 0,
    plant: () =>
      patch(Pool.prototype, "onRing", (old) =>
        function () {
          return [...old.call(this) as Server[], ...this.leaving];
        }),
  },
  {
    name: "keys that move with a change invalidate nothing",
    only: "redis",
    where: (plan) => plan.trackers > 0 && plan.changes.length > 0,
    plant: () => patch(Tracking.prototype, "keysMoved", () => function () {}),
  },
  {
    name: "an index is kept over a turn",
    only: "redis",
    where: (plan) => plan.trackers > 0 && plan.changes.length > 0,
    plant: () =>
      patch(Tracking.prototype, "lineTo", (old) =>
        function (server: Server) {
          const kept: Map<string, { over: boolean }> = this.kept ??= new Map();
          const place = `${server.index} ${this.connectionClass}`;
          const before = kept.get(place);
          if (before !== undefined && !before.over) return before;
          const line = old.call(this, server) as { over: boolean } | undefined;
          if (line !== undefined) kept.set(place, line);
          return line;
        }),
  },
  {
    name: "a request overtakes another for the same key when that moves",
    from: 2850,
    meeting: true,
    where: isOrdered,
    plant: () => patch(Client.prototype, "settle", () => function () {}),
  },
  {
    name: "servers are given the password of the first configuration",
    only: "redis",
    where: changesAuth,
    plant() {
      const first = new WeakMap<object, PoolConfig>();
      return patch(RedisFront.prototype, "greetings", (old) =>
        function (connectionClass, role) {
          const { config } = this;
          const { redisAuth } = first.get(this) ?? config;
          if (!first.has(this)) first.set(this, config);
          this.config = { ...config, redisAuth };
          const greetings = old.call(this, connectionClass, role);
          this.config = config;
          return greetings;
        });
    },
  },
  {
    name: "clients are let in by the password of the first configuration",
    only: "redis",
    where: changesAuth,
    plant() {
      const first = new WeakMap<object, unknown>();
      return patch(RedisFront.prototype, "newSession", (old) =>
        function (client) {
          const { config } = this;
          if (!first.has(this)) first.set(this, config.redisAuth);
          this.config = { ...config, redisAuth: first.get(this) };
          const session = old.call(this, client);
          this.config = config;
          return session;
        });
    },
  },
  {
    name: "the limits stay those of the first configuration",
    only: "redis",
    where: (plan) =>
      new Set(plan.pools.map((pool) => `${pool.argumentsMax} ${pool.requestSizeMax}`)).size > 1,
    plant: () =>
      patch(RedisFront.prototype, "adopt", (old) =>
        function () {
          const { limits } = this;
          old.call(this);
          this.limits = limits;
        }),
  },
  {
    name: "the limits stay those of the first configuration",
    only: "memcached",
    where: (plan) => new Set(plan.pools.map((pool) => pool.requestSizeMax)).size > 1,
    plant: () =>
      patch(MemcachedFront.prototype, "adopt", (old) =>
        function () {
          const { limits } = this;
          old.call(this);
          this.limits = limits;
        }),
  },
  {
    name: "a transaction keeps its server's index over a change",
    only: "redis",
    meeting: true,
    where: (plan) => plan.transactionsMax > FEW,
    plant() {
      const indexes = new WeakMap<object, number>();
      const takeBack = [
        patch(Transaction.prototype, "add", (old) =>
          function (command, server, bytes, start, end, bytesMax) {
            old.call(this, command, server, bytes, start, end, bytesMax);
            if (this.server !== null && !indexes.has(this)) indexes.set(this, this.server.index);
          }),
        patch(Transaction.prototype, "placeAnew", () =>
          function () {
            const index = indexes.get(this);
            if (this.server !== null && index !== undefined) {
              this.server = this.client.pool.servers[index] ?? this.server;
            }
          }),
        patch(Transaction.prototype, "clear", (old) =>
          function () {
            indexes.delete(this);
            return old.call(this);
          }),
      ];
      return () => takeBack.forEach((one) => one());
    },
  },
  {
    name: "a request in slices keeps its server's index over a change",
    only: "redis",
    meeting: true,
    where: (plan) => plan.sliceArguments < 100,
    plant() {
      const indexes = new WeakMap<object, number>();
      const takeBack = [
        patch(SlicedRequest.prototype, "resume", (old) =>
          function () {
            old.call(this);
            if (this.only >= 0 && !indexes.has(this)) indexes.set(this, this.only);
          }),
        patch(SlicedRequest.prototype, "sendWhole", (old) =>
          function (index) {
            const { length } = this.client.pool.servers as readonly Server[];
            return old.call(this, Math.min(indexes.get(this) ?? index, length - 1));
          }),
      ];
      return () => takeBack.forEach((one) => one());
    },
  },
  {
    name: "a request of very many arguments keeps its server's index over a change",
    only: "redis",
    meeting: true,
    where: (plan) => plan.sliceArguments < 100,
    plant: () => patchGetter(Preparation.prototype, "isDone", (one) => one.ready),
  },
  {
    name: "a primary whose place another has taken is left, but not cut off",
    only: "redis",
    where: isReplaced,
    plant: () =>
      patch(Endpoint.prototype, "abandon", () =>
        function (this: Endpoint) {
          this.retire();
        }),
  },
  {
    name: "old news of where a server is counts",
    only: "redis",
    where: isReplaced,
    plant: () =>
      patch(Server.prototype, "follow", (old) =>
        function (state) {
          return old.call(this, { ...state, term: Math.max(state.term, this.term + 1) });
        }),
  },
  {
    name: "what has not left is sent to the new primary twice",
    only: "redis",
    where: isReplaced,
    plant: () =>
      patch(ServerConnection.prototype, "takeUnwritten", (old) =>
        function () {
          const unsent = old.call(this) as { bytes: Outbox } | null;
          if (unsent === null) return null;
          const bytes = new Uint8Array(unsent.bytes.size);
          unsent.bytes.moveTo(bytes);
          for (let i = 0; i < 2; i++) unsent.bytes.append(bytes, 0, bytes.length);
          return unsent;
        }),
  },
  {
    name: "the first of what has not left is forgotten when another takes the server's place",
    only: "redis",
    where: isReplaced,
    plant: () =>
      patch(ServerConnection.prototype, "takeOver", (old) =>
        function (unsent) {
          const { first } = unsent as { first: Request };
          return first.nextInFlight === null
            ? undefined
            : old.call(this, { ...unsent, first: first.nextInFlight });
        }),
  },
];
