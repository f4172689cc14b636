/**
 * No turn does much, whatever one client asks: requests of 100,000 arguments for every kind of row in the command tables, through
 * the whole proxy, and the blocks of code that ran in each turn. Counted, not timed (tests/lib/work_counter.ts); what the same is
 * in milliseconds `deno task sweep` tells.
 */
import { ok, strictEqual } from "node:assert/strict";
import { WorkCounter } from "../lib/work_counter.ts";

/** Before anything of src/ is loaded: functions that have run once are not counted. */
const counter = await WorkCounter.start();
const { TurnStand } = await import("../lib/turn_stand.ts");
const { wideFor, wideMemcached } = await import("../lib/wide_requests.ts");
const { COMMANDS, ROUTE } = await import("../../src/protocol/redis/commands.ts");
const { latin1, request } = await import("../lib/bytes.ts");
const { UNHEARD_OF } = await import("../lib/wide_servers.ts");

const ARGUMENTS = 100_000;
/**
 * Blocks of code in one turn. A read of 256 KiB full of one-letter arguments, or such a reply, takes 340,000, about a millisecond;
 * looking at 100,000 arguments takes more, if it is four blocks for each.
 */
const BLOCKS_MAX = 400_000;
/** A memcached line is read byte by byte: 256 KiB of it take 1,460,000, all 100,000 keys at once 3,550,000. */
const LINE_BLOCKS_MAX = 1_600_000;
/** Turns that are counted together, if each does little. */
const TOGETHER_MAX = 16;

const MULTI = latin1("*1\r\n$5\r\nMULTI\r\n");
const EXEC = latin1("*1\r\n$4\r\nEXEC\r\n");

type Stand = Awaited<ReturnType<typeof TurnStand.make>>;

/** Fails with what is over the limit. */
function none(found: readonly string[]): void {
  ok(found.length === 0, found.join("\n"));
}

/** Runs turns until nothing is to come; the most blocks of one turn, or of some together if those were not more than allowed. */
async function mostWork(stand: Stand, alone: boolean): Promise<{ blocks: number; most: string }> {
  let worst = { blocks: 0, most: "" };
  let together = 1;
  let since = 0;
  await counter.take();
  const look = async () => {
    const work = await counter.take();
    since = 0;
    if (work.blocks > worst.blocks) worst = work;
    const small = work.blocks < BLOCKS_MAX / 4;
    together = alone || !small ? 1 : Math.min(together * 2, TOGETHER_MAX);
  };
  await stand.net.runEach(async () => {
    if (++since >= together) await look();
  });
  await look();
  return worst;
}

async function check(
  name: string,
  protocol: "redis" | "memcached",
  parts: readonly Uint8Array[],
  servers = 3,
): Promise<string[]> {
  const max = protocol === "redis" ? BLOCKS_MAX : LINE_BLOCKS_MAX;
  let work = { blocks: Infinity, most: "" };
  for (const alone of [false, true]) {
    const stand = await TurnStand.make(protocol, servers, (turn) => turn());
    const client = stand.join();
    for (const part of parts) client.socket.give(part);
    work = await mostWork(stand, alone);
    client.socket.reset();
    // What the client leaves behind is put away in turns too.
    const after = await mostWork(stand, alone);
    if (after.blocks > work.blocks) work = after;
    stand.stop();
    if (work.blocks <= max) return [];
  }
  return [`${name}: ${work.blocks} blocks in one turn: ${work.most}`];
}

/** Rows that travel alike are looked at once. */
function kindOf(command: (typeof COMMANDS)[number]): string {
  const { name, route, finder, firstKey, lastKey, keyStep, numkeysAt, join, flags } = command;
  const own: readonly number[] = [
    ROUTE.LOCAL,
    ROUTE.CLIENT_MODE,
    ROUTE.PUBSUB,
    ROUTE.TRANSACTION,
    ROUTE.BLOCKING,
  ];
  if (own.includes(route)) return /\|HELP$|^CLUSTER\|/.test(name) ? "the same answer always" : name;
  return [route, finder, firstKey, lastKey, keyStep, numkeysAt, join, flags & ~FLAGS_THAT_DO_NOT_MATTER]
    .join();
}

/** Redis's own, of which only the servers make something: all but MOVABLE_KEYS, NO_MULTI and NO_MANDATORY_KEYS. */
const FLAGS_THAT_DO_NOT_MATTER = 0x7ffff & ~(1 << 14 | 1 << 16 | 1 << 18);

const kinds = new Map<string, (typeof COMMANDS)[number]>();
for (const command of COMMANDS) {
  const kind = kindOf(command);
  const present = kinds.get(kind);
  // One that takes as many arguments as it is given shows more.
  if (present === undefined || (present.arity > 0 && command.arity < 0)) kinds.set(kind, command);
}

