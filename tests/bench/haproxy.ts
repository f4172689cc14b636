/** HAProxy with one thread in front of one server: what passes bytes on costs, or what ends TLS. */
import { RawClient } from "../lib/client.ts";
import type { Fixture } from "../lib/fixture.ts";
import { pollProcess } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { Process } from "../lib/process.ts";

/** @param bind more words of its `bind`, as "ssl crt FILE" */
export async function startHaproxy(
  f: Fixture,
  program: string,
  serverPort: number,
  bind = "",
): Promise<{ readonly pid: number; readonly port: number }> {
  const port = freePort();
  const file = `${f.dir}/haproxy${port}.cfg`;
  await Deno.writeTextFile(
    file,
    `global
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen bench
  bind ${`127.0.0.1:${port} ${bind}`.trimEnd()}
  server alone 127.0.0.1:${serverPort}
`,
  );
  const process = f.add(new Process(program, ["-db", "-f", file], { output: `${file}.log` }));
  await pollProcess(process, async () => {
    (await RawClient.connect({ port })).close();
    return true;
  }, "haproxy to listen");
  return { pid: process.pid, port };
}
