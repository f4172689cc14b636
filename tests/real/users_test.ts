/**
 * Users with real servers: rules mean what ACL DRYRUN says, requests through the proxy are refused in a server's own words (RESP2, RESP3, in
 * MULTI, by EVAL), and a reload changes what who is connected may do.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { hashPassword } from "../../src/config/password_hash.ts";
import { compareDryrun, knownTo, makeRequest } from "../fuzz/acl.ts";
import { certificate, type Issued } from "../lib/certificates.ts";
import { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { run } from "../lib/process.ts";
import { Random } from "../lib/random.ts";
import { ReplyError, type Value } from "../lib/resp.ts";
import { poolYml, type Proxy, RUNTIMES } from "../lib/servers.ts";
import { versionOf } from "../lib/versions.ts";

const RULES = [
  "+@all ~app:* %R~sh:* &news.*",
  "+@read ~a?c &news (+set %W~tmp:x)",
  "-@all +@list +multi +exec ~*",
];

Deno.test("rules mean what ACL DRYRUN of a server says", async () => {
  await using f = new Fixture();
  const server = await f.redis();
  await using client = await RawClient.connect(server.target);
  const seen = await compareDryrun(client, new Random(17), 60, 25);
  deepStrictEqual(seen.differences, []);
  ok(seen.requests > 1000, `${seen.requests}`);
});

/** An error's text, or nothing if it is not one that rules have given. */
function refusal(value: Value): string {
  if (!(value instanceof ReplyError) || !/NOPERM|insufficient ACL/.test(value.message)) return "";
  return value.message;
}

Deno.test("requests are refused where a server with the same rules refuses them, in its words", async () => {
  await using f = new Fixture();
  const server = await f.redis();
  await using admin = await RawClient.connect(server.target);
  if (await versionOf(admin) !== "redis 7.0") return;
  const behind = await f.redis();
  const users = RULES.map((rules, i) =>
    `{ name: u${i}, password: p, scripts: true, rules: ${JSON.stringify(rules)} }`
  );
  const proxy = await f.proxy(
    "deno",
    poolYml({ alpha: { servers: [behind], users: `[ ${users.join(", ")} ]` } }),
  );
  const random = new Random(3);
  // What changes the connection, or waits, or ends the server, is not asked for in earnest.
  const known = (await knownTo(admin)).filter(({ name, route, flags }) =>
    [0, 1, 2, 3, 5].includes(route) && (flags & (1 << 6)) === 0 && !/^(DEBUG|ACL|MODULE|PFDEBUG)/.test(name)
  );
  const spoilt: string[] = [];
  for (let i = 0; i < RULES.length; i++) {
    await admin.command(
      "ACL",
      "SETUSER",
      `u${i}`,
      "on",
      ">p",
      "resetchannels",
      ...RULES[i]!.match(/\(.*\)|\S+/g)!,
    );
    for (const resp of [2, 3]) {
      await using there = await RawClient.connect(server.target);
      await using here = await RawClient.connect(proxy.target);
      for (const client of [there, here]) await client.command("HELLO", `${resp}`, "AUTH", `u${i}`, "p");
      const asked = known.map((command) => makeRequest(random, command));
      asked.push(["EVAL", "return 1", "1", "x"], ["EVAL", "return 1", "1", "app:1"], [
        "PUBLISH",
        "news",
        "x",
      ]);
      asked.push(["PUBLISH", "other", "x"], ["SORT", "app:1", "BY", "w*"], ["SORT", "app:1", "GET", "#"]);
      const [a, b] = await Promise.all([there, here].map((client) => client.pipeline(...asked)));
      asked.forEach((words, k) => {
        // How many there may be is told before rules are asked, and the proxy knows pairs and newer servers.
        if ([a![k]!, b![k]!].some((value) => /wrong number of arguments/.test(String(value)))) return;
        if (refusal(a![k]!) !== refusal(b![k]!)) {
          spoilt.push(`u${i} ${words.join(" ")}: server ${refusal(a![k]!)}, proxy ${refusal(b![k]!)}`);
        }
      });
      const multi = [["MULTI"], ["GET", "app:1"], ["SET", "x", "y"], ["EXEC"]];
      const [c, d] = await Promise.all([there, here].map((client) => client.pipeline(...multi)));
      deepStrictEqual(d!.map(String), c!.map(String), `MULTI u${i} RESP${resp}`);
    }
  }
  deepStrictEqual(spoilt, []);
});

