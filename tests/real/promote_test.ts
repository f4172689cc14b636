/** Promotion without Sentinel, with real servers: who takes over, what becomes of the old primary, and who may write meanwhile. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { portOf, ReplicaSet } from "../lib/replica_set.ts";
import { ReplyError } from "../lib/resp.ts";
import { freeze, type Runtime } from "../lib/servers.ts";

const WAYS: readonly (readonly [Runtime, number])[] = [["deno", 1], ["compiled", 2]];

for (const [runtime, workers] of WAYS) {
  const name = `${runtime}, ${workers} ${workers === 1 ? "worker" : "workers"}`;

  Deno.test(`${name}: a primary that is killed is replaced, and follows when it returns`, async () => {
    await using f = new Fixture();
    const set = await ReplicaSet.start(f, { runtime, workers });
    const client = await f.client(set.proxies[0]!);
    const [first, ...others] = set.members;
    for (let i = 0; i < 50; i++) strictEqual(await client.command("SET", `key:${i}`, "before"), "OK");
    await set.written(client, "before");
    await first!.crash();
    await set.written(client, "after");
    const [second, ...more] = await set.primaries(others);
    deepStrictEqual(more, []);
    strictEqual(await (await f.client(second!)).command("GET", "probe"), "after");
    match(set.proxies[0]!.log, /server 'm' promoted: 127\.0\.0\.1:\d+ in place of 127\.0\.0\.1:\d+/);

    await first!.start();
    await set.follow(second!);
    for (let i = 0; i < 50; i++) {
      strictEqual(await client.command("SET", `key:${i}`, `after ${i}`), "OK");
      strictEqual(await client.command("GET", `key:${i}`), `after ${i}`);
    }
    const old = await f.client(first!);
    await poll(
      async () => await old.command("GET", "key:49") === "after 49",
      "the old primary to have it too",
    );
    // It is the same after a restart: the files say so.
    for (const member of set.members) {
      const path = `${f.dir}/member${set.members.indexOf(member)}.conf`;
      // It is told to write it when it follows already.
      await poll(
        () => /^replicaof /m.test(Deno.readTextFileSync(path)) === (member !== second),
        () => `${path} to say whom it follows: ${Deno.readTextFileSync(path)}`,
      );
    }
  });

  Deno.test(`${name}: a primary that is frozen is replaced; what it answers later reaches nobody`, async () => {
    await using f = new Fixture();
    const set = await ReplicaSet.start(f, { runtime, workers });
    const client = await f.client(set.proxies[0]!);
    const [first, ...others] = set.members;
    await freeze(first!);
    await set.written(client, "after");
    const [second] = await set.primaries(others);
    first!.kill("SIGCONT");
    for (let i = 0; i < 20; i++) strictEqual(await client.command("SET", "probe", `later ${i}`), "OK");
    await set.follow(second!);
    strictEqual(await client.command("GET", "probe"), "later 19");
    strictEqual(await (await f.client(second!)).command("GET", "probe"), "later 19");
  });
}

Deno.test("the rights that docs/high-availability.md names are enough for the proxy's user", async () => {
  const page = Deno.readTextFileSync(new URL("../../docs/high-availability.md", import.meta.url));
  const rights = /its user `(\+info [^`]*)`/.exec(page.replace(/\s+/g, " "))![1]!;
  await using f = new Fixture();
  const set = await ReplicaSet.start(f, {
    runtime: "compiled",
    lines: [`user proxy on >secret ~* +get +set ${rights}`],
    keys: "  server_auth: { username: proxy, password: secret }\n",
  });
  const client = await f.client(set.proxies[0]!);
  const [first, ...others] = set.members;
  await first!.crash();
  await set.written(client, "after");
  const [second] = await set.primaries(others);
  await first!.start();
  await set.follow(second!);
  ok(!set.proxies[0]!.log.includes("NOPERM"), set.proxies[0]!.log);
});

Deno.test("two names for one server are told of while all is well, and nobody is promoted", async () => {
  await using f = new Fixture();
  const set = await ReplicaSet.start(f, { runtime: "compiled" });
  const [proxy] = set.proxies;
  const { port } = set.cables[0]![1]!;
  ok(!proxy!.log.includes("are one server"), proxy!.log);
  const file = Deno.readTextFileSync(proxy!.file);
  Deno.writeTextFileSync(
    proxy!.file,
    file.replace(`127.0.0.1:${port}`, `127.0.0.1:${port}, localhost:${port}`),
  );
  proxy!.kill("SIGHUP");
  const said = `127.0.0.1:${port} and localhost:${port} are one server: nobody can be promoted`;
  await poll(() => proxy!.log.includes(said), () => `what is wrong in the log: ${proxy!.log}`);
  strictEqual(await (await f.client(proxy!)).command("SET", "a", "1"), "OK");
});

Deno.test("a planned failover by FAILOVER: no acknowledged write is lost, and the third member is told to follow", async () => {
  await using f = new Fixture();
  const set = await ReplicaSet.start(f, { runtime: "compiled", proxies: 2 });
  const [first, second] = set.members;
  const clients = [await f.client(set.proxies[0]!), await f.client(set.proxies[1]!)];
  const acknowledged: string[] = [];
  let stopped = false;
  const loads = clients.map(async (client, i) => {
    for (let n = 0; !stopped; n++) {
      const key = `key:${i}:${n}`;
      if (await client.command("SET", key, "1") === "OK") acknowledged.push(key);
    }
  });
  await poll(() => acknowledged.length > 100, "some load");
  const admin = await f.client(first!);
  strictEqual(
    await admin.command("FAILOVER", "TO", "127.0.0.1", String(portOf(second!)), "TIMEOUT", "5000"),
    "OK",
  );
  await poll(async () => await set.roleOf(second!) === "master", "the failover");
  for (const proxy of set.proxies) await poll(() => / switched: /.test(proxy.log), "both to know");
  const before = acknowledged.length;
  await poll(() => acknowledged.length > before + 100, "writes on the new primary");
  stopped = true;
  await Promise.all(loads);
  await set.follow(second!);
  const direct = await f.client(second!);
  const lost = [];
  for (const key of acknowledged) if (await direct.command("GET", key) !== "1") lost.push(key);
  deepStrictEqual(lost, []);
});

Deno.test("a proxy that is left alone with the old primary stops writing before another promotes", async () => {
  await using f = new Fixture();
  const set = await ReplicaSet.start(f, { runtime: "compiled", proxies: 2 });
  const [alone, other] = [await f.client(set.proxies[0]!), await f.client(set.proxies[1]!)];
  const [first, second, third] = set.members;
  // The first proxy has the primary and nobody else; the second one everybody but the primary.
  for (const member of [1, 2]) set.cut(0, member);
  set.cut(1, 0);
  // Its replicas do not hear it either: they have no password.
  const admins = [await f.client(second!), await f.client(third!)];
  const old = await f.client(first!);
  strictEqual(await old.command("CONFIG", "SET", "requirepass", "x"), "OK");
  await old.command("CLIENT", "KILL", "TYPE", "replica");
  let refused = "";
  await poll(
    async () => {
      const reply = await alone.command("SET", "probe", "alone");
      if (reply instanceof ReplyError) refused = reply.message;
      return reply instanceof ReplyError && /no primary/.test(reply.message);
    },
    () => `the first proxy to refuse: ${refused}`,
    30_000,
  );
  match(refused, /no majority of its 3 members follows one primary/);
  await set.written(other, "other");
  strictEqual(await old.command("GET", "probe") === "other", false);
  ok(await alone.command("SET", "probe", "alone again") instanceof ReplyError);
  const primaries = await set.primaries([second!, third!]);
  strictEqual(primaries.length, 1);
  for (const admin of admins) {
    await poll(async () => await admin.command("GET", "probe") === "other", "both to have it");
  }
  ok(portOf(first!) !== portOf(primaries[0]!));
});
