/** Rings and placement against what twemproxy 0.5.0 did (vectors/placement.json), and their rules one by one. */
import assert from "node:assert/strict";
import { parse } from "yaml";
import { encode } from "../../src/bytes/ascii.ts";
import { HASHES, type HashName } from "../../src/hash/hash.ts";
import { tagEnd, tagStart } from "../../src/ring/hash_tag.ts";
import { buildKetama, Ketama, ketamaPoints } from "../../src/ring/ketama.ts";
import { buildModula } from "../../src/ring/modula.ts";
import { NO_SERVER, Placement } from "../../src/ring/placement.ts";
import { buildRandom } from "../../src/ring/random.ts";
import { type DistributionName, DISTRIBUTIONS, type Ring, type RingServer } from "../../src/ring/ring.ts";
import { sortServers } from "../../src/ring/server_order.ts";
import VECTORS from "../vectors/placement.json" with { type: "json" };

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function never(): number {
  throw new Error("this distribution must not draw");
}

const KEYS = VECTORS.keys_hex.map(fromHex);

interface Pool {
  readonly hash: HashName;
  readonly distribution: DistributionName;
  readonly hashTag: Uint8Array | null;
  /** In the order of the configuration. */
  readonly servers: RingServer[];
}

/** As much of twemproxy's configuration as placement depends on; independent of src/config on purpose. */
function readPool(yaml: string): Pool {
  const [pool] = Object.values(parse(yaml)) as Record<string, any>[];
  const servers = (pool!.servers as string[]).map((line) => {
    const [where, name] = line.split(" ");
    const [, address, weight] = /^(.*):(\d+)$/.exec(where!)!;
    const plain = address!.startsWith("/") ? address + ":" : address!.replace(/:11211$/, "");
    return { name: name ?? plain, weight: Number(weight) };
  });
  return {
    hash: pool!.hash ?? "fnv1a_64",
    distribution: pool!.distribution ?? "ketama",
    hashTag: pool!.hash_tag === undefined ? null : encode(pool!.hash_tag),
    servers,
  };
}

/** The sorted continuum as the vectors have it: [value, server]; modula's values are all 0. */
function continuumOf(ring: Ring, servers: readonly RingServer[]): [number, number][] {
  if (ring instanceof Ketama) return Array.from(ring.values, (value, i) => [value, ring.owners[i]!]);
  return servers.flatMap((_, s) => Array.from({ length: ring.pointsOf(s) }, (): [number, number] => [0, s]));
}

function checksumOf(continuum: readonly [number, number][]): bigint {
  let c = 0n;
  for (const [value, server] of continuum) {
    c = BigInt.asUintN(64, c * 1000003n + BigInt(value));
    c = BigInt.asUintN(64, c * 1000003n + BigInt(server));
  }
  return c;
}

Deno.test("vectors/placement.json is all there", () => {
  assert.ok(VECTORS.configs.length >= 32);
  assert.equal(KEYS.length, 200);
});

for (const config of VECTORS.configs) {
  const pool = readPool(config.yaml);
  const servers = sortServers(pool.servers);
  const live = new Uint8Array(servers.length).fill(1);
  for (const index of (config as { ejected?: number[] }).ejected ?? []) live[index] = 0;

  Deno.test(`Placement places as twemproxy: ${config.id}`, () => {
    assert.deepEqual(
      servers.map((server) => [server.name, server.weight]),
      config.servers.map((server) => [server.hashed_name, server.weight]),
      "order, names, weights",
    );
    const placement = new Placement({ ...pool, hash: HASHES[pool.hash], servers, random: never });
    placement.setLive(live);
    const ring = placement.ring!;
    const continuum = continuumOf(ring, servers);
    assert.deepEqual(servers.map((_, s) => ring.pointsOf(s)), config.servers.map((server) => server.points));
    assert.equal(continuum.length, config.ncontinuum);
    assert.equal(live.filter((mark) => mark === 1).length, config.nlive);
    assert.deepEqual(continuum.slice(0, config.first_points.length), config.first_points);
    assert.deepEqual(continuum.at(-1), config.last_point);
    assert.equal(checksumOf(continuum), BigInt(config.continuum_checksum));

    const placed = KEYS.map((key) => placement.serverOf(key, 0, key.length));
    assert.deepEqual(placed, config.placement);
    assert.deepEqual(
      placed.map((index) => pool.servers.indexOf(servers[index]!)),
      config.placement_config_order,
    );
  });
}

const ALL = Uint8Array.of(1, 1, 1);
const THREE: readonly RingServer[] = [
  { name: "a", weight: 1 },
  { name: "b", weight: 1 },
  { name: "c", weight: 1 },
];

function placementOf(change: Partial<ConstructorParameters<typeof Placement>[0]> = {}): Placement {
  return new Placement({
    hash: HASHES.fnv1a_64,
    distribution: "ketama",
    hashTag: null,
    servers: THREE,
    random: never,
    ...change,
  });
}

function place(placement: Placement, key: string): number {
  const bytes = encode(key);
  return placement.serverOf(bytes, 0, bytes.length);
}

