/**
 * Users of a pool: how they are written, who may log in, and that no command of the table goes round their rules. The proxy runs on a net of
 * this test's own, whose servers answer everything.
 */
import { deepStrictEqual, match, ok, strictEqual, throws } from "node:assert/strict";
import { parseRules } from "../../src/protocol/redis/acl_rules.ts";
import { hashOfInput } from "../../src/cli/password.ts";
import { config as configAnswer } from "../../src/admin/config.ts";
import { hashPassword, isPasswordHash, verifyPassword } from "../../src/config/password_hash.ts";
import { ConfigError, parseConfig } from "../../src/config/parse.ts";
import { useEnvironment } from "../../src/config/secrets.ts";
import { type Command, COMMANDS, FLAG } from "../../src/protocol/redis/commands.ts";
import { makeRequest } from "../fuzz/acl.ts";
import { concat, latin1, request, textOf } from "../lib/bytes.ts";
import { Random } from "../lib/random.ts";
import { ServerConnection } from "../../src/proxy/server_connection.ts";
import { AUTH_FAILURES } from "../../src/stats/metrics.ts";
import { bodyOf, TURNS } from "../lib/turns.ts";
import { TurnStand, type WideClient } from "../lib/turn_stand.ts";

const pool = (yml: string, redis = true) =>
  `alpha:\n  listen: 127.0.0.1:1\n  redis: ${redis}\n${yml}  servers: [ 127.0.0.1:2:1 ]\n`;
const USERS = (user: string) => `  users:\n    - ${user}\n`;

function wrong(yml: string, redis = true): string {
  let said = "";
  throws(() => parseConfig(pool(yml, redis), "f.yml"), (error) => {
    ok(error instanceof ConfigError, `${error}`);
    said = error.message;
    return true;
  });
  return said;
}

Deno.test("users: what is wrong is told with its place, in Redis's words, and no secret is", () => {
  match(
    wrong(USERS('{ name: a, password: x, rules: "+get +gett" }')),
    /f\.yml:5:\d+: rules: found "\+gett".*Unknown command or category/,
  );
  match(
    wrong(USERS('{ name: a, password: x, rules: ["~a", "%X~b"] }')),
    /f\.yml:5:\d+: rules: found "%X~b".*Syntax error/,
  );
  ok(!wrong(USERS('{ name: a, password: x, rules: ">secret" }')).includes('secret"'));
  match(
    wrong(USERS("{ name: a, rules: +get }")),
    /password: found nothing, expected one of password, password_file/,
  );
  match(wrong(USERS("{ name: a, password: x }")), /rules: found nothing/);
  match(wrong(USERS("{ name: a, password: x, nopass: true, rules: +get }")), /nopass beside password/);
  match(
    wrong(USERS(`{ name: a, password: ${"x".repeat(8193)}, rules: +get }`)),
    /f\.yml:5:\d+: password: found a password of 8193 bytes, expected at most 8192/,
  );
  match(
    wrong(USERS("{ name: a, password_sha256: abc, rules: +get }")),
    /found a value, expected 64 characters/,
  );
  match(
    wrong(USERS("{ name: a, password_hash: $scrypt$x, rules: +get }")),
    /found a value, expected a line of ringmaster password/,
  );
  match(
    wrong(USERS("{ name: a, password_file: /nowhere, rules: +get }")),
    /password_file: found "\/nowhere"/,
  );
  match(
    wrong(`${USERS("{ name: a, nopass: true, rules: +get }")}    - { name: a, nopass: true, rules: +get }\n`),
    /a second user named "a" \(first at line 5\)/,
  );
  match(
    wrong(`  redis_auth: x\n${USERS("{ name: default, nopass: true, rules: +get }")}`),
    /a user named default beside redis_auth/,
  );
  match(
    wrong(USERS("{ name: a, nopass: true, rules: +get }"), false),
    /:5:\d+: rules: found rules that forbid something in a memcached pool, expected "\+@all ~\* &\*", or off/,
  );
  match(
    wrong(USERS('{ name: a, nopass: true, rules: "+@all ~* &*", limits: { max_connections: 1 } }'), false),
    /limits of a user in a memcached pool/,
  );
  match(wrong("  per_user: { max_connections: 1 }\n"), /:4:\d+: per_user: found per_user without users/);
  match(wrong("  per_user: { max_connections: 1 }\n", false), /per_user in a memcached pool/);
  match(wrong(USERS("{ name: a, nopass: true, rules: +get, limits: {} }")), /limits: found no limit/);
  match(wrong("  server_auth: { password: x }\n", false), /server_auth in a memcached pool/);
  match(wrong("  server_auth: { username: x }\n"), /neither password nor password_file/);
  match(
    wrong("  tls: { certificate: c, key: k, ca: a, client_certificates: required, user_from: URI }\n", false),
    /:4:\d+: user_from: found user_from: URI without users/,
  );
  match(
    wrong(USERS("{ name: a, nopas: true, rules: +get }")),
    /a key that is none of a user, expected perhaps nopass/,
  );
});

