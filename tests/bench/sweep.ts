/**
 * The longest turn that one request can cause: every row of the command tables with very many arguments, through the whole core
 * on a network in memory (tests/lib/turn_net.ts), alone and inside MULTI, over one server and over three.
 *
 *   deno task sweep                       # 100,000 arguments, on Bun; those over 5 ms of CPU are listed
 *   deno task sweep --arguments=1000000 --only=MGET --all
 *   deno task sweep --part=3/20           # every twentieth request, from the third on
 *
 *   deno task sweep --collector           # with the collector at work
 *
 * CPU time of the thread alone, without what the kernel would add. A turn over the limit is measured five times, and the least
 * counts: the machine's own pauses are no property of a request. Nor are the collector's: its pauses (some ms, a few times for
 * 100,000 subscriptions that stay) are of all that is alive in this process, which here is the servers and the client too. It
 * runs between requests only, unless wanted.
 */
import { spawnSync } from "node:child_process";
import "../../src/runtime/bun.ts";
import { latin1, show } from "../lib/bytes.ts";
import { TurnStand } from "../lib/turn_stand.ts";
import { wideMemcached, wideRedis, type WideRequest } from "../lib/wide_requests.ts";

const LIMIT_MS = 5;
const TRIES = 5;
/** No machine's pause: one measurement is enough. */
const HOPELESS_MS = 50;
const MULTI = latin1("*1\r\n$5\r\nMULTI\r\n");
const EXEC = latin1("*1\r\n$4\r\nEXEC\r\n");

interface Found {
  readonly what: string;
  readonly ms: number;
  readonly turns: number;
  readonly allMs: number;
  readonly reply: string;
}

function threadMs(): number {
  const { user, system } = (process as unknown as { threadCpuUsage(): { user: number; system: number } })
    .threadCpuUsage();
  return (user + system) / 1000;
}

/** JavaScriptCore collects when so many bytes more have been used. */
const NEVER = { BUN_JSC_smallHeapSize: "8000000000", BUN_JSC_largeHeapSize: "8000000000" };
const collect = (globalThis as unknown as { Bun: { gc(whole: boolean): void } }).Bun.gc;

async function once(protocol: "redis" | "memcached", servers: number, parts: readonly Uint8Array[]) {
  let longest = 0;
  let allMs = 0;
  const stand = await TurnStand.make(protocol, servers, (work) => {
    const [before, beforeMs] = [threadMs(), performance.now()];
    work();
    // Many kernels count a thread's time in ticks of 4 ms, and charge one to whoever runs at that moment.
    const ms = Math.min(threadMs() - before, performance.now() - beforeMs);
    allMs += ms;
    longest = Math.max(longest, ms);
  });
  const client = stand.join();
  for (const part of parts) client.socket.give(part);
  collect(true);
  const turns = stand.net.run();
  const last = client.read.at(-1) ?? new Uint8Array(0);
  const reply = (client.read.length > 1 ? "… " : "") + show(last, 60);
  client.socket.reset();
  stand.net.run();
  stand.stop();
  return { longest, allMs, turns, reply };
}

async function measure(
  what: string,
  protocol: "redis" | "memcached",
  servers: number,
  parts: readonly Uint8Array[],
): Promise<Found> {
  let best = await once(protocol, servers, parts);
  for (let i = 1; i < TRIES && best.longest > LIMIT_MS && best.longest < HOPELESS_MS; i++) {
    const again = await once(protocol, servers, parts);
    if (again.longest < best.longest) best = again;
  }
  const { longest, allMs, turns, reply } = best;
  if (longest > LIMIT_MS) console.error(`${longest.toFixed(1)} ms  ${what}`);
  return { what, ms: longest, turns, allMs, reply };
}

async function main(options: readonly string[]): Promise<void> {
  let only = "";
  let n = 100_000;
  let all = false;
  let [part, parts] = [1, 1];
  for (const option of options) {
    if (option.startsWith("--only=")) only = option.slice(7);
    else if (option.startsWith("--arguments=") && Number(option.slice(12)) > 0) n = Number(option.slice(12));
    else if (option === "--all") all = true;
    else if (option === "--collector") continue;
    else if (/^--part=\d+\/\d+$/.test(option)) {
      [part, parts] = option.slice(7).split("/").map(Number) as [number, number];
    } else throw new Error(`Unknown option: ${option}`);
  }
  const found: Found[] = [];
  let seen = 0;
  const sweep = async (protocol: "redis" | "memcached", { name, bytes }: WideRequest) => {
    if (!name.includes(only) || seen++ % parts !== part - 1) return;
    const request = bytes();
    for (const servers of [1, 3]) {
      found.push(await measure(`${name}, ${servers} servers`, protocol, servers, [request]));
      if (protocol === "memcached") continue;
      found.push(
        await measure(`MULTI ${name}, ${servers} servers`, protocol, servers, [MULTI, request, EXEC]),
      );
    }
  };
  for (const request of wideRedis(n)) await sweep("redis", request);
  for (const request of wideMemcached(n)) await sweep("memcached", request);
  found.sort((a, b) => b.ms - a.ms);
  const over = found.filter(({ ms }) => ms > LIMIT_MS);
  console.log(`${found.length} requests of ${n} arguments; over ${LIMIT_MS} ms: ${over.length}`);
  console.log("longest turn, ms   turns   all, ms");
  for (const { what, ms, turns, allMs, reply } of all ? found : found.slice(0, Math.max(10, over.length))) {
    console.log(
      `${ms.toFixed(1).padStart(16)}${String(turns).padStart(8)}${allMs.toFixed(0).padStart(10)}  ${
        what.padEnd(50)
      } ${reply}`,
    );
  }
}

const options = process.argv.slice(2);
if (options.includes("--collector") || process.env.BUN_JSC_smallHeapSize !== undefined) await main(options);
else {
  const env = { ...process.env, ...NEVER };
  const { status } = spawnSync(process.execPath, process.argv.slice(1), { env, stdio: "inherit" });
  process.exit(status ?? 1);
}
