/** What the admin side's answers show of a configuration, and its table of routes. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { config, MASK } from "../../src/admin/config.ts";
import type { Whole } from "../../src/admin/answer.ts";
import type { Around } from "../../src/admin/around.ts";
import { readyz } from "../../src/admin/health.ts";
import { Kept } from "../../src/admin/kept.ts";
import { metrics } from "../../src/admin/metrics.ts";
import { pools, replicasOf } from "../../src/admin/pools.ts";
import { adminRefusal } from "../../src/admin/side.ts";
import { findRoute, ROUTES } from "../../src/admin/routes.ts";
import type { Config, ServerConfig } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import {
  ADMIN_TLS_KEYS,
  KEYS,
  POOL_KEYS,
  PROCESS_KEYS,
  SERVER_TLS_KEYS,
  TLS_KEYS,
} from "../../src/config/schema.ts";
import { EJECTED } from "../../src/stats/board.ts";
import { changeOf } from "../../src/topology/change.ts";
import type { ReplicaHealth } from "../../src/topology/state.ts";
import { endpoint, state } from "../lib/scripted_keeper.ts";
import { TurnNet } from "../lib/turn_net.ts";
import { bodyOf, ReloadsAtOnce, TURNS } from "../lib/turns.ts";
import { wideRedisServer } from "../lib/wide_servers.ts";
import { quietProxy } from "../lib/quiet_proxy.ts";

const shown = async (yml: string): Promise<string> => {
  const around = { clock: { wallMs: () => 0 }, turns: TURNS, config: parseConfig(yml, "x.yml") };
  return bodyOf(await config(around as unknown as Around));
};

Deno.test("/api/config masks every secret of the table, and shows every other key", async () => {
  const secrets = POOL_KEYS.filter((key) => key.secret).map((key) => key.name);
  ok(secrets.length >= 2);
  // Each where it may stand; what it needs beside it.
  const beside: Record<string, string> = {
    sentinel_auth: "  failover: sentinel\n  sentinels: [ 127.0.0.1:1 ]\n",
  };
  for (const name of secrets) {
    const servers = name === "sentinel_auth" ? "[ { name: m, master: m } ]" : "[ 127.0.0.1:1:1 ]";
    const body = await shown(
      `p:\n  listen: 127.0.0.1:2\n  redis: true\n  ${name}: ${
        name === "server_auth" ? "{ password: hunter2 }" : "hunter2"
      }\n${beside[name] ?? ""}  servers: ${servers}\n`,
    );
    ok(!body.includes("hunter2"), `${name}: ${body}`);
    strictEqual(JSON.parse(body).pools[0][name], MASK);
  }
  const { ringmaster, pools: [pool] } = JSON.parse(
    await shown("p:\n  listen: 127.0.0.1:2\n  servers: [ 127.0.0.1:1:1 ]\n"),
  );
  deepStrictEqual(Object.keys(pool).slice(1), POOL_KEYS.map((key) => key.name));
  deepStrictEqual(Object.keys(ringmaster), PROCESS_KEYS.map((key) => key.name));
  deepStrictEqual(
    [pool.listen, pool.dangerous_commands, pool.timeout, pool.redis_auth, pool.servers[0].address],
    ["127.0.0.1:2", "deny", 0, null, "127.0.0.1:1"],
  );
});

Deno.test("/api/config shows tls, server_tls and admin_tls by their keys: of files their paths", async () => {
  const directory = "/etc/ringmaster";
  const yml = `ringmaster:
  admin_tls: { certificate: ${directory}/server.pem, key: ${directory}/server.key }
p:
  listen: 127.0.0.1:2
  tls:
    certificate: ${directory}/server.pem
    key: ${directory}/server.key
    ca: ${directory}/ca.pem
    client_certificates: optional
    min_version: "1.3"
    handshake_timeout: 1234
    sni: [ { certificate: ${directory}/other.pem, key: ${directory}/other.key } ]
  server_tls: { ca: ${directory}/ca.pem, name: redis.test, verify: full, certificate: ${directory}/client.pem, key: ${directory}/client.key }
  servers: [ 127.0.0.1:1:1 ]
`;
  const body = await shown(yml);
  const { ringmaster, pools: [pool] } = JSON.parse(body);
  deepStrictEqual(
    [pool.tls, pool.server_tls, ringmaster.admin_tls].map(Object.keys),
    [TLS_KEYS, SERVER_TLS_KEYS, ADMIN_TLS_KEYS].map((keys) => keys.map(({ name }) => name)),
  );
  deepStrictEqual(
    [pool.tls.key, pool.tls.client_certificates, pool.tls.min_version, pool.tls.handshake_timeout],
    [`${directory}/server.key`, "optional", "1.3", 1234],
  );
  deepStrictEqual(pool.tls.sni, [{ certificate: `${directory}/other.pem`, key: `${directory}/other.key` }]);
  deepStrictEqual([pool.server_tls.name, pool.server_tls.verify], ["redis.test", "full"]);
});

Deno.test("the table of keys says of every password that it is secret", () => {
  for (const key of KEYS) {
    if (!/auth|password|secret|token$/.test(key.name) && key.type !== "credentials") continue;
    // Where a secret is, is none.
    if (key.name.endsWith("_file")) continue;
    ok(key.secret, `${key.name}: secret: true, or answers and error messages show it`);
  }
});

Deno.test("adminRefusal() refuses a flag's address that others can reach, without a token", () => {
  const file = parseConfig("p:\n  listen: 127.0.0.1:2\n  servers: [ 127.0.0.1:1:1 ]\n", "x.yml");
  const refusal = (host: string, adminToken: string | null = null) =>
    adminRefusal({ ...file, process: { ...file.process, adminToken } }, {
      address: { host, port: 1 },
      text: host,
    });
  for (const host of ["127.0.0.1", "127.1.2.3", "::1", "LOCALHOST"]) strictEqual(refusal(host), null, host);
  for (const host of ["0.0.0.0", "::", "10.0.0.1", "localhost.evil.test", "127.0.0.1.evil.test", "127.1"]) {
    match(refusal(host) ?? "", /without a token/, host);
    strictEqual(refusal(host, "a-token-of-some-length"), null, host);
  }
  strictEqual(adminRefusal(file, null), null);
  strictEqual(adminRefusal(file, { address: null, text: "off" }), null);
});

Deno.test("findRoute() finds a path with its names, says which methods a path has, and nothing else", () => {
  for (const { method, path } of ROUTES) {
    const found = findRoute(method, path.replaceAll("NAME", "a%2Fb"));
    ok(found !== null && "route" in found, path);
    if (path.includes("NAME")) strictEqual(found.names["NAME"], "a/b");
    const other = findRoute("DELETE", path);
    ok(other !== null && "allow" in other && other.allow.includes(method), path);
  }
  ok("route" in findRoute("HEAD", "/api/pools")!);
  for (
    const path of [
      "/api/",
      "/API",
      "/api/pools/",
      "//api",
      "/../api",
      "/api/servers/%ff/eject",
      "/constructor",
    ]
  ) {
    strictEqual(findRoute("GET", path), null, path);
  }
});

Deno.test("ROUTES: each method and path once, lines that fit, changes by POST alone", () => {
  const all = ROUTES.map(({ method, path }) => `${method} ${path}`);
  strictEqual(new Set(all).size, all.length);
  for (const { about } of ROUTES) match(about, /^[^A-Z].*[^.]$/);
});

Deno.test("/readyz: not while no worker answers", async () => {
  const config = parseConfig("p:\n  listen: 127.0.0.1:1\n  servers: [127.0.0.1:2:1]\n", "x.yml");
  const seen = (answers: unknown[]) => ({
    phase: "serving",
    config,
    service: { board: { pools: [{ servers: [{ isOff: false }] }] }, gather: () => Promise.resolve(answers) },
  });
  const ready = async (answers: unknown[]) =>
    (await readyz(seen(answers) as unknown as Around) as Whole).status;
  deepStrictEqual(await ready([]), 503);
  deepStrictEqual(await ready([{ worker: 0, answer: [] }]), 200);
});

Deno.test("/readyz: a server is down as far as those workers say that have tried it", async () => {
  const config = parseConfig("p:\n  listen: 127.0.0.1:1\n  servers: [127.0.0.1:2:1]\n", "x.yml");
  const ready = async (...workers: (readonly [down: boolean, tried: boolean])[]) => {
    const answers = workers.map(([down, tried], worker) => ({
      worker,
      answer: [{ pool: "p", server: "127.0.0.1:2", down, tried }],
    }));
    const service = {
      board: { pools: [{ servers: [{ isOff: false }] }] },
      gather: () => Promise.resolve(answers),
    };
    return (await readyz({ phase: "serving", config, service } as unknown as Around) as Whole).status;
  };
  strictEqual(await ready([false, false], [false, false]), 200);
  strictEqual(await ready([true, false], [false, false]), 503);
  strictEqual(await ready([true, false], [false, true]), 200);
  // The next connection is being made.
  strictEqual(await ready([true, true], [true, true]), 503);
});

Deno.test("/readyz: not while no node of a cluster has been heard", async () => {
  const yml = "p:\n  listen: 127.0.0.1:1\n  redis: true\n  cluster: true\n  servers: [127.0.0.1:2]\n";
  const parsed = parseConfig(yml, "x.yml");
  const answer = [{ pool: "p", server: "127.0.0.1:2", down: false }];
  const service = {
    board: { pools: [{ servers: [{ isOff: false }] }] },
    gather: () => Promise.resolve([{ worker: 0, answer }]),
  };
  const ready = async (config: unknown) => {
    const said = await readyz({ phase: "serving", config, service } as unknown as Around) as Whole;
    return [said.status, await bodyOf(said)];
  };
  deepStrictEqual(await ready(parsed), [503, "pool p has no live server\n"]);
  const [pool] = parsed.pools;
  const heard = { ...pool!, servers: pool!.servers.map((server) => ({ ...server, slots: "0-16383" })) };
  deepStrictEqual(await ready({ ...parsed, pools: [heard] }), [200, "ready\n"]);
});

/** A proxy that nobody asks anything, and what an answer is made of; the next turn is the first of `due`. */
function standing(config: Config) {
  const due: (() => void)[] = [];
  const clock = {
    nowMs: () => 1,
    wallMs: () => 1,
    setTimer: (_: number, run: () => void) => due.push(run),
  };
  const net = new TurnNet(wideRedisServer, (work) => work());
  const turns = new ReloadsAtOnce(clock as unknown as Around["clock"]);
  const proxy = quietProxy(net, config, { turns });
  const facts = { runtime: "deno", runtimeVersion: "2", startedAtMs: 1, filesMax: 1024 };
  const around = {
    clock,
    turns,
    service: proxy,
    director: {
      events: { seen: { count: 0 }, counts: new Map() },
      states: () => new Map(),
      replicas: () => [],
    },
    get config() {
      return proxy.config;
    },
    stamp: { epoch: 0, cause: "start", atMs: 1 },
    machine: { facts, read: () => ({ cpuSeconds: 1, residentBytes: 1, openFiles: 1, memoryMaxBytes: 1 }) },
    certificates: () => [],
    kept: new Kept(),
  } as unknown as Around;
  return { proxy, around, due };
}

