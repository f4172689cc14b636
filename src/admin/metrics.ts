/** /metrics: what Prometheus is told (stats/families.ts), read from the board, the servers as workers see them, and keepers. */
import { type Config, isUnheard } from "../config/config.ts";
import { CONTENT_TYPES, formatFor } from "../stats/exposition.ts";
import type { PoolBoard, ServerCells } from "../stats/board.ts";
import type { ProcessStats } from "../stats/document.ts";
import {
  bucketsOf,
  type PoolSnapshot,
  readings,
  type ServerSnapshot,
  type Snapshot,
  totalBuckets,
} from "../stats/families.ts";
import { LATENCY_CLASSES, SERVED, WAITED } from "../stats/latency.ts";
import { VERSION } from "../stats/version.ts";
import type { Answer, Asked } from "./answer.ts";
import { type Gathered, isDown, type PoolCertificate, type Views, viewsOf } from "../service/questions.ts";
import type { Director } from "../service/director.ts";
import type { Around } from "./around.ts";

/** What a server takes, µs, about, most of it its histogram; and a pool's of all classes. */
const SERVER_US = 5;
const POOL_US = 30;
/** So many times that with native buckets. */
const NATIVE_TIMES = 5;

/** The key that names certificates of the admin side. */
export const ADMIN_KEY = "admin_tls";

export async function metrics(around: Around, { accept }: Asked): Promise<Answer> {
  const format = formatFor(accept);
  const snapshot = await takeSnapshot(around, format === "protobuf");
  const { bytes, release } = await around.turns.all(around.kept[format].write(readings(snapshot)));
  return { status: 200, type: CONTENT_TYPES[format], body: bytes, release };
}

/** The process as it is now. Takes a second if a worker does not answer. @param native histograms with native buckets as well */
export async function takeSnapshot(around: Around, native = false): Promise<Snapshot> {
  const { clock, turns, service, director, machine } = around;
  const [servers, held] = await Promise.all([service.gather("servers", null), certificatesHeld(around)]);
  const views = viewsOf(servers);
  const certificates = certificatesOf(held);
  const stats = await service.stats();
  const { config, stamp } = around;
  // Now: a reload between two steps has other servers on the board, in another order.
  const boards = service.board.pools.map((board) => ({ board, cells: board.servers }));
  return {
    version: VERSION,
    nowMs: clock.wallMs(),
    ...machine.facts,
    ...machine.read(),
    workers: service.board.workers,
    connectionsTotal: stats.totalConnections,
    connectionsCurrent: stats.currConnections,
    epoch: stamp.epoch,
    epochAtMs: stamp.atMs,
    events: director.events.counts,
    certificates: around.certificates().map((one) => ({ key: ADMIN_KEY, ...one })),
    pools: await turns.all(snapshotsOf(config, boards, director, stats, views, certificates, native)),
  };
}

function* snapshotsOf(
  config: Config,
  boards: readonly { readonly board: PoolBoard; readonly cells: readonly ServerCells[] }[],
  director: Director,
  stats: ProcessStats,
  views: Views,
  certificates: readonly PoolCertificate[],
  native: boolean,
): Generator<number, PoolSnapshot[]> {
  const counts = new Map(stats.pools.map((pool) => [pool.name, pool]));
  const snapshots: PoolSnapshot[] = [];
  for (const [at, pool] of config.pools.entries()) {
    const { name, servers } = pool;
    const unheard = isUnheard(pool);
    // A reload may have come between.
    const counted = counts.get(name);
    const here = boards[at];
    if (counted === undefined || here === undefined) continue;
    const values = new Map(counted.servers.map((server) => [server.name, server.values]));
    const latency = latencyOf(here.board, native);
    yield native ? NATIVE_TIMES * POOL_US : POOL_US;
    const seen: ServerSnapshot[] = [];
    for (const [k, server] of servers.entries()) {
      const counters = values.get(server.name);
      const cells = here.cells[k];
      if (counters === undefined || cells === undefined) continue;
      seen.push({
        name: server.name,
        values: counters,
        ejected: cells.isOff,
        down: unheard || isDown(views(name, server.name)),
        served: totalBuckets(cells.latency, SERVED, native),
        replicas: director.replicas(name, server.name),
      });
      yield native ? NATIVE_TIMES * SERVER_US : SERVER_US;
    }
    snapshots.push({
      name,
      values: counted.values,
      latency,
      certificates: certificates.filter((one) => one.pool === name),
      servers: seen,
    });
  }
  return snapshots;
}

/** Of the classes that anybody has asked for. */
function latencyOf({ latency }: PoolBoard, native: boolean): PoolSnapshot["latency"] {
  return LATENCY_CLASSES.flatMap((name, k) => {
    if (latency.isEmpty(k, WAITED)) return [];
    const waited = bucketsOf(latency, k, WAITED, native);
    return [{ class: name, waited, served: bucketsOf(latency, k, SERVED, native) }];
  });
}

/** What workers say of their certificates; nobody is asked if no pool has any. */
export function certificatesHeld(
  { service, config }: Around,
): Promise<readonly Gathered<"certificates">[]> {
  const some = config.pools.some(({ tls, serverTls }) => tls !== null || serverTls !== null);
  return some ? service.gather("certificates", null) : Promise.resolve([]);
}

/** Each file once: as the worker has it whose ends first. */
export function certificatesOf(seen: readonly Gathered<"certificates">[]): PoolCertificate[] {
  const first = new Map<string, PoolCertificate>();
  for (const { answer } of seen) {
    for (const one of answer) {
      const key = `${one.pool}\0${one.key}\0${one.file}`;
      const other = first.get(key);
      if (other === undefined || one.endsAtMs < other.endsAtMs) first.set(key, one);
    }
  }
  return [...first.values()];
}
