/**
 * The command table, the key finders, the error texts and the answers, each compared with a real redis-server: 7.0, whose texts are
 * ours, or a newer one, with what that says otherwise (lib/versions.ts, tests/vectors/row_differences.json).
 */
import assert from "node:assert/strict";
import { type Identity, identityFromHello, UNKNOWN } from "../../src/protocol/redis/identity.ts";
import { answer, type Host, type Session } from "../../src/protocol/redis/answers.ts";
import {
  CATEGORY,
  checkArity,
  type Command,
  COMMANDS,
  findByName,
  FINDER,
  FLAG,
  resolve,
} from "../../src/protocol/redis/commands.ts";
import { CATEGORY_NAMES, FLAG_NAMES, ROUTE } from "../../src/protocol/redis/command.ts";
import { arityError, unknownError } from "../../src/protocol/redis/errors.ts";
import { findKeys, KeyList, keysError } from "../../src/protocol/redis/keys.ts";
import { commandFromInfo } from "../../src/protocol/redis/learn.ts";
import { trackingInfo } from "../../src/protocol/redis/tracking_options.ts";
import { latin1, request, textOf } from "../lib/bytes.ts";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { ReplyError, type Value } from "../lib/resp.ts";
import { scanned } from "../lib/scanned.ts";
import { inVersion, type Version, versionOf } from "../lib/versions.ts";
import ROW_DIFFERENCES from "../vectors/row_differences.json" with { type: "json" };
import { OTHER, OwnTracking, TRACKING_CASES } from "../lib/tracking_cases.ts";

async function ask(client: RawClient, words: readonly string[]): Promise<string> {
  await client.send(request(...words.map(latin1)));
  // Redis 7.0 leaves out the number that HELLO needs here; later ones mend it.
  return (await client.readReply()).text.replace("the HELLO AUTH <user>", "the HELLO <proto> AUTH <user>");
}

/** What takes more arguments, or fewer, since Redis 7.2, 8 or Valkey 9: the arity of 7.0. */
const LOOSER_SINCE_7_0: ReadonlyMap<string, number> = new Map([
  ["ZRANK", 3],
  ["ZREVRANK", 3],
  ["COMMAND|GETKEYS", -4],
  ["COMMAND|GETKEYSANDFLAGS", -4],
  ["CLUSTER|REPLICATE", 3],
  ["SCRIPT|DEBUG", 3],
]);

/** What COMMAND replies, asked for one by one. */
async function topEntries(client: RawClient): Promise<Value[]> {
  const names = (await client.command("COMMAND", "LIST") as string[]).filter((name) => !name.includes("|"));
  const entries = await client.pipeline(...names.map((name) => ["COMMAND", "INFO", name]));
  return entries.map((entry) => (entry as Value[])[0]!);
}

/** A row in words, so that two of them can be compared word by word. */
function rowWords(
  arity: number,
  flags: readonly string[],
  categories: readonly string[],
  keys: number[],
): string[] {
  return [`arity=${arity}`, ...flags, ...categories.map((name) => `@${name}`), `keys=${keys}`];
}

Deno.test("COMMANDS agree with COMMAND of redis-server in arity, flags, categories and key positions", async () => {
  await using f = new Fixture();
  const client = await f.client(await f.redis());
  const version = await versionOf(client);
  const seen = new Set<string>();
  const differences: string[] = [];
  const compare = (entry: Value) => {
    const [name, arity, flags, first, last, step, categories, , , subcommands] = entry as Value[];
    const command = findByName(name as string);
    assert.ok(command, `${name} is in the table`);
    seen.add(command.name);
    for (const subcommand of (subcommands as Value[]) ?? []) compare(subcommand);
    const movable = command.finder === FINDER.NUMKEYS && command.firstKey === 0;
    const ours = rowWords(
      version === "redis 7.0" ? LOOSER_SINCE_7_0.get(command.name) ?? command.arity : command.arity,
      FLAG_NAMES.filter((_, i) => command.flags & (1 << i)),
      CATEGORY_NAMES.filter((_, i) => command.categories & (1 << i)),
      [command.firstKey, command.lastKey, movable ? 0 : command.keyStep],
    );
    const theirs = rowWords(
      arity as number,
      flags as string[],
      (categories as string[]).map((category) => category.slice(1)),
      [first, last, step] as number[],
    );
    const less = ours.filter((word) => !theirs.includes(word)).map((word) => `-${word}`);
    const more = theirs.filter((word) => !ours.includes(word)).sort().map((word) => `+${word}`);
    if (less.length + more.length > 0) differences.push([name, ...less, ...more].join(" "));
  };
  const entries = await topEntries(client);
  entries.forEach(compare);
  assert.ok(entries.length >= 240);
  assert.deepEqual(differences.sort(), (ROW_DIFFERENCES as Record<Version, string[]>)[version]);
  // What the table has beyond that server is newer than it.
  const newer = COMMANDS.filter((command) => !seen.has(command.name)).map((command) => command.name);
  assert.ok(newer.length > 0 && newer.length < 100, newer.join(" "));
});

