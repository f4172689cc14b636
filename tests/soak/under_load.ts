/** A change of the process under clients that count: no request is lost, refused, answered with an error or executed twice. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import type { Target } from "../lib/client.ts";
import type { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { Random } from "../lib/random.ts";
import type { Server } from "../lib/servers.ts";
import { Caller, sumOf } from "./caller.ts";
import { HABITS } from "./habits.ts";

const CLIENTS = 40;

/**
 * Callers that go on while `change` happens; then nothing may be lost but, on Deno (not `exact`), what crossed a close.
 *
 * @param ends whether nobody listens any more after `change`, so that clients may be refused
 * @param servers all that the pool has: they are emptied first
 * @param change gets a function that waits for some more load
 */
export async function underLoad(
  f: Fixture,
  { target, servers, exact, ends = false }: {
    target: Target;
    servers: readonly Server[];
    exact: boolean;
    ends?: boolean;
  },
  change: (someLoad: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const direct = await Promise.all(servers.map((server) => f.client(server)));
  for (const each of direct) await each.command("FLUSHALL");
  const callers = Array.from(
    { length: CLIENTS },
    (_, i) => new Caller(`c${i}`, target, new Random(i), HABITS[i % HABITS.length]!),
  );
  let over = false;
  const running = callers.map((caller) => caller.run(() => over));
  let round = 0;
  try {
    await change(async () => {
      round++;
      await poll(() => callers.every((caller) => caller.replies > 20 * round), "some load");
    });
  } finally {
    over = true;
    await Promise.all(running);
  }
  const { losses, refused, errors, wrong, requests, replies } = sumOf(callers);
  deepStrictEqual({ refused: ends ? 0 : refused, errors, wrong }, { refused: 0, errors: {}, wrong: [] });
  for (const caller of callers) {
    for (const [i, counted] of caller.counted.entries()) {
      const [a, b] = await Promise.all(direct.map((each) => each.command("GET", caller.counterKey(i))));
      strictEqual(Number(a ?? b ?? 0), counted, "a request without a reply was executed");
    }
  }
  if (!exact) return;
  deepStrictEqual(losses, []);
  strictEqual(replies, requests);
}
