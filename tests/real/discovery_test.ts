/** `servers_from`: servers that DNS names, and servers of a file, that come, go and change while clients work. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import type { RawClient } from "../lib/client.ts";
import { DnsServer } from "../lib/dns_server.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll, within } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { run } from "../lib/process.ts";
import { which } from "../lib/repo.ts";
import { command, type Proxy, type Runtime, type Server } from "../lib/servers.ts";

const RUNTIMES: readonly Runtime[] = ["compiled", "deno"];

/** A pool whose servers come from elsewhere. */
function yml(from: string, process = "{}"): string {
  return `ringmaster: ${process}\nalpha:\n  listen: 127.0.0.1:${freePort()}\n  redis: true\n  servers_from: ${from}\n`;
}

/** Runs it to its end. */
async function runIt(runtime: Runtime, ...flags: string[]) {
  const [program, ...before] = await command(runtime);
  return await within(run(program!, [...before, ...flags]), `ringmaster ${flags.join(" ")}`);
}

/** Names of the servers that the proxy has now, sorted. */
async function names(proxy: Proxy): Promise<string[]> {
  const pool = (await proxy.stats()).alpha as Record<string, unknown>;
  return Object.keys(pool).filter((key) => typeof pool[key] === "object").sort();
}

function untilNames(proxy: Proxy, expected: readonly string[]): Promise<unknown> {
  const wanted = [...expected].sort().join();
  return poll(async () => (await names(proxy)).join() === wanted, () => `${wanted}\n${proxy.log}`);
}

const untilLogged = (proxy: Proxy, pattern: RegExp): Promise<unknown> =>
  poll(() => pattern.test(proxy.log), () => `${pattern} in\n${proxy.log}`);

const count = (text: string, pattern: RegExp): number => [...text.matchAll(new RegExp(pattern, "g"))].length;

/** What `ringmaster route` says of the keys k0 to k29: the address of each one's server. */
async function routed(runtime: Runtime, proxy: Proxy): Promise<string[]> {
  const { code, stdout, stderr } = await runIt(runtime, "route", "-c", proxy.file, ...KEYS);
  strictEqual(code, 0, stderr);
  return stdout.trimEnd().split("\n").map((line) => line.split("\t")[3]!);
}

const KEYS = Array.from({ length: 30 }, (_, i) => `k${i}`);

/**
 * Sets all keys through the proxy, and finds each on the server that `route` names. Statistics have new servers a moment before the last
 * worker has: what it is given meanwhile goes where it was.
 */
async function keysAreWhereRouteSays(
  f: Fixture,
  runtime: Runtime,
  proxy: Proxy,
  client: RawClient,
  servers: readonly Server[],
  value: string,
): Promise<void> {
  const addresses = await routed(runtime, proxy);
  const direct = new Map<string, RawClient>();
  for (const server of servers) direct.set(server.address, await f.client(server));
  let lost: string[] = [];
  await poll(async () => {
    lost = [];
    for (const key of KEYS) strictEqual(await client.command("SET", key, value), "OK");
    for (const [i, key] of KEYS.entries()) {
      const address = addresses[i]!.replace("localhost", "127.0.0.1");
      if (await direct.get(address)!.command("GET", key) !== value) lost.push(`${key} on ${address}`);
    }
    return lost.length === 0;
  }, () => `keys to be where route says: not ${lost.join(", ")}\n${proxy.log}`);
}

