/**
 * Reads from replicas through the proxy, with real servers: they leave the primary, and no client ever reads an error while anybody can
 * serve, whatever happens to a replica.
 */
import assert from "node:assert/strict";
import { readRun } from "../ha/read_run.ts";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { ReplyError, type Value } from "../lib/resp.ts";
import { freeze, poolYml, type Proxy, type Runtime, RUNTIMES, type Server } from "../lib/servers.ts";

/** A primary, its replicas, a proxy in front of them, and how many commands each has been asked. */
class Stand {
  private constructor(
    readonly primary: Server,
    readonly replicas: readonly Server[],
    readonly proxy: Proxy,
    readonly clients: ReadonlyMap<Server, RawClient>,
    private readonly f: Fixture,
  ) {}

  static async make(
    f: Fixture,
    { runtime = "deno" as Runtime, replicas = 2, slow = false, keys = {} as Record<string, unknown> } = {},
  ): Promise<Stand> {
    const args = slow ? ["--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024"] : [];
    const primary = await f.redis({ port: 0 });
    const all: Server[] = [primary];
    for (let i = 0; i < replicas; i++) {
      all.push(await f.redis({ port: 0, args: ["--replicaof", "127.0.0.1", String(primary.port), ...args] }));
    }
    const clients = new Map<Server, RawClient>();
    for (const server of all) clients.set(server, await f.client(server));
    const server = `{ address: ${primary.address}, name: a, replicas: [${
      all.slice(1).map(({ address }) => address).join(", ")
    }] }`;
    const yml = poolYml({ alpha: { servers: [server], read_from: "prefer_replica", ...keys } });
    const proxy = await f.proxy(runtime, yml);
    return new Stand(primary, all.slice(1), proxy, clients, f);
  }

  client(): Promise<RawClient> {
    return this.f.client(this.proxy);
  }

  /** Calls of a command that a server has had. */
  async calls(server: Server, command: string): Promise<number> {
    const info = String(await this.clients.get(server)!.command("INFO", "commandstats"));
    return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(info)?.[1] ?? 0);
  }

  /** Resolves when a client's reads go to a replica, and to whom. */
  async settled(client: RawClient, among = this.replicas): Promise<Server> {
    return await poll(async () => {
      const before = await Promise.all(among.map((each) => this.calls(each, "strlen")));
      for (let i = 0; i < 5; i++) await client.command("STRLEN", "settled");
      for (let i = 0; i < among.length; i++) {
        if (await this.calls(among[i]!, "strlen") === before[i]! + 5) return among[i]!;
      }
      return null;
    }, "reads to go to one replica") as Server;
  }

  async has(server: Server, key: string, value: string): Promise<void> {
    const client = this.clients.get(server)!;
    await poll(async () => await client.command("GET", key) === value, `${server.address} to have ${key}`);
  }
}

type Pair = Stand & { readonly replicas: readonly [Server, Server] };

/** Reads on and on over some connections, and keeps what was wrong with an answer. */
class Readers {
  readonly wrong: string[] = [];
  /** By client. */
  private readonly answered: number[] = [];
  private stopped = false;
  private readonly loops: Promise<void>[] = [];

  constructor(clients: readonly RawClient[], private readonly right: (value: Value) => boolean) {
    clients.forEach((client, i) => this.loops.push(this.loop(client, i)));
  }

  private async loop(client: RawClient, i: number): Promise<void> {
    this.answered[i] = 0;
    const commands = [["GET", "k"], ["MGET", "k", "l"], ["HGET", "h", "f"], ["EXISTS", "k"]];
    while (!this.stopped) {
      for (const value of await client.pipeline(...commands)) {
        this.answered[i]!++;
        if (value instanceof ReplyError || !this.right(value)) this.wrong.push(String(value));
      }
    }
  }

  /** Resolves when each client has had so many more answers. */
  async some(count: number): Promise<void> {
    const until = this.answered.map((answered) => answered + count);
    const all = () => until.every((least, i) => this.answered[i]! >= least);
    await poll(
      () => all() || this.wrong.length > 0,
      () => `reads to be answered: ${this.answered}, not ${until}`,
    );
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await Promise.all(this.loops);
    assert.deepEqual(this.wrong.slice(0, 5), []);
  }
}

async function readersOf(stand: Stand, count = 6): Promise<Readers> {
  const clients = [];
  for (let i = 0; i < count; i++) clients.push(await stand.client());
  const right = (value: Value) => value === "v" || value === 1 || JSON.stringify(value) === '["v","v"]';
  return new Readers(clients, right);
}

