/**
 * A primary is replaced while clients are at work: real servers, a sentinel by script (so that the moment is the test's to choose), and
 * the proxy on one thread and on several.
 */
import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { DenoNet } from "../../src/runtime/deno.ts";
import { type RawClient } from "../lib/client.ts";
import { FakeSentinel } from "../lib/fake_sentinel.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { ReplyError } from "../lib/resp.ts";
import { freeze, type Proxy, type Runtime, type Server } from "../lib/servers.ts";

const WAYS: readonly (readonly [Runtime, number])[] = [["deno", 1], ["compiled", 1], ["compiled", 2]];
const MAGIC = "make-this-worker-throw";
const WORKER_IDS = 2 ** 40;

class Stand {
  private constructor(
    readonly f: Fixture,
    readonly sentinel: FakeSentinel,
    /** The second one follows the first. */
    readonly servers: readonly [Server, Server],
    readonly admins: readonly [RawClient, RawClient],
    readonly proxy: Proxy,
    readonly workers: number,
  ) {}

  static async make(f: Fixture, [runtime, workers]: readonly [Runtime, number], keys = ""): Promise<Stand> {
    const first = await f.redis({ port: 0 });
    const second = await f.redis({ port: 0, args: ["--replicaof", "127.0.0.1", String(first.port)] });
    const admins = [await f.client(first), await f.client(second)] as const;
    const at = { host: "127.0.0.1", port: freePort() };
    const sentinel = await new FakeSentinel("one").listen(new DenoNet(), at);
    f.add({ [Symbol.asyncDispose]: async () => await sentinel.stop() });
    sentinel.name("m1", first.address, 1);
    const yml =
      `ringmaster: { workers: ${workers} }\nalpha:\n  listen: 127.0.0.1:${freePort()}\n  redis: true\n` +
      `  failover: sentinel\n  sentinels: ["127.0.0.1:${at.port}"]\n${keys}  servers:\n    - {name: m1, master: m1}\n`;
    const proxy = await f.proxy(runtime, yml, { env: { RINGMASTER_TEST_CRASH: MAGIC } });
    if (workers > 1) await poll(() => /workers are listening/.test(proxy.log), "all workers to listen");
    return new Stand(f, sentinel, [first, second], admins, proxy, workers);
  }

  /** The second server is made the primary, and the sentinel says so. */
  async switch(epoch = 2): Promise<void> {
    strictEqual(await this.admins[1].command("REPLICAOF", "NO", "ONE"), "OK");
    this.sentinel.switch("m1", this.servers[1].address, epoch);
  }

  client(): Promise<RawClient> {
    return this.f.client(this.proxy);
  }

  /** So many clients on each worker. */
  async clients(each: number): Promise<RawClient[]> {
    const found = Array.from({ length: this.workers }, (): RawClient[] => []);
    await poll(async () => {
      const client = await this.client();
      const mine = found[Math.floor(await client.command("CLIENT", "ID") as number / WORKER_IDS)]!;
      if (mine.length < each) mine.push(client);
      else client.close();
      return found.every((clients) => clients.length === each);
    }, "clients on every worker");
    return found.flat();
  }

  /** Resolves when the proxy owes so many replies: what it has not read yet it would send to the next primary. */
  async inFlight(requests: number): Promise<void> {
    await poll(async () => {
      const pool = (await this.proxy.stats()).alpha as Record<string, Record<string, number>>;
      const { in_queue, out_queue } = pool.m1!;
      return in_queue! + out_queue! === requests;
    }, `${requests} requests to be in flight`);
  }

  async info(field: string): Promise<string> {
    return infoOf(await this.client(), field);
  }
}

/** Waits until this is written. */
async function written(client: RawClient, value: string): Promise<void> {
  await poll(async () => await client.command("SET", "probe", value) === "OK", `a SET of ${value}`);
}