const CASES: Record<string, (f: Fixture, runtime: Runtime) => Promise<void>> = {
  "addresses of a name come, go and fail": async (f, runtime) => {
    const dns = f.add(await DnsServer.start());
    const first = await f.redis({ port: 0 });
    const { port } = first;
    const others = [await f.redis({ host: "127.0.0.2", port }), await f.redis({ host: "127.0.0.3", port })];
    dns.addresses.set("redis.test", ["127.0.0.1", "127.0.0.2"]);
    const from = `{ dns: redis.test:${port}, interval: 100, nameserver: "${dns.address}" }`;
    const proxy = await f.proxy(runtime, yml(from, "{ workers: 2 }"));
    const [one, two, three] = [1, 2, 3].map((n) => `127.0.0.${n}:${port}`) as [string, string, string];
    deepStrictEqual(await names(proxy), [one, two]);
    const client = await f.client(proxy);
    await keysAreWhereRouteSays(f, runtime, proxy, client, [first, ...others], "1");
    // One comes.
    dns.addresses.set("redis.test", ["127.0.0.3", "127.0.0.2", "127.0.0.1"]);
    await untilNames(proxy, [one, two, three]);
    await untilLogged(proxy, /dns redis\.test has changed\n.*pool alpha: [0-9.]+ % of all keys move/);
    await keysAreWhereRouteSays(f, runtime, proxy, client, [first, ...others], "2");
    // Nobody knows, then there are none: both change nothing and are said once.
    dns.mood = "refuse";
    await untilLogged(proxy, /dns redis\.test: .*; the servers stay as they are/);
    let asked = dns.asked.length;
    await poll(() => dns.asked.length > asked + 6, "more questions");
    deepStrictEqual(await names(proxy), [one, two, three]);
    strictEqual(count(proxy.log, /the servers stay as they are/), 1);
    dns.mood = "answer";
    await untilLogged(proxy, /dns redis\.test: answers again/);
    dns.addresses.delete("redis.test");
    // Deno does not tell the two apart.
    await poll(() => count(proxy.log, /the servers stay as they are/) === 2, "another line of the log");
    match(proxy.log, /dns redis\.test: names no server/);
    asked = dns.asked.length;
    await poll(() => dns.asked.length > asked + 6, "more questions");
    deepStrictEqual(await names(proxy), [one, two, three]);
    // One goes, and an IPv6 address comes that nobody serves.
    dns.addresses.set("redis.test", ["127.0.0.1", "127.0.0.3", "fd00::1"]);
    await untilNames(proxy, [one, three, `[fd00::1]:${port}`]);
    dns.addresses.set("redis.test", ["127.0.0.1"]);
    await untilNames(proxy, [one]);
    await keysAreWhereRouteSays(f, runtime, proxy, client, [first], "3");
  },

  "hosts of SRV records keep their keys when their addresses and ports' weights change": async (
    f,
    runtime,
  ) => {
    const dns = f.add(await DnsServer.start());
    const first = await f.redis({ port: 0 });
    const second = await f.redis({ port: 0 });
    const moved = await f.redis({ host: "127.0.0.2", port: first.port });
    const [zero, one] = [`redis-0.redis.test:${first.port}`, `redis-1.redis.test:${second.port}`] as const;
    const services = (weight: number) => [
      { host: "redis-0.redis.test", port: first.port, weight },
      { host: "redis-1.redis.test", port: second.port, weight },
    ];
    dns.addresses.set("redis-0.redis.test", ["127.0.0.1"]).set("redis-1.redis.test", ["127.0.0.1"]);
    dns.services.set("_redis._tcp.redis.test", services(50));
    const from = `{ dns: _redis._tcp.redis.test, interval: 100, nameserver: "${dns.address}" }`;
    const proxy = await f.proxy(runtime, yml(from, "{ max_moved: 0% }"));
    deepStrictEqual(await names(proxy), [zero, one]);
    const client = await f.client(proxy);
    const before = await routed(runtime, proxy);
    await keysAreWhereRouteSays(f, runtime, proxy, client, [first, second], "old");
    // A pod that comes back elsewhere, and the same weight for all under another number.
    dns.services.set("_redis._tcp.redis.test", services(33));
    dns.addresses.set("redis-0.redis.test", ["127.0.0.2"]);
    await untilLogged(proxy, /redis-0\.redis\.test:\d+ moves from 127\.0\.0\.1:\d+ to 127\.0\.0\.2:/);
    deepStrictEqual(
      await routed(runtime, proxy),
      before.map((address) => address === first.address ? moved.address : address),
    );
    await keysAreWhereRouteSays(f, runtime, proxy, client, [moved, second], "new");
    // What would move keys is refused, and nothing else is said of it.
    dns.services.set("_redis._tcp.redis.test", [...services(33), { host: "redis-2.redis.test", port: 1 }]);
    await untilLogged(proxy, /has changed, refused, [^]* of all keys would move, max_moved allows 0\.0 %/);
    const asked = dns.asked.length;
    await poll(() => dns.asked.length > asked + 12, "more questions");
    strictEqual(count(proxy.log, /refused/), 1);
    deepStrictEqual(await names(proxy), [zero, one]);
  },

  "many SRV records, more than one packet has": async (f, runtime) => {
    const dns = f.add(await DnsServer.start());
    const records = Array.from({ length: 60 }, (_, i) => ({ host: `redis-${i}.redis.test`, port: 6379 }));
    for (const { host } of records) dns.addresses.set(host, ["127.0.0.1"]);
    dns.services.set("_redis._tcp.redis.test", records);
    const proxy = await f.proxy(
      runtime,
      yml(`{ dns: _redis._tcp.redis.test, nameserver: "${dns.address}" }`),
    );
    strictEqual((await names(proxy)).length, 60);
  },

  "a name of the hosts file, looked up as the system is set up": async (f, runtime) => {
    const server = await f.redis({ port: 0 });
    const proxy = await f.proxy(runtime, yml(`{ dns: localhost:${server.port} }`));
    ok((await names(proxy)).includes(server.address));
    if ((await names(proxy)).length > 1) return;
    const client = await f.client(proxy);
    strictEqual(await client.command("SET", "a", "1"), "OK");
  },

  "a start that cannot be, with the reason": async (f, runtime) => {
    const dns = f.add(await DnsServer.start());
    const file = `${f.dir}/x.yml`;
    const starts = async (from: string, ...flags: string[]) => {
      Deno.writeTextFileSync(file, yml(from));
      const { code, stderr } = await runIt(runtime, "-c", file, "-s", String(freePort()), ...flags);
      strictEqual(code, 1, stderr);
      return stderr;
    };
    const from = `{ dns: redis.test:6379, nameserver: "${dns.address}" }`;
    strictEqual(await starts(from), "ringmaster: cannot start: dns redis.test: names no server\n");
    dns.mood = "ignore";
    match(await starts(from), /^ringmaster: cannot start: dns redis\.test: .*(ETIMEOUT|no answer).*\n$/);
    match(await starts("{ file: none }"), /^ringmaster: cannot start: file .*\/none: no such file\n$/);
    // -t asks no DNS, but reads files.
    match(
      await starts("{ file: none }", "-t"),
      /^file .*\/none: no such file\nringmaster: .* syntax is invalid\n$/,
    );
    Deno.writeTextFileSync(file, yml(from));
    strictEqual((await runIt(runtime, "-t", "-c", file)).code, 0);
  },

  "a file, written in one step and in many": async (f, runtime) => {
    const servers = [await f.redis(), await f.redis(), await f.redis()];
    const lines = servers.map((server, i) => `${server.address}:1 s${i}\n`) as [string, string, string];
    const file = `${f.dir}/servers`;
    const replace = (text: string) => {
      Deno.writeTextFileSync(`${file}.new`, text);
      Deno.renameSync(`${file}.new`, file);
    };
    replace(`# two\n${lines[0]}\n${lines[1]}`);
    const proxy = await f.proxy(runtime, yml("{ file: servers }"));
    const client = await f.client(proxy);
    deepStrictEqual(await names(proxy), ["s0", "s1"]);
    await keysAreWhereRouteSays(f, runtime, proxy, client, servers, "1");
    // In one step.
    replace(lines.join(""));
    await untilNames(proxy, ["s0", "s1", "s2"]);
    await keysAreWhereRouteSays(f, runtime, proxy, client, servers, "2");
    // In many: emptied, then a letter at a time; it is looked at meanwhile, and makes no sense until it is whole.
    const members = [1, 2].map((i) => `  { address: ${servers[i]!.address}, name: s${i} }`);
    const text = `[\n${members.join(",\n")}\n]\n`;
    using out = Deno.openSync(file, { write: true, truncate: true });
    const seen = new Set<string>();
    const endMs = performance.now() + 1500;
    for (let at = 0; at < text.length;) {
      seen.add((await names(proxy)).join());
      if (performance.now() < endMs && at > text.length - 10) continue;
      out.writeSync(new TextEncoder().encode(text[at++]));
    }
    await untilNames(proxy, ["s1", "s2"]);
    deepStrictEqual([...seen], ["s0,s1,s2"]);
    await keysAreWhereRouteSays(f, runtime, proxy, client, servers, "3");
    // Wrong, and away: both said once.
    replace(`${lines[0]}h:1\n`);
    await untilLogged(
      proxy,
      /file .*servers: line 2, column 1: found "h:1", expected .*; the servers stay as they are/,
    );
    Deno.removeSync(file);
    replace(lines[0]);
    await untilNames(proxy, ["s0"]);
    await untilLogged(proxy, /file .*servers: answers again/);
    await keysAreWhereRouteSays(f, runtime, proxy, client, servers, "4");
  },

  "a reload from servers to a source and back, with the connection kept": async (f, runtime) => {
    const server = await f.redis();
    Deno.writeTextFileSync(`${f.dir}/servers`, `${server.address}:1 a\n`);
    const text = yml("{ file: servers }");
    const proxy = await f.proxy(runtime, text);
    const client = await f.client(proxy);
    strictEqual(await client.command("SET", "key", "1"), "OK");
    const reload = async (next: string, name: string) => {
      Deno.writeTextFileSync(proxy.file, next);
      proxy.kill("SIGHUP");
      await untilNames(proxy, [name]);
      strictEqual(await client.command("GET", "key"), "1");
    };
    await reload(text.replace(/servers_from.*/, `servers: [ "${server.address}:1 b" ]`), "b");
    Deno.writeTextFileSync(`${f.dir}/servers`, `${server.address}:1 c\n`);
    await reload(text, "c");
  },
};