for (const distribution of Object.keys(DISTRIBUTIONS) as DistributionName[]) {
  Deno.test(`${distribution} builds no ring when no server is live`, () => {
    assert.equal(DISTRIBUTIONS[distribution](THREE, new Uint8Array(3), never), null);
    assert.equal(DISTRIBUTIONS[distribution]([], new Uint8Array(0), never), null);
  });

  Deno.test(`Placement.serverOf() with ${distribution} is NO_SERVER when no server is live, and recovers`, () => {
    const placement = placementOf({ distribution, random: () => 0 });
    placement.setLive(new Uint8Array(3));
    assert.equal(place(placement, "key"), NO_SERVER);
    assert.equal(placement.ring, null);
    placement.setLive(Uint8Array.of(0, 1, 0));
    assert.equal(place(placement, "key"), 1);
    assert.equal(place(placement, ""), 1);
  });

  Deno.test(`Placement.serverOf() with ${distribution} hashes and draws nothing in a pool of one server`, () => {
    const servers = [{ name: "only", weight: 3 }];
    const placement = placementOf({ distribution, servers, hash: never });
    assert.equal(place(placement, "key"), 0);
    placement.setLive(Uint8Array.of(0));
    assert.equal(place(placement, "key"), NO_SERVER);
    placement.setLive(Uint8Array.of(1));
    assert.equal(place(placement, "key"), 0);
  });
}

Deno.test("Placement.serverOf() takes 0 for the hash of an empty key", () => {
  const servers = [{ name: "a", weight: 2 }, { name: "b", weight: 1 }];
  const placement = placementOf({ distribution: "modula", servers, hash: () => 2 });
  assert.equal(place(placement, "x"), 1);
  assert.equal(place(placement, ""), 0);
});

Deno.test("Placement.serverOf() keeps hashing in a pool of two with one ejected", () => {
  const placement = placementOf({ servers: THREE.slice(0, 2) });
  placement.setLive(Uint8Array.of(0, 1));
  for (let i = 0; i < 20; i++) assert.equal(place(placement, "key" + i), 1);
});

Deno.test("Placement throws for a hash tag that is not two bytes", () => {
  for (const tag of ["", "{", "{}}"]) {
    assert.throws(() => placementOf({ hashTag: encode(tag) }), /hash tag of \d bytes, expected 2/);
  }
});

Deno.test("Placement.setLive() with the same marks keeps the ring; Placement takes marks from the start", () => {
  const live = Uint8Array.of(1, 0, 1);
  const placement = placementOf({ live });
  const { ring } = placement;
  assert.equal(ring!.pointsOf!(1), 0);
  live.fill(7, 2);
  placement.setLive(live);
  assert.equal(placement.ring, ring);
  // They are borrowed.
  live[0] = 0;
  placement.setLive(live);
  assert.notEqual(placement.ring, ring);
});

Deno.test("Placement.isOf() knows names, weights and order", () => {
  const placement = placementOf();
  assert.equal(placement.isOf(THREE.map((server) => ({ ...server }))), true);
  assert.equal(placement.isOf(THREE.slice(1)), false);
  assert.equal(placement.isOf([...THREE].reverse()), false);
  assert.equal(placement.isOf(THREE.map((server) => ({ ...server, weight: 2 }))), false);
});

Deno.test("Placement.setLive() throws for marks of another pool", () => {
  assert.throws(() => placementOf().setLive(Uint8Array.of(1)), /1 live marks, expected 3/);
});

const TAGS: readonly [tag: string, key: string, hashed: string][] = [
  ["{}", "a{b}c", "b"],
  ["{}", "{a}{b}", "a"],
  ["{}", "{{a}}", "{a"],
  ["{}", "{}x", "{}x"],
  ["{}", "{}{a}", "{}{a}"],
  ["{}", "{a", "{a"],
  ["{}", "}{", "}{"],
  ["{}", "a}b{", "a}b{"],
  ["{}", "a}b{c}", "c"],
  ["{}", "", ""],
  ["{}", "plain", "plain"],
  ["$$", "$a$b", "a"],
  ["$$", "$$x", "$$x"],
  ["$$", "$", "$"],
  ["$$", "$a", "$a"],
];

for (const [tag, key, hashed] of TAGS) {
  Deno.test(`hash_tag ${tag}: "${key}" is hashed as "${hashed}"`, () => {
    const [open, close] = encode(tag) as unknown as [number, number];
    // What surrounds the key would open and close a tag, were it read.
    const before = `${tag[0]}x`;
    const bytes = encode(before + key + `${tag[1]}y${tag}`);
    const start = before.length;
    const end = start + key.length;
    const from = tagStart(bytes, start, end, open);
    const to = from < 0 ? -1 : tagEnd(bytes, from, end, close);
    const part = to < 0 ? [start, end] : [from, to];
    assert.equal(new TextDecoder().decode(bytes.subarray(part[0], part[1])), hashed);

    const seen: string[] = [];
    const placement = placementOf({
      hashTag: encode(tag),
      hash: (b, s, e) => (seen.push(new TextDecoder().decode(b.subarray(s, e))), 0),
    });
    placement.serverOf(bytes, start, end);
    assert.deepEqual(seen, hashed === "" ? [] : [hashed]);
  });
}

