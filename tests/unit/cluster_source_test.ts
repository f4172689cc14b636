/** The source that is a cluster: whom it asks, when, what it believes of the answers, and what it tells. */
import assert from "node:assert/strict";
import type { ClusterFrom } from "../../src/config/config.ts";
import type { Log } from "../../src/net/log.ts";
import { ClusterSource, nodeText } from "../../src/topology/cluster.ts";
import type { Servers } from "../../src/topology/source.ts";
import { FakeRedis } from "../lib/fake_redis.ts";
import { SimClock } from "../sim/clock.ts";
import { SimNet } from "../sim/net.ts";
import { Random } from "../sim/random.ts";

const INTERVAL_MS = 10_000;

/** Nodes at 10.0.0.1:7000, 10.0.0.2:7000, …, and what CLUSTER NODES says of all of them; SHARDS they do not know. */
class Stand implements Disposable, Log {
  readonly clock = new SimClock();
  readonly net = new SimNet(this.clock, new Random(1));
  readonly nodes = new Map<string, FakeRedis>();
  /** What each says, by its name; else `said`. */
  readonly views = new Map<string, string>();
  said = "";
  level = 11;
  readonly lines: string[] = [];
  readonly told: string[] = [];
  last: Servers = [];
  source!: ClusterSource;

  write(_level: number, text: string): void {
    this.lines.push(text);
  }

  async node(name: string, slots: ((words: readonly string[]) => string) | null = null): Promise<FakeRedis> {
    const answer = (words: readonly string[]): string | null => {
      if (words[0] === "AUTH") return "+OK\r\n";
      if (words[1] === "SLOTS" && slots !== null) return slots(words);
      if (words[1] !== "NODES") return "-ERR unknown subcommand\r\n";
      const said = this.views.get(name) ?? this.said;
      if (said === "silent") return null;
      if (said.startsWith("-")) return `${said}\r\n`;
      const text = said.replaceAll(new RegExp(`^(${name} \\S+ )`, "gm"), "$1myself,");
      return `$${text.length}\r\n${text}\r\n`;
    };
    const host = name === "a"
      ? "10.0.0.1"
      : name === "b"
      ? "10.0.0.2"
      : name === "c"
      ? "10.0.0.3"
      : "10.0.0.4";
    const redis = await new FakeRedis(answer).listen(this.net, { host, port: 7000 });
    this.nodes.set(name, redis);
    return redis;
  }

  start(more: Partial<ClusterFrom> = {}, password: string | null = null): Promise<Servers> {
    const seed = (host: string) => ({ address: { host, port: 7000 }, text: `${host}:7000`, zone: null });
    const from = { seeds: [seed("10.0.0.1"), seed("10.0.0.2")], intervalMs: INTERVAL_MS, ...more };
    const auth = password === null ? null : { user: null, password };
    this.source = new ClusterSource(from, auth, { net: this.net, clock: this.clock, random: () => 0.5 });
    return this.take(this.source.first());
  }

  /** Resolves as the promise does; time goes on meanwhile. */
  async take<T>(promise: Promise<T>): Promise<T> {
    let done = false;
    const over = promise.finally(() => done = true);
    await this.clock.runAsync(() => done);
    return await over;
  }

  watch(): void {
    this.source.watch(this, (servers) => {
      this.last = servers;
      this.told.push(shown(servers));
    });
  }

  async pass(ms: number): Promise<void> {
    const until = this.clock.nowMs() + ms;
    let over = false;
    this.clock.setTimer(ms, () => over = true);
    await this.clock.runAsync(() => over || this.clock.nowMs() > until);
  }

  /** How often NODES has been asked, of all. */
  get asked(): number {
    let count = 0;
    for (const node of this.nodes.values()) {
      count += node.got.filter((each) => each === "CLUSTER NODES").length;
    }
    return count;
  }

  [Symbol.dispose](): void {
    this.source?.stop();
    for (const node of this.nodes.values()) node.stop();
  }
}

const shown = (servers: Servers): string =>
  servers.map(({ name, slots, replicas, heirOf }) =>
    [
      `${name.slice(7, 8)} ${slots}`,
      ...replicas.map((each) => `+${each.text.slice(7, 8)}`),
      heirOf === undefined ? "" : `for ${heirOf}`,
    ]
      .filter((each) => each !== "").join(" ")
  ).join(", ");

