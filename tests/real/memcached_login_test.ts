/**
 * A memcached pool with users: text clients log in as at memcached -Y, which is asked the same; binary clients by SASL's PLAIN, as at
 * memcached -S (its answers as they were seen on 1.6.18 and 1.6.45: not every memcached is built with it). A reload may take a user away.
 */
import assert from "node:assert/strict";
import { connect } from "node:tls";
import { hashPassword } from "../../src/config/password_hash.ts";
import { allSaid, type Ask, HEADER, packet, saidAt, storeExtras } from "../lib/binary.ts";
import { latin1, textOf } from "../lib/bytes.ts";
import { certificate, type Issued } from "../lib/certificates.ts";
import type { RawClient, Target } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { run } from "../lib/process.ts";
import { PYTHON } from "../lib/repo.ts";
import { poolYml } from "../lib/servers.ts";

const NOOP: Ask = { opcode: 0x0a };
const LIST: Ask = { opcode: 0x20 };
const VERSION: Ask = { opcode: 0x0b };
const auth = (user: string, password: string, before = ""): Ask => ({
  opcode: 0x21,
  key: "PLAIN",
  value: `${before}\0${user}\0${password}`,
});
const ANN = auth("ann", "secret");
const BOB = auth("bob", "slow");
const WRONG = auth("ann", "wrong");
const FAILED = "0x20 Auth failure.";
const SET: Ask = { opcode: 0x11, key: "k", value: "v", extras: storeExtras() };

/** What is asked at once, and what is said: status and value of each reply; "closed" if the connection ends. */
const CASES: readonly [why: string, asks: Ask[], said: string[]][] = [
  ["mechanisms and the version are told", [LIST, VERSION, LIST], ["0x0 PLAIN", "0x0 1.6.18", "0x0 PLAIN"]],
  ["what is asked in the same write is answered", [LIST, ANN, NOOP], [
    "0x0 PLAIN",
    "0x0 Authenticated",
    "0x0 ",
  ]],
  ["a slow hash", [BOB, SET, { opcode: 0x0c, key: "k" }], ["0x0 Authenticated", "0x0 v"]],
  ["to act as oneself", [auth("ann", "secret", "ann"), NOOP], ["0x0 Authenticated", "0x0 "]],
  ["to act as somebody else", [auth("ann", "secret", "bob"), NOOP], [FAILED, FAILED, "closed"]],
  ["a noop before", [NOOP, LIST], [FAILED, "closed"]],
  ["a quiet one before", [SET], [FAILED, "closed"]],
  ["quit before", [{ opcode: 0x07 }], [FAILED, "closed"]],
  ["an unknown opcode before", [{ opcode: 0x30 }], [FAILED, "closed"]],
  ["a get of no key before", [{ opcode: 0x00 }], [FAILED, "closed"]],
  ["a set of a value that is not here yet", [{ ...SET, lies: { bodySize: 500 } }], [FAILED, "closed"]],
  ["a wrong password", [WRONG, ANN, NOOP], [FAILED, "0x0 Authenticated", "0x0 "]],
  ["one who is off", [auth("off", "secret"), LIST], [FAILED, "0x0 PLAIN"]],
  ["another mechanism", [{ ...ANN, key: "CRAM-MD5" }, ANN], [FAILED, "0x0 Authenticated"]],
  ["no message", [{ ...ANN, value: "ann secret" }, NOOP], [FAILED, FAILED, "closed"]],
  ["in two steps", [{ ...ANN, value: "" }, { ...ANN, opcode: 0x22 }, NOOP], [
    "0x21 ",
    "0x0 Authenticated",
    "0x0 ",
  ]],
  ["a second step without the first", [{ ...ANN, opcode: 0x22 }, ANN], [FAILED, "0x0 Authenticated"]],
  ["a wrong password later logs out", [ANN, NOOP, WRONG, NOOP], [
    "0x0 Authenticated",
    "0x0 ",
    FAILED,
    FAILED,
    "closed",
  ]],
  ["login of no mechanism", [{ opcode: 0x21 }], ["0x4 Invalid arguments", "closed"]],
];

const LOGIN = "set x 0 0 10\r\nann secret\r\n";

/** Each sent when the one before has been answered with a line: memcached -Y answers only the last of several at once. */
const LINES: readonly string[][] = [
  [LOGIN, "set k 0 0 1\r\nv\r\n", "gets none\r\n"],
  ["get k\r\n", "version\r\n", "set x 9 9 10 noreply\r\nann secret\r\n", "get none\r\n"],
  ["set x 0 0 9\r\nann wrong\r\n", LOGIN],
  ["set x 0 0 6\r\nsecret\r\n", LOGIN],
  ["set x 0 0 3\r\nann--", "set x 0 0 x\r\n", "set x 0 0 -1\r\n", LOGIN],
  [LOGIN, "set x 0 0 9\r\nann wrong\r\n", "get k\r\n"],
  ["x".repeat(3000)],
];

