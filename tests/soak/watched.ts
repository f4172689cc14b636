/**
 * `deno task watched:compare`: what it costs to be looked at. The same load with nobody looking, and with open pages and scrapes.
 *
 *   --pairs=N      default 6: a slice of each, in turn
 *   --requests=N   of a slice, default 100000
 *   --pages=N      default 20: each reads the stream that a page reads
 *   --scrapes=N    /metrics a second, default 10
 *   --runtime=R    deno, bun or compiled (default)
 *   --workers=N    default 1: the thread that carries the traffic answers the pages too
 *   --warm=S       default 20: so long it is looked at before anything counts; what looks once a second is compiled for two minutes
 *   --apart=PORT   a slice more in which the same readers read from whoever listens at that port (0: another process of the same kind), once
 *                  or several times: what readers and bytes cost on this machine, whoever sends them
 *
 * Twenty servers: some 1,500 lines of /metrics. CPU is that of the whole process, by request; p99 is the load generator's. Figures are for
 * people: who looks and who asks share the machine, so nothing is asserted of them.
 */
import { parseArgs } from "node:util";
import { encode, latin1 } from "../../src/bytes/ascii.ts";
import { Admin, startAdmin } from "../lib/admin.ts";
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
    warm: { type: "string", default: "20" },
    apart: { type: "string", multiple: true, default: [] },
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
const process = [`workers: ${values.workers}`];
const { proxy, admin } = await startAdmin(f, values.runtime as Subject, yml, { process });
const apart = await Promise.all(values.apart.map(async (port): Promise<[string, Admin]> => {
  if (port !== "0") return [`port ${port}`, new Admin(Number(port))];
  const other = poolYml({ alpha: { servers } });
  return ["another", (await startAdmin(f, values.runtime as Subject, other, { process })).admin];
}));
/** Whose pages and /metrics are read in a slice; null: nobody's. */
const kinds: readonly (readonly [string, Admin | null])[] = [["alone", null], ["watched", admin], ...apart];
const scrapes = Number(values.scrapes);
let scraped = 0;
const lines = (await admin.get("/metrics")).text.split("\n").length;
console.log(`${values.pages} pages, ${values.scrapes} scrapes of ${lines} lines a second, beside GETs`);
await warm();
const seen = new Map(kinds.map(([name]) => [name, [] as Awaited<ReturnType<typeof slice>>[]]));
for (let i = 0; i < Number(values.pairs); i++) {
  // Each kind is first, second, … as often.
  for (let k = 0; k < kinds.length; k++) {
    const [name, admin] = kinds[(i + k) % kinds.length]!;
    const one = await slice(admin);
    seen.get(name)!.push(one);
    console.log(
      `${name}: CPU ${one.cpu.toFixed(2)} us, p50 ${one.p50}, p99 ${one.p99} ms, ` +
        `${Math.round(one.rate)} a second, ${(one.scraped / one.seconds).toFixed(1)} scrapes a second`,
    );
  }
}
const alone = seen.get("alone")!;
for (const [name, slices] of [...seen].slice(1)) {
  for (const what of ["cpu", "p50", "p99", "rate"] as const) {
    const ratios = slices.map((one, i) => one[what] / alone[i]![what]).sort((a, b) => a - b);
    console.log(
      `${name}: ${what} × ${ratios[ratios.length >> 1]!.toFixed(3)} (${ratios[0]!.toFixed(2)} to ${
        ratios.at(-1)!.toFixed(2)
      }), of medians × ${
        (median(slices.map((one) => one[what])) / median(alone.map((one) => one[what]))).toFixed(3)
      }`,
    );
  }
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1]!;
}

/** All are looked at at once. */
async function warm(): Promise<void> {
  await slice(null);
  const stop = new AbortController();
  const watching = kinds.flatMap(([, admin]) => admin === null ? [] : watch(admin, stop.signal));
  await Promise.race([delay(1000 * Number(values.warm)), ...watching]);
  stop.abort();
  await Promise.all(watching);
}

/** A slice of the load. @param admin who is looked at meanwhile; null: nobody looks */
async function slice(admin: Admin | null) {
  const stop = new AbortController();
  scraped = 0;
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
  const [p50, p99] = [Number(row.at(-4)), Number(row.at(-2))];
  return { cpu, p50, p99, rate: Number(values.requests) / seconds, seconds, scraped };
}

/** Readers cost as little as they can: they take the processors away from who is measured. */
function watch(admin: Admin, signal: AbortSignal): Promise<void>[] {
  const reader = async (read: (conn: Deno.TcpConn) => Promise<void>) => {
    using conn = await admin.connect();
    const onAbort = () => conn.close();
    signal.addEventListener("abort", onAbort);
    try {
      await read(conn);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    if (!signal.aborted) throw new Error("the admin side has closed a connection");
    signal.removeEventListener("abort", onAbort);
  };
  const ask = (conn: Deno.TcpConn, path: string) =>
    conn.write(encode(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${admin.port}\r\n\r\n`));
  // What pages read nobody looks at.
  const anything = new Uint8Array(256 * 1024);
  const page = async (conn: Deno.TcpConn) => {
    await ask(conn, "/api/live?panels&pool=alpha");
    while (await conn.read(anything) !== null);
  };
  const scraper = async (conn: Deno.TcpConn) => {
    const into = new Uint8Array(256 * 1024);
    for (let dueMs = performance.now(); !signal.aborted; dueMs += 1000 / scrapes) {
      await delay(Math.max(0, dueMs - performance.now()));
      await ask(conn, "/metrics");
      await readAnswer(conn, into);
      scraped++;
    }
  };
  const pages = Array.from({ length: Number(values.pages) }, () => reader(page));
  return scrapes === 0 ? pages : [...pages, reader(scraper)];
}

/** To its end. */
async function readAnswer(conn: Deno.TcpConn, into: Uint8Array): Promise<void> {
  let need = Infinity;
  for (let got = 0; got < need;) {
    const read = await conn.read(into);
    if (read === null) throw new Error("an answer has not ended");
    if (got === 0) {
      const text = latin1(into, 0, Math.min(read, 1024));
      const [, size] = /^HTTP\/1\.1 200 .*?\r\ncontent-length: (\d+)\r\n/is.exec(text) ?? [];
      if (size === undefined) throw new Error(`expected an answer, found ${text.slice(0, 100)}`);
      need = text.indexOf("\r\n\r\n") + 4 + Number(size);
    }
    got += read;
  }
}

/** User's and system's, of all threads. */
function cpuTicks(): number {
  const fields = Deno.readTextFileSync(`/proc/${proxy.pid}/stat`).replace(/^.*\) /, "").split(" ");
  return Number(fields[11]) + Number(fields[12]);
}
