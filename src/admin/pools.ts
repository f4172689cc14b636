/** /api/pools: every pool with its servers, how each is doing and how much of the keys it has. */
import type { CertificateSeen } from "../net/tls.ts";
import { type Config, isUnheard, type PoolConfig, type ServerConfig } from "../config/config.ts";
import { isDown, type ServerSeen, viewsOf } from "../service/questions.ts";
import { DRAINED, FREE, type ServerCells } from "../stats/board.ts";
import {
  CLIENT_CONNECTIONS,
  IN_QUEUE,
  MEMORY_BYTES,
  OUT_QUEUE,
  POOL_METRICS,
  SERVER_METRICS,
} from "../stats/metrics.ts";
import { shareSteps } from "../topology/plan.ts";
import type { ReplicaHealth, ServerState } from "../topology/state.ts";
import { type Answer, type Asked, Refused } from "./answer.ts";
import type { Around } from "./around.ts";
import { each, longJson } from "./long_json.ts";
import { shortLatency } from "./latency.ts";
import { ADMIN_KEY, certificatesHeld, certificatesOf } from "./metrics.ts";
import { countersOf } from "./stats.ts";

/** live: clients' requests go there; ejected, drained: off the ring; down: on it, but it cannot be reached, or nobody knows where it is. */
export type ServerCondition = "live" | "ejected" | "drained" | "down";

/** Of one that is off the ring; null = it is on it. */
export function conditionOf(cells: ServerCells | undefined): "ejected" | "drained" | null {
  if (!cells?.isOff) return null;
  return cells.held === DRAINED ? "drained" : "ejected";
}

/** The oldest answer that anybody may take, ms. */
const AGE_MAX_MS = 10_000;

/** An answer, and what it was made of. */
export interface PoolsMade {
  readonly madeMs: number;
  readonly config: Config;
  readonly events: number;
  readonly answer: Promise<Answer>;
}

/** Who says how old it may be shares it with others who ask: of 200 servers it takes 20 ms, and twenty pages are open perhaps. */
export function pools(around: Around, { query }: Asked): Promise<Answer> {
  const { clock, director, config, kept } = around;
  const age = query.max_age_ms === "" ? 0 : Number(query.max_age_ms);
  if (!(age >= 0 && age <= AGE_MAX_MS)) {
    throw new Refused(
      400,
      `max_age_ms: found ${JSON.stringify(query.max_age_ms!.slice(0, 60))}, expected 0 to ${AGE_MAX_MS}`,
    );
  }
  const nowMs = clock.nowMs();
  const events = director.events.seen.count;
  const last = kept.pools;
  if (last !== null && last.config === config && last.events === events && nowMs - last.madeMs < age) {
    return last.answer;
  }
  const answer = made(around);
  kept.pools = { madeMs: nowMs, config, events, answer };
  return answer;
}

/** What a server of the answer takes, µs, about, most of it its histogram; and a pool. */
const SERVER_US = 25;
const POOL_US = 50;

async function made(around: Around): Promise<Answer> {
  const { clock, turns, service, director } = around;
  const [seen, held, stats] = await Promise.all([
    service.gather("servers", null),
    certificatesHeld(around),
    service.stats(),
  ]);
  const certificates = certificatesOf(held);
  const { config } = around;
  const states = director.states();
  const views = viewsOf(seen);
  // A reload between two steps has other servers on the board, in another order.
  const cells = service.board.pools.map(({ servers }) => servers);
  const shares: Float64Array[] = [];
  for (const [at, pool] of config.pools.entries()) shares.push(await turns.all(sharesNow(pool, cells[at])));
  const pools = each([...config.pools.entries()], POOL_US, ([at, pool]) => {
    // A reload may have come between.
    const counted = stats.pools.find(({ name }) => name === pool.name);
    const stateOf = new Map(states.get(pool.name)?.map((state) => [state.server, state]));
    const valuesOf = new Map(counted?.servers.map(({ name, values }) => [name, values]));
    const servers = each([...pool.servers.entries()], SERVER_US, ([i, server]) => ({
      ...serverOf(
        server,
        cells[at]?.[i],
        views(pool.name, server.name),
        stateOf.get(server.name),
        director.replicas(pool.name, server.name),
        pool,
      ),
      share: shares[at]![i],
      latency: shortLatency(cells[at]?.[i]?.latency),
      counters: countersOf(SERVER_METRICS, valuesOf.get(server.name) ?? SERVER_METRICS.map(() => 0)),
    }));
    const inFlight = counted?.servers.reduce(
      (sum, { values }) => sum + values[IN_QUEUE]! + values[OUT_QUEUE]!,
      0,
    );
    return {
      name: pool.name,
      protocol: pool.redis ? "redis" : "memcached",
      listen: pool.listenText,
      distribution: pool.cluster ? "slots" : pool.distribution,
      hash: pool.cluster ? "crc16" : pool.hash,
      cluster: pool.cluster,
      clients: counted?.values[CLIENT_CONNECTIONS] ?? 0,
      in_flight: inFlight ?? 0,
      certificates: certificates.filter((one) => one.pool === pool.name).map(certificateShape),
      memory_bytes: counted?.values[MEMORY_BYTES] ?? 0,
      counters: countersOf(POOL_METRICS, counted?.values ?? POOL_METRICS.map(() => 0)),
      servers,
    };
  });
  return await longJson(turns, {
    at: clock.wallMs(),
    // Of the admin side itself.
    certificates: around.certificates().map((one) => certificateShape({ key: ADMIN_KEY, ...one })),
    pools,
  });
}

