/** From one configuration to the next: who is who, what is refused, what has to wait. What moves is in property/plan_test.ts. */
import { deepStrictEqual, match, ok, strictEqual, throws } from "node:assert/strict";
import type { Config } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { changeLines, changeOf, changeSteps, RefusedChange } from "../../src/topology/change.ts";

interface PoolText {
  readonly name?: string;
  /** More lines of the pool. */
  readonly keys?: string;
  readonly servers?: readonly string[];
}

const SERVERS = ["127.0.0.1:1:1 a", "127.0.0.1:2:1 b"];
let port = 0;

function configOf(process: string, ...pools: readonly PoolText[]) {
  const text = pools.map(({ name = "alpha", keys = "", servers = SERVERS }, i) =>
    `${name}:\n  listen: 127.0.0.1:${100 + i}\n${keys}  servers:\n${
      servers.map((line) => `    - ${line}\n`).join("")
    }`
  );
  // The line on which a pool stands is nothing that changes.
  return parseConfig(`${"#\n".repeat(++port)}ringmaster: {${process}}\n${text.join("")}`, "x.yml");
}

function refusal(before: ReturnType<typeof configOf>, after: ReturnType<typeof configOf>): string {
  try {
    changeOf(before, after);
  } catch (error) {
    ok(error instanceof RefusedChange);
    return error.message;
  }
  throw new Error("nothing was refused");
}

Deno.test("changeOf() of the same file, somewhere else on the page, is the same", () => {
  const change = changeOf(configOf("", {}), configOf("", {}));
  strictEqual(change.same, true);
  deepStrictEqual(change.plans, []);
  deepStrictEqual(changeLines(change), []);
});

Deno.test("changeOf() finds pools and servers by name, wherever they stand and whatever their address", () => {
  const before = configOf("", { name: "alpha" }, { name: "beta" });
  const after = configOf(
    "",
    { name: "beta", servers: ["127.0.0.1:9:1 b", "127.0.0.1:1:1 c", "127.0.0.1:2:1 a"] },
    { name: "gamma" },
  );
  const named = after.pools.map((pool, i) => {
    const { pool: at, servers } = changeOf(before, after).arrangement[i]!;
    const from = servers.map((s, j) => [pool.servers[j]!.name, before.pools[at]?.servers[s]?.name ?? null]);
    return [pool.name, before.pools[at]?.name ?? null, Object.fromEntries(from)];
  });
  deepStrictEqual(named, [
    ["beta", "beta", { a: "a", b: "b", c: null }],
    ["gamma", null, { a: null, b: null }],
  ]);
});

Deno.test("changeOf() says which new server is one that was there under another name", () => {
  const after = configOf("", { servers: ["127.0.0.1:2:1 c", "127.0.0.1:1:1 a", "127.0.0.1:3:1 d"] });
  const { servers, renamed } = changeOf(configOf("", {}), after).arrangement[0]!;
  const names = after.pools[0]!.servers.map(({ name }) => name);
  deepStrictEqual(names.map((name, i) => [name, servers[i], renamed![i]]), [["a", 0, -1], ["c", -1, 1], [
    "d",
    -1,
    -1,
  ]]);
});

for (
  const [key, before, after] of [["redis", "true", "false"], ["redis_db", "0", "1"], ["databases", "1", "2"]]
) {
  Deno.test(`changeOf() refuses another ${key}`, () => {
    const keysOf = (value: string) => (key === "redis" ? "" : "  redis: true\n") + `  ${key}: ${value}\n`;
    match(
      refusal(configOf("", { keys: keysOf(before!) }), configOf("", { keys: keysOf(after!) })),
      new RegExp(`^pool alpha: ${key} changes from ${before} to ${after}, `),
    );
  });
}

Deno.test("changeOf() refuses to move more than max_moved of the new file, with a line for each pool", () => {
  const more = [...SERVERS, "127.0.0.1:3:1 c"];
  const after = configOf("max_moved: 20%", { servers: more }, { name: "beta", servers: more });
  const reasons = refusal(configOf("", {}, { name: "beta" }), after).split("\n");
  deepStrictEqual(reasons.map((line) => line.split(":")[0]).sort(), ["pool alpha", "pool beta"]);
  for (const line of reasons) {
    match(
      line,
      /% of all keys would move, max_moved allows 20\.0 %; to have them moved raise it, which counts at once$/,
    );
  }
  changeOf(configOf("max_moved: 20%", {}), configOf("", { servers: more }));
  changeOf(configOf("", {}), configOf("max_moved: 50%", { servers: more }));
});

Deno.test("changeOf() names what has to wait for the next start", () => {
  const keys = "  backlog: 7\n  tcpkeepalive: true\n  reuseport: true\n";
  const { waiting } = changeOf(configOf("", {}), configOf("workers: 2, max_memory: 1gb", { keys }));
  deepStrictEqual(waiting, [
    "ringmaster: workers",
    "ringmaster: max_memory",
    "pool alpha: backlog",
    "pool alpha: tcpkeepalive",
    "pool alpha: reuseport",
  ]);
  // It is named until it counts, and not when it is taken back.
  const next = changeOf(configOf("", {}), configOf("workers: 2, max_memory: 1gb", { keys })).after;
  const again = changeOf(next, configOf("workers: 2", { keys: "  backlog: 7\n" }));
  deepStrictEqual(again.waiting, ["ringmaster: workers", "pool alpha: backlog"]);
  ok(again.same);
  const back = changeOf(again.after, configOf("", {}));
  deepStrictEqual([back.waiting, back.same], [[], true]);
  // A pool that listens elsewhere does so as the new file says.
  const elsewhere = configOf("", { name: "beta" }, { keys });
  deepStrictEqual(changeOf(configOf("", {}), elsewhere).waiting, []);
});

