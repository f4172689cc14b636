/**
 * `ringmaster compare`: nutcracker and Ringmaster in front of the same servers, and what an operator may have got wrong.
 *
 *   keys ──► nutcracker (OLD) ──► servers ◄── Ringmaster (NEW)          both read by ringmaster compare
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { latin1 } from "../lib/bytes.ts";
import { Fixture } from "../lib/fixture.ts";
import { startAdmin } from "../lib/admin.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { run } from "../lib/process.ts";
import { command, type PoolKeys, poolYml, type Subject } from "../lib/servers.ts";

const SERVERS = 6;
const KEYS = 3000;
const RATE = ["--rate", "100000"];

async function compare(subject: Subject, ...args: string[]) {
  const [program, ...before] = await command(subject);
  return await run(program!, [...before, "compare", ...args]);
}

const compared = async (subject: Subject, ...args: string[]) => {
  const { code, stdout, stderr } = await compare(subject, ...args, "--json", ...RATE);
  strictEqual(stderr, "");
  return { code, ...JSON.parse(stdout) };
};

Deno.test("compiled and deno: no difference, a wrong weight, a server with other data; Redis and memcached", async () => {
  await using f = new Fixture();
  const redis = await Promise.all(Array.from({ length: SERVERS }, () => f.redis()));
  const memcached = await Promise.all(Array.from({ length: 3 }, () => f.memcached()));
  const other = await f.redis();
  const lines = redis.map(({ address }, i) => `${address}:1 s${i}`);
  const pools = (servers: readonly string[], of: Partial<PoolKeys> = {}) =>
    poolYml({ alpha: { servers, ...of }, beta: { servers: memcached } });
  const nutcracker = await f.proxy("nutcracker", pools(lines));
  const proxy = await f.proxy("compiled", pools(lines));
  const [client, cache] = [await f.client(nutcracker.targets[0]!), await f.client(nutcracker.targets[1]!)];

  // Of every type that twemproxy passes on, with any bytes, and nothing at all.
  const odd = "\xff\x00\r\n$";
  const commands = Array.from({ length: KEYS }, (_, i) => {
    const key = latin1(`${i}${i % 10 === 0 ? odd : ""}`);
    return [
      ["SET", key, `value ${i}`],
      ["SET", key, ""],
      ["HSET", key, "a", String(i), "b", latin1(odd)],
      ["RPUSH", key, "x", "y", String(i)],
      ["SADD", key, "x", "y", String(i)],
      ["ZADD", key, "1", "x", "2.5", String(i)],
      ["SETEX", key, "1000", "x"],
    ][i % 7]!;
  });
  commands.push(["SET", "", "of no name"], ["SET", "large", "x".repeat(200_000)], [
    "RPUSH",
    "long",
    ...commands.map((_, i) => String(i)),
  ]);
  await client.pipeline(...commands);
  const sets = Array.from({ length: 300 }, (_, i) => `set k:${i} 7 0 ${String(i).length}\r\n${i}\r\n`);
  await cache.send(sets.join(""));
  for (const _ of sets) strictEqual(await cache.readLine(), "STORED");

  const same = await compared("compiled", nutcracker.file, proxy.file, "--count", "0");
  deepStrictEqual([same.code, same.verdict], [0, "no difference"]);
  const [beta, alpha] = same.pools;
  deepStrictEqual([alpha.keys, alpha.same, alpha.parts, alpha.unread, alpha.examples], [
    KEYS + 3,
    KEYS + 3,
    2,
    0,
    [],
  ]);
  deepStrictEqual([beta.keys, beta.same, beta.unread], [300, 300, 0]);
  const asked = alpha.load.sent.map(({ requests }: any) => requests);
  ok(asked[0] === asked[1] && asked[0] > 3 * KEYS && asked[0] < 6 * KEYS, String(asked));
  strictEqual(alpha.load.servers.length, SERVERS);

  // Somebody has mistyped a weight; the proxy is not even asked to have read it.
  const wrong = `${f.dir}/wrong.yml`;
  await Deno.writeTextFile(wrong, pools(lines.map((line) => line.replace(":1 s3", ":3 s3"))));
  const weight = await compared(
    "deno",
    "--direct",
    nutcracker.file,
    wrong,
    "--pool",
    "alpha",
    "--count",
    "2000",
  );
  deepStrictEqual([weight.code, weight.verdict], [1, "differences"]);
  const [{ differences, settings, causes }] = weight.pools;
  deepStrictEqual(settings, ["weight of s3: OLD 1, NEW 3"]);
  ok(
    differences.placement > 100 && differences.missing === differences.placement,
    JSON.stringify(differences),
  );
  deepStrictEqual(causes.map(({ side, cause }: any) => [side, cause]), [[
    "new",
    "weight of s3: the file has 3, with 1",
  ]]);

  // One server is another one.
  const elsewhere = await f.proxy(
    "compiled",
    pools(lines.map((line, i) => i === 2 ? `${other.address}:1 s2` : line)),
  );
  const direct = await f.client(other.target);
  await direct.command("SET", "7", "what was here before");
  const keys = `${f.dir}/keys`;
  await Deno.writeTextFile(keys, Array.from({ length: 500 }, (_, i) => `${7 * i + 1}\n`).join(""));
  const data = await compared("compiled", nutcracker.file, elsewhere.file, "--pool", "alpha", "--keys", keys);
  deepStrictEqual([data.code, data.verdict], [1, "differences"]);
  const [found] = data.pools;
  ok(found.differences.missing > 20 && found.differences.placement === 0, JSON.stringify(found.differences));
  match(found.examples[0].text, /^OLD string of 0 bytes, OLD's file says s2 \(.*\), NEW's file says s2 \(/);
  deepStrictEqual(found.settings, [`address of s2: OLD ${redis[2]!.address}, NEW ${other.address}`]);

  // Nothing but reads has come to the servers.
  for (const server of [...redis, other]) {
    const stats = String(await (await f.client(server.target)).command("INFO", "commandstats"));
    const names = [...stats.matchAll(/^cmdstat_([a-z|-]+):/gm)].map((found) => found[1]!);
    const reads =
      /^(type|pttl|strlen|getrange|llen|lrange|zcard|zrange|hlen|hgetall|scard|smembers|exists|scan|info|ping|command.*|config.*)$/;
    const writes = ["set", "setex", "hset", "rpush", "sadd", "zadd"];
    deepStrictEqual(names.filter((name) => !reads.test(name) && !writes.includes(name)), []);
  }
});

Deno.test("compiled: what cannot be compared says why, and ends with 2", async () => {
  await using f = new Fixture();
  const redis = await f.redis({ args: ["--requirepass", "secret"] });
  const memcached = await f.memcached();
  const yml = poolYml({
    alpha: { servers: [`${redis.address}:1 a`], redis_auth: "secret" },
    beta: { servers: [memcached] },
  });
  const proxy = await f.proxy("compiled", yml);
  const bare = `${f.dir}/bare.yml`;
  await Deno.writeTextFile(bare, yml.replace(/ {2}redis_auth: .*\n/, ""));
  const watched = `${f.dir}/watched.yml`;
  await Deno.writeTextFile(
    watched,
    "alpha: { listen: 127.0.0.1:1, redis: true, failover: sentinel, sentinels: [ 127.0.0.1:2 ], servers: [ { name: a, master: m } ] }\n",
  );
  const keys = `${f.dir}/keys`;
  await Deno.writeTextFile(keys, "a\n");
  const [alpha, beta] = proxy.targets as { port: number }[];
  const down = freePort();
  const refusals: [string[], RegExp][] = [
    [[proxy.file, "nowhere.yml"], /nowhere\.yml/],
    [[proxy.file], /found 1 word, expected two files or addresses/],
    [[proxy.file, proxy.file], /OLD and NEW are both at 127\.0\.0\.1:\d+: say where/],
    [[proxy.file, `127.0.0.1:${down}`], /expected a file, or an address as redis:\/\/127/],
    [
      ["--pool", "gamma", proxy.file, proxy.file],
      /option --pool: found "gamma", expected one of beta, alpha/,
    ],
    [
      ["--pool", "alpha", "--new-at", `127.0.0.1:${down}`, proxy.file, proxy.file],
      /NEW at 127\.0\.0\.1:\d+: .*refused; without proxies, --direct/i,
    ],
    [
      ["--pool", "alpha", proxy.file, `redis://127.0.0.1:${beta!.port}`],
      /NEW at .*not Redis' protocol|NEW at .*closed/,
    ],
    [
      ["--pool", "beta", proxy.file, `memcached://127.0.0.1:${alpha!.port}`],
      /not memcached's protocol|was closed/,
    ],
    [
      ["--keys", keys, `redis://127.0.0.1:${alpha!.port}`, `redis://localhost:${alpha!.port}`],
      /OLD at .*other credentials: NOAUTH.*--password-file/,
    ],
    [["--pool", "alpha", "--direct", bare, bare], /no server can be scanned: .*NOAUTH/],
    [
      ["--pool", "alpha", "--direct", proxy.file, watched],
      /--direct .*: NEW's a of pool alpha has no address there, but a master/,
    ],
    [["--keys", `${f.dir}/none`, "--direct", proxy.file, proxy.file], /option --keys: .*none/],
    [
      ["--hex", "--keys", keys, "--pool", "alpha", "--direct", proxy.file, proxy.file],
      /keys:1: found "a", expected pairs/,
    ],
    [["--rate", "0", proxy.file, proxy.file], /--rate requires a number \(1 to 1000000\), found "0"/],
  ];
  await Promise.all(refusals.map(async ([args, expected]) => {
    const { code, stdout, stderr } = await compare("compiled", ...args);
    match(stderr, expected);
    deepStrictEqual([code, stdout], [2, ""], stderr);
  }));
  // The same, with what they ask for.
  const client = await f.client(proxy.targets[0]!);
  deepStrictEqual(await client.pipeline(["AUTH", "secret"], ["SET", "a", "1"]), ["OK", "OK"]);
  const password = `${f.dir}/password`;
  await Deno.writeTextFile(password, "secret\n");
  const both = [`redis://127.0.0.1:${alpha!.port}`, `redis://localhost:${alpha!.port}`];
  const { code, stdout, stderr } = await compare(
    "compiled",
    "--password-file",
    password,
    "--keys",
    keys,
    ...both,
  );
  deepStrictEqual([code, stderr], [0, ""]);
  match(stdout, /Verdict: no difference\. Of 1 keys clients read the same from both\./);

  // Who logs in as a user of the one does not as one of the other, which has no users: twemproxy would hang up.
  const alone = { alpha: { servers: [`${redis.address}:1 a`], redis_auth: "secret" } };
  const nutcracker = await f.proxy("nutcracker", poolYml(alone));
  const [name, secret] = ["app", "sesame sesame"];
  const guarded = {
    servers: [`${redis.address}:1 a`],
    server_auth: "{ password: secret }",
    users: `[ { name: ${name}, password: ${secret}, rules: "+@all ~* &*" } ]`,
  };
  const users = await f.proxy("compiled", poolYml({ alpha: guarded }));
  await Deno.writeTextFile(password, `${secret}\n`);
  const login = ["--user", name, "--password-file", password];
  for (const pair of [[nutcracker.file, users.file], [users.file, nutcracker.file]]) {
    const result = await compare("compiled", ...login, ...pair);
    deepStrictEqual([result.code, result.stderr], [0, ""], result.stdout);
  }
  await Deno.writeTextFile(password, "another\n");
  match(
    (await compare("compiled", ...login, nutcracker.file, users.file)).stderr,
    /NEW at .*: AUTH is refused: WRONGPASS .*; expected --password-file, and --user where it has users/,
  );
});

Deno.test("compiled: requests are recorded from a tap, and asked again of two proxies, or of one with what writes", async () => {
  await using f = new Fixture();
  const servers = [await f.redis(), await f.redis()];
  const yml = poolYml({ alpha: { servers } });
  const { proxy, admin } = await startAdmin(f, "compiled", yml);
  const nutcracker = await f.proxy(
    "nutcracker",
    yml.replace(/listen: .*/, `listen: 127.0.0.1:${freePort()}`),
  );
  const recording = `${f.dir}/recording`;
  const recorded = compare(
    "compiled",
    ...["--record", recording, "--admin", `127.0.0.1:${admin.port}`, "--count", "140", "--rate", "1000"],
  );
  const client = await f.client(proxy);
  const file = () => Deno.readTextFile(recording).catch(() => "");
  const commands = [
    ["SET", "a", "1"],
    ["GET", "a"],
    ["GET", "x".repeat(100)],
    ["HGETALL", "h"],
    ["MGET", "a", "b", "c"],
    ["INCR", "n"],
    ["AUTH", "secret"],
  ];
  // Until the tap listens, and has told enough; each is the first at times, which it tells if it tells any.
  await poll(async () => {
    await client.pipeline(...commands);
    commands.push(commands.shift()!);
    return (await file()).split("\n").length > 141;
  }, "140 requests are recorded");
  deepStrictEqual((await recorded).code, 0);
  const text = await file();
  match(text, /^\{"ringmaster_recording":1,"at":\d+\}\n\{"at":/);
  ok(!text.includes("secret"), text);
  const before = Number(await client.command("GET", "n"));
  const replay = async (...args: string[]) => {
    const { code, stdout, stderr } = await compare("compiled", "--replay", recording, "--json", ...args);
    strictEqual(stderr, "");
    return { code, ...JSON.parse(stdout).pools[0] };
  };
  const both = await replay(nutcracker.file, proxy.file);
  deepStrictEqual([both.code, both.requests, both.different, both.lost], [0, 140, 0, 0]);
  ok(
    both.asked > 10 && both.same === both.asked && both.skipped.writes > 0 && both.skipped.shortened > 0,
    JSON.stringify(both),
  );
  strictEqual(Number(await client.command("GET", "n")), before);
  const writes = await replay("--writes", proxy.file);
  deepStrictEqual([writes.code, writes.skipped.writes, writes.asked > both.asked], [0, 0, true]);
  ok(Number(await client.command("GET", "n")) > before);
  // The other one has other data now.
  const other = await f.proxy("compiled", poolYml({ alpha: { servers: [await f.redis()] } }));
  const differs = await replay(proxy.file, other.file);
  deepStrictEqual([differs.code, differs.different > 0], [1, true]);
  match(differs.examples.join("\n"), /get "a": OLD "1", NEW null/);
  const wrong = await compare("compiled", "--replay", proxy.file, proxy.file);
  deepStrictEqual([wrong.code, wrong.stdout], [2, ""]);
  match(wrong.stderr, /:1: found "ringmaster:", expected a JSON object a line/);
});
