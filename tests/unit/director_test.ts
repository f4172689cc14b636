/** From what keepers say to what workers are told, and back from what these have seen. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { Config } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import type { Net } from "../../src/net/net.ts";
import { Director } from "../../src/service/director.ts";
import type { EventsSeen } from "../../src/topology/events.ts";
import type { ServerState } from "../../src/topology/state.ts";
import { endpoint, ScriptedKeeper, state } from "../lib/scripted_keeper.ts";
import { SimClock } from "../sim/clock.ts";

/** @param servers of the pool alpha, which has a keeper */
function configOf(servers: readonly string[], more = "", others = ""): Config {
  const lines = servers.map((name) => `    - {name: ${name}, master: ${name}}\n`).join("");
  return parseConfig(
    `alpha:\n  listen: 127.0.0.1:1\n  redis: true\n  failover: sentinel\n  sentinels: [127.0.0.1:26379]\n` +
      `${more}  servers:\n${lines}beta:\n  listen: 127.0.0.1:2\n  redis: true\n  servers: [10.0.0.9:6379:1]\n${others}`,
    "director.yml",
  );
}

class Stand {
  readonly clock = new SimClock();
  /** All that have been made. */
  readonly keepers: ScriptedKeeper[] = [];
  /** What workers have been told: "pool server@term primary". */
  readonly told: string[] = [];
  seen: EventsSeen | null = null;
  readonly director: Director;
  ready = false;
  /** What whoever says which servers there are has been told. */
  readonly hinted: string[] = [];

  constructor(config = configOf(["m1", "m2"])) {
    this.director = new Director({
      config,
      net: {} as Net,
      clock: this.clock,
      random: () => 0.5,
      log: { level: 0, write: () => {} },
      hint: ({ name }, ...seen) => this.hinted.push([name, ...seen].join(" ")),
      keeperOf: (around) => {
        const { failover, cluster, readFrom } = around.pool;
        if (failover === "none" && !cluster && readFrom === "primary") return null;
        const keeper = new ScriptedKeeper(around);
        this.keepers.push(keeper);
        return keeper;
      },
    });
    void this.director.start({
      follow: (pool, states) => this.told.push(...states.map((each) => `${pool} ${shown(each)}`)),
      tellEvents: (seen) => this.seen = seen,
    }).then(() => this.ready = true);
  }

  get keeper(): ScriptedKeeper {
    return this.keepers.at(-1)!;
  }

  take(): string[] {
    return this.told.splice(0);
  }

  /** "kind server". */
  get events(): string[] {
    return this.director.events.latest().map(({ kind, server }) => `${kind} ${server}`);
  }
}

const shown = ({ server, term, primary }: ServerState) => `${server}@${term} ${primary?.text ?? "none"}`;
const settled = () => new Promise<void>((resolve) => setTimeout(resolve, 0));

Deno.test("Director starts when it is known where all servers are", async () => {
  const stand = new Stand();
  strictEqual(stand.keepers.length, 1);
  stand.keeper.say(state("m1", 1, "10.0.0.1:6379"));
  await settled();
  strictEqual(stand.ready, false);
  stand.keeper.say(state("m2", 1, "10.0.0.2:6379"));
  await settled();
  strictEqual(stand.ready, true);
  deepStrictEqual(stand.take(), ["alpha m1@1 10.0.0.1:6379", "alpha m2@1 10.0.0.2:6379"]);
  deepStrictEqual([...stand.director.states()].map(([pool, states]) => `${pool} ${states.map(shown)}`), [
    "alpha m1@1 10.0.0.1:6379,m2@1 10.0.0.2:6379",
  ]);
});

Deno.test("Director starts after a second although nobody says where servers are", async () => {
  const stand = new Stand();
  stand.clock.run(999);
  await settled();
  strictEqual(stand.ready, false);
  stand.clock.run(1000);
  await settled();
  strictEqual(stand.ready, true);
});

Deno.test("Director passes a state on once, and no old ones", () => {
  const stand = new Stand();
  const { keeper } = stand;
  keeper.say(state("m1", 3, "10.0.0.1:6379"));
  keeper.say(state("m1", 3, "10.0.0.1:6379"));
  keeper.say(state("m1", 2, "10.0.0.7:6379"));
  deepStrictEqual(stand.take(), ["alpha m1@3 10.0.0.1:6379"]);
  keeper.say(state("m1", 4, "10.0.0.2:6379"), state("m2", 1, "10.0.0.3:6379"));
  deepStrictEqual(stand.take(), ["alpha m1@4 10.0.0.2:6379", "alpha m2@1 10.0.0.3:6379"]);
  keeper.say(
    state("m1", 4, "10.0.0.2:6379", {
      replicas: [keeper.around.pool.sentinels[0]!].map((s) => ({ ...s, zone: null })),
    }),
  );
  deepStrictEqual(stand.take(), ["alpha m1@4 10.0.0.2:6379"]);
  deepStrictEqual(stand.events, ["switched m1"]);
});

