/** Clients of a memcached pool with users, when a reload changes who may come in. */
import { strictEqual } from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import { latin1, textOf } from "../lib/bytes.ts";
import { TurnStand, type WideClient } from "../lib/turn_stand.ts";

const ALL = 'rules: "+@all ~* &*"';
const ANN = `    - { name: ann, password: secret, ${ALL} }\n`;
const LOGIN = "set auth 0 0 10\r\nann secret\r\n";

const usersOf = (yml: string) =>
  parseConfig(`alpha:\n  listen: 127.0.0.1:1\n  users:\n${yml}  servers: [ 127.0.0.1:2:1 ]\n`, "f.yml")
    .pools[0]!.users;

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
    reload: (users: string) => made.pool.adopt({ ...made.pool.config, users: usersOf(users) }),
  };
}

Deno.test("a reload lets in who waits if everybody may come in, ends who is gone, and leaves who is off", async () => {
  const { made, say, reload } = await stand(ANN);
  const [stranger, ann] = [made.join(), made.join()];
  strictEqual(say(stranger, "get a\r\n"), "CLIENT_ERROR unauthenticated\r\n");
  strictEqual(say(ann, LOGIN), "STORED\r\n");
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
