/** What is wrong with a file reads as found, where and expected, whatever the system's own words are. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { notRead, notWritten, reasonOf } from "../../src/bytes/os_error.ts";

function failure(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error("it worked");
}

Deno.test("reasonOf() has neither code nor call nor path", () => {
  strictEqual(reasonOf(failure(() => readFileSync("/none, x 'y'"))), "no such file or directory");
  strictEqual(reasonOf(failure(() => writeFileSync("/dev/full", "x"))), "no space left on device");
  strictEqual(reasonOf(new Error("No space left on device (os error 28)")), "no space left on device");
  strictEqual(reasonOf("odd"), "odd");
});

Deno.test("notRead(), notWritten(): what was found, where, and what was expected", () => {
  const folder = mkdtempSync(join(tmpdir(), "ringmaster-"));
  const none = `${folder}/none/x`;
  deepStrictEqual(
    [
      notRead(none, failure(() => readFileSync(none))),
      notRead(folder, failure(() => readFileSync(folder))),
      notWritten(none, failure(() => openSync(none, "a"))),
      notWritten(folder, failure(() => openSync(folder, "a"))),
      notWritten("/dev/full", failure(() => writeFileSync("/dev/full", "x"))),
    ],
    [
      `found no file at '${none}', expected a file that can be read`,
      `found a directory at '${folder}', expected a file that can be read`,
      `found no folder for it at '${none}', expected a file that can be written`,
      `found a directory at '${folder}', expected a file that can be written`,
      "found a full disk at '/dev/full', expected a file that can be written",
    ],
  );
  rmSync(folder, { recursive: true });
});
