/**
 * `deno task ha:promote`: one replica set and two proxies that promote in it, each with clients; primaries and replicas are killed and
 * frozen in random order, with the proxies cut off from some of them. Told: whether two primaries took writes through the proxies, by
 * the servers' own word of what they have executed; how long nobody could write; which acknowledged writes are gone.
 *
 *   --times=N        troubles; default 30
 *   --seed=N         of their order; default drawn
 *   --redis=PATH     redis-server or valkey-server; default: that on PATH
 *   --runtime=R      deno, bun or compiled (default)
 *   --clients=N      of each proxy; default 10
 *   --workers=N      of each proxy; default 1
 *   --seconds=N      begins no other trouble after so long
 *   --results=FILE   what was seen is appended to it, a line of JSON, and the last lines tell the sum of the whole file
 */
import { parseArgs } from "node:util";
import { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { delay, poll } from "../lib/poll.ts";
import { exists } from "../lib/repo.ts";
import { portOf, ReplicaSet } from "../lib/replica_set.ts";
import type { Runtime, Server } from "../lib/servers.ts";
import { Random } from "../sim/random.ts";
import { Monitor } from "./watchers.ts";
import { proxyLane } from "./writers.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    times: { type: "string", default: "30" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    redis: { type: "string" },
    runtime: { type: "string", default: "compiled" },
    clients: { type: "string", default: "10" },
    workers: { type: "string", default: "1" },
    seconds: { type: "string", default: "Infinity" },
    results: { type: "string" },
  },
});
const PROXIES = 2;
const BETWEEN_MS = 30;
/** A trouble lasts so long, ms, and then all has to be well again. */
const TROUBLE_MIN_MS = 1000;
const TROUBLE_MAX_MS = 9000;

interface Append {
  readonly sentMs: number;
  acknowledgedMs: number;
}

/** A client that appends numbers to its list through one proxy. */
class Writer {
  readonly appends: Append[] = [];
  stopped = false;

  constructor(readonly key: string, readonly proxy: number) {}

  async run(set: ReplicaSet): Promise<void> {
    const lane = await proxyLane(set.proxies[this.proxy]!.target);
    while (!this.stopped) {
      const append = { sentMs: wallMs(), acknowledgedMs: Infinity };
      this.appends.push(append);
      const wrong = await lane.append(this.key, this.appends.length - 1).catch((error: Error) =>
        error.message
      );
      if (wrong === null) append.acknowledgedMs = wallMs();
      await delay(BETWEEN_MS * (0.5 + random.next()));
    }
    lane.close();
  }
}

const wallMs = () => performance.timeOrigin + performance.now();
const random = new Random(Number(values.seed));

await using f = new Fixture();
const set = await ReplicaSet.start(f, {
  runtime: values.runtime as Runtime,
  proxies: PROXIES,
  workers: Number(values.workers),
  ...(values.redis === undefined ? {} : { program: values.redis }),
});
const ports = new Set(set.members.map((member) => String(portOf(member))));
const monitors = set.members.map((server) => {
  const port = portOf(server);
  return new Monitor({ server, port, address: `127.0.0.1:${port}`, cable: null }, ports);
});
for (const monitor of monitors) await monitor.start();
const writers: Writer[] = [];
for (let proxy = 0; proxy < PROXIES; proxy++) {
  for (let i = 0; i < Number(values.clients); i++) writers.push(new Writer(`list:${proxy}:${i}`, proxy));
}
const running = writers.map((writer) => writer.run(set));

/** The one that all members follow. */
async function followed(): Promise<Server> {
  let found: Server | undefined;
  await poll(
    async () => {
      [found] = await set.primaries();
      if (found === undefined) return false;
      const roles = await Promise.all(set.members.map((member) => set.roleOf(member)));
      return roles.every((role, i) =>
        role === (set.members[i] === found ? "master" : String(portOf(found!)))
      );
    },
    "all members to follow one",
    90_000,
  );
  return found!;
}

