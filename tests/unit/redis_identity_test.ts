import assert from "node:assert/strict";
import {
  type Identity,
  identityFromHello,
  identityFromInfo,
  poolIdentity,
  redisVersion,
  UNKNOWN,
} from "../../src/protocol/redis/identity.ts";
import { latin1 } from "../lib/bytes.ts";

const bulk = (text: string) => `$${text.length}\r\n${text}\r\n`;

function hello(server: string, version: string, ...modules: string[]): string {
  return `*14\r\n${bulk("server")}${bulk(server)}${bulk("version")}${bulk(version)}${bulk("proto")}:2\r\n${
    bulk("id")
  }:7\r\n` +
    `${bulk("mode")}${bulk("standalone")}${bulk("role")}${bulk("replica")}${
      bulk("modules")
    }*${modules.length}\r\n` +
    modules.map((name) =>
      [
        "*8\r\n",
        bulk("name"),
        bulk(name),
        bulk("ver"),
        ":3\r\n",
        bulk("path"),
        bulk("/a b"),
        bulk("args"),
        "*2\r\n",
      ]
        .join("") + bulk("name") + bulk("1")
    ).join("");
}

function fromHello(reply: string): Identity | null {
  const bytes = latin1(`junk${reply}junk`);
  return identityFromHello(bytes, 4, 4 + reply.length);
}

Deno.test("identityFromHello() and identityFromInfo() read what servers say of themselves", () => {
  const vectorset = { name: "vectorset", version: 3, path: "/a b", args: ["name", "1"] };
  assert.deepEqual(fromHello(hello("redis", "8.6.3", "vectorset")), {
    server: "redis",
    version: "8.6.3",
    role: "replica",
    modules: [vectorset],
  });
  assert.deepEqual(fromHello(hello("redis", "8.6.3", "a", "vectorset"))!.modules, [{
    ...vectorset,
    name: "a",
  }, vectorset]);
  const old = hello("redis", "6.2.0").replace(
    /\*0\r\n$/,
    `*1\r\n*4\r\n${bulk("name")}${bulk("m")}${bulk("ver")}:9\r\n`,
  );
  assert.deepEqual(fromHello(old)!.modules, [{ name: "m", version: 9, path: null, args: [] }]);
  assert.deepEqual(fromHello(hello("valkey", "9.1.2"))!.modules, []);
  for (
    const other of [
      "-NOAUTH HELLO must be called\r\n",
      "*0\r\n",
      "+OK\r\n",
      bulk("server"),
      "*2\r\n:1\r\n:2\r\n",
    ]
  ) {
    assert.equal(fromHello(other), null, other);
  }
  const info = (text: string) => identityFromInfo(latin1(text), 0, text.length);
  assert.deepEqual(info(bulk("# Server\r\nredis_version:5.0.14\r\n# Replication\r\nrole:slave\r\n")), {
    server: "redis",
    version: "5.0.14",
    role: "replica",
    modules: [],
  });
  assert.equal(info(bulk("# Server\r\n")), null);
  assert.equal(info("-NOAUTH x\r\n"), null);
});

Deno.test("poolIdentity(): what all servers can do, and none made up", () => {
  const of = (server: string, version: string, ...names: string[]): Identity => {
    return {
      server,
      version,
      role: "replica",
      modules: names.map((name) => ({ name, version: 1, path: "", args: [] })),
    };
  };
  const redis8 = of("redis", "8.6.3", "vectorset", "a");
  const valkey9 = of("valkey", "9.1.2", "lua", "a");
  const valkey8 = of("valkey", "8.1.1", "a");
  assert.deepEqual(poolIdentity([], 3), UNKNOWN);
  assert.deepEqual(poolIdentity([redis8], 1), redis8);
  assert.deepEqual(poolIdentity([redis8], 2), { ...redis8, role: "master" });
  assert.deepEqual(poolIdentity([redis8, valkey9, valkey8], 3), { ...valkey8, role: "master" });
  assert.deepEqual(poolIdentity([redis8, valkey9], 2), {
    ...valkey9,
    role: "master",
    modules: [{ name: "a", version: 1, path: "", args: [] }],
  });
  assert.equal(redisVersion(valkey9), "7.2.4");
  assert.equal(redisVersion(redis8), "8.6.3");
});
