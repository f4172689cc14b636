/** Worlds of a cluster; and mistakes made on purpose, which they have to notice. `CLUSTER_SEEDS=N` runs N worlds. */
import assert from "node:assert/strict";
import { Client } from "../../src/proxy/client.ts";
import { Pool } from "../../src/proxy/pool.ts";
import { PoolRedirects, Redirected } from "../../src/redis/redirect.ts";
import { PubSub } from "../../src/redis/pubsub.ts";
import { Tracking } from "../../src/redis/tracking.ts";
import { Execution } from "../../src/redis/exec.ts";
import { type Missing, Scripts } from "../../src/redis/scripts.ts";
import type { Server } from "../../src/proxy/server.ts";
import type { ServerConnection } from "../../src/proxy/server_connection.ts";
import { ClientRedirects } from "../../src/redis/redirect_queue.ts";
import { ClusterFailure, runClusterSeed } from "./cluster_world.ts";

const SEEDS = Number(Deno.env.get("CLUSTER_SEEDS") ?? 40);
const FIRST = Number(Deno.env.get("CLUSTER_FIRST") ?? 1);
const BATCH = 20;
/** A canary is noticed within so many worlds. */
const SEEDS_MAX = 600;

for (let first = FIRST; first < FIRST + SEEDS; first += BATCH) {
  const last = Math.min(first + BATCH, FIRST + SEEDS) - 1;
  Deno.test(`worlds of a cluster ${first} to ${last}`, async () => {
    const seen = { moved: 0, asks: 0, tryAgains: 0, lacking: 0 };
    for (let seed = first; seed <= last; seed++) {
      const result = await runClusterSeed(seed);
      seen.moved += result.moved;
      seen.asks += result.asks;
      seen.tryAgains += result.tryAgains;
      seen.lacking += result.lacking;
    }
    assert.ok(
      seen.moved > 0 && seen.asks > 0 && seen.tryAgains > 0 && seen.lacking > 0,
      JSON.stringify(seen),
    );
  });
}

/** Worlds that have found something, as they were then; `newer`: when they had scripts and subscribers. */
const REGRESSIONS: readonly { readonly seed: number; readonly newer?: true; readonly found: string }[] = [
  {
    seed: 61000878,
    found: "SCAN and DBSIZE went to one seed, and said nothing of it, before any node had been heard",
  },
  {
    seed: 61001091,
    found:
      "a node that returned had its old number, behind which a SCAN was already: it did not come to its keys",
  },
  {
    seed: 81007751,
    found:
      "who had heard that a node had gained a slot, and not that it had lost another, gave it the lost one back",
  },
  {
    seed: 81001889,
    found: "a dead node kept a slot for ever that nobody said any more it had",
  },
  {
    seed: 82009841,
    found:
      "a server that had left and owed nothing was asked once more, and nobody saw to those connections' ends",
  },
  {
    seed: 82012954,
    found: "a SCAN that waited for a node that left read that its outcome is unknown",
  },
  {
    seed: 83006358,
    found: "a SCAN whose node left ended, since the heir was not yet among those it walks",
  },
  {
    seed: 84003876,
    found: "the time for which a node had stood still before counted as trying again because of TRYAGAIN",
  },
  {
    seed: 82015153,
    found:
      "WATCH was asked by the connection of a wait that a demoted node had ended, and was about to close",
  },
  {
    seed: 82015848,
    found: "a later request for a slot was sent on past an earlier one, which stood still at another node",
  },
  {
    seed: 81008973,
    found:
      "DBSIZE that had not been sent yet found no heir that had one slot more, and read that its outcome is unknown",
  },
  {
    seed: 700532,
    newer: true,
    found: "what came behind an EVALSHA that a node did not know overtook it when the slot had left",
  },
  {
    seed: 700880,
    newer: true,
    found: "a transaction was sent to a node whose connection was lost when it was asked for its libraries",
  },
  {
    seed: 713547,
    newer: true,
    found: "a script that a loading node had not taken was not told again before the transaction was",
  },
  {
    seed: 97006428,
    newer: true,
    found: "what was sent later overtook what was asked of a node that stood still",
  },
  { seed: 98045313, newer: true, found: "a large request went where an earlier one was to go" },
];

for (const { seed, newer, found } of REGRESSIONS) {
  Deno.test(`world ${seed} of a cluster: ${found}`, async () => {
    assert.ok((await runClusterSeed(seed, newer !== true, false)).requests > 0);
  });
}

Deno.test("world 112006300 of a cluster: an invalidation was not said again behind a part of what its node had answered", async () => {
  assert.ok((await runClusterSeed(112006300)).requests > 0);
});