/** Valid calls of commands whose keys move; the generator makes all others. */
const MOVING = [
  "eval return 2 a b c",
  "eval return 0 a",
  "evalsha x 1 a b",
  "eval_ro return 1 a",
  "evalsha_ro x 1 a",
  "fcall f 2 a b c",
  "fcall_ro f 1 a",
  "zunion 2 a b weights 1 2",
  "zinter 1 a",
  "zdiff 2 a b withscores",
  "lmpop 2 a b left",
  "zmpop 1 a min",
  "sintercard 2 a b limit 1",
  "zintercard 2 a b",
  "blmpop 0 2 a b left",
  "bzmpop 0 1 a max",
  "zunionstore a 2 b c aggregate min",
  "zinterstore a 1 b",
  "zdiffstore a 2 b c",
  "xread count 1 block 0 streams a b 0 0",
  "xread streams a $",
  "xreadgroup group g c streams a >",
  "xreadgroup group g c count 1 noack block 5 streams a b > >",
  "sort a by w* limit 0 1 get store desc store b",
  "sort a",
  "sort a store b store c",
  "sort_ro a by w*",
  "georadius a 0 0 1 m store b",
  "georadius a 0 0 1 m withdist storedist c",
  "georadiusbymember a x 1 m store b storedist c",
  "migrate h 1 a 0 10",
  "migrate h 1  0 10 copy keys a b",
  "migrate h 1  0 10 auth2 keys keys keys a b",
  "msetex 2 a 1 b 2 ex 10",
];

/** Of calls in which a server names fewer keys than they have: a key too many is safe, one too few is not. */
const FEWER_KEYS: Partial<Record<Version, ReadonlyMap<string, readonly string[]>>> = {
  // The last of STORE and STOREDIST is where the result goes, and only that is a key there.
  "valkey 9.1": new Map([["georadiusbymember a x 1 m store b storedist c", ["a", "c"]]]),
};

/** Calls of a command with as few arguments as it takes, and with more where it takes more. */
function callsOf(command: Command): string[][] {
  if (command.finder !== FINDER.RANGE) return [];
  const calls: string[][] = [];
  const fewest = Math.abs(command.arity);
  const exact = command.arity > 0 || LOOSER_SINCE_7_0.has(command.name);
  for (const count of exact ? [fewest] : [fewest, fewest + 1, fewest + 2, fewest + 4]) {
    const words = command.lower.split("|");
    for (let i = words.length; i < count; i++) words.push(`arg${i}`);
    if (command.keyStep !== 2 || words.length % 2 === 1) calls.push(words);
  }
  return calls;
}

function keysOf(words: readonly string[]): string[] {
  const { bytes, args } = scanned(words);
  const command = resolve(bytes, args)!;
  assert.ok(checkArity(command, args.count), words.join(" "));
  const keys = new KeyList();
  const count = findKeys(command, bytes, args, keys);
  assert.ok(count >= 0, words.join(" "));
  return [...keys.at.subarray(0, count)].map((at) => words[at]!);
}

