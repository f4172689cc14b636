/**
 * Other proxies as subjects, given by their paths: each configured as the pool of the others is, one thread (predixy-two: two), all servers
 * preconnected or soon so.
 *
 * base is another Ringmaster. predixy's placement is its own (modula over CRC16); that does not matter to what a request costs.
 */
import { RawClient } from "../lib/client.ts";
import { type Fixture } from "../lib/fixture.ts";
import { pollProcess } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { Process } from "../lib/process.ts";
import { type Server } from "../lib/servers.ts";

export const PEERS = ["base", "predixy", "predixy-two", "memcached-proxy"] as const;
export type Peer = typeof PEERS[number];

/** What it is in front of. */
export interface Behind {
  servers: readonly Server[];
  /** What a Ringmaster is told; of one pool. */
  yml: string;
  /** The servers are nodes of a cluster. */
  cluster: boolean;
}

interface Around extends Behind {
  port: number;
  /** Where its files may be, without an extension. */
  path: string;
}

/** Writes its files; returns its arguments. */
const PREPARE: Readonly<Record<Peer, (around: Around) => Promise<string[]>>> = {
  base: async ({ yml, path, port }) => {
    await Deno.writeTextFile(`${path}.yml`, yml.replace(/listen: .*/, `listen: 127.0.0.1:${port}`));
    return ["-c", `${path}.yml`, "-s", String(freePort())];
  },
  predixy: (around) => predixy(around, 1),
  "predixy-two": (around) => predixy(around, 2),
  "memcached-proxy": async ({ port, servers, path }) => {
    const backends = servers.map((server, i) => `mcp.backend("b${i}", "127.0.0.1", ${server.port})`);
    await Deno.writeTextFile(
      `${path}.lua`,
      `function mcp_config_pools()
  return mcp.pool({ ${backends.join(", ")} })
end
function mcp_config_routes(pool)
  local route = mcp.funcgen_new()
  local handle = route:new_handle(pool)
  route:ready({ n = "route", f = function(context)
    return function(request) return context:enqueue_and_wait(request, handle) end
  end })
  mcp.attach(mcp.CMD_ANY_STORAGE, route)
end
`,
    );
    const user = Deno.uid() === 0 ? ["-u", "root"] : [];
    const proxy = ["-t", "1", "-c", "4096", "-I", "2m", "-o", `proxy_config=${path}.lua`];
    return [...user, "-l", "127.0.0.1", "-p", String(port), "-U", "0", ...proxy];
  },
};

/** Writes its file; returns its arguments. */
async function predixy({ port, servers, path, cluster }: Around, threads: number): Promise<string[]> {
  const hosts = servers.map((server) => `      + 127.0.0.1:${server.port}`);
  const groups = hosts.map((host, i) => `    Group shard${i + 1} {\n${host}\n    }`);
  const pool = cluster
    ? `ClusterServerPool {
    Servers {
${hosts.join("\n")}
    }`
    : `StandaloneServerPool {
    Databases 1
    Hash crc16
    HashTag "{}"
    Distribution modula
    RefreshMethod fixed
${groups.join("\n")}`;
  await Deno.writeTextFile(
    `${path}.conf`,
    `Name bench
Bind 127.0.0.1:${port}
WorkerThreads ${threads}
MaxMemory 0
ClientTimeout 0
Authority {
    Auth {
        Mode write
    }
}
${pool}
    MasterReadPriority 60
    StaticSlaveReadPriority 0
    DynamicSlaveReadPriority 0
    ServerTimeout 20
    ServerFailureLimit 10
    ServerRetryTimeout 1
    KeepAlive 120
}
`,
  );
  return [`${path}.conf`];
}

/** Ready when the promise resolves; the fixture stops it. */
export async function startPeer(
  fixture: Fixture,
  name: Peer,
  program: string,
  behind: Behind,
): Promise<{ pid: number; port: number }> {
  const port = freePort();
  const path = `${fixture.dir}/${name}${port}`;
  const args = await PREPARE[name]({ ...behind, port, path });
  const process = fixture.add(new Process(program, args, { output: `${path}.log` }));
  const memcached = behind.servers[0].kind === "memcached";
  await pollProcess(process, async () => {
    await using client = await RawClient.connect({ port });
    // It accepts before it knows its servers.
    if (!memcached) return await client.command("SET", "ready", "1") === "OK";
    await client.send("get ready\r\n");
    return await client.readLine() === "END";
  }, `${name} to serve`);
  return { pid: process.pid, port };
}
