/** Which replicas may be read from: by their own word, their primary's offsets, and how often they have failed. */
import assert from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import { type Log, NOTICE } from "../../src/net/log.ts";
import { judge, PrimaryTrace, readInfo } from "../../src/topology/replica_health.ts";
import { type Asker, ReplicaKeeper } from "../../src/topology/replicas.ts";
import type { EndpointSpec, Keeper, ServerState, Sign } from "../../src/topology/state.ts";
import { ManualClock } from "../lib/manual_clock.ts";

const HISTORY = "a".repeat(40);

interface Said {
  role?: string;
  link?: string;
  io?: number;
  down?: number;
  sync?: number;
  loading?: number;
  offset?: number;
  history?: string;
}

/** INFO of a replica that is well, but for these. */
function replicaInfo(said: Said = {}): string {
  const {
    role = "slave",
    link = "up",
    io = 1,
    down,
    sync = 0,
    loading = 0,
    offset = 100,
    history = HISTORY,
  } = said;
  return [
    "# Replication",
    `role:${role}`,
    "master_host:127.0.0.1",
    "master_port:1",
    `master_link_status:${link}`,
    `master_last_io_seconds_ago:${link === "up" ? io : -1}`,
    `master_sync_in_progress:${sync}`,
    `slave_read_repl_offset:${offset + 1000}`,
    `slave_repl_offset:${offset}`,
    ...down === undefined ? [] : [`master_link_down_since_seconds:${down}`],
    "connected_slaves:0",
    `master_replid:${history}`,
    "master_repl_offset:0",
    "",
    "# Persistence",
    `loading:${loading}`,
    "async_loading:0",
    "",
  ].join("\r\n");
}

function primaryInfo(offset: number, replicas: string[] = [], history = HISTORY): string {
  return [
    "# Replication",
    "role:master",
    `connected_slaves:${replicas.length}`,
    ...replicas,
    `master_replid:${history}`,
    `master_repl_offset:${offset}`,
    "",
  ].join("\r\n");
}

function traceOf(...samples: [atMs: number, offset: number][]): PrimaryTrace {
  const trace = new PrimaryTrace();
  for (const [atMs, offset] of samples) trace.said(readInfo(primaryInfo(offset))!, atMs);
  return trace;
}

const verdict = (
  said: Said | null,
  { trace = traceOf([0, 100]), max = { ms: 10_000 } as { ms: number } | { bytes: number }, nowMs = 0 } = {},
) => judge(said === null ? null : readInfo(replicaInfo(said)), trace, max, nowMs);

Deno.test("a replica is well by its own word alone", () => {
  assert.equal(verdict({}), null);
  assert.equal(verdict({ role: "replica" }), null);
  // Pings come every 10 s.
  assert.equal(verdict({ io: 10 }), null);
  assert.equal(verdict(null), "does not answer");
  assert.equal(verdict({ role: "master" }), "is no replica");
  assert.equal(verdict({ link: "down", down: 1 }), "has no link to its primary");
  assert.equal(verdict({ link: "down", sync: 1, down: 3 }), "is being synchronised");
  assert.equal(verdict({ loading: 1 }), "is loading its data");
  assert.equal(verdict({ io: 40 }), "has not heard of its primary for 40 s");
  assert.equal(verdict({ history: "b".repeat(40) }), "has the data of another primary");
  assert.equal(readInfo("-ERR no such thing"), null);
});

Deno.test("lag in time is counted from the first offset that a replica has not reached", () => {
  const trace = traceOf([0, 100], [1000, 200], [2000, 300], [3000, 300]);
  const max = { ms: 1500 };
  assert.equal(verdict({ offset: 300 }, { trace, max, nowMs: 60_000 }), null);
  assert.equal(verdict({ offset: 200 }, { trace, max, nowMs: 3000 }), null);
  assert.equal(verdict({ offset: 199 }, { trace, max, nowMs: 3000 }), "lags 2 s");
  assert.equal(verdict({ offset: 50 }, { trace, max, nowMs: 3000 }), "lags 3 s");
  // Another history begins anew.
  trace.said(readInfo(primaryInfo(10, [], "b".repeat(40)))!, 4000);
  assert.equal(verdict({ offset: 10, history: "b".repeat(40) }, { trace, max, nowMs: 9000 }), null);
});