/** Waits until the workers of these clients know of the first event. */
async function known(...clients: readonly RawClient[]): Promise<void> {
  for (const client of clients) {
    await poll(
      async () => await infoOf(client, "ringmaster_topology_events") === "1",
      "every worker to know",
    );
  }
}

async function infoOf(client: RawClient, field: string): Promise<string> {
  const text = String(await client.command("INFO", "ringmaster"));
  return new RegExp(`^${field}:(.*)\r$`, "m").exec(text)?.[1] ?? "";
}

for (const way of WAYS) {
  const name = `${way[0]}, ${way[1]} workers`;

  Deno.test(`${name}: a switch under load: what is acknowledged after it is on the new primary`, async () => {
    await using f = new Fixture();
    const stand = await Stand.make(f, way);
    const clients = await stand.clients(4);
    let moved = false;
    let stopped = false;
    const late: string[] = [];
    const errors = new Set<string>();
    const loads = clients.map(async (client, i) => {
      for (let n = 0; !stopped; n++) {
        const after = moved;
        const reply = await client.command("SET", `key:${i}:${n}`, String(n));
        if (reply instanceof ReplyError) errors.add(reply.message);
        else if (after) late.push(`key:${i}:${n}`);
      }
    });
    const probes = await stand.clients(1);
    await written(probes[0]!, "before");
    await stand.switch();
    await poll(() => /server 'm1' switched/.test(stand.proxy.log), "the switch");
    await known(...probes);
    moved = true;
    await poll(() => late.length > 200, "writes after the switch");
    stopped = true;
    await Promise.all(loads);
    strictEqual(await stand.admins[1].command("EXISTS", ...late), late.length);
    strictEqual(await stand.admins[0].command("EXISTS", ...late), 0);
    for (const error of errors) match(error, /^ERR The server was replaced while this was under way/);
  });

  Deno.test(`${name}: requests on a frozen primary fail at the switch, and it answers none of them when it goes on`, async () => {
    await using f = new Fixture();
    const stand = await Stand.make(f, way);
    const clients = await stand.clients(3);
    for (const [i, client] of clients.entries()) {
      strictEqual(await client.command("SET", `a${i}`, "old"), "OK");
    }
    await freeze(stand.servers[0]);
    const answers = clients.map((client, i) => client.command("SET", `a${i}`, "lost"));
    await stand.inFlight(clients.length);
    await stand.switch();
    for (const answer of await Promise.all(answers)) {
      match(String(answer), /The server was replaced while this was under way: what became of it is unknown/);
    }
    for (const [i, client] of clients.entries()) {
      strictEqual(await client.command("SET", `a${i}`, "new"), "OK");
    }
    stand.servers[0].kill("SIGCONT");
    strictEqual(await stand.admins[0].command("PING"), "PONG");
    for (const [i, client] of clients.entries()) {
      deepStrictEqual(await client.pipeline(["GET", `a${i}`], ["ECHO", "x"]), ["new", "x"]);
    }
  });

  Deno.test(`${name}: nothing is written to a replica that a sentinel names, until it is promoted`, async () => {
    await using f = new Fixture();
    const stand = await Stand.make(f, way);
    const clients = await stand.clients(2);
    for (const client of clients) strictEqual(await client.command("SET", "a", "1"), "OK");
    const [first, second] = stand.admins;
    await poll(
      async () => /^master_link_status:up/m.test(String(await second.command("INFO", "replication"))),
      "the replica",
    );
    stand.sentinel.switch("m1", stand.servers[1].address, 2);
    await poll(() => /server 'm1' switched/.test(stand.proxy.log), "the switch");
    // The log has it before every worker does.
    const refused = /it says that it is a replica \(server m1\)|was replaced/;
    await Promise.all(
      clients.map((client) =>
        poll(
          async () => refused.test(String(await client.command("SET", "a", "2"))),
          "its worker to have switched",
        )
      ),
    );
    const sets = /cmdstat_set:calls=(\d+)/.exec(String(await first.command("INFO", "commandstats")))![1];
    strictEqual(await second.command("REPLICAOF", "NO", "ONE"), "OK");
    for (const client of clients) await written(client, "3");
    // The replica has been sent what its primary was, and nothing else.
    strictEqual(await first.command("GET", "probe"), null);
    strictEqual(
      /cmdstat_set:calls=(\d+)/.exec(String(await first.command("INFO", "commandstats")))![1],
      sets,
    );
  });
}

