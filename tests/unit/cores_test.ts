/** How many workers `auto` means, from what the kernel says. */
import { strictEqual } from "node:assert/strict";
import { coresAvailable } from "../../src/runtime/cores.ts";

const ROOT = "/sys/fs/cgroup";

const CASES: [string, number, Record<string, string>, number][] = [
  ["takes what the scheduler grants if there is no control group", 6, {}, 6],
  ["takes what the scheduler grants without a quota", 6, { [`${ROOT}/cpu.max`]: "max 100000\n" }, 6],
  ["takes a quota below that", 6, { [`${ROOT}/cpu.max`]: "200000 100000\n" }, 2],
  ["counts a part of a core as one", 6, { [`${ROOT}/cpu.max`]: "150000 100000\n" }, 2],
  ["is at least one", 6, { [`${ROOT}/cpu.max`]: "1000 100000\n" }, 1],
  ["is never more than granted", 2, { [`${ROOT}/cpu.max`]: "800000 100000\n" }, 2],
  ["finds the quota of its own group", 6, {
    "/proc/self/cgroup": "0::/a/b\n",
    [`${ROOT}/a/b/cpu.max`]: "300000 100000\n",
  }, 3],
  ["takes the least of the groups above it", 6, {
    "/proc/self/cgroup": "1:name=x:/other\n0::/a/b\n",
    [`${ROOT}/a/b/cpu.max`]: "max 100000\n",
    [`${ROOT}/a/cpu.max`]: "100000 50000\n",
    [`${ROOT}/cpu.max`]: "500000 100000\n",
  }, 2],
  ["reads cgroup v1", 6, {
    [`${ROOT}/cpu/cpu.cfs_quota_us`]: "400000\n",
    [`${ROOT}/cpu/cpu.cfs_period_us`]: "100000\n",
  }, 4],
  ["reads cgroup v1 without a quota", 6, {
    [`${ROOT}/cpu/cpu.cfs_quota_us`]: "-1\n",
    [`${ROOT}/cpu/cpu.cfs_period_us`]: "100000\n",
  }, 6],
  ["ignores what it cannot read", 6, { [`${ROOT}/cpu.max`]: "nonsense" }, 6],
];

for (const [name, granted, files, expected] of CASES) {
  Deno.test(`coresAvailable() ${name}`, () => {
    strictEqual(coresAvailable(granted, (path) => files[path] ?? null), expected);
  });
}

Deno.test("coresAvailable() of this machine is not more than it has", () => {
  const found = coresAvailable();
  strictEqual(found >= 1 && found <= navigator.hardwareConcurrency, true);
});