/** The proxy's file again, with these users, taken by it. */
async function reload(proxy: Proxy, yml: string): Promise<void> {
  const before = proxy.log.split("reloaded").length;
  await Deno.writeTextFile(proxy.file, yml);
  proxy.kill("SIGHUP");
  await poll(() => proxy.log.split("reloaded").length > before, "the reload");
}

for (const runtime of RUNTIMES) {
  Deno.test(`${runtime}: who logs in waits for his reply in order, and a reload tells at the next command`, async () => {
    await using f = new Fixture();
    const server = await f.redis();
    await using admin = await RawClient.connect(server.target);
    await admin.command(
      "ACL",
      "SETUSER",
      "proxy",
      "on",
      ">pässwort-日",
      "allcommands",
      "allkeys",
      "allchannels",
    );
    await admin.command("ACL", "SETUSER", "default", "off");
    const hash = await hashPassword("slow");
    const conf = (rules: string, more: string) =>
      poolYml({
        alpha: {
          listen: "127.0.0.1:0",
          servers: [server],
          server_auth: "{ username: proxy, password: pässwort-日 }",
          users: `[ { name: app, password_hash: "${hash}", rules: "${rules}" }${more} ]`,
        },
      });
    const yml = conf("+@all ~app:* &news &more", ", { name: gone, password: g, rules: +ping }").replace(
      "127.0.0.1:0",
      `${f.dir}/alpha.sock`,
    );
    const proxy = await f.proxy(runtime, yml);
    await using client = await RawClient.connect(proxy.target);
    // Others are served while a hash is made, and who waits for it gets all replies in order.
    const replies = await client.pipeline(
      ["AUTH", "app", "slow"],
      ["SET", "app:1", "v"],
      ["GET", "app:1"],
      ["GET", "x"],
      ["AUTH", "app", "wrong"],
      ["ACL", "WHOAMI"],
    );
    deepStrictEqual(replies.slice(0, 3).map(String), ["OK", "OK", "v"]);
    match(String(replies[3]), /NOPERM this user has no permissions to access one of the keys/);
    match(String(replies[4]), /WRONGPASS/);
    strictEqual(replies[5], "app");
    await using gone = await RawClient.connect(proxy.target);
    await using listener = await RawClient.connect(proxy.target);
    strictEqual(await gone.command("AUTH", "gone", "g"), "OK");
    strictEqual(await listener.command("AUTH", "app", "slow"), "OK");
    await listener.command("SUBSCRIBE", "more");
    await client.command("MULTI");
    await client.command("SET", "app:1", "w");
    await reload(proxy, yml.replace("&news &more", "&news -set").replace(/, { name: gone.*? }/, ""));
    match(String(await client.command("EXEC")), /EXECABORT .*ACLs rules changed/);
    match(
      String(await client.command("SET", "app:1", "w")),
      /NOPERM this user has no permissions to run the 'set' command/,
    );
    strictEqual(await client.command("GET", "app:1"), "v");
    await gone.readToEnd();
    await listener.readToEnd();
  });
}

const authority = certificate({ name: "authority", ca: true });

