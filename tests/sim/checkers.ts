/**
 * What must hold of the proxy's own objects at any moment between two events. What each can say of itself alone is in its
 * `invariants`; here is what they must say of each other. For that they look inside, past `private`.
 */
import type { Client } from "../../src/proxy/client.ts";
import type { Pool } from "../../src/proxy/pool.ts";
import { BlockingCall } from "../../src/redis/blocking.ts";
import { Execution } from "../../src/redis/exec.ts";
import { Transaction } from "../../src/redis/transaction.ts";
import { ASIDE_MAX } from "../../src/redis/woven.ts";
import { DONE, type Request } from "../../src/proxy/request.ts";
import type { ServerConnection } from "../../src/proxy/server_connection.ts";
import type { Server } from "../../src/proxy/server.ts";
import type { PoolBoard } from "../../src/stats/board.ts";
import { LATENCY_CLASSES, SERVED, WAITED } from "../../src/stats/latency.ts";
import {
  CLIENT_CONNECTIONS,
  type Metric,
  POOL_METRICS,
  REQUESTS,
  REQUESTS_TOTAL,
  SERVER_CONNECTIONS,
  SERVER_METRICS,
} from "../../src/stats/metrics.ts";
import { Violation } from "./truth.ts";

/** Deadlines are looked at every SWEEP_MAX_MS (pool.ts) at most; twice that is late. */
const OVERDUE_MAX_MS = 100;

/** What is private in a ServerConnection. */
interface Inside {
  readonly isOpen: boolean;
  readonly replies: { readonly begun: boolean };
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
  holds(pool, () => "pool");
  // A node that has left and returned counts on in its row, where what it left behind may still be open.
  const connected = new Map<SharedArrayBuffer, number>();
  for (const server of pool.everyServer) {
    for (const endpoint of server.endpoints) holds(endpoint, () => `endpoint of ${server.config.name}`);
    for (const connection of server.connections) {
      insist(
        !pool.replaceable || server.gone || connection.endpoint === server.primary || connection.detached,
        () =>
          `server ${server.config.name} has a connection to ${connection.endpoint.spec.text}, where it is no more`,
      );
      checkConnection(connection, queued, lateMs);
      if (!(connection as unknown as Inside).isOpen) continue;
      const { buffer } = server.cells.memory;
      connected.set(buffer, (connected.get(buffer) ?? 0) + 1);
    }
  }
  for (const server of pool.everyServer) {
    const open = connected.get(server.cells.memory.buffer) ?? 0;
    insist(
      server.counters[SERVER_CONNECTIONS] === open,
      () =>
        `gauge server_connections of ${server.config.name} is ${server.counters[SERVER_CONNECTIONS]}, ` +
        `but ${open} are open`,
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

/**
 * Of a board whose clients are all gone: the time of each request of theirs has been counted, once.
 * @throws Violation
 */
export function checkTimed(board: PoolBoard): void {
  const requests = board.total(REQUESTS_TOTAL);
  let waited = 0;
  LATENCY_CLASSES.forEach((name, latencyClass) => {
    const { count, maxUs } = board.latency.histogram(latencyClass, WAITED);
    const served = board.latency.histogram(latencyClass, SERVED).count;
    insist(served <= count, () => `of class ${name} ${served} were served, and only ${count} asked for`);
    insist(maxUs < 2 ** 40, () => `of class ${name} one has waited ${maxUs} us`);
    waited += count;
  });
  insist(waited === requests, () => `${requests} requests were counted, and the times of ${waited}`);
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

/** What an object says of itself. */
function holds(object: { invariants(): void }, name: () => string): void {
  try {
    object.invariants();
  } catch (error) {
    throw new Violation(`${name()}: ${(error as Error).message}`);
  }
}

function checkClient(client: Client, queued: Set<Request>, limits: Limits): void {
  const name = () => `client ${client.socket.peer()}`;
  holds(client, name);
  for (let r = client.head; r !== null; r = r.next) queued.add(r);
  const { length: count, heldBytes: held, woven } = client.replies;
  insist(
    // Behind each may be what Tracking has to say again; EXEC's reply may have many parts.
    count <= 2 * limits.inFlightMax + (woven ? 2 * ASIDE_MAX : 0),
    () => `${name()}: ${count} requests in flight, max_in_flight is ${limits.inFlightMax}`,
  );
  insist(
    client.closed || held + client.socket.queuedBytes <= limits.clientOutputMax,
    () => `${name()}: ${held} bytes held and ${client.socket.queuedBytes} queued pass client_output_limit`,
  );
}

/** The requests that wait for the reply to `request`: itself, unless others have joined it. */
function waitingFor(request: Request): Request[] {
  const { line } = request;
  if (line === null || (line as unknown) === request) return [request];
  const { members, waiting } = line as unknown as { members: (Request | null)[]; waiting: number };
  const found = members.filter((member) => member !== null);
  insist(found.length === waiting, () => `a batch counts ${waiting} that wait, but has ${found.length}`);
  return found;
}

function checkConnection(connection: ServerConnection, queued: ReadonlySet<Request>, lateMs: number): void {
  const inside = connection as unknown as Inside;
  const name = () => `connection to ${connection.server.config.name}`;
  holds(connection, name);
  const { timeoutMs } = connection.server.pool;
  const nowMs = connection.server.pool.clock.nowMs();
  insist(
    !inside.replies.begun || !connection.head!.client || timeoutMs <= 0 ||
      inside.partAtMs + timeoutMs + lateMs >= nowMs,
    () => `${name()}: the rest of a reply is overdue, and nobody was told`,
  );
  for (let r = connection.head; r !== null; r = r.nextInFlight) {
    for (const waiting of waitingFor(r)) {
      const { client } = waiting;
      if (client === null) continue;
      insist(
        r.deadlineMs + lateMs >= nowMs,
        () => `${name()}: a request is overdue since ${r.deadlineMs.toFixed(1)} ms, and nobody was told`,
      );
      insist(!client.closed, () => `${name()}: holds a request of a client that is gone`);
      insist(queued.has(waiting), () => `${name()}: holds a request that its client does not`);
      insist(waiting.progress !== DONE, () => `${name()}: waits for a request that has its reply`);
    }
  }
}
