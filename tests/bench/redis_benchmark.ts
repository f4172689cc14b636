/** redis-benchmark (Debian: redis-tools) as the load: its command line, and its report as numbers. */
import { run } from "../lib/process.ts";
import { need } from "../lib/repo.ts";

/** What one run of a load generator saw. Latencies in ms, per batch when pipelined. */
export interface Load {
  rps: number;
  p50Ms: number;
  p99Ms: number;
  p999Ms: number;
}

export interface RedisLoad {
  port: number;
  requests: number;
  clients: number;
  pipeline: number;
  /** Random keys are `…__rand_int__`, 12 digits below this. */
  keyspace: number;
  /** The request; `__rand_int__` in an argument is replaced anew each time. */
  command: readonly string[];
  /** More flags: --tls, a name. */
  flags?: readonly string[];
}

export async function redisBenchmark(load: RedisLoad): Promise<Load> {
  const args = [
    ...load.flags ?? [],
    ...["-h", "127.0.0.1", "-p", String(load.port), "-n", String(load.requests), "-c", String(load.clients)],
    ...["-P", String(load.pipeline), "-r", String(load.keyspace), "--precision", "3"],
  ];
  // A value of a megabyte is too long for an argument (128 KiB): -x reads the last argument from stdin.
  const last = load.command.at(-1)!;
  const long = last.length > 100_000;
  const command = long ? ["-x", ...load.command.slice(0, -1)] : load.command;
  const { code, stdout, stderr } = await run(need("redis-benchmark"), [...args, ...command], {
    input: long ? last : undefined,
  });
  // It tells of an error reply on either stream and goes on or not, by its version: each is a wrong answer here.
  // A proxy refuses the CONFIG it begins with, which it calls a warning.
  const complaint = (stderr + stdout).split("\n").find((line) => /error/i.test(line) && !/CONFIG/.test(line));
  if (code !== 0 || complaint !== undefined) {
    throw new Error(
      `redis-benchmark ${args.join(" ")} ${load.command[0]}: ${complaint ?? `exit code ${code}: ${stderr}`}`,
    );
  }
  return parseReport(stdout);
}

/** Reads the report in full: its CSV has no p99.9, its distribution has. */
export function parseReport(text: string): Load {
  const rps = Number(/throughput summary: ([\d.]+) requests per second/.exec(text)?.[1]);
  const summary = /p99\s+max\s*\n\s*([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)/.exec(
    text,
  );
  const steps = [...text.matchAll(/([\d.]+)% <= ([\d.]+) milliseconds/g)];
  const p999 = steps.find(([, percent]) => Number(percent) >= 99.9);
  if (!(rps > 0) || summary === null) {
    throw new Error(`cannot read redis-benchmark's report:\n${text.slice(-2000)}`);
  }
  return {
    rps,
    p50Ms: Number(summary[3]),
    p99Ms: Number(summary[5]),
    p999Ms: Number(p999?.[2] ?? summary[6]),
  };
}
