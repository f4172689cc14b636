/**
 * Clients that want the proxy's memory and time, and what the others notice of it.
 *
 *   unread      asks for 2 GB of replies and reads nothing
 *   slow        5,000 clients that send one byte now and then
 *   announced   a bulk of 2 GB is announced, another of 500 MB begins and never ends
 *   million     MGET with a million arguments, again and again
 *   writes      MSET of 500,000 pairs, and DEL of them
 *   huge        a SET of 100 MB by one client, a pipeline of 100,000 GETs by another, again and again
 *   exec        a transaction of 100,000 commands
 *   fanout      PUBLISH to 5,000 subscribers
 *
 * For each: the p99 of 50 well-behaved clients before and meanwhile; of five more who only ask what the proxy answers itself, so
 * that its own stalls can be told from its servers'; and the proxy's resident memory at its peak and some time after. What the
 * well-behaved are told is checked as always (caller.ts). The deeds are done by another process, with the least claim to the
 * processor (misdeeds.ts). `direct` has all of them talk to one redis-server instead: what it stalls nobody else can mend.
 */
import { Fixture } from "../lib/fixture.ts";
import type { Target } from "../lib/client.ts";
import { delay } from "../lib/poll.ts";
import { Process } from "../lib/process.ts";
import { Random } from "../lib/random.ts";
import { DENO, need, ROOT } from "../lib/repo.ts";
import { poolYml, type Runtime } from "../lib/servers.ts";
import { Caller, sumOf } from "./caller.ts";
import { residentBytes } from "./memory.ts";

export interface HostileOptions {
  runtime: Runtime;
  /** 1 = the sizes above. */
  scale: number;
  /** How long each deed goes on, and how long is measured before it. */
  seconds: number;
  /** max_memory */
  maxMemory: string;
  /** Which, by name; absent: DEEDS. */
  deeds?: readonly string[];
  /** No proxy: a redis-server. */
  direct?: boolean;
  progress?: (text: string) => void;
}

export interface Deed {
  name: string;
  p99BeforeMs: number;
  p99Ms: number;
  /** Of those whom no server can keep waiting. */
  localBeforeMs: number;
  localP99Ms: number;
  /** The longest anybody well-behaved has waited. */
  slowestMs: number;
  beforeMb: number;
  peakMb: number;
  /** The lowest within ten seconds after. */
  afterMb: number;
}

const DEEDS = ["unread", "slow", "announced", "million", "huge"];
const VALUE_SIZE = 1024 * 1024;

export async function hostileRun(options: HostileOptions) {
  await using f = new Fixture();
  // As client_output_limit: otherwise a redis-server keeps as much as is asked for.
  const args = options.direct ? ["--client-output-buffer-limit", "normal 256mb 0 0"] : [];
  const servers = [await f.redis({ args }), await f.redis()];
  const yml = poolYml({ alpha: { servers, timeout: 10_000 } }) +
    `ringmaster:\n  admin: off\n  max_memory: ${options.maxMemory}\n`;
  const proxy = options.direct ? null : await f.proxy(options.runtime, yml);
  const { target } = proxy ?? servers[0]!;
  const pid = proxy?.pid ?? servers[0]!.pid;
  const first = await f.client(target);
  await first.command("SET", "large", "x".repeat(VALUE_SIZE));
  const habit = { pauseMs: (random: Random) => random.below(10), burst: () => 1 };
  const makeCaller = (i: number, echoes: boolean) => {
    const caller = new Caller(`c${i}`, target, new Random(i), { ...habit, echoes });
    caller.tookMs = [];
    return caller;
  };
  const askers = Array.from({ length: 50 }, (_, i) => makeCaller(i, false));
  const echoers = Array.from({ length: 5 }, (_, i) => makeCaller(50 + i, true));
  const callers = [...askers, ...echoers];
  let over = false;
  const running = callers.map((caller) => caller.run(() => over));
  const deeds: Deed[] = [];
  try {
    await delay(options.seconds * 500);
    for (const name of options.deeds ?? DEEDS) {
      takeTimes(callers);
      await delay(options.seconds * 1000);
      const [before, localBefore] = [takeTimes(askers), takeTimes(echoers)];
      const beforeBytes = residentBytes(pid);
      let peakBytes = beforeBytes;
      const doing = misdeed(name, target, options.scale, `${f.dir}/${name}.log`);
      const endMs = performance.now() + options.seconds * 1000;
      while (performance.now() < endMs) {
        await delay(20);
        peakBytes = Math.max(peakBytes, residentBytes(pid));
      }
      const [meanwhile, localMeanwhile] = [takeTimes(askers), takeTimes(echoers)];
      if (doing.status !== null) throw new Error(`${name} ended: ${doing.stderr}`);
      await doing.stop();
      let afterBytes = Infinity;
      for (let i = 0; i < 100 && afterBytes > beforeBytes * 1.1; i++) {
        await delay(100);
        afterBytes = Math.min(afterBytes, residentBytes(pid));
      }
      const deed = {
        name,
        p99BeforeMs: percentile(before, 0.99),
        p99Ms: percentile(meanwhile, 0.99),
        localBeforeMs: percentile(localBefore, 0.99),
        localP99Ms: percentile(localMeanwhile, 0.99),
        slowestMs: percentile(meanwhile, 1),
        beforeMb: Math.round(beforeBytes / 1e6),
        peakMb: Math.round(peakBytes / 1e6),
        afterMb: Math.round(afterBytes / 1e6),
      };
      deeds.push(deed);
      options.progress?.(JSON.stringify(deed));
    }
  } finally {
    over = true;
    await Promise.allSettled(running);
  }
  const { requests, lost, refused, errors, wrong } = sumOf(callers);
  return { deeds, requests, lost, refused, errors, wrong, log: proxy?.log ?? "" };
}

function misdeed(name: string, target: Target, scale: number, output: string): Process {
  const program = `${ROOT}/tests/soak/misdeeds.ts`;
  const words = [DENO, "run", "-A", "--no-check", program, name, JSON.stringify(target), String(scale)];
  return new Process(need("nice"), ["-n", "19", ...words], { output });
}

function takeTimes(callers: readonly Caller[]): number[] {
  const times = callers.flatMap((caller) => caller.tookMs!);
  for (const caller of callers) caller.tookMs = [];
  return times.sort((a, b) => a - b);
}

function percentile(sorted: readonly number[], p: number): number {
  return Math.round(100 * sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))]!) / 100;
}
