/** COMMAND DOCS: a server's entries pass as they came; what is refused here, or only known here, is in our words. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { docsFrom, ownDocs } from "../../src/protocol/redis/command_docs.ts";
import { findByName } from "../../src/protocol/redis/commands.ts";
import { ReplyWriter } from "../../src/protocol/redis/reply_writer.ts";
import { latin1, textOf } from "../lib/bytes.ts";
import { parseReply, type Value } from "../lib/resp.ts";

type Docs = Map<string, Map<string, Value>>;

const commands = (names: string) =>
  names.split(" ").filter((name) => name !== "").map((name) => findByName(name)!);

/** What a server would say: a summary each, and the subcommands of a container. */
function said(resp: 2 | 3, docs: Record<string, string | string[]>): Uint8Array {
  const reply = new ReplyWriter(resp).map(Object.keys(docs).length);
  for (const [name, doc] of Object.entries(docs)) {
    reply.bulk(name);
    if (typeof doc === "string") reply.map(1).bulk("summary").bulk(doc);
    else {
      reply.map(2).bulk("summary").bulk("A container").bulk("subcommands").map(doc.length);
      for (const sub of doc) reply.bulk(sub).map(1).bulk("summary").bulk(`The server's ${sub}`);
    }
  }
  return reply.take();
}

/** Merged with bytes around the reply, which must not matter. */
function merged(resp: 2 | 3, reply: Uint8Array, names: string, dangerous = false): string {
  const around = latin1(`+OK\r\n${textOf(reply)}:1\r\n`);
  return textOf(docsFrom(around, 5, 5 + reply.length, commands(names), dangerous, resp));
}

function parsed(text: string): Docs {
  const bytes = latin1(text);
  const reply = parseReply(bytes, 0, bytes.length)!;
  strictEqual(reply.end, bytes.length);
  return reply.value as Docs;
}

for (const resp of [2, 3] as const) {
  Deno.test(`docsFrom() RESP${resp}: nothing of ours to say, nothing changed`, () => {
    const config = ["config|get", "config|help"];
    const reply = said(resp, { get: "Returns it.", "json.get": "A module's.", config });
    strictEqual(merged(resp, reply, "get config"), textOf(reply));
    strictEqual(merged(resp, said(resp, {}), ""), textOf(said(resp, {})));
  });
}

Deno.test("docsFrom(): refused commands and subcommands are in our words, the rest in the server's", () => {
  const reply = said(3, { monitor: "Listens.", flushall: "Empties.", client: ["client|id", "client|pause"] });
  const docs = parsed(merged(3, reply, "monitor flushall client"));
  match(docs.get("monitor")!.get("summary") as string, /^Refused: /);
  match(docs.get("flushall")!.get("summary") as string, /Refused unless dangerous_commands: allow$/);
  const client = docs.get("client")!;
  strictEqual(client.get("summary"), "A container");
  const subcommands = client.get("subcommands") as Docs;
  strictEqual(subcommands.get("client|id")!.get("summary"), "The server's client|id");
  match(subcommands.get("client|pause")!.get("summary") as string, /^Refused: /);
  const allowed = parsed(merged(3, reply, "monitor flushall client", true));
  strictEqual(allowed.get("flushall")!.get("summary"), "Empties.");
});

Deno.test("docsFrom(): what the server does not have is added only if it needs no server", () => {
  const docs = parsed(merged(3, said(3, { client: [] }), "client hexpire quit monitor"));
  deepStrictEqual([...docs.keys()], ["client", "quit", "monitor"]);
  const subcommands = docs.get("client")!.get("subcommands") as Docs;
  ok(subcommands.has("client|capa"));
});

Deno.test("docsFrom(): a reply that is no map gives what we know ourselves", () => {
  for (const odd of ["$-1\r\n", "*1\r\n$3\r\nget\r\n", "%?\r\n.\r\n", "+OK\r\n"]) {
    const text = textOf(docsFrom(latin1(odd), 0, odd.length, commands("quit"), false, 3));
    deepStrictEqual([...parsed(text).keys()], ["quit"], JSON.stringify(odd));
  }
});

Deno.test("ownDocs(): each command with what Ringmaster does with it", () => {
  const docs = parsed(textOf(ownDocs(commands("mget client"), 3)));
  match(docs.get("mget")!.get("summary") as string, /^Split by server/);
  ok((docs.get("client")!.get("subcommands") as Docs).has("client|id"));
});
