/**
 * As wide_test.ts: no turn does much for a transaction, a memcached request, learned commands, subscriptions that are very wide.
 */
import { ok, strictEqual } from "node:assert/strict";
import { ARGUMENTS, BLOCKS_MAX, check, KINDS, mostWork, none, TurnStand } from "../lib/turn_work.ts";

/** After turn_work.ts, which counts only what is loaded after it. */
const { latin1, request } = await import("../lib/bytes.ts");
const { wideFor, wideMemcached } = await import("../lib/wide_requests.ts");
const { UNHEARD_OF } = await import("../lib/wide_servers.ts");

const MULTI = latin1("*1\r\n$5\r\nMULTI\r\n");
const EXEC = latin1("*1\r\n$4\r\nEXEC\r\n");

Deno.test("nor for one in a transaction", async () => {
  const found = [];
  for (const command of KINDS) {
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
