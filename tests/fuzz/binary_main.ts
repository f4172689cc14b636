/**
 * `deno task fuzz:binary [--sequences=N] [--seed=S] [--memcached=PATH] [--servers=3] [--runtime=bun|deno|compiled]`: the differential of the binary
 * protocol, against the memcached on PATH or another. Ends with 1 at the first difference. A seed repeats its run.
 */
import { parseArgs } from "node:util";
import { Fixture } from "../lib/fixture.ts";
import { poolYml, type Runtime } from "../lib/servers.ts";
import { memcachedVersion, OLD } from "../real/memcached_side.ts";
import { BinarySide, compareBinary, serverArgs } from "./binary.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    sequences: { type: "string", default: "100000" },
    seed: { type: "string", default: "1" },
    memcached: { type: "string" },
    servers: { type: "string", default: "1" },
    runtime: { type: "string", default: "compiled" },
  },
});
let found: string | null;
{
  await using f = new Fixture();
  const program = values.memcached;
  const args = serverArgs(await memcachedVersion(await f.memcached({ program })) === OLD);
  const count = Number(values.servers);
  const servers = [];
  for (let i = 0; i <= count; i++) servers.push(await f.memcached({ program, args }));
  const yml = poolYml({ alpha: { servers: servers.slice(1), dangerous_commands: "allow" } });
  const proxy = await f.proxy(values.runtime as Runtime, yml);
  const direct = f.add(new BinarySide(servers[0]!.target));
  const proxied = f.add(new BinarySide(proxy.target));
  found = await compareBinary(direct, proxied, Number(values.seed), Number(values.sequences), count > 1);
  console.log(found ?? `${values.sequences} sequences: the same`);
}
Deno.exit(found === null ? 0 : 1);
