/**
 * What holds for every hash and ring, whatever the keys, servers and weights: against references written the
 * slow and obvious way (BigInt, node:crypto, a sorted list searched from its start), and as laws of their
 * own.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { crc32 as zlibCrc32 } from "node:zlib";
import fc from "fast-check";
import { type Hash, HASHES, type HashName } from "../../src/hash/hash.ts";
import { buildKetama, ketamaPoints } from "../../src/ring/ketama.ts";
import { tagEnd, tagStart } from "../../src/ring/hash_tag.ts";
import { Placement } from "../../src/ring/placement.ts";
import { type DistributionName, DISTRIBUTIONS, type RingServer } from "../../src/ring/ring.ts";
import { sortServers } from "../../src/ring/server_order.ts";

const bytes = fc.uint8Array({ maxLength: 150 });
const hashes = fc.oneof(
  fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xffffffff),
  fc.integer({ min: 0, max: 0xffffffff }),
);

/** Servers with different names, in twemproxy's order; weights from `weight`. */
function serversOf(weight: fc.Arbitrary<number>, minLength = 1): fc.Arbitrary<RingServer[]> {
  const name = fc.oneof(
    fc.integer({ min: 1, max: 65535 }).map((port) => `10.0.0.1:${port}`),
    fc.string({ minLength: 1, maxLength: 12, unit: "grapheme" }),
  );
  return fc.uniqueArray(fc.record({ name, weight }), {
    minLength,
    maxLength: 12,
    selector: (server) => server.name,
  }).map(sortServers);
}

const weights = fc.oneof(fc.integer({ min: 1, max: 10 }), fc.integer({ min: 1, max: 2147483647 }));

/** Servers and which of them are live. */
const pools = serversOf(weights).chain((servers) =>
  fc.record({
    servers: fc.constant(servers),
    live: fc.uint8Array({ minLength: servers.length, maxLength: servers.length, max: 1 }),
  })
);

function allLive(servers: readonly RingServer[]): Uint8Array {
  return new Uint8Array(servers.length).fill(1);
}

/** A generator of numbers in [0, 1) that is the same for the same seed. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

// Hashes.

for (const [name, hash] of Object.entries(HASHES) as [HashName, Hash][]) {
  Deno.test(`${name}() reads nothing outside [start, end) and gives a uint32`, () => {
    fc.assert(fc.property(bytes, bytes, bytes, (key, before, after) => {
      const value = hash(key, 0, key.length);
      assert.ok(value === value >>> 0, `${value} is a uint32`);
      const surrounded = Uint8Array.from([...before, ...key, ...after]);
      assert.equal(hash(surrounded, before.length, before.length + key.length), value);
      // The same bytes in a view of a larger buffer, where a byte offset could be forgotten.
      const view = surrounded.subarray(before.length);
      assert.equal(hash(view, 0, key.length), value);
    }));
  });
}

/** FNV in 64 bits as its authors have it, except for the signs of bytes; its low 32 bits. */
function slowFnv64(key: Uint8Array, xorFirst: boolean): number {
  let h = 0xcbf29ce484222325n;
  for (const byte of key) {
    const signed = BigInt.asUintN(64, BigInt.asIntN(8, BigInt(byte)));
    h = BigInt.asUintN(64, xorFirst ? (h ^ signed) * 0x100000001b3n : (h * 0x100000001b3n) ^ signed);
  }
  return Number(BigInt.asUintN(32, h));
}

const REFERENCES: Partial<Record<HashName, (key: Uint8Array) => number>> = {
  md5: (key) => createHash("md5").update(key).digest().readUInt32LE(0),
  crc32a: (key) => zlibCrc32(key),
  crc32: (key) => (zlibCrc32(key) >>> 16) & 0x7fff,
  fnv1_64: (key) => slowFnv64(key, false),
  fnv1a_64: (key) => slowFnv64(key, true),
};

for (const [name, reference] of Object.entries(REFERENCES)) {
  Deno.test(`${name}() agrees with an independent implementation`, () => {
    fc.assert(fc.property(bytes, (key) => {
      assert.equal(HASHES[name as HashName](key, 0, key.length), reference(key));
    }));
  });
}

// Rings.

