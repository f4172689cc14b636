/**
 * `deno task ha:sentinel`: three sentinels, two primaries with two replicas each, 50 clients through the proxy and 50 of each library's own
 * Sentinel client beside them; primaries die, stop, are cut off and are told to make way.
 *
 *   --times=N        of each kind; default 10
 *   --only=K,K       of kill, failover, stop, cut; and planned ones: paused, coordinated (Valkey 9)
 *   --redis=PATH     redis-server or valkey-server; default: that on PATH
 *   --runtime=R      deno, bun or compiled (default)
 *   --clients=N      of each; default 50
 *   --workers=N      of the proxy; default 1
 *   --beside=L,L     libraries: ioredis, node-redis (both by default)
 *   --results=FILE   outcomes are appended to it, a line of JSON each, and the summary is of the whole file
 */
import { parseArgs } from "node:util";
import { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { exists } from "../lib/repo.ts";
import { startSentinels } from "../lib/sentinels.ts";
import { poolYml, type Runtime } from "../lib/servers.ts";
import { failoverRun, type Kind, KINDS, type Outcome } from "./failover_run.ts";
import { Switches } from "./watchers.ts";
import { ioredisLane, nodeRedisLane, proxyLane, Writers } from "./writers.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    times: { type: "string", default: "10" },
    only: { type: "string", default: KINDS.join(",") },
    redis: { type: "string" },
    runtime: { type: "string", default: "compiled" },
    clients: { type: "string", default: "50" },
    workers: { type: "string", default: "1" },
    beside: { type: "string", default: "ioredis,node-redis" },
    results: { type: "string" },
  },
});
const MASTERS = ["m1", "m2"];
const count = Number(values.clients);
const kinds = values.only.split(",") as Kind[];

await using f = new Fixture();
const set = await startSentinels(f, {
  masters: MASTERS,
  replicas: 2,
  downAfterMs: 1000,
  failoverTimeoutMs: 2000,
  // Cables that can be cut are this process' own, and take their time when it has none.
  forwarded: kinds.includes("cut"),
  ...(values.redis === undefined ? {} : { program: values.redis }),
});
const yml = `ringmaster: { workers: ${values.workers} }\n` + poolYml({
  alpha: {
    servers: MASTERS.map((name) => `{ name: ${name}, master: ${name} }`),
    failover: "sentinel",
    sentinels: set.addresses,
  },
});
const proxy = await f.proxy(values.runtime as Runtime, yml);

// As many keys on each master, found by asking the servers which of them has one.
const keys = new Map<string, string[]>(MASTERS.map((master) => [master, []]));
{
  await using client = await RawClient.connect(proxy.target);
  for (let i = 0; MASTERS.some((master) => keys.get(master)!.length < count / 2); i++) {
    await client.command("RPUSH", `p${i}`, `p${i}/0`);
    for (const master of MASTERS) {
      await using direct = await RawClient.connect(set.members.get(master)![0]!.server.target);
      if (await direct.command("EXISTS", `p${i}`) === 1) keys.get(master)!.push(`p${i}`);
    }
  }
  for (const master of MASTERS) keys.get(master)!.length = Math.ceil(count / 2);
}
const through = MASTERS.flatMap((master) => keys.get(master)!);
const masters = through.map((key) => MASTERS.find((master) => keys.get(master)!.includes(key))!);
const sentinels = set.sentinels.map((each) => each.port);
const switches = new Switches();
await switches.watch(set.sentinels);
const beside = new Map(
  values.beside.split(",").map((library) => {
    const own = through.map((key) => `${library}-${key}`);
    own.forEach((key, i) => keys.get(masters[i]!)!.push(key));
    const lane = (i: number) =>
      library === "ioredis"
        ? ioredisLane(sentinels, masters[i]!)
        : nodeRedisLane(sentinels, masters[i]!, Math.ceil(count / 2));
    return [library, new Writers(own, lane)];
  }),
);
const stage = {
  set,
  log: () => proxy.log,
  switches,
  keys,
  proxy: new Writers(through, () => proxyLane(proxy.target)),
  beside,
};
const lanes = [stage.proxy, ...beside.values()];
for (const each of lanes) each.start();