/** Lines of CLUSTER NODES: "a master 1 0-99" (id, flags, epoch, slots), "c slave:a 1". */
function nodes(...lines: string[]): string {
  return lines.map((line) => {
    const [id, role, epoch, ...slots] = line.split(" ");
    const [flags, primary] = role!.split(":");
    const place = `10.0.0.${"abcd".indexOf(id!) + 1}:7000@17000`;
    const link = flags!.includes("fail") ? "disconnected" : "connected";
    return [id, place, flags, primary ?? "-", 0, 0, epoch, link, ...slots].join(" ") + "\n";
  }).join("");
}

const TWO = nodes("a master 1 0-8191", "b master 2 8192-16383", "c slave:a 1");

Deno.test("ClusterSource: the nodes that own slots are the servers, with their replicas", async () => {
  using s = new Stand();
  await s.node("a");
  await s.node("b");
  s.said = TWO;
  assert.equal(shown(await s.start()), "1 0-8191 +3, 2 8192-16383");
  s.watch();
  s.said = nodes("a master 1 0-99", "b master 2 8192-16383", "c slave:a 1", "d master 3 100-8191");
  await s.pass(INTERVAL_MS * 1.2);
  assert.deepEqual(s.told, ["1 0-99 +3, 2 8192-16383, 4 100-8191"]);
  assert.deepEqual(s.lines, []);
});

Deno.test("ClusterSource: a hint makes it ask at once, and no more often than every 100 ms", async () => {
  using s = new Stand();
  await s.node("a");
  await s.node("b");
  s.said = TWO;
  await s.start();
  s.watch();
  const before = s.asked;
  s.source.hint("10.0.0.1:7000", "moved");
  s.said = nodes("a master 1 0-99", "b master 3 100-16383", "c slave:a 1");
  await s.pass(300);
  assert.deepEqual(s.told, ["1 0-99 +3, 2 100-16383"]);
  for (let i = 0; i < 100; i++) {
    s.source.hint("10.0.0.1:7000", "moved");
    await s.pass(10);
  }
  const rounds = (s.asked - before) / 2;
  assert.ok(rounds >= 8 && rounds <= 12, `${rounds} rounds in a second`);
  // Signs that tell of nothing new.
  await s.pass(300);
  const then = s.asked;
  s.source.hint("10.0.0.1:7000", "primary answers");
  await s.pass(1000);
  assert.equal(s.asked, then);
});

Deno.test("ClusterSource: what was seen before anybody watched is told to whoever does", async () => {
  using s = new Stand();
  await s.node("a");
  await s.node("b");
  s.said = TWO;
  await s.start();
  s.said = nodes("a master 1 0-99", "b master 3 100-16383", "c slave:a 1");
  s.source.hint("10.0.0.1:7000", "moved");
  await s.pass(500);
  s.watch();
  await s.pass(500);
  assert.deepEqual(s.told, ["1 0-99 +3, 2 100-16383"]);
});

Deno.test("ClusterSource: who is hinted is asked first, in a cluster of many", async () => {
  using s = new Stand();
  for (const name of "abcd") await s.node(name);
  const many = Array.from(
    { length: 40 },
    (_, i) => `x${i} 10.0.1.${i}:7000@1 master - 0 0 1 connected ${i + 100}\n`,
  ).join("");
  s.said = nodes("a master 1 0", "b master 2 1", "c master 3 2", "d master 4 3") + many;
  await s.start({
    seeds: [{ address: { host: "10.0.0.1", port: 7000 }, text: "10.0.0.1:7000", zone: null }],
  });
  s.watch();
  s.source.hint("10.0.0.4:7000", "moved");
  await s.pass(200);
  assert.ok(s.nodes.get("d")!.got.includes("CLUSTER NODES"));
});

Deno.test("ClusterSource: a start without the cluster begins with the seeds, and goes on asking", async () => {
  using s = new Stand();
  assert.equal(shown(await s.start()), "1 , 2 ");
  assert.ok(s.clock.nowMs() <= 2500);
  s.watch();
  await s.pass(5000);
  assert.equal(s.lines.length, 1, s.lines.join("\n"));
  assert.match(s.lines[0]!, /^cluster 10\.0\.0\.1:7000: .*; the servers stay as they are$/);
  s.said = TWO;
  await s.node("b");
  await s.pass(1500);
  assert.deepEqual(s.told, ["1 0-8191 +3, 2 8192-16383"]);
  assert.equal(s.lines.length, 2);
  assert.equal(s.lines[1], "cluster 10.0.0.1:7000: answers again");
});

