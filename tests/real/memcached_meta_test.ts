/**
 * Every flag of every meta command, alone and in pairs, byte for byte as from memcached itself: through a pool of one
 * server, through one of three, and pipelined with quiet flags over all three.
 *
 *   case: set-up ─► command ─► what the item is now         each is asked of memcached and of Ringmaster
 */
import assert from "node:assert/strict";
import { latin1, show } from "../lib/bytes.ts";
import { Fixture } from "../lib/fixture.ts";
import { Random } from "../lib/random.ts";
import { poolYml, type Runtime, RUNTIMES } from "../lib/servers.ts";
import { Side, steady, STILL } from "./memcached_side.ts";

const ARGS = ["-t", "1", "-o", STILL];

/** Flags with the tokens they are tried with; those that the command does not know among them. */
const FLAGS: Record<string, readonly string[]> = {
  mg: [
    "b",
    "c",
    "f",
    "h",
    "k",
    "l",
    "O1",
    "Oabc",
    "q",
    "s",
    "t",
    "v",
    "E9",
    "N30",
    "R30",
    "R0",
    "T60",
    "I",
    "z",
  ],
  ms: [
    "b",
    "c",
    "k",
    "O1",
    "q",
    "s",
    "f",
    "C1",
    "C0",
    "E9",
    "F5",
    "Fx",
    "I",
    "T60",
    "T-1",
    "ME",
    "MA",
    "MP",
    "MR",
    "MS",
  ]
    .concat("Mset", "MX", "S2", "z"),
  md: ["b", "k", "O1", "q", "C1", "C0", "E9", "I", "T30", "x", "s", "z"],
  ma: [
    "b",
    "k",
    "O1",
    "q",
    "t",
    "c",
    "v",
    "N30",
    "J13",
    "D2",
    "Dx",
    "T60",
    "M+",
    "M-",
    "MI",
    "MD",
    "MX",
    "C1",
    "E9",
    "z",
  ],
  me: ["b", "q", "k"],
  mn: ["q", "k", "x"],
};

/** What is under a key before the command. */
const BEFORE: Record<string, (key: string, b: string) => string> = {
  miss: () => "",
  text: (key, b) => `ms ${key} 3${b} F7 T0\r\nabc\r\n`,
  number: (key, b) => `ms ${key} 2${b}\r\n10\r\n`,
  stale: (key, b) => `ms ${key} 2${b}\r\n10\r\nmd ${key}${b} I T30\r\n`,
};

interface Case {
  name: string;
  before: string;
  command: string;
  after: string;
}

/** No flag, every flag, and every two of them in both orders, over all that can be under the key. */
function cases(): Case[] {
  const all: Case[] = [];
  for (const [command, flags] of Object.entries(FLAGS)) {
    const sets: string[][] = [[], ...flags.map((flag) => [flag])];
    for (const one of flags) for (const other of flags) if (one !== other) sets.push([one, other]);
    for (const set of sets) {
      // Listed in memcached_differential_test.ts: q hides what ma has made.
      if (command === "ma" && set.includes("q") && set.includes("N30")) continue;
      for (const [state, before] of Object.entries(BEFORE)) {
        if (command === "mn" && state !== "miss") continue;
        // Key and base64 of a key are of one length, and different in each case.
        const b = set.includes("b") ? " b" : "";
        const key = b === "" ? `key${all.length}` : btoa(`key${String(all.length).padStart(6, "0")}`);
        const words = [command, ...command === "mn" ? [] : [key], ...command === "ms" ? ["2"] : [], ...set];
        all.push({
          name: `${words.join(" ")} (${state})`,
          before: before(key, b),
          command: `${words.join(" ")}\r\n${command === "ms" ? "55\r\n" : ""}`,
          after: `mg ${key}${b} v c f s t k\r\n`,
        });
      }
    }
  }
  return all;
}

/** CAS numbers are counted by each server. */
function withoutCas(text: string): string {
  return text.replace(/ (c|cas=)\d+/g, " $1#");
}

async function stand(f: Fixture, runtime: Runtime, count: number): Promise<{ direct: Side; proxied: Side }> {
  const servers = [];
  for (let i = 0; i <= count; i++) servers.push(await f.memcached({ args: ARGS }));
  const proxy = await f.proxy(runtime, poolYml({ alpha: { servers: servers.slice(1) } }));
  return { direct: f.add(new Side(servers[0]!.target)), proxied: f.add(new Side(proxy.target)) };
}

for (const runtime of RUNTIMES) {
  for (const count of [1, 3]) {
    Deno.test(`every flag of the meta commands, ${count} server${count > 1 ? "s" : ""} (${runtime})`, async () => {
      await using f = new Fixture();
      const { direct, proxied } = await stand(f, runtime, count);
      const plain = (text: string) => count === 1 ? steady(text) : withoutCas(steady(text));
      const all = cases();
      for (const { name, before, command, after } of all) {
        // Each by itself: see STILL.
        for (const input of before === "" ? [command, after] : [before, command, after]) {
          assert.equal(plain(await proxied.ask([input])), plain(await direct.ask([input])), name);
        }
      }
      assert.ok(all.length > 5000);
    });
  }

  Deno.test(`meta commands pipelined with quiet flags over three servers (${runtime})`, async () => {
    await using f = new Fixture();
    const { direct, proxied } = await stand(f, runtime, 3);
    for (let seed = 1; seed <= 100; seed++) {
      const random = new Random(seed);
      const requests: string[] = [];
      for (let i = random.between(50, 400); i > 0; i--) requests.push(pipelined(random, i));
      const input = requests.join("");
      const expected = withoutCas(steady(await direct.ask([input])));
      const actual = withoutCas(steady(await proxied.ask([input])));
      assert.equal(actual, expected, `seed ${seed}: ${show(latin1(input), 2000)}`);
    }
  });
}

/** A request for one of many keys, mostly quiet, with an opaque that tells which it is. */
function pipelined(random: Random, number: number): string {
  const text = `key${random.below(60)}`;
  const b = random.next() < 0.3 ? " b" : "";
  const key = b === "" ? text : btoa(text.padEnd(6, "_"));
  const flags = `${b}${random.next() < 0.7 ? " q" : ""} O${number}${random.next() < 0.5 ? " k" : ""}`;
  switch (random.below(10)) {
    case 0:
    case 1:
    case 2: {
      // Larger ones than are copied, sometimes.
      const value = "v".repeat(random.next() < 0.02 ? 100_000 : random.below(200));
      return `ms ${key} ${value.length}${flags} ${
        random.pick(["ME", "MS", "MR", "MA", "F9"])
      }\r\n${value}\r\n`;
    }
    case 3:
      return `md ${key}${flags}\r\n`;
    case 4:
      return `ma n${key}${flags} ${random.pick(["J5", "D3", "T0"])}\r\n`;
    case 5:
      return random.pick(["mn\r\n", `mg ${key} q q\r\n`, "mx\r\n", `get ${key} other${number}\r\n`]);
    default:
      return `mg ${key}${flags} ${random.pick(["v", "v f", "s", "v s f", ""])}\r\n`;
  }
}
