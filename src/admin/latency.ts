/** /api/latency: how long requests waited here, and how long servers took, by pool, server and class of command. */
import { type Histogram, type Latency, LATENCY_CLASSES, SERVED, WAITED } from "../stats/latency.ts";
import { type Answer, type Asked, json } from "./answer.ts";
import type { Around } from "./around.ts";
import { poolOf } from "./parameters.ts";

/** Since the start: of a pool that stays, reloads included. */
export function latency({ clock, service, config }: Around, { query }: Asked): Answer {
  const only = poolOf(config, query.pool!);
  const pools = config.pools.flatMap(({ name, servers }, at) => {
    const board = service.board.pools[at];
    if (board === undefined || only !== null && name !== only) return [];
    return [{
      name,
      classes: classesOf(board.latency),
      servers: servers.flatMap(({ name }, i) => {
        const cells = board.servers[i];
        return cells === undefined ? [] : [{ name, classes: classesOf(cells.latency) }];
      }),
    }];
  });
  return json({ at: clock.wallMs(), pools });
}

/** Those of which there has been a request. */
function classesOf(latency: Latency) {
  return LATENCY_CLASSES.flatMap((name, place) => {
    const waited = latency.histogram(place, WAITED);
    if (waited.count === 0) return [];
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
