/**
 * `deno task test:newest --redis=PATH [--redis=PATH …] [--memcached=PATH] [SUITE|FILE …]`: the suites that meet real servers,
 * with other versions of them than the installed ones. Once for each redis-server or valkey-server, one file at a time.
 *
 *   temporary folder, first on PATH:  redis-server, redis-sentinel ──▶ PATH      (valkey-server is the same program under both names)
 *                                     redis-cli, redis-benchmark   ──▶ next to PATH, if they are there
 *                                     memcached                    ──▶ PATH of memcached
 *
 * Not part of CI, which has what Debian has. What versions answer differently is in lib/versions.ts: tests ask it, and none is left
 * out. Each run ends with what `deno task test` says of it; the exit code is 0 only if none failed.
 */
import { parseArgs } from "node:util";
import { dirname } from "node:path";
import { run } from "./lib/process.ts";
import { DENO, exists, ROOT } from "./lib/repo.ts";

const SUITES = ["conformance", "real"];
const USAGE = `Say which servers to test with:

  deno task test:newest --redis=PATH [--redis=PATH …] [--memcached=PATH] [SUITE|FILE …]

PATH is that of a redis-server, valkey-server or memcached. SUITE or FILE: as of "deno task test"; default ${
  SUITES.join(" and ")
}.`;

const { values, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: { redis: { type: "string", multiple: true }, memcached: { type: "string" } },
});
const redis = values.redis ?? [];
const { memcached } = values;
if (redis.length === 0 && memcached === undefined) fail(USAGE);
for (const path of [...redis, ...memcached === undefined ? [] : [memcached]]) {
  if (!path.startsWith("/") || !exists(path)) {
    fail(`${path}: no such program; give its full path\n\n${USAGE}`);
  }
}

const outcomes: string[] = [];
let code = 0;
for (const server of redis.length > 0 ? redis : [undefined]) {
  const folder = Deno.makeTempDirSync({ prefix: "ringmaster-newest-" });
  try {
    const versions = [];
    if (server !== undefined) {
      linkRedis(folder, server);
      versions.push(await version(server));
    }
    if (memcached !== undefined) {
      Deno.symlinkSync(memcached, `${folder}/memcached`);
      versions.push(await version(memcached));
    }
    console.log(`\n=== ${versions.join(", ")}`);
    const status = await new Deno.Command(DENO, {
      args: ["run", "-A", "tests/run.ts", ...positionals.length > 0 ? positionals : SUITES],
      cwd: ROOT,
      // One file at a time: a newer server on a busy machine is slow enough alone.
      env: { PATH: `${folder}:${Deno.env.get("PATH") ?? ""}`, RINGMASTER_TEST_JOBS: "1" },
      stdin: "null",
    }).spawn().status;
    outcomes.push(`${status.code === 0 ? "ok    " : "FAILED"} ${versions.join(", ")}`);
    if (status.code !== 0) code = 1;
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}
console.log(`\n${outcomes.join("\n")}`);
Deno.exit(code);

function linkRedis(folder: string, server: string): void {
  for (const name of ["redis-server", "redis-sentinel"]) Deno.symlinkSync(server, `${folder}/${name}`);
  const kin = server.includes("valkey") ? "valkey" : "redis";
  for (const tool of ["cli", "benchmark"]) {
    const path = `${dirname(server)}/${kin}-${tool}`;
    if (exists(path)) Deno.symlinkSync(path, `${folder}/redis-${tool}`);
  }
}

/** "Valkey server v=9.1.2", "memcached 1.6.45". */
async function version(program: string): Promise<string> {
  const { stdout } = await run(program, ["--version"]);
  return stdout.split("\n")[0]!.split(" sha=")[0]!;
}

function fail(text: string): never {
  console.error(text);
  Deno.exit(2);
}
