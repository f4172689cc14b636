/** What a pool sees of its keys, through either front. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { Around } from "../../src/admin/around.ts";
import { bigKeys, hotKeys } from "../../src/admin/keys.ts";
import type { Proxy } from "../../src/service/proxy.ts";
import { answerText, type QuestionKind } from "../../src/service/questions.ts";
import { CLIENTS_MAX } from "../../src/service/seen.ts";
import { BIG_MIN } from "../../src/stats/big_keys.ts";
import { KEY_KEPT, KEYS_MAX } from "../../src/stats/heavy_hitters.ts";
import { GAP_MIN } from "../../src/stats/draws.ts";
import { concat, latin1, request } from "../lib/bytes.ts";
import { thorough } from "../lib/runs.ts";
import { TurnStand } from "../lib/turn_stand.ts";
import { bodyOf, TURNS } from "../lib/turns.ts";

const plainly = (work: () => void) => work();
/** Enough that chance does not decide; the gaps are the same ones every time. */
const REQUESTS = 20_000;
const BATCH = 500;

async function ask(
  protocol: "redis" | "memcached",
  requests: number,
  make: (n: number) => Uint8Array,
): Promise<TurnStand> {
  const stand = await TurnStand.make(protocol, 2, plainly);
  const client = stand.join();
  for (let n = 0; n < requests; n += BATCH) {
    client.socket.give(concat(Array.from({ length: Math.min(BATCH, requests - n) }, (_, i) => make(n + i))));
    stand.net.run();
    stand.net.pass(10);
  }
  return stand;
}

function hottest(stand: TurnStand): { readonly keys: string[]; readonly total: number } {
  const { keys, total } = stand.pool.seen.hot(3, stand.pool.clock.nowMs());
  return { keys: keys.map(({ key }) => key), total };
}

/** Every second one is for one key, every fourth for another. */
const keyOf = (n: number) => n % 2 === 0 ? "hot" : n % 4 === 1 ? "warm" : `cold:${n}`;

const LOADS: readonly {
  readonly name: string;
  readonly protocol: "redis" | "memcached";
  readonly make: (n: number) => Uint8Array;
  readonly keys: number;
}[] = [
  { name: "GET", protocol: "redis", make: (n) => request("GET", keyOf(n)), keys: 1 },
  { name: "inline GET", protocol: "redis", make: (n) => latin1(`GET ${keyOf(n)}\r\n`), keys: 1 },
  {
    name: "MGET",
    protocol: "redis",
    make: (n) => request("MGET", keyOf(n), keyOf(n + 1), keyOf(n + 2)),
    keys: 3,
  },
  {
    name: "EVAL between PINGs",
    protocol: "redis",
    make: (n) => n % 2 === 0 ? request("PING") : request("EVAL", "return 1", 1, keyOf(n >> 1)),
    keys: 0.5,
  },
  { name: "memcached get", protocol: "memcached", make: (n) => latin1(`get ${keyOf(n)}\r\n`), keys: 1 },
  { name: "memcached mg", protocol: "memcached", make: (n) => latin1(`mg ${keyOf(n)} v\r\n`), keys: 1 },
  {
    name: "memcached get of several",
    protocol: "memcached",
    make: (n) => latin1(`get ${keyOf(n)} ${keyOf(n + 1)} x${n}\r\n`),
    keys: 3,
  },
];

for (const { name, protocol, make, keys } of LOADS) {
  thorough(`hot keys are seen in ${name}`, async () => {
    const stand = await ask(protocol, REQUESTS, make);
    const seen = hottest(stand);
    deepStrictEqual(seen.keys.slice(0, 2), ["hot", "warm"]);
    const wanted = REQUESTS * keys;
    ok(Math.abs(seen.total - wanted) < wanted * 0.25, `${seen.total} of ${wanted}`);
    stand.stop();
  });
}

Deno.test("what a stranger names is not counted", async () => {
  const stand = await TurnStand.make("redis", 1, plainly, "  redis_auth: secret\n");
  const client = stand.join();
  for (let n = 0; n < 100 * GAP_MIN; n++) client.socket.give(request("GET", "mine"));
  stand.net.run();
  strictEqual(stand.pool.seen.holdsBytes, 0);
  stand.stop();
});

