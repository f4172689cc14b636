/** /api/latency: how long requests waited here, and how long servers took, by pool, server and class of command. */
import { type Histogram, type Latency, LATENCY_CLASSES, SERVED, WAITED } from "../stats/latency.ts";
import type { Answer, Asked } from "./answer.ts";
import type { Around } from "./around.ts";
import { each, longJson } from "./long_json.ts";
import { poolOf } from "./parameters.ts";

/** What a server's classes take, µs, about: two histograms each, and six quantiles of each of these. */
const CLASSES_US = 80;

/** Since the start: of a pool that stays, reloads included. */
export function latency(around: Around, { query }: Asked): Promise<Answer> {
  return answered(around, query.pool!, true);
}

/** As `latency`, without its servers. */
export function commandLatency(around: Around, { query }: Asked): Promise<Answer> {
  return answered(around, query.pool!, false);
}

function answered(
  { clock, turns, service, config }: Around,
  pool: string,
  withServers: boolean,
): Promise<Answer> {
  const only = poolOf(config, pool);
  const pools = config.pools.flatMap(({ name, servers }, at) => {
    const board = service.board.pools[at];
    if (board === undefined || only !== null && name !== only) return [];
    return [{
      name,
      latency: board.latency,
      servers: !withServers ? [] : servers.flatMap(({ name }, i) => {
        const cells = board.servers[i];
        return cells === undefined ? [] : [{ name, latency: cells.latency }];
      }),
    }];
  });
  return longJson(turns, {
    at: clock.wallMs(),
    pools: each(pools, CLASSES_US, ({ name, latency, servers }) => ({
      name,
      classes: classesOf(latency),
      servers: each(servers, CLASSES_US, ({ name, latency }) => ({ name, classes: classesOf(latency) })),
    })),
  });
}

/** Those of which there has been a request. */
function classesOf(latency: Latency) {
  return LATENCY_CLASSES.flatMap((name, place) => {
    if (latency.isEmpty(place, WAITED)) return [];
    const waited = latency.histogram(place, WAITED);
    return [{ class: name, waited: timesOf(waited), served: timesOf(latency.histogram(place, SERVED)) }];
  });
}

function timesOf(histogram: Histogram) {
  const { count, sumUs, maxUs } = histogram;
  return {
    count,
    sum_us: sumUs,
    p50_us: histogram.quantileUs(0.5),
    p90_us: histogram.quantileUs(0.9),
    p99_us: histogram.quantileUs(0.99),
    p999_us: histogram.quantileUs(0.999),
    p9999_us: histogram.quantileUs(0.9999),
    max_us: maxUs,
  };
}

/** Of a server, blocking commands left out; null: it has answered nothing yet. */
export function shortLatency(latency: Latency | undefined): { p50_us: number; p99_us: number } | null {
  const served = latency?.total(SERVED);
  if (served === undefined || served.count === 0) return null;
  return { p50_us: served.quantileUs(0.5), p99_us: served.quantileUs(0.99) };
}
