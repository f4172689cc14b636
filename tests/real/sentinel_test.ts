/** failover: sentinel with real sentinels: what the keeper says while primaries change, and what clients see through the proxy. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import { SystemClock } from "../../src/runtime/clock.ts";
import { DenoNet } from "../../src/runtime/deno.ts";
import { SentinelKeeper } from "../../src/topology/sentinel.ts";
import type { ServerState } from "../../src/topology/state.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { type SentinelSet, startSentinels } from "../lib/sentinels.ts";

class Watched implements AsyncDisposable {
  readonly states: ServerState[] = [];
  readonly log: string[] = [];
  private readonly keeper: SentinelKeeper;

  constructor(set: SentinelSet, lines = "") {
    const servers = [...set.members.keys()].map((master) => `{name: ${master}, master: ${master}}`);
    const yaml =
      `p:\n  listen: 127.0.0.1:1\n  redis: true\n  failover: sentinel\n  sentinels: ${set.addresses}\n` +
      `  servers: [${servers}]\n  ${lines}\n`;
    this.keeper = new SentinelKeeper({
      pool: parseConfig(yaml, "x").pools[0]!,
      net: new DenoNet(),
      clock: new SystemClock(),
      random: Math.random,
      log: { level: 11, write: (_, text) => void this.log.push(text) },
      known: new Map(),
      event: () => {},
    });
    this.keeper.start((states) => this.states.push(...states));
  }

  of(server: string): ServerState | undefined {
    return this.states.findLast((each) => each.server === server);
  }

  async at(server: string, address: string, replicas: readonly string[]): Promise<void> {
    const wanted = JSON.stringify([address, [...replicas].sort()]);
    const now = () => {
      const state = this.of(server);
      return JSON.stringify([state?.primary?.text, state?.replicas.map(({ text }) => text).sort()]);
    };
    await poll(() => now() === wanted, () => `${server} to be at ${wanted}; it is at ${now()}`, 60_000);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.keeper.stop();
    return Promise.resolve();
  }
}

Deno.test("SentinelKeeper follows real failovers, by command and by death, and forgets no replica at a reset", async () => {
  await using f = new Fixture();
  const set = await startSentinels(f, { masters: ["m1", "m2"], replicas: 2 });
  const watched = f.add(new Watched(set));
  const addresses = set.members.get("m1")!.map((each) => each.address);
  await watched.at("m1", addresses[0]!, addresses.slice(1));
  const others = watched.of("m2")!;

  await set.failover("m1");
  await poll(() => watched.of("m1")!.primary!.text !== addresses[0], "the first move");
  const second = watched.of("m1")!;
  ok(/^\+(switch-master|promoted-slave|role-change) from sentinel /.test(second.cause), second.cause);
  const primary = await set.settled("m1");
  strictEqual(second.primary!.text, primary.address);
  await watched.at("m1", primary.address, addresses.filter((each) => each !== primary.address));

  await primary.server.crash();
  await poll(() => watched.of("m1")!.primary!.text !== primary.address, "the second move");
  const third = watched.of("m1")!;
  ok(third.term > second.term);
  await primary.server.start();
  await set.settled("m1");
  // Three sentinels have told of each epoch, and it was one move at most (a busy machine may bring more epochs).
  const moves = watched.states.filter(({ server }) => server === "m1");
  const elsewhere = moves.filter(({ primary }, i) => i > 0 && primary!.text !== moves[i - 1]!.primary!.text);
  const epoch = Number((await set.fields(0, "m1")).get("config-epoch"));
  ok(elsewhere.length <= epoch, `${elsewhere.length} moves in ${epoch} epochs`);
  for (const [i, { term }] of moves.entries()) ok(i === 0 || term >= moves[i - 1]!.term);
  const last = await set.settled("m1");
  await watched.at("m1", last.address, addresses.filter((each) => each !== last.address));

  const before = watched.states.length;
  for (let i = 0; i < 3; i++) strictEqual(await set.ask(i, "RESET", "m1"), 1);
  await set.settled("m1");
  for (const { replicas } of watched.states.slice(before)) strictEqual(replicas.length, 2);
  deepStrictEqual(watched.of("m2")!.primary, others.primary);
});

Deno.test("SentinelKeeper says which real sentinel refuses a password, and goes on with those that do not", async () => {
  await using f = new Fixture();
  const set = await startSentinels(f, { sentinels: 2 });
  await using _ = await protect(set, 0, "secret");
  const watched = f.add(new Watched(set, "sentinel_auth: wrong"));
  const [primary, replica] = set.members.get("m1")!;
  await watched.at("m1", primary!.address, [replica!.address]);
  const line = `pool 'p': sentinel ${set.sentinels[0]!.address}: AUTH is refused: WRONGPASS`;
  await poll(() => watched.log.some((each) => each.startsWith(line)), line);
});

/** Gives a sentinel a password, until the end. */
async function protect(set: SentinelSet, sentinel: number, password: string): Promise<AsyncDisposable> {
  strictEqual(await set.ask(sentinel, "MYID").then((id) => typeof id), "string");
  const { RawClient } = await import("../lib/client.ts");
  const client = await RawClient.connect(set.sentinels[sentinel]!.target);
  strictEqual(await client.command("ACL", "SETUSER", "default", "on", "resetpass", `>${password}`), "OK");
  return client;
}
