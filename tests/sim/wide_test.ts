/**
 * No turn does much, whatever one client asks: requests of 100,000 arguments for every kind of row in the command tables, through
 * the whole proxy. The longest file there is; what else may be wide is in wide_more_test.ts, so that two cores share it.
 */
import { ARGUMENTS, check, KINDS, none } from "../lib/turn_work.ts";

/** After turn_work.ts, which counts only what is loaded after it. */
const { wideFor } = await import("../lib/wide_requests.ts");

Deno.test("no turn is long for a Redis request of 100,000 arguments, of whatever kind", async () => {
  const found = [];
  for (const command of KINDS) {
    for (const { name, bytes } of wideFor(command, ARGUMENTS)) {
      found.push(...await check(name, "redis", [bytes()]));
    }
  }
  none(found);
});
