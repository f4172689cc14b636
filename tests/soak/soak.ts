/**
 * `deno task soak --minutes=10`: steady load of every kind, then the question whether memory stayed flat.
 *
 *   --minutes=N   default 10
 *   --clients=N   default 100
 *   --runtime=R   deno, bun or compiled (default)
 *
 * Flat: after a third of the time for warming up, the median resident size of the last third is no more than 5 % and 4 MB above
 * that of the second third. Everything is checked as in the fault run, and nothing may fail.
 */
import { parseArgs } from "node:util";
import { Fixture } from "../lib/fixture.ts";
import { delay } from "../lib/poll.ts";
import { Random } from "../lib/random.ts";
import { poolYml, type Runtime } from "../lib/servers.ts";
import { Caller, sumOf } from "./caller.ts";
import { SOAK_HABITS } from "./habits.ts";
import { cpuMs, residentBytes } from "./memory.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    minutes: { type: "string", default: "10" },
    clients: { type: "string", default: "100" },
    runtime: { type: "string", default: "compiled" },
  },
});

const SAMPLES = 300;
Deno.exit(await soak() ? 0 : 1);

async function soak(): Promise<boolean> {
  await using f = new Fixture();
  const servers = [await f.redis(), await f.redis(), await f.redis()];
  const yml = poolYml({ alpha: { servers, timeout: 10_000 } }) + "ringmaster:\n  admin: off\n";
  const proxy = await f.proxy(values.runtime as Runtime, yml);
  const callers = Array.from(
    { length: Number(values.clients) },
    (_, i) => new Caller(`c${i}`, proxy.target, new Random(i), SOAK_HABITS[i % SOAK_HABITS.length]!),
  );
  let over = false;
  const running = callers.map((caller) => caller.run(() => over));
  const sizes: number[] = [];
  const everyMs = Number(values.minutes) * 60_000 / SAMPLES;
  for (let i = 0; i < SAMPLES && proxy.status === null; i++) {
    await delay(everyMs);
    sizes.push(residentBytes(proxy.pid) / 1e6);
    if (i % 30 === 0) {
      console.log(
        `${Math.round(i * everyMs / 1000)} s: ${sizes.at(-1)!.toFixed(1)} MB, ${
          Math.round(cpuMs(proxy.pid))
        } ms CPU, ${sumOf(callers).requests} requests`,
      );
    }
  }
  over = true;
  await Promise.all(running);
  const third = Math.floor(sizes.length / 3);
  const before = median(sizes.slice(third, 2 * third));
  const after = median(sizes.slice(2 * third));
  const report = sumOf(callers);
  console.log(JSON.stringify(report, null, 2));
  console.log(
    `resident: ${sizes[0]!.toFixed(1)} MB at first, ${Math.max(...sizes).toFixed(1)} at most, median ${
      before.toFixed(1)
    } in the second third, ${after.toFixed(1)} in the last`,
  );
  const flat = after <= before * 1.05 && after <= before + 4;
  const clean = report.lost === 0 && report.refused === 0 && report.wrong.length === 0 &&
    Object.keys(report.errors).length === 0;
  console.log(
    flat && clean
      ? "ok: flat, and nothing failed"
      : `FAILED: ${flat ? "" : "memory grows "}${clean ? "" : "errors"}`,
  );
  return flat && clean;
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1]!;
}
