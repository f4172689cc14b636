import { deepStrictEqual, match } from "node:assert/strict";
import { strangersOf } from "../../src/cli/environment.ts";

Deno.test("strangersOf() names each variable that the runtime reads, and only where it runs on that", () => {
  const environment = {
    BUN_JSC_useJIT: "0",
    PATH: "/bin",
    BUN_INSTALL: "/opt/bun",
    BUN_TMPDIR: "/tmp",
    BUNDLE: "1",
  };
  const lines = strangersOf(environment, "bun");
  deepStrictEqual(lines.map((line) => /has (\S+):/.exec(line)?.[1]), ["BUN_JSC_useJIT", "BUN_TMPDIR"]);
  match(lines[0]!, /none of ringmaster's settings$/);
  deepStrictEqual(strangersOf(environment, "deno"), []);
  deepStrictEqual(strangersOf({ PATH: "/bin" }, "bun"), []);
});
