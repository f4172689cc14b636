/**
 * The fault run of `deno task faults`, short: four servers that are killed, stopped, reset and garbled under 100 clients.
 * And the alarm itself: a server that says wrong things makes the callers complain.
 */
import { deepStrictEqual, ok } from "node:assert/strict";
import { FakeServer } from "../conformance/fake_server.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { Random } from "../lib/random.ts";
import { Caller } from "../soak/caller.ts";
import { MEMCACHED } from "../soak/dialect.ts";
import { faultRun } from "../soak/fault_run.ts";
import { HABITS } from "../soak/habits.ts";

for (const memcached of [false, true]) {
  for (const eject of [false, true]) {
    const name = `${memcached ? "memcached" : "redis"}, auto_eject_hosts: ${eject}`;
    Deno.test(`faults: nothing lost, nothing twice, nothing foreign (${name})`, async () => {
      const options = { seconds: 8, clients: 100, seed: 4, runtime: "compiled", memcached, eject } as const;
      const report = await faultRun(options);
      const { lost, refused, wrong, faults } = report;
      deepStrictEqual({ lost, refused, wrong }, { lost: 0, refused: 0, wrong: [] });
      ok(Object.keys(faults).length >= 4, JSON.stringify(report));
    });
  }
}

const LIES: Record<string, (words: string[]) => string> = {
  "another's words": () => "$3\r\nfoo\r\n",
  "a count too high": () => ":1000000\r\n",
  "an error of no table": () => "-ERR unknown\r\n",
  "a lost write": (words) => words[0] === "SET" ? "+OK\r\n" : words[0] === "INCR" ? ":1\r\n" : "$-1\r\n",
  "two replies": (words) => words[0] === "ECHO" ? "+a\r\n+b\r\n" : "-LOADING Redis\r\n",
};

for (const [name, lie] of Object.entries(LIES)) {
  Deno.test(`Caller complains of ${name}`, async () => {
    await using f = new Fixture();
    const server = f.add(await FakeServer.start(lie));
    const caller = new Caller("c", { port: server.port }, new Random(1), HABITS[0]!);
    let over = false;
    const running = caller.run(() => over);
    try {
      await poll(() => caller.wrong.length > 0, "a complaint");
    } finally {
      over = true;
      await running;
    }
  });
}

/** What somebody else does to a caller's keys on a memcached. */
const MEDDLING: Record<string, (i: number) => string> = {
  "another's words": (i) => `set value:c:${i} 0 0 3\r\nfoo\r\n`,
  "a count too high": (i) => `incr counter:c:${i} 1000000\r\n`,
  "a lost write": (i) => `delete value:c:${i}\r\n`,
};

for (const [name, meddle] of Object.entries(MEDDLING)) {
  Deno.test(`Caller of memcached complains of ${name}`, async () => {
    await using f = new Fixture();
    const server = await f.memcached();
    const caller = new Caller("c", server.target, new Random(1), HABITS[0]!, MEMCACHED);
    const meddler = await f.client(server);
    let over = false;
    const running = caller.run(() => over);
    try {
      await poll(() => caller.replies > 100, "replies");
      deepStrictEqual(caller.wrong, []);
      await poll(async () => {
        for (let i = 0; i < 4; i++) {
          await meddler.send(meddle(i));
          await meddler.readUntil("\r\n");
        }
        return caller.wrong.length > 0;
      }, "a complaint");
    } finally {
      over = true;
      await running;
    }
  });
}
