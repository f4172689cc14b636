/** Promotion by several proxies that know nothing of each other: never two primaries, and one of them when all is well again. */
import assert from "node:assert/strict";
import { Fence } from "../../src/topology/fence.ts";
import { Member } from "../../src/topology/member.ts";
import { RunningClock } from "../../src/runtime/running_clock.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { Leave } from "../../src/proxy/leave.ts";
import { Director } from "../../src/service/director.ts";
import { PromoteKeeper } from "../../src/topology/promote.ts";
import { SimClock } from "./clock.ts";
import { ModelMember } from "./model_member.ts";
import { SimNet } from "./net.ts";
import { SimProcess } from "./process.ts";
import { PromoteWorld } from "./promote_world.ts";
import { Random } from "./random.ts";
import { Violation } from "./truth.ts";

const SEEDS = 6;

Deno.test("no two primaries may be written to, whatever is killed, frozen and cut, and there is one in the end", async () => {
  let [switches, writes] = [0, 0];
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = await PromoteWorld.run(seed);
    switches += result.switches;
    writes += result.writes;
  }
  // Four members, and the primary has handed over to one that two others do not follow: no majority follows anybody.
  await PromoteWorld.run(20_001);
  // The old primary that somebody has made a replica by hand starts again as a primary, before all proxies have heard of it.
  await PromoteWorld.run(106_000_116);
  // A member is lost between the choice of another and the word to follow it.
  await PromoteWorld.run(121_010_271);
  // A reload while the primary is cut off: the next keeper knows which process it was.
  await PromoteWorld.run(210_001_296);
  assert.ok(switches > 4 * SEEDS, `${switches} switches`);
  assert.ok(writes > 500 * SEEDS, `${writes} writes`);
});

Deno.test("clients are served by one primary at a time, through workers, reloads and stops, and all of them in the end", async () => {
  let writes = 0;
  // Reloads while there is no primary (45, 49); one that starts again before it had saved whom it follows (195).
  for (const seed of [1, 2, 3, 45, 49, 195]) writes += (await PromoteWorld.run(seed, true)).writes;
  assert.ok(writes > 20_000, `${writes} writes`);
});

/** A primary, member 0, with two replicas, and one proxy's keeper for it. @param primary where the file says that it is */
async function stand(primary: string, promoted: (cause: string) => void) {
  const clock = new SimClock();
  const net = new SimNet(clock, new Random(1));
  const members: ModelMember[] = [];
  for (let i = 0; i < 3; i++) members.push(new ModelMember(i, members, net, clock, new Random(10 + i)));
  for (const member of members) await member.listen(1);
  const process = new SimProcess(clock, net);
  const config = parseConfig(
    `p: {listen: 127.0.0.1:1, redis: true, failover: promote, servers: [{name: s, address: ${primary}, ` +
      `replicas: [${textOf(1)}, ${textOf(2)}]}]}`,
    "x",
  );
  const lines: string[] = [];
  const keeper = new PromoteKeeper({
    pool: config.pools[0]!,
    net: process,
    clock: new RunningClock(process),
    random: new Random(3).next,
    log: { level: 11, write: (_, text) => void lines.push(text) },
    known: new Map(),
    event: (kind, _, cause) => kind === "promoted" && promoted(cause),
  });
  const replicate = () => {
    for (const member of members) member.replicate();
    clock.setTimer(50, replicate);
  };
  replicate();
  const said: (string | null)[] = [];
  keeper.start(([state]) => said.push(state!.primary?.text ?? null));
  return {
    clock,
    net,
    process,
    members,
    lines,
    keeper,
    said,
    run: (ms: number) => clock.run(clock.nowMs() + ms),
  };
}

function textOf(member: number): string {
  const { host, port } = ModelMember.addressOf(member, 0);
  return `${host}:${port}`;
}

