/**
 * What must hold of the proxy's own objects at any moment between two events. They look inside, past `private`: nothing of
 * this is worth a method in src/.
 */
import type { Outbox } from "../../src/bytes/outbox.ts";
import type { Client } from "../../src/proxy/client.ts";
import type { Pool } from "../../src/proxy/pool.ts";
import { BlockingCall } from "../../src/redis/blocking.ts";
import { Execution } from "../../src/redis/exec.ts";
import { Transaction } from "../../src/redis/transaction.ts";
import { ASIDE_MAX } from "../../src/redis/woven.ts";
import type { Request } from "../../src/proxy/request.ts";
import type { ServerConnection } from "../../src/proxy/server_connection.ts";
import type { Server } from "../../src/proxy/server.ts";
import type { PoolBoard } from "../../src/stats/board.ts";
import {
  CLIENT_CONNECTIONS,
  type Metric,
  POOL_METRICS,
  REQUESTS,
  SERVER_CONNECTIONS,
  SERVER_METRICS,
} from "../../src/stats/metrics.ts";
import { Violation } from "./truth.ts";

/** Deadlines are looked at every SWEEP_MAX_MS (pool.ts) at most; twice that is late. */
const OVERDUE_MAX_MS = 100;

/** What is private in a ServerConnection. */
interface Inside {
  readonly tail: Request | null;
  readonly oldest: Request | null;
  readonly open: boolean;
  readonly closed: boolean;
  readonly ready: boolean;
  readonly begun: boolean;
  readonly partAtMs: number;
}

function insist(condition: boolean, what: () => string): void {
  if (!condition) throw new Violation(what());
}

/** The widest there have been: what was under way when they became narrower may still be more. */
export interface Limits {
  readonly inFlightMax: number;
  readonly clientOutputMax: number;
}

/**
 * @param turnMaxMs how long a turn may take
 * @throws Violation
 */
export function checkPool(pool: Pool, turnMaxMs: number, limits: Limits): void {
  const lateMs = OVERDUE_MAX_MS + 2 * turnMaxMs;
  const queued = new Set<Request>();
  let open = 0;
  for (const client of pool.clients) {
    checkClient(client, queued, limits);
    if (!client.closed) open++;
  }
  insist(
    pool.counters[CLIENT_CONNECTIONS] === open,
    () => `gauge client_connections is ${pool.counters[CLIENT_CONNECTIONS]}, but ${open} clients are open`,
  );
  for (const server of pool.everyServer) {
    let connected = 0;
    for (const connection of server.connections) {
      checkConnection(connection, queued, lateMs);
      if ((connection as unknown as Inside).open) connected++;
    }
    insist(
      server.counters[SERVER_CONNECTIONS] === connected,
      () =>
        `gauge server_connections of ${server.config.name} is ${server.counters[SERVER_CONNECTIONS]}, ` +
        `but ${connected} are open`,
    );
    if (server.gone) continue;
    insist(
      (pool.live[server.index] === 0) === server.ejected,
      () => `server ${server.config.name}: ejected is ${server.ejected}, but the ring says otherwise`,
    );
  }
}

/** What a server had been sent, and its connections, when it left. */
interface Left {
  readonly requests: number;
  readonly connections: ReadonlySet<ServerConnection>;
  /** A command waits there: its end has to be asked for beside it. */
  readonly isWaitedFor: boolean;
  /** A transaction may be going there in slices, and goes on. */
  readonly isHeld: boolean;
}

const left = new WeakMap<Server, Left>();

/** Nobody asks a server that has left anything new, nor connects to it. @throws Violation */
export function checkLeaving(pool: Pool): void {
  for (const server of pool.everyServer) {
    if (!server.gone) continue;
    const requests = server.counters[REQUESTS]!;
    const before = left.get(server);
    if (before === undefined) {
      const connections = new Set(server.connections);
      const isWaitedFor = [...connections].some((one) => one.holder instanceof BlockingCall);
      const isHeld = [...connections].some(({ holder }) =>
        holder instanceof Execution || holder instanceof Transaction
      );
      left.set(server, { requests, connections, isWaitedFor, isHeld });
    } else {
      const { name } = server.config;
      insist(
        before.isHeld || requests === before.requests,
        () => `server ${name} has left, and was sent ${requests - before.requests} requests since`,
      );
      insist(
        before.isWaitedFor || [...server.connections].every((one) => before.connections.has(one)),
        () => `server ${name} has left, and was connected to since`,
      );
    }
  }
}

/** Sees that what is counted never becomes less, whatever becomes of the servers. */
export class CountWatch {
  private pool: readonly number[] = [];
  private servers = new Map<string, readonly number[]>();

