/** Who says what the servers are: what DNS and files mean, what of their answers counts, and what becomes of it while the proxy runs. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfSource } from "../../src/cli/conf_file.ts";
import { Reloader } from "../../src/cli/reload.ts";
import type { Config, DnsFrom } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { readServer } from "../../src/config/values.ts";
import type { Log } from "../../src/net/log.ts";
import { Turns } from "../../src/service/turns.ts";
import type { ConfigChange, Stamp } from "../../src/topology/change.ts";
import { askDns, type Dns, type Service } from "../../src/topology/dns.ts";
import { fileReader } from "../../src/topology/file.ts";
import { AskedSource, type Servers, SourceError } from "../../src/topology/source.ts";
import { Sources } from "../../src/topology/sources.ts";
import { FakeRedis } from "../lib/fake_redis.ts";
import { SimClock } from "../sim/clock.ts";
import { SimNet } from "../sim/net.ts";
import { Random } from "../sim/random.ts";

class Lines implements Log {
  level = 11;
  readonly lines: string[] = [];

  write(_level: number, text: string): void {
    this.lines.push(text);
  }
}

/** What DNS has, by name; an Error is what happens to who asks. */
class FakeDns implements Dns {
  readonly names: Record<string, readonly string[] | Error> = {};
  readonly records: Record<string, readonly Service[] | Error> = {};
  /** All questions. */
  readonly asked: string[] = [];

  addresses(name: string, nameserver: string | null): Promise<readonly string[]> {
    this.asked.push(`${name} ${nameserver ?? "-"}`);
    return said(this.names[name]);
  }

  services(name: string, nameserver: string | null): Promise<readonly Service[]> {
    this.asked.push(`${name} ${nameserver ?? "-"}`);
    return said(this.records[name]);
  }
}

function said<T>(what: readonly T[] | Error | undefined): Promise<readonly T[]> {
  return what instanceof Error ? Promise.reject(what) : Promise.resolve(what ?? []);
}

const shown = (servers: Servers): string[] =>
  servers.map(({ name, addressText, weight }) => `${name} ${addressText} ${weight}`);

const service = (text: string): Service => {
  const [host, port, weight, priority] = text.split(" ");
  return { host: host!, port: Number(port), weight: Number(weight), priority: Number(priority ?? 0) };
};

const HOST: DnsFrom = { dns: "redis.test", port: 6379, intervalMs: 1000, nameserver: null };
const SRV: DnsFrom = { ...HOST, dns: "_redis._tcp.redis.test", port: null };

/** Addresses of a name, and the servers. */
const ADDRESSES: readonly (readonly [string[], string[]])[] = [
  [[], []],
  [["10.0.0.2", "10.0.0.1"], ["10.0.0.1:6379 10.0.0.1:6379 1", "10.0.0.2:6379 10.0.0.2:6379 1"]],
  [["10.0.0.1", "10.0.0.1"], ["10.0.0.1:6379 10.0.0.1:6379 1"]],
  [["fd00:0:0:0:0:0:0:1", "FD00::1"], ["[fd00::1]:6379 [fd00::1]:6379 1"]],
];

for (const [addresses, expected] of ADDRESSES) {
  Deno.test(`askDns() with addresses ${JSON.stringify(addresses)}`, async () => {
    const dns = new FakeDns();
    dns.names["redis.test"] = addresses;
    assert.deepEqual(shown(await askDns(HOST, dns)), expected);
  });
}

Deno.test("askDns() leaves memcached's usual port out of names, as a list of servers does", async () => {
  const dns = new FakeDns();
  dns.names["redis.test"] = ["10.0.0.1"];
  assert.deepEqual(shown(await askDns({ ...HOST, port: 11211 }, dns)), ["10.0.0.1 10.0.0.1:11211 1"]);
});