Deno.test("a primary that has hung up, or is another process, may be written to again when a majority has said so since", async () => {
  const { clock, members, keeper, lines, run } = await stand(
    textOf(0),
    () => assert.fail("nobody is to be promoted"),
  );
  run(6000);
  assert.equal(keeper.primaryOf("s"), textOf(0));
  for (const ends of [false, true]) {
    if (ends) {
      members[0]!.kill();
      members[0]!.restart(false);
    } else members[0]!.hangUp();
    const atMs = clock.nowMs();
    while (keeper.primaryOf("s") !== null && clock.nowMs() < atMs + 500) run(1);
    assert.equal(keeper.primaryOf("s"), null, "what had been said before holds on");
    while (keeper.primaryOf("s") === null && clock.nowMs() < atMs + 2000) run(1);
    assert.equal(keeper.primaryOf("s"), textOf(0));
    assert.ok(clock.nowMs() - atMs < 400, `after ${clock.nowMs() - atMs} ms`);
    run(5000);
  }
  const said = `${textOf(0)} is a primary, asked before that one's connection ended`;
  assert.ok(lines.some((line) => line.includes(said)), lines.join("\n"));
  keeper.stop();
});

Deno.test("a member whose fence is lost while another is promoted is told nothing, and the next attempt takes it along", async () => {
  const promoted: string[] = [];
  const { clock, members, keeper, lines, run } = await stand(textOf(0), (cause) => promoted.push(cause));
  run(6000);
  const answering = members[1] as unknown as {
    answer(line: unknown, words: readonly string[], at: number): string;
  };
  const { answer } = answering;
  let times = 0;
  answering.answer = (line, words, at) => {
    if (words[0] === "REPLICAOF" && words[1] === "NO" && ++times === 1) members[2]!.hangUp();
    return answer.call(members[1], line, words, at);
  };
  // Of equals it is the first.
  members[0]!.kill();
  for (const endMs = clock.nowMs() + 20_000; promoted.length === 0 && clock.nowMs() < endMs;) run(50);
  run(3000);
  assert.ok(lines.some((line) => line.includes(`no majority follows ${textOf(1)}`)), lines.join("\n"));
  assert.deepEqual([times > 0, promoted, keeper.primaryOf("s")], [
    true,
    [`${textOf(1)} in place of ${textOf(0)}`],
    textOf(1),
  ]);
  assert.equal(members[2]!.follows, 1);
  keeper.stop();
});

Deno.test("a proxy that was stopped for longer than its leave has none when it goes on, before it has asked", async () => {
  const { net, process, keeper, said, run } = await stand(textOf(0), () => {});
  run(8000);
  assert.equal(keeper.primaryOf("s"), textOf(0));
  process.stop(10_000);
  run(1000);
  // Answers to what it had asked have come, and lie there.
  for (let i = 0; i < 3; i++) net.down(ModelMember.addressOf(i, 0), true);
  run(9000);
  assert.equal(keeper.primaryOf("s"), null);
  run(300);
  assert.equal(said.at(-1), null);
  for (let i = 0; i < 3; i++) net.up(ModelMember.addressOf(i, 0));
  run(10_000);
  assert.equal(said.at(-1), textOf(0));
  keeper.stop();
});

Deno.test("a file that names another primary than the members follow promotes nobody", async () => {
  const s = await stand("10.9.0.1:6379", assert.fail);
  s.run(60_000);
  assert.deepEqual(s.members.map(({ follows }) => follows), [-1, 0, 0]);
  const said = s.lines.some((line) => line.includes("follow 10.9.9.9:7000, which is none of them"));
  assert.ok(said, s.lines.join("\n"));
  s.keeper.stop();
});

Deno.test("who has the data of a primary that began anew out of our sight is promoted, not who has what was there before", async () => {
  const promoted: string[] = [];
  const s = await stand(textOf(0), (cause) => promoted.push(cause));
  const [primary, , frozen] = s.members;
  s.run(10_000);
  s.net.down(ModelMember.addressOf(0, 0), true);
  frozen!.freeze();
  primary!.kill();
  primary!.restart(true);
  s.run(3000);
  for (let i = 0; i < 5; i++) assert.ok(primary!.write());
  s.run(3000);
  primary!.kill();
  frozen!.goOn();
  s.run(15_000);
  assert.deepEqual(promoted, [`${textOf(1)} in place of ${textOf(0)}`]);
  s.keeper.stop();
});

Deno.test("of replicas that their primary refuses, so that they ask for all of its data for ever, the one that has most is promoted", async () => {
  const promoted: string[] = [];
  const s = await stand(textOf(0), (cause) => promoted.push(cause));
  const [primary, behind] = s.members;
  s.run(10_000);
  behind!.freeze();
  for (let i = 0; i < 5; i++) assert.ok(primary!.write());
  s.run(200);
  primary!.refuses = true;
  behind!.goOn();
  s.net.down(ModelMember.addressOf(0, 0), true);
  s.run(15_000);
  assert.deepEqual(promoted, [`${textOf(2)} in place of ${textOf(0)}`]);
  s.keeper.stop();
});