Deno.test("Director: a primary that is lost and found is down and returned, or switched", () => {
  const stand = new Stand();
  const { keeper } = stand;
  keeper.say(state("m1", 1, "10.0.0.1:6379"));
  keeper.say(state("m1", 2, null));
  keeper.say(state("m1", 3, "10.0.0.1:6379"));
  keeper.say(state("m1", 4, null));
  stand.clock.run(250);
  keeper.say(state("m1", 5, "10.0.0.2:6379"));
  deepStrictEqual(stand.events, ["down m1", "returned m1", "down m1", "switched m1"]);
  strictEqual(stand.director.events.seen.last!.durationMs, 250);
  strictEqual(stand.seen!.count, 4);
});

Deno.test("Director: what workers see reaches the keeper, not too often, and the events", () => {
  const stand = new Stand();
  const { director, keeper, clock } = stand;
  for (let i = 0; i < 10; i++) director.sign("alpha", "m1", "primary unreachable", "Connection refused");
  director.sign("alpha", "m2", "not a primary", "its ROLE says slave");
  director.sign("beta", "10.0.0.9:6379", "ejected", "server_failure_limit");
  director.sign("beta", "10.0.0.9:6379", "returned", "it answers again");
  deepStrictEqual(keeper.hints, ["m1 primary unreachable", "m2 not a primary"]);
  clock.run(50);
  director.sign("alpha", "m1", "primary unreachable", "Connection refused");
  director.sign("alpha", "m1", "primary answers", "");
  deepStrictEqual(keeper.hints.slice(2), ["m1 primary unreachable", "m1 primary answers"]);
  deepStrictEqual(stand.events, [
    "down m1",
    "ejected 10.0.0.9:6379",
    "returned 10.0.0.9:6379",
    "returned m1",
  ]);
});

Deno.test("Director: a reload leaves a keeper alone if nothing of it is different", () => {
  const stand = new Stand();
  stand.keeper.say(state("m1", 1, "10.0.0.1:6379"));
  const moved = configOf(["m1", "m2"]);
  const pools = moved.pools.map((pool) => ({ ...pool, listenText: "127.0.0.1:7" }));
  stand.director.adopt({ ...moved, pools }, "SIGHUP");
  // Nor what workers alone look at.
  stand.director.adopt({
    ...moved,
    pools: moved.pools.map((pool) => ({ ...pool, timeoutMs: 7, preconnect: true })),
  }, "SIGHUP");
  strictEqual(stand.keepers.length, 1);
  ok(!stand.keeper.stopped);
  deepStrictEqual(stand.events, ["reload ", "reload "]);
});

Deno.test("Director: a new keeper goes on where the one before has stopped, and terms with it", () => {
  const stand = new Stand();
  const first = stand.keeper;
  first.say(state("m1", 7, "10.0.0.1:6379"), state("m2", 7, "10.0.0.2:6379"));
  stand.take();
  stand.director.adopt(configOf(["m1", "m3"]), "SIGHUP");
  const second = stand.keeper;
  ok(first.stopped && second !== first && second.started);
  deepStrictEqual([...second.around.known.keys()], ["m1"]);
  // Workers that have a new server of that name are told what is known.
  deepStrictEqual(stand.take(), ["alpha m1@7 10.0.0.1:6379"]);
  first.say(state("m1", 9, "10.0.0.9:6379"));
  second.say(state("m1", 1, "10.0.0.1:6379", { cause: "start" }), state("m3", 1, "10.0.0.3:6379"));
  deepStrictEqual(stand.take(), ["alpha m1@7 10.0.0.1:6379", "alpha m3@1 10.0.0.3:6379"]);
  second.say(state("m1", 2, "10.0.0.4:6379"));
  deepStrictEqual(stand.take(), ["alpha m1@8 10.0.0.4:6379"]);
  stand.director.adopt(configOf(["m1"]), "SIGHUP");
  stand.keeper.say(state("m1", 1, "10.0.0.5:6379"));
  deepStrictEqual(stand.take(), ["alpha m1@8 10.0.0.4:6379", "alpha m1@9 10.0.0.5:6379"]);
});