Deno.test("lag in bytes is counted from the last offset of the primary", () => {
  const trace = traceOf([0, 100], [1000, 5000]);
  assert.equal(verdict({ offset: 4000 }, { trace, max: { bytes: 1000 }, nowMs: 99_000 }), null);
  assert.equal(verdict({ offset: 3999 }, { trace, max: { bytes: 1000 } }), "lags 1001 bytes");
});

Deno.test("while the primary does not answer a replica is read from for as long as it may lag", () => {
  const trace = traceOf([0, 100]);
  trace.silent();
  assert.equal(verdict({ link: "down", down: 9 }, { trace }), null);
  assert.equal(verdict({ link: "down", down: 11 }, { trace }), "has no link to its primary");
  // It has not had a link since it was started: who knows how old its data is.
  assert.equal(verdict({ link: "down", down: -1 }, { trace }), "has no link to its primary");
  assert.equal(verdict({ link: "down", down: 1, sync: 1 }, { trace }), "is being synchronised");
  assert.equal(verdict({ io: 9 }, { trace, nowMs: 9000 }), null);
  assert.equal(verdict({ io: 12 }, { trace, nowMs: 12_000 }), "lags 12 s");
  assert.equal(verdict({ io: 12 }, { trace, max: { bytes: 5 } }), "lags 12 s");
});

Deno.test("a primary's INFO names its replicas, in IPv6 too", () => {
  const said = readInfo(primaryInfo(1, [
    "slave0:ip=10.0.0.1,port=6379,state=online,offset=1,lag=0",
    "slave1:ip=::1,port=6380,state=wait_bgsave,offset=0,lag=0,type=replica",
  ]))!;
  assert.deepEqual(said.replicas, ["10.0.0.1:6379", "[::1]:6380"]);
  assert.equal(said.master, true);
});

/** Servers that say what they are told to, a keeper that asks them, and what it has said. */
class Stand {
  readonly clock = new ManualClock();
  readonly says = new Map<string, string | null>();
  readonly asked = new Map<string, number>();
  /** Of the last question. */
  sections: readonly string[] = [];
  open = 0;
  readonly states: ServerState[] = [];
  readonly keeper: ReplicaKeeper;
  readonly logged: string[] = [];

  constructor(
    keys: string,
    inner: Keeper | null = null,
    known = new Map<string, ServerState>(),
    { readFrom = "prefer_replica", process = "{}", named = [] as readonly EndpointSpec[] } = {},
  ) {
    const yml =
      `ringmaster: ${process}\np:\n  listen: 127.0.0.1:1\n  redis: true\n  read_from: ${readFrom}\n${keys}`;
    const config = parseConfig(yml, "test.yml");
    const pool = config.pools[0]!;
    const log = {
      level: NOTICE,
      write: (_: number, text: string) => void this.logged.push(text),
    } satisfies Log;
    this.keeper = new ReplicaKeeper(
      {
        // As the source of a cluster has it, which names replicas.
        pool: {
          ...pool,
          servers: pool.servers.map((server) => named.length > 0 ? { ...server, replicas: named } : server),
        },
        net: null!,
        clock: this.clock,
        random: () => 0.5,
        log,
        zones: config.process.zones ?? [],
        known,
        event: () => {},
      },
      inner,
      (_address, text): Asker => {
        let closed = false;
        this.open++;
        return {
          info: (sections, told) => {
            this.sections = sections;
            this.asked.set(text, (this.asked.get(text) ?? 0) + 1);
            this.clock.setTimer(1, () => {
              if (!closed) told(this.says.get(text) ?? null);
            });
          },
          close: () => {
            this.open--;
            closed = true;
          },
        };
      },
    );
  }

