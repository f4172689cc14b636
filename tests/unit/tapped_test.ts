/** Requests that are told to who listens: which, how many, what of them is hidden, and what a slow listener loses. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { Gathering } from "../../src/service/questions.ts";
import { sampleLine } from "../../src/stats/sample_line.ts";
import { Tapping } from "../../src/service/tapping.ts";
import { KEPT, LEASE_MS, matches, type Sample, Tap, type TapFilter } from "../../src/stats/tapped.ts";
import { REQUESTS_TOTAL } from "../../src/stats/metrics.ts";
import { ManualClock } from "../lib/manual_clock.ts";
import { Random } from "../lib/random.ts";
import { concat, latin1, request } from "../lib/bytes.ts";
import { TurnStand } from "../lib/turn_stand.ts";

const ALL: TapFilter = { id: 1, pool: null, key: null, command: null, client: null, rate: 1000 };
const SAMPLE: Sample = {
  at: 1_700_000_000_003,
  pool: "alpha",
  server: "one",
  client: "127.0.0.1:5",
  command: "get",
  arguments: ['a"b\u001b[31m', "größe"],
  waited_us: 12,
  served_us: 340,
  reply_bytes: 35,
};

Deno.test("a pattern of * and ? is matched as a regular expression of the same meaning", () => {
  const random = new Random(3);
  const text = (letters: string, most: number) =>
    Array.from({ length: random.below(most) }, () => letters[random.below(letters.length)]).join("");
  for (let i = 0; i < 5000; i++) {
    const pattern = text("ab*?", 7);
    const key = text("ab", 8);
    const expected = new RegExp(`^${pattern.replaceAll("*", "[^]*").replaceAll("?", "[^]")}$`).test(key);
    strictEqual(matches(pattern, key), expected, `${pattern} ${key}`);
  }
  // Not in time that grows with every star.
  ok(!matches(`${"*a".repeat(100)}*b`, "a".repeat(1000)));
});

Deno.test("a listener is told what it asks for, no faster than its rate, and what it has lost", () => {
  const tap = new Tap({ ...ALL, command: "get", key: "user:*", client: "10.0.", rate: 100 }, 0);
  const wants = (nowMs: number, command = "get", client = "10.0.0.1:5", key = "user:1") =>
    tap.wants(command, client, ["other", key], nowMs);
  ok(!wants(0, "set") && !wants(0, "get", "10.1.0.1:5") && !wants(0, "get", "10.0.0.1:5", "use"));
  let told = 0;
  for (let nowMs = 0; nowMs < 10_000; nowMs++) if (wants(nowMs)) told++;
  ok(told > 950 && told <= 1010, `${told} in ten seconds`);
  for (let i = 0; i < KEPT + 7; i++) tap.add(SAMPLE);
  const { id, lost, samples } = tap.take(10_000);
  deepStrictEqual([id, lost, samples.length], [1, 7, KEPT]);
  deepStrictEqual(tap.take(10_000), { id: 1, lost: 0, samples: [] });
  ok(!tap.isOver(10_000 + LEASE_MS) && tap.isOver(10_001 + LEASE_MS));
});

Deno.test("a line has nothing in it that ends it, or is an order to a terminal", () => {
  strictEqual(
    sampleLine(SAMPLE),
    '2023-11-14T22:13:20.003Z alpha 127.0.0.1:5 > one 0.012 ms + 0.340 ms, 35 bytes: "get" "a\\"b\\u001b[31m" "größe"\n',
  );
  const here = sampleLine({ ...SAMPLE, server: null, served_us: null, arguments: ["\x9b1\u202e\n"] });
  ok(here.includes("> - 0.012 ms, 35 bytes"), here);
  // deno-lint-ignore no-control-regex
  ok(/^[^\x00-\x1f\x7f-\x9f\u202e]*\n$/.test(here), here);
});

// ---- through the fronts

async function tapped(
  protocol: "redis" | "memcached",
  requests: Uint8Array[],
  filter = ALL,
): Promise<Sample[]> {
  const stand = await TurnStand.make(protocol, 2, (work) => work());
  const client = stand.join();
  const { seen, counters, turn } = stand.pool;
  const take = () =>
    seen.take([filter], counters[REQUESTS_TOTAL]!, turn.now()).flatMap(({ samples }) => samples);
  take();
  const samples: Sample[] = [];
  for (const each of requests) {
    client.socket.give(each);
    stand.net.run();
    stand.net.pass(20);
    samples.push(...take());
  }
  stand.stop();
  return samples;
}

Deno.test("requests are told with their words, without passwords, whoever answers them", async () => {
  const samples = await tapped("redis", [
    request("GET", "key"),
    request("PING"),
    request("AUTH", "user", "swordfish"),
    request("CONFIG", "SET", "requirepass", "swordfish"),
    request("HELLO", 2, "AUTH", "user", "swordfish"),
    request("MGET", ...Array.from({ length: 20 }, (_, i) => `k${i}`)),
    request("SET", "key", "v".repeat(100)),
    latin1("GET inline\r\n"),
  ]);
  deepStrictEqual(samples.map(({ command, arguments: words }) => [command, words.slice(0, 2)]), [
    ["get", ["key"]],
    ["ping", []],
    ["auth", ["(hidden)"]],
    ["config|set", ["(hidden)"]],
    ["hello", ["(hidden)"]],
    ["mget", ["k0", "k1"]],
    ["set", ["key", `${"v".repeat(64)}… (100 bytes)`]],
    ["get", ["inline"]],
  ]);
  ok(!JSON.stringify(samples).includes("swordfish"));
  strictEqual(samples[5]!.arguments.at(-1), "… (12 more)");
  deepStrictEqual([samples[0]!.served_us === null, samples[1]!.served_us], [false, null]);
  ok(samples[0]!.server!.startsWith("server") && samples[5]!.server === null);
  ok(samples.every(({ pool, waited_us }) => pool === "wide" && waited_us >= 0));
});

Deno.test("memcached's requests are told, and those of one key where only these are asked for", async () => {
  const requests = [
    latin1("get a b\r\n"),
    latin1("set a 0 0 1\r\nx\r\n"),
    latin1("get b\r\n"),
    latin1("mg a v\r\n"),
  ];
  const all = await tapped("memcached", requests);
  deepStrictEqual(all.map(({ command, arguments: words }) => [command, ...words]), [
    ["get", "a", "b"],
    ["set", "a", "0", "0", "1"],
    ["get", "b"],
    ["mg", "a", "v"],
  ]);
  const some = await tapped("memcached", requests, { ...ALL, key: "a", command: "get" });
  deepStrictEqual(some.map(({ arguments: words }) => words), [["a", "b"]]);
});

Deno.test("nobody listens any more: requests are drawn as before, and nothing is held", async () => {
  const stand = await TurnStand.make("redis", 1, (work) => work());
  const { seen, counters, turn } = stand.pool;
  seen.take([ALL], counters[REQUESTS_TOTAL]!, turn.now());
  ok(seen.drawAt <= counters[REQUESTS_TOTAL]! + 1);
  stand.net.pass(LEASE_MS + 100);
  const client = stand.join();
  client.socket.give(concat(Array.from({ length: 100 }, () => request("GET", "key"))));
  stand.net.run();
  deepStrictEqual(seen.taps, []);
  ok(seen.drawAt > counters[REQUESTS_TOTAL]!);
  stand.stop();
});

Deno.test("workers together keep to a listener's rate, be it one a second", async () => {
  const clock = new ManualClock();
  // Each of three has something to tell whenever it is asked.
  const asked = (filters: TapFilter[]) =>
    filters.map(({ id }) => ({ id, lost: 0, samples: [{ ...SAMPLE, at: clock.wallMs() }] }));
  const gather = (_kind: string, filters: TapFilter[]) =>
    Promise.resolve([0, 1, 2].map((worker) => ({ worker, answer: asked(filters) })));
  const tapping = new Tapping(clock, { gather } as unknown as Gathering);
  const told = new Map([[1, 0], [5, 0], [1000, 0]]);
  for (const rate of told.keys()) {
    tapping.listen({ ...ALL, rate }, (samples) => told.set(rate, told.get(rate)! + samples.length));
  }
  for (let i = 0; i < 100; i++) await clock.pass(100);
  tapping.stop();
  const [one, five, all] = [...told.values()];
  ok(one! >= 9 && one! <= 11, `${one}`);
  ok(five! >= 47 && five! <= 51, `${five}`);
  ok(all! > 250, `${all}`);
});
