/**
 * EXEC of very many commands goes out in slices: the reply is that of the whole transaction, no turn does much, others are served in
 * between, and whatever goes wrong in the middle leaves nothing half done. The whole proxy on the simulator's network.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import type { Client } from "../../src/proxy/client.ts";
import { CommandQueue } from "../../src/redis/queue.ts";
import { Weaver } from "../../src/redis/woven.ts";
import { concat, request } from "../lib/bytes.ts";
import { runs, thorough } from "../lib/runs.ts";
import type { Talker } from "../sim/reader.ts";
import type { SimSocket } from "../sim/net.ts";
import { Stand } from "../sim/stand.ts";

/** What a client says in one transaction, and what it reads for it. */
type Words = readonly (readonly string[])[];

async function transact(slice: number | undefined, before: Words, words: Words): Promise<string> {
  const stand = await Stand.make(slice, "  databases: 2\n");
  const client = stand.talker();
  client.send(
    concat([...before, ["MULTI"], ...words, ["EXEC"], ["PING", "end"]].map((each) => request(...each))),
  );
  stand.run(5000);
  const { read } = client;
  client.socket.destroy();
  stand.run();
  for (const server of stand.pool.servers) {
    for (const connection of server.connections) {
      ok(connection.holder === null && connection.idle, "a connection is not given back");
    }
  }
  return read;
}

const COMMAND = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(fc.constant("SET"), fc.stringMatching(/^\{t\}[a-c]$/), fc.string()) },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.constantFrom("GET", "INCR", "LLEN"), fc.stringMatching(/^\{t\}[a-c]$/)),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(["SELECT", "0"], ["SELECT", "9"], ["CLIENT", "GETNAME"], ["PING"]),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constant("CLIENT"), fc.constant("SETNAME"), fc.stringMatching(/^[a-z]{1,3}$/)),
  },
  { weight: 1, arbitrary: fc.tuple(fc.constant("PUBLISH"), fc.stringMatching(/^[a-z]$/), fc.constant("m")) },
).map((words) => words.map((word) => word.replace(/[^ -~]|[=~]/g, "?")));

Deno.test("a transaction in slices is answered as if it were one, whatever stands aside and however it begins", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 9 }),
      fc.array(COMMAND, { maxLength: 30 }),
      fc.constantFrom(
        [],
        [["WATCH", "{t}a"]],
        [["HELLO", "3"], ["GET", "{x}"]],
        [["CLIENT", "REPLY", "OFF"]],
        [["SELECT", "1"], ["SET", "{t}a", "1"]],
      ),
      async (slice, words, before) => {
        strictEqual(await transact(slice, before, words), await transact(undefined, before, words));
      },
    ),
    { numRuns: runs(30) },
  );
});

const COUNT = 8000;
/** What one read brings is walked, and what lay there before it. */
const READ = 256 * 1024;
const PART = 64 * 1024;
const VALUE = "v".repeat(350);

/** A transaction of very many commands. */
function large(make: (i: number) => string[], count: number): Uint8Array {
  const words = Array.from({ length: count }, (_, i) => make(i));
  return concat([["MULTI"], ...words, ["EXEC"]].map((each) => request(...each)));
}

/** Runs `during`; tells of each turn (or `key`) how much the method did in it, by `measure`, which is called before and after. */
function perTurn<T>(
  stand: Stand,
  owner: object,
  name: string,
  measure: (self: any, result?: any) => number,
  during: () => void,
  key = () => stand.clock.turns,
): Map<number, number> {
  const done = new Map<number, number>();
  const methods = owner as Record<string, (this: unknown, ...args: unknown[]) => unknown>;
  const old = methods[name]!;
  methods[name] = function (...args) {
    const before = measure(this);
    const result = old.apply(this, args);
    const at = key();
    done.set(at, (done.get(at) ?? 0) + measure(this, result) - before);
    return result;
  };
  try {
    during();
  } finally {
    methods[name] = old;
  }
  return done;
}