/** The owner of `hash` by the rules read slowly: every point in a list, first value that is large enough. */
function slowKetama(servers: readonly RingServer[], live: Uint8Array): (hash: number) => number {
  const alive = servers.map((server, index) => ({ ...server, index })).filter(({ index }) =>
    live[index] === 1
  );
  const total = alive.reduce((sum, { weight }) => sum + weight, 0);
  const single = (value: number) => new Float32Array([value])[0]!;
  const points: { value: number; owner: number }[] = [];
  for (const { name, weight, index } of alive) {
    const share = single(single(weight) / single(total));
    const labels = single(single(single(share * 160) / 4) * single(alive.length));
    for (let i = 0; i < Math.floor(labels); i++) {
      const digest = createHash("md5").update(Buffer.from(`${name}-${i}`)).digest();
      for (let w = 0; w < 4; w++) points.push({ value: digest.readUInt32LE(w * 4), owner: index });
    }
  }
  points.sort((a, b) => a.value - b.value);
  return (hash) => (points.find(({ value }) => value >= hash) ?? points[0]!).owner;
}

function slowModula(servers: readonly RingServer[], live: Uint8Array): (hash: number) => number {
  const total = servers.reduce((sum, { weight }, i) => sum + weight * live[i]!, 0);
  return (hash) => {
    let entry = hash % total;
    return servers.findIndex(({ weight }, i) => live[i] === 1 && (entry -= weight) < 0);
  };
}

for (const [name, slow] of [["ketama", slowKetama], ["modula", slowModula]] as const) {
  Deno.test(`${name} agrees with a slow ring, whichever servers are live`, () => {
    fc.assert(fc.property(pools, fc.array(hashes, { minLength: 20 }), ({ servers, live }, many) => {
      const ring = DISTRIBUTIONS[name](servers, live, Math.random);
      if (!live.includes(1)) return assert.equal(ring, null);
      const owner = slow(servers, live);
      for (const hash of many) assert.equal(ring!.lookup(hash), owner(hash), `hash ${hash}`);
    }));
  });
}

Deno.test("Ketama.lookup() agrees with a slow ring on and beside every point", () => {
  fc.assert(
    fc.property(pools, ({ servers, live }) => {
      const ring = buildKetama(servers, live);
      if (ring === null) return;
      let first = 0;
      for (let i = 0; i < ring.values.length; i++) {
        const value: number = ring.values[i]!;
        if (i > 0) assert.ok(ring.values[i - 1]! <= value, "ascending");
        if (value !== ring.values[first]) first = i;
        const owner: number = ring.owners[first]!;
        const next = ring.values.findIndex((other) => other > value);
        assert.equal(ring.lookup(value), owner);
        if (value < 0xffffffff) assert.equal(ring.lookup(value + 1), ring.owners[Math.max(next, 0)]);
      }
    }),
    { numRuns: 20 },
  );
});

for (const name of Object.keys(DISTRIBUTIONS) as DistributionName[]) {
  Deno.test(`${name} built twice from the same servers is the same ring and names live servers only`, () => {
    fc.assert(fc.property(pools, fc.array(hashes), fc.nat(), ({ servers, live }, many, seed) => {
      const one = DISTRIBUTIONS[name](servers, live, seeded(seed));
      const two = DISTRIBUTIONS[name](servers, live, seeded(seed));
      if (one === null) return assert.equal(two, null);
      for (const hash of many) {
        const owner: number = one.lookup(hash);
        assert.equal(two!.lookup(hash), owner);
        assert.equal(live[owner], 1);
        assert.ok(one.pointsOf(owner) > 0);
      }
      for (let s = 0; s < servers.length; s++) assert.equal(one.pointsOf(s), two!.pointsOf(s));
      for (let s = 0; s < servers.length; s++) if (live[s] === 0) assert.equal(one.pointsOf(s), 0);
    }));
  });
}

/** Some pool, the index of one of its two or more servers, and keys as hashes. */
function departures(weight: fc.Arbitrary<number>) {
  return serversOf(weight, 2).chain((servers) =>
    fc.record({
      servers: fc.constant(servers),
      gone: fc.nat(servers.length - 1),
      many: fc.array(hashes, { minLength: 200, maxLength: 200 }),
    })
  );
}

