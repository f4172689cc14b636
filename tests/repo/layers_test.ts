/**
 * Imports point to the same folder or down, folders do not import each other in a circle, and packages are imported
 * only where they belong.
 */
import { strictEqual } from "node:assert/strict";
import { exists, ROOT } from "../lib/repo.ts";
import { type Import, importsOf, SOURCES } from "./source.ts";

/** From the ground up: a folder of src/ may import from itself and from those before it. */
const LAYERS = [
  "bytes",
  "hash",
  "ring",
  "net",
  "stats",
  "protocol",
  "config",
  "topology",
  "proxy",
  "redis",
  "memcached",
  "admin",
  "demo",
  "runtime",
  "service",
  "cli",
  "main.ts",
];

/** Which layers may import what is not a file of ours. Absence means: none. */
const PACKAGES: Record<string, readonly string[]> = {
  "yaml": ["config", "cli"],
  "bun": ["runtime"],
  "node:assert/strict": LAYERS,
  "node:buffer": LAYERS,
  "node:child_process": ["topology", "demo", "runtime", "cli", "main.ts"],
  "node:crypto": LAYERS,
  "node:dns": ["runtime"],
  "node:dns/promises": ["runtime"],
  "node:events": ["admin", "runtime"],
  "node:fs": ["config", "topology", "admin", "demo", "runtime", "service", "cli", "main.ts"],
  "node:fs/promises": ["config", "topology", "admin", "demo", "runtime", "cli", "main.ts"],
  "node:http": ["admin", "runtime"],
  "node:https": ["admin", "runtime"],
  "node:net": ["admin", "runtime"],
  "node:os": ["config", "stats", "topology", "admin", "demo", "runtime", "service", "cli", "main.ts"],
  "node:path": ["config", "topology", "admin", "demo", "runtime", "cli", "main.ts"],
  "node:process": ["runtime", "service", "cli", "main.ts"],
  "node:tls": ["runtime"],
  "node:url": ["admin", "runtime", "service", "cli", "main.ts"],
  "node:util": ["config", "admin", "demo", "runtime", "cli", "main.ts"],
  "node:v8": ["runtime"],
  "node:vm": ["runtime"],
  "node:worker_threads": ["service", "main.ts"],
};

/** "src/protocol/redis/args.ts" → "protocol"; "main.ts" → "main.ts". */
const layerOf = (path: string): string => path.startsWith("src/") ? path.split("/")[1] : path;
/** "src/protocol/redis/args.ts" → "src/protocol/redis". */
const folderOf = (path: string): string => path.split("/").slice(0, -1).join("/");

let found: Import[] | null = null;
const imports = (): Import[] => found ??= SOURCES.flatMap(importsOf);

/** Fails with one line per finding. */
function none(findings: string[], rule: string): void {
  strictEqual(findings.length, 0, `${rule}\n  ${findings.join("\n  ")}\n`);
}

Deno.test("every folder of src/ is a known layer", () => {
  const strange = SOURCES.filter((path) => !LAYERS.includes(layerOf(path)));
  none(strange, `these files belong to no layer; the layers are ${LAYERS.join(" < ")}`);
});

Deno.test("imports point to the same folder or down", () => {
  const findings: string[] = [];
  for (const { from, to, specifier, line } of imports()) {
    if (to === null) continue;
    const [own, other] = [LAYERS.indexOf(layerOf(from)), LAYERS.indexOf(layerOf(to))];
    if (other < 0) findings.push(`${from}:${line} imports ${specifier}, which is outside main.ts and src/`);
    else if (other > own) {
      findings.push(`${from}:${line} imports ${specifier}: ${LAYERS[own]} is below ${LAYERS[other]}`);
    }
  }
  none(findings, `an import points up; the order is ${LAYERS.join(" < ")}`);
});

Deno.test("what is imported exists", () => {
  const lost = imports().filter(({ to }) => to !== null && !exists(`${ROOT}/${to}`));
  none(
    lost.map(({ from, line, specifier }) => `${from}:${line} imports ${specifier}`),
    "these files do not exist",
  );
});

Deno.test("folders do not import each other in a circle", () => {
  const edges = new Map<string, Map<string, string>>();
  for (const { from, to, line } of imports()) {
    if (to === null || folderOf(from) === folderOf(to)) continue;
    const targets = edges.get(folderOf(from)) ?? new Map<string, string>();
    targets.set(folderOf(to), `${from}:${line} imports ${to}`);
    edges.set(folderOf(from), targets);
  }
  const done = new Set<string>();
  const circle = (folder: string, path: string[]): string[] | null => {
    if (path.includes(folder)) return [...path.slice(path.indexOf(folder)), folder];
    if (done.has(folder)) return null;
    for (const next of edges.get(folder)?.keys() ?? []) {
      const found = circle(next, [...path, folder]);
      if (found !== null) return found;
    }
    done.add(folder);
    return null;
  };
  for (const folder of edges.keys()) {
    const found = circle(folder, []);
    if (found === null) continue;
    const steps = found.slice(1).map((next, i) => edges.get(found[i])!.get(next)!);
    none(steps, `${found.join(" → ")} is a circle`);
  }
});

Deno.test("packages are imported only where they belong", () => {
  const findings: string[] = [];
  for (const { from, to, specifier, line } of imports()) {
    if (to !== null) continue;
    const allowed = PACKAGES[specifier] ?? [];
    if (allowed.includes(layerOf(from))) continue;
    findings.push(`${from}:${line} imports ${specifier}, allowed in: ${allowed.join(", ") || "no layer"}`);
  }
  none(findings, "the table PACKAGES of tests/repo/layers_test.ts says who may import what");
});