thorough("no turn writes more than a slice of a transaction, or walks more of its reply", async () => {
  const stand = await Stand.make();
  const client = stand.talker();
  const bytes = large((i) => i % 1000 === 999 ? ["CLIENT", "GETNAME"] : ["ECHO", VALUE], COUNT);
  const whole = () => client.read.length >= 9 * COUNT + 5 && client.read.endsWith("+PONG\r\n");
  let walked = new Map<number, number>();
  const written = perTurn(stand, CommandQueue.prototype, "writeTo", (_, result = 0) => result, () => {
    // The simulator's sockets are read until they are empty: what one read brings is what a turn may have to do.
    let reads = 0;
    const walk = () => {
      client.send(bytes);
      client.say("PING");
      stand.clock.run(stand.clock.nowMs() + 60_000, whole);
    };
    walked = perTurn(stand, Weaver.prototype, "take", (weaver) => weaver.seen, walk, () => ++reads);
  });
  ok(whole(), client.read.slice(-100));
  const sum = (counts: Map<number, number>) => [...counts.values()].reduce((a, b) => a + b, 0);
  ok(written.size > 2 && Math.max(...written.values()) <= 1024 * 1024, `${[...written.values()]}`);
  strictEqual(sum(walked), COUNT - COUNT / 1000);
  ok(
    walked.size > 2 && Math.max(...walked.values()) * VALUE.length <= READ + PART,
    `${[...walked.values()]}`,
  );
});

/**
 * A transaction of 2,000 commands, 4 MB, of which some has been written.
 * @param frozenMs for so long the servers read nothing
 */
async function begun(
  frozenMs: number,
  before: Words = [],
  yml = "",
): Promise<{ stand: Stand; client: Talker }> {
  const stand = await Stand.make(100, yml);
  const client = stand.talker();
  for (const words of before) client.say(...words);
  stand.run();
  for (const server of stand.servers) server.frozenUntilMs = stand.clock.nowMs() + frozenMs;
  client.send(large((i) => ["SET", `{t}${i % 100}`, `${i}`.padStart(2000, "v")], 2000));
  stand.runUntil(() => leftOf(stand) > 0 && leftOf(stand) < 3_500_000);
  if (frozenMs > 0) stand.run(50);
  ok(leftOf(stand) > 2_000_000, `only ${leftOf(stand)} bytes are left`);
  return { stand, client };
}

function sliced(session: unknown): { holdsBytes: number } | null {
  return (session as { sliced: { holdsBytes: number } | null }).sliced;
}

/** Bytes of the transaction that have not been written. */
function leftOf(stand: Stand): number {
  return [...stand.pool.clients].reduce((sum, { session }) => sum + (sliced(session)?.holdsBytes ?? 0), 0);
}

/** What the client has read behind all +QUEUED. */
function answered(client: Talker): string {
  const queued = "+QUEUED\r\n";
  return client.read.slice(client.read.lastIndexOf(queued) + queued.length);
}

/** Nothing of it has happened, nothing is left over, and the next transaction works. */
function nothingHappened(stand: Stand): void {
  stand.run(30_000);
  deepStrictEqual([...stand.data.keys()], []);
  const another = stand.talker();
  another.say("MULTI").say("SET", "{t}1", "x").say("GET", "{t}1").say("EXEC");
  stand.run();
  strictEqual(another.take(), "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$1\r\nx\r\n");
  strictEqual(leftOf(stand), 0);
}

Deno.test("others are served between slices, by the same server too", async () => {
  const { stand, client } = await begun(0);
  const modest = stand.talker();
  modest.say("GET", "{t}1");
  stand.runUntil(() => modest.read !== "");
  strictEqual(modest.read, "$-1\r\n");
  ok(leftOf(stand) > 0, "the transaction was all written before");
  stand.run(5000);
  strictEqual(answered(client), `*2000\r\n${"+OK\r\n".repeat(2000)}`);
  strictEqual(String(stand.data.get("{t}7")).slice(-5), "v1907");
});

for (const before of [[], [["WATCH", "{t}w"]]]) {
  const how = before.length > 0 ? ", watching" : "";

  Deno.test(`of a transaction whose client goes away in the middle nothing happens${how}`, async () => {
    const { stand, client } = await begun(1000, before);
    (client.socket as SimSocket).other!.reset("ECONNRESET");
    nothingHappened(stand);
  });

  Deno.test(`of a transaction whose client is closed for max_memory in the middle nothing happens${how}`, async () => {
    const { stand, client } = await begun(1000, before);
    const [greedy] = [...stand.pool.clients] as Client[];
    ok(greedy!.holdsBytes > 2_000_000);
    greedy!.giveUp("holds the most of all");
    nothingHappened(stand);
    strictEqual(client.closed, true);
  });

  Deno.test(`of a transaction whose server goes away in the middle nothing happens, and its client is told${how}`, async () => {
    const { stand, client } = await begun(1000, before);
    for (const { address } of stand.servers) stand.net.down(address);
    stand.run();
    ok(/^-ERR Connection [^\r]* \(server 10.0.0.\d:6379\)\r\n$/.test(answered(client)), answered(client));
    for (const { address } of stand.servers) stand.net.up(address);
    client.take();
    nothingHappened(stand);
    client.say("PING");
    stand.run();
    strictEqual(client.take(), "+PONG\r\n");
  });

  Deno.test(`of a transaction whose server takes no more of it for \`timeout\` nothing happens${how}`, async () => {
    const { stand, client } = await begun(3000, before, "  timeout: 400\n");
    stand.run(1000);
    ok(/^-ERR Connection timed out \(server 10.0.0.\d:6379\)\r\n$/.test(answered(client)), answered(client));
    nothingHappened(stand);
  });
}

