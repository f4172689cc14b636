/** The keeper that believes sentinels: who is believed when, what becomes of replicas, and what an operator is told. */
import assert from "node:assert/strict";
import { encode, latin1 } from "../../src/bytes/ascii.ts";
import { parseConfig } from "../../src/config/parse.ts";
import type { PoolConfig } from "../../src/config/config.ts";
import { SentinelKeeper } from "../../src/topology/sentinel.ts";
import type { ServerState } from "../../src/topology/state.ts";
import { FakeSentinel } from "../lib/fake_sentinel.ts";
import { state } from "../lib/scripted_keeper.ts";
import { SimClock } from "../sim/clock.ts";
import { SimNet } from "../sim/net.ts";
import { Random } from "../sim/random.ts";

const A = "10.0.1.1:6379";
const B = "10.0.1.2:6379";
const C = "10.0.1.3:6379";
const at = (i: number) => ({ host: `10.0.0.${i + 1}`, port: 26379 });

function poolOf(sentinels: number, lines = "", master = "m"): PoolConfig {
  const named = Array.from({ length: sentinels }, (_, i) => `10.0.0.${i + 1}:26379`);
  const yaml = `p:\n  listen: 127.0.0.1:1\n  redis: true\n  failover: sentinel\n  sentinels: [${named}]\n` +
    `  servers: [{name: s, master: ${master}}]\n  ${lines}\n`;
  return parseConfig(yaml, "x").pools[0]!;
}

interface Stand {
  readonly clock: SimClock;
  readonly net: SimNet;
  readonly sentinels: readonly FakeSentinel[];
  readonly keeper: SentinelKeeper;
  readonly log: string[];
  readonly events: string[];
  readonly states: ServerState[];
  /** "primary of term" of each state since the last time. */
  take(): string[];
  run(ms: number): void;
}

interface StandOptions {
  readonly lines?: string;
  /** Absent: m. */
  readonly master?: string;
  /** How many sentinels are there, of those that the pool names. */
  readonly present?: number;
  readonly known?: ServerState;
  /** Of the keeper before. */
  readonly memory?: ReadonlyMap<string, unknown>;
  readonly prepare?: (sentinels: readonly FakeSentinel[]) => void;
}

/** Sentinels that all name A in epoch 1 with the replicas B and C, unless prepared otherwise; and a keeper, started. */
async function stand(count: number, options: StandOptions = {}): Promise<Stand> {
  const clock = new SimClock();
  const net = new SimNet(clock, new Random(1));
  const sentinels: FakeSentinel[] = [];
  for (let i = 0; i < count; i++) {
    const sentinel = new FakeSentinel(`id${i}`);
    sentinel.name("m", A, 1, { replicas: [B, C] });
    sentinels.push(sentinel);
  }
  options.prepare?.(sentinels);
  for (let i = 0; i < (options.present ?? count); i++) await sentinels[i]!.listen(net, at(i));
  const [log, events, states]: [string[], string[], ServerState[]] = [[], [], []];
  const keeper = new SentinelKeeper({
    pool: poolOf(count, options.lines, options.master),
    net,
    clock,
    random: new Random(2).next,
    log: { level: 11, write: (_, text) => void log.push(text) },
    known: new Map(options.known === undefined ? [] : [["s", options.known]]),
    memory: options.memory ?? new Map(),
    event: (kind, server, cause) => void events.push(`${kind} ${server} ${cause}`),
  });
  let started = false;
  keeper.start((said) => {
    assert.ok(started, "nothing is said from inside start");
    states.push(...said);
  });
  started = true;
  let taken = 0;
  const take = () => {
    const news = states.slice(taken);
    taken = states.length;
    return news.map(({ primary, term }) => `${primary?.text ?? "nowhere"} of ${term}`);
  };
  const run = (ms: number) => clock.run(clock.nowMs() + ms);
  return { clock, net, sentinels, keeper, log, events, states, take, run };
}

const replicasOf = ({ states }: Stand): string[] => states.at(-1)!.replicas.map(({ text }) => text);

Deno.test("SentinelKeeper says where all sentinels agree that a master is, with its replicas, and stops", async () => {
  const s = await stand(3);
  s.run(100);
  assert.equal(s.states[0]!.primary!.text, A);
  assert.deepEqual(s.states[0]!.primary!.address, { host: "10.0.1.1", port: 6379 });
  assert.deepEqual(new Set(s.take()), new Set([`${A} of 1`]));
  assert.deepEqual(replicasOf(s), [B, C]);
  s.run(60_000);
  assert.deepEqual(s.take(), []);
  s.keeper.stop();
  s.sentinels[0]!.switch("m", B, 2);
  s.run(60_000);
  assert.deepEqual([s.take(), s.net.sockets.size, s.clock.waiting], [[], 0, 0]);
});