Deno.test("Director: another primary is told in a new term, also by a keeper that has known nobody at first", () => {
  const stand = new Stand();
  for (const term of [0, 7]) {
    stand.keeper.say(state("m1", 7, "10.0.0.1:6379"));
    stand.keeper.say(state("m1", 7, null));
    // A reload while there is none.
    stand.director.adopt(configOf(["m1", "m2"], `  max_lag: ${term + 1}s\n`), "SIGHUP");
    stand.take();
    stand.keeper.say(state("m1", term, null, { why: "nobody has answered yet" }));
    stand.keeper.say(state("m1", term, "10.0.0.2:6379"));
    stand.keeper.say(state("m1", term, null));
    stand.keeper.say(state("m1", term, "10.0.0.2:6379"));
    stand.keeper.say(state("m1", term + 1, "10.0.0.3:6379"));
    const [first, ...others] = stand.take().map((each) => /@(\d+) (.*)/.exec(each)!.slice(1));
    const now = Number(first![0]);
    deepStrictEqual([first, ...others], [
      [`${now}`, "none"],
      [`${now + 1}`, "10.0.0.2:6379"],
      [`${now + 1}`, "none"],
      [`${now + 1}`, "10.0.0.2:6379"],
      [`${now + 2}`, "10.0.0.3:6379"],
    ]);
    stand.director.adopt(configOf(["m2"]), "SIGHUP");
    stand.director.adopt(configOf(["m1", "m2"]), "SIGHUP");
  }
});

Deno.test("Director: where a server was under another master is not where it is", () => {
  const named = (master: string) => {
    const config = configOf(["m1", "m2"]);
    const pools = config.pools.map((pool) => ({
      ...pool,
      servers: pool.servers.map((server) => server.name === "m1" ? { ...server, master } : server),
    }));
    return { ...config, pools };
  };
  const stand = new Stand();
  const { director } = stand;
  stand.keeper.say(state("m1", 3, "10.0.0.1:6379"), state("m2", 3, "10.0.0.2:6379"));
  stand.take();
  director.adopt(named("other"), "SIGHUP");
  // Requests wait for word of it, and nobody takes up what was known.
  deepStrictEqual(stand.take(), ["alpha m1@4 none", "alpha m2@3 10.0.0.2:6379"]);
  const { known } = stand.keeper.around;
  deepStrictEqual([...known.values()].map(shown), ["m1@4 none", "m2@3 10.0.0.2:6379"]);
  ok(known.get("m1")!.waitMs! > 0);
  director.adopt(named("another"), "SIGHUP");
  deepStrictEqual(stand.take(), ["alpha m1@5 none", "alpha m2@3 10.0.0.2:6379"]);
  deepStrictEqual(stand.events, ["reload ", "reload "]);
  stand.keeper.say(state("m1", 5, null, { why: "no sentinel knows a master 'another'" }));
  deepStrictEqual(stand.take(), ["alpha m1@5 none"]);
  deepStrictEqual(stand.events, ["reload ", "reload ", "down m1"]);
  director.adopt(named("m1"), "SIGHUP");
  stand.keeper.say(state("m1", 1, "10.0.0.3:6379"));
  deepStrictEqual(stand.take().slice(-1), ["alpha m1@7 10.0.0.3:6379"]);
  deepStrictEqual(stand.events.slice(3), ["reload ", "switched m1"]);
});

Deno.test("Director: without failover a server is where the file says, whatever was known of it", () => {
  const at = (address: string) =>
    parseConfig(
      `alpha:\n  listen: 127.0.0.1:1\n  redis: true\n  read_from: replica\n  servers: [ "${address}:1 m1" ]\n`,
      "director.yml",
    );
  const stand = new Stand();
  const { director } = stand;
  stand.keeper.say(state("m1", 3, "10.0.0.1:6379", { replicas: [endpoint("10.0.0.2:6379")] }));
  stand.take();
  director.adopt(at("10.0.0.5:6379"), "SIGHUP");
  deepStrictEqual(stand.take(), ["alpha m1@4 10.0.0.5:6379"]);
  deepStrictEqual(stand.keeper.around.known.get("m1")!.replicas, []);
  stand.keeper.say(state("m1", 0, "10.0.0.5:6379", { replicas: [endpoint("10.0.0.6:6379")] }));
  deepStrictEqual(stand.take().map((line) => line.split(" ")[2]), ["10.0.0.5:6379"]);
  // The same file but for something that the keeper looks at.
  const { process, pools } = at("10.0.0.5:6379");
  director.adopt({ process, pools: [{ ...pools[0]!, maxLag: { ms: 1 } }] }, "SIGHUP");
  deepStrictEqual(stand.keeper.around.known.get("m1")!.replicas.map(({ text }) => text), ["10.0.0.6:6379"]);
  stand.take();
  director.adopt(at("10.0.0.7:6379"), "SIGHUP");
  deepStrictEqual(stand.take().map((line) => line.split(" ")[2]), ["10.0.0.7:6379"]);
  deepStrictEqual([...director.states().get("alpha")!].map(({ primary }) => primary!.text), [
    "10.0.0.7:6379",
  ]);
});