Deno.test("findKeys() agrees with COMMAND GETKEYS for every command of redis-server that has keys", async () => {
  await using f = new Fixture();
  const client = await f.client(await f.redis());
  const known = new Set<Command>();
  const collect = (entry: Value) => {
    const parts = entry as Value[];
    known.add(findByName(parts[0] as string)!);
    (parts[9] as Value[]).forEach(collect);
  };
  (await topEntries(client)).forEach(collect);
  const version = await versionOf(client);
  const moving = MOVING.map((line) => line.split(" ")).filter((words) => known.has(findByName(words[0])!));
  const calls = [...known].flatMap(callsOf).concat(moving);
  const compared = new Set<string>();
  for (const words of calls) {
    const { bytes, args } = scanned(words);
    const command = resolve(bytes, args)!;
    if (command.flags & FLAG.CHANNELS) continue;
    const theirs = await client.command("COMMAND", "GETKEYS", ...words);
    // Redis takes PFMERGE without a source, but GETKEYS does not.
    if (words.length === 2 && command.name === "PFMERGE") continue;
    assert.ok(Array.isArray(theirs), `${words.join(" ")}: ${theirs}`);
    // MIGRATE with KEYS also lists its empty third argument there.
    const keys = (theirs as string[]).filter((key) => key !== "");
    const fewer = FEWER_KEYS[version]?.get(words.join(" "));
    if (fewer !== undefined) {
      assert.deepEqual(keys.sort(), fewer, words.join(" "));
      assert.ok(keys.every((key) => keysOf(words).includes(key)), words.join(" "));
    } else assert.deepEqual(keysOf(words).sort(), keys.sort(), words.join(" "));
    compared.add(command.name);
  }
  const missed = [...known].filter((command) =>
    command.finder !== FINDER.NONE && !(command.flags & FLAG.CHANNELS) && !compared.has(command.name)
  );
  assert.deepEqual(missed.map((command) => command.name), [], "every command with keys was compared");
  assert.ok(compared.size > 150);
});

Deno.test("commandFromInfo() makes of COMMAND INFO what the table has", async () => {
  await using f = new Fixture();
  const client = await f.client(await f.redis());
  for (const resp of ["2", "3"]) {
    await client.command("HELLO", resp);
    for (const name of await client.command("COMMAND", "LIST") as string[]) {
      // Subcommands come with their container.
      if (name.includes("|")) continue;
      const command = findByName(name)!;
      const words = MOVING.map((line) => line.split(" ")).find((line) => line[0] === name);
      await client.send(request("COMMAND", "INFO", name));
      const rows = commandFromInfo((await client.readReply()).raw);
      assert.ok(rows, name);
      const row = rows[0]!;
      if (!LOOSER_SINCE_7_0.has(command.name)) assert.equal(row.arity, command.arity);
      // SORT_RO has keys in its patterns, which the table leaves to the server.
      const { finder } = name === "sort_ro" ? findByName("sort")! : command;
      if (finder === FINDER.RANGE || finder === FINDER.NUMKEYS) {
        const found = { ...row.keys };
        // Only MSETEX has another step (Redis 8.4).
        assert.deepEqual(
          [found.finder, found.firstKey, found.numkeysAt],
          [command.finder, command.firstKey, command.numkeysAt],
          `${name} ${words}`,
        );
        if (command.finder === FINDER.RANGE) {
          assert.deepEqual([found.lastKey, found.keyStep], [command.lastKey, command.keyStep], name);
        }
      } else if (finder !== FINDER.NONE) assert.equal(row.keys.finder, FINDER.ASKED, name);
      assert.equal(
        rows.length,
        1 +
          (command.subcommands ?? []).filter((sub) => rows.some((r) => r.name.toUpperCase() === sub.name))
            .length,
      );
    }
  }
});