  start(): void {
    this.keeper.start((states) => void this.states.push(...states));
  }

  get replicas(): string[] | undefined {
    return this.states.at(-1)?.replicas.map(({ text }) => text);
  }
}

const ONE = `  servers:
    - { address: 127.0.0.1:10, name: a, replicas: [ 127.0.0.1:12, { address: 127.0.0.1:11, zone: z } ] }
`;

Deno.test("replicas of the file are read from when they are well, in its order, and no longer", async () => {
  const stand = new Stand(ONE);
  stand.says.set("127.0.0.1:10", primaryInfo(100));
  stand.says.set("127.0.0.1:11", replicaInfo());
  stand.says.set("127.0.0.1:12", replicaInfo({ loading: 1 }));
  stand.start();
  assert.equal(stand.states.length, 0);
  await stand.clock.pass(50);
  assert.deepEqual(stand.replicas, ["127.0.0.1:11"]);
  assert.deepEqual(stand.states.at(-1)!.replicas[0]!.zone, "z");
  assert.equal(stand.states.at(-1)!.primary!.text, "127.0.0.1:10");
  stand.says.set("127.0.0.1:12", replicaInfo());
  await stand.clock.pass(1100);
  assert.deepEqual(stand.replicas, ["127.0.0.1:12", "127.0.0.1:11"]);
  stand.says.set("127.0.0.1:11", null);
  await stand.clock.pass(1100);
  assert.deepEqual(stand.replicas, ["127.0.0.1:12"]);
  assert.match(stand.logged.at(-1)!, /replica 127\.0\.0\.1:11 is not read from: it does not answer/);
  stand.keeper.stop();
  assert.equal(stand.open, 0);
  assert.equal(stand.clock.pending, 0);
});

Deno.test("how each replica is, and how far behind, is told of those too that are not read from", async () => {
  const stand = new Stand(ONE);
  stand.says.set("127.0.0.1:10", primaryInfo(100));
  stand.says.set("127.0.0.1:11", replicaInfo({ offset: 100 }));
  stand.says.set("127.0.0.1:12", replicaInfo({ offset: 40, loading: 1 }));
  stand.start();
  const health = (address: string) => stand.keeper.health("a").find((each) => each.address === address);
  assert.deepEqual(health("127.0.0.1:12"), {
    address: "127.0.0.1:12",
    well: false,
    why: "",
    lagBytes: -1,
    lagMs: -1,
  });
  await stand.clock.pass(50);
  assert.deepEqual(stand.keeper.health("a").map(({ address }) => address), [
    "127.0.0.1:12",
    "127.0.0.1:11",
  ]);
  assert.deepEqual(
    [health("127.0.0.1:11")!.well, health("127.0.0.1:11")!.lagBytes, health("127.0.0.1:11")!.lagMs],
    [true, 0, 0],
  );
  assert.equal(health("127.0.0.1:12")!.why, "is loading its data");
  assert.equal(health("127.0.0.1:12")!.lagBytes, 60);
  assert.ok(health("127.0.0.1:12")!.lagMs >= 0);
  // One that does not answer, or has another history, is not so many bytes behind.
  stand.says.set("127.0.0.1:11", null);
  stand.says.set("127.0.0.1:12", replicaInfo({ offset: 40, history: "b".repeat(40) }));
  await stand.clock.pass(1100);
  assert.deepEqual(stand.keeper.health("a").map(({ well, lagBytes }) => [well, lagBytes]), [
    [false, -1],
    [false, -1],
  ]);
  assert.deepEqual(stand.keeper.health("b"), []);
  stand.keeper.stop();
});

