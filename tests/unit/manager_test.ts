import { deepStrictEqual } from "node:assert/strict";
import process from "node:process";
import { Manager } from "../../src/cli/manager.ts";
import { ManualClock } from "../lib/manual_clock.ts";

function stand(watchdogUs: number) {
  const clock = new ManualClock();
  const said: string[][] = [];
  const notify = { send: (lines: readonly string[]) => void said.push([...lines]), monotonicUs: () => 7n };
  return { clock, manager: new Manager(notify, clock, watchdogUs), take: () => said.splice(0) };
}

Deno.test("Manager tells that it serves, reloads and stops, each in one datagram, a status in one line", () => {
  const { manager, take } = stand(NaN);
  manager.ready("serving 2 pools\nand more");
  manager.reloading();
  manager.reloaded("reload (SIGHUP) refused, nothing has changed:\nx.yml:1:1: …");
  deepStrictEqual(take(), [
    ["READY=1", `MAINPID=${process.pid}`, "STATUS=serving 2 pools"],
    ["RELOADING=1", "MONOTONIC_USEC=7", "STATUS=reloading"],
    ["READY=1", "STATUS=reload (SIGHUP) refused, nothing has changed:"],
  ]);
});

Deno.test("Manager asks for more time while clients end, and says nothing of reloads any more", async () => {
  const { manager, clock, take } = stand(NaN);
  manager.draining();
  manager.draining();
  manager.reloading();
  manager.reloaded("too late");
  await clock.pass(2500);
  const extend = "EXTEND_TIMEOUT_USEC=5000000";
  deepStrictEqual(take(), [
    ["STOPPING=1", "STATUS=finishing what is in flight", extend],
    ["WATCHDOG=1", extend],
    ["WATCHDOG=1", extend],
  ]);
  manager.stop();
  await clock.pass(60_000);
  deepStrictEqual(take(), []);
});

Deno.test("Manager says twice in each WATCHDOG_USEC that it lives, and without a manager nothing at all", async () => {
  const { manager, clock, take } = stand(1_000_000);
  await clock.pass(1600);
  deepStrictEqual(take(), [["WATCHDOG=1"], ["WATCHDOG=1"], ["WATCHDOG=1"]]);
  manager.stop();
  const nobody = new Manager(null, clock, 1_000_000);
  nobody.ready("x");
  nobody.draining();
  await clock.pass(5000);
  deepStrictEqual(clock.pending, 0);
});