Deno.test("SentinelKeeper knows masters whose names are not of ASCII, in answers and in events", async () => {
  const master = "größe-日";
  const wire = latin1(encode(master));
  const prepare = ([one]: readonly FakeSentinel[]) => one!.name(wire, A, 1, { replicas: [B] });
  const s = await stand(1, { master, prepare });
  s.run(1000);
  assert.deepEqual([s.take().at(-1), replicasOf(s)], [`${A} of 1`, [B]]);
  s.sentinels[0]!.switch(wire, C, 2);
  s.run(20);
  assert.deepEqual(s.take(), [`${C} of 2`]);
  s.keeper.stop();
});

Deno.test("SentinelKeeper moves at the first +switch-master of any sentinel, within some ms, and once", async () => {
  const s = await stand(3);
  s.run(23_210);
  s.take();
  const atMs = s.clock.nowMs();
  s.sentinels[2]!.switch("m", B, 2);
  s.clock.run(atMs + 50, () => s.states.at(-1)!.primary!.text === B);
  assert.ok(s.clock.nowMs() - atMs < 10, `${s.clock.nowMs() - atMs} ms`);
  assert.equal(s.states.at(-1)!.cause, "+switch-master from sentinel 10.0.0.3:26379");
  // The old primary answers for ten seconds; nobody reads from it before it is listed as a replica.
  assert.deepEqual(replicasOf(s), [C]);
  s.run(100);
  s.sentinels[1]!.switch("m", B, 2);
  s.run(900);
  s.sentinels[0]!.switch("m", B, 2);
  s.run(15_000);
  assert.deepEqual(s.take(), [`${B} of 2`]);
  // That the others hear of it later is nothing to tell.
  assert.deepEqual(s.log.filter((line) => line.includes("behind")), []);
});

Deno.test("SentinelKeeper outvotes a stale sentinel that announces the old address again, and says so", async () => {
  const s = await stand(3);
  s.run(1000);
  for (const each of s.sentinels.slice(0, 2)) each.switch("m", B, 2);
  s.run(100);
  s.take();
  // Restarted from an old file: it has the old epoch.
  s.sentinels[2]!.publish("+switch-master", "m 10.0.1.2 6379 10.0.1.1 6379");
  s.run(2000);
  assert.deepEqual([s.take(), s.log.filter((line) => line.includes("behind"))], [[], []]);
  s.run(10_000);
  s.sentinels[0]!.stop();
  s.sentinels[1]!.stop();
  s.run(60_000);
  assert.deepEqual(s.take(), []);
  assert.deepEqual(s.log.filter((line) => line.includes("behind")), [
    `pool 'p' server 's': sentinel 10.0.0.3:26379 is behind: it names ${A} of epoch 1, where ${B} is of epoch 2`,
  ]);
  s.sentinels[2]!.switch("m", B, 2);
  s.run(1000);
  assert.deepEqual(s.take(), []);
  assert.ok(s.log.some((line) => line.includes("no more: sentinel 10.0.0.3:26379 is behind")));
});

Deno.test("SentinelKeeper is not misled at the start by the first to answer", async () => {
  const s = await stand(3, {
    prepare: ([, two, three]) => {
      two!.name("m", B, 4);
      three!.name("m", B, 4);
    },
  });
  s.run(1000);
  assert.deepEqual([...new Set(s.take())], [`${B} of 4`]);
});

Deno.test("SentinelKeeper takes the leader's address and epoch together, not SENTINEL MASTER's", async () => {
  const s = await stand(1);
  s.run(1000);
  s.take();
  // In the state reconf_slaves: the epoch is raised, MASTER has the old address, GET-MASTER-ADDR the new one.
  s.sentinels[0]!.name("m", B, 2, { masterAddress: A });
  s.sentinels[0]!.publish("+promoted-slave", "slave 10.0.1.2:6379 10.0.1.2 6379 @ m 10.0.1.1 6379");
  s.run(20);
  assert.deepEqual(s.take(), [`${B} of 2`]);
  assert.equal(s.states.at(-1)!.cause, "+promoted-slave from sentinel 10.0.0.1:26379");
});

Deno.test("SentinelKeeper finds by polling what no event has told", async () => {
  const s = await stand(3);
  s.run(1000);
  s.take();
  s.sentinels[1]!.name("m", C, 7);
  s.run(1500);
  assert.deepEqual(s.take(), [`${C} of 7`]);
});

