/**
 * `deno task hostile`: hostile clients at full size (see hostile_run.ts), and what the others and the memory feel of them.
 *
 *   --scale=N     1 = 2 GB of unread replies, 5,000 slow clients, a million arguments
 *   --seconds=N   for each deed (default 20)
 *   --memory=N    max_memory (default 512mb)
 *   --runtime=R   deno, bun or compiled (default)
 *   --deeds=A,B   only these, by name; default: DEEDS of hostile_run.ts
 *   --direct      the same to a redis-server alone, for comparison; judges nothing
 */
import { parseArgs } from "node:util";
import type { Runtime } from "../lib/servers.ts";
import { hostileRun } from "./hostile_run.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    scale: { type: "string", default: "1" },
    seconds: { type: "string", default: "20" },
    memory: { type: "string", default: "512mb" },
    runtime: { type: "string", default: "compiled" },
    deeds: { type: "string" },
    direct: { type: "boolean", default: false },
  },
});
const { log, ...report } = await hostileRun({
  runtime: values.runtime as Runtime,
  scale: Number(values.scale),
  seconds: Number(values.seconds),
  maxMemory: values.memory,
  deeds: values.deeds?.split(","),
  direct: values.direct,
  progress: (text) => console.log(text),
});
console.log(JSON.stringify(report, null, 2));
console.log(log.split("\n").slice(-8).join("\n"));
if (values.direct) Deno.exit(0);
const failed = report.lost > 0 || report.wrong.length > 0 ||
  report.deeds.some((deed) => deed.p99Ms > 3 * Math.max(deed.p99BeforeMs, 1));
console.log(failed ? "FAILED" : "ok: the others noticed little");
Deno.exit(failed ? 1 : 0);