Deno.test("a secret may be a variable of the environment; one that is not set is an error", () => {
  useEnvironment({ APP_PASSWORD: "p", EMPTY: "" });
  const yml = '  redis_auth: ${APP_PASSWORD}\n  server_auth: { username: u, password: "${APP_PASSWORD}" }\n';
  const [config] = parseConfig(pool(yml), "f.yml").pools;
  strictEqual(textOf(config!.redisAuth!), "p");
  deepStrictEqual(config!.serverAuth, { user: "u", password: "p" });
  match(
    wrong("  redis_auth: ${NO_SUCH}\n"),
    /:4:\d+: redis_auth: found "\$\{NO_SUCH\}", and no such variable/,
  );
  match(wrong("  redis_auth: ${EMPTY}\n"), /expected EMPTY set/);
  // What somebody else has written refers to nothing of ours.
  strictEqual(textOf(parseConfig(pool(yml), "f.yml", false).pools[0]!.redisAuth!), "${APP_PASSWORD}");
});

Deno.test("passwords are not kept as they were written, nor shown", async () => {
  const { pools, process } = parseConfig(
    pool(
      `${USERS('{ name: a, password: "sesame", rules: +get, limits: { max_connections: 7 } }')}` +
        "  server_auth: { password: sesame }\n",
    ),
    "f.yml",
  );
  ok(!JSON.stringify(pools[0]!.users).includes("sesame"));
  const around = { clock: { wallMs: () => 0 }, turns: TURNS, config: { pools, process } };
  const answer = bodyOf(await configAnswer(around as never));
  ok(!answer.includes("sesame") && !/[0-9a-f]{64}/.test(answer), answer);
  match(answer, /\+get/);
  match(answer, /"max_connections":7/);
});

Deno.test("passwords from files and standard input: their first line, in UTF-8, of which nothing is guessed", async () => {
  const file = Deno.makeTempFileSync();
  Deno.writeFileSync(file, Uint8Array.of(0x70, 0xe9, 0x0a));
  match(
    wrong(USERS(`{ name: a, password_file: ${file}, rules: +get }`)),
    /whose first line is not UTF-8, expected/,
  );
  Deno.writeFileSync(file, Uint8Array.of(0x70, 0x20, 0x0d, 0x0a, 0xe9));
  parseConfig(pool(USERS(`{ name: a, password_file: ${file}, rules: +get }`)), "f.yml");
  Deno.removeSync(file);

  const said = async (input: Uint8Array) => {
    let out = "", err = "";
    const io = {
      out: (data: string | Uint8Array) => void (out += data),
      err: (text: string) => void (err += text),
    };
    const code = await hashOfInput({ ...io, stdin: () => input });
    strictEqual(code, out === "" ? 1 : 0);
    return out === "" ? err : out.trim();
  };
  match(await said(Uint8Array.of(0x70, 0xe9)), /found a first line that is not UTF-8 on standard input/);
  match(await said(new Uint8Array(0)), /found no password on standard input/);
  match(
    await said(new Uint8Array(8193).fill(0x70)),
    /found a password of 8193 bytes .*, expected .* at most 8192/,
  );
  const line = await said(latin1("open sesame \r\nmore"));
  ok(await new Promise((resolve) => verifyPassword(line, latin1("open sesame "), resolve)));
});

