/**
 * `deno task ha:cluster`: a real cluster of three primaries and their replicas, a proxy with `cluster: true`, and clients (cluster_load.ts),
 * while slots move by hand and at once, replicas take over, and a primary is killed. Told of each phase: errors by text with their times,
 * replies mixed up, acknowledged writes that are gone, pops and subscriptions that hear nothing any more.
 *
 *   --minutes=N      rounds of all phases until they are over; default 1 (at least one round)
 *   --only=WORDS     phases whose names have one of these words; default all
 *   --slots=N        how many move by hand; default 4000
 *   --redis=PATH     redis-server or valkey-server; default: that on PATH
 *   --compiled       dist/ringmaster; default: deno run
 *   --clients=N      default 50
 *   --workers=N      of the proxy; default 1
 *   --reference      the reference client in place of the proxy, to see what can be had (no subscriptions)
 */
import { parseArgs } from "node:util";
import { type ClusterNode, startCluster } from "../lib/cluster.ts";
import { ClusterClient } from "../lib/cluster_client.ts";
import { Fixture } from "../lib/fixture.ts";
import { delay } from "../lib/poll.ts";
import { poolYml, type Proxy } from "../lib/servers.ts";
import {
  Book,
  type Caller,
  proxyCaller,
  Queue,
  referenceCaller,
  Subscription,
  Writer,
} from "./cluster_load.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    minutes: { type: "string", default: "1" },
    only: { type: "string" },
    slots: { type: "string", default: "4000" },
    redis: { type: "string" },
    compiled: { type: "boolean", default: false },
    clients: { type: "string", default: "50" },
    workers: { type: "string", default: "1" },
    reference: { type: "boolean", default: false },
  },
});
const count = Number(values.clients);
/** Queues, and subscriptions of each kind. */
const OTHERS = 9;
const BEFORE_MS = 500;
const AFTER_MS = 1500;

await using f = new Fixture();
const cluster = await startCluster(f, values.redis === undefined ? {} : { program: values.redis });
let proxy: Proxy | null = null;
if (!values.reference) {
  const yml = `ringmaster: { workers: ${values.workers} }\n` + poolYml({
    alpha: {
      servers: cluster.seeds(3),
      hash: undefined,
      distribution: undefined,
      cluster: true,
      timeout: 5000,
    },
  });
  proxy = await f.proxy(values.compiled ? "compiled" : "deno", yml);
}
const caller = (): Promise<Caller> =>
  proxy === null ? Promise.resolve(referenceCaller(cluster)) : proxyCaller(proxy.target);

const book = new Book();
const writers = Array.from({ length: count }, (_, i) => new Writer(i, count, book));
const queues = Array.from({ length: OTHERS }, (_, i) => new Queue(i, OTHERS, book));
const subscriptions = proxy === null ? [] : Array.from(
  { length: 2 * OTHERS },
  (_, i) => new Subscription(i, 2 * OTHERS, i % 2 === 1, book),
);
const running: Promise<void>[] = [];
for (const each of writers) running.push(each.run(await caller()));
for (const each of queues) running.push(each.push(await caller()), each.pop(await caller()));
for (const each of subscriptions) running.push(each.publish(await caller()), each.listen(proxy!.target));

let faults = 0;
/** Slots whose primary was killed in this phase, with writes that its replica may not have. */
let orphaned: (slot: number) => boolean = () => false;

interface Moments {
  /** Errors are told relative to it, ms; the phase's begin if absent. */
  zeroMs?: number;
  /** The cluster was ok again. */
  okMs?: number;
}

