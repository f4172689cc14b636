/** The two sides of the differential fuzz: a redis-server, and another behind a pool of one. */
import type { Fixture } from "../lib/fixture.ts";
import { poolYml, type Runtime } from "../lib/servers.ts";
import { versionOf } from "../lib/versions.ts";
import type { Sides } from "./differential.ts";

/** @param program another redis-server or valkey-server than the one on PATH, for both */
export async function startSides(f: Fixture, runtime: Runtime, program?: string): Promise<Sides> {
  const args = ["--enable-debug-command", "yes"];
  const direct = await f.redis({ args, program });
  const behind = await f.redis({ args, program });
  const version = await versionOf(await f.client(direct));
  const yml = poolYml({ alpha: { servers: [behind], databases: 16, dangerous_commands: "allow" } });
  const proxy = await f.proxy(runtime, yml);
  return { direct: direct.target, through: proxy.target, behind: behind.target, version };
}