Deno.test("compiled: redis-cli --tls is the user that its certificate names, in two workers", async () => {
  await using f = new Fixture();
  const { dir } = f;
  const put = (name: string, { cert, key }: Issued) => {
    Deno.writeTextFileSync(`${dir}/${name}.crt`, cert);
    Deno.writeTextFileSync(`${dir}/${name}.key`, key);
  };
  put("authority", authority);
  put("proxy", certificate({ name: "proxy.test", by: authority }));
  put("app", certificate({ name: "app", by: authority, names: "URI:urn:none,URI:urn:app" }));
  put("off", certificate({ name: "off", by: authority }));
  put("ghost", certificate({ name: "ghost", by: authority, names: "URI:urn:off" }));
  put("foreign", certificate({ name: "app", names: "URI:urn:app" }));
  const server = await f.redis();
  const tls = (more: string) =>
    `{ certificate: ${dir}/proxy.crt, key: ${dir}/proxy.key, ca: ${dir}/authority.crt, ${more} }`;
  const users = `[ { name: app, rules: "+@all ~app:* +acl|whoami" }, { name: off, rules: off +@all ~* }, ` +
    `{ name: "urn:app", rules: +acl|whoami }, { name: default, nopass: true, rules: +ping } ]`;
  const pool = { servers: [server], users };
  const proxy = await f.proxy(
    "compiled",
    "ringmaster:\n  workers: 2\n" + poolYml({
      cn: { ...pool, tls: tls("client_certificates: optional, user_from: CN") },
      uri: { ...pool, tls: tls("client_certificates: required, user_from: URI") },
    }),
  );
  const [cn, uri] = proxy.targets.map((each) => (each as { port: number }).port);
  const cli = async (port: number, pair: string, ...args: string[]) => {
    const shown = pair === "" ? [] : ["--cert", `${dir}/${pair}.crt`, "--key", `${dir}/${pair}.key`];
    const all = ["-p", `${port}`, "--tls", "--cacert", `${dir}/authority.crt`, ...shown, ...args];
    const { stdout, stderr } = await run("redis-cli", all);
    return (stdout + stderr).trim();
  };
  const logged = (line: RegExp) => poll(() => line.test(proxy.log), `the line ${line} in the log`);

  strictEqual(await cli(cn!, "app", "acl", "whoami"), "app");
  strictEqual(await cli(cn!, "app", "set", "app:1", "v"), "OK");
  match(await cli(cn!, "app", "set", "x", "v"), /NOPERM .* one of the keys/);
  strictEqual(await cli(uri!, "app", "acl", "whoami"), "urn:app");
  // Who is nobody may do what whoever does not log in may; so may who shows none. A foreign one is let in nowhere.
  for (const pair of ["off", "ghost", ""]) {
    strictEqual(await cli(cn!, pair, "ping"), "PONG");
    match(await cli(cn!, pair, "get", "app:1"), /NOPERM .* run the 'get' command/);
  }
  await logged(/pool 'cn': client 127.* is not logged in: no user has its certificate, with 'ghost'/);
  await logged(
    /pool 'cn': client 127.* is not logged in: no user has its certificate, with 'off', a user that is off/,
  );
  match(await cli(cn!, "foreign", "acl", "whoami"), /Error|closed|reset|alert|refused/i);
  match(await cli(uri!, "off", "acl", "whoami"), /NOPERM/);
  await logged(/pool 'uri': client 127.* with no URI/);
  match(await cli(cn!, "", "auth", "app", "x"), /WRONGPASS/);
});

/** Reloads there and back. */
const ROUNDS = 2;

/** Asks without end to read and to write, and looks at what it is told. */
class Asker {
  /** Since it was read last. */
  writes: string[] = [];
  reads = 0;
  strange: string[] = [];
  ended = false;
  private stopping = false;
  readonly over: Promise<void>;

  constructor(readonly client: RawClient, private readonly key: string) {
    this.over = this.ask().catch(() => void (this.ended = true));
  }

  private async ask(): Promise<void> {
    while (!this.stopping) {
      const commands = Array.from(
        { length: 8 },
        (_, i) => i % 2 === 0 ? ["SET", this.key, "v"] : ["GET", this.key],
      );
      const replies = await this.client.pipeline(...commands);
      replies.forEach((reply, i) => {
        const text = String(reply);
        if (i % 2 === 0 && /^OK$|NOPERM .* run the 'set' command/.test(text)) {
          this.writes.push(text.slice(0, 17));
        } else if (i % 2 === 1 && text === "v") this.reads++;
        else this.strange.push(text);
      });
    }
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await this.over;
  }
}

