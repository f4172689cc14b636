/** What the command table sends to replicas, asked of a real one: none of it may be refused there. */
import assert from "node:assert/strict";
import { COMMANDS, findByName, FLAG, ROUTE } from "../../src/protocol/redis/commands.ts";
import { factsOf } from "../conformance/newest_commands.ts";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { ReplyError, type Value } from "../lib/resp.ts";

/** A client of a replica that has its data and its link. */
async function replicaClient(f: Fixture): Promise<RawClient> {
  const primary = await f.redis({ port: 0 });
  const replica = await f.redis({ port: 0, args: ["--replicaof", "127.0.0.1", String(primary.port)] });
  const client = await f.client(replica);
  await poll(async () => {
    const info = await client.command("INFO", "replication") as string;
    return info.includes("master_link_status:up") && info.includes("master_sync_in_progress:0");
  }, "the replica to have its link");
  return client;
}

Deno.test("a replica answers every command that the table sends to replicas, and refuses what looks like one", async () => {
  await using f = new Fixture();
  const client = await replicaClient(f);
  const { commands } = await factsOf(client, "");
  const asked = new Set<string>();
  let refused = 0;
  const readOnly = async (words: string[]) => {
    const reply = await client.command(...words);
    return reply instanceof ReplyError && reply.message.startsWith("READONLY");
  };
  for (const [name, { calls }] of Object.entries(commands)) {
    const command = findByName(name)!;
    // Those would say so only after a while, or go on saying something else.
    const calm = (command.flags & (FLAG.DANGEROUS | FLAG.ADMIN | FLAG.BLOCKING)) === 0;
    const fewest = [...name.split("|")];
    while (fewest.length < Math.abs(command.arity)) fewest.push("1");
    for (const words of [fewest, ...calls.map((call) => call.split(" "))]) {
      if (command.onReplica && !words.includes("BLOCK")) {
        assert.equal(await readOnly(words), false, words.join(" "));
        asked.add(command.name);
      } else if ((command.flags & FLAG.WRITE) !== 0 && calm && command.route === ROUTE.KEYED) {
        assert.equal(await readOnly(words), true, words.join(" "));
        refused++;
      }
    }
  }
  const reads = COMMANDS.filter((command) => command.onReplica && commands[command.lower] !== undefined);
  assert.deepEqual(reads.filter(({ name }) => !asked.has(name)), []);
  assert.ok(asked.size > 60 && refused > 100, `${asked.size} reads, ${refused} refusals`);
});

Deno.test("what only reads by the server's own word goes to replicas, but for those the table names", async () => {
  await using f = new Fixture();
  const client = await f.client(await f.redis());
  const kept: string[] = [];
  const note = (entry: Value) => {
    const [name, , flags, , , , , , , subcommands] = entry as Value[];
    const command = findByName(name as string)!;
    const reads = (flags as string[]).includes("readonly");
    assert.ok(reads || !command.onReplica, `${name} is sent to replicas`);
    if (reads && !command.onReplica) kept.push(command.name);
    ((subcommands ?? []) as Value[]).forEach(note);
  };
  (await client.command("COMMAND") as Value[]).forEach(note);
  const few = [
    // No key, or all servers: the answer is put together from those of primaries.
    "DBSIZE",
    "KEYS",
    "LOLWUT",
    "RANDOMKEY",
    "SCAN",
    // A script that has just been loaded is not there yet.
    "EVALSHA_RO",
    "EVAL_RO",
    "FCALL_RO",
    // Its own memory, clock and cursors.
    "HSCAN",
    "MEMORY|USAGE",
    "OBJECT|ENCODING",
    "OBJECT|FREQ",
    "OBJECT|IDLETIME",
    "OBJECT|REFCOUNT",
    "SSCAN",
    "TOUCH",
    "ZSCAN",
  ];
  // Newer servers have more that is refused or answered here.
  const newer = ["CLUSTERSCAN", "SCRIPT|SHOW"];
  assert.deepEqual(kept.filter((name) => !newer.includes(name)).sort(), few.sort());
});
