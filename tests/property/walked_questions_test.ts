/** PUBSUB NUMSUB, SCRIPT EXISTS and SSUBSCRIBE of very many names: every server is asked slice by slice, and the reply is one. */
import { ok, strictEqual } from "node:assert/strict";
import { textOf } from "../lib/bytes.ts";
import { TurnStand } from "../lib/turn_stand.ts";
import { wide } from "../lib/wide_requests.ts";

/** Names enough for several slices, and a few more. */
const NAMES = Array.from({ length: 1003 }, (_, i) => `n${i}`);

/** All that a client reads when it says this, one after the other, over three servers. */
async function told(...requests: (readonly string[])[]): Promise<string[]> {
  const stand = await TurnStand.make("redis", 3, (turn) => turn());
  const client = stand.join();
  const replies = requests.map((words) => {
    client.read.length = 0;
    client.socket.give(wide(words));
    stand.net.run();
    return client.read.map((bytes) => textOf(bytes)).join("");
  });
  stand.stop();
  return replies;
}

Deno.test("PUBSUB NUMSUB of very many channels tells of each in its place", async () => {
  for (const word of ["NUMSUB", "SHARDNUMSUB"]) {
    const [reply] = await told(["PUBSUB", word, ...NAMES]);
    const pairs = NAMES.map((name) => `$${name.length}\r\n${name}\r\n:0\r\n`).join("");
    ok(reply === `*${2 * NAMES.length}\r\n${pairs}`, reply!.slice(0, 200));
  }
});

Deno.test("SCRIPT EXISTS of very many scripts answers for each", async () => {
  const [reply] = await told(["SCRIPT", "EXISTS", ...NAMES]);
  ok(reply === `*${NAMES.length}\r\n${":1\r\n".repeat(NAMES.length)}`, reply!.slice(0, 200));
});

Deno.test("SSUBSCRIBE of very many channels acknowledges each in its place, and SUNSUBSCRIBE takes all back", async () => {
  const [on, off, ping] = await told(["SSUBSCRIBE", ...NAMES], ["SUNSUBSCRIBE", ...NAMES], ["PING"]);
  const said = (word: string, count: (i: number) => number) =>
    NAMES.map((name, i) =>
      `*3\r\n$${word.length}\r\n${word}\r\n$${name.length}\r\n${name}\r\n:${count(i)}\r\n`
    )
      .join("");
  ok(on === said("ssubscribe", (i) => i + 1), on!.slice(0, 200));
  ok(off === said("sunsubscribe", (i) => NAMES.length - 1 - i), off!.slice(0, 200));
  strictEqual(ping, "+PONG\r\n");
});
