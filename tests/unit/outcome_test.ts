/** Whose answer it is that a running process writes beside its pid file. With real processes: tests/real/reload_test.ts. */
import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isAnswer, type Outcome, removeAtEnd } from "../../src/cli/outcome.ts";

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

Deno.test("removeAtEnd(): what cannot be removed stays, and the log has it", () => {
  const lines: string[] = [];
  const log = { level: 5, write: (_: number, line: string) => void lines.push(line) };
  const folder = mkdtempSync(join(tmpdir(), "ringmaster-"));
  const file = join(folder, "pid");
  writeFileSync(file, "1");
  removeAtEnd(file, log);
  strictEqual(existsSync(file), false);
  removeAtEnd(file, log);
  deepStrictEqual(lines, [], "what is not there is no trouble");
  // As of another's folder, but for root as well.
  removeAtEnd(folder, log);
  match(lines.join("\n"), /^\/.* stays behind, it cannot be removed: /);
  rmSync(folder, { recursive: true });
});
