/** Clients of a memcached pool with users, when a reload changes who may come in. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { hashPassword } from "../../src/config/password_hash.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { AUTH_FAILURES, REQUESTS } from "../../src/stats/metrics.ts";
import { type Ask, packet, saidAt } from "../lib/binary.ts";
import { latin1, textOf } from "../lib/bytes.ts";
import { checkTimed } from "../sim/checkers.ts";
import { TurnStand, type WideClient } from "../lib/turn_stand.ts";

const ALL = 'rules: "+@all ~* &*"';
const ANN = `    - { name: ann, password: secret, ${ALL} }\n`;
const LOGIN = "set auth 0 0 10\r\nann secret\r\n";

const usersOf = (yml: string) =>
  parseConfig(`alpha:\n  listen: 127.0.0.1:1\n  users:\n${yml}  servers: [ 127.0.0.1:2:1 ]\n`, "f.yml")
    .pools[0]!.users;

const NOOP: Ask = { opcode: 0x0a };
const auth = (password: string): Ask => ({ opcode: 0x21, key: "PLAIN", value: `\0ann\0${password}` });

/** Statuses of the packets. */
function statuses(text: string): number[] {
  const found: number[] = [];
  for (let at = 0; at < text.length;) {
    const { said, end } = saidAt(text, at)!;
    found.push(said.status);
    at = end;
  }
  return found;
}

async function stand(yml: string) {
  const made = await TurnStand.make("memcached", 1, (work) => work(), `  users:\n${yml}`);
  const say = (client: WideClient, words: string) => {
    client.read.length = 0;
    client.socket.give(latin1(words));
    made.net.run();
    return client.read.map((bytes) => textOf(bytes)).join("");
  };
  return {
    made,
    say,
    reload: (users: string | null) =>
      made.pool.adopt({ ...made.pool.config, users: users === null ? null : usersOf(users) }),
  };
}

Deno.test("a reload lets in who waits if everybody may come in, ends who is gone, and leaves who is off", async () => {
  const { made, say, reload } = await stand(ANN);
  const [stranger, ann] = [made.join(), made.join()];
  strictEqual(say(stranger, "get a\r\n"), "CLIENT_ERROR unauthenticated\r\n");
  strictEqual(say(ann, LOGIN), "STORED\r\n");
  checkTimed(made.pool.board);
  reload(`${ANN}    - { name: default, nopass: true, ${ALL} }\n`);
  strictEqual(say(stranger, "mn\r\n"), "MN\r\n");
  strictEqual(say(ann, "mn\r\n"), "MN\r\n");
  // It has given no password, and there is one now; ann may not come in any more, and is here.
  reload("    - { name: ann, password: secret, rules: off }\n");
  made.net.run();
  strictEqual(stranger.socket.closed, true);
  strictEqual(say(ann, "mn\r\n"), "MN\r\n");
  strictEqual(say(made.join(), LOGIN), "CLIENT_ERROR authentication failure\r\n");
  reload(`    - { name: bob, password: secret, ${ALL} }\n`);
  made.net.run();
  strictEqual(ann.socket.closed, true);
  made.stop();
});

Deno.test("who hangs up while its login waits behind others of its address is gone", async () => {
  const { made, say } = await stand(ANN);
  const clients = Array.from({ length: 40 }, () => made.join());
  for (const client of clients) say(client, "set auth 0 0 10\r\nann guess!\r\n");
  const here = made.pool.clients.size;
  for (const client of clients.slice(30)) client.socket.end();
  made.net.run();
  strictEqual(made.pool.clients.size, here - 10);
  made.stop();
});

