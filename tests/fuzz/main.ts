/**
 * `deno task fuzz [--minutes=N] [--seed=S] [--round=R] [--redis=PATH] [--runtime=bun|deno|compiled]`: the differential fuzz for as
 * long as wanted, against the redis-server on PATH or another one (valkey-server too). Prints each difference with what led to it;
 * ends with 1 if there was any. A seed repeats its run.
 */
import { parseArgs } from "node:util";
import { Fixture } from "../lib/fixture.ts";
import { type Runtime } from "../lib/servers.ts";
import { compare } from "./differential.ts";
import { startSides } from "./sides.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string" },
    /** Runs this round alone, and shows all of it. */
    round: { type: "string" },
    /** A redis-server or valkey-server; default: the redis-server on PATH. */
    redis: { type: "string" },
    runtime: { type: "string", default: "compiled" },
  },
});
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const endMs = performance.now() + Number(values.minutes) * 60_000;
const f = new Fixture();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, async () => {
    await f[Symbol.asyncDispose]();
    Deno.exit(130);
  });
}
let code = 1;
try {
  const sides = await startSides(f, values.runtime as Runtime, values.redis);
  const round = Number(values.round ?? 0);
  const enough = values.round === undefined
    ? () => performance.now() > endMs
    : (o: { rounds: number }) => o.rounds > round;
  const outcome = await compare(sides, seed, enough, round);
  for (const d of outcome.differences) {
    console.log(`\nseed ${d.seed} round ${d.round}: ${d.command}`);
    console.log(`  direct:  ${d.direct}\n  through: ${d.through}`);
    for (const line of d.before) console.log(`    ${line}`);
  }
  const families = [...outcome.families].map(([name, count]) => `${name} ${count}`).join(", ");
  console.log(
    `\nseed ${seed}: ${outcome.commands} commands compared in ${outcome.rounds} rounds (${families})`,
  );
  console.log(`${outcome.differences.length} differences`);
  code = outcome.differences.length === 0 ? 0 : 1;
} finally {
  await f[Symbol.asyncDispose]();
}
Deno.exit(code);
