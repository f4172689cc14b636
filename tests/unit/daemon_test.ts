/** What the starter of a daemon (-d) is told. Real daemons: tests/real/process_test.ts. */
import { deepStrictEqual } from "node:assert/strict";
import { unserved } from "../../src/runtime/daemon.ts";

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