Deno.test("SentinelKeeper asks all at once at a worker's hint, but not for each of many", async () => {
  const s = await stand(3);
  s.run(1000);
  s.take();
  s.sentinels[0]!.name("m", C, 7);
  for (const each of s.sentinels) each.takeGot();
  for (let i = 0; i < 100; i++) s.keeper.hint("s", "not a primary");
  s.keeper.hint("another", "not a primary");
  s.run(10);
  assert.deepEqual(s.take(), [`${C} of 7`]);
  const asked = s.sentinels[2]!.takeGot().filter((words) => words.includes("MASTER m"));
  assert.equal(asked.length, 1);
});

Deno.test("SentinelKeeper keeps replicas while lists are empty after SENTINEL RESET, and lets go of those that stay away", async () => {
  const s = await stand(2);
  s.run(2000);
  s.take();
  for (const each of s.sentinels) {
    each.masters.get("m")!.replicas = [];
    each.publish("+reset-master", "master m 10.0.1.1 6379");
  }
  s.run(1000);
  assert.deepEqual([s.take(), replicasOf(s)], [[], [B, C]]);
  for (const each of s.sentinels) {
    each.masters.get("m")!.replicas = [B];
    each.publish("+slave", "slave 10.0.1.2:6379 10.0.1.2 6379 @ m 10.0.1.1 6379");
  }
  s.run(5000);
  assert.deepEqual([s.take(), replicasOf(s)], [[], [B, C]]);
  s.run(15_000);
  assert.deepEqual([s.take(), replicasOf(s)], [[`${A} of 1`], [B]]);
});

Deno.test("SentinelKeeper keeps a primary that sentinels know no more (SENTINEL REMOVE), and says so once", async () => {
  const s = await stand(2);
  s.run(1000);
  s.take();
  for (const each of s.sentinels) {
    each.name("m", null, 0);
    each.publish("-monitor", "master m 10.0.1.1 6379");
  }
  s.run(60_000);
  assert.deepEqual(s.take(), []);
  // Which of them is heard first is nobody's business.
  assert.deepEqual(s.log.filter((line) => line.includes("knows no")).sort(), [
    `pool 'p' server 's': sentinel 10.0.0.1:26379 knows no master 'm'; it stays ${A}`,
    `pool 'p' server 's': sentinel 10.0.0.2:26379 knows no master 'm'; it stays ${A}`,
  ]);
});

Deno.test("SentinelKeeper follows sentinels that have been set up anew, when all have said so for long", async () => {
  const s = await stand(3, { prepare: (all) => all.forEach((each) => each.name("m", A, 9)) });
  s.run(1000);
  s.take();
  for (const each of s.sentinels) each.name("m", B, 0);
  s.run(10_000);
  assert.deepEqual(s.take(), []);
  s.run(10_000);
  assert.deepEqual(s.take(), [`${B} of 10`]);
  assert.ok(s.log.some((line) => line.includes("have been set up anew (epoch 0 behind 9)")));
  s.sentinels[0]!.switch("m", C, 1);
  s.run(100);
  assert.deepEqual(s.take(), [`${C} of 11`]);
});

Deno.test("SentinelKeeper keeps to the present primary where two sentinels name different ones in one epoch", async () => {
  const s = await stand(2);
  s.run(1000);
  s.take();
  s.sentinels[1]!.switch("m", B, 1);
  s.run(60_000);
  assert.deepEqual(s.take(), []);
  assert.deepEqual(s.log.filter((line) => line.includes("different")), [
    `pool 'p' server 's': sentinels name different primaries in epoch 1: ${A} (10.0.0.1:26379), ${B} (10.0.0.2:26379); it stays ${A}`,
  ]);
  // One more says so: a majority of three.
  const three = await stand(3);
  three.run(1000);
  three.take();
  for (const each of three.sentinels.slice(1)) each.switch("m", B, 1);
  three.run(2000);
  assert.deepEqual(three.take(), [`${B} of 2`]);
});

Deno.test("SentinelKeeper says that a named server reports to be a replica", async () => {
  const s = await stand(1, { prepare: ([one]) => one!.name("m", A, 1, { role: "slave" }) });
  s.run(30_000);
  assert.deepEqual(s.log.filter((line) => line.includes("replica")), [
    `pool 'p' server 's': sentinel 10.0.0.1:26379 names ${A}, and reports that it is a replica: nothing is written to it`,
  ]);
});

