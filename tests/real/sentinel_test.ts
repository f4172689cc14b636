/** failover: sentinel with real sentinels: what the keeper says while primaries change, and what clients see through the proxy. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import { SystemClock } from "../../src/runtime/clock.ts";
import { DenoNet } from "../../src/runtime/deno.ts";
import { SentinelKeeper } from "../../src/topology/sentinel.ts";
import type { ServerState } from "../../src/topology/state.ts";
import { RawClient, type Target } from "../lib/client.ts";
import { FakeSentinel } from "../lib/fake_sentinel.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { ReplyError } from "../lib/resp.ts";
import { type Member, type SentinelSet, startSentinels } from "../lib/sentinels.ts";
import { poolYml, type Runtime } from "../lib/servers.ts";

class Watched implements AsyncDisposable {
  readonly states: ServerState[] = [];
  readonly log: string[] = [];
  private readonly keeper: SentinelKeeper;

  constructor(set: SentinelSet, lines = "") {
    const servers = [...set.members.keys()].map((master) => `{name: ${master}, master: ${master}}`);
    const yaml =
      `p:\n  listen: 127.0.0.1:1\n  redis: true\n  failover: sentinel\n  sentinels: ${set.addresses}\n` +
      `  servers: [${servers}]\n  ${lines}\n`;
    this.keeper = new SentinelKeeper({
      pool: parseConfig(yaml, "x").pools[0]!,
      net: new DenoNet(),
      clock: new SystemClock(),
      random: Math.random,
      log: { level: 11, write: (_, text) => void this.log.push(text) },
      known: new Map(),
      event: () => {},
    });
    this.keeper.start((states) => this.states.push(...states));
  }

  /** Where it was last; while a replica is being promoted nobody is to be asked, which is not another place. */
  of(server: string): ServerState | undefined {
    return this.states.findLast((each) => each.server === server && each.primary !== null);
  }

  async at(server: string, address: string, replicas: readonly string[]): Promise<void> {
    const wanted = JSON.stringify([address, [...replicas].sort()]);
    const now = () => {
      const state = this.of(server);
      return JSON.stringify([state?.primary?.text, state?.replicas.map(({ text }) => text).sort()]);
    };
    await poll(() => now() === wanted, () => `${server} to be at ${wanted}; it is at ${now()}`, 60_000);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.keeper.stop();
    return Promise.resolve();
  }
}

Deno.test("SentinelKeeper follows real failovers, by command and by death, and forgets no replica at a reset", async () => {
  await using f = new Fixture();
  const set = await startSentinels(f, { masters: ["m1", "m2"], replicas: 2 });
  const watched = f.add(new Watched(set));
  const addresses = set.members.get("m1")!.map((each) => each.address);
  await watched.at("m1", addresses[0]!, addresses.slice(1));
  const others = watched.of("m2")!;

  await set.failover("m1");
  // One forgets all but the address in the middle of it.
  strictEqual(await set.ask(1, "RESET", "m1"), 1);
  await poll(() => watched.of("m1")!.primary!.text !== addresses[0], "the first move");
  const second = watched.of("m1")!;
  ok(/^\+(switch-master|promoted-slave|role-change) from sentinel /.test(second.cause), second.cause);
  const primary = await set.settled("m1");
  strictEqual(second.primary!.text, primary.address);
  await watched.at("m1", primary.address, addresses.filter((each) => each !== primary.address));

  await primary.server.crash();
  await poll(() => watched.of("m1")!.primary!.text !== primary.address, "the second move");
  const third = watched.of("m1")!;
  ok(third.term > second.term);
  await primary.server.start();
  await set.settled("m1");
  // Three sentinels have told of each epoch, and it was one move at most (a busy machine may bring more epochs).
  const moves = watched.states.filter(({ server, primary }) => server === "m1" && primary !== null);
  const elsewhere = moves.filter(({ primary }, i) => i > 0 && primary!.text !== moves[i - 1]!.primary!.text);
  const epoch = Number((await set.fields(0, "m1")).get("config-epoch"));
  ok(elsewhere.length <= epoch, `${elsewhere.length} moves in ${epoch} epochs`);
  for (const [i, { term }] of moves.entries()) ok(i === 0 || term >= moves[i - 1]!.term);
  const last = await set.settled("m1");
  await watched.at("m1", last.address, addresses.filter((each) => each !== last.address));

  const before = watched.states.length;
  for (let i = 0; i < 3; i++) strictEqual(await set.ask(i, "RESET", "m1"), 1);
  await set.settled("m1");
  for (const { replicas } of watched.states.slice(before)) strictEqual(replicas.length, 2);
  deepStrictEqual(watched.of("m2")!.primary, others.primary);
});

