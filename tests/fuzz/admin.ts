/**
 * `deno task fuzz:admin [--requests=N] [--seed=S] [--runtime=bun|deno|compiled] [--workers=N]`: raw HTTP requests to the admin side, with slow
 * clients and 1,000 open connections, while a client of the proxy goes on. Ends with 1 if anything was not as it must be.
 */
import { parseArgs } from "node:util";
import { Fixture } from "../lib/fixture.ts";
import type { Runtime } from "../lib/servers.ts";
import { fuzzAdmin, startGuarded } from "./admin_run.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    requests: { type: "string", default: "100000" },
    seed: { type: "string", default: "1" },
    runtime: { type: "string", default: "compiled" },
    workers: { type: "string", default: "1" },
  },
});

const residentMb = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(Deno.readTextFileSync(`/proc/${pid}/status`))![1]) / 1024;
const files = (pid: number): number => [...Deno.readDirSync(`/proc/${pid}/fd`)].length;

let code = 1;
{
  await using f = new Fixture();
  const { proxy, admin, password, secrets } = await startGuarded(
    f,
    values.runtime as Runtime,
    Number(values.workers),
  );
  const before = [residentMb(proxy.pid), files(proxy.pid)];
  const startMs = performance.now();
  const requests = Number(values.requests);
  const result = await fuzzAdmin(admin, proxy.target, {
    requests,
    seed: Number(values.seed),
    fuzzers: 24,
    crowd: 1000,
    sluggards: 32,
    password,
    secrets,
  });
  const seconds = (performance.now() - startMs) / 1000;
  for (const fault of result.faults) console.log(`fault: ${fault}`);
  const statuses = [...result.statuses].sort(([a], [b]) => a - b).map(([status, count]) =>
    `${status}: ${count}`
  );
  console.log(`${requests} requests in ${seconds.toFixed(0)} s; ${statuses.join(", ")}`);
  console.log(`${result.calls} calls beside them, the longest ${result.longestMs.toFixed(0)} ms`);
  console.log(
    `resident ${before[0]!.toFixed(0)} MB before, ${residentMb(proxy.pid).toFixed(0)} MB after; files ${
      before[1]
    }, ${files(proxy.pid)}`,
  );
  code = result.faults.length === 0 ? 0 : 1;
}
Deno.exit(code);