Deno.test("SentinelKeeper says nowhere, and why, if no sentinel answers, and where once one does", async () => {
  const s = await stand(2, { present: 0 });
  s.run(5000);
  assert.deepEqual([...new Set(s.take())], ["nowhere of 0"]);
  assert.match(
    s.states.at(-1)!.why,
    /^no sentinel answers; 10\.0\.0\.1:26379: .*refused.*; 10\.0\.0\.2:26379: /i,
  );
  assert.equal(s.events.length, 1);
  assert.match(s.events[0]!, /^source failed {2}no sentinel answers; 10/);
  assert.equal(s.log.length, 2, s.log.join("\n"));
  await s.sentinels[1]!.listen(s.net, at(1));
  s.run(10_000);
  assert.deepEqual([...new Set(s.take())], [`${A} of 1`]);
  assert.ok(s.log.includes("pool 'p': sentinel 10.0.0.2:26379 answers"));
});

Deno.test("SentinelKeeper does not believe a sentinel that is behind after a reload either", async () => {
  const before = await stand(1, { prepare: ([one]) => one!.name("m", B, 7, { replicas: [A, C] }) });
  before.run(1000);
  assert.equal(before.take().at(-1), `${B} of 7`);
  const memory = before.keeper.memory();
  before.keeper.stop();
  // It has come back with its old file.
  const behind = {
    known: state("s", 7, B),
    prepare: ([one]: readonly FakeSentinel[]) => one!.name("m", A, 6),
  };
  const after = await stand(1, { ...behind, memory });
  after.run(5000);
  assert.deepEqual(after.take().filter((each) => !each.startsWith(B)), []);
  after.sentinels[0]!.switch("m", C, 8);
  after.run(1000);
  assert.equal(after.take().at(-1), `${C} of 8`);
  after.keeper.stop();
  // Sentinels that nobody has heard before count for themselves, and so do those of another master.
  for (const other of [{ sentinels: ["10.9.9.9:26379"] }, { master: "other" }]) {
    const changed = new Map([["s", { ...memory.get("s")!, ...other }]]);
    const anew = await stand(1, { ...behind, memory: changed });
    anew.run(1000);
    assert.match(anew.take().at(-1)!, new RegExp(`^${A} of `));
    anew.keeper.stop();
  }
});

Deno.test("SentinelKeeper goes on with what it knew when all sentinels are gone, and after a reload", async () => {
  const s = await stand(1);
  s.run(1000);
  s.take();
  s.sentinels[0]!.stop();
  s.run(60_000);
  assert.deepEqual(s.take(), []);
  const after = await stand(1, { present: 0, known: state("s", 5, B) });
  after.run(60_000);
  assert.deepEqual(after.take(), [`${B} of 5`]);
  const other = await stand(1, { known: state("s", 5, B) });
  other.run(1000);
  assert.deepEqual([...new Set(other.take())], [`${A} of 6`]);
});

Deno.test("SentinelKeeper says which sentinel refuses the password, and why, once", async () => {
  const s = await stand(2, { lines: "sentinel_auth: secret" });
  s.sentinels[0]!.error = "WRONGPASS invalid username-password pair or user is disabled.";
  s.run(60_000);
  assert.deepEqual([...new Set(s.take())], [`${A} of 1`]);
  assert.deepEqual(s.log.filter((line) => line.includes("10.0.0.1")), [
    "pool 'p': sentinel 10.0.0.1:26379: AUTH is refused: WRONGPASS invalid username-password pair or user is disabled.",
  ]);
  const none = await stand(1, { prepare: ([one]) => one!.error = "NOAUTH Authentication required." });
  none.run(60_000);
  assert.deepEqual(none.log, ["pool 'p': sentinel 10.0.0.1:26379: NOAUTH Authentication required."]);
  assert.match(none.states.at(-1)!.why, /NOAUTH/);
});

Deno.test("SentinelKeeper takes errors for answers: it neither closes nor asks faster", async () => {
  const s = await stand(1);
  s.sentinels[0]!.error = "ERR unknown command 'SENTINEL'\r\n-ERR";
  s.sentinels[0]!.error = "ERR unknown command 'SENTINEL'";
  s.run(30_000);
  assert.equal(s.sentinels[0]!.accepted, 2);
  assert.ok(s.sentinels[0]!.got.length < 300, String(s.sentinels[0]!.got.length));
});

Deno.test("SentinelKeeper dials a sentinel that is gone ever less often", async () => {
  const s = await stand(1, { present: 0 });
  let dials = 0;
  const connect = s.net.connect.bind(s.net);
  s.net.connect = (...dial) => {
    dials++;
    return connect(...dial);
  };
  s.run(60_000);
  assert.ok(dials < 60, String(dials));
});