function certificateShape({ key, file, endsAtMs }: CertificateSeen & { readonly key: string }) {
  return { key, file, expires_at: endsAtMs };
}

/** @param views of the workers that have answered @param pool whose it is */
function serverOf(
  server: ServerConfig,
  cells: ServerCells | undefined,
  views: readonly ServerSeen[],
  state: ServerState | undefined,
  health: readonly ReplicaHealth[],
  pool: PoolConfig,
) {
  const unheard = isUnheard(pool);
  const down = unheard || isDown(views);
  const condition: ServerCondition = conditionOf(cells) ?? (down ? "down" : "live");
  const why = whyOff(cells) ?? views.find((view) => view.why !== "")?.why ??
    (unheard ? "no node of the cluster has answered yet" : down ? "it cannot be reached" : "");
  const reads = new Map<string, number>();
  for (const view of views) {
    for (const one of view.replicas) reads.set(one.address, (reads.get(one.address) ?? 0) + one.reads);
  }
  const { name, addressText, weight, slots, zone } = server;
  return {
    name,
    address: views.find((view) => view.primary !== "")?.primary ?? state?.primary?.text ?? addressText,
    weight,
    zone: state?.primary?.zone ?? zone,
    state: condition,
    why,
    term: state?.term ?? null,
    slots,
    replicas: replicasOf(server, state, health, pool.readFrom !== "primary", reads),
  };
}

/**
 * The replicas of a server that anybody knows of.
 * @param asked somebody asks them how they are: the pool reads from them
 * @param reads answered by each, by address
 */
export function replicasOf(
  { replicas }: ServerConfig,
  state: ServerState | undefined,
  health: readonly ReplicaHealth[],
  asked: boolean,
  reads: ReadonlyMap<string, number> = new Map(),
) {
  const zones = new Map(replicas.map((replica) => [replica.text, replica.zone]));
  for (const { text, zone } of state?.replicas ?? []) zones.set(text, zone ?? zones.get(text) ?? null);
  for (const text of [...reads.keys(), ...health.map((one) => one.address)]) {
    if (!zones.has(text)) zones.set(text, null);
  }
  const readable = new Set(state?.replicas.map(({ text }) => text));
  return [...zones].map(([address, zone]) => {
    const one = health.find((each) => each.address === address);
    return {
      address,
      zone,
      well: one?.well ?? (asked ? readable.has(address) || reads.has(address) : null),
      why: one?.why ?? "",
      lag_bytes: one === undefined || one.lagBytes < 0 ? null : one.lagBytes,
      lag_ms: one === undefined || one.lagMs < 0 ? null : one.lagMs,
      reads: reads.get(address) ?? 0,
    };
  });
}

/** Why a server is off the ring; null = it is on it. */
export function whyOff(cells: ServerCells | undefined): string | null {
  if (!cells?.isOff) return null;
  return cells.held === FREE ? "it has failed server_failure_limit times" : "by hand, until it is restored";
}

const known = new WeakMap<PoolConfig, { readonly live: string; readonly shares: Float64Array }>();

/** What share of the keys each server has now, 0 to 1. Made once a ring: of a hundred servers it takes some ms, in steps. */
export function* sharesNow(
  pool: PoolConfig,
  cells: readonly ServerCells[] | undefined,
): Generator<number, Float64Array> {
  const live = Uint8Array.from(pool.servers, (_, i) => cells?.[i]?.isOff ? 0 : 1);
  const marks = live.join("");
  const present = known.get(pool);
  if (present?.live === marks) return present.shares;
  const shares = yield* shareSteps(pool, live);
  known.set(pool, { live: marks, shares });
  return shares;
}
