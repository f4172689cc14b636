/**
 * `deno task test:clients [--table] [--runtime=deno|bun|compiled] [word …]`: every client library against one
 * redis-server and through Ringmaster, and how they compare. Words choose libraries or scenarios by a part of their name.
 * `--cluster`: through Ringmaster in front of a cluster of six servers; `--redis=PATH`: of another redis-server or valkey-server.
 * `--table` prints Markdown for docs/clients.md, and nothing else on standard output.
 */
import { parseArgs } from "node:util";
import type { Runtime } from "../lib/servers.ts";
import { LIBRARIES, title } from "./libraries.ts";
import { SCENARIOS } from "./scenarios.ts";
import { compare } from "./stand.ts";

const { values, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    table: { type: "boolean" },
    runtime: { type: "string", default: "compiled" },
    cluster: { type: "boolean", default: false },
    redis: { type: "string" },
  },
});
const named = (name: string) => positionals.some((word) => name.toLowerCase().includes(word.toLowerCase()));
const choose = <T>(all: readonly T[], name: (item: T) => string) => {
  const chosen = all.filter((item) => named(name(item)));
  return chosen.length > 0 ? chosen : all;
};
const libraries = choose(LIBRARIES, title);
const scenarios = choose(SCENARIOS, (scenario) => scenario.name);

/** Scenario → a cell for each library. */
const cells = new Map<string, string[]>(scenarios.map(({ name }) => [name, []]));
let same = 0;
let failed = 0;
const behind = { cluster: values.cluster, program: values.redis };
for (const library of libraries) {
  await compare(library, scenarios, values.runtime as Runtime, ({ scenario, failure, isLacking }) => {
    cells.get(scenario)!.push(isLacking ? "–" : failure === null ? "✓" : "✗");
    if (isLacking) return;
    if (failure === null) same++;
    else failed++;
    const text = `${title(library)}: ${scenario}: ${
      failure === null ? "same" : `FAILED\n${failure.message}`
    }`;
    if (failure !== null || !values.table) console.error(text);
  }, behind);
}
if (values.table) {
  // A library that speaks both versions has a column for each.
  console.log(`| | ${libraries.map(title).join(" | ")} |`);
  console.log(`|---|${libraries.map(() => ":-:|").join("")}`);
  for (const [scenario, row] of cells) console.log(`| ${scenario} | ${row.join(" | ")} |`);
}
console.error(`${same} the same as directly, ${failed} not`);
Deno.exit(failed === 0 ? 0 : 1);