const ASKED = { names: {}, query: { max_age_ms: "" }, body: new Uint8Array(), accept: "" };

async function settled(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}

Deno.test("/api/pools and /metrics do not call the seeds of a cluster live of which no node has answered", async () => {
  const yml = "p:\n  listen: 127.0.0.1:1\n  redis: true\n  cluster: true\n  servers: [127.0.0.1:2]\n";
  const parsed = parseConfig(yml, "x.yml");
  const heard = {
    ...parsed,
    pools: parsed.pools.map((pool) => ({
      ...pool,
      servers: pool.servers.map((server) => ({ ...server, slots: "0-16383" })),
    })),
  };
  for (
    const [config, state, why] of [
      [parsed, "down", "no node of the cluster has answered yet"],
      [heard, "live", ""],
    ] as const
  ) {
    const { proxy, around, due } = standing(config);
    const said = async (answer: typeof pools): Promise<string> => {
      let body: string | null = null;
      void answer(around, ASKED).then(async (said) => body = await bodyOf(said));
      for (await settled(); body === null; await settled()) due.shift()!();
      return body;
    };
    const [server] = JSON.parse(await said(pools)).pools[0].servers;
    deepStrictEqual([server.state, server.why], [state, why]);
    const up = /^ringmaster_server_up\{.*\} ([01])$/m.exec(await said(metrics as typeof pools))?.[1];
    strictEqual(up, state === "live" ? "1" : "0");
    proxy.stop();
  }
});