Deno.test("ClusterSource: seeds of two clusters are one pool of one of them, and the log says so once", async () => {
  using s = new Stand();
  await s.node("a");
  await s.node("b");
  await s.node("c");
  // The other one has changed more often; it is smaller.
  s.said = nodes("a master 1 0-8191", "c master 2 8192-16383");
  s.views.set("b", nodes("b master 90 0-16382"));
  assert.equal(shown(await s.start()), "1 0-8191, 3 8192-16383");
  s.watch();
  await s.pass(30_000);
  assert.deepEqual(s.told, []);
  assert.deepEqual(s.lines, [
    "cluster 10.0.0.1:7000: 10.0.0.2:7000: a node of another cluster; it is not listened to",
  ]);
  // For a moment only that one answers.
  for (const name of ["a", "c"]) s.views.set(name, "-LOADING Redis is loading the dataset in memory");
  await s.pass(1000);
  s.views.delete("a");
  s.views.delete("c");
  await s.pass(30_000);
  assert.deepEqual(s.told, []);
});

Deno.test("ClusterSource: a cluster that was made anew is another one at the same addresses", async () => {
  using s = new Stand();
  await s.node("a");
  await s.node("b");
  s.said = TWO;
  await s.start();
  s.watch();
  s.said = nodes("a master 1 0-99", "b master 1 100-16383").replaceAll(/^([ab])/gm, "new-$1");
  await s.pass(INTERVAL_MS * 1.2);
  assert.deepEqual(s.told, ["1 0-99, 2 100-16383"]);
});

/** What each node says at first, and why the start cannot believe it. */
const USELESS: readonly (readonly [string, RegExp])[] = [
  ["-LOADING Redis is loading the dataset in memory", /10\.0\.0\.[12]:7000: LOADING Redis is loading/],
  ["-ERR This instance has cluster support disabled", /cluster support disabled/],
  ["-NOAUTH Authentication required.", /NOAUTH/],
  ["silent", /./],
  [nodes("a master 0", "b master 0"), /nobody owns any slot/],
];

for (const [said, why] of USELESS) {
  Deno.test(`ClusterSource: a cluster that says ${said.slice(0, 20).trim()} changes nothing, and why is logged once`, async () => {
    using s = new Stand();
    await s.node("a");
    await s.node("b");
    s.said = TWO;
    await s.start();
    s.watch();
    s.said = said;
    await s.pass(60_000);
    assert.deepEqual(s.told, []);
    assert.equal(s.lines.length, 1, s.lines.join("\n"));
    assert.match(s.lines[0]!, why);
    s.said = TWO;
    await s.pass(20_000);
    assert.deepEqual(s.told, []);
    assert.match(s.lines[1]!, /answers again$/);
  });
}

Deno.test("ClusterSource: who loads or is silent holds nobody up", async () => {
  using s = new Stand();
  for (const name of "abc") await s.node(name);
  s.said = TWO;
  s.views.set("a", "silent");
  s.views.set("c", "-LOADING x");
  const startMs = s.clock.nowMs();
  assert.equal(shown(await s.start()), "1 0-8191 +3, 2 8192-16383");
  assert.ok(s.clock.nowMs() - startMs < 500);
});

Deno.test("ClusterSource: a failed primary stays until its replica has its slots; that one is its heir", async () => {
  using s = new Stand();
  await s.node("b");
  await s.node("c");
  s.said = TWO;
  await s.start();
  s.watch();
  s.said = nodes("a master,fail 1 0-8191", "b master 2 8192-16383", "c slave:a 1");
  s.source.hint("10.0.0.1:7000", "primary unreachable");
  await s.pass(2000);
  assert.deepEqual(s.told, []);
  s.said = nodes("a master,fail 1", "b master 2 8192-16383", "c master 3 0-8191");
  // Whoever waits for a failover asks oftener, whatever the workers see.
  await s.pass(1000);
  assert.deepEqual(s.told, ["2 8192-16383, 3 0-8191 for 10.0.0.1:7000"]);
  s.said = nodes("a slave:c 3", "b master 2 8192-16383", "c master 3 0-8191");
  await s.pass(INTERVAL_MS * 1.2);
  assert.equal(s.told.at(-1), "2 8192-16383, 3 0-8191 +1 for 10.0.0.1:7000");
  s.said = nodes("a master 4 0-8191", "b master 2 8192-16383", "c slave:a 3");
  await s.pass(INTERVAL_MS * 1.2);
  assert.equal(s.told.at(-1), "1 0-8191 +3, 2 8192-16383");
});