Deno.test("no turn is long for a Redis request of 100,000 arguments, of whatever kind", async () => {
  const found = [];
  for (const command of kinds.values()) {
    for (const { name, bytes } of wideFor(command, ARGUMENTS)) {
      found.push(...await check(name, "redis", [bytes()]));
    }
  }
  none(found);
});

Deno.test("nor for one in a transaction", async () => {
  const found = [];
  for (const command of kinds.values()) {
    const { name, bytes } = wideFor(command, ARGUMENTS).at(-1)!;
    found.push(...await check(`MULTI ${name}`, "redis", [MULTI, bytes(), EXEC]));
  }
  none(found);
});

Deno.test("nor for a memcached request of 100,000 keys", async () => {
  const found = [];
  for (const { name, bytes } of wideMemcached(ARGUMENTS)) {
    found.push(...await check(name, "memcached", [bytes()]));
  }
  none(found);
});

Deno.test("nor for a command that only servers know", async () => {
  const same = request(UNHEARD_OF, ...Array(ARGUMENTS).fill("k"));
  none([
    ...await check(UNHEARD_OF, "redis", [same]),
    ...await check(`${UNHEARD_OF} twice`, "redis", [same, same]),
    ...await check(`MULTI ${UNHEARD_OF}`, "redis", [MULTI, same, EXEC]),
  ]);
});

Deno.test("nor for patterns that each of 100 servers is asked for", async () => {
  const patterns = (count: number) => Array.from({ length: count }, (_, i) => `p${i}*`);
  none([
    ...await check("PSUBSCRIBE of 250", "redis", [request("PSUBSCRIBE", ...patterns(250))], 100),
    ...await check("PSUBSCRIBE of 600", "redis", [request("PSUBSCRIBE", ...patterns(600))], 100),
  ]);
});

Deno.test("nor for 100,000 channels of a server that comes back, or that have moved", async () => {
  const stand = await TurnStand.make(
    "redis",
    3,
    (turn) => turn(),
    "  auto_eject_hosts: true\n  server_failure_limit: 1\n  timeout: 1000\n",
  );
  const client = stand.join();
  client.socket.give(request("SUBSCRIBE", ...Array.from({ length: ARGUMENTS }, (_, i) => `channel${i}`)));
  stand.net.run();
  const heard = () => client.read.reduce((sum, bytes) => sum + bytes.length, 0);
  const before = heard();
  /** Begins anew, and hears of all: bytes that servers were sent. */
  const sent = () => stand.net.servers.reduce((sum, { flushedBytes }) => sum + flushedBytes, 0);
  const found = [];
  for (
    const [what, begin, least] of [
      ["a server that comes back", () => {
        for (const socket of stand.net.servers) if (socket.flushedBytes > ARGUMENTS) socket.reset();
      }, ARGUMENTS],
      [
        "channels that have moved",
        () => stand.pool.servers[0]!.failed(),
        ARGUMENTS / 6,
      ],
    ] as const
  ) {
    const sentBefore = sent();
    stand.net.clock.afterTurn(begin);
    let most = await mostWork(stand, true);
    // A connection that is lost is tried again later.
    stand.net.clock.now += 50;
    const later = await mostWork(stand, true);
    if (later.blocks > most.blocks) most = later;
    if (most.blocks > BLOCKS_MAX) found.push(`${what}: ${most.blocks} blocks in one turn: ${most.most}`);
    ok((sent() - sentBefore) / 18 > least, `${what}: only ${sent() - sentBefore} bytes were sent`);
  }
  none(found);
  strictEqual(heard(), before, "the client has been told something");
  stand.stop();
});

Deno.test("nor for 40,000 shard channels that look for their node, which has said that they have left", async () => {
  const stand = await TurnStand.make("redis", 3, (turn) => turn(), "  cluster: true\n");
  const client = stand.join();
  const channels = Array.from({ length: 40_000 }, (_, i) => `{a}${i}`);
  client.socket.give(request("SSUBSCRIBE", ...channels));
  stand.net.run();
  const sent = () => stand.net.servers.reduce((sum, { flushedBytes }) => sum + flushedBytes, 0);
  const before = sent();
  const node = stand.net.servers.find(({ flushedBytes }) => flushedBytes > channels.length)!;
  const left = channels.map((name) => `*3\r\n$12\r\nsunsubscribe\r\n$${name.length}\r\n${name}\r\n:0\r\n`);
  node.give(latin1(left.join("")));
  stand.net.run();
  strictEqual(sent(), before, "they were asked for before the pause was over");
  stand.net.clock.now += 50;
  const { blocks, most } = await mostWork(stand, false);
  ok((sent() - before) / 18 > channels.length, `only ${sent() - before} bytes were sent`);
  none(blocks > BLOCKS_MAX ? [`${blocks} blocks in one turn: ${most}`] : []);
  stand.stop();
});