Deno.test("slow hashes: what was made is right, anything else is not", async () => {
  const line = await hashPassword("sesame");
  ok(isPasswordHash(line));
  ok(!isPasswordHash(line.replace("ln=14", "ln=30")));
  ok(!isPasswordHash(line.replace("ln=14", "ln=9")));
  ok(!isPasswordHash(`${line}$`));
  const verified = (password: string) =>
    new Promise<boolean>((resolve) => verifyPassword(line, latin1(password), resolve));
  strictEqual(await verified("sesame"), true);
  strictEqual(await verified("sesamf"), false);
});

/** The proxy with these users, and a client of it. */
async function stand(
  users: string,
): Promise<{ stand: TurnStand; say(client: WideClient, ...words: string[]): string }> {
  const made = await TurnStand.make("redis", 2, (work) => work(), `  hash_tag: "{}"\n  users:\n${users}`);
  return {
    stand: made,
    say: (client, ...words) => {
      client.read.length = 0;
      client.socket.give(request(...words));
      made.net.run();
      return client.read.map((bytes) => textOf(bytes)).join("");
    },
  };
}

const isContainer = ({ subcommands, flags }: Command) => subcommands !== null && (flags & FLAG.OPEN) === 0;

const NONE = "    - { name: none, password: n, rules: resetkeys }\n";
const SOME = "    - { name: some, password: s, rules: '+@all ~app:*', scripts: true }\n";

Deno.test("strangers may do nothing, and whoever has no rules may call no command of the table", async () => {
  const { stand: made, say } = await stand(NONE);
  const random = new Random(1);
  const stranger = made.join();
  strictEqual(say(stranger, "GET", "a"), "-NOAUTH Authentication required.\r\n");
  const client = made.join();
  match(say(client, "AUTH", "none", "x"), /^-WRONGPASS/);
  strictEqual(say(client, "AUTH", "none", "n"), "+OK\r\n");
  for (const command of COMMANDS) {
    if ((command.flags & FLAG.NO_AUTH) !== 0 || isContainer(command)) continue;
    const reply = say(client, ...makeRequest(random, command));
    match(
      reply,
      /^-(NOPERM|EXECABORT Transaction discarded because of: NOPERM|ERR wrong number of arguments) /,
      command.name,
    );
  }
  made.stop();
});

Deno.test("no command with keys of the table reaches keys that its user may not name", async () => {
  const { stand: made, say } = await stand(SOME);
  const random = new Random(2);
  const rules = parseRules(["+@all ~app:*"], true);
  const client = made.join();
  strictEqual(say(client, "AUTH", "some", "s"), "+OK\r\n");
  let asked = 0;
  for (const command of COMMANDS) {
    if (!rules.asksKeys(command)) continue;
    asked++;
    const words = makeRequest(random, command).map((word) =>
      word.startsWith("app:") || word === "" ? "x" : word
    );
    const expected =
      /^-(NOPERM this user has no permissions to access one of the keys|ERR wrong number of arguments)/;
    match(say(client, ...words), expected, `${words}`);
    if (command.name.startsWith("WATCH")) continue;
    say(client, "MULTI");
    match(say(client, ...words), expected, `MULTI ${words}`);
    match(say(client, "EXEC"), /^-EXECABORT /);
  }
  ok(asked > 200, `${asked}`);
  made.stop();
});

Deno.test("requests of very many arguments, large ones and those in MULTI are asked about like others", async () => {
  const { stand: made, say } = await stand(SOME);
  const client = made.join();
  strictEqual(say(client, "AUTH", "some", "s"), "+OK\r\n");
  const keys = (last: string) => [...Array.from({ length: 5000 }, (_, i) => `app:${i}`), last];
  for (const name of ["MGET", "DEL", "SINTER", "WATCH"]) {
    match(say(client, name, ...keys("x")), /^-NOPERM .* one of the keys/, name);
  }
  ok(!say(client, "MGET", ...keys("app:x")).startsWith("-"));
  match(say(client, "MSET", ...keys("x").flatMap((key) => [key, "v"])), /^-NOPERM .* one of the keys/);
  match(say(client, "SUBSCRIBE", ...keys("x")), /^-NOPERM .* one of the channels/);
  match(say(client, "SET", "x", "v".repeat(1024 * 1024)), /^-NOPERM .* one of the keys/);
  match(say(client, "EVAL", "return 1", "1", "x"), /^-NOPERM .* one of the keys/);
  match(say(client, "EVAL", "return 1", "z", "x"), /^-ERR value is not an integer/);
  match(
    say(client, "SORT", "app:l", "BY", "w*"),
    /^-ERR BY option of SORT denied due to insufficient ACL permissions\./,
  );
  strictEqual(say(client, "MULTI"), "+OK\r\n");
  match(say(client, "MGET", ...keys("x")), /^-NOPERM /);
  match(say(client, "EXEC"), /^-EXECABORT /);
  client.read.length = 0;
  client.socket.give(latin1("GET x\r\n"));
  made.net.run();
  match(client.read.map((bytes) => textOf(bytes)).join(""), /^-NOPERM /);
  made.stop();
});