Deno.test("ClusterSource: while a primary is dead it asks every 150 ms, whatever workers see, and later twice a second", async () => {
  using s = new Stand();
  await s.node("b");
  await s.node("c");
  s.said = TWO;
  await s.start();
  s.watch();
  s.said = nodes("a master,fail 1 0-8191", "b master 2 8192-16383", "c slave:a 1");
  s.source.hint("10.0.0.1:7000", "primary unreachable");
  await s.pass(1000);
  const rounds = async () => {
    const before = s.asked;
    await s.pass(3000);
    return (s.asked - before) / 2;
  };
  const first = await rounds();
  assert.ok(first >= 14 && first <= 20, `${first} rounds in three seconds`);
  await s.pass(12_000);
  const later = await rounds();
  assert.ok(later >= 5 && later <= 7, `${later} rounds in three seconds`);
  // Another one that dies is another matter.
  s.said = TWO;
  await s.pass(1000);
  s.said = nodes("a master 1 0-8191", "b master,fail 2 8192-16383", "c slave:a 1");
  s.source.hint("10.0.0.2:7000", "primary unreachable");
  await s.pass(1000);
  const again = await rounds();
  assert.ok(again >= 14 && again <= 20, `${again} rounds in three seconds`);
});

Deno.test("ClusterSource: a replica that takes over from a primary that lives is nobody's heir", async () => {
  using s = new Stand();
  for (const name of "abc") await s.node(name);
  s.said = TWO;
  await s.start();
  s.watch();
  s.said = nodes("a slave:c 3", "b master 2 8192-16383", "c master 3 0-8191");
  s.source.hint("10.0.0.1:7000", "moved");
  await s.pass(300);
  assert.deepEqual(s.told, ["2 8192-16383, 3 0-8191 +1"]);
});

Deno.test("ClusterSource: a primary that is cut off does not bring back what it had", async () => {
  using s = new Stand();
  for (const name of "abc") await s.node(name);
  s.said = nodes("a master,fail 1", "b master 2 8192-16383", "c master 3 0-8191");
  s.views.set("a", nodes("a master 1 0-8191", "b master,fail? 2 8192-16383", "c slave:a 1"));
  assert.equal(shown(await s.start()), "2 8192-16383, 3 0-8191");
  s.watch();
  for (const name of "bc") s.nodes.get(name)!.stop();
  for (let i = 0; i < 20; i++) {
    s.source.hint("10.0.0.3:7000", "primary unreachable");
    await s.pass(1000);
  }
  assert.deepEqual(s.told, []);
});

Deno.test("ClusterSource: nodes without an endpoint are where the one is that was asked; zones are the seeds'", async () => {
  using s = new Stand();
  const slots = (): string =>
    "*1\r\n*4\r\n:0\r\n:16383\r\n*3\r\n$-1\r\n:7000\r\n$1\r\na\r\n*3\r\n$-1\r\n:7003\r\n$1\r\nc\r\n";
  await s.node("a", slots);
  s.said = nodes("a master 1 0-16383", "c slave:a 1");
  const seed = { address: { host: "10.0.0.1", port: 7000 }, text: "10.0.0.1:7000", zone: "east" };
  const [server] = await s.start({ seeds: [seed] });
  assert.equal(server!.name, "10.0.0.1:7000");
  assert.equal(server!.zone, "east");
  assert.deepEqual(server!.replicas, [{
    address: { host: "10.0.0.1", port: 7003 },
    text: "10.0.0.1:7003",
    zone: null,
  }]);
});

Deno.test("ClusterSource: one node may call others otherwise than the next, and their names stay", async () => {
  using s = new Stand();
  const named = (): string => "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$6\r\na.test\r\n:7000\r\n$1\r\na\r\n";
  await s.node("a");
  await s.node("b", named);
  s.said = nodes("a master 1 0-16383", "b slave:a 1");
  await s.start();
  s.watch();
  await s.pass(INTERVAL_MS * 5);
  assert.deepEqual(s.told, []);
});

Deno.test("ClusterSource: what it tells its nodes of itself is the password", async () => {
  using s = new Stand();
  const node = await s.node("a");
  s.said = TWO;
  await s.start({}, "hunter2");
  assert.deepEqual(node.got.slice(0, 2), ["AUTH hunter2", "CLUSTER NODES"]);
});

Deno.test("ClusterSource: what has stopped asks nothing, and leaves nothing", async () => {
  using s = new Stand();
  await s.node("a");
  s.said = TWO;
  await s.start();
  s.watch();
  s.source.hint("10.0.0.1:7000", "moved");
  s.source.stop();
  const { asked } = s;
  s.source.hint("10.0.0.1:7000", "moved");
  await s.pass(INTERVAL_MS * 3);
  assert.equal(s.asked, asked);
  assert.deepEqual(s.told, []);
});

Deno.test("nodeText() puts IPv6 in brackets", () => {
  assert.deepEqual([nodeText("::1", 1), nodeText("h", 2)], ["[::1]:1", "h:2"]);
});