Deno.test("arityError() says what redis-server says, for every command", async () => {
  await using f = new Fixture();
  const client = await f.client(await f.redis());
  const version = await versionOf(client);
  const sent: string[] = [];
  for (const entry of await client.command("COMMAND", "LIST") as string[]) {
    const command = findByName(entry)!;
    for (const count of [Math.abs(command.arity) - 1, command.arity > 0 ? command.arity + 1 : 0]) {
      const words = command.lower.split("|");
      if (count < words.length) continue;
      while (words.length < count) words.push("x");
      const { bytes, args } = scanned(words);
      const resolved = resolve(bytes, args);
      assert.equal(resolved, command, words.join(" "));
      assert.ok(!checkArity(command, args.count));
      const ours = inVersion(version, words, textOf(arityError(command)));
      assert.equal(ours, await ask(client, words), words.join(" "));
      sent.push(command.name);
    }
  }
  assert.ok(new Set(sent).size > 200);
});

Deno.test("unknownError() says what redis-server says", async () => {
  await using f = new Fixture();
  const client = await f.client(await f.redis());
  const version = await versionOf(client);
  const cases = [
    ["foo"],
    ["foo", "a", "b"],
    ["FOO", "a\r\nb", "c\0d", ""],
    ["f\r\noo\0bar", "x"],
    ["x".repeat(200), "y".repeat(100), "z".repeat(100), "w"],
    ["foo", ...Array.from({ length: 100 }, (_, i) => `${i}`)],
    ["foo", "\xff\xfe é"],
    ["foo", "x".repeat(1000), "y"],
    ["client", "foo"],
    ["cLiEnT", "fo\r\no", "x"],
    ["object", "x".repeat(200), "x"],
    ["xinfo", ""],
    ["command", "nope"],
  ];
  for (const words of cases) {
    const { bytes, args } = scanned(words);
    assert.equal(resolve(bytes, args), undefined, words.join(" "));
    const ours = inVersion(version, words, textOf(unknownError(bytes, args)));
    assert.equal(ours, await ask(client, words), JSON.stringify(words));
  }
});

Deno.test("keysError() says what redis-server says", async () => {
  await using f = new Fixture();
  const client = await f.client(await f.redis());
  const version = await versionOf(client);
  await client.command(
    "FUNCTION",
    "LOAD",
    "#!lua name=lib\nredis.register_function('f', function() return 1 end)",
  );
  const heads = [
    "eval return",
    "eval_ro return",
    "fcall f",
    "zunion",
    "zinter",
    "zdiff",
    "lmpop",
    "zmpop",
    "sintercard",
    "zintercard",
  ];
  heads.push("zunionstore d", "zinterstore d", "zdiffstore d", "blmpop 1", "bzmpop 1");
  const cases = heads.flatMap((head) =>
    ["x", "-1", "5", "01", "99999999999999999999", "1.5"].map((n) => `${head} ${n} k left`)
  );
  cases.push(...heads.filter((head) => !/eval|fcall/.test(head)).map((head) => `${head} 0 k left`));
  cases.push(
    "mset a 1 b",
    "msetnx a 1 b",
    "xread streams a b c",
    "xreadgroup group a b streams a b c",
    "xread count 1 a",
  );
  for (const line of cases) {
    const words = line.split(" ");
    const { bytes, args } = scanned(words);
    const command = resolve(bytes, args)!;
    const code = findKeys(command, bytes, args, new KeyList());
    assert.ok(code < 0, line);
    const ours = inVersion(version, words, textOf(keysError(command, code)));
    assert.equal(ours, await ask(client, words), line);
  }
});

const NONE = new Uint8Array(0);

function newSession(id: number, authenticated: boolean): Session {
  return {
    id,
    name: NONE,
    libName: NONE,
    libVersion: NONE,
    resp: 2,
    db: 0,
    authenticated,
    canRedirect: false,
    tracking: null,
    sinceMs: 0,
    address: () => "127.0.0.1:1",
    localAddress: () => "127.0.0.1:2",
  };
}

/** Read with a client of its own: HELLO changes nothing of it. */
async function identityOf(client: RawClient): Promise<Identity> {
  await client.send(request("HELLO", "2"));
  const { raw } = await client.readReply();
  return identityFromHello(raw, 0, raw.length)!;
}

