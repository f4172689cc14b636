/** What the starter of a daemon (-d) is told. Real daemons: tests/real/process_test.ts. */
import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import { beginningOf, STARTS_STILL, unserved } from "../../src/runtime/daemon.ts";
import { ManualClock } from "../lib/manual_clock.ts";

Deno.test("unserved(): a daemon that ends before it serves has failed, and its starter reads why", () => {
  const why = "ringmaster: cannot start: listen 127.0.0.1:1: Address already in use\n";
  deepStrictEqual(unserved(1, null, why), { code: 1, text: why });
  // Stopped in good order while it started.
  deepStrictEqual(unserved(0, null, ""), {
    code: 1,
    text: "ringmaster: the daemon has ended before it served\n",
  });
  deepStrictEqual(unserved(null, "SIGKILL", ""), {
    code: 1,
    text: "ringmaster: the daemon was ended by SIGKILL\n",
  });
});

Deno.test("a daemon that still starts after ten seconds is no success, and no failure: its starter is told which process it is", async () => {
  const clock = new ManualClock();
  const pipe = new PassThrough();
  const child = Object.assign(new EventEmitter(), { pid: 77, stdio: [null, null, null, pipe], unref() {} });
  const began = beginningOf(child as unknown as ChildProcess, clock);
  await clock.pass(10_000);
  const { code, text } = await began;
  strictEqual(code, STARTS_STILL);
  match(text, /^ringmaster: process 77 does not serve yet, and goes on starting\n$/);
});
