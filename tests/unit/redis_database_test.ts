import assert from "node:assert/strict";
import { resolve } from "../../src/protocol/redis/commands.ts";
import { shiftDatabases } from "../../src/protocol/redis/database.ts";
import { latin1, request, textOf } from "../lib/bytes.ts";
import { scanned } from "../lib/scanned.ts";

function shifted(line: string, databases: number, shift: number): string | null {
  const { bytes, args } = scanned(line.split(" "));
  const made = shiftDatabases(resolve(bytes, args)!, bytes, args, databases, shift);
  if (made.error !== null) return textOf(made.error);
  if (made.request === null) return null;
  const words = Array.from(
    { length: args.count },
    (_, i) => textOf(made.request!.subarray(args.starts[i]!, args.ends[i]!)),
  );
  assert.deepEqual(made.request, request(...words.map(latin1)));
  return words.join(" ");
}

Deno.test("shiftDatabases() moves what MOVE and COPY name by redis_db, and checks it", () => {
  const range = "-ERR DB index is out of range\r\n";
  const cases: [string, number, string | null][] = [
    ["move k 3", 0, null],
    ["move k 3", 8, "move k 11"],
    ["move k 4", 0, range],
    ["move k -1", 8, range],
    ["move k x", 8, "-ERR value is not an integer or out of range\r\n"],
    ["copy db db", 8, null],
    ["copy a b replace", 8, null],
    ["copy a b db", 8, null],
    ["copy a b DB 1 replace", 8, "copy a b DB 9 replace"],
    ["copy a b replace db 1 Db 2", 8, "copy a b replace db 9 Db 10"],
    ["copy a b db 4", 0, range],
    ["copy a b db 4 db 1", 0, range],
  ];
  for (const [line, shift, expected] of cases) assert.equal(shifted(line, 4, shift), expected, line);
});