/** The same, when all proxies write to it. */
async function settled(): Promise<Server> {
  const primary = await followed();
  const fromMs = wallMs();
  const writes = (proxy: number) =>
    writers.some((each) =>
      each.proxy === proxy &&
      each.appends.some(({ acknowledgedMs, sentMs }) => sentMs > fromMs && acknowledgedMs < Infinity)
    );
  await poll(() => [0, 1].every(writes), "both proxies to write", 90_000);
  return primary;
}

const outages: number[] = [];
/** When each trouble began, and which one it was. */
const troubles: { readonly atMs: number; readonly what: string }[] = [];
console.log(`seed ${values.seed}, ${values.runtime}, ${values.redis ?? "redis-server"}`);
const endMs = performance.now() + Number(values.seconds) * 1000;
for (let round = 0; round < Number(values.times) && performance.now() < endMs; round++) {
  const primary = await settled();
  await delay(500);
  const victim = random.chance(0.75) ? primary : random.pick(set.members);
  const kind = random.pick(["kill", "freeze", "alone"]);
  const proxy = random.int(0, PROXIES - 1);
  const at = set.members.indexOf(victim);
  // "alone": a proxy has this one and no other; the other proxy all but this one.
  const cut: [number, number][] = kind === "alone"
    ? set.members.map((_, i): [number, number] => [i === at ? 1 - proxy : proxy, i])
    : random.chance(0.5)
    ? [[proxy, random.int(0, set.members.length - 1)]]
    : [];
  for (const [of, member] of cut) set.cut(of, member);
  const fromMs = wallMs();
  if (kind === "kill") await victim.crash();
  if (kind === "freeze") victim.kill("SIGSTOP");
  await delay(TROUBLE_MIN_MS + random.next() * (TROUBLE_MAX_MS - TROUBLE_MIN_MS));
  if (kind === "kill") await victim.start();
  if (kind === "freeze") victim.kill("SIGCONT");
  for (const [of, member] of cut) set.heal(of, member);
  const now = await settled();
  const outageMs = longestGap(fromMs, wallMs());
  outages.push(outageMs);
  const what = `${kind} ${victim === primary ? "the primary" : "a replica"}${cut.length > 0 ? ", cut" : ""}`;
  troubles.push({ atMs: fromMs, what: `${round + 1}. ${what}` });
  console.log(
    `${round + 1}. ${what}: ${now === primary ? "stays" : "moves"}, nobody wrote for ${
      Math.round(outageMs)
    } ms`,
  );
}
for (const writer of writers) writer.stopped = true;
await Promise.all(running);
const last = await followed();
// What is under way comes to its end.
await delay(1500);

/** The longest time in which no write was acknowledged to anybody. */
function longestGap(fromMs: number, toMs: number): number {
  const times = writers.flatMap(({ appends }) => appends.map(({ acknowledgedMs }) => acknowledgedMs))
    .filter((ms) => ms >= fromMs && ms <= toMs).sort((a, b) => a - b);
  let longest = 0;
  [fromMs, ...times, toMs].reduce((before, ms) => {
    longest = Math.max(longest, ms - before);
    return ms;
  });
  return longest;
}

// ---- what the servers have executed, in the order in which it was sent

interface Taken {
  readonly sentMs: number;
  readonly member: number;
  readonly text: string;
}

const byKey = new Map(writers.map((writer) => [writer.key, writer]));
const taken: Taken[] = monitors.flatMap(({ executed }, member) =>
  executed.map(({ key, n, wallMs }) => {
    const { sentMs } = byKey.get(key)!.appends[n]!;
    const text = `${key}/${n} sent at ${sentMs.toFixed(1)}, executed at ${
      wallMs.toFixed(1)
    } by member ${member}`;
    return { sentMs, member, text };
  })
).sort((a, b) => a.sentMs - b.sentMs);
const reigns = taken.filter(({ member }, i) => i === 0 || taken[i - 1]!.member !== member);
const promoted = set.proxies.reduce((sum, { log }) => sum + (log.match(/ promoted: /g)?.length ?? 0), 0);
// Whoever has reigned, and again after another, has been promoted again; else two took writes at one time.
const two = reigns.length - 1 > promoted;