Deno.test("changeLines() tells the largest moves one by one, and the rest together", () => {
  const servers = (from: number) => Array.from({ length: 9 }, (_, i) => `127.0.0.1:${1 + i}:1 s${from + i}`);
  const keys = "  distribution: modula\n";
  const before = configOf("", { keys, servers: servers(0) });
  const lines = changeLines(changeOf(before, configOf("", { keys, servers: servers(5).slice(1) })));
  strictEqual(lines.filter((line) => /^ {2}s\d+ +s\d+ /.test(line)).length, 20);
  match(lines.find((line) => /more, together/.test(line))!, /^ {2}and \d+ more, together \d+\.\d %$/);
});

Deno.test("changeSteps() stops often where servers are many, and makes no ring for keys that stay", () => {
  const count = (before: Config, after: Config) => {
    const steps = changeSteps(before, after);
    let stops = 0;
    while (!steps.next().done) stops++;
    return stops;
  };
  const of = (from: number, keys = "") => {
    const servers = Array.from({ length: 100 }, (_, i) => `127.0.0.1:${1 + i}:1 server${from + i}`);
    return configOf("", { servers, keys });
  };
  const before = of(0);
  const both = count(before, of(1));
  // Two rings of 4,000 labels, and what of them is laid over each other.
  ok(both > 2 * 4000 / 32, `${both} stops`);
  ok(count(before, of(0, "  timeout: 400\n")) < both - 2 * 4000 / 32);
  const broken = changeSteps(configOf("", { keys: "  redis: true\n" }), configOf("", {}));
  throws(() => {
    while (!broken.next().done);
  }, RefusedChange);
});

/** A pool of a cluster whose servers are h:1, h:2, … with these slots, "-" for none of that number. */
function clusterOf(process: string, ...slots: readonly string[]) {
  const text = `ringmaster: {${process}}\nalpha:\n  listen: 127.0.0.1:100\n  redis: true\n  cluster: true\n` +
    "  servers:\n    - h:1\n    - h:2\n    - h:3\n";
  const config = parseConfig(text, "x.yml");
  const [pool] = config.pools;
  const servers = pool!.servers.flatMap((server, i) =>
    (slots[i] ?? "-") === "-" ? [] : [{ ...server, slots: slots[i]! }]
  );
  return { ...config, pools: [{ ...pool!, servers }] };
}

/** Slots before and after, and the lines of the log. */
const SLOTS: readonly (readonly [string, string[], string[], string[]])[] = [
  ["some move", ["0-99", "100-16383"], ["0-49 60-99", "50-59 100-16383"], [
    "slots 50-59 move from h:1 to h:2",
  ]],
  ["one moves", ["0-99", "100-16383"], ["0-98", "99-16383"], ["slot 99 moves from h:1 to h:2"]],
  ["a failover", ["0-99", "100-16383"], ["-", "100-16383", "0-99"], ["slots 0-99 move from h:1 to h:3"]],
  ["a server of another index", ["0-9", "10-19", "20-16383"], ["-", "10-19", "0-9 20-16383"], [
    "slots 0-9 move from h:1 to h:3",
  ]],
  ["both ways", ["0-99", "100-16383"], ["0-9 200", "10-199 201-16383"], [
    "slots 10-99 move from h:1 to h:2",
    "slot 200 moves from h:2 to h:1",
  ]],
  ["nobody's", ["0-99", "100-16383"], ["0-99", "100-16382"], [
    "slot 16383 is nobody's any more, and was h:2's",
  ]],
  ["of nobody's", ["0-99", "100-16000"], ["0-99", "100-16383"], ["slots 16001-16383 are h:2's now"]],
];

for (const [name, before, after, lines] of SLOTS) {
  Deno.test(`changeLines() of a cluster's slots: ${name}`, () => {
    // What a cluster has moved has moved, whatever may be moved here.
    const change = changeOf(clusterOf("max_moved: 0%", ...before), clusterOf("max_moved: 0%", ...after));
    deepStrictEqual(changeLines(change), lines.map((line) => `pool alpha: ${line}`));
  });
}

Deno.test("changeLines() of a cluster bounds what it says", () => {
  const even = Array.from({ length: 2000 }, (_, i) => 2 * i).join(" ");
  const odd = Array.from({ length: 2000 }, (_, i) => 2 * i + 1).join(" ") + " 4000-16383";
  const [line] = changeLines(changeOf(clusterOf("", even, odd), clusterOf("", "-", "0-16383")));
  match(line!, /^pool alpha: 2000 slots \(0 2 4 .* …\) move from h:1 to h:2$/);
  ok(line!.length < 150);
});

Deno.test("changeLines() of a cluster tells of other replicas", () => {
  const before = clusterOf("", "0-99", "100-16383");
  const [pool] = before.pools;
  const replica = { address: { host: "h", port: 9 }, text: "h:9", zone: null };
  const servers = pool!.servers.map((server, i) => i === 0 ? { ...server, replicas: [replica] } : server);
  const change = changeOf(before, { ...before, pools: [{ ...pool!, servers }] });
  deepStrictEqual(changeLines(change), ["pool alpha: h:1 has the replicas h:9"]);
});

Deno.test("changeOf() refuses a pool that becomes a cluster, or is none any more", () => {
  const list = { ...clusterOf("", "0-16383") };
  const plain = { ...list, pools: [{ ...list.pools[0]!, cluster: false }] };
  match(refusal(list, plain), /^pool alpha: cluster changes from true to false/);
  match(refusal(plain, list), /^pool alpha: cluster changes from false to true/);
});
