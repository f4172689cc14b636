/**
 * Imports point to the same folder or down, folders do not import each other in a circle, and packages are imported
 * only where they belong.
 */
import { ok, strictEqual } from "node:assert/strict";
import { exists, ROOT } from "../lib/repo.ts";
import { type Import, importsOf, loopsAtLoad, SOURCES } from "./source.ts";

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
  "compare",
  "proxy",
  "redis",
  "memcached",
  "demo",
  "runtime",
  "service",
  "admin",
  "cli",
  "main.ts",
];

/** Which layers may import what is not a file of ours. Absence means: none. */
const PACKAGES: Record<string, readonly string[]> = {
  "yaml": ["config", "cli"],
  "bun": ["runtime"],
  "uplot": ["admin"],
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
  "node:module": ["config"],
  "node:net": ["admin", "runtime"],
  "node:os": ["config", "stats", "topology", "admin", "demo", "runtime", "service", "cli", "main.ts"],
  "node:path": ["config", "topology", "admin", "demo", "runtime", "cli", "main.ts"],
  "node:stream": ["runtime"],
  "node:tls": ["runtime"],
  "node:url": ["admin", "runtime", "service", "cli", "main.ts"],
  "node:util": ["config", "admin", "demo", "runtime", "cli", "main.ts"],
  "node:v8": ["runtime"],
  "node:vm": ["runtime"],
  "node:worker_threads": ["runtime", "service"],
};

/** Packages that the program may load when it starts; each takes a part of the time until the first request is served. */
const AT_START = ["node:buffer", "node:fs", "node:os", "node:path"];

/**
 * Files whose types those name too that they hold: objects that know each other. Without these there is no circle of files, not of
 * types either, so whoever reads another file has to know what is below it and these, and nothing else.
 */
const KNOWN_TO_ALL: Record<string, string> = {
  "src/proxy/pool.ts": "what everything belongs to: network, clock, configuration, counters",
  "src/proxy/client.ts": "who asks; a request says whose it is, and is its client's",
  "src/proxy/request.ts": "a request is in its client's queue and in a connection's, or its fragments are",
  "src/proxy/server.ts": "the place on the ring; its endpoints and their connections say whose they are",
  "src/proxy/server_connection.ts":
    "who is asked; a holder and an endpoint have connections, which know both",
  "src/redis/session.ts": "what a Redis client is in the middle of; each of these knows the session",
};
/** Where circles of types are looked for; files that need each other when they are loaded are found everywhere. */
const LOOKED_AT = ["src/proxy", "src/redis", "src/memcached"];

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

/** Sets of files, sorted, each of which imports all others of its set, directly or not; of imports that `counts` says count. */
function circles(counts: (one: Import) => boolean): string[][] {
  const edges = new Map<string, string[]>();
  for (const one of imports()) {
    if (one.to === null || !counts(one)) continue;
    const targets = edges.get(one.from) ?? [];
    edges.set(one.from, [...targets, one.to]);
  }
  const reached = new Map<string, ReadonlySet<string>>();
  for (const file of edges.keys()) {
    const seen = new Set<string>();
    const todo = [...edges.get(file)!];
    for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
      if (seen.has(next)) continue;
      seen.add(next);
      todo.push(...edges.get(next) ?? []);
    }
    reached.set(file, seen);
  }
  const found = new Map<string, string[]>();
  for (const [file, seen] of reached) {
    if (!seen.has(file)) continue;
    const circle = [...seen].filter((other) => reached.get(other)?.has(file)).sort();
    found.set(circle.join(), circle);
  }
  return [...found.values()];
}

Deno.test("files do not need each other in a circle when they are loaded", () => {
  none(circles(({ typeOnly }) => !typeOnly).map((files) => files.join(" ")), "these files import each other");
});

Deno.test("in the core and the protocols few files are known to those they hold", () => {
  const found = (known: readonly string[]) =>
    circles(({ from, to }) =>
      LOOKED_AT.includes(folderOf(from)) && folderOf(from) === folderOf(to!) && !known.includes(to!)
    );
  const all = Object.keys(KNOWN_TO_ALL);
  none(found(all).map((files) => files.join(" ")), "these files name each other's types in a circle");
  const needless = all.filter((file) => found(all.filter((other) => other !== file)).length === 0);
  none(needless, "KNOWN_TO_ALL has files without which there is no circle either");
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

Deno.test("what the start does not need is loaded when it is first used", () => {
  const findings = imports()
    .filter(({ from, to, typeOnly, later }) =>
      to === null && !typeOnly && !later && !from.startsWith("src/admin/page/")
    )
    .filter(({ specifier }) => !AT_START.includes(specifier))
    .map(({ from, line, specifier }) => `${from}:${line} imports ${specifier}`);
  none(
    findings,
    `take builtin("node:…") of src/bytes/builtin.ts, of a package what yaml_document.ts does; loaded at the start: ${
      AT_START.join(", ")
    }`,
  );
});

Deno.test("a worker loads no command line, no admin side and nothing that reads configurations; the proxy none of the tools", () => {
  const loads = new Map<string, string[]>(SOURCES.map((path) => [path, []]));
  for (const { from, to, typeOnly, waits } of imports()) {
    if (to !== null && !typeOnly && !waits) loads.get(from)!.push(to);
  }
  const loadedBy = (...parts: string[]) => {
    const all = new Set(parts);
    for (const path of all) for (const to of loads.get(path)!) all.add(to);
    return [...all];
  };
  const worker = loadedBy("src/service/worker.ts", "src/runtime/runtime.ts");
  ok(worker.includes("src/redis/front.ts"), "it serves");
  none(
    worker.filter((path) =>
      /^src\/(cli|admin|demo|compare)\/|^src\/config\/(parse|document|plain_document|yaml_document|schema)\.ts$/
        .test(path)
    ),
    "loaded by each worker (main.ts)",
  );
  const proxy = loadedBy("src/cli/serve.ts");
  none(
    proxy.filter((path) =>
      /^src\/(demo|compare\/(?!tally|reading))|^src\/cli\/(tools|demo|route|compare|top)/.test(path)
    ),
    "loaded by the proxy, which does not need it (cli/serve.ts)",
  );
  none(
    proxy.filter((path) =>
      /^src\/(redis|memcached)\/|^src\/admin\/(server|routes|page\/built)\.ts$/.test(path)
    ),
    "loaded at the start, though workers carry the traffic (cli/run.ts), or there is no admin side (admin/side.ts)",
  );
});

Deno.test("loops stand in functions: bundled, all files are one function, and a loop of its own has all of it compiled", () => {
  const findings = SOURCES
    .filter((path) => !path.startsWith("src/admin/page/"))
    .flatMap((path) => loopsAtLoad(path).map((line) => `${path}:${line}`));
  none(findings, "a loop at load time costs 1.7 MB of code and 200 ms (decision 53): put it into a function");
});
