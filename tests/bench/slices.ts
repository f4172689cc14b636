/**
 * CPU time a request of several subjects, a slice of load for one after the other, so that all have the machine's moods alike: what
 * cluster_slices.ts and tls_slices.ts measure by.
 */
import { CpuWatch } from "./proc.ts";
import { redisBenchmark } from "./redis_benchmark.ts";

export interface Kind {
  readonly name: string;
  readonly command: readonly string[];
  readonly pipeline: number;
  /** About a second's. */
  readonly requests: number;
}

export interface Subject {
  readonly name: string;
  /** Of all processes whose CPU it takes. */
  readonly pids: readonly number[];
  readonly port: number;
  /** More flags of redis-benchmark. */
  readonly flags?: readonly string[];
}

/** Microseconds a request. */
async function slice({ pids, port, flags }: Subject, kind: Kind): Promise<number> {
  const { command, pipeline, requests } = kind;
  const watches = pids.map((pid) => new CpuWatch(pid));
  await redisBenchmark({ port, requests, clients: 50, pipeline, keyspace: 100_000, command, flags });
  return watches.reduce((sum, watch) => sum + watch.elapsedUs(), 0) / requests;
}

/**
 * @param warm slices before those that count: for the compiler
 * @returns microseconds a request of each slice, a list a subject, in their order
 */
export async function takeSlices(
  subjects: readonly Subject[],
  kind: Kind,
  { warm, slices }: { readonly warm: number; readonly slices: number },
): Promise<readonly (readonly number[])[]> {
  const us: number[][] = subjects.map(() => []);
  for (let i = 0; i < warm + slices; i++) {
    for (let j = 0; j < subjects.length; j++) {
      // A B, then B A.
      const at = i % 2 === 0 ? j : subjects.length - 1 - j;
      const taken = await slice(subjects[at]!, kind);
      if (i >= warm) us[at]!.push(taken);
    }
  }
  return us;
}
