/** Who goes when too many handshakes are half open, and whose turn is next. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { addressOf, HalfOpen } from "../../src/runtime/half_open.ts";
import { handshakesMax } from "../../src/service/ceilings.ts";

const MAX = 64;
const HALF = MAX / 2;

class Stand {
  /** Who was pushed out, in order. */
  readonly gone: string[] = [];
  readonly places = new HalfOpen<string>(MAX, (who) => {
    this.gone.push(who);
    ok(this.places.remove(who), who);
  });

  /** "address number" each. @param stage how far they come */
  come(address: string, count: number, stage: "silent" | "asks" | "answered" = "silent", from = 0): void {
    for (let i = from; i < from + count; i++) {
      const who = `${address} ${i}`;
      this.places.add(who, address);
      if (stage === "silent") continue;
      this.places.asks(who);
      // Others may be before it.
      if (stage === "answered") { while (this.places.next() !== who); }
    }
  }

  /** One each of so many addresses. */
  many(prefix: string, count: number, stage?: "silent" | "asks" | "answered"): void {
    for (let i = 0; i < count; i++) this.come(`${prefix}${i}`, 1, stage);
  }
}

Deno.test("an address has half of all places for those it keeps us waiting for, then its oldest goes", () => {
  for (const stage of ["silent", "answered"] as const) {
    const stand = new Stand();
    stand.come("a", HALF, stage);
    deepStrictEqual(stand.gone, []);
    stand.come("a", 2, stage, HALF);
    deepStrictEqual(stand.gone, ["a 0", "a 1"], stage);
    strictEqual(stand.places.size, HALF);
  }
});

Deno.test("those that wait for us are no reason to push out one of their address, until all places are taken", () => {
  const stand = new Stand();
  stand.come("herd", MAX, "asks");
  deepStrictEqual(stand.gone, []);
  stand.come("herd", 1, "asks", MAX);
  // The newest of those before: the oldest are next.
  deepStrictEqual(stand.gone, [`herd ${MAX - 1}`]);
});

Deno.test("who is alone at his address stays, however many others come, whatever they do", () => {
  for (const alone of ["silent", "asks", "answered"] as const) {
    for (const flood of ["silent", "asks", "answered"] as const) {
      const stand = new Stand();
      stand.come("alone", 1, alone);
      // From one address, from three, and some each of many.
      stand.come("x", 3 * MAX, flood);
      for (const from of ["p", "q", "r"]) stand.come(from, MAX, flood);
      // As long as they are fewer than there are places: then everybody is alone.
      for (let i = 0; i < 2 * MAX; i++) stand.come(`few${i % HALF}`, 2, flood, 2 * i);
      ok(!stand.gone.includes("alone 0"), `${alone}, ${flood}`);
      ok(stand.places.size <= MAX);
    }
  }
});

Deno.test("of many addresses the oldest goes that is silent, not one that has been answered, if most are silent", () => {
  const stand = new Stand();
  stand.many("good", 4, "answered");
  stand.many("bad", MAX - 4);
  deepStrictEqual(stand.gone, []);
  stand.many("more", 3);
  deepStrictEqual(stand.gone, ["bad0 0", "bad1 0", "bad2 0"]);
});

Deno.test("of many that never answer the oldest of them goes, not one that has just come", () => {
  const stand = new Stand();
  stand.many("bad", MAX - 1, "answered");
  stand.come("good", 1);
  stand.many("more", 3, "answered");
  deepStrictEqual(stand.gone, ["bad0 0", "bad1 0", "bad2 0"]);
});

Deno.test("addresses that have a few are alike", () => {
  const stand = new Stand();
  stand.come("office", 5, "answered");
  for (let i = 0; i < MAX; i++) stand.come(`bad${i % HALF}`, 2, "silent", 2 * i);
  strictEqual(stand.gone.length, MAX + 5);
  ok(!stand.gone.some((who) => who.startsWith("office")), String(stand.gone));
});

