/** SCAN's cursors while servers come and go: what stays is walked whole, each server once, in the order of their numbers. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { encode, latin1 } from "../../src/bytes/ascii.ts";
import { Args } from "../../src/protocol/redis/args.ts";
import { RequestResume, scanRequest } from "../../src/protocol/redis/request.ts";
import {
  placeOf,
  readCursor,
  scanReplyFrom,
  type ScanServers,
  scanServersOf,
} from "../../src/protocol/redis/scan_cursor.ts";

const LIMITS = { requestSizeMax: 1e6, argumentsMax: 100 };

/** The cursor that clients see after the server `number` has answered with its own. */
function after(cursor: string, number: number, servers: ScanServers): string {
  const reply = encode(`*2\r\n$${cursor.length}\r\n${cursor}\r\n*0\r\n`);
  return latin1(scanReplyFrom(reply, 0, reply.length, number, servers)).split("\r\n")[2]!;
}

function place(cursor: string, servers: ScanServers) {
  const bytes = encode(`*2\r\n$4\r\nSCAN\r\n$${cursor.length}\r\n${cursor}\r\n`);
  const args = new Args();
  strictEqual(scanRequest(bytes, 0, bytes.length, args, LIMITS, new RequestResume()), bytes.length);
  return placeOf(readCursor(bytes, args)!, servers);
}

const three: ScanServers = { numbers: [0, 1, 2], alone: -1, several: true };

Deno.test("a cursor names its server, and one server's end is the next one's beginning", () => {
  deepStrictEqual(place("0", three), { number: 0, cursor: "0" });
  deepStrictEqual(place(after("17", 1, three), three), { number: 1, cursor: "17" });
  deepStrictEqual(place(after("0", 1, three), three), { number: 2, cursor: "0" });
  strictEqual(after("0", 2, three), "0");
  // 2^35 buckets are more than a machine has; doubles still count there.
  const large = after(String(2 ** 35), 2, three);
  ok(Number.isSafeInteger(Number(large)));
  deepStrictEqual(place(large, three), { number: 2, cursor: String(2 ** 35) });
});

Deno.test("a server that has gone is passed over, and a new one is walked last", () => {
  const cursor = after("17", 1, three);
  const without = { ...three, numbers: [0, 2, 7] };
  deepStrictEqual(place(cursor, without), { number: 2, cursor: "0" });
  deepStrictEqual(place(after("0", 2, without), without), { number: 7, cursor: "0" });
  strictEqual(place(after("5", 2, three), { ...three, numbers: [0, 1] }), null);
  // The order in the configuration does not matter: the numbers are what they were.
  deepStrictEqual(place(cursor, { ...three, numbers: [1, 2] }), { number: 1, cursor: "17" });
});

Deno.test("a pool of one server shows its cursors as they are, and goes on with them when it gets more", () => {
  const one: ScanServers = { numbers: [4], alone: 4, several: false };
  strictEqual(after("18446744073709551615", 4, one), "18446744073709551615");
  deepStrictEqual(place("12", one), { number: 4, cursor: "12" });
  const more: ScanServers = { numbers: [4, 5], alone: 4, several: true };
  deepStrictEqual(place("12", more), { number: 4, cursor: "12" });
  // Its only server was replaced: whatever was walked is gone.
  deepStrictEqual(place("12", { ...more, numbers: [5, 6] }), { number: 5, cursor: "0" });
  // Back to one: cursors of the time between are read on.
  const again = { ...more, numbers: [4] };
  deepStrictEqual(place(after("12", 4, more), again), { number: 4, cursor: "12" });
  strictEqual(place(after("12", 5, more), again), null);
});

Deno.test("a cursor of ours is read on by a pool of one server that is not known to have had several", () => {
  // A worker that was replaced after the pool had shrunk knows nothing of the time before.
  const fresh = scanServersOf([4], null);
  const before: ScanServers = { numbers: [4, 5], alone: -1, several: true };
  deepStrictEqual(place(after("12", 4, before), fresh), { number: 4, cursor: "12" });
  strictEqual(place(after("12", 5, before), fresh), null);
});

Deno.test("scanServersOf() remembers an only server, and that there were several", () => {
  const one = scanServersOf([4], null);
  deepStrictEqual(one, { numbers: [4], alone: 4, several: false });
  const two = scanServersOf([7, 4], one);
  deepStrictEqual(two, { numbers: [4, 7], alone: 4, several: true });
  deepStrictEqual(scanServersOf([7], two), { numbers: [7], alone: 7, several: true });
});
