/** What is said of long work: nothing within a second, then now and then; in a terminal one line that goes away. */
import { deepStrictEqual } from "node:assert/strict";
import { Progress } from "../../src/cli/progress.ts";

function said(terminal: boolean, times: readonly number[]): string[] {
  const texts: string[] = [];
  let nowMs = 5000;
  const progress = new Progress(() => nowMs, { err: (text) => texts.push(text) }, terminal);
  for (const ms of times) {
    nowMs = 5000 + ms;
    progress.tell(() => `at ${ms}`);
  }
  progress.end();
  progress.end();
  return texts;
}

Deno.test("work of less than a second says nothing", () => {
  for (const terminal of [true, false]) deepStrictEqual(said(terminal, [0, 500, 999]), []);
});

Deno.test("in a terminal one line is written over, and is gone at the end", () => {
  deepStrictEqual(said(true, [1000, 1100, 1200, 9000]), [
    "\r\x1b[Kat 1000",
    "\r\x1b[Kat 1200",
    "\r\x1b[Kat 9000",
    "\r\x1b[K",
  ]);
});

Deno.test("elsewhere there is a line now and then", () => {
  deepStrictEqual(said(false, [1000, 10_000, 12_000, 20_000]), ["at 10000\n", "at 20000\n"]);
});