/** SRV records, and the servers. */
const RECORDS: readonly (readonly [string, string[], string[]])[] = [
  ["none", [], []],
  ["equal weights, which become 1", ["b 1 33", "A. 1 33", "c 2 33"], ["a:1 a:1 1", "b:1 b:1 1", "c:2 c:2 1"]],
  ["weights with a divisor", ["a 1 100", "b 1 50"], ["a:1 a:1 2", "b:1 b:1 1"]],
  ["weights of 0", ["a 1 0", "b 1 0"], ["a:1 a:1 1", "b:1 b:1 1"]],
  ["a weight of 0 beside others", ["a 1 0", "b 1 10"], ["a:1 a:1 1", "b:1 b:1 10"]],
  ["two priorities, of which the lower counts", ["a 1 1 10", "b 1 1 20"], ["a:1 a:1 1"]],
  ["a record twice", ["a 1 5", "a 1 7", "b 1 7"], ["a:1 a:1 1", "b:1 b:1 1"]],
  ["a host of two ports", ["a 1 1", "a 2 1"], ["a:1 a:1 1", "a:2 a:2 1"]],
  ["the root: no such service", [". 0 0"], []],
];

for (const [name, records, expected] of RECORDS) {
  Deno.test(`askDns() with SRV records: ${name}`, async () => {
    const dns = new FakeDns();
    dns.records[SRV.dns] = records.map(service);
    assert.deepEqual(shown(await askDns(SRV, dns)), expected);
    // Hosts are resolved when connecting.
    assert.deepEqual(dns.asked, [`${SRV.dns} -`]);
  });
}

Deno.test("askDns() with a nameserver asks it for the hosts of SRV records too, and keeps their names", async () => {
  const dns = new FakeDns();
  const from = { ...SRV, nameserver: "127.0.0.1:53" };
  dns.records[SRV.dns] = ["a 1 1", "b 2 1", "gone 3 1"].map(service);
  dns.names.a = ["::1", "10.0.0.9", "10.0.0.10"];
  dns.names.b = ["::2"];
  assert.deepEqual(shown(await askDns(from, dns)), [
    "a:1 10.0.0.10:1 1",
    "b:2 [::2]:2 1",
    "gone:3 gone:3 1",
  ]);
  assert.ok(dns.asked.every((question) => question.endsWith(" 127.0.0.1:53")), dns.asked.join());
  dns.names.b = new Error("SERVFAIL");
  await assert.rejects(askDns(from, dns), /SERVFAIL/);
});

Deno.test("askDns() refuses a record without a port", async () => {
  const dns = new FakeDns();
  dns.records[SRV.dns] = [service("a 0 1")];
  await assert.rejects(askDns(SRV, dns), /found a server at "a:0", expected a port of 1 to 65535/);
});

