/**
 * Clients of memcached's binary protocol through Ringmaster, which asks servers in text and meta commands:
 *
 *   random sequences of packets      the same bytes as from memcached itself (fuzz/binary.ts; the long run is `deno task fuzz:binary`)
 *   DIFFERENCES                      where they are not, on purpose
 *   servers that fail, or are old    what a client is told
 */
import assert from "node:assert/strict";
import { BinarySide, CLOSED, compareBinary, serverArgs } from "../fuzz/binary.ts";
import { addExtras, allSaid, type Ask, packet, type Said, storeExtras } from "../lib/binary.ts";
import { latin1, textOf } from "../lib/bytes.ts";
import { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poolYml } from "../lib/servers.ts";
import { memcachedVersion, OLD } from "./memcached_side.ts";

const ALLOW = { dangerous_commands: "allow" };

Deno.test("300 sequences of packets are answered as memcached answers them, and 200 with three servers", async () => {
  await using f = new Fixture();
  const plain = await f.memcached();
  const args = serverArgs(await memcachedVersion(plain) === OLD);
  const servers = [];
  for (let i = 0; i < 6; i++) servers.push(await f.memcached({ args }));
  const one = { servers: servers.slice(0, 1), ...ALLOW };
  const three = { servers: servers.slice(1, 4), ...ALLOW };
  const proxy = await f.proxy("compiled", poolYml({ one, three }), { args: ["--workers=1"] });
  const sides = [servers[4]!.target, proxy.targets[0]!, servers[5]!.target, proxy.targets[1]!]
    .map((target) => f.add(new BinarySide(target)));
  assert.equal(await compareBinary(sides[0]!, sides[1]!, 1, 300), null);
  assert.equal(await compareBinary(sides[2]!, sides[3]!, 1, 200, true), null);
});

// ---- where the two differ

const SET = { opcode: 0x01, extras: storeExtras() };
const LONG_ODD = `${"k".repeat(190)} x`;
const OUR_STATS = "These stats are not available through a proxy, ask the servers themselves";

/** Replies as [opcode, status, value]; null: the connection ends. */
type Answers = ([opcode: number, status: number, value: string] | null)[];

/** `memcached` null: not asked, since it would do what is asked. */
const DIFFERENCES: readonly { why: string; asks: Ask[]; memcached: Answers | null; we: Answers }[] = [
  {
    why: "memcached takes the body of an unknown opcode for packets; we stay in step",
    asks: [{ opcode: 0x30, key: "k", value: "v".repeat(40) }, { opcode: 0x0a }],
    memcached: [[0x30, 0x81, "Unknown command"], null],
    we: [[0x30, 0x81, "Unknown command"], [0x0a, 0, ""]],
  },
  {
    why: "memcached answers a gat with a value behind its key, and takes the value for packets",
    asks: [{ opcode: 0x1d, key: "k", extras: "\0\0\0\0", value: "v".repeat(24) }],
    memcached: [[0x1d, 1, "Not found"], null],
    we: [[0x1d, 4, "Invalid arguments"], null],
  },
  {
    why: "a key that text cannot carry, and whose base64 is longer than a key may be",
    asks: [{ ...SET, key: LONG_ODD, value: "v" }, { opcode: 0x0a }],
    memcached: [[1, 0, ""], [0x0a, 0, ""]],
    we: [
      [1, 4, "A key with a blank, CR, LF or NUL may have 186 bytes: longer ones cannot be sent to servers"],
      [0x0a, 0, ""],
    ],
  },
  {
    why: "statistics without an end, or of one connection only",
    asks: [{ opcode: 0x10, key: "conns" }, { opcode: 0x10, key: "detail on" }, { opcode: 0x0a }],
    memcached: null,
    we: [[0x10, 1, OUR_STATS], [0x10, 1, OUR_STATS], [0x0a, 0, ""]],
  },
  {
    why: "flush is dangerous: only with dangerous_commands: allow",
    asks: [{ opcode: 0x08 }, { opcode: 0x18 }, { opcode: 0x0a }],
    memcached: null,
    we: [
      [0x08, 0x20, "flush is not allowed, unless dangerous_commands of the pool is allow"],
      [0x18, 0x20, "flush is not allowed, unless dangerous_commands of the pool is allow"],
      [0x0a, 0, ""],
    ],
  },
  {
    why: "there is no SASL: the next packet is the next packet",
    asks: [{ opcode: 0x20 }, { opcode: 0x21, key: "PLAIN", value: "\0user\0password" }, { opcode: 0x0a }],
    memcached: null,
    we: [[0x20, 0x81, "Unknown command"], [0x21, 0x81, "Unknown command"], [0x0a, 0, ""]],
  },
];

