/**
 * `deno task faults --minutes=10`: the fault run at full size.
 *
 *   --minutes=N   default 10
 *   --memcached   memcached servers instead of redis-servers
 *   --eject       with auto_eject_hosts
 *   --clients=N   default 200
 *   --seed=N      default: drawn and printed
 *   --runtime=R   deno, bun or compiled (default)
 */
import { parseArgs } from "node:util";
import type { Runtime } from "../lib/servers.ts";
import { faultRun } from "./fault_run.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    minutes: { type: "string", default: "10" },
    clients: { type: "string", default: "200" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 1e6)) },
    runtime: { type: "string", default: "compiled" },
    memcached: { type: "boolean", default: false },
    eject: { type: "boolean", default: false },
  },
});

const { memcached, eject } = values;
console.log(`${memcached ? "memcached" : "redis"}, auto_eject_hosts: ${eject}, seed ${values.seed}`);
const report = await faultRun({
  seconds: Number(values.minutes) * 60,
  clients: Number(values.clients),
  seed: Number(values.seed),
  runtime: values.runtime as Runtime,
  memcached,
  eject,
  progress: (text) => console.log(`  ${text}`),
});
console.log(JSON.stringify(report, null, 2));
const failed = report.wrong.length > 0 || report.lost > 0 || report.refused > 0;
console.log(failed ? "FAILED" : "ok: nothing lost, nothing twice, nothing foreign");
Deno.exit(failed ? 1 : 0);