Deno.test("those that ask have their turn address by address, each in its order", () => {
  const stand = new Stand();
  stand.come("x", 4, "asks");
  stand.come("y", 2, "asks");
  stand.come("z", 1, "asks");
  const order = [];
  for (let who = stand.places.next(); who !== null; who = stand.places.next()) order.push(who);
  deepStrictEqual(order, ["x 0", "y 0", "z 0", "x 1", "y 1", "x 2", "x 3"]);
  // Who has gone has no turn.
  stand.come("v", 2, "asks");
  stand.places.remove("v 0");
  strictEqual(stand.places.next(), "v 1");
  strictEqual(stand.places.asked, false);
});

Deno.test("with one place or with none nothing breaks, and who has come last stays", () => {
  for (const max of [1, 2, 16]) {
    const gone: string[] = [];
    const places = new HalfOpen<string>(max, (who) => {
      gone.push(who);
      places.remove(who);
    });
    for (let i = 0; i < 100; i++) {
      const who = `w${i}`;
      places.add(who, i % 3 === 0 ? "a" : `b${i}`);
      ok(places.size <= max);
      ok(places.remove(who) && (places.add(who, "c"), true), who);
      if (i % 2 === 0) places.asks(who);
      if (i % 4 === 0) places.next();
    }
    strictEqual(new Set(gone).size, gone.length);
  }
});

Deno.test("addressOf() is an address of IPv4, a network of IPv6", () => {
  const same = (a: string, b: string) => addressOf(a) === addressOf(b);
  ok(same("10.0.0.1:1", "10.0.0.1:2"));
  ok(!same("10.0.0.1:1", "10.0.0.2:1"));
  ok(same("[2001:db8:0:1::5]:1", "[2001:db8:0:1:ffff::]:2"));
  ok(!same("[2001:db8:0:1::5]:1", "[2001:db8:0:2::5]:1"));
  ok(same("[::ffff:10.0.0.1]:1", "10.0.0.1:2"));
  strictEqual(addressOf("unix"), "");
});

Deno.test("those that come back after an answer have every other turn, and count as answered in between", () => {
  const stand = new Stand();
  stand.come("back", 3, "answered");
  strictEqual(stand.places.answered, 3);
  for (let i = 0; i < 3; i++) stand.places.asksAgain(`back ${i}`);
  strictEqual(stand.places.answered, 0);
  stand.many("new", 4, "asks");
  strictEqual(stand.places.asked, true);
  const order = [];
  for (let who = stand.places.next(); who !== null; who = stand.places.next()) order.push(who);
  deepStrictEqual(order.filter((who) => who.startsWith("new")), ["new0 0", "new1 0", "new2 0", "new3 0"]);
  deepStrictEqual(order.filter((who) => who.startsWith("back")), ["back 0", "back 1", "back 2"]);
  // In turn, as long as there are both.
  for (let i = 1; i < 6; i++) {
    strictEqual(order[i]!.startsWith("new"), !order[i - 1]!.startsWith("new"), order.join());
  }
  strictEqual(stand.places.asked, false);
  strictEqual(stand.places.answered, 7);
  // Who goes before his turn has none.
  stand.places.asksAgain("back 0");
  stand.places.asksAgain("back 1");
  stand.places.remove("back 0");
  stand.places.remove("new0 0");
  strictEqual(stand.places.next(), "back 1");
  stand.places.remove("back 1");
  strictEqual(stand.places.next(), null);
  strictEqual(stand.places.answered, 4);
});

Deno.test("an address that has shaken hands before has turns of its own, and goes last, unless it has more than a few", () => {
  const stand = new Stand();
  const shake = (address: string) => {
    stand.come(address, 1, "answered", 1000);
    stand.places.shook(`${address} 1000`);
  };
  shake("known");
  shake("herd");
  strictEqual(stand.places.size, 0);
  stand.many("bad", MAX - 2, "asks");
  stand.come("stranger", 1, "asks");
  stand.come("known", 1, "asks");
  // All places are taken: those go that have come last of those that nobody knows.
  stand.many("more", 3, "asks");
  deepStrictEqual(stand.gone, ["stranger 0", "more0 0", "more1 0"]);
  const first = [stand.places.next(), stand.places.next()];
  ok(first.includes("known 0"), String(first));
  // Of it others have a turn too.
  stand.come("known", 3, "asks", 1);
  const next = [1, 2, 3, 4].map(() => stand.places.next()!);
  strictEqual(next.filter((who) => who.startsWith("bad")).length, 2, String(next));
  // A herd is one, but for those few.
  stand.come("herd", 10, "asks");
  stand.many("late", 3, "asks");
  deepStrictEqual(stand.gone.filter((who) => who.startsWith("herd")), ["herd 7", "herd 8"]);
});