async function answers(side: BinarySide, asks: readonly Ask[]): Promise<Answers> {
  const text = await side.ask(asks.map(packet));
  const closed = text.endsWith(CLOSED);
  const { said } = allSaid(closed ? text.slice(0, -CLOSED.length) : text);
  const all: Answers = said.map(({ opcode, status, value }) => [opcode, status, value]);
  return closed ? [...all, null] : all;
}

Deno.test("the differences from memcached's binary protocol are the ones that are listed", async (t) => {
  await using f = new Fixture();
  const servers = [await f.memcached(), await f.memcached()];
  const proxy = await f.proxy("compiled", poolYml({ alpha: { servers: [servers[1]!] } }));
  for (const { why, asks, memcached, we } of DIFFERENCES) {
    await t.step(why, async () => {
      await using direct = new BinarySide(servers[0]!.target);
      await using proxied = new BinarySide(proxy.target);
      if (memcached !== null) {
        const said = await answers(direct, asks);
        // It may lose replies that it owes when it hangs up.
        if (memcached.includes(null)) assert.equal(said.at(-1), null);
        else assert.deepEqual(said, memcached);
      }
      assert.deepEqual(await answers(proxied, asks), we);
    });
  }
});

// ---- servers that fail, or are old

/** Reads packets up to one with this opaque, which is among them. */
async function readTo(client: RawClient, opaque: number): Promise<Said[]> {
  const all: Said[] = [];
  for (;;) {
    const head = textOf(await client.readExact(24));
    const size = [...head.slice(8, 12)].reduce((n, c) => n * 256 + c.charCodeAt(0), 0);
    const [said] = allSaid(head + textOf(await client.readExact(size))).said;
    all.push(said!);
    if (said!.opaque === opaque) return all;
  }
}

Deno.test("a run of quiet gets over three servers, one of which is gone, says so for its keys and goes on", async () => {
  await using f = new Fixture();
  const servers = [await f.memcached(), await f.memcached(), await f.memcached()];
  // With names and this hash the same keys are on the same servers in every run, about a third on each.
  const named = servers.map(({ address }, i) => `${address}:1 server${i}`);
  const yml = poolYml({ alpha: { servers: named, redis: false, hash: "md5" } });
  const proxy = await f.proxy("compiled", yml, { args: ["--workers=1"] });
  await using client = await RawClient.connect(proxy.target);
  const keys = Array.from({ length: 60 }, (_, i) => i % 3 === 0 ? `key ${i}` : `key${i}`);
  const stores = keys.map((key, i) =>
    packet({ ...SET, opcode: 0x11, key, value: `value ${i}`, opaque: i + 1 })
  );
  await client.send(stores.join("") + packet({ opcode: 0x0a, opaque: 9999 }));
  assert.deepEqual((await readTo(client, 9999)).length, 1, "nothing is said of what has been stored");
  const gets = [...keys, "missing", "mis sing"].map((key, i) => packet({ opcode: 0x0d, key, opaque: i + 1 }));
  const run = gets.join("") + packet({ opcode: 0x0a, opaque: 9999 });
  await client.send(run);
  const all = await readTo(client, 9999);
  assert.deepEqual(
    all.slice(0, -1).map(({ key, value, opaque }) => [key, value, opaque]),
    keys.map((key, i) => [key, `value ${i}`, i + 1]),
  );
  await servers[0]!.crash();
  await client.send(run);
  const rest = (await readTo(client, 9999)).slice(0, -1);
  const failed = rest.filter(({ status }) => status === 0x84);
  assert.ok(failed.length > 5 && failed.length < 50, `${failed.length} failed`);
  for (const { value, key, opcode } of failed) {
    assert.deepEqual([key, opcode], ["", 0x0d]);
    assert.match(value, /Connection (refused|reset)|No such file/);
  }
  assert.deepEqual(rest.map(({ opaque }) => opaque), rest.map(({ opaque }) => opaque).sort((a, b) => a - b));
  for (const { status, opaque, value } of rest) if (status === 0) assert.equal(value, `value ${opaque - 1}`);
});

