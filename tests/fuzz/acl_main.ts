/**
 * `deno task fuzz:acl [--users=N] [--requests=N] [--seed=S] [--redis=PATH]`: made-up users and requests, decided by our rules and by ACL
 * DRYRUN of the redis-server on PATH, or another. Ends with 1 if they differ. A seed repeats its run.
 */
import { parseArgs } from "node:util";
import { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { Random } from "../lib/random.ts";
import { compareDryrun } from "./acl.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    users: { type: "string", default: "2000" },
    requests: { type: "string", default: "50" },
    seed: { type: "string", default: "1" },
    redis: { type: "string" },
  },
});
let code = 1;
{
  await using f = new Fixture();
  const server = await f.redis({ program: values.redis });
  await using client = await RawClient.connect(server.target);
  const random = new Random(Number(values.seed));
  const seen = await compareDryrun(client, random, Number(values.users), Number(values.requests));
  for (const line of seen.differences.slice(0, 30)) console.log(line);
  console.log(
    `${seen.users} users (${seen.refusedRules} with rules that both refuse), ${seen.requests} requests: ` +
      `${seen.differences.length} differences`,
  );
  code = seen.differences.length === 0 ? 0 : 1;
}
Deno.exit(code);