Deno.test("a replica that comes and goes has to be well for longer each time", async () => {
  const stand = new Stand(ONE);
  stand.says.set("127.0.0.1:10", primaryInfo(100));
  stand.says.set("127.0.0.1:11", replicaInfo());
  stand.says.set("127.0.0.1:12", replicaInfo());
  stand.start();
  await stand.clock.pass(50);
  for (let i = 0; i < 300; i++) {
    stand.says.set("127.0.0.1:11", i % 2 === 0 ? null : replicaInfo());
    await stand.clock.pass(1000);
  }
  // The first failure, no proof of two rounds.
  assert.ok(stand.states.length <= 4, `${stand.states.length} states`);
  stand.says.set("127.0.0.1:11", replicaInfo());
  await stand.clock.pass(40_000);
  assert.deepEqual(stand.replicas, ["127.0.0.1:12", "127.0.0.1:11"]);
  stand.keeper.stop();
});

Deno.test("hints make it look at once, but not oftener than ten times a second", async () => {
  const stand = new Stand(ONE);
  stand.says.set("127.0.0.1:10", primaryInfo(100));
  stand.says.set("127.0.0.1:11", replicaInfo());
  stand.says.set("127.0.0.1:12", replicaInfo());
  stand.start();
  await stand.clock.pass(500);
  stand.says.set("127.0.0.1:12", null);
  stand.keeper.hint("a", "replica failed");
  await stand.clock.pass(10);
  assert.deepEqual(stand.replicas, ["127.0.0.1:11"]);
  const before = stand.asked.get("127.0.0.1:12")!;
  for (let i = 0; i < 100; i++) {
    stand.keeper.hint("a", "replica failed");
    await stand.clock.pass(1);
  }
  assert.ok(stand.asked.get("127.0.0.1:12")! - before <= 2);
  stand.keeper.stop();
});

Deno.test("replicas that nobody names are learned from the primary, and asked themselves", async () => {
  const stand = new Stand("  servers:\n    - 127.0.0.1:10:1 a\n");
  stand.says.set(
    "127.0.0.1:10",
    primaryInfo(100, ["slave0:ip=127.0.0.1,port=13,state=online,offset=100,lag=0"]),
  );
  // What the primary says of it is not true.
  stand.says.set("127.0.0.1:13", replicaInfo({ loading: 1 }));
  stand.start();
  await stand.clock.pass(50);
  assert.deepEqual(stand.replicas ?? [], []);
  stand.says.set("127.0.0.1:13", replicaInfo());
  await stand.clock.pass(1100);
  assert.deepEqual(stand.replicas, ["127.0.0.1:13"]);
  // The primary does not name it any more: it is still well.
  stand.says.set("127.0.0.1:10", primaryInfo(100));
  await stand.clock.pass(120_000);
  assert.deepEqual(stand.replicas, ["127.0.0.1:13"]);
  stand.says.set("127.0.0.1:13", null);
  await stand.clock.pass(2_000);
  assert.deepEqual(stand.replicas, []);
  // The primary's only.
  assert.equal(stand.open, 1);
  stand.keeper.stop();
});

class Inner implements Keeper {
  said: (states: readonly ServerState[]) => void = () => {};
  readonly hints: string[] = [];
  start(changed: (states: readonly ServerState[]) => void): void {
    this.said = changed;
  }
  hint(server: string, sign: Sign): void {
    this.hints.push(`${server}: ${sign}`);
  }
  stop(): void {
    this.hints.push("stopped");
  }
}

const at = (port: number): EndpointSpec => ({
  address: { host: "127.0.0.1", port },
  text: `127.0.0.1:${port}`,
  zone: null,
});