Deno.test("a pipeline of a user with key patterns is taken in runs, and what is forbidden in it is refused in its place", async () => {
  const { stand: made } = await stand(
    `${SOME}    - { name: reader, password: r, rules: '+@read %R~{app}*' }\n`,
  );
  let inRuns = 0;
  const { writeRun } = ServerConnection.prototype;
  ServerConnection.prototype.writeRun = function (bytes, start, end, count) {
    inRuns += count;
    return writeRun.call(this, bytes, start, end, count);
  };
  try {
    for (const [name, password, key] of [["some", "s", "app:{1}"], ["reader", "r", "{app}"]] as const) {
      const client = made.join();
      const say = (...requests: string[][]) => {
        client.read.length = 0;
        client.socket.give(concat(requests.map((words) => request(...words))));
        made.net.run();
        return client.read.map((bytes) => textOf(bytes)).join("");
      };
      strictEqual(say(["AUTH", name, password]), "+OK\r\n");
      const get = ["GET", `${key}x`];
      const own = say(get);
      strictEqual(say(get, get, get, get), own.repeat(4));
      const refused = "-NOPERM this user has no permissions to access one of the keys used as arguments\r\n";
      strictEqual(say(get, get, ["GET", `y${key}`], get, get, get), own.repeat(2) + refused + own.repeat(3));
      strictEqual(
        say(["GET", `y${key}`], get, ["GET", "z"], ["TTL", "z"]),
        refused + own + refused.repeat(2),
      );
      // 11 are allowed; one in some is looked at, and goes another way.
      ok(inRuns > 5, `${inRuns}`);
      inRuns = 0;
    }
  } finally {
    ServerConnection.prototype.writeRun = writeRun;
  }
  made.stop();
});

Deno.test("options are found where a server finds them that reads them up to a NUL", async () => {
  const { stand: made, say } = await stand(
    `${SOME}    - { name: writer, password: w, rules: '+set +ping %W~*' }\n`,
  );
  const client = made.join();
  strictEqual(say(client, "AUTH", "some", "s"), "+OK\r\n");
  match(say(client, "SORT", "app:l", "GET\0", "w*"), /^-ERR GET option of SORT denied/);
  match(say(client, "SORT", "app:l", "BY\0x", "w*"), /^-ERR BY option of SORT denied/);
  match(say(client, "SORT", "app:l", "Store\0", "x"), /^-NOPERM .* one of the keys/);
  match(
    say(client, "GEORADIUS", "app:l", "1", "1", "1", "m", "STORE\0", "x"),
    /^-NOPERM .* one of the keys/,
  );
  match(
    say(client, "COPY", "app:l", "app:m", "DB\0", "99"),
    /^-ERR (value|DB index) is out of range|^-ERR .*DB/,
  );
  strictEqual(say(client, "AUTH", "writer", "w"), "+OK\r\n");
  ok(!say(client, "SET", "x", "v".repeat(1024 * 1024)).startsWith("-"));
  match(say(client, "SET", "x", "v", `GET\0${"v".repeat(1024 * 1024)}`), /^-NOPERM .* one of the keys/);
  made.stop();
});

const said = ({ read }: WideClient) => read.map((bytes) => textOf(bytes)).join("");

/** Slow hashes come from another thread. */
async function until(made: TurnStand, client: WideClient): Promise<string> {
  while (said(client) === "") {
    await new Promise((resolve) => setTimeout(resolve, 1));
    made.net.pass(10);
  }
  return said(client);
}