Deno.test("Director: keepers of pools that go are stopped, and all at the end", async () => {
  const stand = new Stand();
  const { keeper } = stand;
  const { pools, process } = configOf(["m1", "m2"]);
  stand.director.adopt({ process, pools: pools.filter(({ name }) => name !== "alpha") }, "SIGHUP");
  ok(keeper.stopped);
  deepStrictEqual([...stand.director.states()], []);
  stand.director.sign("alpha", "m1", "not a primary", "late");
  deepStrictEqual(keeper.hints, []);
  stand.director.adopt({ process, pools }, "SIGHUP");
  stand.director.stop();
  ok(stand.keeper.stopped);
  stand.keeper.say(state("m1", 1, "10.0.0.1:6379"));
  deepStrictEqual(stand.take(), []);
  await settled();
  strictEqual(stand.ready, true);
});

Deno.test("Director: what workers see of a cluster reaches whoever says who owns what, not too often", () => {
  const { director, clock, hinted, keepers } = new Stand(CLUSTER);
  strictEqual(keepers.length, 1);
  for (let i = 0; i < 10; i++) director.sign("alpha", "h:1", "moved", "MOVED 7 h:2");
  director.sign("alpha", "h:2", "moved", "MOVED 8 h:1");
  deepStrictEqual(hinted, ["alpha h:1 moved", "alpha h:2 moved"]);
  clock.run(50);
  director.sign("alpha", "h:1", "moved", "MOVED 7 h:2");
  strictEqual(hinted.length, 3);
  deepStrictEqual(director.events.latest(), []);
});

Deno.test("Director: slots that move leave a cluster's keeper alone; a node that comes does not", () => {
  const { director, keepers } = new Stand(CLUSTER);
  const [pool] = CLUSTER.pools;
  const owning = (...slots: string[]) => {
    const servers = slots.map((each, i) => ({ ...pool!.servers[i]!, slots: each }));
    return { ...CLUSTER, pools: [{ ...pool!, servers }] };
  };
  director.adopt(owning("0-99", "100-16383"), "slots 0-99 move", "alpha");
  director.adopt(owning("0-98", "99-16383"), "slot 99 moves", "alpha");
  strictEqual(keepers.length, 1);
  deepStrictEqual(director.events.latest().map(({ text }) => text), ["pool 'alpha' slots: slot 99 moves"]);
  director.adopt(owning("0-16383"), "slots 99-16383 move", "alpha");
  strictEqual(keepers.length, 2);
});

Deno.test("Director: a node of a cluster that was down has been switched when another has its slots", () => {
  const { director, clock } = new Stand(CLUSTER);
  const [pool] = CLUSTER.pools;
  director.sign("alpha", "h:1", "primary unreachable", "Connection refused");
  clock.run(3000);
  const servers = [{ ...pool!.servers[1]!, slots: "100-16383" }, {
    ...pool!.servers[0]!,
    name: "h:3",
    heirOf: "h:1",
  }];
  for (let i = 0; i < 2; i++) {
    director.adopt({ ...CLUSTER, pools: [{ ...pool!, servers }] }, "slots 0-99 move", "alpha");
  }
  const told = director.events.latest().map(({ text, durationMs }) => `${text} ${durationMs}`);
  deepStrictEqual(told.filter((each) => !each.includes(" slots:")), [
    "pool 'alpha' server 'h:1' down: Connection refused 0",
    "pool 'alpha' server 'h:1' switched: h:3 has its slots 3000",
  ]);
});

const CLUSTER = parseConfig(
  "alpha: { listen: 127.0.0.1:1, redis: true, cluster: true, read_from: any, servers: [h:1, h:2] }",
  "director.yml",
);