const outcomes: Outcome[] = [];
for (let i = 0; i < Number(values.times); i += MASTERS.length) {
  for (const kind of kinds) {
    for (const each of lanes) each.begin();
    // Both primaries at a time: half as long, and the proxy has two to move.
    const both = await Promise.all(MASTERS.map((master) => failoverRun(stage, kind, master)));
    for (const outcome of both) tell(outcome);
  }
}

function tell(outcome: Outcome): void {
  const { kind } = outcome;
  outcomes.push(outcome);
  if (values.results !== undefined) {
    Deno.writeTextFileSync(values.results, JSON.stringify(outcome) + "\n", { append: true });
  }
  const { firstWriteMs, movedMs, oldExecuted, oldSentAfter, lastErrorMs, errors, mixed } = outcome;
  console.log(
    `${kind.padEnd(8)} first write ${
      firstWriteMs.toFixed(1)
    } (moved ${movedMs}) ms; old primary: ${oldExecuted} executed, ` +
      `${oldSentAfter} sent after; ${errors} errors, last ${lastErrorMs?.toFixed(0) ?? "-"} ms; ` +
      `mixed up ${mixed.length}; lost ${lostOf([outcome])}`,
  );
  if (mixed.length > 0) console.log(mixed.slice(0, 5).join("\n"));
  console.log(`         ${JSON.stringify(outcome.texts)}`);
  if (outcome.moves > 1) {
    console.log(`         ${outcome.moves} failovers:\n${proxy.log.split("\n").slice(-12).join("\n")}`);
  }
}
await Promise.all(lanes.map((each) => each.stop()));
switches.close();

/** "proxy 0 of 1203, ioredis 512 of 1190" */
function lostOf(outcomes: readonly Outcome[]): string {
  return ["proxy", ...beside.keys()].map((name) => {
    const [lost, of] = (["lost", "acknowledged"] as const).map((what) =>
      outcomes.reduce((sum, outcome) => sum + (outcome[what][name] ?? 0), 0)
    );
    return `${name} ${lost} of ${of}`;
  }).join(", ");
}

const all = values.results !== undefined && exists(values.results)
  ? Deno.readTextFileSync(values.results).trim().split("\n").map((line) => JSON.parse(line) as Outcome)
  : outcomes;
console.log(
  `\n${
    all.filter((each) => each.moves > 1).length
  } of ${all.length} runs had more than one failover, and do not count`,
);
const median = (numbers: readonly number[]) => {
  const sorted = [...numbers].sort((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)]! + sorted[Math.floor(sorted.length / 2)]!) / 2;
};
const sum = (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0);
console.log(
  "\n| | runs | first write, median (most) | old primary: executed, sent after | last error, most | mixed up | acknowledged and lost |",
);
console.log("|---|---|---|---|---|---|---|");
for (const kind of [...KINDS, "paused", "coordinated", "all"]) {
  // Of two failovers in one run nobody can tell which one an answer belongs to.
  const of = all.filter((each) => each.moves === 1 && (kind === "all" || each.kind === kind));
  if (of.length === 0) continue;
  const first = of.map((each) => each.firstWriteMs);
  console.log(
    `| ${kind} | ${of.length} | ${median(first).toFixed(1)} (${Math.max(...first).toFixed(1)}) ms | ` +
      `${sum(of.map((each) => each.oldExecuted))}, ${sum(of.map((each) => each.oldSentAfter))} | ` +
      `${Math.max(0, ...of.map((each) => each.lastErrorMs ?? 0)).toFixed(0)} ms | ` +
      `${sum(of.map((each) => each.mixed.length))} | ${lostOf(of)} |`,
  );
}