  /** @param names of the servers, in the board's order; @throws Violation */
  check(board: PoolBoard, names: readonly string[]): void {
    this.pool = compared("the pool", POOL_METRICS, this.pool, (i) => board.total(i));
    board.servers.forEach((cells, at) => {
      const name = names[at]!;
      const before = this.servers.get(name) ?? [];
      this.servers.set(name, compared(`server ${name}`, SERVER_METRICS, before, (i) => cells.total(i)));
    });
  }

  /** The servers have other names: those of the others are forgotten. */
  rename(names: readonly string[]): void {
    this.servers = new Map([...this.servers].filter(([name]) => names.includes(name)));
  }
}

function compared(
  whose: string,
  metrics: readonly Metric[],
  before: readonly number[],
  total: (metric: number) => number,
): number[] {
  return metrics.map(({ name, kind }, i) => {
    const now = total(i);
    insist(
      kind !== "counter" || now >= (before[i] ?? 0),
      () => `${name} of ${whose} was ${before[i]} and is ${now}`,
    );
    return now;
  });
}

function checkClient(client: Client, queued: Set<Request>, limits: Limits): void {
  const name = () => `client ${client.socket.peer()}`;
  let count = 0;
  let held = 0;
  let last: Request | null = null;
  for (let r = client.head; r !== null; r = r.next) {
    insist(r.client === client || r.client === null, () => `${name()}: queues another's request`);
    if (r.done) held += r.replyEnd - r.replyStart;
    queued.add(r);
    last = r;
    count++;
  }
  insist(client.tail === last, () => `${name()}: its tail is not the last request`);
  insist(
    count === client.inFlight,
    () => `${name()}: inFlight is ${client.inFlight}, but ${count} are queued`,
  );
  held += (client as unknown as { pushes: Outbox | null }).pushes?.size ?? 0;
  insist(
    held === client.heldBytes,
    () => `${name()}: heldBytes is ${client.heldBytes}, but ${held} are held`,
  );
  insist(client.head?.done !== true, () => `${name()}: its oldest request is answered, but not delivered`);
  insist(
    // Behind each may be what Tracking has to say again; EXEC's reply may have many parts.
    count <= 2 * limits.inFlightMax + ((client as unknown as { woven: boolean }).woven ? 2 * ASIDE_MAX : 0),
    () => `${name()}: ${count} requests in flight, max_in_flight is ${limits.inFlightMax}`,
  );
  insist(
    client.closed || held + client.socket.queuedBytes <= limits.clientOutputMax,
    () => `${name()}: ${held} bytes held and ${client.socket.queuedBytes} queued pass client_output_limit`,
  );
  insist(!client.closed || count === 0 && client.inbox.size === 0, () => `${name()}: closed, but not empty`);
}

/** The requests that wait for the reply to `request`: itself, unless others have joined it. */
function waitingFor(request: Request): Request[] {
  if (request.batch === null) return [request];
  const { members, waiting } = request.batch as unknown as { members: (Request | null)[]; waiting: number };
  const found = members.filter((member) => member !== null);
  insist(found.length === waiting, () => `a batch counts ${waiting} that wait, but has ${found.length}`);
  return found;
}

function checkConnection(connection: ServerConnection, queued: ReadonlySet<Request>, lateMs: number): void {
  const inside = connection as unknown as Inside;
  const name = () => `connection to ${connection.server.config.name}`;
  insist(!inside.closed, () => `${name()}: closed, but still among its server's`);
  const { timeoutMs } = connection.server.pool;
  insist(
    !inside.begun || connection.head !== null,
    () => `${name()}: a reply is begun that nobody has asked for`,
  );
  let last: Request | null = null;
  let sentAt = 0;
  const nowMs = connection.server.pool.clock.nowMs();
  insist(
    !inside.begun || !connection.head!.client || timeoutMs <= 0 ||
      inside.partAtMs + timeoutMs + lateMs >= nowMs,
    () => `${name()}: the rest of a reply is overdue, and nobody was told`,
  );
  let oldestSeen = inside.oldest === null;
  for (let r = connection.head; r !== null; r = r.nextInFlight) {
    if (r === inside.oldest) oldestSeen = true;
    insist(r.sentAt >= sentAt, () => `${name()}: requests are not in the order of their bytes`);
    sentAt = r.sentAt;
    for (const waiting of waitingFor(r)) {
      const { client } = waiting;
      if (client === null) continue;
      insist(
        r.deadlineMs + lateMs >= nowMs,
        () => `${name()}: a request is overdue since ${r.deadlineMs.toFixed(1)} ms, and nobody was told`,
      );
      insist(!client.closed, () => `${name()}: holds a request of a client that is gone`);
      insist(queued.has(waiting), () => `${name()}: holds a request that its client does not`);
      insist(!waiting.done, () => `${name()}: waits for a request that has its reply`);
    }
    last = r;
  }
  insist(inside.tail === last, () => `${name()}: its tail is not the last request`);
  insist(oldestSeen, () => `${name()}: its oldest request is not in its queue`);
}