Deno.test("of addresses that have shaken hands the last 4,096 are known", () => {
  const stand = new Stand();
  for (let i = 0; i <= 4096; i++) {
    stand.places.add(`who${i}`, `a${i}`);
    stand.places.shook(`who${i}`);
  }
  strictEqual(stand.places.size, 0);
  stand.many("bad", MAX - 2, "asks");
  stand.come("a0", 1, "asks");
  stand.come("a1", 1, "asks");
  stand.many("more", 2, "asks");
  deepStrictEqual(stand.gone, ["a0 0", "more0 0"]);
});

/** In virtual time: a worker that takes 1.55 ms for an answer, 1,000 a second who ask and never go on, each of an address of its own. */
function flood(whose: string, comesAgain: boolean): { times: number[]; closed: number } {
  const gone = new Set<string>();
  const places = new HalfOpen<string>(256, (who) => {
    gone.add(who);
    places.remove(who);
  });
  const times: number[] = [];
  let [closed, serial, hostile, freeMs, nextMs, sinceMs] = [0, 0, 0, 0, 2000, 0];
  let who: string | null = null;
  const come = (name: string, address: string) => {
    places.add(name, address);
    places.asks(name);
  };
  if (comesAgain) {
    come(whose, whose);
    places.next();
    places.shook(whose);
  }
  for (let ms = 0; ms < 8000; ms += 0.5) {
    for (; hostile < ms; hostile++) come(`h${hostile}`, `h${hostile}`);
    if (who === null && ms >= nextMs) {
      sinceMs ||= ms;
      who = `${whose}${serial++}`;
      come(who, comesAgain ? whose : who);
    } else if (who !== null && gone.has(who)) {
      closed++;
      who = null;
      nextMs = ms + 10;
    }
    for (; freeMs <= ms; freeMs += 1.55) {
      const answered = places.next();
      if (answered === null) break;
      if (answered !== who) continue;
      places.shook(who);
      times.push(ms - sinceMs);
      who = null;
      [nextMs, sinceMs] = [ms + 50, 0];
    }
    freeMs = Math.max(freeMs, ms);
  }
  return { times, closed };
}

Deno.test("of a flood from very many addresses that is more than can be answered strangers wait for a turn of all places, known ones do not", () => {
  const strangers = flood("stranger", false);
  ok(strangers.times.length >= 4, String(strangers.times));
  ok(Math.max(...strangers.times) < 400, String(strangers.times));
  const known = flood("known", true);
  ok(known.times.length > 80, String(known.times.length));
  ok(Math.max(...known.times) < 10, String(known.times));
  strictEqual(known.closed, 0);
});

Deno.test("isOf() moves one to the address that it turns out to be of, where it counts with its like", () => {
  const stand = new Stand();
  stand.come("one", HALF);
  stand.come("balancer", 2);
  stand.places.isOf("balancer 0", "two");
  deepStrictEqual(stand.gone, []);
  stand.places.isOf("balancer 1", "one");
  deepStrictEqual(stand.gone, ["one 0"]);
  strictEqual(stand.places.size, HALF + 1);
  // Who has gone stays gone.
  stand.places.remove("balancer 0");
  stand.places.isOf("balancer 0", "one");
  strictEqual(stand.places.size, HALF);
});

Deno.test("handshakesMax() leaves files and memory to those who are clients", () => {
  const MB = 1024 * 1024;
  strictEqual(handshakesMax(0, Infinity, 2), 1024);
  strictEqual(handshakesMax(1024, Infinity, 2), 64);
  strictEqual(handshakesMax(65_536, 64 * MB, 2), 146);
  strictEqual(handshakesMax(1_000_000, 8192 * MB, 2), 1024);
  strictEqual(handshakesMax(64, 16 * MB, 8), 16);
});