function newHost(identity: Identity, password: string | null): Host {
  return {
    poolName: "alpha",
    password: password === null ? null : latin1(password),
    databases: 16,
    redisDb: 0,
    resp3: true,
    identity,
    ringmasterVersion: "0.0.0",
    port: 0,
    processId: 1,
    os: "Linux",
    clientsMax: 10000,
    bulkSizeMax: 536870912,
    idleTimeoutSeconds: 0,
    wallMs: () => 0,
    uptimeSeconds: () => 0,
    memoryBytes: () => 0,
    connectedClients: () => 1,
    connectionsTotal: () => 1,
    requestsTotal: () => 1,
    serverCount: () => 1,
    liveServerCount: () => 1,
    topology: () => ({ epoch: 3, cause: "SIGHUP", atMs: 1_700_000_000_500, count: 0, last: null }),
    poolTotal: (metric) => 100 + metric,
  };
}

function ours(words: readonly string[], session: Session, host: Host): string {
  const { bytes, args } = scanned(words);
  const command = resolve(bytes, args);
  if (command === undefined) return textOf(unknownError(bytes, args));
  if (!checkArity(command, args.count)) return textOf(arityError(command));
  assert.equal(command.route, ROUTE.LOCAL, words.join(" "));
  return textOf(answer(command, bytes, args, session, host));
}

/** Conversations: each line is sent to both, on one connection, and the replies must be equal to the byte. */
const CONVERSATIONS: string[][] = [
  ["ping", "ping hi", "ping a b", "echo x", "echo ", "quit"],
  [
    "select 1",
    "select 15",
    "select 16",
    "select -1",
    "select x",
    "select 01",
    "select ",
    "select 99999999999",
    "select 99999999999999999999",
  ],
  ["hello", "hello 2", "hello 3", "hello", "hello 2", "hello x", "hello 1", "hello 4", "hello 03", "hello "],
  [
    "hello 3 foo",
    "hello 3 auth a",
    "hello 3 auth a b",
    "hello 3 auth default b",
    "hello 2 setname",
    "hello 2 setname a\tb",
    "client getname",
  ],
  [
    "hello 3 auth default x setname me",
    "client getname",
    "hello 2 setname you",
    "client getname",
    "reset",
    "client getname",
  ],
  ["hello 3 fo\r\no\0x"],
  [
    "client getname",
    "client setname me",
    "client getname",
    "client setname a\tb",
    "client setname \xe9",
    "client getname",
    "client setname ",
    "client getname",
  ],
  [
    "hello 3",
    "client getname",
    "client trackinginfo",
    "client getredir",
    "client id",
    "reset",
    "client trackinginfo",
  ],
  [
    "client trackinginfo",
    "client getredir",
    "client id",
    "client",
    "client nope",
    "client id x",
    "client no-evict off",
    "client no-evict x",
  ],
  [
    "hello 3",
    "config get databases",
    "config get nothing",
    "acl whoami",
    "role",
    "info nosuch",
  ],
  [
    "config get databases",
    "config get d?tab[a-b]ses",
    "config get nothing",
    "config get",
  ],
  ["acl whoami", "role", "info nosuch", "time x"],
  [
    "cluster info",
    "cluster slots",
    "cluster shards",
    "cluster nodes",
    "cluster myid",
    "cluster keyslot x",
    "cluster help",
    "cluster nope",
    "asking",
  ],
  [
    "command getkeys get k",
    "command getkeys nope k",
    "command getkeys ping k",
    "command getkeys get a b",
    "command getkeys eval s 0",
  ],
  [
    "command getkeys eval s x",
    "command getkeys eval s 3 a",
    "command getkeys zunion 0 x",
    "command getkeys spublish c m",
    "command getkeys mset a 1 b 2",
  ],
  [
    "command getkeys client setname k",
    "command getkeys object encoding k",
    "command getkeys xread streams a b 0 0",
    "command getkeys sort a store b",
  ],
  [
    "command list foo",
    "command list filterby aclcat nope",
    "command list filterby module x",
    "command list filterby",
    "command nope",
  ],
  [
    "command info nope",
    "command info client|id",
    "command info client|id nope echo",
    "command info quit echo select",
  ],
  ["hello 3", "command info nope", "command info client|id nope echo"],
  ["command docs nope", "auth a b c", "auth default x", "auth u x", "reset", "reset x"],
];