/** A stand with data on all servers, and its readers, which have come to read from replicas. */
async function underLoad(
  f: Fixture,
  options: Parameters<typeof Stand.make>[1],
): Promise<[Stand, Readers]> {
  const stand = await Stand.make(f, options);
  const client = await stand.client();
  const sets = [["SET", "k", "v"], ["SET", "l", "v"], ["HSET", "h", "f", "v"], ["SET", "last", "v"]];
  assert.deepEqual(await client.pipeline(...sets), ["OK", "OK", 1, "OK"]);
  for (const replica of stand.replicas) await stand.has(replica, "last", "v");
  await stand.settled(client);
  const readers = await readersOf(stand);
  await readers.some(100);
  return [stand, readers];
}

for (const runtime of RUNTIMES.filter((each) => each !== "bun")) {
  Deno.test(`${runtime}: reads leave the primary, one client's stay with one replica, the rest goes where it was`, async () => {
    await using f = new Fixture();
    const stand = await Stand.make(f, { runtime });
    const { primary, replicas } = stand;
    const clients: RawClient[] = [];
    for (let i = 0; i < 12; i++) clients.push(await stand.client());
    // One that is found to be well later than the other takes its part of the clients from it.
    const homesOfAll = async () => {
      const homes: Server[] = [];
      for (const client of clients) homes.push(await stand.settled(client));
      return homes;
    };
    const homes = await poll(async () => {
      const found = await homesOfAll();
      return new Set(found).size === 2 && found;
    }, "both replicas to have clients");
    assert.deepEqual((await homesOfAll()).map((home, i) => home === homes[i]), clients.map(() => true));
    const [client] = clients as [RawClient];
    const before = await stand.calls(primary, "get");
    await client.command("SET", "k", "v");
    for (const replica of replicas) await stand.has(replica, "k", "v");
    for (let i = 0; i < 50; i++) assert.equal(await client.command("GET", "k"), "v");
    assert.equal(await stand.calls(primary, "get"), before);
    // In a transaction, while keys are watched, in scripts: on the primary.
    await client.command("WATCH", "k");
    assert.equal(await client.command("GET", "k"), "v");
    await client.command("MULTI");
    await client.command("GET", "k");
    assert.deepEqual(await client.command("EXEC"), ["v"]);
    assert.equal(await stand.calls(primary, "get"), before + 2);
    assert.equal(await client.command("EVAL_RO", "return redis.call('get', KEYS[1])", "1", "k"), "v");
    assert.equal(await stand.calls(primary, "eval_ro"), 1);
    assert.equal(await client.command("TOUCH", "k"), 1);
    assert.equal(await stand.calls(primary, "touch"), 1);
    await client.command("HELLO", "3");
    await client.command("CLIENT", "TRACKING", "ON");
    assert.equal(await client.command("GET", "k"), "v");
    assert.equal(await stand.calls(primary, "get"), before + 4);
    // What a replica refuses is the primary's to judge.
    assert.match(String(await clients[1]!.command("LLEN", "k")), /WRONGTYPE/);
    assert.equal(await stand.calls(primary, "llen"), 1);
  });

  Deno.test(`${runtime}: killed, frozen, loading, without a link: no read sees an error`, async () => {
    await using f = new Fixture();
    const [stand, readers] = await underLoad(f, { runtime, slow: true });
    const { primary, replicas: [first, second] } = stand as Pair;
    const other = await stand.client();
    // Data that takes a replica two seconds to load.
    const filling = Array.from({ length: 4000 }, (_, i) => ["SET", `fill${i}`, "x".repeat(50)]);
    await other.pipeline(...filling);
    await first.crash();
    await readers.some(500);
    assert.equal(await stand.settled(other, [second]), second);
    // Back, empty, and synchronised in full: it loads under the readers' eyes.
    await first.start();
    await readers.some(500);
    const again = await f.client(first);
    await poll(
      async () => String(await again.command("INFO", "replication")).includes("master_link_status:up"),
      "its link",
    );
    await readers.some(500);
    await freeze(second);
    await readers.some(500);
    second.kill("SIGCONT");
    await readers.some(500);
    // Its link is broken, and cannot be mended for a while.
    const atSecond = stand.clients.get(second)!;
    await atSecond.command("REPLICAOF", "127.0.0.1", "1");
    await readers.some(500);
    await atSecond.command("REPLICAOF", "127.0.0.1", String(primary.port));
    await readers.some(500);
    await readers.stop();
  });
}

