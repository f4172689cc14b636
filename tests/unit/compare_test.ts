/** `ringmaster compare`: what counts as a difference, when it is read again, where keys lie, and which setting is probably wrong. */
import { deepStrictEqual, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { encode } from "../../src/bytes/ascii.ts";
import { likelyCause, placingDifferences, type Sighting } from "../../src/compare/cause.ts";
import { CannotCompare, Comparison } from "../../src/compare/comparison.ts";
import { Pace } from "../../src/compare/pace.ts";
import { dumpLine } from "../../src/compare/memcached_peer.ts";
import type { Page, Peer } from "../../src/compare/peer.ts";
import { differenceOf, type Found, type Reading } from "../../src/compare/reading.ts";
import { headLine, type Recorded, recorded } from "../../src/compare/recording.ts";
import { Replay } from "../../src/compare/replay.ts";
import { reportText, verdictOf } from "../../src/compare/report.ts";
import { scanned } from "../../src/compare/scan.ts";
import { Side } from "../../src/compare/side.ts";
import { keyShown, Tally } from "../../src/compare/tally.ts";
import type { PoolConfig } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import type { Clock } from "../../src/net/net.ts";
import type { Placement } from "../../src/ring/placement.ts";
import { placementOf } from "../../src/topology/placement.ts";
import { latin1 } from "../lib/bytes.ts";
import { Random } from "../lib/random.ts";

/** Time that passes when somebody waits for it. */
class HastyClock implements Clock {
  now = 0;
  nowMs = () => this.now;
  wallMs = () => this.now;
  setTimer(afterMs: number, run: () => void): unknown {
    queueMicrotask(() => {
      this.now += afterMs;
      run();
    });
    return null;
  }
  clearTimer(): void {}
  afterTurn = (run: () => void) => queueMicrotask(run);
}

const found = (content: string, more: Partial<Found> = {}): Found => ({
  kind: "found",
  type: "string",
  size: content.length,
  content,
  whole: true,
  ttlMs: -1,
  ...more,
});
const ABSENT: Reading = { kind: "absent" };

/** Keys and what is read of them; `reads` counts. */
class FakePeer implements Peer {
  readonly data = new Map<string, Reading>();
  asked = 0;
  answeredBytes = 0;
  down: string | null = null;
  /** Called before each reading. */
  before: (key: string) => void = () => {};
  readonly place;
  constructor(text: string) {
    this.place = { address: { host: "h", port: 1 }, text, auth: null };
  }
  greet = () => Promise.resolve(this.down);
  read(keys: readonly Uint8Array[]): Promise<Reading[]> {
    this.asked += keys.length;
    return Promise.resolve(keys.map((key): Reading => {
      const text = String.fromCharCode(...key);
      this.before(text);
      return this.down === null ? this.data.get(text) ?? ABSENT : { kind: "lost", why: this.down };
    }));
  }
  async has(keys: readonly Uint8Array[]): Promise<(boolean | null)[]> {
    return (await this.read(keys)).map(({ kind }) => kind === "lost" ? null : kind === "found");
  }
  page(from: string | null, most: number): Promise<Page> {
    const at = Number(from ?? 0);
    const keys = [...this.data.keys()].slice(at, at + most).map((key) => encode(key));
    return Promise.resolve({ keys, next: at + most < this.data.size ? String(at + most) : null });
  }
  cpuSeconds = () => Promise.resolve(null);
  close(): void {}
}

const poolOf = (servers: readonly string[], keys = ""): PoolConfig =>
  parseConfig(
    `alpha:\n  listen: 127.0.0.1:1\n  redis: true\n${keys}  servers:\n${
      servers.map((server) => `    - ${server}\n`).join("")
    }`,
    "x.yml",
  ).pools[0]!;
const sixtyFour = (weight17 = 1, name40 = "s40") =>
  Array.from(
    { length: 64 },
    (_, i) => `10.0.0.${i + 1}:6379:${i === 17 ? weight17 : 1} ${i === 40 ? name40 : `s${i}`}`,
  );

/** Where `right` has some keys, as servers of `file`. */
function sightings(right: PoolConfig, file: PoolConfig, count = 2000): Sighting[] {
  const placement = placementOf(right, () => 0);
  return Array.from({ length: count }, (_, i) => {
    const key = encode(`user:{${i % 700}}:${i}`);
    const { addressText } = right.servers[placement.serverOf(key, 0, key.length)]!;
    return { key, server: file.servers.findIndex((each) => each.addressText === addressText) };
  });
}

Deno.test("likelyCause() names the one setting that is wrong, and says nothing where nothing is", () => {
  const right = poolOf(sixtyFour());
  const causeOf = (file: PoolConfig, truth = right) => {
    const cause = likelyCause(file, sightings(truth, file));
    if (cause === null) return null;
    ok(cause.explains > cause.before);
    return cause.text;
  };
  strictEqual(causeOf(right), null);
  strictEqual(causeOf(poolOf(sixtyFour(2))), "weight of s17: the file has 2, with 1");
  strictEqual(causeOf(right, poolOf(sixtyFour(5))), "weight of s17: the file has 1, with 5");
  strictEqual(causeOf(poolOf(sixtyFour(), "  hash: md5\n")), "hash: the file has md5, with fnv1a_64");
  strictEqual(
    causeOf(poolOf(sixtyFour(), '  hash_tag: "{}"\n')),
    'hash_tag: the file has "{}", with none',
  );
  strictEqual(
    causeOf(right, poolOf(sixtyFour(), '  hash_tag: "{}"\n')),
    'hash_tag: the file has none, with "{}"',
  );
  strictEqual(
    causeOf(poolOf(sixtyFour(), "  distribution: modula\n  hash: murmur\n")),
    "distribution: the file has modula, with ketama and hash: the file has murmur, with fnv1a_64",
  );
  const swapped = sixtyFour().map((line) =>
    line.replace(/s3$/, "s_").replace(/s9$/, "s3").replace(/s_$/, "s9")
  );
  strictEqual(
    causeOf(poolOf(swapped)),
    "addresses or names that are exchanged: with s9 at 10.0.0.10:6379 instead of 10.0.0.4:6379, " +
      "s3 at 10.0.0.4:6379 instead of 10.0.0.10:6379",
  );
  const name = causeOf(poolOf(sixtyFour(1, "s_40")))!;
  ok(name.startsWith("name or weight of s_40:"), name);
  const ports = Array.from({ length: 8 }, (_, i) => `10.0.0.1:${6379 + i}:1`);
  strictEqual(
    causeOf(poolOf(ports.map((line, i) => `${line} n${i}`)), poolOf(ports)),
    "the servers' names: the file has some, with none",
  );
});

Deno.test("likelyCause(): a few keys that are elsewhere are no server's name", () => {
  const file = poolOf(["10.0.0.1:6379:1 a", "10.0.0.2:6379:1 b", "10.0.0.3:6379:1 c"]);
  const all = sightings(file, file, 70);
  // Three of them are on another server as well, which is where they were seen.
  const moved = all.filter(({ server }) => server !== 2).slice(0, 3);
  const seen = all.map((each) => moved.includes(each) ? { ...each, server: 1 - each.server } : each);
  strictEqual(likelyCause(file, seen), null);
  const renamed = poolOf(["10.0.0.1:6379:1 x", "10.0.0.2:6379:1 b", "10.0.0.3:6379:1 c"]);
  ok(likelyCause(file, sightings(renamed, file, 70))?.text.startsWith("name or weight of a:"));
});

Deno.test("likelyCause(): where two weights explain the same, the one that the other file has", () => {
  const [equal, third] = [
    poolOf(["10.0.0.1:6379:1 a", "10.0.0.2:6379:1 b"]),
    poolOf(["10.0.0.1:6379:1 a", "10.0.0.2:6379:3 b"]),
  ];
  const textOf = (file: PoolConfig, right: PoolConfig) =>
    likelyCause(file, sightings(right, file, 1000), right)?.text;
  strictEqual(textOf(equal, third), "weight of b: the file has 1, with 3");
  strictEqual(textOf(third, equal), "weight of b: the file has 3, with 1");
  const other = poolOf(["10.0.0.1:6379:3 a", "10.0.0.2:6379:1 b"]);
  strictEqual(textOf(equal, other), "weight of a: the file has 1, with 3");
});

Deno.test("likelyCause() of random settings: it explains, or says that it does not know", () => {
  const random = new Random(20261129);
  for (let i = 0; i < 4; i++) {
    const [a, b] = [random.between(1, 30), random.between(1, 30)];
    const file = poolOf(sixtyFour(a));
    const cause = likelyCause(file, sightings(poolOf(sixtyFour(b)), file, 4000));
    if (a === b) strictEqual(cause, null);
    // Neighbouring large weights differ in a few points only; whatever is named explains what it says.
    else if (cause !== null) ok(cause.explains >= 0.97 * cause.of && cause.text.includes("s17"), cause.text);
  }
});

Deno.test("placingDifferences() tells settings, weights, names and addresses apart", () => {
  deepStrictEqual(
    placingDifferences(poolOf(["a:1:1 x", "b:1:1 y", "c:1:1 z"]), poolOf(["a:1:2 x", "b:1:1 w", "d:1:1 z"])),
    [
      "weight of x: OLD 1, NEW 2",
      "name of the server at b:1: OLD y, NEW w",
      "address of z: OLD c:1, NEW d:1",
    ],
  );
  deepStrictEqual(placingDifferences(poolOf(["a:1:1"]), poolOf(["a:1:1", "b:1:1"], "  hash: md5\n")), [
    "hash: OLD fnv1a_64, NEW md5",
    "server b:1 (b:1): only in NEW",
  ]);
});

Deno.test("differenceOf() says what clients would notice first", () => {
  const kindOf = (a: Reading, b: Reading) => differenceOf(a, b)?.kind ?? null;
  const error: Reading = { kind: "error", text: "ERR x" };
  const lost: Reading = { kind: "lost", why: "gone" };
  for (
    const [a, b, kind] of [
      [found(""), found(""), null],
      [found(""), ABSENT, "missing"],
      [ABSENT, found("a"), "extra"],
      [ABSENT, ABSENT, null],
      [found("a"), found("b"), "value"],
      [found("a"), found("a", { type: "list" }), "type"],
      [found("a", { ttlMs: 5000 }), found("a", { ttlMs: 4000 }), null],
      [found("a", { ttlMs: 5000 }), found("a", { ttlMs: 500 }), "ttl"],
      [found("a", { ttlMs: 5000 }), found("a"), "ttl"],
      [found("a", { ttlMs: null }), found("a"), null],
      [found("a"), error, "error"],
      [error, error, null],
      [lost, found("a"), null],
    ] as const
  ) strictEqual(kindOf(a, b), kind);
});

Deno.test("keyShown() has nothing that ends a line or orders a terminal about", () => {
  strictEqual(keyShown(encode("a b")), '"a b"');
  strictEqual(keyShown(Uint8Array.of(0, 255, 10, 34, 27)), '"\\x00\\xff\\x0a\\"\\x1b"');
  strictEqual(keyShown(encode("é")), '"é"');
  strictEqual(keyShown(new Uint8Array(0)), '""');
  ok(keyShown(new Uint8Array(300).fill(97)).endsWith('"… (300 bytes)'));
});

/** Both sides read through proxies that show the same servers. */
function stand(shown = 5) {
  const pool = poolOf(["a:1:1", "b:1:1", "c:1:1"]);
  const [old, young] = [new FakePeer("old"), new FakePeer("new")];
  const servers = pool.servers.map(({ addressText }) => new FakePeer(addressText));
  const side = (label: string, proxy: FakePeer | null, of = pool) =>
    new Side(label, of, proxy, servers, () => {});
  const tally = new Tally(shown);
  const clock = new HastyClock();
  const start = (a: Side, b: Side) =>
    new Comparison(a, b, tally, { clock, pace: new Pace(clock, 1e6), random: () => 0.5 });
  const placements = new Map<PoolConfig, Placement>();
  const ownerOf = (key: string, of = pool) => {
    const bytes = encode(key);
    const placement = placements.get(of) ?? placementOf(of, () => 0);
    placements.set(of, placement);
    return placement.serverOf(bytes, 0, bytes.length);
  };
  const put = (key: string, reading: Reading) => {
    old.data.set(key, reading);
    young.data.set(key, reading);
    servers[ownerOf(key)]!.data.set(key, reading);
  };
  const at = (...keys: string[]) => keys.map((key) => ({ key: encode(key), foundAt: null }));
  return { pool, old, young, servers, side, tally, start, put, at, clock, ownerOf };
}

Deno.test("Comparison: what is the same is counted, what differs is read again before it is called a difference", async () => {
  const { old, young, side, tally, start, put, at } = stand();
  for (const key of ["a", "b", "c", "gone", "expiring", "counter", "late"]) put(key, found("1"));
  young.data.set("b", found("2"));
  young.data.delete("c");
  old.data.delete("gone");
  young.data.delete("gone");
  // It ends between the two readings.
  young.before = (key) => {
    if (key === "expiring") { for (const peer of [old, young]) peer.data.delete("expiring"); }
    // Somebody else's write comes a moment later on this side.
    if (key === "late" && ++late === 2) young.data.set("late", found("1"));
  };
  let late = 0;
  young.data.set("late", found("0"));
  let count = 7;
  old.before = (key) => {
    if (key === "counter") old.data.set("counter", found(String(++count)));
  };
  const comparison = start(side("OLD", old), side("NEW", young));
  await comparison.take(at("a", "b", "c", "gone", "expiring", "counter", "late"));
  await comparison.end();
  deepStrictEqual(
    [
      tally.keys,
      tally.same,
      tally.gone,
      tally.changing,
      tally.unread,
      tally.differences.value,
      tally.differences.missing,
    ],
    [7, 2, 2, 1, 0, 1, 1],
  );
  const text = reportText(
    [{ pool: "alpha", old: "x", young: "y", tally, settings: [], causes: [], load: null, stopped: null }],
    [],
  );
  ok(text.includes('"b": 1 bytes on both sides, not the same from byte 0 on, OLD\'s file says'), text);
  ok(text.includes("Verdict: differences."), text);
});

Deno.test("Comparison: keys with any bytes, and empty ones", async () => {
  const { old, young, side, tally, start } = stand();
  const key = Uint8Array.of(0, 10, 13, 255, 32);
  for (const peer of [old, young]) {
    peer.data.set(String.fromCharCode(...key), found(""));
    peer.data.set("", found("\x00\xff"));
  }
  const comparison = start(side("OLD", old), side("NEW", young));
  await comparison.take([{ key, foundAt: null }, { key: new Uint8Array(0), foundAt: null }]);
  await comparison.end();
  deepStrictEqual([tally.same, tally.different], [2, false]);
});

Deno.test("Comparison: a key on another server than the file says is misplaced, unless it is a leftover", async () => {
  const { pool, old, young, side, servers, tally, start, put, ownerOf } = stand();
  const wrong = poolOf(["a:1:1", "b:1:9", "c:1:1"]);
  const keys = Array.from({ length: 500 }, (_, i) => `key:${i}`);
  for (const key of keys) put(key, found("1"));
  const moved = keys.filter((key) =>
    wrong.servers[ownerOf(key, wrong)]!.name !== pool.servers[ownerOf(key)]!.name
  );
  for (const key of moved) young.data.delete(key);
  // A copy that was left behind when servers were added, and one that clients do not see at all.
  const leftover = (key: string) => servers[(ownerOf(key) + 1) % 3]!;
  leftover(keys[0]!).data.set(keys[0]!, found("0"));
  leftover("nobody").data.set("nobody", found("0"));
  const comparison = start(side("OLD", old), side("NEW", young, wrong));
  const all = servers.flatMap((server) =>
    [...server.data.keys()].map((key) => ({ key: encode(key), foundAt: server.place.text }))
  );
  for (let i = 0; i < all.length; i += 100) await comparison.take(all.slice(i, i + 100));
  await comparison.end();
  ok(moved.length > 50);
  const { missing, placement, misplaced } = tally.differences;
  ok(missing >= moved.length && placement >= moved.length && misplaced >= moved.length);
  strictEqual(tally.strays, 2);
  const [cause] = comparison.causes();
  deepStrictEqual(
    [comparison.causes().length, cause!.label, cause!.cause!.text],
    [1, "NEW", "weight of b:1: the file has 9, with 1"],
  );
});

Deno.test("Comparison: of keys of a list it finds out where they are", async () => {
  const { pool, old, young, side, servers, tally, start, ownerOf } = stand();
  // Both proxies run with another file than the one that is shown.
  const running = poolOf(["a:1:1", "b:1:9", "c:1:1"]);
  const keys = Array.from({ length: 300 }, (_, i) => `${i * i}:key`);
  for (const key of keys) {
    for (const peer of [old, young, servers[ownerOf(key, running)]!]) peer.data.set(key, found("1"));
  }
  const comparison = start(side("OLD", old), side("NEW", young));
  for (const key of keys) await comparison.take([{ key: encode(key), foundAt: null }]);
  await comparison.end();
  const away = keys.filter((key) => ownerOf(key) !== ownerOf(key, running)).length;
  deepStrictEqual([tally.same, tally.differences.misplaced], [300, 2 * away]);
  deepStrictEqual(comparison.causes().map(({ label, cause }) => [label, cause?.text]), [
    // Of few keys not all weights can be told from each other.
    ["OLD", "weight of b:1: the file has 1, with 9 to 10"],
    ["NEW", "weight of b:1: the file has 1, with 9 to 10"],
  ]);
  strictEqual(pool.servers.length, 3);
});

Deno.test("Comparison: a proxy that runs with another weight than its file is found out", async () => {
  const pool = poolOf(sixtyFour().slice(0, 24));
  const running = poolOf(sixtyFour(2).slice(0, 24));
  const placement = placementOf(pool, () => 0);
  const at = placementOf(running, () => 0);
  const [old, young] = [new FakePeer("old"), new FakePeer("new")];
  const servers = pool.servers.map(({ addressText }) => new FakePeer(addressText));
  const keys = Array.from({ length: 3000 }, (_, i) => `user:{${i}}:${i * 7}`);
  for (const key of keys) {
    const bytes = encode(key);
    const owner = placement.serverOf(bytes, 0, bytes.length);
    servers[owner]!.data.set(key, found("1"));
    old.data.set(key, found("1"));
    if (at.serverOf(bytes, 0, bytes.length) === owner) young.data.set(key, found("1"));
  }
  for (const listed of [true, false]) {
    const tally = new Tally(1);
    const clock = new HastyClock();
    const side = (label: string, proxy: FakePeer) => new Side(label, pool, proxy, servers, () => {});
    const around = { clock, pace: new Pace(clock, 1e6), random: () => 0.5 };
    const comparison = new Comparison(side("OLD", old), side("NEW", young), tally, around);
    for (let i = 0; i < keys.length; i += 100) {
      await comparison.take(
        keys.slice(i, i + 100).map((key) => {
          const bytes = encode(key);
          const { addressText } = pool.servers[placement.serverOf(bytes, 0, bytes.length)]!;
          return { key: bytes, foundAt: listed ? null : addressText };
        }),
      );
    }
    await comparison.end();
    deepStrictEqual([tally.differences.missing, tally.differences.misplaced], [3000 - young.data.size, 0]);
    deepStrictEqual(comparison.causes().map(({ label, running, cause }) => [label, running, cause?.text]), [
      ["NEW", true, "weight of s17: the file has 1, with 2"],
    ]);
  }
});

Deno.test("Comparison: without proxies, what lies elsewhere by both files and fits no setting are leftovers", async () => {
  const { side, servers, tally, start, put, ownerOf } = stand();
  for (let i = 0; i < 200; i++) put(`${i * i}:key`, found("1"));
  for (let i = 0; i < 50; i++) {
    const key = `${i * i}:left`;
    servers[(ownerOf(key) + 1 + i % 2) % 3]!.data.set(key, found("0"));
  }
  const comparison = start(side("OLD", null), side("NEW", null));
  for (const server of servers) {
    const keys = [...server.data.keys()].map((key) => ({ key: encode(key), foundAt: server.place.text }));
    await comparison.take(keys);
  }
  await comparison.end();
  deepStrictEqual([tally.same, tally.gone, tally.strays, tally.different, comparison.causes()], [
    200,
    50,
    50,
    false,
    [],
  ]);
  ok(tally.notes[0]!.startsWith("50 keys lie where neither file says"));
});

Deno.test("Comparison: a server that is silent costs a few answers, and not others' keys", async () => {
  const { old, young, side, tally, start, put, at, ownerOf } = stand();
  const keys = Array.from({ length: 2000 }, (_, i) => `key:${i}`);
  for (const key of keys) put(key, found("1"));
  // What is asked for with such a key has no answer, nor what is asked for behind it.
  const silent = (peer: FakePeer) => {
    const read = peer.read.bind(peer);
    peer.read = async (all) => {
      const readings = await read(all);
      const from = all.findIndex((key) => ownerOf(String.fromCharCode(...key)) === 1);
      return from < 0
        ? readings
        : readings.map((each, i) => i < from ? each : { kind: "lost", why: "no answer within 5 s" });
    };
  };
  silent(old);
  silent(young);
  const comparison = start(side("OLD", old), side("NEW", young));
  for (let i = 0; i < keys.length; i += 100) await comparison.take(at(...keys.slice(i, i + 100)));
  await comparison.end();
  const dead = keys.filter((key) => ownerOf(key) === 1).length;
  deepStrictEqual([tally.unread, tally.same, tally.different], [dead, 2000 - dead, false]);
  strictEqual(verdictOf([{ tally, stopped: null } as any], []), "could not compare");
  ok(old.asked < 3000, String(old.asked));
});

Deno.test("Comparison: a proxy that is gone ends it, with its name", async () => {
  const { young, old, side, start, put, at } = stand();
  put("a", found("1"));
  const comparison = start(side("OLD", old), side("NEW", young));
  await comparison.take(at("a"));
  young.down = "Connection refused";
  await rejects(
    comparison.take(at("a", "b")),
    (error) =>
      error instanceof CannotCompare &&
      /NEW at new does not answer any more: Connection refused/.test(error.message),
  );
});

Deno.test("scanned() asks servers in turn, and stops at the number asked for", async () => {
  const { servers } = stand();
  servers.forEach((server, i) => {
    for (let j = 0; j < [10, 300, 700][i]!; j++) server.data.set(`${i}:${j}`, found(""));
  });
  const all = servers.map((peer) => ({ peer, address: peer.place.text }));
  const keysOf = async (most: number) => {
    const keys: string[] = [];
    for await (const batch of scanned(all, most, () => {})) {
      ok(batch.length <= 128);
      for (const { key, foundAt } of batch) keys.push(`${foundAt} ${String.fromCharCode(...key)}`);
    }
    strictEqual(new Set(keys).size, keys.length);
    return keys;
  };
  strictEqual((await keysOf(Infinity)).length, 1010);
  const some = await keysOf(90);
  strictEqual(some.length, 90);
  for (const server of servers) ok(some.some((key) => key.startsWith(server.place.text)));
});

Deno.test("Pace: no more than so many a second, and what was not used is not made up for", async () => {
  const clock = new HastyClock();
  const pace = new Pace(clock, 1000);
  for (let i = 0; i < 100; i++) await pace.take(100);
  ok(clock.now >= 9800 && clock.now <= 10_100, String(clock.now));
  clock.now += 60_000;
  const from = clock.now;
  for (let i = 0; i < 20; i++) await pace.take(100);
  ok(clock.now - from >= 1800, String(clock.now - from));
});

Deno.test("recorded() asks again what is whole, reads, and has keys; what writes if that is wanted", () => {
  const line = (command: string, ...words: string[]) =>
    JSON.stringify({ at: 1, pool: "alpha", client: "x", command, arguments: words });
  const of = (text: string, writes = false, redis = true) => {
    const { words, skipped } = recorded(text, redis, writes)!;
    return skipped ?? words.map((word) => new TextDecoder().decode(word)).join(" ");
  };
  strictEqual(recorded(headLine(5).trimEnd(), true, false), null);
  strictEqual(recorded("", true, false), null);
  strictEqual(of(line("get", "é")), "get é");
  strictEqual(of(line("mget", "a", "b")), "mget a b");
  strictEqual(of(line("set", "a", "1")), "writes");
  strictEqual(of(line("set", "a", "1"), true), "set a 1");
  strictEqual(of(line("del", "a"), true), "del a");
  for (
    const other of ["scan", "blpop", "multi", "auth", "eval", "config|set", "nonsense", "ping", "publish"]
  ) {
    strictEqual(of(line(other, "a", "0"), true), "others", other);
  }
  for (const word of ["xxxx… (70 bytes)", "… (3 more)", "\\xff\\x00", "(hidden)"]) {
    strictEqual(of(line("get", word)), "shortened", word);
  }
  deepStrictEqual([of(line("get", "a"), false, false), of(line("set", "a"), true, false)], [
    "get a",
    "others",
  ]);
  for (
    const bad of [
      "x",
      "[]",
      "{}",
      '{"pool":"a","command":"get","arguments":[1]}',
      '{"ringmaster_recording":2}',
    ]
  ) {
    throws(() => recorded(bad, true, false), /expected/);
  }
});

Deno.test("Replay: a target that goes away ends it, and is no difference; one that is silent is not waited for again and again", async () => {
  for (const writes of [false, true]) {
    const [old, young] = [new FakePeer("old"), new FakePeer("new")];
    for (const peer of [old, young]) peer.data.set("a", found("1"));
    const get: Recorded = {
      ...recorded('{"pool":"p","command":"get","arguments":["a"]}', false, false)!,
      writes,
    };
    const one = new Replay(old, young, { take: () => Promise.resolve() }, 5);
    for (let i = 0; i < 200; i++) await one.take(get);
    young.down = "no answer within 5000 ms";
    const rest = (async () => {
      for (let i = 0; i < 10_000; i++) await one.take(get);
    })();
    await rejects(
      rest,
      (error) =>
        error instanceof CannotCompare &&
        /^NEW at new does not answer any more: no answer/.test(error.message),
    );
    const { same, lost, different, asked } = one.tally;
    deepStrictEqual({ same, lost, different, asked }, { same: 128, lost: 128, different: 0, asked: 256 });
    deepStrictEqual([old.asked, young.asked], [256, 256]);
  }
});

Deno.test("Replay: errors of both are the same answer, but not those of a server that nobody reaches", async () => {
  const [old, young] = [new FakePeer("old"), new FakePeer("new")];
  const request = recorded('{"pool":"p","command":"get","arguments":["a"]}', false, false)!;
  const errors = [
    "WRONGTYPE of key",
    "ERR Connection refused (server 10.0.0.1:6379)",
    "SERVER_ERROR Connection timed out",
  ];
  for (const text of errors) {
    for (const peer of [old, young]) peer.data.set("a", { kind: "error", text });
    const one = new Replay(old, young, { take: () => Promise.resolve() }, 5);
    await one.take(request);
    await one.flush();
    const { errors, unserved, different } = one.tally;
    deepStrictEqual([errors, unserved, different], [1, text.startsWith("WRONG") ? 0 : 1, 0], text);
  }
});

Deno.test("dumpLine(): what memcached 1.6.18 and 1.6.45 say of their keys", () => {
  deepStrictEqual(dumpLine("key=a exp=-1 la=1796007026 cas=1 fetch=no cls=1 size=65"), latin1("a"));
  deepStrictEqual(dumpLine("key=a exp=-1 la=1796007016 cas=2 fetch=no cls=1 size=65 flags=7 "), latin1("a"));
  deepStrictEqual(dumpLine("key=a%25%0D exp=-1 la=1 cas=1 fetch=no cls=1 size=65"), latin1("a%\r"));
  strictEqual(dumpLine("OK"), "begins");
  strictEqual(dumpLine("END"), "ends");
  strictEqual(dumpLine("BUSY currently processing crawler request"), "wrong");
});

Deno.test("verdictOf(): keys that nobody has, or that change all the time, are no comparison", () => {
  const report = (change: (tally: Tally) => void) => {
    const tally = new Tally(5);
    tally.keys = 3;
    change(tally);
    return { tally, stopped: null } as any;
  };
  const gone = report((tally) => tally.gone = 3);
  const changing = report((tally) => tally.changing = 3);
  const same = report((tally) => [tally.same, tally.gone] = [2, 1]);
  strictEqual(verdictOf([gone], []), "could not compare");
  strictEqual(verdictOf([changing, gone], []), "could not compare");
  strictEqual(verdictOf([gone, same], []), "no difference");
});