/*
 * "Removing a server moves only its own keys" is not true of ketama as twemproxy builds it: a server's points
 * follow from its share of what is live. Precisely: a survivor's key moves only because the survivor lost
 * points or its new owner gained some. With equal weights and no rounding on either side of the departure
 * nobody does, and then the phrase holds.
 */
Deno.test("ketama: when a server leaves, a survivor's key moves only if points were lost or gained", () => {
  fc.assert(fc.property(departures(weights), ({ servers, gone, many }) => {
    const before = buildKetama(servers, allLive(servers))!;
    const live = allLive(servers);
    live[gone] = 0;
    const after = buildKetama(servers, live)!;
    for (const hash of many) {
      const old = before.lookup(hash);
      const now = after.lookup(hash);
      assert.notEqual(now, gone);
      if (old === gone || old === now) continue;
      const lost = after.pointsOf(old) < before.pointsOf(old);
      const gained = after.pointsOf(now) > before.pointsOf(now);
      assert.ok(lost || gained, `hash ${hash} moved from ${old} to ${now} though neither's points changed`);
    }
  }));
});

Deno.test("ketama: when one of equal servers leaves, only its keys move, and they come back with it", () => {
  const weight = fc.integer({ min: 1, max: 1000 });
  fc.assert(fc.property(departures(fc.constant(1)), weight, ({ servers, gone, many }, each) => {
    const equal = servers.map((server) => ({ ...server, weight: each }));
    // No rounding down among at most 12 servers; 25 is the first count with 156 points.
    for (const n of [equal.length, equal.length - 1]) assert.equal(ketamaPoints(each, each * n, n), 160);
    const placement = new Placement({
      hash: (key) => new DataView(key.buffer).getUint32(0),
      distribution: "ketama",
      hashTag: null,
      servers: equal,
      random: Math.random,
    });
    const key = new Uint8Array(4);
    const placeAll = () =>
      many.map((hash) => {
        new DataView(key.buffer).setUint32(0, hash);
        return placement.serverOf(key, 0, 4);
      });
    const before = placeAll();
    const live = allLive(equal);
    live[gone] = 0;
    placement.setLive(live);
    placeAll().forEach((now, i) =>
      before[i] === gone ? assert.notEqual(now, gone) : assert.equal(now, before[i])
    );
    placement.setLive(allLive(equal));
    assert.deepEqual(placeAll(), before);
  }));
});

Deno.test("ketama: points follow weights to within one label", () => {
  fc.assert(fc.property(pools, ({ servers, live }) => {
    const ring = buildKetama(servers, live);
    if (ring === null) return;
    const n = live.filter((mark) => mark === 1).length;
    const total = servers.reduce((sum, { weight }, i) => sum + weight * live[i]!, 0);
    servers.forEach(({ weight }, i) => {
      if (live[i] === 0) return;
      const ideal = (160 * n * weight) / total;
      const points = ring.pointsOf(i);
      assert.ok(points <= ideal * 1.000001 && points > ideal * 0.999999 - 4, `${points} points for ${ideal}`);
    });
  }));
});

Deno.test("ketama: shares of the hash space follow weights", () => {
  // 160 points or more have a relative deviation of at most 1/√160 = 8 %; seven of those never happen.
  fc.assert(fc.property(serversOf(fc.integer({ min: 1, max: 4 }), 2), (servers) => {
    const ring = buildKetama(servers, allLive(servers))!;
    const shares = new Float64Array(servers.length);
    ring.values.forEach((value, i) => {
      const previous = i === 0 ? ring.values.at(-1)! - 2 ** 32 : ring.values[i - 1]!;
      shares[ring.owners[i]!]! += value - previous;
    });
    servers.forEach((_, i) => {
      const points = ring.pointsOf(i);
      if (points < 160) return;
      const ratio = shares[i]! / 2 ** 32 / (points / ring.values.length);
      assert.ok(Math.abs(ratio - 1) < 7 * 0.08, `server ${i}: ${points} points, ${ratio} of its share`);
    });
  }));
});

