/** Questions to a worker about what it sees of its pools: keys, and who is connected. Rows of QUESTIONS (questions.ts). */
import type { Client } from "../proxy/client.ts";
import type { Pool } from "../proxy/pool.ts";
import type { BigKey } from "../stats/big_keys.ts";
import type { HotKeys } from "../stats/heavy_hitters.ts";
import { REQUESTS_TOTAL } from "../stats/metrics.ts";
import type { TapFilter, Tapped } from "../stats/tapped.ts";
import type { Proxy } from "./proxy.ts";

/** Clients of one answer at most. */
export const CLIENTS_MAX = 1000;
/** Characters of a client's name, and of its library's, that are told. */
const TEXT_MAX = 256;

export interface KeysAsked {
  /** null: of all pools. */
  readonly pool: string | null;
  /** Keys of each pool. */
  readonly most: number;
}

export interface PoolHot extends HotKeys {
  readonly pool: string;
}

export function* hotKeys(proxy: Proxy, { pool, most }: KeysAsked): Generator<PoolHot[], void> {
  for (const { config: { name }, seen, turn } of poolsOf(proxy, pool)) {
    yield [{ pool: name, ...seen.hot(most, turn.now()) }];
  }
}

export interface PoolBig {
  readonly pool: string;
  readonly keys: readonly BigKey[];
}

export function* bigKeys(proxy: Proxy, { pool, most }: KeysAsked): Generator<PoolBig[], void> {
  for (const { config: { name }, seen, clock } of poolsOf(proxy, pool)) {
    yield [{ pool: name, keys: seen.big(clock.wallMs()).slice(0, most) }];
  }
}

/** What this worker has for who listens; whoever is not among them listens no more. */
export function taps(proxy: Proxy, filters: readonly TapFilter[]): Tapped[] {
  return proxy.pools.flatMap(({ config, seen, counters, turn }) =>
    seen.take(
      filters.filter(({ pool }) => pool === null || pool === config.name),
      counters[REQUESTS_TOTAL]!,
      turn.now(),
    )
  );
}

export interface ClientsAsked {
  /** null: of all pools. */
  readonly pool: string | null;
  /** Those behind this one only; null = from the beginning. */
  readonly after: { readonly pool: string; readonly id: number } | null;
  /** At most CLIENTS_MAX. */
  readonly count: number;
}

/** What is told of a client. What a memcached client has not is null. */
export interface ClientSeen {
  readonly pool: string;
  /** Counts up in a pool, those of worker 0 first. */
  readonly id: number;
  readonly worker: number;
  readonly address: string;
  readonly idle_seconds: number;
  /** Requests it has sent that are not answered. */
  readonly in_flight: number;
  /** Bytes of half-received or waiting requests, of replies it has not taken, and all that is held for it. */
  readonly request_bytes: number;
  readonly reply_bytes: number;
  readonly held_bytes: number;
  readonly received_bytes: number;
  readonly sent_bytes: number;
  readonly age_seconds: number | null;
  readonly name: string | null;
  readonly library: string | null;
  /** As CLIENT LIST has them. */
  readonly flags: string | null;
  readonly db: number | null;
  readonly subscriptions: number | null;
  /** The last one, lower case. */
  readonly command: string | null;
  readonly resp: number | null;
}

/** Clients that are told of in one turn; those that are passed over: they take a look each. */
const CLIENTS_PART = 64;
const LOOKS_PART = 4096;

/** A page of this worker's clients: pools in the configuration's order, clients in that of their ids. */
export function* clients(
  proxy: Proxy,
  { pool, after, count }: ClientsAsked,
): Generator<ClientSeen[], void> {
  const pools = poolsOf(proxy, pool);
  const first = after === null ? 0 : pools.findIndex(({ config }) => config.name === after.pool);
  // The pool is gone, and with it the place where the page before has ended.
  if (first < 0) return;
  let part: ClientSeen[] = [];
  let left = Math.min(count, CLIENTS_MAX);
  let looks = 0;
  for (const each of pools.slice(first)) {
    const least = after !== null && each.config.name === after.pool ? after.id : -1;
    for (const client of each.clients) {
      if (++looks % LOOKS_PART === 0) yield [];
      if (client.serial <= least || client.closed) continue;
      part.push(viewOf(each, client));
      if (--left === 0) return void (yield part);
      if (part.length < CLIENTS_PART) continue;
      yield part;
      part = [];
    }
  }
  if (part.length > 0) yield part;
}

/** Clients choose it, and a page of them has to fit into an answer. */
function shortened(text: string): string {
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
}

function viewOf(pool: Pool, client: Client): ClientSeen {
  const nowMs = pool.turn.now();
  const view = pool.front.viewOf?.(client, nowMs, pool.clock.wallMs()) ?? null;
  return {
    pool: pool.config.name,
    id: client.serial,
    worker: pool.worker,
    address: view?.address ?? client.peer(),
    idle_seconds: Math.max(0, Math.floor((nowMs - client.lastActiveMs) / 1000)),
    in_flight: client.replies.length,
    request_bytes: client.inbox.size,
    reply_bytes: client.socket.queuedBytes + client.replies.heldBytes,
    held_bytes: client.holdsBytes,
    received_bytes: client.receivedBytes,
    sent_bytes: client.socket.flushedBytes,
    age_seconds: view?.ageSeconds ?? null,
    name: view === null ? null : shortened(view.name),
    library: view === null ? null : shortened(`${view.libName} ${view.libVersion}`.trim()),
    flags: view?.flags ?? null,
    db: view?.db ?? null,
    subscriptions: view === null ? null : view.channels + view.patterns + view.shardChannels,
    command: view?.command ?? null,
    resp: view?.resp ?? null,
  };
}

function poolsOf(proxy: Proxy, pool: string | null): readonly Pool[] {
  return pool === null ? proxy.pools : proxy.pools.filter(({ config }) => config.name === pool);
}
