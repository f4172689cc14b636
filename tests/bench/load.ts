/**
 * load.c as the load: memcached, and Redis at a fixed rate. It checks every answer to the byte.
 *
 * It is compiled when first needed, with whatever C compiler is there; where there is none the cases that need it
 * are skipped, and said to be.
 */
import { run } from "../lib/process.ts";
import { ROOT, which } from "../lib/repo.ts";
import { type Load } from "./redis_benchmark.ts";

export const COMPILER_HINT = "no C compiler: apt-get install -y gcc libc6-dev";

/** The compiler's name, or null. */
export function compiler(): string | null {
  return ["cc", "gcc", "clang", "tcc"].map(which).find((path) => path !== null) ?? null;
}

/** Compiles load.c into `dir` and returns the program's path. Throws if there is no compiler, or it refuses. */
export async function buildLoad(dir: string): Promise<string> {
  const program = `${dir}/load`;
  const cc = compiler();
  if (cc === null) throw new Error(COMPILER_HINT);
  const { code, stderr } = await run(cc, ["-O2", "-o", program, `${ROOT}/tests/bench/load.c`]);
  if (code !== 0) throw new Error(`${cc} could not compile load.c:\n${stderr}`);
  return program;
}

export interface LoadRun {
  program: string;
  port: number;
  protocol: "redis" | "memcached";
  op: "get" | "set" | "fill";
  clients: number;
  pipeline: number;
  requests: number;
  /** Distinct keys. */
  keys: number;
  /** Bytes of a value. */
  size: number;
  /** Requests per second; 0: as fast as it goes. */
  rate: number;
}

export async function load(to: LoadRun): Promise<Load> {
  const numbers = [to.clients, to.pipeline, to.requests, to.keys, to.size, to.rate];
  const { code, stdout, stderr } = await run(to.program, [
    String(to.port),
    to.protocol,
    to.op,
    ...numbers.map(String),
  ]);
  if (code !== 0) throw new Error(stderr.trim());
  const { rps, p50, p99, p999 } = JSON.parse(stdout);
  return { rps, p50Ms: p50, p99Ms: p99, p999Ms: p999 };
}
