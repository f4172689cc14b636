/** Promotion by several proxies that know nothing of each other: never two primaries, and one of them when all is well again. */
import assert from "node:assert/strict";
import { Fence } from "../../src/topology/fence.ts";
import { Member } from "../../src/topology/member.ts";
import { ModelMember } from "./model_member.ts";
import { PromoteWorld } from "./promote_world.ts";
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
  assert.ok(switches > 4 * SEEDS, `${switches} switches`);
  assert.ok(writes > 500 * SEEDS, `${writes} writes`);
});

interface Canary {
  readonly name: string;
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
        value(this: Member, answers: unknown, atMs: number) {
          answered.call(this, answers, atMs + 1500);
        },
      });
    },
  },
];

for (const canary of CANARIES) {
  Deno.test(`the simulation of promotion notices: ${canary.name}`, async () => {
    const takeBack = canary.plant();
    try {
      for (let seed = 1; seed <= 60; seed++) {
        try {
          await PromoteWorld.run(seed);
        } catch (error) {
          if (!(error instanceof Violation)) throw error;
          if (error.message.includes("two primaries")) return;
        }
      }
    } finally {
      takeBack();
    }
    assert.fail("not noticed");
  });
}