Deno.test("modula: shares are exactly the weights", () => {
  fc.assert(
    fc.property(
      serversOf(fc.integer({ min: 1, max: 10 })),
      fc.integer({ min: 0, max: 1000 }),
      (servers, turn) => {
        const total = servers.reduce((sum, { weight }) => sum + weight, 0);
        const ring = DISTRIBUTIONS.modula(servers, allLive(servers), Math.random)!;
        const counts = servers.map(() => 0);
        for (let hash = turn * total; hash < (turn + 1) * total; hash++) {
          counts[ring.lookup(hash)]!++;
        }
        assert.deepEqual(counts, servers.map(({ weight }) => weight));
      },
    ),
  );
});

Deno.test("random: every live server is drawn about equally often, whatever its weight", () => {
  fc.assert(
    fc.property(pools, fc.nat(), ({ servers, live }, seed) => {
      const ring = DISTRIBUTIONS.random(servers, live, seeded(seed));
      if (ring === null) return;
      const n = live.filter((mark) => mark === 1).length;
      const counts = servers.map(() => 0);
      for (let i = 0; i < n * 1000; i++) counts[ring.lookup(0)]!++;
      counts.forEach((count, i) => {
        if (live[i] === 0) assert.equal(count, 0);
        else assert.ok(Math.abs(count - 1000) < 250, `${count} of about 1000`);
      });
    }),
    { numRuns: 20 },
  );
});

// Hash tags.

/** Few different bytes, so that tags come up. */
const tagged = fc.array(fc.constantFrom(0x7b, 0x7d, 0x24, 0x61, 0xff), { maxLength: 12 }).map((k) =>
  Uint8Array.from(k)
);
const delimiters = fc.constantFrom([0x7b, 0x7d], [0x24, 0x24], [0xff, 0x61]);

Deno.test("a hash tag lies inside its key, is never empty, and holds neither closing byte nor anything beyond", () => {
  fc.assert(fc.property(tagged, tagged, tagged, delimiters, (key, before, after, [open, close]) => {
    const all = Uint8Array.from([...before, ...key, ...after]);
    const start = before.length;
    const end = start + key.length;
    const from = tagStart(all, start, end, open!);
    const to = from < 0 ? -1 : tagEnd(all, from, end, close!);
    if (from >= 0) assert.ok(start < from && from <= end && all[from - 1] === open);
    if (to >= 0) {
      assert.ok(start < from && from < to && to < end);
      assert.equal(all[to], close);
      assert.ok(!all.subarray(from, to).includes(close!));
    }

    // The same by way of strings.
    const text = String.fromCharCode(...key);
    const first = text.indexOf(String.fromCharCode(open!));
    const last = first < 0 ? -1 : text.indexOf(String.fromCharCode(close!), first + 1);
    const whole = last <= first + 1;
    assert.deepEqual(to < 0 ? null : [from - start, to - start], whole ? null : [first + 1, last]);
  }));
});

Deno.test("Placement.serverOf() puts a key where it puts its hash tag, and reads nothing outside the key", () => {
  const servers = sortServers(["a", "b", "c", "d", "e"].map((name) => ({ name, weight: 1 })));
  fc.assert(fc.property(tagged, tagged, tagged, delimiters, (key, before, after, tag) => {
    const options = {
      hash: HASHES.fnv1a_64,
      distribution: "ketama",
      servers,
      random: Math.random,
    } as const;
    const placement = new Placement({ ...options, hashTag: Uint8Array.from(tag) });
    const plain = new Placement({ ...options, hashTag: null });
    const owner = placement.serverOf(key, 0, key.length);
    const from = tagStart(key, 0, key.length, tag[0]!);
    const to = from < 0 ? -1 : tagEnd(key, from, key.length, tag[1]!);
    assert.equal(owner, to < 0 ? plain.serverOf(key, 0, key.length) : plain.serverOf(key, from, to));
    const all = Uint8Array.from([...before, ...key, ...after]);
    assert.equal(placement.serverOf(all, before.length, before.length + key.length), owner);
  }));
});

// Order.

Deno.test("sortServers() is one order for every arrangement of the same servers", () => {
  fc.assert(fc.property(serversOf(fc.constant(1)), fc.infiniteStream(fc.nat()), (servers, picks) => {
    const rest = [...servers];
    const shuffled: RingServer[] = [];
    for (const pick of picks.take(servers.length)) shuffled.push(...rest.splice(pick % rest.length, 1));
    assert.deepEqual(sortServers(shuffled), servers);
  }));
});
