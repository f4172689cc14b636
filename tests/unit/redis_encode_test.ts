import { strictEqual } from "node:assert/strict";
import { bulk, command, commandHead, commandOf } from "../../src/protocol/redis/encode.ts";
import { latin1, textOf } from "../lib/bytes.ts";

Deno.test("command() writes texts byte by byte, numbers and bytes", () => {
  strictEqual(
    textOf(command("SET", "ÿ", 1200, latin1("\r\n"))),
    "*4\r\n$3\r\nSET\r\n$1\r\nÿ\r\n$4\r\n1200\r\n$2\r\n\r\n\r\n",
  );
  strictEqual(textOf(command("PING")), "*1\r\n$4\r\nPING\r\n");
});

Deno.test("commandHead() is where the rest can follow, bulk() is one word of it", () => {
  const whole = textOf(commandHead(3, "SCRIPT", "LOAD")) + textOf(bulk("return 1"));
  strictEqual(whole, textOf(command("SCRIPT", "LOAD", "return 1")));
  strictEqual(textOf(bulk("")), "$0\r\n\r\n");
});

Deno.test("commandOf() takes a million words", () => {
  const words = new Array<string>(1_000_000).fill("k");
  strictEqual(commandOf(words).length, "*1000000\r\n".length + 7 * words.length);
});
