/** Whose answer it is that a running process writes beside its pid file. With real processes: tests/real/reload_test.ts. */
import { strictEqual } from "node:assert/strict";
import { isAnswer, type Outcome } from "../../src/cli/outcome.ts";

const outcome = (serial: number, beganMs?: number, pid = 7): Outcome => ({
  serial,
  pid,
  ok: true,
  text: "",
  beganMs,
});

Deno.test("isAnswer(): a reload that had begun before is not the one that was asked for", () => {
  const before = outcome(3, 1000);
  const asked = { pid: 7, before, askedMs: 5000 };
  strictEqual(isAnswer(before, asked), false, "it was there");
  strictEqual(isAnswer(outcome(4, 4999), asked), false, "it has read another file, perhaps");
  strictEqual(isAnswer(outcome(5, 5000), asked), true);
  strictEqual(isAnswer(outcome(5, 5000, 8), asked), false, "of another process");
  strictEqual(
    isAnswer(outcome(1, 5001), { ...asked, before: outcome(1, 1, 8) }),
    true,
    "the first of this process",
  );
  strictEqual(isAnswer(outcome(1), { ...asked, before: null }), true, "of an upgrade there is one at a time");
});
