/** The main thread's connection to a real server and a real sentinel. */
import { deepStrictEqual, ok } from "node:assert/strict";
import { ReplyError } from "../../src/protocol/redis/value.ts";
import { SystemClock } from "../../src/runtime/clock.ts";
import { DenoNet } from "../../src/runtime/deno.ts";
import { type Answer, LinkLost, type LinkOptions, RedisLink } from "../../src/topology/redis_link.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { startSentinels } from "../lib/sentinels.ts";
import type { Server } from "../lib/servers.ts";

function link(server: Server, lost: (why: string) => void, options: Partial<LinkOptions> = {}): RedisLink {
  const address = { host: "127.0.0.1", port: server.port };
  const around = { net: new DenoNet(), clock: new SystemClock() };
  return new RedisLink({
    ...around,
    address,
    auth: null,
    resp3: false,
    connectMs: 5000,
    answerMs: 5000,
    lost,
    ...options,
  });
}

const asked = (to: RedisLink, ...words: string[]): Promise<Answer> =>
  new Promise((resolve) => to.ask(words, resolve));

Deno.test("RedisLink and a real server: AUTH of password and user, INFO, RESP3 and RESP2, errors", async () => {
  await using f = new Fixture();
  const server = await f.redis({
    port: 0,
    args: ["--requirepass", "p:w", "--user", ..."u on >up ~* &* +@all".split(" ")],
  });
  for (const auth of [{ user: null, password: "p:w" }, { user: "u", password: "up" }]) {
    for (const resp3 of [false, true]) {
      const lost: string[] = [];
      const mine = link(server, (why) => lost.push(why), { auth, resp3 });
      ok(String(await asked(mine, "INFO", "replication")).includes("role:master"));
      deepStrictEqual(await asked(mine, "ROLE"), ["master", 0, []]);
      ok(await asked(mine, "NONSENSE") instanceof ReplyError);
      deepStrictEqual(await asked(mine, "CONFIG", "GET", "port"), ["port", String(server.port)]);
      const heard: string[] = [];
      mine.subscribe(["a", "b"], () => {}, (channel, text) => heard.push(`${channel} ${text}`));
      if (resp3) deepStrictEqual(await asked(mine, "PUBLISH", "b", "x"), 1);
      else {
        deepStrictEqual(await asked(mine, "PING"), ["pong", ""]);
        const other = link(server, () => {}, { auth });
        await asked(other, "PUBLISH", "b", "x");
        other.close();
      }
      await poll(() => heard.length > 0, "the message");
      deepStrictEqual([heard, lost], [["b x"], []]);
      mine.close();
    }
  }
  const wrong = new Promise<string>((resolve) =>
    link(server, resolve, { auth: { user: null, password: "x" } })
  );
  ok((await wrong).startsWith("AUTH is refused: WRONGPASS"), await wrong);
});

Deno.test("RedisLink and a real sentinel: masters, events, and commands that sentinels do not know", async () => {
  await using f = new Fixture();
  const set = await startSentinels(f, { sentinels: 1 });
  const lost: string[] = [];
  const [questions, events] = [0, 1].map(() => link(set.sentinels[0]!, (why) => lost.push(why)));
  const [primary] = set.members.get("m1")!;
  deepStrictEqual(await asked(questions!, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m1"), [
    "127.0.0.1",
    String(primary!.port),
  ]);
  deepStrictEqual(await asked(questions!, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "none"), null);
  for (
    const words of [["SENTINEL", "MASTER", "none"], ["SELECT", "0"], ["CLIENT", "NONSENSE"], ["ECHO", "a"]]
  ) {
    ok(await asked(questions!, ...words) instanceof ReplyError, words.join(" "));
  }
  const heard: string[] = [];
  await new Promise((resolve) =>
    events!.subscribe(["+switch-master"], resolve, (channel, text) => heard.push(`${channel} ${text}`))
  );
  await set.failover("m1");
  await poll(() => heard.length > 0, "+switch-master");
  deepStrictEqual(heard, [
    `+switch-master m1 127.0.0.1 ${primary!.port} 127.0.0.1 ${set.members.get("m1")![1]!.port}`,
  ]);
  await set.sentinels[0]!.crash();
  await poll(() => lost.length === 2, "both links to end");
  const answer = await asked(questions!, "PING");
  ok(answer instanceof LinkLost);
});
