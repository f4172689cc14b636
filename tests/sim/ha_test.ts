/** Worlds of primaries, replicas and sentinels; and mistakes made on purpose, which they have to notice. `HA_SEEDS=N` runs N worlds. */
import assert from "node:assert/strict";
import { Endpoint } from "../../src/proxy/endpoint.ts";
import { failureOf } from "../../src/proxy/failures.ts";
import { Pool } from "../../src/proxy/pool.ts";
import { Server } from "../../src/proxy/server.ts";
import { PoolReads } from "../../src/redis/reads.ts";
import { Director } from "../../src/service/director.ts";
import { SentinelKeeper } from "../../src/topology/sentinel.ts";
import type { ServerState } from "../../src/topology/state.ts";
import { HaFailure, runHaSeed } from "./ha_world.ts";

const SEEDS = Number(Deno.env.get("HA_SEEDS") ?? 24);
const FIRST = Number(Deno.env.get("HA_FIRST") ?? 1);
const BATCH = 12;
/** A canary is noticed within so many worlds. */
const SEEDS_MAX = 40;

for (let first = FIRST; first < FIRST + SEEDS; first += BATCH) {
  const last = Math.min(first + BATCH, FIRST + SEEDS) - 1;
  Deno.test(`worlds of failovers ${first} to ${last}`, async () => {
    let switches = 0;
    for (let seed = first; seed <= last; seed++) switches += (await runHaSeed(seed)).switches;
    assert.ok(switches > 0);
  });
}

Deno.test("a seed decides everything in a world of failovers too", async () => {
  assert.deepEqual(await runHaSeed(3), await runHaSeed(3));
});

Deno.test("a reload right before a sentinel says the old address again takes no switch back", async () => {
  await runHaSeed(140_000_111);
});

type Method = (this: any, ...args: any[]) => unknown;

function patch(owner: object, name: string, make: (old: Method) => Method): () => void {
  const methods = owner as Record<string, Method>;
  const old = methods[name]!;
  methods[name] = make(old);
  return () => {
    methods[name] = old;
  };
}

/** Each with what is said of it, so that nothing else is taken for it. */
const CANARIES: readonly { name: string; says: RegExp; plant(): () => void }[] = [
  {
    name: "a switch is followed half a second late: writes after it",
    says: /was executed by .* though all workers know/,
    plant: () =>
      patch(Pool.prototype, "follow", (old) =>
        function (states) {
          this.setTimer(500, () => old.call(this, states));
        }),
  },
  {
    name: "the connections of the old primary go on being used",
    says: /was executed by .* though all workers know|sockets are left/,
    plant() {
      const kept = new WeakMap<Server, Endpoint>();
      const takeBack = [
        patch(Endpoint.prototype, "abandon", () =>
          function () {
            kept.set(this.server, this);
          }),
        patch(Server.prototype, "connection", (old) =>
          function (connectionClass, serial) {
            const before = kept.get(this as unknown as Server);
            return before?.connection(connectionClass, serial) ?? old.call(this, connectionClass, serial);
          }),
      ];
      return () => takeBack.forEach((one) => one());
    },
  },
  {
    name: "whoever has just written reads from any replica",
    says: /although it has written/,
    plant: () => patch(PoolReads.prototype, "mayRead", () => () => true),
  },
  {
    name: "the sentinel that speaks last is believed: two primaries",
    says: /was promoted later/,
    plant() {
      const takeBack = [
        patch(SentinelKeeper.prototype, "saw", (old) =>
          function (node, name, view, cause) {
            const master = this.byName.get(name);
            master.views.clear();
            master.epoch = -1;
            return old.call(this, node, name, view, cause);
          }),
        // It counts terms for itself.
        patch(Director.prototype, "isNews", () => () => true),
      ];
      return () => takeBack.forEach((one) => one());
    },
  },
  {
    name: "a switch is applied once more whenever it is told again",
    says: /is followed again/,
    plant: () =>
      patch(Server.prototype, "follow", (old) =>
        function (state: ServerState) {
          old.call(this, state);
          const { primary } = this as unknown as Server;
          const told = state.primary !== null && primary !== null;
          if (told) {
            this.replace(new Endpoint(this as unknown as Server, state.primary!), failureOf("ESWITCHED"));
          }
        }),
  },
];

for (const canary of CANARIES) {
  Deno.test(`worlds of failovers notice: ${canary.name}`, async () => {
    const takeBack = canary.plant();
    try {
      for (let seed = 1; seed <= SEEDS_MAX; seed++) {
        try {
          await runHaSeed(seed);
        } catch (error) {
          assert.ok(error instanceof HaFailure);
          const why = error.message.split("\n")[0]!;
          if (Deno.env.has("SIM_SHOW")) console.log(`  ${why}`);
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
