/**
 * CPU time of a client's request by TLS, beside the same in plain, what redis-server itself takes for it, and HAProxy in front of nutcracker;
 * and what users with rules cost; slice by slice in turns:
 *
 *   deno task bench:tls [--slices=6] [--only=get-p16] [--subjects=plain,tls] [--executable=PATH] [--base=PATH] [--haproxy=PATH]
 *
 * `plain`, `users` (a name, and rules with a key pattern) and `tls` are pools of one process, so they have the same code, warm in the same way.
 * `base` is the TLS pool of another Ringmaster. Of HAProxy and nutcracker it is what both take. Servers are plain ones, shared.
 */
import { parseArgs } from "node:util";
import { certificate } from "../lib/certificates.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll, pollProcess } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { Process } from "../lib/process.ts";
import { compiled, need } from "../lib/repo.ts";
import { poolYml } from "../lib/servers.ts";
import { CpuWatch } from "./proc.ts";
import { redisBenchmark } from "./redis_benchmark.ts";
import { ratios, spread } from "./stats.ts";

interface Kind {
  readonly name: string;
  readonly command: readonly string[];
  readonly pipeline: number;
  /** About a second's. */
  readonly requests: number;
}

interface Subject {
  readonly name: string;
  readonly pids: readonly number[];
  readonly port: number;
  /** More flags of redis-benchmark. */
  readonly flags: readonly string[];
}

const GET = ["GET", "key:__rand_int__"];
const KINDS: readonly Kind[] = [
  { name: "get-p1", command: GET, pipeline: 1, requests: 30_000 },
  { name: "get-p16", command: GET, pipeline: 16, requests: 200_000 },
];
/** What the others are measured by. */
const BESIDE = ["redis-tls", "plain", "haproxy"];

const { values } = parseArgs({
  options: {
    slices: { type: "string", default: "6" },
    warm: { type: "string", default: "3" },
    only: { type: "string", default: "" },
    subjects: { type: "string", default: "redis,redis-tls,plain,users,tls,base,haproxy" },
    executable: { type: "string" },
    base: { type: "string" },
    haproxy: { type: "string" },
  },
});
const wanted = new Set(values.subjects.split(","));

await using f = new Fixture();
const { dir } = f;
const own = certificate({ name: "localhost" });
Deno.writeTextFileSync(`${dir}/own.crt`, own.cert);
Deno.writeTextFileSync(`${dir}/own.key`, own.key);
Deno.writeTextFileSync(`${dir}/both.pem`, own.cert + own.key);
const files = ["--tls-cert-file", `${dir}/own.crt`, "--tls-key-file", `${dir}/own.key`];
const TLS = ["--tls", "--cacert", `${dir}/own.crt`];
const servers = [await f.redis({ port: 0 }), await f.redis({ port: 0 })];
const keys = { preconnect: true, timeout: 20000, servers };
const subjects: Subject[] = [];

async function listening(port: number): Promise<void> {
  await poll(async () => {
    (await Deno.connect({ port })).close();
    return true;
  }, `port ${port}`);
}

/** @returns ports of the pools plain, users and tls */
async function ringmaster(program: string): Promise<{ pid: number; ports: number[] }> {
  const ports = [freePort(), freePort(), freePort()];
  const [plain, users, tls] = ports.map((port) => `127.0.0.1:${port}`);
  const file = `${dir}/${ports[0]}.yml`;
  const yml = poolYml({
    plain: { ...keys, listen: plain },
    users: { ...keys, listen: users, users: `[{ name: app, password: secret, rules: "+@all ~key:*" }]` },
    tls: { ...keys, listen: tls, tls: `{ certificate: ${dir}/own.crt, key: ${dir}/own.key }` },
  });
  Deno.writeTextFileSync(file, yml);
  const process = f.add(
    new Process(program, ["-c", file, "-s", String(freePort())], { output: `${file}.log` }),
  );
  for (const port of ports) await listening(port);
  return { pid: process.pid, ports };
}

if (wanted.has("redis")) {
  const redis = await f.redis({ port: 0 });
  subjects.push({ name: "redis", pids: [redis.pid], port: redis.port, flags: [] });
}
if (wanted.has("redis-tls")) {
  const port = freePort();
  const redis = await f.redis({
    port: 0,
    args: ["--tls-port", String(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", `${dir}/own.crt`]
      .concat(files),
  });
  subjects.push({ name: "redis-tls", pids: [redis.pid], port, flags: TLS });
}
const proxy = await ringmaster(values.executable ?? await compiled());
subjects.push(
  { name: "plain", pids: [proxy.pid], port: proxy.ports[0]!, flags: [] },
  { name: "users", pids: [proxy.pid], port: proxy.ports[1]!, flags: ["--user", "app", "-a", "secret"] },
  { name: "tls", pids: [proxy.pid], port: proxy.ports[2]!, flags: TLS },
);
if (values.base !== undefined) {
  const base = await ringmaster(values.base);
  subjects.push({ name: "base", pids: [base.pid], port: base.ports[2]!, flags: TLS });
}
if (wanted.has("haproxy")) {
  const port = freePort();
  const nutcracker = await f.proxy("nutcracker", poolYml({ alpha: { ...keys, auto_eject_hosts: false } }));
  Deno.writeTextFileSync(
    `${dir}/haproxy.cfg`,
    `global
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen bench
  bind 127.0.0.1:${port} ssl crt ${dir}/both.pem
  server alone 127.0.0.1:${nutcracker.port}
`,
  );
  const haproxy = f.add(
    new Process(values.haproxy ?? need("haproxy"), ["-db", "-f", `${dir}/haproxy.cfg`], {
      output: `${dir}/haproxy.log`,
    }),
  );
  await pollProcess(haproxy, () => listening(port).then(() => true), "haproxy to listen");
  subjects.push({ name: "haproxy", pids: [haproxy.pid, nutcracker.pid], port, flags: TLS });
}

/** Microseconds a request. */
async function slice({ pids, port, flags }: Subject, kind: Kind): Promise<number> {
  const { command, pipeline, requests } = kind;
  const watches = pids.map((pid) => new CpuWatch(pid));
  await redisBenchmark({ port, requests, clients: 50, pipeline, keyspace: 100_000, command, flags });
  return watches.reduce((sum, watch) => sum + watch.elapsedUs(), 0) / requests;
}

const taking = subjects.filter(({ name }) => wanted.has(name));
for (const kind of KINDS) {
  if (!new RegExp(values.only).test(kind.name)) continue;
  const us = new Map<string, number[]>(taking.map(({ name }) => [name, []]));
  // The first ones are for the compiler.
  const warm = Number(values.warm);
  for (let i = 0; i < warm + Number(values.slices); i++) {
    // A B, then B A.
    for (const subject of i % 2 === 0 ? taking : taking.toReversed()) {
      const taken = await slice(subject, kind);
      if (i >= warm) us.get(subject.name)!.push(taken);
    }
  }
  console.log(kind.name);
  for (const [name, own] of us) {
    const beside = BESIDE.filter((each) => each !== name && us.has(each)).map((each) => {
      const { median, min, max } = ratios(own, us.get(each)!);
      return `${each} × ${median.toFixed(3)} (${min.toFixed(2)} to ${max.toFixed(2)})`;
    });
    console.log(`  ${name.padEnd(9)} ${spread(own).median.toFixed(2).padStart(6)} µs; ${beside.join(", ")}`);
  }
}