Deno.test("answer() says what redis-server says", async () => {
  await using f = new Fixture();
  const server = await f.redis();
  const admin = await f.client(server);
  const version = await versionOf(admin);
  const identity = await identityOf(admin);
  for (const lines of CONVERSATIONS) {
    const client = await f.client(server);
    const session = newSession(await client.command("CLIENT", "ID") as number, true);
    const host = newHost(identity, null);
    for (const line of lines) {
      const words = line.split(" ");
      const expected = inVersion(version, words, ours(words, session, host));
      assert.equal(expected, await ask(client, words), JSON.stringify(line));
    }
    client.close();
  }
});

Deno.test("answer() says what redis-server says where there is a password", async () => {
  await using f = new Fixture();
  const server = await f.redis({ args: ["--requirepass", "secret"] });
  const conversations = [
    [
      "hello",
      "hello 3",
      "hello 3 setname x",
      "hello 5",
      "hello 3 auth default wrong",
      "hello 3 auth nobody secret",
    ],
    [
      "auth default wrong",
      "auth nobody secret",
      "auth defaultx secret",
      "auth a b c",
      "auth default secret",
      "client getname",
      "auth default wrong",
      "client getname",
    ],
    ["auth secret", "client getname", "reset", "hello 2"],
    ["quit"],
  ];
  const admin = await f.client(server);
  await admin.command("AUTH", "secret");
  const identity = await identityOf(admin);
  for (const lines of conversations) {
    const client = await f.client(server);
    const session = newSession(0, false);
    for (const line of lines) {
      const words = line.split(" ");
      assert.equal(
        ours(words, session, newHost(identity, "secret")),
        await ask(client, words),
        JSON.stringify(line),
      );
    }
    client.close();
  }
});

Deno.test("COMMAND of ours has the shape of redis-server's, in both protocols", async () => {
  await using f = new Fixture();
  const client = await f.client(await f.redis());
  const shape = (text: string) => text.replace(/^[$=]\d+\r\n(?:.*)\r\n/gm, "$\r\n");
  const skeleton = (text: string) =>
    shape(text).split("\r\n").filter((line) => /^[*%~]/.test(line)).map((line) => line[0]).slice(0, 2).join(
      "",
    );
  for (const resp of ["2", "3"]) {
    const session = newSession(1, true);
    session.resp = resp === "3" ? 3 : 2;
    await client.command("HELLO", resp);
    for (
      const line of [
        "command",
        "command info get",
        "command docs get",
        "command list",
        "command getkeysandflags set k v",
      ]
    ) {
      const words = line.split(" ");
      assert.equal(
        skeleton(ours(words, session, newHost(UNKNOWN, null))),
        skeleton(await ask(client, words)),
        line,
      );
    }
  }
});

Deno.test("the categories of the table are all of ACL CAT", async () => {
  await using f = new Fixture();
  const client = await f.client(await f.redis());
  assert.deepEqual([...CATEGORY_NAMES].sort(), (await client.command("ACL", "CAT") as string[]).sort());
  CATEGORY_NAMES.forEach((name, i) =>
    assert.equal(CATEGORY[name.toUpperCase() as keyof typeof CATEGORY], 1 << i)
  );
  assert.ok(await client.command("ACL", "CAT", "nope") instanceof ReplyError);
});

Deno.test("CLIENT TRACKING and TRACKINGINFO of redis-server are those of the table, and ours", async () => {
  await using f = new Fixture();
  const server = await f.redis();
  const other = await (await f.client(server)).command("CLIENT", "ID") as number;
  for (const { name, steps } of TRACKING_CASES) {
    const client = await f.client(server);
    const own = new OwnTracking(other);
    for (const [words, reply] of steps) {
      const list = words.replaceAll(OTHER, String(other)).split(" ");
      assert.equal(await ask(client, ["CLIENT", "TRACKING", ...list]), `${reply}\r\n`, `${name}: ${words}`);
      own.tracking(list);
      const info = textOf(trackingInfo(own.state, 2));
      assert.equal(await ask(client, ["CLIENT", "TRACKINGINFO"]), info, `after ${name}: ${words}`);
    }
    client.close();
  }
});