const LAST = WAYS[2]!;

Deno.test("the same switch told three times, and an old one in between, are one move", async () => {
  await using f = new Fixture();
  const stand = await Stand.make(f, LAST);
  const client = await stand.client();
  await stand.switch(7);
  await written(client, "1");
  // Those of the proxy and our own: they stay, whoever comes besides.
  const ids = async () =>
    [...String(await stand.admins[1].command("CLIENT", "LIST")).matchAll(/^id=(\d+)/gm)].map(([, id]) => id);
  const before = await ids();
  for (const [address, epoch] of [[1, 7], [0, 3], [1, 7]] as const) {
    stand.sentinel.switch("m1", stand.servers[address].address, epoch);
    await written(client, String(epoch));
  }
  await poll(async () => await stand.info("ringmaster_topology_events") === "1", "one event");
  const after = await ids();
  deepStrictEqual(before.filter((id) => !after.includes(id)), []);
  match(
    await stand.info("ringmaster_topology_last_event"),
    /^pool 'alpha' server 'm1' switched: 127\.0\.0\.1:/,
  );
});

Deno.test("a worker that replaces another begins where its servers are now", async () => {
  await using f = new Fixture();
  const stand = await Stand.make(f, LAST);
  const [victim, other] = await stand.clients(1);
  await stand.switch();
  await known(victim!, other!);
  await written(await stand.client(), "new");
  await victim!.send(`*1\r\n$${MAGIC.length}\r\n${MAGIC}\r\n`);
  await poll(() => /w\d died/.test(stand.proxy.log), "a worker to die");
  for (const client of await stand.clients(1)) {
    strictEqual(await client.command("GET", "probe"), "new");
    strictEqual(await client.command("SET", "other", "new"), "OK");
  }
  strictEqual(await stand.admins[0].command("EXISTS", "probe", "other"), 0);
});

Deno.test("NOREPLICAS is passed on and ejects nobody", async () => {
  await using f = new Fixture();
  const keys = "  auto_eject_hosts: true\n  server_failure_limit: 1\n";
  const stand = await Stand.make(f, LAST, keys);
  for (const admin of stand.admins) {
    strictEqual(await admin.command("CONFIG", "SET", "min-replicas-to-write", "3"), "OK");
  }
  const client = await stand.client();
  for (let i = 0; i < 5; i++) match(String(await client.command("SET", "a", "1")), /NOREPLICAS/);
  strictEqual(await client.command("GET", "a"), null);
  strictEqual(await stand.info("ringmaster_live_servers"), "1");
});

Deno.test("retry_reads: reads in flight at a switch are answered by the new primary", async () => {
  await using f = new Fixture();
  const stand = await Stand.make(f, LAST, "  retry_reads: true\n");
  const clients = await stand.clients(3);
  for (const [i, client] of clients.entries()) {
    strictEqual(await client.command("SET", `a${i}`, `${i}`), "OK");
  }
  const keys = clients.map((_, i) => `a${i}`);
  await poll(
    async () => await stand.admins[1].command("EXISTS", ...keys) === keys.length,
    "the replica to have it",
  );
  await freeze(stand.servers[0]);
  const answers = clients.map((client, i) => client.pipeline(["GET", `a${i}`], ["STRLEN", `a${i}`]));
  await stand.inFlight(2 * keys.length);
  await stand.switch();
  deepStrictEqual(await Promise.all(answers), clients.map((_, i) => [`${i}`, 1]));
});
