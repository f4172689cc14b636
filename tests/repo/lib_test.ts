/** The tests' own tools: what they promise, against real servers. A blind tool makes every test blind. */
import { deepStrictEqual, match, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { latin1, request, textOf } from "../lib/bytes.ts";
import { feed, feedScan } from "../lib/feed.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { inVersion } from "../lib/versions.ts";
import { exists, which } from "../lib/repo.ts";
import { parseReply, Push, replyEnd, ReplyError } from "../lib/resp.ts";
import { listenTargets, poolYml } from "../lib/servers.ts";

const REPLIES: { name: string; text: string; value: unknown }[] = [
  { name: "status", text: "+OK\r\n", value: "OK" },
  { name: "integer", text: ":-7\r\n", value: -7 },
  { name: "large integer", text: ":9223372036854775807\r\n", value: 9223372036854775807n },
  { name: "bulk with CRLF inside", text: "$4\r\n\r\n\0\xff\r\n", value: "\r\n\0\xff" },
  { name: "nil bulk", text: "$-1\r\n", value: null },
  { name: "nested array", text: "*2\r\n*1\r\n:1\r\n*-1\r\n", value: [[1], null] },
  { name: "RESP3 map", text: "%1\r\n+a\r\n,1.5\r\n", value: new Map([["a", 1.5]]) },
  { name: "RESP3 set", text: "~2\r\n#t\r\n_\r\n", value: new Set([true, null]) },
  { name: "RESP3 push", text: ">1\r\n+x\r\n", value: new Push(["x"]) },
  { name: "RESP3 verbatim", text: "=6\r\ntxt:hi\r\n", value: "hi" },
  { name: "RESP3 attribute", text: "|1\r\n+a\r\n+b\r\n:5\r\n", value: 5 },
];
for (const { name, text, value } of REPLIES) {
  Deno.test(`parseReply() reads a ${name}, and nothing before it is whole`, () => {
    const bytes = latin1(text);
    for (let end = 0; end < bytes.length; end++) {
      strictEqual(parseReply(bytes, 0, end), null);
      strictEqual(replyEnd(bytes, 0, end), -1);
    }
    strictEqual(replyEnd(bytes, 0, bytes.length), bytes.length);
    deepStrictEqual(parseReply(bytes, 0, bytes.length), { value, end: bytes.length });
  });
}

Deno.test("parseReply() throws for what cannot be a reply", () => {
  for (const text of ["hello\r\n", "$x\r\n", "$1\r\nabc\r\n", ":1x\r\n"]) {
    throws(() => parseReply(latin1(text), 0, text.length), /expected/);
  }
});

Deno.test("feed() gives the same bytes in every cut and notices an outcome that depends on it", () => {
  const bytes = latin1("*1\r\n$4\r\nPING\r\n");
  const joined = feed(bytes, (pieces) => pieces.map((piece) => textOf(piece)).join(""));
  strictEqual(joined, textOf(bytes));
  throws(() => feed(bytes, (pieces) => pieces.length), /differs from fed whole/);
});

Deno.test("feedScan() notices a scanner that reads past its end", () => {
  const line = (bytes: Uint8Array, start: number, end: number) => {
    const at = bytes.indexOf(10, start);
    return at < 0 || at >= end ? -1 : at + 1;
  };
  strictEqual(feedScan(latin1("abc\r\n"), line).result, 5);
  const blind = (bytes: Uint8Array, start: number, _end: number) => bytes.indexOf(10, start) + 1 || -1;
  throws(() => feedScan(latin1("abcdefgh\r\n"), blind));
});

Deno.test("poll() names what it waited for", async () => {
  await rejects(poll(() => false, "the moon", 5), /gave up waiting for the moon/);
});

Deno.test("inVersion() shortens scores of newer servers, and no digits that are the end of a larger number", () => {
  const said = (reply: string) => inVersion("valkey 9.1", ["ZSCORE", "z", "m"], reply);
  strictEqual(said("$19\r\n0.10000000000000001\r\n"), "$3\r\n0.1\r\n");
  strictEqual(said(",5.0511287799999991\r\n"), ",5.051128779999999\r\n");
  const position = "*1\r\n*2\r\n,180\r\n,85.0511287799999991\r\n";
  strictEqual(inVersion("valkey 9.1", ["GEOPOS", "g", "m"], position), position);
});

Deno.test("listenTargets() finds what poolYml() wrote", () => {
  const yml = poolYml({
    a: { listen: "127.0.0.1:1", servers: ["127.0.0.1:2:1 x"] },
    b: { listen: "/tmp/b.sock", servers: [] },
  });
  deepStrictEqual(listenTargets(yml), [{ host: "127.0.0.1", port: 1 }, { path: "/tmp/b.sock" }]);
  match(yml, / {4}- 127\.0\.0\.1:2:1 x\n/);
});

const installed = ["redis-server", "memcached", "nutcracker"].every((program) => which(program) !== null);

Deno.test({
  name: "Fixture starts servers and a proxy, and leaves nothing behind",
  ignore: !installed,
  sanitizeResources: true,
  async fn() {
    const left: { pids: number[]; dir: string } = { pids: [], dir: "" };
    {
      await using f = new Fixture();
      left.dir = f.dir;
      const redis = await f.redis();
      const tcp = await f.redis({ port: 0 });
      const memcached = await f.memcached();
      const yml = poolYml({
        alpha: { servers: [redis, tcp] },
        beta: { listen: `${f.dir}/beta.sock`, servers: [memcached] },
      });
      const proxy = await f.proxy("nutcracker", yml);
      left.pids.push(redis.pid, tcp.pid, memcached.pid, proxy.pid);

      const client = await f.client(proxy);
      strictEqual(await client.command("SET", "a", "1\r\n"), "OK");
      deepStrictEqual(await client.pipeline(["GET", "a"], ["MGET", "a", "none"]), ["1\r\n", ["1\r\n", null]]);
      await client.send(request("GET", "a"));
      strictEqual((await client.readReply()).text, "$3\r\n1\r\n\r\n");
      ok(await client.command("LPUSH", "a", "x") instanceof ReplyError);
      const large = ["x".repeat(300_000), "y".repeat(70_000)];
      deepStrictEqual(
        await client.pipeline(["SET", "x", large[0]], ["SET", "y", large[1]], ["MGET", "x", "y", "x"]),
        ["OK", "OK", [large[0], large[1], large[0]]],
      );

      const cache = await f.client(proxy.targets[1]);
      await cache.send("set a 0 0 3\r\nabc\r\nget a b\r\n");
      strictEqual(await cache.readLine(), "STORED");
      strictEqual(await cache.readUntil("END\r\n"), "VALUE a 0 3\r\nabc\r\nEND\r\n");

      strictEqual((await proxy.stats()).service, "nutcracker");

      const direct = await f.client(redis);
      await redis.crash();
      strictEqual(await direct.readToEnd(), "");
      await redis.start();
      strictEqual(await (await f.client(redis)).command("DBSIZE"), 0);
    }
    for (const pid of left.pids) throws(() => Deno.kill(pid, 0 as unknown as Deno.Signal));
    strictEqual(exists(left.dir), false);
  },
});

Deno.test({
  name: "startProxy() shows the log of a proxy that does not start",
  ignore: !installed,
  async fn() {
    await using f = new Fixture();
    await rejects(
      f.proxy("nutcracker", "alpha:\n  listen: 127.0.0.1:1x\n"),
      /ended with 1 instead of starting:\n.*\S/s,
    );
  },
});
