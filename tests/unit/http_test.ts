import { strictEqual } from "node:assert/strict";
import { isHttpWord } from "../../src/protocol/http.ts";
import { latin1 } from "../lib/bytes.ts";

Deno.test("isHttpWord() knows what redis-server hangs up at", () => {
  const yes = ["POST", "post", "PoSt", "Host:", "HOST:", "host:", "post\0x", "Host:\0"];
  const no = ["", "GET", "POS", "POSTS", "Host", "Host:x", "\0POST", "pos\0t", "put"];
  for (const word of [...yes, ...no]) {
    const bytes = latin1(`xx${word}xx`);
    strictEqual(isHttpWord(bytes, 2, 2 + word.length), yes.includes(word), JSON.stringify(word));
  }
});
