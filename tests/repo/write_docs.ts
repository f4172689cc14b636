/**
 * Writes the parts of README.md that come from tables, between `<!-- docs:NAME -->` and `<!-- /docs -->`.
 * `deno task docs` runs it; docs_test.ts checks that it has been run.
 */
import { configMarkdown, exampleConfig } from "../../src/config/describe.ts";
import { limitsMarkdown } from "../../src/config/limits.ts";
import { helpText } from "../../src/cli/help.ts";
import { FAILURES } from "../../src/proxy/failures.ts";
import { type Metric, POOL_METRICS, SERVER_METRICS } from "../../src/stats/metrics.ts";

const PARTS: Readonly<Record<string, () => string>> = {
  config: configMarkdown,
  limits: limitsMarkdown,
  failures: () => table(["cause", "text"], [...FAILURES.values()].map((f) => [`\`${f.code}\``, f.text])),
  metrics: () =>
    "Of a pool:\n\n" + metricsTable(POOL_METRICS, true) + "\n\nOf a server:\n\n" +
    metricsTable(SERVER_METRICS, true) +
    "\n\nOf a pool, not in twemproxy's document: in `INFO ringmaster` of a Redis pool (with `ringmaster_` before the name) and in " +
    "`stats proxy` of a memcached pool.\n\n" + metricsTable(POOL_METRICS, false),
  help: () => "```\n" + helpText(null).trimEnd() + "\n```",
};

/** `readme` with its generated parts made anew. */
export function withDocs(readme: string): string {
  return readme.replace(
    /<!-- docs:(\w+) -->\n[\s\S]*?<!-- \/docs -->/g,
    (_, name: string) => {
      const part = PARTS[name];
      if (part === undefined) {
        throw new Error(`README.md: found docs:${name}, expected one of ${Object.keys(PARTS).join(", ")}`);
      }
      return `<!-- docs:${name} -->\n\n<!-- deno-fmt-ignore-start -->\n\n${part().trim()}\n\n<!-- deno-fmt-ignore-end -->\n\n<!-- /docs -->`;
    },
  );
}

function metricsTable(metrics: readonly Metric[], classic: boolean): string {
  return table(
    ["name", "kind", "meaning"],
    metrics.filter((m) => m.classic === classic).map((m) => [`\`${m.name}\``, m.kind, m.description]),
  );
}

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), `|${head.map(() => "---").join("|")}|`, ...rows.map(line)].join("\n");
}

if (import.meta.main) {
  const readme = new URL("../../README.md", import.meta.url);
  Deno.writeTextFileSync(readme, withDocs(Deno.readTextFileSync(readme)));
  Deno.writeTextFileSync(new URL("../../conf/ringmaster.yml", import.meta.url), exampleConfig());
}