Deno.test("SentinelKeeper knows host names as names", async () => {
  const s = await stand(1, { prepare: ([one]) => one!.name("m", "redis-1.example:6379", 1) });
  s.run(1000);
  assert.deepEqual(s.states[0]!.primary, {
    address: { host: "redis-1.example", port: 6379 },
    text: "redis-1.example:6379",
    zone: null,
  });
});

Deno.test("SentinelKeeper learns other sentinels, the same one under two addresses once, and believes them", async () => {
  const s = await stand(3, { present: 1 });
  await s.sentinels[2]!.listen(s.net, { host: "10.0.0.9", port: 26379 });
  s.sentinels[0]!.others = ["10.0.0.9:26379 id2", "127.0.0.1:26379 id0"];
  s.sentinels[2]!.others = ["10.0.0.77:26379 id0"];
  s.run(15_000);
  assert.deepEqual(s.log.filter((line) => line.includes("names another")), [
    "pool 'p': sentinel 10.0.0.1:26379 names another one, 10.0.0.9:26379",
  ]);
  s.take();
  s.sentinels[2]!.switch("m", B, 2);
  s.run(100);
  assert.deepEqual(s.take(), [`${B} of 2`]);
});

Deno.test("SentinelKeeper bounds what a hostile sentinel makes it do", async () => {
  const s = await stand(1);
  s.sentinels[0]!.others = Array.from({ length: 200 }, (_, i) => `10.9.0.${i}:1 x${i}`);
  s.sentinels[0]!.masters.get("m")!.replicas = Array.from({ length: 500 }, (_, i) => `10.8.0.1:${i + 1}`);
  s.run(20_000);
  assert.ok(s.states.at(-1)!.replicas.length <= 100);
  assert.ok(s.net.sockets.size <= 64, String(s.net.sockets.size));
  s.sentinels[0]!.takeGot();
  for (let i = 0; i < 2000; i++) s.sentinels[0]!.publish("+switch-master", "m 10.0.1.1 1 10.0.1.2 2");
  s.run(500);
  assert.ok(s.sentinels[0]!.takeGot().length < 4000);
});

const SELECTED = `slave ${B} 10.0.1.2 6379 @ m 10.0.1.1 6379`;

Deno.test("SentinelKeeper lets requests wait from when a leader has chosen a replica until that is named", async () => {
  const s = await stand(3);
  s.run(1000);
  s.take();
  s.sentinels[1]!.publish("+selected-slave", SELECTED);
  s.run(10);
  assert.deepEqual(s.take(), ["nowhere of 1"]);
  const waiting = s.states.at(-1)!;
  assert.ok(waiting.waitMs! > 3000);
  assert.match(waiting.why, /^sentinel 10.0.0.2:26379 is putting 10.0.1.2:6379 in its place$/);
  assert.deepEqual(waiting.replicas.map(({ text }) => text), [B, C]);
  // Said again, or of another primary, it is nothing.
  s.sentinels[1]!.publish("+selected-slave", SELECTED);
  s.sentinels[1]!.publish("+selected-slave", `slave ${A} 10.0.1.1 6379 @ m 10.0.1.3 6379`);
  s.run(1000);
  assert.deepEqual(s.take(), []);
  s.sentinels[0]!.switch("m", B, 2);
  s.run(100);
  assert.deepEqual(s.take(), [`${B} of 2`]);
  assert.equal(s.states.at(-1)!.waitMs, undefined);
  s.run(10_000);
  assert.deepEqual(s.take(), []);
});

Deno.test("SentinelKeeper lets nobody wait any more when the attempt has failed, or nothing has come of it", async () => {
  const s = await stand(3);
  s.run(1000);
  s.take();
  s.sentinels[1]!.publish("+selected-slave", SELECTED);
  // Another one's failure is not the leader's.
  s.sentinels[2]!.publish("-failover-abort-not-elected", `master m ${A}`.replace(":", " "));
  s.run(500);
  assert.deepEqual(s.take(), ["nowhere of 1"]);
  s.sentinels[1]!.publish("-failover-abort-slave-timeout", `master m ${A}`.replace(":", " "));
  s.run(10);
  assert.deepEqual(s.take(), [`${A} of 1`]);
  // One that says so again and again stops nobody.
  s.sentinels[1]!.publish("+selected-slave", SELECTED);
  s.run(5000);
  assert.deepEqual(s.take(), []);
  s.run(6000);
  s.sentinels[1]!.publish("+selected-slave", SELECTED);
  s.run(2900);
  assert.deepEqual(s.take(), ["nowhere of 1"]);
  s.run(200);
  assert.deepEqual(s.take(), [`${A} of 1`]);
  s.keeper.stop();
});