const usersOf = (yml: string) => parseConfig(pool(`  users:\n${yml}`), "f.yml").pools[0]!.users;

Deno.test("many connections of an address guess no faster than some; the right password comes in its turn", async () => {
  const { stand: made, say } = await stand(SOME);
  const clients = Array.from({ length: 60 }, () => made.join());
  const failures = () => made.pool.counters[AUTH_FAILURES]!;
  clients.forEach((client, i) => say(client, "AUTH", "some", `guess${i}`));
  // The first is told at once, and so many others are open.
  strictEqual(failures(), 17);
  const right = made.join();
  strictEqual(say(right, "AUTH", "some", "s"), "");
  right.socket.give(request("GET", "app:1"));
  made.net.run();
  strictEqual(said(right), "");
  made.net.pass(1000);
  ok(failures() < 17 + 16, `${failures()}`);
  const here = made.pool.clients.size;
  for (const client of clients.slice(50)) client.socket.end();
  made.net.run();
  // Who hangs up in line is gone at once.
  strictEqual(made.pool.clients.size, here - 10);
  made.net.pass(20_000);
  for (const client of clients.slice(0, 50)) match(said(client), /^-WRONGPASS/);
  match(said(right), /^\+OK\r\n[^-]/);
  strictEqual(say(made.join(), "AUTH", "some", "s"), "+OK\r\n");
  made.stop();
});

Deno.test("with slow hashes a name that there is not is tried like one that there is", async () => {
  const slow = await hashPassword("sesame");
  const { stand: made, say } = await stand(
    `${SOME}    - { name: slow, password_hash: "${slow}", rules: +ping }\n` +
      `    - { name: gone, nopass: true, rules: off }\n`,
  );
  for (const name of ["slow", "nobody", "gone", "some"]) {
    made.net.pass(61_000, 61_000);
    const client = made.join();
    strictEqual(say(client, "AUTH", name, "wrong"), "", name);
    match(await until(made, client), /^-WRONGPASS/);
  }
  const client = made.join();
  strictEqual(say(client, "AUTH", "slow", "sesame"), "");
  // It gets another password while that one is tried.
  const users = usersOf(`    - { name: slow, password: other, rules: +ping }\n`);
  made.pool.adopt({ ...made.pool.config, users });
  match(await until(made, client), /^-WRONGPASS/);
  made.stop();
});

Deno.test("whoever has given no password is nobody when the user, or the pool, has one", async () => {
  const open = "    - { name: default, nopass: true, rules: +ping }\n";
  const all = usersOf("    - { name: default, password: p, rules: '+@all ~* &*' }\n");
  for (const change of [{ users: all }, { users: null, redisAuth: latin1("p") }]) {
    const { stand: made, say } = await stand(open);
    const client = made.join();
    strictEqual(say(client, "PING"), "+PONG\r\n");
    made.pool.adopt({ ...made.pool.config, ...change });
    strictEqual(say(client, "GET", "a"), "");
    match(say(made.join(), "GET", "a"), /^-NOAUTH|^-ERR/);
    made.stop();
  }
});

Deno.test("whoever came while the pool had no users has given no password, unless he has given redis_auth's", async () => {
  const { stand: made, say } = await stand(NONE);
  const adopt = (yml: string | null, redisAuth: string | null = null) =>
    made.pool.adopt({
      ...made.pool.config,
      users: yml === null ? null : usersOf(yml),
      redisAuth: redisAuth === null ? null : latin1(redisAuth),
    });
  const open = "    - { name: default, nopass: true, rules: '+@all ~* &*' }\n";
  const closed = "    - { name: default, password: p, rules: '+@all ~* &*' }\n";
  const get = (client: WideClient) => say(client, "GET", "a");
  const served = (client: WideClient) => ok(!get(client).startsWith("-") && made.pool.clients.size > 0);
  adopt(null);
  const [first, second] = [made.join(), made.join()];
  adopt(closed);
  for (const client of [first, second]) strictEqual(get(client), "");
  strictEqual(made.pool.clients.size, 0);

  // By way of a user that is open, and of one that RESET has made open again.
  adopt(null);
  const [third, fourth] = [made.join(), made.join()];
  adopt(open);
  served(third);
  strictEqual(say(fourth, "RESET"), "+RESET\r\n");
  adopt(closed);
  for (const client of [third, fourth]) strictEqual(get(client), "");

  // As at redis-server who is in stays in when requirepass is set; but he has not given it.
  adopt(null);
  const [fifth, sixth, seventh] = [made.join(), made.join(), made.join()];
  adopt(null, "q");
  served(fifth);
  strictEqual(say(sixth, "AUTH", "q"), "+OK\r\n");
  match(say(seventh, "HELLO", "2", "AUTH", "default", "q"), /^\*/);
  adopt(closed);
  strictEqual(get(fifth), "");
  for (const client of [sixth, seventh]) served(client);
  made.stop();
});