async function phase(name: string, action: () => Promise<Moments | void>): Promise<void> {
  if (values.only !== undefined && !values.only.split(",").some((word) => name.includes(word))) return;
  book.begin();
  for (const each of writers) each.acknowledged.clear();
  const missed = subscriptions.reduce((sum, each) => sum + each.missed, 0);
  const twice = subscriptions.reduce((sum, each) => sum + each.twice, 0);
  await delay(BEFORE_MS);
  const fromMs = performance.now();
  const { zeroMs = fromMs, okMs } = await action() ?? {};
  const tookMs = performance.now() - fromMs;
  await delay(AFTER_MS);
  await cluster.settled();
  const silent: string[] = [];
  await Promise.all(
    [...queues, ...subscriptions].map(async (each) => {
      const prober = await caller();
      await each.probe(prober).catch((error: Error) => silent.push(error.message));
      prober.close();
    }),
  );
  let [acknowledged, lost, lostOfDead] = [0, 0, 0];
  await using reference = new ClusterClient(cluster.running().map(({ port }) => port), { patienceMs: 5000 });
  for (const each of writers) {
    acknowledged += each.acknowledged.size;
    const gone = await each.lost(reference);
    if (orphaned(slotOfList(each))) lostOfDead += gone.length;
    else lost += gone.length;
  }
  const stale = book.stale.filter(({ slot }) => !orphaned(slot));
  const lateMs = okMs === undefined ? 0 : okMs + 1000;
  const errors = book.errors.filter(({ atMs }) => atMs >= lateMs);
  faults += errors.length + book.mixed.length + lost + stale.length + silent.length;
  console.log(
    `${name}: ${(tookMs / 1000).toFixed(1)} s, ${book.served} replies as they must be, slowest ${
      book.slowestMs.toFixed(0)
    } ms; ${book.errors.length} errors; mixed up ${book.mixed.length}; stale ${stale.length}; lost ${lost} of ` +
      `${acknowledged}${
        lostOfDead > 0 ? ` (and ${lostOfDead} of the dead one's)` : ""
      }; silent ${silent.length}; ` +
      `messages missed ${subscriptions.reduce((sum, each) => sum + each.missed, -missed)}, ` +
      `heard twice ${subscriptions.reduce((sum, each) => sum + each.twice, -twice)}`,
  );
  if (okMs !== undefined) {
    const last = Math.max(...book.errors.map(({ atMs }) => atMs));
    console.log(
      `  the cluster was ok ${(okMs - zeroMs).toFixed(0)} ms after it; last error ${
        book.errors.length === 0 ? "none" : `${(last - okMs).toFixed(0)} ms after that`
      }`,
    );
  }
  const texts = new Map<string, number[]>();
  for (const { atMs, command, text } of book.errors) {
    const key = `${command}: ${text.replace(/\d+ (?=[^ ]*:\d+$)/, "SLOT ").slice(0, 160)}`;
    texts.set(key, [...texts.get(key) ?? [], atMs - zeroMs]);
  }
  for (const [text, times] of [...texts].sort(([, a], [, b]) => b.length - a.length).slice(0, 25)) {
    console.log(
      `  ${times.length} × ${text} (${Math.min(...times).toFixed(0)} to ${Math.max(...times).toFixed(0)} ms)`,
    );
  }
  for (const text of [...book.mixed.slice(0, 8), ...stale.slice(0, 4).map((each) => each.text), ...silent]) {
    console.log(`  ! ${text}`);
  }
  orphaned = () => false;
}

function slotOfList(writer: Writer): number {
  return Math.floor((writer.i + 0.5) * 16_384 / count);
}

/** The primary of each shard, shards in the order of their first servers. */
async function shards(): Promise<ClusterNode[]> {
  const primaries = await cluster.primaries();
  const owners = await cluster.owners();
  return primaries.filter((each) => owners.includes(each)).sort((a, b) =>
    owners.indexOf(a) - owners.indexOf(b)
  );
}

const endMs = performance.now() + Number(values.minutes) * 60_000;
console.log(
  `${cluster.version}, ${values.reference ? "reference client" : values.compiled ? "compiled" : "deno"}`,
);
do {
  const moved = Array.from({ length: Number(values.slots) }, (_, slot) => slot);
  await phase("quiet", () => delay(1000));
  const [first, second, third] = await shards() as [ClusterNode, ClusterNode, ClusterNode];
  await phase("slots there", () => cluster.moveSlots(moved, second));
  await phase("slots back", () => cluster.moveSlots(moved, first));
  await phase("slots key by key", async () => {
    // What is read together is on both sides for a while.
    for (const writer of writers.slice(0, Math.ceil(count / 6))) {
      const slot = slotOfList(writer);
      const source = await cluster.ownerOf(slot);
      const target = source === third ? second : third;
      await cluster.openSlot(slot, source, target);
      await delay(50);
      while (await cluster.moveKeys(slot, source, target, 1) > 0) await delay(100);
      await cluster.closeSlot(slot, source, target);
    }
  });
  if (cluster.hasAtomicMoves) {
    // Shards may have changed places in the round before.
    const owner = await cluster.ownerOf(6000);
    const other = [third, second].find((each) => each !== owner)!;
    await phase("atomic there", () => cluster.moveAtomically(6000, 7999, other));
    await phase("atomic back", () => cluster.moveAtomically(6000, 7999, owner));
  }
  for (let i = 0; i < 3; i++) {
    await phase(`failover of shard ${i + 1}`, async () => {
      const primary = (await shards())[i]!;
      const [replica] = await cluster.replicasOf(primary);
      await cluster.failover(replica!);
    });
  }
  await phase("kill", async () => {
    const dead = (await shards())[1]!;
    const [heir] = await cluster.replicasOf(dead);
    const owners = await cluster.owners();
    orphaned = (slot) => owners[slot] === dead;
    await dead.crash();
    const zeroMs = performance.now();
    await cluster.knownAsPrimary(heir!);
    await cluster.ok();
    const okMs = performance.now();
    await delay(2000);
    await dead.restart();
    return { zeroMs, okMs };
  });
} while (performance.now() < endMs);

for (const each of [...writers, ...queues, ...subscriptions]) each.stopped = true;
for (const each of subscriptions) each.close();
const last = await caller();
for (const { key } of queues) await last.call("RPUSH", key, "end");
last.close();
await Promise.all(running);
console.log(faults === 0 ? "no faults" : `${faults} FAULTS`);
if (faults > 0 && proxy !== null) console.log(proxy.log.split("\n").slice(-40).join("\n"));
Deno.exitCode = faults === 0 ? 0 : 1;