Deno.test("around another keeper: its primary is told at once, and old replicas only when they follow the new one", async () => {
  const inner = new Inner();
  const stand = new Stand("  servers:\n    - 127.0.0.1:10:1 a\n", inner);
  const say = (term: number, primary: number | null, replicas: number[]) =>
    inner.said([{
      server: "a",
      term,
      primary: primary === null ? null : at(primary),
      replicas: replicas.map(at),
      cause: `term ${term}`,
      why: primary === null ? "nobody knows" : "",
    }]);
  stand.says.set("127.0.0.1:10", primaryInfo(100));
  stand.says.set("127.0.0.1:11", replicaInfo());
  stand.says.set("127.0.0.1:12", replicaInfo());
  stand.start();
  say(1, 10, [11, 12]);
  assert.deepEqual(stand.replicas, []);
  await stand.clock.pass(10);
  assert.deepEqual(stand.replicas, ["127.0.0.1:11", "127.0.0.1:12"]);
  // 11 is promoted: 12 still follows the old primary, which still answers.
  stand.says.set("127.0.0.1:11", primaryInfo(150, [], "b".repeat(40)));
  say(2, 11, [12, 10]);
  assert.equal(stand.states.at(-1)!.primary!.text, "127.0.0.1:11");
  assert.equal(stand.states.at(-1)!.term, 2);
  assert.deepEqual(stand.replicas, []);
  await stand.clock.pass(3000);
  assert.deepEqual(stand.replicas, []);
  stand.says.set("127.0.0.1:12", replicaInfo({ offset: 150, history: "b".repeat(40) }));
  stand.says.set("127.0.0.1:10", replicaInfo({ offset: 150, history: "b".repeat(40) }));
  await stand.clock.pass(1100);
  assert.deepEqual(stand.replicas, ["127.0.0.1:10", "127.0.0.1:12"]);
  // RESET: the list is empty, the replicas are not.
  say(2, 11, []);
  await stand.clock.pass(3000);
  assert.deepEqual(stand.replicas, ["127.0.0.1:10", "127.0.0.1:12"]);
  say(2, null, []);
  assert.equal(stand.states.at(-1)!.primary, null);
  assert.equal(stand.states.at(-1)!.why, "nobody knows");
  stand.keeper.hint("a", "not a primary");
  stand.keeper.stop();
  assert.deepEqual(inner.hints, ["a: not a primary", "stopped"]);
});

Deno.test("a keeper that takes over goes on with the replicas that were well", async () => {
  const known: ServerState = {
    server: "a",
    term: 0,
    primary: at(10),
    replicas: [at(12)],
    cause: "",
    why: "",
  };
  const stand = new Stand(ONE, null, new Map([["a", known]]));
  stand.says.set("127.0.0.1:10", primaryInfo(100));
  stand.says.set("127.0.0.1:11", null);
  stand.says.set("127.0.0.1:12", replicaInfo());
  stand.start();
  await stand.clock.pass(50);
  assert.ok(stand.states.every((state) => state.replicas.length === 1));
  stand.keeper.stop();
});

const NAMED: readonly (readonly [string, string, string])[] = [
  ["the cluster", "127.0.0.1:10", "  cluster: true\n  servers: [127.0.0.1:10]\n"],
  ["the file", "a", "  servers: [127.0.0.1:10:1 a]\n"],
];
for (const [who, server, yml] of NAMED) {
  Deno.test(`a keeper that takes over leaves out replicas that ${who} does not name any more, or names otherwise`, async () => {
    const replicas = [at(11), at(12)];
    const known: ServerState = { server, term: 0, primary: at(10), replicas, cause: "", why: "" };
    const stand = new Stand(yml, null, new Map([[server, known]]), { named: [at(11)] });
    stand.says.set("127.0.0.1:10", primaryInfo(100));
    for (const port of [11, 12]) stand.says.set(`127.0.0.1:${port}`, replicaInfo());
    stand.start();
    await stand.clock.pass(5000);
    assert.deepEqual(stand.replicas, ["127.0.0.1:11"]);
    assert.equal(stand.asked.get("127.0.0.1:12"), undefined);
    stand.keeper.stop();
  });
}

// ---- zones

const NEAREST = {
  readFrom: "nearest",
  process: "{ zone: z, zones: { east: [ 127.0.0.2 ], north: [ n.test ] } }",
};
const inZone = (info: string, zone: string) => `${info}# Server\r\navailability_zone:${zone}\r\n`;
const zonesOf = ({ primary, replicas }: ServerState) =>
  Object.fromEntries([primary!, ...replicas].map(({ text, zone }) => [text, zone]));