await using client = await RawClient.connect(last.target);
let [acknowledged, lost] = [0, 0];
const gone: { readonly key: string; readonly n: number; readonly acknowledgedMs: number }[] = [];
for (const { key, appends } of writers) {
  const there = new Set(await client.command("LRANGE", key, "0", "-1") as string[]);
  appends.forEach(({ acknowledgedMs }, n) => {
    if (acknowledgedMs === Infinity) return;
    acknowledged++;
    if (there.has(`${key}/${n}`)) return;
    lost++;
    gone.push({ key, n, acknowledgedMs });
  });
}
/** In which trouble acknowledged writes were lost: when they were acknowledged, and by whom they had been executed. */
for (const [i, { atMs, what }] of troubles.entries()) {
  const untilMs = troubles[i + 1]?.atMs ?? Infinity;
  // What dies with its primary was acknowledged before that.
  const fromMs = i === 0 ? -Infinity : atMs - 500;
  const here = gone.filter(({ acknowledgedMs: ms }) => ms >= fromMs && ms < untilMs - 500);
  if (here.length === 0) continue;
  const times = here.map(({ acknowledgedMs }) => Math.round(acknowledgedMs - atMs)).sort((a, b) => a - b);
  const by = new Set(
    here.flatMap(({ key, n }) =>
      monitors.flatMap(({ executed }, member) =>
        executed.some((each) => each.key === key && each.n === n) ? [member] : []
      )
    ),
  );
  console.log(
    `  ${what}: lost ${here.length}, acknowledged ${times[0]} to ${
      times.at(-1)
    } ms after it began, executed ` +
      `by member ${[...by].join(", ")}`,
  );
}
for (const monitor of monitors) monitor.stop();

/** What one run has seen. */
interface Seen {
  readonly program: string;
  readonly seed: number;
  /** How long nobody wrote, ms, a trouble each. */
  readonly outages: readonly number[];
  readonly executed: number;
  readonly reigns: number;
  readonly promotions: number;
  readonly two: boolean;
  readonly acknowledged: number;
  readonly lost: number;
}

function tell(seen: readonly Seen[]): void {
  const sum = (of: (each: Seen) => number) => seen.reduce((total, each) => total + of(each), 0);
  const outages = seen.flatMap((each) => each.outages).sort((a, b) => a - b);
  console.log(
    `${outages.length} troubles: ${sum((each) => each.executed)} writes executed, ` +
      `${sum((each) => each.reigns)} reigns, ${sum((each) => each.promotions)} promotions\n` +
      `two primaries at one time: ${seen.some((each) => each.two) ? "YES" : "never"}\n` +
      `${sum((each) => each.acknowledged)} acknowledged, ${sum((each) => each.lost)} of them lost\n` +
      `nobody wrote for: median ${Math.round(outages[outages.length >> 1]!)} ms, longest ` +
      `${Math.round(outages.at(-1)!)} ms`,
  );
}

const seen: Seen = {
  program: values.redis ?? "redis-server",
  seed: Number(values.seed),
  outages,
  executed: taken.length,
  reigns: reigns.length,
  promotions: promoted,
  two,
  acknowledged,
  lost,
};
tell([seen]);
if (two) {
  for (const { text } of reigns) console.log(`  ${text}`);
  for (const proxy of set.proxies) console.log(proxy.log);
}
if (values.results !== undefined) {
  const before = exists(values.results)
    ? Deno.readTextFileSync(values.results).trim().split("\n").map((line) => JSON.parse(line) as Seen)
    : [];
  Deno.writeTextFileSync(values.results, JSON.stringify(seen) + "\n", { append: true });
  if (before.length > 0) {
    console.log(`\nall ${before.length + 1} runs:`);
    tell([...before, seen]);
  }
}
Deno.exitCode = two ? 1 : 0;