async function said(client: RawClient, count: number): Promise<string[]> {
  const replies: string[] = [];
  let text = "";
  while (replies.length < count) {
    try {
      text += String.fromCharCode(...await client.readExact(HEADER));
      const size = text.charCodeAt(10) * 256 + text.charCodeAt(11);
      text += String.fromCharCode(...await client.readExact(size));
    } catch {
      replies.push("closed");
      break;
    }
    const { said } = saidAt(text, 0)!;
    text = "";
    replies.push(`0x${said.status.toString(16)} ${said.value}`);
  }
  return replies;
}

async function talk(f: Fixture, target: Target, lines: readonly string[]): Promise<string[]> {
  await using client = await f.client(target);
  const said: string[] = [];
  for (const line of lines) {
    await client.send(line);
    said.push(await client.readLine().catch(() => "closed"));
  }
  return said;
}

Deno.test("clients of a memcached pool log in: by SASL's PLAIN, or as at memcached -Y", async (t) => {
  await using f = new Fixture();
  const authFile = `${f.dir}/auth`;
  await Deno.writeTextFile(authFile, "ann:secret\n");
  const [server, asked] = [await f.memcached(), await f.memcached({ args: ["-Y", authFile] })];
  const hash = await hashPassword("slow");
  const user = (name: string, rest: string) => `{ name: ${name}, ${rest} }`;
  const yml = (users: string[]) =>
    poolYml({ alpha: { listen, servers: [server], users: `[${users.join(", ")}]` } });
  const all = 'rules: "+@all ~* &*"';
  const listen = `${f.dir}/alpha.sock`;
  const off = user("off", 'password: secret, rules: "off"');
  const bob = user("bob", `password_hash: "${hash}", ${all}`);
  const proxy = await f.proxy("compiled", yml([user("ann", `password: secret, ${all}`), bob, off]));
  for (const [why, asks, expected] of CASES) {
    await t.step(why, async () => {
      await using client = await f.client(proxy);
      const whole = asks.map(packet).join("");
      // Pieces: a login is looked at when it is whole.
      await client.send(whole.slice(0, 30));
      await client.send(whole.slice(30));
      const replies = await said(client, expected.length);
      assert.deepEqual(replies.map((reply) => reply.replace(/^0x0 1\.6\.\d+$/, "0x0 1.6.18")), expected);
    });
  }
  for (const lines of LINES) {
    await t.step(JSON.stringify(lines).slice(0, 80), async () => {
      assert.deepEqual(await talk(f, proxy.target, lines), await talk(f, asked.target, lines));
    });
  }
  await t.step("a reload takes a user away: its clients are ended, others go on", async () => {
    await using ann = await f.client(proxy);
    await using other = await f.client(proxy);
    await ann.send(packet(ANN));
    await other.send(packet(BOB));
    assert.deepEqual([await said(ann, 1), await said(other, 1)], [["0x0 Authenticated"], [
      "0x0 Authenticated",
    ]]);
    await Deno.writeTextFile(proxy.file, yml([bob]));
    proxy.kill("SIGHUP");
    assert.deepEqual(await said(ann, 1), ["closed"]);
    await poll(() => proxy.log.includes("its user is gone"), "the log to say why");
    await other.send(packet(NOOP));
    assert.deepEqual(await said(other, 1), ["0x0 "]);
  });
});

const authority = certificate({ name: "authority", ca: true });

/** A TLS client with this certificate; null: with none. */
class Certified {
  text = "";
  closed = false;
  private readonly socket;

  constructor(port: number, shown: Issued | null) {
    this.socket = connect({ host: "127.0.0.1", port, ca: authority.cert, ...shown });
    this.socket.on("error", () => {});
    this.socket.on("close", () => this.closed = true);
    this.socket.on("data", (data) => this.text += textOf(data as Uint8Array));
  }

  /** Sends bytes, and waits for as many. @returns what has come */
  async ask(bytes: string, size: number): Promise<string> {
    this.text = "";
    this.socket.write(latin1(bytes));
    await poll(() => this.text.length >= size || this.closed, `${size} bytes`);
    return this.text;
  }

  end(): void {
    this.socket.destroy();
  }
}

const TEXT = "set k 5 0 1\r\nv\r\nget k none\r\ngets none\r\n";
const META = "ms m 2 F3 c\r\nxy\r\nmg m v f\r\nmg none v\r\nmn\r\n";
const PACKETS = [
  { opcode: 0x01, key: "b", value: "val", extras: storeExtras(5), opaque: 1 },
  { opcode: 0x0d, key: "none", opaque: 2 },
  { opcode: 0x0c, key: "b", opaque: 3 },
  { opcode: 0x0a, opaque: 4 },
].map(packet).join("");