Deno.test("`timeout` is for each slice and for EXEC, not for all of a transaction", async () => {
  const { stand, client } = await begun(0, [], "  timeout: 400\n");
  const startMs = stand.clock.nowMs();
  for (const server of stand.servers) server.habits = { ...server.habits, busy: 1, busyMaxMs: 150 };
  stand.runUntil(() => client.read.endsWith("+OK\r\n"));
  strictEqual(answered(client).slice(0, 7), "*2000\r\n");
  ok(stand.clock.nowMs() - startMs > 1000, "it was quick: the test shows nothing");
});

/** A transaction with something aside, of whose reply of 6 MB the client has read some. */
async function answering(yml = ""): Promise<{ stand: Stand; client: Talker }> {
  const stand = await Stand.make(undefined, yml);
  const client = stand.talker();
  const words = Array.from(
    { length: 300 },
    (_, i) => i === 290 ? ["CLIENT", "SETNAME", "late"] : ["ECHO", "v".repeat(20_000)],
  );
  client.send(concat([["MULTI"], ...words, ["EXEC"]].map((each) => request(...each))));
  stand.runUntil(() => client.read.includes("*300\r\n"));
  return { stand, client };
}

Deno.test("EXEC's large reply with something aside leaves as it comes: nobody keeps it", async () => {
  const { stand, client } = await answering();
  let most = 0;
  stand.runUntil(() => {
    const held = stand.pool.servers.flatMap(({ connections }) =>
      [...connections].map((each) => each.holdsBytes)
    );
    most = Math.max(most, ...held);
    return client.read.endsWith("v\r\n") && client.read.split("\r\n$20000\r\n").length === 300;
  });
  ok(client.read.includes("v\r\n+OK\r\n$20000\r\n"), "what stands aside is in its place");
  ok(most < 1024 * 1024, `${most} bytes were kept`);
});

for (
  const [how, yml, cut] of [
    ["goes away", "", (stand: Stand) => stand.servers.forEach(({ address }) => stand.net.down(address))],
    [
      "says no more",
      "  timeout: 400\n",
      (stand: Stand) => stand.servers.forEach(({ address }) => stand.net.stall(address, 2000)),
    ],
  ] as const
) {
  Deno.test(`a client is closed whose server ${how} in the middle of such a reply, and nobody gets the rest`, async () => {
    const { stand, client } = await answering(yml);
    ok(!client.read.includes("+OK\r\n$20000\r\n"), "it has all come: the test shows nothing");
    cut(stand);
    stand.run(1000);
    strictEqual(client.closed, true);
    for (const { address } of stand.servers) stand.net.up(address);
    stand.run(2000);
    const other = stand.talker();
    other.say("ECHO", "mine");
    stand.run(5000);
    strictEqual(other.read, "$4\r\nmine\r\n");
  });
}

Deno.test("a drain waits for a transaction in slices", async () => {
  const { stand, client } = await begun(0);
  let owed = -1;
  void stand.proxy.drain(5000).then((count) => owed = count);
  await stand.clock.runAsync(() => owed >= 0);
  strictEqual(owed, 0);
  strictEqual(answered(client).slice(0, 7), "*2000\r\n");
});

Deno.test("EXEC names the command that this proxy refused, and leaves Redis's own words to Redis's errors", async () => {
  const stand = await Stand.make();
  const client = stand.talker();
  const exec = (...words: string[]) => {
    client.say("MULTI").say("SET", "k", "v").say(...words).say("EXEC");
    stand.run();
    return client.take().split("\r\n").at(-2)!;
  };
  for (
    const words of [["FLUSHALL"], ["SCRIPT", "FLUSH"], ["CLIENT", "KILL", "ID", "1"], [
      "MIGRATE",
      "h",
      "1",
      "k",
      "0",
      "9",
    ]]
  ) {
    const name = words.slice(0, words[0] === "SCRIPT" || words[0] === "CLIENT" ? 2 : 1).join(" ");
    match(
      exec(...words),
      new RegExp(`^-EXECABORT Transaction discarded because of: command 2, '${name}': ERR '`),
    );
  }
  for (const words of [["GET"], ["NOSUCH"]]) {
    strictEqual(exec(...words), "-EXECABORT Transaction discarded because of previous errors.");
  }
  stand.proxy.stop();
});