Deno.test("a replica stands where the file says, else in the zone of its address, else where it says itself", async () => {
  const stand = new Stand(
    `  servers:
    - { address: 127.0.0.1:10, name: a, replicas: [ 127.0.0.1:11, 127.0.0.2:12, { address: 127.0.0.2:13, zone: z }, N.test:14 ] }
`,
    null,
    undefined,
    NEAREST,
  );
  stand.says.set("127.0.0.1:10", inZone(primaryInfo(100), "p"));
  for (const text of ["127.0.0.1:11", "127.0.0.2:12", "127.0.0.2:13", "N.test:14"]) {
    stand.says.set(text, inZone(replicaInfo(), "own"));
  }
  stand.start();
  await stand.clock.pass(50);
  assert.deepEqual(stand.sections, ["replication", "persistence", "server"]);
  assert.deepEqual(zonesOf(stand.states.at(-1)!), {
    "127.0.0.1:10": "p",
    "127.0.0.1:11": "own",
    "127.0.0.2:12": "east",
    "127.0.0.2:13": "z",
    "N.test:14": "north",
  });
  // It is set there, or another process: workers are told once.
  const told = stand.states.length;
  stand.says.set("127.0.0.1:11", inZone(replicaInfo(), "other"));
  await stand.clock.pass(1100);
  assert.equal(zonesOf(stand.states.at(-1)!)["127.0.0.1:11"], "other");
  assert.match(stand.states.at(-1)!.cause, /127.0.0.1:11 stands in zone other/);
  await stand.clock.pass(5000);
  assert.equal(stand.states.length, told + 1);
  // What is no word is not believed, and what is not said any more does not count.
  stand.says.set("127.0.0.1:11", inZone(replicaInfo(), "a b,c=d"));
  stand.says.set("127.0.0.1:10", primaryInfo(100));
  await stand.clock.pass(1100);
  const last = zonesOf(stand.states.at(-1)!);
  assert.deepEqual([last["127.0.0.1:10"], last["127.0.0.1:11"]], [null, null]);
  stand.keeper.stop();
});

Deno.test("zones of servers that sentinels name: by address, by their word, then that of the name; they survive a reload", async () => {
  const inner = new Inner();
  const servers =
    "  failover: sentinel\n  sentinels: [127.0.0.1:1]\n  servers: [{ name: a, master: a, zone: home }]\n";
  const stand = new Stand(servers, inner, undefined, NEAREST);
  stand.says.set("127.0.0.1:10", primaryInfo(100));
  stand.says.set("127.0.0.1:11", inZone(replicaInfo(), "own"));
  stand.says.set("127.0.0.1:12", replicaInfo());
  stand.start();
  const said: ServerState = {
    server: "a",
    term: 1,
    primary: at(10),
    replicas: [at(11), at(12)],
    cause: "sentinel",
    why: "",
  };
  inner.said([said]);
  await stand.clock.pass(50);
  const expected = { "127.0.0.1:10": "home", "127.0.0.1:11": "own", "127.0.0.1:12": "home" };
  assert.deepEqual(zonesOf(stand.states.at(-1)!), expected);
  stand.keeper.stop();
  const next = new Inner();
  const again = new Stand(servers, next, new Map([["a", stand.states.at(-1)!]]), NEAREST);
  again.start();
  next.said([said]);
  assert.deepEqual(zonesOf(again.states[0]!), expected);
  again.keeper.stop();
});

Deno.test("who does not read from the nearest is not asked where it stands", async () => {
  const stand = new Stand(ONE);
  stand.says.set("127.0.0.1:10", primaryInfo(100));
  stand.start();
  await stand.clock.pass(50);
  assert.deepEqual(stand.sections, ["replication", "persistence"]);
  stand.keeper.stop();
});
