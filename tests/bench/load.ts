/**
 * load.c as the load: memcached, and Redis at a fixed rate. It checks every answer to the byte.
 */
import { run } from "../lib/process.ts";
import { type Load } from "./redis_benchmark.ts";

export interface LoadRun {
  program: string;
  port: number;
  /** binary: memcached's. */
  protocol: "redis" | "memcached" | "binary";
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
