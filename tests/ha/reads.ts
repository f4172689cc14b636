/**
 * `deno task ha:reads`: clients that write and read through the proxy, with read_your_writes, while replicas lag, die and come back: no
 * read may bring less than its client has written.
 *
 *   --reads=N        checked reads; default 1000000
 *   --clients=N      default 40
 *   --workers=N      of the proxy; default 2
 *   --read-from=M    prefer_replica (default), replica, any, nearest
 *   --runtime=R      deno, bun or compiled (default)
 *   --seed=N         default 1
 *   --without        without read_your_writes: stale reads must be seen, or the run could not see any
 */
import { parseArgs } from "node:util";
import { Fixture } from "../lib/fixture.ts";
import type { Runtime } from "../lib/servers.ts";
import { readRun } from "./read_run.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    reads: { type: "string", default: "1000000" },
    clients: { type: "string", default: "40" },
    workers: { type: "string", default: "2" },
    "read-from": { type: "string", default: "prefer_replica" },
    runtime: { type: "string", default: "compiled" },
    seed: { type: "string", default: "1" },
    without: { type: "boolean", default: false },
  },
});
let code = 1;
{
  await using f = new Fixture();
  const startedAt = performance.now();
  const outcome = await readRun(f, {
    runtime: values.runtime as Runtime,
    reads: Number(values.reads),
    clients: Number(values.clients),
    workers: Number(values.workers),
    readFrom: values["read-from"],
    readYourWrites: !values.without,
    seed: Number(values.seed),
    kills: true,
  });
  for (const line of [...outcome.errors, ...outcome.stale].slice(0, 10)) console.log(line);
  const { reads, writes, stale, errors, atPrimaries, atReplicas, pauses, kills } = outcome;
  const share = Math.round(100 * atReplicas / (atReplicas + atPrimaries));
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  console.log(
    `${reads} checked reads, ${writes} writes in ${seconds} s: ${stale.length} stale, ${errors.length} errors; ` +
      `${share} % of reads at replicas, which stood still ${pauses} times and were killed ${kills} times`,
  );
  code = errors.length === 0 && (stale.length > 0) === values.without ? 0 : 1;
}
Deno.exit(code);