Deno.test("a replica that gets another server's data between being chosen and being promoted is followed by nobody", async () => {
  const promoted: string[] = [];
  const s = await stand(textOf(0), (cause) => promoted.push(cause));
  const [primary, first, second] = s.members;
  s.run(10_000);
  for (let i = 0; i < 5; i++) assert.ok(primary!.write());
  s.run(200);
  const { history } = primary!;
  // Both ask it for all of its data, and wait; the one that is chosen has it a moment before it is told.
  primary!.refuses = true;
  s.net.down(ModelMember.addressOf(0, 0), true);
  const answer = Reflect.get(ModelMember.prototype, "answer");
  let emptied: ModelMember | null = null;
  Reflect.set(ModelMember.prototype, "answer", function (this: ModelMember, line: unknown, words: string[]) {
    if (words[0] === "REPLICAOF" && words[1] === "NO" && emptied === null) {
      emptied = this;
      this.history = "e".repeat(40);
      this.offset = 0;
    }
    return answer.call(this, line, words);
  });
  try {
    s.run(30_000);
  } finally {
    Reflect.set(ModelMember.prototype, "answer", answer);
  }
  const other = emptied === first ? second! : first!;
  assert.deepEqual(promoted, [`${textOf(other.place)} in place of ${textOf(0)}`]);
  assert.deepEqual([other.before, other.offset], [history, 5]);
  assert.ok(s.lines.some((line) => line.includes("has lost the data it was to be promoted for")));
  s.keeper.stop();
});

interface Canary {
  readonly name: string;
  /** Worlds without clients say that there are two primaries. */
  readonly served?: { readonly firstSeed: number; readonly said: RegExp };
  plant(): () => void;
}

function patch<T extends object>(owner: T, name: string, descriptor: PropertyDescriptor): () => void {
  const old = Object.getOwnPropertyDescriptor(owner, name)!;
  Object.defineProperty(owner, name, { ...old, ...descriptor });
  return () => Object.defineProperty(owner, name, old);
}

const CANARIES: readonly Canary[] = [
  {
    name: "a member is told to follow another as soon as it is fenced",
    plant: () =>
      patch(Fence.prototype, "ripeAtMs", {
        get(this: Fence) {
          return this.heldAtMs;
        },
      }),
  },
  {
    name: "fences are not looked at",
    plant: () => {
      const answer = Reflect.get(ModelMember.prototype, "answer");
      return patch(ModelMember.prototype, "answer", {
        value(this: ModelMember, line: { name: string }, words: readonly string[]) {
          const said = answer.call(this, line, words);
          return words[0] === "PUBSUB" && line.name === "" ? said.replace(/:\d+\r\n$/, ":0\r\n") : said;
        },
      });
    },
  },
  {
    name: "a word counts from when it comes, not from when it was asked for",
    plant: () => {
      const answered = Reflect.get(Member.prototype, "answered");
      return patch(Member.prototype, "answered", {
        value(this: Member, answers: unknown, atMs: number, realMs: number) {
          answered.call(this, answers, atMs + 1500, realMs + 1500);
        },
      });
    },
  },
  {
    name: "workers do not look whether they may write",
    served: { firstSeed: 9, said: /has executed a write that came/ },
    plant: () => patch(Leave.prototype, "holds", { get: () => true }),
  },
  {
    name: "another primary comes in the term of the one before",
    served: { firstSeed: 34, said: /no primary is known/ },
    plant: () => patch(Director.prototype, "shifted", { value: (_: unknown, state: unknown) => state }),
  },
];

for (const canary of CANARIES) {
  Deno.test(`the simulation of promotion notices: ${canary.name}`, async () => {
    const takeBack = canary.plant();
    try {
      const { firstSeed, said } = canary.served ?? { firstSeed: 1, said: /two primaries/ };
      for (let seed = firstSeed; seed < firstSeed + 60; seed++) {
        try {
          await PromoteWorld.run(seed, canary.served !== undefined);
        } catch (error) {
          if (!(error instanceof Violation)) throw error;
          if (said.test(error.message)) return;
        }
      }
    } finally {
      takeBack();
    }
    assert.fail("not noticed");
  });
}
