import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { findClashes, type HostNames, namesToResolve } from "../../src/config/listens.ts";
import { readListen } from "../../src/config/values.ts";
import type { Address } from "../../src/net/net.ts";

function addressOf(text: string): Address {
  const read = readListen(text);
  assert.ok("value" in read, text);
  return read.value.address;
}

function clashes(texts: readonly string[], names?: HostNames): string[] {
  return findClashes(texts, addressOf, names).map(({ first, second }) => `${second} = ${first}`);
}

const NAMES: HostNames = new Map([
  ["box", ["10.0.0.5"]],
  ["box.example", ["10.0.0.5", "fe80::1"]],
  ["other", ["10.0.0.6"]],
]);

const SAME: readonly (readonly [string, string])[] = [
  ["127.0.0.1:1", "127.0.0.1:1"],
  ["127.0.0.1:1", "127.0.0.1:01"],
  ["127.0.0.1:1", "localhost:1"],
  ["LocalHost.:1", "[::1]:1"],
  ["127.0.0.1:1", "0.0.0.0:1"],
  ["127.0.0.1:1", "0:1"],
  ["127.0.0.1:1", "[::]:1"],
  ["127.0.0.1:1", "127.1:1"],
  ["127.0.0.1:1", "2130706433:1"],
  ["127.0.0.1:1", "0x7F000001:1"],
  ["127.0.0.1:1", "::ffff:127.0.0.1:1"],
  ["0.0.0.0:1", "[::]:1"],
  ["localhost:1", "[::]:1"],
  ["localhost:1", "0.0.0.0:1"],
  ["[::1]:1", "[0:0:0:0:0:0:0:1]:1"],
  ["[FE80::1%eth0]:1", "[fe80:0::1%eth0]:1"],
  ["[::1]:1", "[::]:1"],
  ["box:1", "BOX:1"],
  ["box:1", "10.0.0.5:1"],
  ["box:1", "box.example:1"],
  ["box:1", "0.0.0.0:1"],
  ["nowhere:1", "nowhere.:1"],
  ["/x", "/x 0600"],
  ["/x", "/y/../x"],
  ["/x", "//x"],
];

const APART: readonly (readonly [string, string])[] = [
  ["127.0.0.1:1", "127.0.0.1:2"],
  ["127.0.0.1:1", "127.0.0.2:1"],
  ["127.0.0.1:1", "[::1]:1"],
  ["0.0.0.0:1", "[::1]:1"],
  ["0.0.0.0:1", "[fe80::1]:1"],
  ["0.0.0.0:1", "0.0.0.0:2"],
  ["localhost:1", "127.0.0.2:1"],
  ["[fe80::1%eth0]:1", "[fe80::1%eth1]:1"],
  ["box:1", "other:1"],
  ["nowhere:1", "elsewhere:1"],
  ["nowhere:1", "127.0.0.1:1"],
  ["/x", "/y"],
];

Deno.test("findClashes() finds two on one address however it is written, in either order", () => {
  for (const [a, b] of SAME) {
    assert.deepEqual(clashes([a, b], NAMES), [`${b} = ${a}`]);
    assert.deepEqual(clashes([b, a], NAMES), [`${a} = ${b}`]);
    // Others in between, on other ports and addresses, change nothing.
    assert.deepEqual(clashes([a, "10.1.1.1:7", "/z", b], NAMES), [`${b} = ${a}`]);
  }
  for (const [a, b] of APART) {
    assert.deepEqual(clashes([a, b], NAMES), [], `${a} ${b}`);
    assert.deepEqual(clashes([b, a], NAMES), [], `${b} ${a}`);
  }
});

Deno.test("findClashes() tells of each but the first", () => {
  assert.deepEqual(clashes(["127.0.0.1:1", "127.0.0.2:1", "0.0.0.0:1", "localhost:1"]), [
    "0.0.0.0:1 = 127.0.0.1:1",
    "localhost:1 = 127.0.0.1:1",
  ]);
});

Deno.test("findClashes() knows unix sockets by their real path", () => {
  const dir = mkdtempSync(`${tmpdir()}/ringmaster-`);
  try {
    mkdirSync(`${dir}/real`);
    symlinkSync(`${dir}/real`, `${dir}/link`);
    assert.deepEqual(clashes([`${dir}/real/s`, `${dir}/link/s`]).length, 1);
    assert.deepEqual(clashes([`${dir}/real/s`, `${dir}/link/t`, `${dir}/nowhere/s`]), []);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

Deno.test("namesToResolve() names what shares a port, and is neither an address nor localhost", () => {
  const texts = ["Box:1", "10.0.0.5:1", "localhost:1", "alone:2", "[::1]:3", "other.:3", "/x"];
  assert.deepEqual(namesToResolve(texts.map(addressOf)), ["box", "other"]);
});