Deno.test("compiled: clients of a memcached pool are the users whom their certificates name, in two workers", async () => {
  await using f = new Fixture();
  const { dir } = f;
  const put = (name: string) => {
    const made = certificate({ name, by: authority });
    Deno.writeTextFileSync(`${dir}/${name}.crt`, made.cert);
    Deno.writeTextFileSync(`${dir}/${name}.key`, made.key);
    return made;
  };
  Deno.writeTextFileSync(`${dir}/authority.crt`, authority.cert);
  put("proxy.test");
  const [app, off, ghost] = ["app", "off", "ghost"].map(put) as [Issued, Issued, Issued];
  const [server, direct] = [await f.memcached(), await f.memcached()];
  const all = 'rules: "+@all ~* &*"';
  const users =
    `[ { name: app, ${all} }, { name: off, rules: off }, { name: ann, password: secret, ${all} } ]`;
  const tls = `{ certificate: ${dir}/proxy.test.crt, key: ${dir}/proxy.test.key, ca: ${dir}/authority.crt, ` +
    "client_certificates: optional, user_from: CN }";
  const yml = "ringmaster:\n  workers: 2\n" + poolYml({ alpha: { servers: [server], users, tls } });
  const proxy = await f.proxy("compiled", yml);
  const { port } = proxy.target as { port: number };
  const join = (shown: Issued | null) => {
    const client = new Certified(port, shown);
    f.add({ [Symbol.asyncDispose]: () => Promise.resolve(client.end()) });
    return client;
  };
  // By certificate all is as from the server itself, CAS numbers too.
  let last = join(app);
  for (const [i, bytes] of [TEXT, META, PACKETS].entries()) {
    await using raw = await f.client(direct);
    await raw.send(bytes + (i === 2 ? packet({ opcode: 0x07 }) : "quit\r\n"));
    const quits = i === 2 ? HEADER : 0;
    const whole = await raw.readToEnd();
    const expected = whole.slice(0, whole.length - quits);
    if (i > 0) last = join(app);
    assert.equal(await last.ask(bytes, expected.length), expected);
  }
  const statuses = (text: string) => allSaid(text).said.map(({ status }) => status);
  for (const shown of [off, ghost, null]) {
    const text = join(shown);
    assert.equal(await text.ask("mn\r\n", 8), "CLIENT_ERROR unauthenticated\r\n");
    assert.equal(await text.ask(LOGIN + "mn\r\n", 12), "STORED\r\nMN\r\n");
    const binary = join(shown);
    assert.deepEqual(statuses(await binary.ask(packet(NOOP), HEADER)), [0x20]);
    await poll(() => binary.closed, "the end of who has not logged in");
  }
  await poll(
    () => /client 127\S+ is not logged in: no user has its certificate, with 'ghost'/.test(proxy.log),
    "a line about ghost",
  );
  // Another user by SASL, and nobody by a wrong password.
  assert.deepEqual(statuses(await last.ask(packet(ANN) + packet(NOOP), 2 * HEADER + 13)), [0, 0]);
  assert.deepEqual(statuses(await last.ask(packet(WRONG), HEADER + 13)), [0x20]);
  assert.deepEqual(statuses(await last.ask(packet(NOOP), HEADER)), [0x20]);
  const library = await run(PYTHON, [
    "-c",
    `import ssl
from pymemcache.client.base import Client
tls = ssl.create_default_context(cafile="${dir}/authority.crt")
tls.load_cert_chain("${dir}/app.crt", "${dir}/app.key")
client = Client(("127.0.0.1", ${port}), tls_context=tls)
print(client.set("p", b"v", noreply=False), client.get("p"), client.get_many(["p", "b", "none"]))
`,
  ]);
  assert.equal(library.stdout.trim(), "True b'v' {'p': b'v', 'b': b'val'}", library.stderr);
  // A reload takes the user away.
  const [mine, theirs] = [join(app), join(null)];
  assert.equal(await mine.ask("mn\r\n", 4), "MN\r\n");
  assert.equal(await theirs.ask(LOGIN, 8), "STORED\r\n");
  await Deno.writeTextFile(
    proxy.file,
    (await Deno.readTextFile(proxy.file)).replace(`{ name: app, ${all} }, `, ""),
  );
  proxy.kill("SIGHUP");
  await poll(() => mine.closed, "the end of who has no user");
  assert.equal(await theirs.ask("mn\r\n", 4), "MN\r\n");
});
