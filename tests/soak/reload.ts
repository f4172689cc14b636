/**
 * `deno task reload:soak`: clients at work while the configuration changes (reload_run.ts).
 *
 *   --changes=N   valid files, default 200
 *   --broken=N    broken files among them, default 40
 *   --clients=N   default 50
 *   --seconds=N   measured seconds with a reload, and without; default 20
 *   --workers=N   default 1
 *   --memcached   memcached servers instead of redis-servers
 *   --seed=N      default: drawn and printed
 *   --runtime=R   deno, bun or compiled (default)
 */
import { parseArgs } from "node:util";
import type { Runtime } from "../lib/servers.ts";
import { reloadRun } from "./reload_run.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    changes: { type: "string", default: "200" },
    broken: { type: "string", default: "40" },
    clients: { type: "string", default: "50" },
    seconds: { type: "string", default: "20" },
    workers: { type: "string", default: "1" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 1e6)) },
    runtime: { type: "string", default: "compiled" },
    memcached: { type: "boolean", default: false },
  },
});

const { memcached, runtime, workers, seed } = values;
console.log(`${memcached ? "memcached" : "redis"}, ${runtime}, workers: ${workers}, seed ${seed}`);
const report = await reloadRun({
  changes: Number(values.changes),
  broken: Number(values.broken),
  clients: Number(values.clients),
  seconds: Number(values.seconds),
  workers: Number(workers),
  seed: Number(seed),
  runtime: runtime as Runtime,
  memcached,
  progress: (text) => console.log(`  ${text}`),
});
console.log(JSON.stringify(report, null, 2));
console.log(
  report.wrong.length > 0 ? "FAILED" : "ok: nothing failed, nothing mixed up, keys where plan said",
);
Deno.exit(report.wrong.length > 0 ? 1 : 0);