for (const runtime of RUNTIMES) {
  for (const [name, test] of Object.entries(CASES)) {
    Deno.test(`discovery: ${name} (${runtime})`, async () => {
      await using f = new Fixture();
      await test(f, runtime);
    });
  }
}

/** A DNS server's own port, on an address that nobody else has. */
const SYSTEM_DNS = "127.0.53.53";
const canMount = Deno.uid() === 0 && which("unshare") !== null &&
  (await run("unshare", ["-m", "mount", "--bind", "/etc/resolv.conf", "/etc/resolv.conf"])).code === 0;

for (const runtime of RUNTIMES) {
  Deno.test({
    name:
      `discovery: SRV records and addresses from the system's own DNS server, as in Kubernetes (${runtime})`,
    ignore: !canMount,
    fn: async () => {
      await using f = new Fixture();
      const dns = f.add(await DnsServer.start(SYSTEM_DNS, 53));
      const server = await f.redis({ port: 0 });
      const moved = await f.redis({ host: "127.0.0.2", port: server.port });
      dns.addresses.set("redis-0.redis.test", ["127.0.0.1"]).set("redis.test", ["127.0.0.1"]);
      dns.services.set("_redis._tcp.redis.test", [{ host: "redis-0.redis.test", port: server.port }]);
      const resolv = `${f.dir}/resolv.conf`;
      await Deno.writeTextFile(resolv, `nameserver ${SYSTEM_DNS}\nsearch test\n`);
      // The second pool's name needs the search domain.
      const second =
        `beta:\n  listen: 127.0.0.1:${freePort()}\n  redis: true\n  servers_from: { dns: redis:${server.port} }\n`;
      const proxy = await f.proxy(runtime, yml("{ dns: _redis._tcp.redis.test, interval: 100 }") + second, {
        prefix: [
          "unshare",
          "-m",
          "/bin/sh",
          "-c",
          `mount --bind ${resolv} /etc/resolv.conf && exec "$0" "$@"`,
        ],
      });
      deepStrictEqual(await names(proxy), [`redis-0.redis.test:${server.port}`]);
      const client = await f.client(proxy);
      strictEqual(await client.command("SET", "where", "old"), "OK");
      strictEqual(await (await f.client(proxy.targets[1]!)).command("GET", "where"), "old");
      // The pod comes back elsewhere: its connection is lost, and its name looked up anew.
      const direct = await f.client(moved);
      strictEqual(await direct.command("SET", "where", "new"), "OK");
      dns.addresses.set("redis-0.redis.test", ["127.0.0.2"]);
      await server.crash();
      await poll(async () => await client.command("GET", "where") === "new", "the new address");
      deepStrictEqual(await names(proxy), [`redis-0.redis.test:${server.port}`]);
    },
  });
}