Deno.test("the primary dies: reads are answered for as long as replicas may lag", async () => {
  await using f = new Fixture();
  const [stand, readers] = await underLoad(f, { keys: { max_lag: "120s" } });
  await stand.primary.crash();
  await readers.some(300);
  const client = await stand.client();
  assert.match(String(await client.command("SET", "k", "w")), /Connection re/);
  // The replicas have no link now, and have been asked.
  for (const replica of stand.replicas) {
    const at = stand.clients.get(replica)!;
    await poll(
      async () => String(await at.command("INFO", "replication")).includes("link_status:down"),
      "no link",
    );
  }
  // Three rounds of the keeper's two questions; each look here is a question too.
  const [replica] = stand.replicas as [Server];
  const before = await stand.calls(replica, "info");
  let looks = 0;
  await poll(async () => await stand.calls(replica, "info") - before - ++looks >= 6, "the keeper to look");
  await readers.some(300);
  await readers.stop();
});

const RUN = { runtime: "compiled", clients: 20, workers: 2, seed: 1, kills: true } as const;

for (const readFrom of ["prefer_replica", "any"]) {
  Deno.test(`read_your_writes, read_from: ${readFrom}: no client reads less than it has written, from lagging replicas, killed ones too`, async () => {
    await using f = new Fixture();
    const outcome = await readRun(f, { ...RUN, reads: 20_000, readFrom, readYourWrites: true });
    assert.deepEqual(outcome.errors.slice(0, 3), []);
    assert.deepEqual(outcome.stale.slice(0, 3), []);
    // How many hangs on how far they lag behind, which a busy machine decides.
    assert.ok(outcome.atReplicas > 0, JSON.stringify(outcome));
  });
}

Deno.test("without read_your_writes the same clients see stale reads, and no error", async () => {
  await using f = new Fixture();
  const run = { ...RUN, reads: 20_000, readFrom: "prefer_replica", readYourWrites: false, kills: false };
  const outcome = await readRun(f, run);
  assert.deepEqual(outcome.errors.slice(0, 3), []);
  assert.ok(outcome.stale.length > 0, JSON.stringify(outcome));
});

Deno.test("nearest: replicas that are learned stand where `zones` has their addresses, or where they say themselves", async () => {
  await using f = new Fixture();
  const primary = await f.redis({ port: 0 });
  const replica = (ip: string) =>
    f.redis({
      port: 0,
      args: [
        ...["--replicaof", "127.0.0.1", String(primary.port)],
        ...["--bind", "127.0.0.1", ip, "--replica-announce-ip", ip],
      ],
    });
  const replicas = [await replica("127.0.0.2"), await replica("127.0.0.3")];
  const zones = "ringmaster: { zone: here, zones: { here: [ 127.0.0.2 ] } }\n";
  const proxy = await f.proxy(
    "deno",
    zones + poolYml({ alpha: { servers: [`${primary.address}:1 a`], read_from: "nearest" } }),
  );
  const client = await f.client(proxy);
  const told = async () =>
    [
      ...String(await client.command("INFO", "ringmaster")).matchAll(
        /ringmaster_replica\d:server=a,address=(127.0.0.\d):\d+,zone=(\w*),/g,
      ),
    ].map(([, address, zone]) => `${address} ${zone}`).sort();
  await poll(
    async () => String(await told()) === "127.0.0.2 here,127.0.0.3 ",
    () => `both replicas to be read from, and one in its zone`,
  );
  const calls = async (server: Server) => {
    const info = String(await (await f.client(server)).command("INFO", "commandstats"));
    return Number(/cmdstat_strlen:calls=(\d+)/.exec(info)?.[1] ?? 0);
  };
  const clients = [client];
  for (let i = 0; i < 7; i++) clients.push(await f.client(proxy));
  for (const each of clients) assert.equal(await each.command("STRLEN", "k"), 0);
  assert.deepEqual([await calls(primary), ...await Promise.all(replicas.map(calls))], [0, 8, 0]);
  // Valkey knows where it stands; to Redis there is no such setting, and it stands nowhere.
  const other = await f.client(replicas[1]!);
  const set = await other.command("CONFIG", "SET", "availability-zone", "here");
  if (set instanceof ReplyError) {
    assert.match(set.message, /^ERR Unknown option/);
    assert.doesNotMatch(String(await other.command("INFO", "server")), /availability_zone/);
    return;
  }
  await poll(
    async () => String(await told()) === "127.0.0.2 here,127.0.0.3 here",
    () => `the other to be heard`,
  );
  // Clients are shared among the two.
  const before = await calls(replicas[1]!);
  await poll(async () => {
    for (const each of clients) await each.command("STRLEN", "k");
    return await calls(replicas[1]!) > before;
  }, "it to be read from");
  assert.equal(await calls(primary), 0);
});