/** Answers `lines` of what it is sent, one after the other, and notes all of them. */
async function scripted(
  answer: (line: string) => string,
): Promise<{ port: number; seen: string[]; close(): Promise<void> }> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const seen: string[] = [];
  const conns: Deno.Conn[] = [];
  const serve = async (conn: Deno.Conn): Promise<void> => {
    let text = "";
    const chunk = new Uint8Array(65536);
    for (;;) {
      const count = await conn.read(chunk).catch(() => null);
      if (count === null) return;
      text += textOf(chunk, 0, count);
      for (let lf = text.indexOf("\n"); lf >= 0; lf = text.indexOf("\n")) {
        const line = text.slice(0, lf + 1).trimEnd();
        text = text.slice(lf + 1);
        seen.push(line);
        await conn.write(latin1(answer(line))).catch(() => 0);
      }
    }
  };
  const served: Promise<void>[] = [];
  const accepting = (async () => {
    for await (const conn of listener) {
      conns.push(conn);
      served.push(serve(conn));
    }
  })();
  const { port } = listener.addr as Deno.NetAddr;
  const close = async () => {
    listener.close();
    for (const conn of conns) conn.close();
    await accepting;
    await Promise.all(served);
  };
  return await Promise.resolve({ port, seen, close });
}

Deno.test("a server without meta commands is never sent a value in one, and the client is told", async () => {
  await using f = new Fixture();
  const old = await scripted((line) =>
    line.startsWith("gets") ? "END\r\n" : line === "stats settings" ? "END\r\n" : "ERROR\r\n"
  );
  try {
    const yml = poolYml({ alpha: { servers: [`127.0.0.1:${old.port}:1`], redis: false } });
    const proxy = await f.proxy("compiled", yml, { args: ["--workers=1"] });
    await using side = new BinarySide(proxy.target);
    const no = "Unknown command: the server does not know meta commands (memcached 1.6 does)";
    const asks: Ask[] = [
      { ...SET, key: "k", value: "flush_all\r\n" },
      { opcode: 0x0e, key: "k", value: "flush_all" },
      { opcode: 0x05, key: "k", extras: addExtras(1) },
      { opcode: 0x00, key: "k" },
    ];
    assert.deepEqual(await answers(side, asks), [[1, 0x81, no], [0x0e, 0x81, no], [5, 0x81, no], [
      0,
      1,
      "Not found",
    ]]);
    assert.deepEqual(old.seen, ["mn", "stats settings", "ma k v c D1 N0 J0", "gets k"]);
  } finally {
    await old.close();
  }
});

Deno.test("a server that hangs up whenever it is asked for meta commands is one answer, not a loop", async () => {
  await using f = new Fixture();
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepting = (async () => {
    for await (const conn of listener) {
      await conn.read(new Uint8Array(100)).catch(() => null);
      conn.close();
    }
  })();
  const { port } = listener.addr as Deno.NetAddr;
  try {
    const yml = poolYml({ alpha: { servers: [`127.0.0.1:${port}:1`], redis: false } });
    const proxy = await f.proxy("compiled", yml, { args: ["--workers=1"] });
    await using side = new BinarySide(proxy.target);
    const said = await answers(side, [{ ...SET, key: "k", value: "v" }, {
      ...SET,
      opcode: 0x11,
      key: "k",
      value: "v",
    }]);
    assert.deepEqual(said.map((answer) => answer?.slice(0, 2)), [[1, 0x84], [0x11, 0x84]]);
  } finally {
    listener.close();
    await accepting;
  }
});