Deno.test("a seed decides everything in a world of a cluster too", async () => {
  assert.deepEqual(await runClusterSeed(3), await runClusterSeed(3));
});

type Method = (this: any, ...args: any[]) => unknown;

function patch(owner: object, name: string, make: (old: Method) => Method): () => void {
  const methods = owner as Record<string, Method>;
  const old = methods[name]!;
  if (typeof old !== "function") throw new Error(`there is no ${name} to make a mistake in`);
  methods[name] = make(old);
  return () => {
    methods[name] = old;
  };
}

/** Each with what is said of it, so that nothing else is taken for it, and the world that noticed it last, which is the first to be asked. */
const CANARIES: readonly {
  name: string;
  world: number;
  says: RegExp;
  /** It shows in worlds as they are now; absent: as they were at first. */
  newer?: true;
  /** … with clients that keep a cache. */
  tracks?: true;
  plant(): () => void;
}[] = [
  {
    name: "ASK is remembered for the next request",
    world: 2,
    says:
      /with ASKING, although nobody had told it|sent on 41 times|is executed by .* for who was not told to ask there/,
    plant() {
      const told = new Map<number, unknown>();
      return patch(Redirected.prototype, "ask", (old) =>
        function (endpoint, asking) {
          if (asking) told.set(this.slot, endpoint);
          const known = told.get(this.slot);
          return known === undefined ? old.call(this, endpoint, asking) : old.call(this, known, true);
        });
    },
  },
  {
    name: "who is sent on by ASK says no ASKING",
    world: 6,
    // A script is asked for once more before it is believed: then the client reads what the other node has said.
    says: /without ASKING, although it was told to ask there|reads -MOVED .* for EVAL/,
    plant: () =>
      patch(Redirected.prototype, "ask", (old) =>
        function (endpoint) {
          return old.call(this, endpoint, false);
        }),
  },
  {
    name: "ASKING is said on another connection",
    world: 26,
    says: /without ASKING|with ASKING, although nobody|sent on 41 times/,
    plant: () =>
      patch(Redirected.prototype, "ask", (old) =>
        function (endpoint, asking) {
          if (asking) this.client.pool.servers[0].connection(0, 0)?.ask(ASKING, () => {});
          return old.call(this, endpoint, false);
        }),
  },
  {
    name: "what is sent on is sent twice",
    world: 2,
    says: /was executed twice|came to .* with ASKING/,
    plant: () =>
      patch(Redirected.prototype, "ask", (old) =>
        function (endpoint, asking) {
          const sent = old.call(this, endpoint, asking);
          const { client } = this;
          if (sent && this.lane === null) {
            endpoint.connection(client.session.connectionClass, client.serial)?.ask(this.bytes, () => {});
          }
          return sent;
        }),
  },
  {
    name: "what is sent on goes by any connection",
    world: 29,
    says: /for \S+ was executed by server .*, after request/,
    plant: () =>
      patch(Redirected.prototype, "ask", (old) =>
        function (endpoint, asking) {
          const { client } = this;
          const { serial } = client;
          client.serial = serial + ++others;
          const sent = old.call(this, endpoint, asking);
          client.serial = serial;
          return sent;
        }),
  },
  {
    name: "while something of a client waits, what it asks next is sent",
    world: 151,
    says: /was executed (by server .*, )?after request/,
    plant: () =>
      patch(ClientRedirects.prototype, "wait", (old) =>
        function (request, pauseMs) {
          const takeBack = patch(Client.prototype, "settle", () => () => {});
          old.call(this, request, pauseMs);
          takeBack();
        }),
  },
  {
    name: "what waits is not waited for by what is sent on",
    world: 72,
    says: /for \S+ was executed by server .*, after request/,
    plant: () => patch(ClientRedirects.prototype, "mayPass", () => () => true),
  },
  {
    name: "TRYAGAIN is no reason to wait",
    world: 6,
    says: /reads -TRYAGAIN .* while nothing is wrong/,
    plant: () =>
      patch(Redirected.prototype, "wait", (old) =>
        function (forKeys) {
          if (forKeys) this.answer(this.reply, 0, this.reply.length, false);
          else old.call(this, forKeys);
        }),
  },
  {
    name: "who waits for a list and is sent on is told so",
    world: 7,
    says: /reads -(MOVED|ASK|UNBLOCKED) .* for B[LR]POP .* while nothing is wrong/,
    plant: () =>
      patch(Redirected.prototype, "refused", (old) =>
        function (by, redirect, bytes, start, end) {
          if (this.lane !== null) this.answer(bytes, start, end, false);
          else old.call(this, by, redirect, bytes, start, end);
        }),
  },
  {
    name: "who owns what is not learnt",
    world: 61,
    says: /is sent on: who owns what is not known|is still looked for|sent on 41 times/,
    plant: () => patch(PoolRedirects.prototype, "noteMoved", () => () => {}),
  },
  {
    name: "the old owners are kept",
    world: 1,
    says: /is sent on|is still looked for|while nothing is wrong/,
    plant: () => patch(Pool.prototype, "adopt", () => () => {}),
  },
  {
    name: "a node that lacks a script or function is not told it",
    newer: true,
    world: 14,
    says: /reads -(NOSCRIPT|ERR Function not found)/,
    plant: () =>
      patch(Redirected.prototype, "told", () =>
        function (_by, _missing, bytes, start, end) {
          this.answer(bytes, start, end, false);
        }),
  },
  {
    name: "what was found missing is taken for told",
    newer: true,
    world: 10,
    says: /reads -(NOSCRIPT|ERR Function not found)/,
    plant: () =>
      patch(Scripts.prototype, "lacking", (old) =>
        function (...args) {
          const missing = old.apply(this, args) as Missing | null;
          if (missing === null) return null;
          // Of who refuses it nothing is known here: it was its first connection.
          const told = new Map(
            this.pool.servers.map(({ connections: [first] }: Server) => [first, first && missing.say(first)]),
          );
          return { ...missing, say: (on: ServerConnection) => told.get(on) ?? [] };
        }),
  },
  {
    name: "a transaction is sent to a node that lacks its functions",
    newer: true,
    world: 252,
    says: /reads -ERR Function not found within EXEC/,
    plant: () => patch(Execution.prototype, "learns", () => () => false),
  },
  {
    name: "a transaction is sent to a node that lacks its scripts",
    newer: true,
    world: 12,
    says: /reads -NOSCRIPT .* within EXEC/,
    plant: () => patch(Scripts.prototype, "named", () => () => []),
  },
  {
    name: "whoever finds that others have asked for the libraries in the same turn waits for ever",
    newer: true,
    world: 352,
    says: /is stalled/,
    plant: () =>
      patch(PoolRedirects.prototype, "learn", (old) =>
        function (client, connection, libraries, told) {
          if (libraries.length > 0) old.call(this, client, connection, libraries, told);
        }),
  },
  {
    name: "a shard channel whose slot has left is not looked for",
    newer: true,
    world: 39,
    says: /has not heard .* SSUBSCRIBE|timed out .* for SSUBSCRIBE/,
    plant: () => patch(PubSub.prototype, "adrift", () => () => {}),
  },
  {
    name: "messages of patterns come from every node",
    newer: true,
    world: 3,
    says: /got the message .* twice/,
    plant: () => patch(PubSub.prototype, "speaks", () => () => true),
  },
  {
    name: "keys that move with their slot invalidate nothing",
    newer: true,
    tracks: true,
    world: 91,
    says: /keeps .* nobody (has told|tells) it/,
    plant: () => patch(Tracking.prototype, "keysMoved", () => () => {}),
  },
  {
    name: "what a node that is no server yet has answered is kept",
    newer: true,
    tracks: true,
    world: 80,
    says: /keeps .* nobody (has told|tells) it/,
    plant: () => patch(Tracking.prototype, "readUnheard", () => () => {}),
  },
  {
    name: "a line that is lost invalidates nothing",
    newer: true,
    tracks: true,
    world: 22,
    says: /keeps .* nobody (has told|tells) it/,
    plant: () => patch(Tracking.prototype, "invalidateAll", () => () => {}),
  },
];

let others = 0;
const ASKING = new TextEncoder().encode("*1\r\n$6\r\nASKING\r\n");

for (const canary of CANARIES) {
  Deno.test(`worlds of a cluster notice: ${canary.name}`, async () => {
    const takeBack = canary.plant();
    try {
      for (let nth = 0; nth <= SEEDS_MAX; nth++) {
        const seed = nth === 0 ? canary.world : nth;
        try {
          await runClusterSeed(seed, canary.newer !== true, canary.tracks === true);
        } catch (error) {
          assert.ok(error instanceof ClusterFailure);
          const why = error.why.split("\n")[0]!;
          if (Deno.env.has("SIM_SHOW")) console.log(`  ${seed}: ${why}`);
          assert.match(why, canary.says);
          return;
        }
      }
    } finally {
      takeBack();
    }
    assert.fail(`${SEEDS_MAX} worlds ran without a complaint`);
  });
}