Deno.test("keys with large values are seen in requests, largest first, none of many that are small together", async () => {
  const value = (size: number) => "v".repeat(size);
  const requests = [
    request("SET", "small", value(BIG_MIN - 100)),
    request("SET", "large", value(BIG_MIN)),
    request("RPUSH", "list", ...Array.from({ length: 5000 }, () => value(10))),
    request("MSET", "one", value(2 * BIG_MIN), "two", "v"),
    request("MGET", ...Array.from({ length: 2000 }, (_, n) => `some:key:${n}`)),
  ];
  const stand = await ask("redis", requests.length, (n) => requests[n]!);
  deepStrictEqual(
    stand.pool.seen.big(stand.pool.clock.wallMs()).map(({ key, command, side }) => [key, command, side]),
    [["list", "rpush", "request"], ["one", "mset", "request"], ["large", "set", "request"]],
  );
  stand.stop();
});

Deno.test("keys with large values are seen in requests to memcached", async () => {
  const stand = await ask(
    "memcached",
    2,
    (n) => latin1(`set k${n} 0 0 ${n * BIG_MIN}\r\n${"v".repeat(n * BIG_MIN)}\r\n`),
  );
  const [big, ...others] = stand.pool.seen.big(stand.pool.clock.wallMs());
  deepStrictEqual([big?.key, big?.command, others.length], ["k1", "set", 0]);
  stand.stop();
});

Deno.test("hot and big keys of many pools are told, be every key as long as it may be on its way", async () => {
  const key = "\u0001".repeat(KEY_KEPT);
  const hot = {
    total: KEYS_MAX,
    seen: 1,
    floor: 1,
    keys: Array.from({ length: KEYS_MAX }, (_, i) => ({ key, size: 1000 + i, count: 1, error: 1 })),
  };
  const big = {
    keys: hot.keys.slice(0, 64).map(({ key, size }) => ({
      key,
      size,
      bytes: 1,
      atMs: 1,
      command: "get",
      side: "reply",
    })),
  };
  const pools = Array.from(
    { length: 15 },
    (_, i) => ({ config: { name: `pool${i}` }, turn: { now: () => 1 } }),
  );
  const seen = { hot: () => hot, big: () => big.keys };
  const proxy = {
    pools: pools.map((pool) => ({ ...pool, seen, clock: { wallMs: () => 1 } })),
  } as unknown as Proxy;
  const around = {
    clock: { wallMs: () => 1 },
    turns: TURNS,
    config: { pools: pools.map(({ config }) => config) },
    service: {
      board: { workers: 2 },
      async gather(kind: QuestionKind, argument: unknown) {
        const text = await answerText(proxy, kind, argument, TURNS);
        return text === "" ? [] : [{ worker: 0, answer: JSON.parse(text) }];
      },
    },
  } as unknown as Around;
  const asked = { names: {}, query: { pool: "", count: "3" }, body: new Uint8Array(), accept: "" };
  for (const answer of [hotKeys, bigKeys]) {
    const told = JSON.parse(bodyOf(await answer(around, asked))).pools as { name: string; keys: unknown[] }[];
    deepStrictEqual(
      told.map(({ name, keys }) => [name, keys.length]),
      pools.map(({ config }) => [config.name, 3]),
    );
  }
});

thorough("who is connected is told, however long the names are that clients give themselves", async () => {
  const stand = await TurnStand.make("redis", 1, plainly);
  const name = '"'.repeat(4000);
  for (let i = 0; i < 600; i++) {
    stand.join().socket.give(request("CLIENT", "SETNAME", name));
    stand.net.run();
  }
  const proxy = { pools: [stand.pool] } as unknown as Proxy;
  const text = await answerText(proxy, "clients", { pool: null, after: null, count: CLIENTS_MAX }, TURNS);
  const told: { name: string }[] = JSON.parse(text);
  strictEqual(told.filter((client) => client.name === `${name.slice(0, 256)}…`).length, 600);
  stand.stop();
});
