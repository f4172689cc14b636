/**
 * What can go wrong on the simulator's network, and how often. A chance is drawn at each opportunity: per read, per
 * write, per connect; 0 switches a fault off.
 */
import type { Random } from "./random.ts";

export interface Faults {
  /** Bytes under way take this long, one way. */
  readonly latencyMinMs: number;
  readonly latencyMaxMs: number;
  /** Bytes that one direction of a connection holds between sender and receiver. */
  readonly kernelMinBytes: number;
  readonly kernelMaxBytes: number;
  /** A read gets fewer bytes than there are. */
  readonly cutRead: number;
  /** The kernel takes fewer bytes than it has room for. */
  readonly shortWrite: number;
  /** `drain` although nothing was held back. */
  readonly spuriousDrain: number;
  /** The one `data` that may come after `pause`. */
  readonly lateData: number;
  /** What was written arrives late, by up to `stallMaxMs`; everything behind it waits. */
  readonly stall: number;
  readonly stallMaxMs: number;
  /** Both ends get a reset when what was written arrives. */
  readonly reset: number;
  /** From this write on nothing arrives any more, either way, and nobody is told. */
  readonly vanish: number;
  readonly refuse: number;
  /** The connection is made, but late, by up to `slowConnectMaxMs`. */
  readonly slowConnect: number;
  readonly slowConnectMaxMs: number;
  /** The connect is never answered; the kernel gives up after two minutes. */
  readonly blackHole: number;
  /** `destroy` sends FIN in place of a reset if nothing unread is lost by it. */
  readonly finOnDestroy: number;
}

/** Nothing goes wrong, but bytes still arrive in pieces and late. */
export const CALM: Faults = {
  latencyMinMs: 0.02,
  latencyMaxMs: 0.5,
  kernelMinBytes: 64 * 1024,
  kernelMaxBytes: 256 * 1024,
  cutRead: 0.2,
  shortWrite: 0.1,
  spuriousDrain: 0.05,
  lateData: 0.3,
  stall: 0,
  stallMaxMs: 0,
  reset: 0,
  vanish: 0,
  refuse: 0,
  slowConnect: 0,
  slowConnectMaxMs: 0,
  blackHole: 0,
  finOnDestroy: 0.5,
};

/** How likely each fault is at most. What is rare per write is common per run. */
const MOST = {
  cutRead: 1,
  shortWrite: 1,
  spuriousDrain: 0.5,
  lateData: 1,
  stall: 0.05,
  reset: 0.02,
  vanish: 0.005,
  refuse: 0.3,
  slowConnect: 0.5,
  blackHole: 0.1,
  finOnDestroy: 1,
} as const;

/**
 * A plan of faults for one seed, swarm style: each fault is off half the time, else weighed over three orders of
 * magnitude. A mixture of everything would hide what only shows when one fault is frequent and another absent.
 */
export function swarm(random: Random): Faults {
  const plan: Record<string, number> = {};
  for (const [fault, most] of Object.entries(MOST)) {
    plan[fault] = random.chance(0.5) ? 0 : most * 10 ** (-3 * random.next());
  }
  const latencyMinMs = random.chance(0.5) ? 0 : random.next();
  const kernelMinBytes = random.magnitude(32, 64 * 1024);
  return {
    ...CALM,
    ...plan,
    latencyMinMs,
    latencyMaxMs: latencyMinMs + random.magnitude(1, 1000) / 50,
    kernelMinBytes,
    kernelMaxBytes: kernelMinBytes * random.int(1, 8),
    stallMaxMs: random.magnitude(1, 5000),
    slowConnectMaxMs: random.magnitude(1, 5000),
  };
}
