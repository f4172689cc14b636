/**
 * `deno task fuzz:framing [--lines=N] [--seed=S] [--memcached=PATH] [--runtime=bun|deno|compiled]`: the differential of framing
 * against the memcached on PATH, or another. Ends with 1 if a reply went to somebody else. A seed repeats its run.
 */
import { parseArgs } from "node:util";
import { Fixture } from "../lib/fixture.ts";
import { poolYml, type Runtime } from "../lib/servers.ts";
import { compareFraming } from "./framing.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    lines: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    memcached: { type: "string" },
    runtime: { type: "string", default: "compiled" },
  },
});
let code = 1;
{
  await using f = new Fixture();
  const server = await f.memcached({ program: values.memcached });
  const proxy = await f.proxy(values.runtime as Runtime, poolYml({ alpha: { servers: [server] } }), {
    args: ["--workers=1"],
  });
  const seen = await compareFraming(proxy.target, Number(values.seed), Number(values.lines));
  for (const what of ["shifted", "noticed"] as const) {
    for (const line of seen[what].slice(0, 30)) console.log(`${what}: ${line}`);
  }
  console.log(`${seen.lines} lines: ${seen.shifted.length} shifted replies, ${seen.noticed.length} noticed`);
  code = seen.shifted.length === 0 ? 0 : 1;
}
Deno.exit(code);
