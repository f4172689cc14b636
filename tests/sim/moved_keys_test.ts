/** Requests that take more than one turn, or wait for EXEC, while servers leave the ring and return: they go where their keys are then. */
import { equal, ok } from "node:assert/strict";
import { SLICED } from "../../src/proxy/client.ts";
import { REQUESTS } from "../../src/stats/metrics.ts";
import { concat, latin1, request } from "../lib/bytes.ts";
import { Stand } from "./stand.ts";

const YML = "  auto_eject_hosts: true\n  server_failure_limit: 1\n  server_retry_timeout: 60000\n";
const QUEUED = "+QUEUED\r\n";
const ABORTED =
  "-EXECABORT Transaction discarded because of: the servers of the pool have changed since MULTI " +
  "(one came, went, was ejected or returned), and its keys are no longer on one of them; nothing was done\r\n";

/** Index of the server that has the key now, -1 = none. */
function ownerOf({ pool }: Stand, key: string): number {
  return pool.placement.serverOf(latin1(key), 0, key.length);
}

function eject({ pool }: Stand, server: number): void {
  pool.ejection.failed(pool.servers[server]!);
  ok(pool.servers[server]!.ejected);
}

/** An operator takes the server onto the ring again. */
function restore({ pool }: Stand, server: number): void {
  pool.board.restore(pool.servers[server]!.cells);
  pool.ejection.lookAtBoard();
  ok(!pool.servers[server]!.ejected);
}

/** Keys of server 0; with it off the ring the first `count` are on one server, and the last is on another. */
async function keysOf(count: number): Promise<string[]> {
  const stand = await Stand.make(undefined, YML);
  const all = Array.from({ length: 2000 }, (_, i) => `key${i}`).filter((key) => ownerOf(stand, key) === 0);
  eject(stand, 0);
  const after = all.map((key) => ownerOf(stand, key));
  stand.proxy.stop();
  const one = all.filter((_, i) => after[i] === after[0]);
  ok(one.length >= count);
  return [...one.slice(0, count), all.find((_, i) => after[i] !== after[0])!];
}

const [A, B, ELSEWHERE] = await keysOf(2) as [string, string, string];

Deno.test("EXEC goes where its keys are when it comes, though servers have left the ring since MULTI", async () => {
  const stand = await Stand.make(undefined, YML);
  const client = stand.talker().say("MULTI").say("SET", A, "1").say("SET", B, "2");
  stand.run(100);
  eject(stand, 0);
  // Its server is found out at EXEC, as the others' are.
  client.say("GET", A).say("EXEC").say("GET", B);
  stand.run(100);
  equal(client.take(), `+OK\r\n${QUEUED}${QUEUED}${QUEUED}*3\r\n+OK\r\n+OK\r\n$1\r\n1\r\n$1\r\n2\r\n`);
  equal(stand.model(0).databases[0]!.entries.size, 0);
  stand.proxy.stop();
});

Deno.test("what means the whole pool is one server's only while there is one: EXEC does nothing when another has come, and says why", async () => {
  for (const words of [["PUBLISH", "news", "x"], ["DBSIZE"]]) {
    const stand = await Stand.make(undefined, YML, ["10.0.0.1:6379:1"]);
    const client = stand.talker().say("MULTI").say("SET", A, "1").say(...words);
    stand.run(100);
    await stand.reload(["10.0.0.1:6379:1", "10.0.0.2:6379:1"], YML);
    client.say("EXEC").say("PING");
    stand.run(100);
    equal(client.take(), `+OK\r\n${QUEUED.repeat(2)}${ABORTED}+PONG\r\n`);
    equal(stand.model(0).databases[0]!.entries.size + stand.model(1).databases[0]!.entries.size, 0);
    client.say("MULTI").say("SET", A, "1").say("EXEC");
    stand.run(100);
    equal(client.take(), `+OK\r\n${QUEUED}*1\r\n+OK\r\n`);
    stand.proxy.stop();
  }
});

Deno.test("EXEC whose keys are no longer on one server does nothing and says why; on one again it goes there", async () => {
  const stand = await Stand.make(undefined, YML);
  const [one, other] = [stand.talker(), stand.talker()];
  for (const client of [one, other]) {
    client.say("MULTI").say("SET", A, "1").say("SET", ELSEWHERE, "1").say("PING");
  }
  stand.run(100);
  eject(stand, 0);
  one.say("EXEC").say("PING");
  stand.run(100);
  equal(one.take(), `+OK\r\n${QUEUED.repeat(3)}${ABORTED}+PONG\r\n`);
  equal(stand.data.size, 0);
  restore(stand, 0);
  other.say("EXEC");
  one.say("MULTI").say("GET", A).say("EXEC");
  stand.run(100);
  equal(other.take(), `+OK\r\n${QUEUED.repeat(3)}*3\r\n+OK\r\n+OK\r\n+PONG\r\n`);
  equal(one.take(), `+OK\r\n${QUEUED}*1\r\n$1\r\n1\r\n`);
  stand.proxy.stop();
});

