import { deepStrictEqual } from "node:assert/strict";
import { Successor } from "../../src/cli/successor.ts";
import type { Gathering } from "../../src/service/questions.ts";
import { ManualClock } from "../lib/manual_clock.ts";

/** One whose process has no sockets to hand on, which it says when it is asked. */
function stand() {
  const told: string[] = [];
  const around = {
    lastWords: () => ({}),
    makeWay: () => told.push("makes way"),
    takeBack: () => told.push("takes back"),
    giveWay: () => told.push("gives way"),
    tell: (ok: boolean, text: string) => (told.push(`${ok}: ${text}`), Promise.resolve()),
  };
  const lines: string[] = [];
  const log = { level: 11, write: (_level: number, text: string) => void lines.push(text) };
  const asked: ((none: []) => void)[] = [];
  const service = { gather: () => new Promise((resolve) => asked.push(resolve)) } as unknown as Gathering;
  return { successor: new Successor([], service, around, log, new ManualClock()), told, lines, asked };
}

const NONE =
  "no successor, this process goes on: sockets cannot be handed on by this runtime; see docs/upgrading.md";

Deno.test("Successor: who asks again while one is starting gets none of his own; after a failure he does", async () => {
  const { successor, told, lines, asked } = stand();
  const first = successor.start("one");
  await successor.start("two");
  deepStrictEqual(lines, ["one: starting a successor", "two: a successor is starting already"]);
  asked.shift()!([]);
  await first;
  deepStrictEqual([told, lines.at(-1)], [[`false: ${NONE}`], NONE]);
  const third = successor.start("three");
  asked.shift()!([]);
  await third;
  deepStrictEqual(told.length, 2);
});

Deno.test("Successor: a process that has been told to end starts none", async () => {
  const { successor, told, asked } = stand();
  const started = successor.start("one");
  successor.stop();
  asked.shift()!([]);
  await started;
  deepStrictEqual(told, []);
});
