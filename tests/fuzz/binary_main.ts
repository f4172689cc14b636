/**
 * `deno task fuzz:binary [--sequences=N] [--seed=S] [--memcached=PATH] [--servers=3] [--lanes=N]
 * [--runtime=bun|deno|compiled]`: the differential of the binary protocol, against the memcached on PATH or another. Ends with 1 at the
 * first difference. A seed repeats its run, as long as there are as many lanes: each has servers and a pool of its own, and they only share
 * the time in which they would wait.
 */
import { parseArgs } from "node:util";
import { Fixture } from "../lib/fixture.ts";
import { freePort } from "../lib/ports.ts";
import { type PoolKeys, poolYml, type Runtime, type Server } from "../lib/servers.ts";
import { memcachedVersion, OLD } from "../real/memcached_side.ts";
import { BinarySide, compareBinary, serverArgs } from "./binary.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    sequences: { type: "string", default: "100000" },
    seed: { type: "string", default: "1" },
    memcached: { type: "string" },
    servers: { type: "string", default: "1" },
    lanes: { type: "string", default: "8" },
    runtime: { type: "string", default: "compiled" },
  },
});
let found: string | null;
{
  await using f = new Fixture();
  const program = values.memcached;
  const args = serverArgs(await memcachedVersion(await f.memcached({ program })) === OLD);
  const count = Number(values.servers);
  const lanes = Number(values.lanes);
  const each = Math.ceil(Number(values.sequences) / lanes);
  const direct: Server[] = [];
  const pools: Record<string, PoolKeys> = {};
  const ports: number[] = [];
  for (let lane = 0; lane < lanes; lane++) {
    direct.push(await f.memcached({ program, args }));
    const servers = [];
    for (let i = 0; i < count; i++) servers.push(await f.memcached({ program, args }));
    ports.push(freePort());
    pools[`lane${lane}`] = { listen: `127.0.0.1:${ports[lane]}`, servers, dangerous_commands: "allow" };
  }
  await f.proxy(values.runtime as Runtime, poolYml(pools), { args: ["--workers=1"] });
  const ends = await Promise.all(direct.map((server, lane) =>
    compareBinary(
      f.add(new BinarySide(server.target)),
      f.add(new BinarySide({ port: ports[lane]! })),
      Number(values.seed) + lane * each,
      each,
      count > 1,
    )
  ));
  found = ends.find((end) => end !== null) ?? null;
  console.log(found ?? `${each * lanes} sequences: the same`);
}
Deno.exit(found === null ? 0 : 1);