Deno.test("EXEC of keys that had no server when they were queued goes to the one that they have now, or nowhere", async () => {
  const stand = await Stand.make(undefined, YML);
  const [one, other] = [stand.talker(), stand.talker()];
  for (const server of [0, 1, 2]) eject(stand, server);
  for (const client of [one, other]) client.say("MULTI").say("SET", A, "1");
  one.say("EXEC");
  stand.run(100);
  equal(one.take(), `+OK\r\n${QUEUED}-ERR Connection refused: no live server in the pool\r\n`);
  for (const server of [0, 1, 2]) restore(stand, server);
  other.say("EXEC");
  stand.run(100);
  equal(other.take(), `+OK\r\n${QUEUED}*1\r\n+OK\r\n`);
  equal(stand.model(ownerOf(stand, A)).databases[0]!.find(A)?.value, "1");
  stand.proxy.stop();
});

/** MULTI and very many commands, large ones among them; the last one has this key. */
function long(last: string): { bytes: Uint8Array; queued: string; replies: string } {
  const large = "x".repeat(100_000);
  const commands = Array.from(
    { length: 400 },
    (_, i) => request("SET", i % 2 === 0 ? A : B, i % 100 === 7 ? large : String(i)),
  );
  commands.push(request("MGET", A, B, A, B, A, B), request("SET", last, "last"));
  return {
    bytes: concat([request("MULTI"), ...commands]),
    queued: `+OK\r\n${QUEUED.repeat(402)}`,
    replies: `*402\r\n${"+OK\r\n".repeat(400)}*6\r\n${"$3\r\n398\r\n$3\r\n399\r\n".repeat(3)}+OK\r\n`,
  };
}

/** A client whose long EXEC is being placed anew, since server 0 has left the ring. */
async function begun(slice: number, last: string) {
  const stand = await Stand.make(slice, YML);
  const { bytes, queued, replies } = long(last);
  const client = stand.talker();
  client.send(bytes);
  stand.run(1000);
  equal(client.take(), queued);
  eject(stand, 0);
  client.say("EXEC").say("PING");
  const [one] = stand.pool.clients;
  stand.runUntil(() => (one!.blocked & SLICED) !== 0);
  return { stand, client, one: one!, replies: replies + "+PONG\r\n", turns: stand.clock.turns };
}

for (const slice of [3, 100]) {
  Deno.test(`a long transaction is placed anew some commands a turn (${slice})`, async () => {
    const { stand, client, one, replies, turns } = await begun(slice, A);
    stand.runUntil(() => (one.blocked & SLICED) === 0);
    ok(stand.clock.turns - turns > 400 / slice / 2, `${stand.clock.turns - turns} turns`);
    stand.runUntil(() => client.read.endsWith("+PONG\r\n"));
    equal(client.take(), replies);
    equal(stand.model(0).databases[0]!.entries.size, 0);
    stand.proxy.stop();
  });

  Deno.test(`… and once more if keys move meanwhile (${slice})`, async () => {
    for (const last of [A, ELSEWHERE]) {
      const { stand, client, replies } = await begun(slice, last);
      restore(stand, 0);
      stand.run(1000);
      equal(client.take(), replies);
      equal(stand.model(0).databases[0]!.find(last)?.value, "last");
      stand.proxy.stop();
    }
  });

  Deno.test(`… and ended if they are on several servers, or the client goes (${slice})`, async () => {
    const { stand, client } = await begun(slice, ELSEWHERE);
    stand.run(1000);
    equal(client.take(), `${ABORTED}+PONG\r\n`);
    equal(stand.data.size, 0);
    stand.proxy.stop();
    const left = await begun(slice, A);
    left.client.socket.destroy();
    left.stand.run(1000);
    // EXEC had come: it is done, or not.
    ok([0, 2].includes(left.stand.data.size));
    equal(left.stand.pool.clients.size, 0);
    left.stand.proxy.stop();
  });
}

for (const name of ["MGET", "DEL", "EXISTS", "SINTER", "WATCH"]) {
  Deno.test(`a ${name} of very many keys goes where all of them are when it goes`, async () => {
    // Those that go whole are placed some thousands a turn.
    const count = name === "SINTER" || name === "WATCH" ? 9000 : 80;
    let seen = 0;
    for (let turns = 0; turns < 12; turns++) {
      const stand = await Stand.make(4, YML);
      eject(stand, 0);
      const home = ownerOf(stand, A);
      restore(stand, 0);
      const stays = Array.from({ length: 100 }, (_, i) => `other${i}`).find((key) =>
        ownerOf(stand, key) === home
      )!;
      eject(stand, 0);
      const client = stand.talker();
      stand.run(10);
      const [one] = stand.pool.clients;
      client.send(request(name, ...Array.from({ length: count }, (_, i) => i < count / 2 ? A : stays)));
      stand.runUntil(() => (one!.blocked & SLICED) !== 0);
      let left = turns;
      stand.clock.run(stand.clock.nowMs() + 1000, () => left-- <= 0);
      const begun = stand.sent > 0;
      restore(stand, 0);
      stand.run(1000);
      ok(client.read !== "");
      if (!begun) {
        seen++;
        const { counters } = stand.pool.servers[0]!;
        ok(client.read.startsWith("-CROSSSLOT ") || counters[REQUESTS]! > 0, `turn ${turns}: ${client.read}`);
      }
      stand.proxy.stop();
    }
    ok(seen > 2);
  });
}