Deno.test("a login under way when nobody has to log in any more is answered, and its password becomes no value", async () => {
  const open = `    - { name: default, nopass: true, ${ALL} }\n`;
  const slow = `    - { name: ann, password_hash: "${await hashPassword("secret")}", ${ALL} }\n`;
  for (const after of [null, slow + open]) {
    const { made, say, reload } = await stand(slow);
    // One waits for the slow hash, of the others only a part has come; one says something else.
    const begun = [LOGIN, LOGIN.slice(0, 2), LOGIN.slice(0, 17), LOGIN.slice(0, 21), "m"];
    const clients = begun.map((words) => {
      const client = made.join();
      strictEqual(say(client, words), "");
      return client;
    });
    const requests = () => made.pool.servers[0]!.counters[REQUESTS]!;
    const before = requests();
    reload(after);
    clients.forEach((client, i) => {
      if (i === 0 || i === 4) return;
      strictEqual(say(client, LOGIN.slice(begun[i]!.length)), "STORED\r\n", begun[i]);
    });
    strictEqual(say(clients[4]!, "n\r\n"), "MN\r\n");
    const [first] = clients;
    while (first!.read.length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      made.net.pass(10);
    }
    strictEqual(first!.read.map((bytes) => textOf(bytes)).join(""), "STORED\r\n");
    for (const client of clients) strictEqual(say(client, "mn\r\n"), "MN\r\n");
    strictEqual(requests(), before);
    checkTimed(made.pool.board);
    made.stop();
  }
});

Deno.test("a SASL login under way when users go reads what a server without SASL says, and is forgotten", async () => {
  const slow = `    - { name: ann, password_hash: "${await hashPassword("secret")}", ${ALL} }\n`;
  const { made, say, reload } = await stand(slow);
  const client = made.join();
  strictEqual(say(client, packet(auth("secret"))), "");
  reload(null);
  const read = () => client.read.map((bytes) => textOf(bytes)).join("");
  while (client.read.length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    made.net.pass(10);
  }
  deepStrictEqual(statuses(read()), [0x81]);
  strictEqual(saidAt(read(), 0)!.said.value, "Unknown command");
  deepStrictEqual(statuses(say(client, packet(NOOP))), [0]);
  // That it was right says nothing of another password, later.
  reload(`${slow}    - { name: default, nopass: true, ${ALL} }\n`);
  say(client, packet(auth("wrong")));
  while (client.read.length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    made.net.pass(10);
  }
  deepStrictEqual(statuses(read()), [0x20]);
  made.stop();
});

Deno.test("with user_from a client is the user of its certificate, whatever it speaks, and what a reload leaves of it", async () => {
  const { made, say, reload } = await stand(`${ANN}    - { name: off, password: secret, rules: off }\n`);
  const failures = () => made.pool.counters[AUTH_FAILURES]!;
  const [text, binary, nobody, off, none] = [["ann"], ["no", "ann"], ["ghost"], ["off"], undefined].map((
    names,
  ) => made.join(names)) as WideClient[];
  strictEqual(failures(), 2);
  strictEqual(say(text!, "mn\r\n"), "MN\r\n");
  deepStrictEqual(statuses(say(binary!, packet(NOOP))), [0]);
  for (const client of [nobody!, off!, none!]) {
    strictEqual(say(client, "mn\r\n"), "CLIENT_ERROR unauthenticated\r\n");
    strictEqual(say(client, LOGIN), "STORED\r\n", "a password still logs in");
  }
  // A login that fails logs out, as on memcached; one that is right logs in.
  const other = made.join(["ann"]);
  deepStrictEqual(statuses(say(other, packet(auth("wrong")) + packet(auth("secret")) + packet(NOOP))), [
    0x20,
    0,
    0,
  ]);
  const out = made.join(["ann"]);
  deepStrictEqual(statuses(say(out, packet({ opcode: 0x22, key: "PLAIN", value: "" }) + packet(NOOP))), [
    0x20,
    0x20,
  ]);
  // Who may not come in any more, and has, goes on; whose user is gone does not.
  reload("    - { name: ann, password: other, rules: off }\n");
  made.net.run();
  strictEqual(say(text!, "mn\r\n"), "MN\r\n");
  strictEqual(say(made.join(["ann"]), "mn\r\n"), "CLIENT_ERROR unauthenticated\r\n");
  reload(`    - { name: bob, password: secret, ${ALL} }\n`);
  made.net.run();
  deepStrictEqual([text!.socket.closed, binary!.socket.closed], [true, true]);
  made.stop();
});
