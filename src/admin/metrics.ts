/** /metrics: what Prometheus is told (stats/families.ts), read from the board, the servers as workers see them, and keepers. */
import { CONTENT_TYPES, exposition, formatFor } from "../stats/exposition.ts";
import type { PoolBoard } from "../stats/board.ts";
import { bucketsOf, type PoolSnapshot, readings, type Snapshot } from "../stats/families.ts";
import { LATENCY_CLASSES, SERVED, WAITED } from "../stats/latency.ts";
import { SERVER_CONNECTIONS } from "../stats/metrics.ts";
import { VERSION } from "../stats/version.ts";
import type { Answer, Asked } from "./answer.ts";
import type { Gathered, PoolCertificate } from "../service/questions.ts";
import type { Around } from "./around.ts";

export async function metrics(around: Around, { accept }: Asked): Promise<Answer> {
  const format = formatFor(accept);
  return {
    status: 200,
    type: CONTENT_TYPES[format],
    body: exposition(readings(await takeSnapshot(around)), format),
  };
}

/** The process as it is now. Takes a second if a worker does not answer. */
export async function takeSnapshot(around: Around): Promise<Snapshot> {
  const { clock, service, director, machine } = around;
  const [servers, held] = await Promise.all([service.gather("servers", null), certificatesHeld(around)]);
  const failing = failingServers(servers);
  const certificates = certificatesOf(held);
  const stats = await service.stats();
  const { config, stamp } = around;
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
    pools: config.pools.flatMap(({ name, servers }, at) => {
      // A reload may have come between.
      const counted = stats.pools.find((pool) => pool.name === name);
      const board = service.board.pools[at];
      if (counted === undefined || board === undefined) return [];
      return [{
        name,
        values: counted.values,
        latency: latencyOf(board),
        certificates: certificates.filter((one) => one.pool === name),
        servers: servers.flatMap((server, k) => {
          const values = counted.servers.find((one) => one.name === server.name)?.values;
          const cells = board.servers[k];
          if (values === undefined || cells === undefined) return [];
          return [{
            name: server.name,
            values,
            ejected: cells.isOff,
            // A worker that nobody has asked for it has not tried.
            down: values[SERVER_CONNECTIONS] === 0 && failing.has(`${name}\0${server.name}`),
            served: bucketsOf(cells.latency.total(SERVED)),
            replicas: director.replicas(name, server.name),
          }];
        }),
      }];
    }),
  };
}

/** Of the classes that anybody has asked for. */
function latencyOf({ latency }: PoolBoard): PoolSnapshot["latency"] {
  return LATENCY_CLASSES.flatMap((name, k) => {
    const waited = bucketsOf(latency.histogram(k, WAITED));
    return waited.count === 0
      ? []
      : [{ class: name, waited, served: bucketsOf(latency.histogram(k, SERVED)) }];
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

/** "pool\0server" of those that a worker could not connect to, the last time. */
function failingServers(
  seen: readonly { readonly answer: readonly { pool: string; server: string; down: boolean }[] }[],
): ReadonlySet<string> {
  const failing = seen.flatMap(({ answer }) => answer.filter(({ down }) => down));
  return new Set(failing.map(({ pool, server }) => `${pool}\0${server}`));
}