Deno.test("a certificate's name logs in who has it, from the start and after RESET", async () => {
  const { stand: made, say } = await stand(
    `${SOME}    - { name: off, password: o, rules: off +ping }\n` +
      `    - { name: default, nopass: true, rules: +ping +acl|whoami +reset }\n`,
  );
  const whoami = (client: WideClient) => /\r\n(.*)\r\n/.exec(say(client, "ACL", "WHOAMI"))![1];
  const failures = () => made.pool.counters[AUTH_FAILURES]!;
  const client = made.join(["gone", "off", "some"]);
  strictEqual(whoami(client), "some");
  ok(!say(client, "SET", "app:1", "v").startsWith("-"));
  match(say(client, "SET", "x", "v"), /^-NOPERM /);
  strictEqual(say(client, "RESET"), "+RESET\r\n");
  strictEqual(whoami(client), "some");
  // Who has none, or one that is nobody's, is who does not log in.
  strictEqual(whoami(made.join()), "default");
  strictEqual(failures(), 0);
  const nobody = made.join(["off"]);
  strictEqual(whoami(nobody), "default");
  strictEqual(whoami(made.join([])), "default");
  strictEqual(failures(), 2);
  strictEqual(say(nobody, "AUTH", "some", "s"), "+OK\r\n");
  match(say(nobody, "ACL", "LOG"), /tls-cert.*toplevel.*off/s);

  // There is no password for who is known by a certificate alone; and it stays who it is.
  const users = made.pool.config.users!.map((user) =>
    user.name === "some" ? { ...user, secret: { kind: "certificate" } as const } : user
  );
  made.pool.adopt({ ...made.pool.config, users });
  strictEqual(whoami(client), "some");
  match(say(made.join(), "AUTH", "some", ""), /^-WRONGPASS/);
  strictEqual(whoami(made.join(["some"])), "some");
  match(say(client, "ACL", "LIST"), /user some on ~app/);
  made.pool.adopt({ ...made.pool.config, users: users.slice(1) });
  strictEqual(say(client, "PING"), "");
  made.stop();
});

Deno.test("ACL is answered; who logs in, says RESET or HELLO is who that makes him", async () => {
  const { stand: made, say } = await stand(
    `${SOME}    - { name: default, nopass: true, rules: +ping +acl|whoami }\n`,
  );
  const client = made.join();
  strictEqual(say(client, "PING"), "+PONG\r\n");
  match(say(client, "AUTH", "x"), /^-ERR AUTH <password> called without any password configured/);
  match(say(client, "GET", "app:1"), /^-NOPERM this user has no permissions to run the 'get' command/);
  match(say(client, "HELLO", "2", "AUTH", "some", "s"), /server/);
  strictEqual(say(client, "ACL", "WHOAMI"), "$4\r\nsome\r\n");
  match(say(client, "ACL", "SETUSER", "x"), /^-ERR 'ACL SETUSER' is refused: the configuration/);
  match(
    say(client, "ACL", "DRYRUN", "default", "GET", "a"),
    /This user has no permissions to run the 'get' command/,
  );
  match(say(client, "ACL", "LIST"), /user some on #\(hidden\) ~app:\* resetchannels \+@all/);
  match(say(client, "ACL", "LOG"), /command.*toplevel.*get/s);
  match(say(client, "CLIENT", "LIST", "USER", "some"), / user=some /);
  strictEqual(say(client, "RESET"), "+RESET\r\n");
  strictEqual(say(client, "ACL", "WHOAMI"), "$7\r\ndefault\r\n");
  made.stop();
});