Deno.test("a reload between the steps of an answer gives no server another's state", async () => {
  const SERVERS = 24;
  const yml = (first: number) =>
    "p:\n  listen: 127.0.0.1:1\n  redis: true\n  servers:\n" +
    Array.from({ length: SERVERS }, (_, i) => `    - 127.0.0.1:${first + i}:1 s${first + i}\n`).join("");
  /** Every other server is off the ring; the first one leaves in that turn. @returns the body, and how many turns it took */
  const askedWhile = async (answer: typeof pools, inTurn: number): Promise<[string, number]> => {
    const { proxy, around, due } = standing(parseConfig(yml(1), "x.yml"));
    const before = proxy.config;
    proxy.board.pools[0]!.servers.forEach((cells, i) => i % 2 === 0 && cells.hold(EJECTED));
    let body: string | null = null;
    void answer(around, ASKED).then(async (said) => body = await bodyOf(said));
    await settled();
    let turn = 0;
    for (; body === null; turn++) {
      if (turn === inTurn) {
        const stamp = { epoch: 1, cause: "reload", atMs: 1 };
        await proxy.reload(changeOf(before, parseConfig(yml(2), "x.yml")), stamp);
      }
      ok(due.length > 0, "it waits for something that does not come");
      due.shift()!();
      await settled();
    }
    proxy.stop();
    return [body, turn];
  };
  const offRing = {
    pools: (body: string): [string, boolean][] =>
      JSON.parse(body).pools[0].servers.map((one: { name: string; state: string }) => [
        one.name,
        one.state === "ejected",
      ]),
    metrics: (body: string): [string, boolean][] =>
      [...body.matchAll(/^ringmaster_server_ejected\{.*server="([^"]+)".*\} ([01])$/gm)].map((line) => [
        line[1]!,
        line[2] === "1",
      ]),
  };
  for (const [name, answer] of [["pools", pools], ["metrics", metrics]] as const) {
    const [, turns] = await askedWhile(answer as typeof pools, -1);
    ok(turns > 2, `${turns} turns`);
    for (let k = 0; k < turns; k++) {
      const [body] = await askedWhile(answer as typeof pools, k);
      const seen = offRing[name](body);
      ok(seen.length >= SERVERS - 1, `${seen.length} servers in: ${body.slice(0, 300)}`);
      for (const [server, off] of seen) {
        const number = Number(server.slice(1));
        // The last one is new.
        strictEqual(off, number % 2 === 1 && number <= SERVERS, `${name}, turn ${k}: ${server}`);
      }
    }
  }
});

Deno.test("/api/pools does not call a replica well that nobody asks", () => {
  const server = { replicas: [{ address: "/a", text: "a", zone: "z" }] } as unknown as ServerConfig;
  const now = state("s", 1, "10.0.0.1:1", { replicas: [endpoint("10.0.0.2:1")] });
  const wells = (asked: boolean, health: readonly ReplicaHealth[] = []) =>
    replicasOf(server, now, health, asked).map(({ address, well }) => [address, well]);
  deepStrictEqual(wells(false), [["a", null], ["10.0.0.2:1", null]]);
  deepStrictEqual(wells(true), [["a", false], ["10.0.0.2:1", true]]);
  const ill = [{ address: "10.0.0.2:1", well: false, why: "does not answer", lagBytes: -1, lagMs: -1 }];
  deepStrictEqual(wells(true, ill), [["a", false], ["10.0.0.2:1", false]]);
});