Deno.test("ketamaPoints() falls short of 160 for the pools where twemproxy does", () => {
  const short: number[] = [];
  for (let n = 1; n <= 1000; n++) {
    const points = ketamaPoints(1, n, n);
    assert.ok(points === 160 || points === 156, `${n} servers: ${points}`);
    if (points === 156) short.push(n);
  }
  assert.deepEqual(short.slice(0, 9), [25, 47, 50, 55, 61, 71, 94, 100, 107]);
  assert.equal(short.length, 103);
});

Deno.test("ketamaPoints() leaves an extreme minority without points", () => {
  assert.equal(ketamaPoints(1, 1001, 2), 0);
  const ring = buildKetama([{ name: "a", weight: 1 }, { name: "b", weight: 1000 }], Uint8Array.of(1, 1))!;
  assert.equal(ring.pointsOf(0), 0);
  for (let i = 0; i < 1000; i++) assert.equal(ring.lookup(Math.imul(i, 0x9e3779b1) >>> 0), 1);
});

Deno.test("Ketama.lookup() takes the first point with value ≥ hash and wraps", () => {
  const ring = new Ketama(
    Uint32Array.of(10, 10, 500, 0x80000000, 0xfffffff0),
    Int32Array.of(2, 3, 1, 0, 4),
    new Int32Array(5),
  );
  const cases: [number, number][] = [
    [0, 2],
    [10, 2],
    [11, 1],
    [500, 1],
    [501, 0],
    [0x7fffffff, 0],
    [0x80000000, 0],
    [0x80000001, 4],
    [0xfffffff0, 4],
    [0xfffffff1, 2],
    [0xffffffff, 2],
  ];
  for (const [hash, server] of cases) assert.equal(ring.lookup(hash), server, `hash ${hash}`);
});

Deno.test("buildKetama() hashes the first 272 bytes of a label, as twemproxy's buffer holds", () => {
  const name = "n".repeat(272);
  const ring = buildKetama([{ name, weight: 1 }, { name: "b", weight: 1 }], Uint8Array.of(1, 0))!;
  assert.equal(ring.values.length, 160);
  assert.equal(new Set(ring.values).size, 4, "the index does not fit any more");
});

Deno.test("Modula.lookup() follows the list of servers repeated by weight, without making it", () => {
  const servers = [{ name: "a", weight: 1 }, { name: "b", weight: 3 }, { name: "c", weight: 2 }];
  const ring = buildModula(servers, ALL)!;
  const list = [0, 1, 1, 1, 2, 2];
  for (let hash = 0; hash < 60; hash++) assert.equal(ring.lookup(hash), list[hash % 6]);
  assert.equal(ring.lookup(0xffffffff), list[0xffffffff % 6]);
  const heavy = buildModula([{ name: "a", weight: 2147483647 }, { name: "b", weight: 2147483647 }], ALL)!;
  assert.equal(heavy.lookup(2147483646), 0);
  assert.equal(heavy.lookup(2147483647), 1);
  assert.equal(heavy.lookup(4294967293), 1);
  assert.equal(heavy.lookup(4294967294), 0);
});

Deno.test("Random.lookup() draws among live servers, once a lookup, whatever the weight", () => {
  const draws = [0, 0.49, 0.5, 0.999999];
  let drawn = 0;
  const servers = THREE.map((server, i) => ({ ...server, weight: 1 + i * 100 }));
  const ring = buildRandom(servers, Uint8Array.of(1, 0, 1), () => draws[drawn++]!)!;
  assert.deepEqual(draws.map(() => ring.lookup(7)), [0, 0, 2, 2]);
  assert.equal(drawn, draws.length);
  assert.deepEqual(servers.map((_, s) => ring.pointsOf(s)), [1, 0, 1]);
});

Deno.test("sortServers() sorts by length, then by unsigned bytes of UTF-8", () => {
  const sorted = (names: string[]) => sortServers(names.map((name) => ({ name }))).map(({ name }) => name);
  assert.deepEqual(sorted(["zebra", "longername", "b", "ab", "aa"]), [
    "b",
    "aa",
    "ab",
    "zebra",
    "longername",
  ]);
  assert.deepEqual(sorted(["10.0.0.10:1", "10.0.0.9:1", "10.0.0.2:1"]), [
    "10.0.0.2:1",
    "10.0.0.9:1",
    "10.0.0.10:1",
  ]);
  // "é" is two bytes and starts with 0xc3; "zz" is two bytes of ASCII.
  assert.deepEqual(sorted(["é", "zzz", "zz", "B", "a"]), ["B", "a", "zz", "é", "zzz"]);
  const input = Object.freeze([{ name: "b", extra: 1 }, { name: "a", extra: 2 }]);
  assert.equal(sortServers(input)[0], input[1], "elements are the caller's own");
});
