/**
 * `deno task commands:compare [--redis=PATH] [--record=FILE]`: compares the command table with the redis-server or valkey-server
 * on PATH, or another, by what it says of its own commands (newest_commands.ts). Ends with 1 if the table is stricter anywhere.
 * With --record the server's facts are written, to be kept in tests/vectors.
 */
import { parseArgs } from "node:util";
import { Fixture } from "../lib/fixture.ts";
import { differences, factsOf, surprises } from "./newest_commands.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: { redis: { type: "string" }, record: { type: "string" } },
});
let code = 1;
{
  await using f = new Fixture();
  const client = await f.client(await f.redis({ program: values.redis }));
  const info = await client.command("INFO", "server") as string;
  const version = /^valkey_version:(\S+)/m.exec(info);
  const source = version === null
    ? `Redis ${/^redis_version:(\S+)/m.exec(info)![1]}`
    : `Valkey ${version[1]}`;
  const facts = await factsOf(client, source);
  if (values.record !== undefined) {
    const lines = Object.entries(facts.commands).map(([name, fact]) =>
      `${JSON.stringify(name)}: ${JSON.stringify(fact)}`
    );
    const text = `{"source": ${JSON.stringify(source)},\n"commands": {\n${lines.join(",\n")}\n}}\n`;
    await Deno.writeTextFile(values.record, text);
  }
  for (const line of await surprises(client, facts)) console.log(`the server itself: ${line}`);
  const found = differences(facts);
  for (const line of found) console.log(line);
  const count = Object.keys(facts.commands).length;
  const calls = Object.values(facts.commands).reduce((sum, fact) => sum + fact.calls.length, 0);
  console.log(`${source}: ${count} commands, ${calls} calls, ${found.length} differences`);
  code = found.length === 0 ? 0 : 1;
}
Deno.exit(code);
