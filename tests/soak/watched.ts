/**
 * `deno task watched:compare`: what it costs to be looked at. The same load with nobody looking, and with open pages and scrapes.
 *
 *   --pairs=N      default 6: a slice of each, in turn
 *   --requests=N   of a slice, default 100000
 *   --pages=N      default 20: each reads the stream that a page reads
 *   --scrapes=N    /metrics a second, default 10
 *   --runtime=R    deno, bun or compiled (default)
 *   --workers=N    default 1: the thread that carries the traffic answers the pages too
 *
 * Twenty servers: some 1,500 lines of /metrics. CPU is that of the whole process, by request; p99 is the load generator's. Figures are for
 * people: who looks and who asks share the machine, so nothing is asserted of them.
 */
import { parseArgs } from "node:util";
import { type Admin, startAdmin } from "../lib/admin.ts";
import { Fixture } from "../lib/fixture.ts";
import { delay } from "../lib/poll.ts";
import { poolYml, type Subject } from "../lib/servers.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    pairs: { type: "string", default: "6" },
    requests: { type: "string", default: "100000" },
    pages: { type: "string", default: "20" },
    scrapes: { type: "string", default: "10" },
    runtime: { type: "string", default: "compiled" },
    workers: { type: "string", default: "1" },
  },
});

const SERVERS = 20;
/** Of the process's times in /proc: ticks a second. */
const TICKS = 100;

await using f = new Fixture();
const real = await f.redis();
const servers = Array.from({ length: SERVERS }, (_, i) => `${real.path}:1 server${i}`);
const yml = poolYml({ alpha: { servers } });
const port = Number(/listen: \S+:(\d+)/.exec(yml)![1]);
const { proxy, admin } = await startAdmin(f, values.runtime as Subject, yml, {
  process: [`workers: ${values.workers}`],
});
const lines = (await admin.get("/metrics")).text.split("\n").length;
console.log(`${values.pages} pages, ${values.scrapes} scrapes of ${lines} lines a second, beside GETs`);
await slice(null);
const seen: { readonly cpu: number; readonly p99: number; readonly rate: number }[][] = [];
for (let i = 0; i < Number(values.pairs); i++) {
  const pair = [await slice(null), await slice(admin)];
  seen.push(pair);
  const [alone, watched] = pair as [typeof pair[0], typeof pair[0]];
  console.log(
    `CPU ${alone.cpu.toFixed(2)} → ${watched.cpu.toFixed(2)} us × ${(watched.cpu / alone.cpu).toFixed(3)}, ` +
      `p99 ${alone.p99} → ${watched.p99} ms × ${(watched.p99 / alone.p99).toFixed(2)}, ` +
      `${Math.round(alone.rate)} → ${Math.round(watched.rate)} a second`,
  );
}
for (const what of ["cpu", "p99"] as const) {
  const ratios = seen.map(([alone, watched]) => watched![what] / alone![what]).sort((a, b) => a - b);
  console.log(`${what}: median × ${ratios[ratios.length >> 1]!.toFixed(3)}`);
}

/** A slice of the load. @param admin who is looked at meanwhile; null: nobody looks */
async function slice(admin: Admin | null) {
  const stop = new AbortController();
  const watching = admin === null ? [] : watch(admin, stop.signal);
  const [before, beganMs] = [cpuTicks(), performance.now()];
  const args = ["-p", `${port}`, "-n", values.requests, "-c", "50", "-r", "1000", "--csv"];
  const { stdout } = await new Deno.Command("redis-benchmark", {
    args: [...args, "GET", "key:__rand_int__"],
    stdout: "piped",
    stderr: "null",
  }).output();
  const cpu = (cpuTicks() - before) / TICKS * 1e6 / Number(values.requests);
  const seconds = (performance.now() - beganMs) / 1000;
  stop.abort();
  await Promise.all(watching);
  // "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
  const row = new TextDecoder().decode(stdout).trim().split("\n").at(-1)!.replaceAll('"', "").split(",");
  return { cpu, p99: Number(row.at(-2)), rate: Number(values.requests) / seconds };
}

function watch(admin: Admin, signal: AbortSignal): Promise<void>[] {
  const every = async (path: string, ms: number) => {
    while (!signal.aborted) {
      const { status } = await admin.get(path);
      if (status !== 200) throw new Error(`${path}: ${status}`);
      await delay(ms);
    }
  };
  const stream = async () => {
    const response = await fetch(`http://127.0.0.1:${admin.port}/api/live?panels&pool=alpha`, { signal });
    for await (const _ of response.body!);
  };
  const pages = Array.from({ length: Number(values.pages) }, () =>
    stream().catch((error) => {
      if (!signal.aborted) throw error;
    }));
  const scrapes = Number(values.scrapes);
  return scrapes === 0 ? pages : [...pages, every("/metrics", 1000 / scrapes)];
}

/** User's and system's, of all threads. */
function cpuTicks(): number {
  const fields = Deno.readTextFileSync(`/proc/${proxy.pid}/stat`).replace(/^.*\) /, "").split(" ");
  return Number(fields[11]) + Number(fields[12]);
}
