/**
 * `deno task fuzz:cluster [--commands=N] [--minutes=N] [--seed=S] [--round=R] [--redis=PATH] [--compiled]`: random commands to a cluster
 * behind Ringmaster and, by a small client that follows redirects, to its like. Prints each difference with what led to it; ends with 1 if
 * there was any that is not listed in cluster_differential.ts. A seed repeats its run.
 */
import { parseArgs } from "node:util";
import { startCluster } from "../lib/cluster.ts";
import { Fixture } from "../lib/fixture.ts";
import { poolYml } from "../lib/servers.ts";
import { compare, type Difference, type Outcome } from "./cluster_differential.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    commands: { type: "string", default: "100000" },
    /** Ends it earlier. */
    minutes: { type: "string", default: "1000" },
    seed: { type: "string" },
    /** Runs this round alone, and shows all of it. */
    round: { type: "string" },
    redis: { type: "string" },
    compiled: { type: "boolean", default: false },
    /** Families of the grammar that are left out. */
    without: { type: "string", default: "" },
  },
});
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const endMs = performance.now() + Number(values.minutes) * 60_000;
await using f = new Fixture();
const options = {
  replicas: 0,
  // Nobody dies here: a machine that has no time for them for a while is no reason to take them for dead.
  nodeTimeoutMs: 60_000,
  args: ["--enable-debug-command", "yes"],
  ...(values.redis === undefined ? {} : { program: values.redis }),
};
const [a, b] = await Promise.all([startCluster(f, options), startCluster(f, options)]);
const yml = poolYml({
  alpha: {
    servers: b.seeds(),
    hash: undefined,
    distribution: undefined,
    cluster: true,
    cluster_tryagain: 0,
    dangerous_commands: "allow",
  },
});
const proxy = await f.proxy(values.compiled ? "compiled" : "deno", yml);
const round = Number(values.round ?? 0);
const enough = (outcome: Outcome) =>
  values.round === undefined
    ? outcome.commands >= Number(values.commands) || performance.now() > endMs
    : outcome.rounds > round;
const tell = ({ round, command, direct, through, before }: Difference) => {
  console.log(`\nseed ${seed} round ${round}: ${command}`);
  console.log(`  direct:  ${direct}\n  through: ${through}`);
  for (const line of before) console.log(`    ${line}`);
};
const sides = { a, b, through: proxy.target, without: values.without.split(",") };
const showAll = (lines: readonly string[]) => console.log(lines.join("\n"));
const outcome = await compare(sides, seed, enough, tell, round, values.round === undefined ? null : showAll);
for (const [reason, count] of outcome.listed) console.log(`${count} × listed: ${reason}`);
console.log(
  `\n${a.version}, seed ${seed}: ${outcome.commands} commands compared in ${outcome.rounds} rounds, ${outcome.moves} steps of moving slots`,
);
console.log(`${outcome.differences.length} differences`);
Deno.exitCode = outcome.differences.length === 0 ? 0 : 1;
