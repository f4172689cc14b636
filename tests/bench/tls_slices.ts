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
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { Process } from "../lib/process.ts";
import { compiled, need } from "../lib/repo.ts";
import { poolYml } from "../lib/servers.ts";
import { startHaproxy } from "./haproxy.ts";
import { type Kind, type Subject, takeSlices } from "./slices.ts";
import { ratios, spread } from "./stats.ts";

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
  subjects.push({ name: "redis", pids: [redis.pid], port: redis.port });
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
  { name: "plain", pids: [proxy.pid], port: proxy.ports[0]! },
  { name: "users", pids: [proxy.pid], port: proxy.ports[1]!, flags: ["--user", "app", "-a", "secret"] },
  { name: "tls", pids: [proxy.pid], port: proxy.ports[2]!, flags: TLS },
);
if (values.base !== undefined) {
  const base = await ringmaster(values.base);
  subjects.push({ name: "base", pids: [base.pid], port: base.ports[2]!, flags: TLS });
}
if (wanted.has("haproxy")) {
  const nutcracker = await f.proxy("nutcracker", poolYml({ alpha: { ...keys, auto_eject_hosts: false } }));
  const program = values.haproxy ?? need("haproxy");
  const haproxy = await startHaproxy(f, program, nutcracker.port, `ssl crt ${dir}/both.pem`);
  subjects.push({ name: "haproxy", pids: [haproxy.pid, nutcracker.pid], port: haproxy.port, flags: TLS });
}

const taking = subjects.filter(({ name }) => wanted.has(name));
for (const kind of KINDS) {
  if (!new RegExp(values.only).test(kind.name)) continue;
  const counts = { warm: Number(values.warm), slices: Number(values.slices) };
  const lists = await takeSlices(taking, kind, counts);
  const us = new Map(taking.map(({ name }, i) => [name, lists[i]!]));
  console.log(kind.name);
  for (const [name, own] of us) {
    const beside = BESIDE.filter((each) => each !== name && us.has(each)).map((each) => {
      const { median, min, max } = ratios(own, us.get(each)!);
      return `${each} × ${median.toFixed(3)} (${min.toFixed(2)} to ${max.toFixed(2)})`;
    });
    console.log(`  ${name.padEnd(9)} ${spread(own).median.toFixed(2).padStart(6)} µs; ${beside.join(", ")}`);
  }
}
