/** deno task test:newest names no server by itself: without one it says what to give it, and fails. */
import { match, strictEqual } from "node:assert/strict";
import { run } from "../lib/process.ts";
import { DENO, ROOT } from "../lib/repo.ts";

Deno.test("test:newest without a server, or with one that is not there, says what to give it and fails", async () => {
  for (const args of [[], ["--redis=/nonexistent/redis-server"], ["--memcached=memcached"]]) {
    const { code, stderr } = await run(DENO, ["run", "-A", "--no-check", "tests/newest.ts", ...args], {
      cwd: ROOT,
    });
    strictEqual(code, 2, args.join(" "));
    match(stderr, /deno task test:newest --redis=PATH/);
  }
});