Deno.test("fileReader() reads what has changed, and says what is wrong with its place", async () => {
  const folder = mkdtempSync(join(tmpdir(), "ringmaster-"));
  try {
    const file = join(folder, "servers");
    const read = fileReader(file);
    await assert.rejects(read(), /^Error: no such file$/);
    writeFileSync(file, "h:1:1 a\n");
    assert.deepEqual(shown(await read()), ["a h:1 1"]);
    writeFileSync(file, "h:1:1 a\nh:2\n");
    for (let i = 0; i < 2; i++) await assert.rejects(read(), /line 2, column 1: found "h:2", expected HOST/);
    writeFileSync(file, Uint8Array.of(0xff));
    await assert.rejects(read(), /not UTF-8/);
    writeFileSync(file, "");
    assert.deepEqual(await read(), []);
    await assert.rejects(fileReader(folder)(), /not a file/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** "a b" is servers at a and b, "" none, "!x" a failure, "?" no answer at all. */
function answer(text: string): Promise<Servers> {
  if (text === "?") return new Promise(() => {});
  if (text.startsWith("!")) return Promise.reject(new Error(text.slice(1)));
  return Promise.resolve(
    text.split(" ").filter((each) => each !== "").map((each) => {
      const read = readServer(`${each}:1:1`);
      if ("value" in read) return read.value;
      throw new Error(read.expected);
    }),
  );
}

/** What is answered one time after the other, what is told of it, and the log. The last answer stays. */
const STORIES: readonly (readonly [string, string[], string[], RegExp[]])[] = [
  ["the same all the time", ["a", "a", "a"], [], []],
  ["a server comes", ["a", "a b", "a b", "a b"], ["a:1 b:1"], []],
  ["a server goes", ["a b", "a", "a"], ["a:1"], []],
  ["an odd answer", ["a", "b", "a", "a"], [], []],
  ["answers that flap", ["a", "b", "a", "b", "c", "b", "a"], [], []],
  ["one failure", ["a", "!x", "a"], [], []],
  ["failures, for another reason each", ["a", "!x", "!y", "!z", "!x"], [], [
    /^t: y; the servers stay as they are$/,
  ]],
  ["a failure that ends as it was", ["a", "!x", "!x", "a", "a"], [], [/^t: x; /, /^t: answers again$/]],
  ["a failure that ends otherwise", ["a", "!x", "!x", "b", "b"], ["b:1"], [/^t: x; /, /^t: answers again$/]],
  ["none", ["a", "", "", ""], [], [/^t: names no server; the servers stay/]],
  ["none, then failures", ["a", "", "", "!x", "!x", "", ""], [], [/no server/, /x; /, /no server/]],
  ["no answer", ["a", "?", "?", "?"], [], [/^t: no answer in 5 s; the servers stay/]],
  ["there and back", ["a", "b", "b", "a", "a"], ["b:1", "a:1"], []],
];

for (const [name, answers, told, log] of STORIES) {
  Deno.test(`AskedSource: ${name}`, async () => {
    const clock = new SimClock();
    const lines = new Lines();
    const heard: string[] = [];
    let looks = 0;
    const source = new AskedSource(
      "t",
      () => answer(answers[Math.min(looks++, answers.length - 1)]!),
      1000,
      clock,
    );
    await source.first();
    source.watch(lines, (servers) => heard.push(servers.map((each) => each.name).join(" ")));
    await clock.runAsync(() => looks > answers.length + 2);
    source.stop();
    assert.deepEqual(heard, told);
    assert.equal(lines.lines.length, log.length, lines.lines.join("\n"));
    log.forEach((pattern, i) => assert.match(lines.lines[i]!, pattern));
    await clock.runAsync(() => clock.waiting === 0);
  });
}

for (
  const [first, expected] of [["", /^t: names no server$/], ["!x", /^t: x$/], ["?", /^t: no answer/]] as const
) {
  Deno.test(`AskedSource.first() rejects: ${JSON.stringify(first)}`, async () => {
    const clock = new SimClock();
    let failure: unknown = null;
    new AskedSource("t", () => answer(first), 1000, clock).first().catch((error) => failure = error);
    await clock.runAsync(() => failure !== null);
    assert.ok(failure instanceof SourceError);
    assert.match(failure.message, expected);
    assert.equal(clock.waiting, 0);
  });
}

Deno.test("AskedSource asks every interval, and soon again when the answer is another", async () => {
  const clock = new SimClock();
  const times: number[] = [];
  const answers = ["a", "a", "b", "b", "b"];
  const source = new AskedSource(
    "t",
    () => {
      times.push(clock.nowMs());
      return answer(answers[times.length - 1] ?? "b");
    },
    60_000,
    clock,
  );
  await source.first();
  source.watch(new Lines(), () => {});
  await clock.runAsync(() => times.length === 5);
  source.stop();
  assert.deepEqual(times, [0, 60_000, 120_000, 121_000, 181_000]);
});

/** A configuration file, its sources and what runs by it. */
class Stand implements Disposable {
  readonly clock = new SimClock();
  readonly dns = new FakeDns();
  readonly log = new Lines();
  readonly net = new SimNet(this.clock, new Random(1));
  readonly sources = new Sources({ net: this.net, clock: this.clock, dns: this.dns, random: () => 0.5 });
  readonly folder = mkdtempSync(join(tmpdir(), "ringmaster-"));
  readonly file = join(this.folder, "x.yml");
  /** What has been taken, newest last: "cause: pool server server, …". */
  readonly taken: string[] = [];
  /** What the next changes are answered with. */
  readonly failures: Error[] = [];
  reloader!: Reloader;
  /** Lines of the log that have been looked at. */
  private seen = 0;

  /** @param serves at once; else `reloader.watch` is to be called */
  async start(yaml: string, serves = true): Promise<void> {
    writeFileSync(this.file, yaml);
    const config = await this.sources.fill(parseConfig(yaml, this.file));
    this.sources.keep(config);
    const reload = (change: ConfigChange, { cause }: Stamp) => {
      const failure = this.failures.shift();
      if (failure !== undefined) return Promise.reject(failure);
      this.taken.push(`${cause}: ${poolsOf(change.after)}`);
      return Promise.resolve();
    };
    const around = {
      refusal: () => Promise.resolve(null),
      adopt: () => {},
      refresh: () => Promise.resolve(),
      reloading: () => {},
      reloaded: () => {},
    };
    this.reloader = new Reloader(
      ConfSource.file(this.file),
      config,
      this.sources,
      { reload },
      around,
      this.log,
      this.clock,
      new Turns(this.clock),
      null,
    );
    if (serves) this.reloader.watch();
  }

  /** Goes on until the log has a line like this, behind the one that was waited for last. */
  async until(pattern: RegExp): Promise<void> {
    const { clock, log } = this;
    const endMs = clock.nowMs() + 600_000;
    await clock.runAsync(() => {
      while (this.seen < log.lines.length) if (pattern.test(log.lines[this.seen++]!)) return true;
      if (clock.nowMs() > endMs) throw new Error(`no ${pattern} in:\n${log.lines.join("\n")}`);
      return false;
    });
  }

  reload(yaml: string): Promise<void> {
    writeFileSync(this.file, yaml);
    this.reloader.request("test");
    return this.until(/^reload/);
  }

  [Symbol.dispose](): void {
    this.reloader?.stop();
    rmSync(this.folder, { recursive: true });
  }
}

const poolsOf = (config: Config): string =>
  config.pools.map(({ name, servers }) => [name, ...servers.map((each) => each.name)].join(" ")).join(", ");

const PLAIN = "plain: { listen: 127.0.0.1:1, servers: [ h:1:1 ] }\n";
const A = "a: { listen: 127.0.0.1:2, servers_from: { dns: a.test:1, interval: 1000 } }\n";
const B = "b: { listen: 127.0.0.1:3, servers_from: { dns: b.test:1, interval: 1000 } }\n";
const [ONE, TWO, THREE] = ["1.1.1.1", "2.2.2.2", "3.3.3.3"] as const;

Deno.test("a source's change is taken, and it alone; the file's own servers stay", async () => {
  using s = new Stand();
  s.dns.names["a.test"] = [ONE];
  s.dns.names["b.test"] = [ONE];
  await s.start(PLAIN + A + B);
  assert.equal(poolsOf(s.reloader.config), `a ${ONE}:1, b ${ONE}:1, plain h:1`);
  s.dns.names["a.test"] = [ONE, TWO];
  await s.until(/^dns a\.test has changed$/);
  assert.deepEqual(s.taken, [`dns a.test: a ${ONE}:1 ${TWO}:1, b ${ONE}:1, plain h:1`]);
  assert.equal(poolsOf(s.reloader.config), `a ${ONE}:1 ${TWO}:1, b ${ONE}:1, plain h:1`);
  assert.ok(
    s.log.lines.some((line) => /^pool a: [0-9.]+ % of all keys move$/.test(line)),
    s.log.lines.join("\n"),
  );
});

Deno.test("a reload that is asked for while the process starts is done when it serves", async () => {
  using s = new Stand();
  s.dns.names["a.test"] = [ONE];
  await s.start(PLAIN, false);
  writeFileSync(s.file, PLAIN + A);
  s.reloader.request("early");
  let told: boolean | null = null;
  void s.reloader.reload("early, too").then(({ ok }) => told = ok);
  await assert.rejects(s.clock.runAsync(() => s.taken.length > 0), /nothing is to come/);
  assert.deepEqual(s.taken, []);
  s.reloader.watch();
  await s.until(/^reloaded/);
  assert.deepEqual(s.taken, [`early, too: a ${ONE}:1, plain h:1`]);
  await s.clock.runAsync(() => told !== null);
  assert.equal(told, true);
});

Deno.test("pools of one source are one question, and change together", async () => {
  using s = new Stand();
  s.dns.names["a.test"] = [ONE];
  await s.start(A + A.replace("a:", "c:").replace("1:2", "1:4"));
  assert.equal(s.dns.asked.length, 1);
  s.dns.names["a.test"] = [TWO];
  await s.until(/has changed$/);
  assert.deepEqual(s.taken, [`dns a.test: a ${TWO}:1, c ${TWO}:1`]);
});

Deno.test("what max_moved refuses stays away, holds up no other source and no reload, and is taken once it is allowed", async () => {
  using s = new Stand();
  const limited = "ringmaster: { max_moved: 10% }\n";
  s.dns.names["a.test"] = [ONE];
  s.dns.names["b.test"] = [ONE, TWO];
  await s.start(limited + A + B);
  s.dns.names["a.test"] = [TWO];
  await s.until(/^dns a\.test has changed, refused, the servers stay as they are:$/);
  assert.match(
    s.log.lines.at(-1)!,
    /^pool a: 100\.0 % of all keys would move, max_moved allows 10\.0 %; to have /,
  );
  assert.deepEqual(s.taken, []);
  // Another pool, and the file.
  s.dns.names["b.test"] = [TWO, ONE];
  await s.reload(limited + A + B + PLAIN);
  assert.deepEqual(s.taken, [`test: a ${ONE}:1, b ${ONE}:1 ${TWO}:1, plain h:1`]);
  await s.reload(A + B + PLAIN);
  await s.until(/^dns a\.test has changed$/);
  assert.equal(s.taken.at(-1), `dns a.test: a ${TWO}:1, b ${ONE}:1 ${TWO}:1, plain h:1`);
});

Deno.test("a change that is refused is tried again when it is another one, and forgotten when it goes back", async () => {
  using s = new Stand();
  s.dns.names["a.test"] = [ONE];
  await s.start("ringmaster: { max_moved: 60% }\n" + A);
  s.dns.names["a.test"] = [TWO];
  await s.until(/refused/);
  s.dns.names["a.test"] = [ONE];
  await s.until(/^dns a\.test: as before$/);
  s.dns.names["a.test"] = [TWO, THREE];
  await s.until(/refused/);
  s.dns.names["a.test"] = [ONE, TWO];
  await s.until(/^dns a\.test has changed$/);
  assert.equal(s.taken.length, 1);
});

Deno.test("a change that could not be made for the moment is tried again, and why is said once", async () => {
  using s = new Stand();
  s.dns.names["a.test"] = [ONE];
  await s.start(A);
  for (let i = 0; i < 3; i++) s.failures.push(new Error("worker 1 does not answer"));
  s.dns.names["a.test"] = [TWO];
  await s.until(/^worker 1 does not answer$/);
  assert.deepEqual(s.taken, []);
  await s.until(/^dns a\.test has changed$/);
  assert.deepEqual(s.taken, [`dns a.test: a ${TWO}:1`]);
  assert.equal(s.failures.length, 0);
  assert.equal(s.log.lines.filter((line) => line === "worker 1 does not answer").length, 1);
});

Deno.test("a reload keeps the sources it names, asks new ones first, and stops those it does not name", async () => {
  using s = new Stand();
  s.dns.names["a.test"] = [ONE];
  await s.start(A);
  // The new source cannot be asked: nothing changes.
  await s.reload(A + B);
  assert.ok(s.log.lines.includes("dns b.test: names no server"), s.log.lines.join("\n"));
  s.dns.names["b.test"] = new Error("SERVFAIL");
  await s.reload(A + B);
  assert.equal(s.log.lines.at(-1), "dns b.test: SERVFAIL");
  assert.deepEqual(s.taken, []);
  s.dns.names["b.test"] = [TWO];
  await s.reload(A + B);
  assert.deepEqual(s.taken, [`test: a ${ONE}:1, b ${TWO}:1`]);
  await s.reload(B);
  const asked = s.dns.asked.length;
  s.dns.names["b.test"] = [THREE];
  await s.until(/^dns b\.test has changed$/);
  assert.ok(s.dns.asked.slice(asked).every((question) => question === "b.test -"));
  // From names in the file to a source and back.
  await s.reload(B + A.replace(/servers_from: .*\} /, `servers: [ "${ONE}:1:1" ] `));
  assert.equal(s.taken.at(-1), `test: a ${ONE}:1, b ${THREE}:1`);
});

Deno.test("a cluster is asked when workers see something of it, from the start on; a reload of other pools leaves it alone", async () => {
  using s = new Stand();
  let slots = ["0-99", "100-16383"];
  const nodes = (words: readonly string[]) => {
    if (words[1] !== "NODES") return "-ERR unknown subcommand\r\n";
    const text = slots.map((each, i) =>
      `${i} 1.1.1.1:${i + 1}@9 ${i === 0 ? "myself," : ""}master - 0 0 ${i} connected ${each}\n`
    )
      .join("");
    return `$${text.length}\r\n${text}\r\n`;
  };
  const node = await new FakeRedis(nodes).listen(s.net, { host: "1.1.1.1", port: 1 });
  const C =
    "c: { listen: 127.0.0.1:4, redis: true, cluster: true, cluster_refresh: 600000, servers: [ 1.1.1.1:1 ] }\n";
  let started = false;
  void s.start("ringmaster: { max_moved: 0% }\n" + C).then(() => started = true);
  await s.clock.runAsync(() => started);
  const slotsOf = () =>
    s.reloader.config.pools.find(({ name }) => name === "c")!.servers.map((each) => each.slots);
  assert.deepEqual(slotsOf(), slots);
  s.sources.hint(s.reloader.config.pools[0]!, "1.1.1.1:1", "moved");
  slots = ["0-49", "50-16383"];
  await s.until(/^cluster 1\.1\.1\.1:1: pool c: slots 50-99 move from 1\.1\.1\.1:1 to 1\.1\.1\.1:2$/);
  assert.deepEqual(slotsOf(), slots);
  assert.match(
    s.taken.at(-1)!,
    /^cluster 1\.1\.1\.1:1: pool c: slots 50-99 move from .*: c 1\.1\.1\.1:1 1\.1\.1\.1:2$/,
  );
  await s.reload(PLAIN + C);
  assert.deepEqual(slotsOf(), slots);
  s.sources.hint(s.reloader.config.pools.find(({ name }) => name === "c")!, "1.1.1.1:1", "moved");
  slots = ["0-16383"];
  await s.until(/slots 50-16383 move from/);
  assert.deepEqual(slotsOf(), slots);
  // Of a pool that has no source, and of one that is gone, nothing is asked.
  const { length } = node.got;
  s.sources.hint(s.reloader.config.pools.find(({ name }) => name === "plain")!, "h:1", "moved");
  await s.reload(PLAIN);
  s.sources.hint(parseConfig(C, s.file).pools[0]!, "1.1.1.1:1", "moved");
  await s.clock.runAsync(() => s.clock.waiting < 3);
  assert.equal(node.got.length, length);
  node.stop();
});

Deno.test("a cluster that is known is not forgotten for nodes that do not answer as a cluster's", async () => {
  using s = new Stand();
  const said = (text: string) => `$${text.length}\r\n${text}\r\n`;
  const node = await new FakeRedis((words) =>
    words[1] === "NODES"
      ? said("0 1.1.1.1:1@9 myself,master - 0 0 1 connected 0-16383\n")
      : "-ERR unknown subcommand\r\n"
  ).listen(s.net, { host: "1.1.1.1", port: 1 });
  const alone = await new FakeRedis(() => "-ERR This instance has cluster support disabled\r\n")
    .listen(s.net, { host: "2.2.2.2", port: 2 });
  const cluster = (name: string, seed: string) =>
    `${name}: { listen: 127.0.0.1:${name.length}, redis: true, cluster: true, servers: [ ${seed} ] }\n`;
  let started = false;
  void s.start(cluster("c", "1.1.1.1:1")).then(() => started = true);
  await s.clock.runAsync(() => started);
  await s.reload(cluster("c", "2.2.2.2:2"));
  assert.deepEqual(s.log.lines.slice(-2), [
    "reload (test) refused, nothing has changed:",
    "pool c: cluster 2.2.2.2:2: 2.2.2.2:2: ERR This instance has cluster support disabled",
  ]);
  await s.reload(cluster("c", "3.3.3.3:3"));
  assert.match(s.log.lines.at(-1)!, /^pool c: cluster 3\.3\.3\.3:3: /);
  assert.deepEqual(s.reloader.config.pools[0]!.servers.map(({ slots }) => slots), ["0-16383"]);
  assert.deepEqual(s.taken, []);
  // A pool that is new starts with what the file names, as at a start.
  await s.reload(cluster("c", "1.1.1.1:1") + cluster("dd", "2.2.2.2:2"));
  assert.equal(s.taken.length, 1);
  await s.reload(cluster("c", "1.1.1.1:1") + cluster("dd", "3.3.3.3:3"));
  assert.equal(s.taken.length, 2);
  node.stop();
  alone.stop();
});
