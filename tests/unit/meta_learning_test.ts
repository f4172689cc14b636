/** What a connection's server can is asked once, for all who wait for it, and again if it could not be learned. */
import assert from "node:assert/strict";
import { LACKS_META, learnMeta } from "../../src/memcached/meta_learning.ts";
import type { Internal } from "../../src/proxy/request.ts";
import type { ServerConnection } from "../../src/proxy/server_connection.ts";
import { latin1, textOf } from "../lib/bytes.ts";

/** A connection that only notes what is asked on it. */
class Asked {
  reached = -1;
  readonly tail = { check: 0 };
  readonly lines: string[] = [];
  private readonly waiting: Internal[] = [];

  ask(bytes: Uint8Array, done: Internal): void {
    this.lines.push(textOf(bytes));
    this.waiting.push(done);
  }

  says(reply: string, failed = false): void {
    const bytes = latin1(`?${reply}`);
    this.waiting.shift()!(bytes, 1, bytes.length, failed);
  }
}

function learning(clients: number): { asked: Asked; heard: string[]; more: () => void } {
  const asked = new Asked();
  const heard: string[] = [];
  const more = () =>
    learnMeta(
      asked as unknown as ServerConnection,
      (error) => heard.push(error === null ? "known" : textOf(error)),
    );
  for (let i = 0; i < clients; i++) more();
  return { asked, heard, more };
}

Deno.test("learnMeta() asks once for all who wait", () => {
  const { asked, heard } = learning(3);
  assert.deepEqual(asked.lines, ["mn\r\n", "stats settings\r\n"]);
  asked.says("MN\r\n");
  assert.deepEqual(heard, []);
  asked.says("STAT maxbytes 5\r\nSTAT item_size_max 2048\r\nEND\r\n");
  assert.deepEqual([asked.reached, heard], [2048, ["known", "known", "known"]]);
});

Deno.test("learnMeta(): ERROR to mn says that there are no meta commands; settings may say nothing", () => {
  const old = learning(1).asked;
  old.says("ERROR\r\n");
  old.says("STAT maxbytes 5\r\nEND\r\n");
  assert.equal(old.reached, LACKS_META);
  const silent = learning(1).asked;
  silent.says("MN\r\n");
  silent.says("END\r\n");
  assert.equal(silent.reached, Infinity);
});

Deno.test("learnMeta(): what could not be learned is told to all, and asked again", () => {
  for (
    const [first, second, failed, told] of [
      ["MN\r\n", "SERVER_ERROR gone\r\n", true, "SERVER_ERROR gone\r\n"],
      ["SERVER_ERROR busy\r\n", "STAT x 1\r\nEND\r\n", false, "SERVER_ERROR busy\r\n"],
      ["SERVER_ERROR gone\r\n", "SERVER_ERROR gone\r\n", true, "SERVER_ERROR gone\r\n"],
    ] as const
  ) {
    const { asked, heard, more } = learning(2);
    asked.says(first, failed && first[0] === "S");
    asked.says(second, failed);
    assert.deepEqual([asked.reached, heard], [-1, [told, told]]);
    more();
    assert.equal(asked.lines.length, 4);
    asked.says("MN\r\n");
    asked.says("STAT item_size_max 9\r\nEND\r\n");
    assert.deepEqual([asked.reached, heard[2]], [9, "known"]);
  }
});