Deno.test("SentinelKeeper says which real sentinel refuses a password, and goes on with those that do not", async () => {
  await using f = new Fixture();
  const set = await startSentinels(f, { sentinels: 2 });
  await using _ = await protect(set, 0, "secret");
  const watched = f.add(new Watched(set, "sentinel_auth: wrong"));
  const [primary, replica] = set.members.get("m1")!;
  await watched.at("m1", primary!.address, [replica!.address]);
  const line = `pool 'p': sentinel ${set.sentinels[0]!.address}: AUTH is refused: WRONGPASS`;
  await poll(() => watched.log.some((each) => each.startsWith(line)), line);
});

/** Gives a sentinel a password, until the end. */
async function protect(set: SentinelSet, sentinel: number, password: string): Promise<AsyncDisposable> {
  strictEqual(await set.ask(sentinel, "MYID").then((id) => typeof id), "string");
  const client = await RawClient.connect(set.sentinels[sentinel]!.target);
  strictEqual(await client.command("ACL", "SETUSER", "default", "on", "resetpass", `>${password}`), "OK");
  return client;
}

Deno.test("sentinels that lie, are behind, disagree, answer errors or nothing: nobody writes to a replica, and the log says it", async () => {
  await using f = new Fixture();
  const primary = await f.redis({ port: 0, args: ["--repl-diskless-sync-delay", "0"] });
  const replica = await f.redis({ port: 0, args: ["--replicaof", `127.0.0.1 ${primary.port}`] });
  const net = new DenoNet();
  const fakes = await Promise.all(["one", "two"].map(async (id) => {
    const fake = new FakeSentinel(id);
    const port = freePort();
    fake.name("m", replica.address, 1, { role: "slave" });
    return { fake: await fake.listen(net, { host: "127.0.0.1", port }), at: `127.0.0.1:${port}` };
  }));
  const [one, two] = fakes as [typeof fakes[0], typeof fakes[0]];
  f.add({ [Symbol.asyncDispose]: () => Promise.resolve(fakes.forEach(({ fake }) => fake.stop())) });
  const keys = { failover: "sentinel", sentinels: `[ ${one.at}, ${two.at} ]` };
  const proxy = await f.proxy("deno", poolYml({ alpha: { servers: ["{ name: s, master: m }"], ...keys } }));
  const client = await f.client(proxy);
  const direct = await f.client(primary);
  const beside = await f.client(replica);
  const says = (text: string) => poll(() => proxy.log.includes(text), `the log to say ${text}`);
  await poll(
    async () => String(await beside.command("INFO", "replication")).includes("link_status:up"),
    "the replica",
  );
  let n = 0;
  const writes = async () => {
    n++;
    const reply = await client.command("SET", "k", String(n));
    if (reply === "OK") strictEqual(await direct.command("GET", "k"), String(n));
    return reply;
  };
  // What comes from its primary is counted too; what clients send would be rejected.
  const rejected = async () =>
    /cmdstat_set:.*rejected_calls=([0-9]+)/.exec(String(await beside.command("INFO", "commandstats")));

  // Both name a replica.
  ok(await writes() instanceof ReplyError);
  await says(`sentinel ${one.at} names ${replica.address}, and reports that it is a replica`);
  strictEqual(await rejected(), null);
  one.fake.switch("m", primary.address, 2);
  await poll(async () => await writes() === "OK", "a write");
  // One that is behind tells its story again.
  two.fake.switch("m", replica.address, 1);
  for (let i = 0; i < 20; i++) strictEqual(await writes(), "OK");
  // One lies, with a larger epoch than all.
  two.fake.switch("m", replica.address, 3);
  await poll(async () => await writes() instanceof ReplyError, "writes to be refused");
  one.fake.switch("m", primary.address, 4);
  await poll(async () => await writes() === "OK", "a write");
  // Both know no such master; one knows no command; both are gone.
  for (const { fake } of fakes) fake.name("m", null, 0);
  await says(`sentinel ${two.at} knows no master 'm'; it stays ${primary.address}`);
  one.fake.error = "ERR unknown command 'SENTINEL'";
  await says(`sentinel ${one.at}: ERR unknown command 'SENTINEL'`);
  for (const { fake } of fakes) fake.stop();
  await says("no sentinel answers");
  for (let i = 0; i < 20; i++) strictEqual(await writes(), "OK");
  await poll(
    async () => await beside.command("GET", "k") === String(n),
    "the replica to have the last write",
  );
  strictEqual((await rejected())![1], "0");
});

