/**
 * Writes the parts of README.md and docs/ that come from tables, between `<!-- docs:NAME -->` and `<!-- /docs -->`,
 * and the files of conf/ in FILES. `deno task docs` runs it; docs_test.ts checks that it has been run.
 */
import { routesMarkdown } from "../../src/admin/routes.ts";
import { configMarkdown, exampleConfig } from "../../src/config/describe.ts";
import { limitsMarkdown } from "../../src/config/limits.ts";
import { completions } from "../../src/cli/completions.ts";
import { COMMANDS } from "../../src/cli/flags.ts";
import { helpText } from "../../src/cli/help.ts";
import { manPage } from "../../src/cli/man.ts";
import { FAILURES } from "../../src/proxy/failures.ts";
import { sampleName } from "../../src/stats/exposition.ts";
import { FAMILIES } from "../../src/stats/families.ts";
import { type Metric, POOL_METRICS, SERVER_METRICS } from "../../src/stats/metrics.ts";
import { TARGETS } from "../../conf/release/targets.ts";
import { ROOT } from "../lib/repo.ts";

const PARTS: Readonly<Record<string, () => string>> = {
  config: configMarkdown,
  limits: limitsMarkdown,
  failures: () => table(["cause", "text"], [...FAILURES.values()].map((f) => [`\`${f.code}\``, f.text])),
  metrics: () =>
    "Of a pool:\n\n" + metricsTable(POOL_METRICS, true) + "\n\nOf a server:\n\n" +
    metricsTable(SERVER_METRICS, true) +
    "\n\nOf a pool, not in twemproxy's document: in `INFO ringmaster` of a Redis pool (with `ringmaster_` before the name) and in " +
    "`stats proxy` of a memcached pool.\n\n" + metricsTable(POOL_METRICS, false),
  admin: routesMarkdown,
  families: () =>
    table(
      ["name", "type", "labels", "meaning"],
      FAMILIES.map((each) => [
        `\`${sampleName(each)}\``,
        each.kind,
        each.labels.map((label) => `\`${label}\``).join(", "),
        each.help,
      ]),
    ),
  targets: () =>
    table(
      ["executable", "runs on"],
      TARGETS.map(({ name, suffix, note }) => [`\`ringmaster-VERSION-${name}${suffix}\``, note]),
    ),
  help: () => fenced(helpText(null)),
  commands: () =>
    COMMANDS.flatMap(({ name }) => name === "" ? [] : [`### ${name}\n\n${fenced(helpText(name))}`]).join(
      "\n\n",
    ),
};

/** Files that come from tables as a whole. */
export const FILES: Readonly<Record<string, () => string>> = {
  "conf/ringmaster.yml": exampleConfig,
  "conf/ringmaster.1": manPage,
  "conf/completions/ringmaster.bash": () => completions("bash"),
  "conf/completions/_ringmaster": () => completions("zsh"),
  "conf/completions/ringmaster.fish": () => completions("fish"),
};

/** The documents that may have generated parts: README.md and the pages of docs/. Paths from the root. */
export function generatedDocuments(): string[] {
  const pages = [...Deno.readDirSync(`${ROOT}/docs`)].filter((entry) => entry.name.endsWith(".md"));
  return ["README.md", ...pages.map((entry) => `docs/${entry.name}`).sort()];
}

/** `document` with its generated parts made anew. */
export function withDocs(document: string): string {
  return document.replace(
    /<!-- docs:(\w+) -->\n[\s\S]*?<!-- \/docs -->/g,
    (_, name: string) => {
      const part = PARTS[name];
      if (part === undefined) {
        throw new Error(`found docs:${name}, expected one of ${Object.keys(PARTS).join(", ")}`);
      }
      return `<!-- docs:${name} -->\n\n<!-- deno-fmt-ignore-start -->\n\n${part().trim()}\n\n<!-- deno-fmt-ignore-end -->\n\n<!-- /docs -->`;
    },
  );
}

/** Names of the parts that `document` holds. */
export function partsOf(document: string): string[] {
  return [...document.matchAll(/<!-- docs:(\w+) -->/g)].map((m) => m[1]!);
}

export const PART_NAMES: readonly string[] = Object.keys(PARTS);

function fenced(text: string): string {
  return "```\n" + text.trimEnd() + "\n```";
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
  for (const name of generatedDocuments()) {
    const path = `${ROOT}/${name}`;
    Deno.writeTextFileSync(path, withDocs(Deno.readTextFileSync(path)));
  }
  Deno.mkdirSync(`${ROOT}/conf/completions`, { recursive: true });
  for (const [name, text] of Object.entries(FILES)) Deno.writeTextFileSync(`${ROOT}/${name}`, text());
}
