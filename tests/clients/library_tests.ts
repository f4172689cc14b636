/** The tests of a client library: a test each, a step a scenario. */
import type { Library } from "./driver.ts";
import { title } from "./libraries.ts";
import { SCENARIOS } from "./scenarios.ts";
import { compare } from "./stand.ts";

export function testLibraries(libraries: readonly Library[]): void {
  for (const library of libraries) {
    Deno.test({
      name: `${title(library)} does through Ringmaster what it does directly`,
      // Libraries keep timers and sockets of their own past the end of a connection.
      sanitizeOps: false,
      sanitizeResources: false,
      async fn(t) {
        await compare(library, SCENARIOS, "compiled", async ({ scenario, failure, isLacking }) => {
          if (isLacking) return;
          await t.step({
            name: scenario,
            sanitizeOps: false,
            sanitizeResources: false,
            fn() {
              if (failure !== null) throw failure;
            },
          });
        });
      },
    });
  }
}