Deno.test("compiled: users of two workers change at once under load: rights, passwords, and who there is", async () => {
  await using f = new Fixture();
  const server = await f.redis();
  const file = `${f.dir}/password`;
  const conf = (rules: string, password: string, more: string) => {
    Deno.writeTextFileSync(file, `${password}\n`);
    return "ringmaster:\n  workers: 2\n" + poolYml({
      alpha: {
        listen: `127.0.0.1:${port}`,
        servers: [server],
        users: `[ { name: app, password_file: ${file}, rules: "${rules}" }${more} ]`,
      },
    });
  };
  const port = freePort();
  const ALL = "+@all ~app:* resetchannels";
  const GONE = `, { name: gone, password: g, rules: "+@all ~app:*" }`;
  const proxy = await f.proxy("compiled", conf(ALL, "first", GONE));
  await poll(() => /workers are listening/.test(proxy.log), "all workers to listen");
  const login = async (name: string, password: string) => {
    const client = await f.client(proxy);
    const said = String(await client.command("AUTH", name, password));
    return { client, said };
  };
  // Failures of an address count together: the second one is told later, wherever the first was.
  const byWorker = new Map<number, RawClient>();
  await poll(async () => {
    const { client } = await login("app", "first");
    byWorker.set(Math.floor(Number(await client.command("CLIENT", "ID")) / 2 ** 40), client);
    return byWorker.size === 2;
  }, "a client on each worker");
  const [one, other] = [...byWorker.values()];
  match(String(await one!.command("AUTH", "app", "wrong")), /WRONGPASS/);
  const sinceMs = performance.now();
  match(String(await other!.command("AUTH", "app", "wrong")), /WRONGPASS/);
  ok(performance.now() - sinceMs > 80);
  /** Some of each worker. */
  const askers = async (name: string, password: string) => {
    const made: Asker[] = [];
    const workers = new Set<number>();
    await poll(async () => {
      const { client } = await login(name, password);
      workers.add(Math.floor(Number(await client.command("CLIENT", "ID")) / 2 ** 40));
      made.push(new Asker(client, `app:${name}`));
      return workers.size === 2 && made.length >= 4;
    }, `clients of ${name} on both workers`);
    return made;
  };
  const [apps, gone] = [await askers("app", "first"), await askers("gone", "g")];
  const all = [...apps, ...gone];
  const moves = async () => {
    const before = apps.map(({ writes }) => writes.length);
    await poll(() => apps.every(({ writes }, i) => writes.length > before[i]! + 16), "more replies");
  };
  await moves();
  for (let round = 0; round < ROUNDS; round++) {
    const password = `p${round}`;
    // What is asked after it is told by the new rules; before it was by one or the other, in this order.
    await reload(proxy, conf(`${ALL} -set`, password, GONE));
    const at = apps.map(({ writes }) => writes.length);
    await moves();
    apps.forEach(({ writes }, i) => {
      const first = writes.findIndex((text) => text !== "OK");
      ok(
        writes.slice(first).every((text) => text !== "OK"),
        `after the first refusal: ${writes.slice(first, 20)}`,
      );
      // Those of one pipeline may have been on their way.
      ok(first <= at[i]! + 8, `${first} ${at[i]}`);
      writes.length = 0;
    });
    match((await login("app", "first")).said, /^.*WRONGPASS/);
    strictEqual((await login("app", password)).said, "OK");
    await reload(proxy, conf(ALL, password, GONE));
    await moves();
    apps.forEach(({ writes }) => {
      strictEqual(writes.at(-1), "OK");
      writes.length = 0;
    });
  }
  deepStrictEqual(gone.map(({ ended }) => ended), gone.map(() => false));
  await reload(proxy, conf(ALL, "last", ""));
  await Promise.all(gone.map(({ over }) => over));
  match((await login("gone", "g")).said, /WRONGPASS/);
  await moves();
  for (const asker of apps) await asker.stop();
  deepStrictEqual(all.flatMap(({ strange }) => strange), []);
  deepStrictEqual(apps.map(({ ended }) => ended), apps.map(() => false));
});
