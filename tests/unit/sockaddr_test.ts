import { strictEqual } from "node:assert/strict";
import { v6Text } from "../../src/runtime/sockaddr.ts";

const CASES: Record<string, number[]> = {
  "::": [0, 0, 0, 0, 0, 0, 0, 0],
  "::1": [0, 0, 0, 0, 0, 0, 0, 1],
  "1::": [1, 0, 0, 0, 0, 0, 0, 0],
  "2001:db8::1": [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1],
  "2001:db8::1:0:0:1": [0x2001, 0xdb8, 0, 0, 1, 0, 0, 1],
  "1:0:0:2::3": [1, 0, 0, 2, 0, 0, 0, 3],
  "fe80::a0b:0:10": [0xfe80, 0, 0, 0, 0, 0xa0b, 0, 0x10],
  "1:2:3:4:5:6:7:8": [1, 2, 3, 4, 5, 6, 7, 8],
  "10:0:20:0:30:0:40:0": [0x10, 0, 0x20, 0, 0x30, 0, 0x40, 0],
};

for (const [text, groups] of Object.entries(CASES)) {
  Deno.test(`v6Text() writes ${text}`, () => {
    const view = new DataView(new ArrayBuffer(28));
    groups.forEach((group, i) => view.setUint16(8 + 2 * i, group));
    strictEqual(v6Text(view), text);
  });
}
