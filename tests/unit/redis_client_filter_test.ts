/** Which clients the options of CLIENT LIST and CLIENT KILL mean, and what is wrong with those that mean nothing. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { ClientFilter, meets } from "../../src/protocol/redis/client_filter.ts";
import { clientLine, type ClientView } from "../../src/protocol/redis/client_view.ts";
import { textOf } from "../lib/bytes.ts";
import { scanned } from "../lib/scanned.ts";

function view(changes: Partial<ClientView> = {}): ClientView {
  return {
    id: 7,
    address: "10.0.0.1:5000",
    localAddress: "10.0.0.9:6379",
    name: "me",
    libName: "redis-py",
    libVersion: "5.0",
    ageSeconds: 20,
    idleSeconds: 10,
    flags: "N",
    capabilities: "",
    user: "default",
    db: 1,
    channels: 0,
    patterns: 0,
    shardChannels: 0,
    queued: -1,
    requestBytes: 0,
    replyBytes: 0,
    heldBytes: 0,
    receivedBytes: 3,
    sentBytes: 4,
    command: "get",
    redirect: -1,
    resp: 2,
    ...changes,
  };
}

/** The filter of the options, or the error that they deserve. */
function filterOf(options: string, kills = false): ClientFilter | string {
  const words = options === "" ? [] : options.split(" ");
  const { bytes, args } = scanned(words);
  const filter = new ClientFilter(kills, 16);
  for (let i = 0; i < args.count; i++) {
    const error = filter.take(bytes, args.starts[i]!, args.ends[i]!);
    if (error !== null) return textOf(error).trim();
  }
  const error = filter.finish();
  return error === null ? filter : textOf(error).trim();
}

function means(options: string, client: ClientView): boolean {
  const filter = filterOf(options);
  if (typeof filter === "string") throw new Error(`${options}: ${filter}`);
  return (filter.ids === null || filter.ids.has(client.id)) && !filter.notIds.has(client.id) &&
    meets(client, filter.conditions);
}

/** Options that mean the client of `view`, and such as do not. As Valkey 9.1 has them. */
const CASES: [options: string, changes: Partial<ClientView>, means: boolean][] = [
  ["", {}, true],
  ["TYPE normal", {}, true],
  ["type PUBSUB", {}, false],
  ["TYPE pubsub", { shardChannels: 1 }, true],
  ["TYPE normal", { patterns: 1 }, false],
  ["TYPE replica", {}, false],
  ["TYPE primary", {}, false],
  ["NOT-TYPE normal", {}, false],
  ["NOT-TYPE master", {}, true],
  ["USER default", {}, true],
  ["NOT-USER default", {}, false],
  ["ADDR 10.0.0.1:5000", {}, true],
  ["ADDR 10.0.0.1", {}, false],
  ["NOT-ADDR 10.0.0.1:5000", {}, false],
  ["LADDR 10.0.0.9:6379", {}, true],
  ["IP 10.0.0.1", {}, true],
  ["IP ::1", { address: "[::1]:5000" }, true],
  ["IP /run/a", { address: "/run/a:0" }, true],
  ["NOT-IP 10.0.0.2", {}, true],
  ["NAME me", {}, true],
  ["NAME Me", {}, false],
  ["NAME ", { name: "" }, false],
  ["NOT-NAME ", { name: "" }, true],
  ["NOT-NAME me", {}, false],
  ["LIB-NAME redis-py LIB-VER 5.0", {}, true],
  ["LIB-NAME redis-py LIB-VER 5.1", {}, false],
  ["NOT-LIB-NAME x NOT-LIB-VER 5.0", {}, false],
  ["FLAGS N", {}, true],
  ["FLAGS PN", { flags: "P" }, false],
  ["FLAGS tPt", { flags: "Pt" }, true],
  ["FLAGS ", {}, true],
  ["NOT-FLAGS N", {}, false],
  ["CAPA r", {}, false],
  ["CAPA r", { capabilities: "r" }, true],
  ["NOT-CAPA r", {}, true],
  ["DB 1", {}, true],
  ["NOT-DB 1", {}, false],
  ["MAXAGE 20", {}, true],
  ["MAXAGE 21", {}, false],
  ["IDLE 10", {}, true],
  ["IDLE 11", {}, false],
  ["ID 7", {}, true],
  ["ID 5 6 7", {}, true],
  ["ID 5 6", {}, false],
  ["ID 0", {}, false],
  ["ID 5 NAME me ID 7", {}, true],
  ["ID 7 NOT-ID 7", {}, false],
  ["NOT-ID 1 2 NAME me", {}, true],
  ["NAME you NAME me", {}, true],
];

Deno.test("ClientFilter means the clients that Valkey means", () => {
  for (const [options, changes, expected] of CASES) {
    strictEqual(means(options, view(changes)), expected, `${options} ${JSON.stringify(changes)}`);
  }
});

Deno.test("ClientFilter says what is wrong", () => {
  const syntax = "-ERR syntax error";
  const wrong: [options: string, list: string, kill?: string][] = [
    ["NOSUCH x", syntax],
    ["TYPE", syntax],
    ["TYPE x", "-ERR Unknown client type 'x'"],
    ["TYPE normal x", syntax],
    ["ID", syntax],
    ["ID x", "-ERR Invalid client ID", "-ERR client-id should be greater than 0"],
    ["ID 1 x", "-ERR Invalid client ID", syntax],
    ["ID 99999999999999999999", "-ERR Invalid client ID", "-ERR client-id should be greater than 0"],
    ["USER nobody", "-ERR No such user 'nobody'"],
    ["SKIPME", syntax],
    ["SKIPME maybe", syntax],
    ["NOT-SKIPME yes", syntax],
    ["NOT-MAXAGE 1", syntax],
    ["MAXAGE 0", "-ERR maxage should be greater than 0"],
    ["MAXAGE x", "-ERR maxage is not an integer or out of range"],
    ["IDLE -1", "-ERR idle should be greater than 0"],
    ["DB 16", "-ERR DB number should be between 0 and 15"],
    ["DB x", "-ERR DB is not an integer or out of range"],
    ["FLAGS Q", "-ERR Unknown flags found in the provided filter: Q"],
    ["CAPA q", "-ERR Unknown capa found in the provided filter: q"],
  ];
  for (const [options, list, kill = list] of wrong) {
    strictEqual(filterOf(options), list, `LIST ${options}`);
    strictEqual(filterOf(options, true), kill, `KILL ${options}`);
  }
  strictEqual(filterOf("ID 0", true), "-ERR client-id should be greater than 0");
});

Deno.test("ClientFilter keeps little of long or repeated options", () => {
  const long = filterOf(`NAME ${"x".repeat(1_000_000)} FLAGS ${"N".repeat(1_000_000)}`) as ClientFilter;
  ok(JSON.stringify(long.conditions).length < 20_000);
  const many = filterOf(Array.from({ length: 10_000 }, (_, i) => `NAME n${i}`).join(" ")) as ClientFilter;
  deepStrictEqual(many.conditions, [["NAME", false, "n9999"]]);
});

Deno.test("clientLine() has every field of Redis 7, each once", () => {
  const line = clientLine(view({ replyBytes: 5 }));
  ok(line.endsWith("\n") && !line.slice(0, -1).includes("\n"));
  const names = line.trim().split(" ").map((field) => field.split("=")[0]!);
  strictEqual(new Set(names).size, names.length);
  const redis7 =
    "id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem multi-mem rbs " +
    "rbp obl oll omem tot-mem events cmd user redir resp";
  deepStrictEqual(redis7.split(" ").filter((name) => !names.includes(name)), []);
});