/** Clients that write ever larger numbers, each to a key of its own, and read them back. */
class Load implements AsyncDisposable {
  /** What each client has sent last, and of what it knows that it was written. */
  readonly sent: number[] = [];
  readonly written: number[] = [];
  readonly errors = new Map<string, number>();
  /** What cannot be: another's value, or one of the future. */
  readonly wrong: string[] = [];
  private stopped = false;
  private readonly running: Promise<void>[] = [];

  constructor(private readonly target: Target, count: number) {
    for (let i = 0; i < count; i++) this.running.push(this.run(i));
  }

  private async run(i: number): Promise<void> {
    this.sent[i] = this.written[i] = 0;
    await using client = await RawClient.connect(this.target);
    while (!this.stopped) {
      const n = ++this.sent[i]!;
      const set = await client.command("SET", `key:${i}`, `${i}:${n}`);
      if (set === "OK") this.written[i] = n;
      else this.note(set);
      const get = await client.command("GET", `key:${i}`);
      if (get instanceof ReplyError) this.note(get);
      else if (get !== null && !this.mayBe(i, String(get))) {
        this.wrong.push(`client ${i} read ${get} after ${i}:${n}`);
      }
    }
  }

  private mayBe(i: number, value: string): boolean {
    const [owner, n] = value.split(":").map(Number);
    return owner === i && n! <= this.sent[i]!;
  }

  private note(reply: unknown): void {
    const text = reply instanceof ReplyError ? reply.message : `found ${reply}`;
    const kind = text.replace(/[0-9]+/g, "#");
    this.errors.set(kind, (this.errors.get(kind) ?? 0) + 1);
  }

  /** Resolves when every client has written so many times more. */
  async goOn(times: number): Promise<void> {
    const goals = this.written.map((n) => n + times);
    await poll(() => this.written.every((n, i) => n >= goals[i]!), `${times} more writes of each client`);
  }

  /** What a server has of the clients' keys. */
  async on({ server }: Member): Promise<readonly unknown[]> {
    await using client = await RawClient.connect(server.target);
    return await client.pipeline(...this.sent.map((_, i) => ["GET", `key:${i}`]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stopped = true;
    await Promise.all(this.running);
  }
}

async function isMaster({ server }: Member): Promise<boolean> {
  await using client = await RawClient.connect(server.target);
  return (await client.command("ROLE") as unknown[])[0] === "master";
}

/** What clients may be told while a primary is replaced. */
const TOLD =
  /^ERR (The server was replaced while this was under way|Connection (refused|reset))|^ERR .*primary/;

// Deno with one thread, the executable with two.
for (const runtime of ["deno", "compiled"] as Runtime[]) {
  for (const how of ["SENTINEL FAILOVER", "kill -9", "SIGSTOP"]) {
    Deno.test(`${runtime}: 50 clients are moved by ${how}: nothing is written to the old primary, no reply is mixed up`, async () => {
      await using f = new Fixture();
      // By command nobody has to be missed, and on a busy machine nobody should be.
      const downAfterMs = how === "SENTINEL FAILOVER" ? 15_000 : 1000;
      const set = await startSentinels(f, { masters: ["m1"], replicas: 2, downAfterMs });
      const workers = runtime === "compiled" ? 2 : 1;
      const yml = `ringmaster: { workers: ${workers} }\n` + poolYml({
        alpha: { servers: ["{ name: m1, master: m1 }"], failover: "sentinel", sentinels: set.addresses },
      });
      const proxy = await f.proxy(runtime, yml);
      const load = f.add(new Load(proxy.target, 50));
      await poll(() => load.written.length === 50, "all clients");
      await load.goOn(5);
      deepStrictEqual([...load.errors], []);
      const old = await set.primaryOf("m1");
      if (how === "SENTINEL FAILOVER") await set.failover("m1");
      else old.server.kill(how === "SIGSTOP" ? "SIGSTOP" : "SIGKILL");
      await poll(
        () => /'m1' switched/.test(proxy.log),
        "the move",
        60_000,
      );
      await load.goOn(20);
      if (how === "SENTINEL FAILOVER") {
        const before = await load.on(old);
        // Some ten seconds later it is made a replica, and has what the new one has.
        for (let i = 0; i < 10; i++) {
          await load.goOn(5);
          const values = await load.on(old);
          if (!await isMaster(old)) break;
          deepStrictEqual(values, before);
        }
      } else if (how === "SIGSTOP") {
        old.server.kill("SIGCONT");
        await load.goOn(50);
      }
      deepStrictEqual(load.wrong, []);
      for (const error of load.errors.keys()) ok(TOLD.test(error), error);
    });
  }
}
