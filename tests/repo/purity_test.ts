/**
 * Determinism by construction: time, randomness and the runtime come as arguments; only src/runtime/ (and the
 * exceptions listed here, each with its reason) may reach for them. That is why the simulator can run the whole proxy.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { SOURCES, usesOf } from "./source.ts";

const IMPURE: ReadonlySet<string> = new Set([
  "Deno",
  "Bun",
  "Date.now",
  "new Date()",
  "performance.now",
  "Math.random",
  "crypto.getRandomValues",
  "crypto.randomUUID",
  "setTimeout",
  "setInterval",
  "setImmediate",
  "clearTimeout",
  "clearInterval",
  "clearImmediate",
  "queueMicrotask",
  "fetch",
  "WebSocket",
  "Worker",
]);

/** File or folder (with a slash at its end) → what it may use; reason beside it. */
const EXCEPTIONS: Record<string, readonly string[]> = {
  // The one place that names a runtime.
  "src/runtime/": [...IMPURE],
  // Composes the proxy: hands the process's randomness to it as an argument, as it does net and clock.
  "src/service/proxy_options.ts": ["Math.random"],
  // Runs in a browser; no part of it runs in the process.
  "src/admin/page/": ["fetch", "Date.now", "performance.now", "setTimeout", "clearTimeout", "setInterval"],
};

const allowed = (path: string, name: string): boolean =>
  Object.entries(EXCEPTIONS).some(([place, names]) =>
    (place.endsWith("/") ? path.startsWith(place) : path === place) && names.includes(name)
  );

Deno.test("nothing outside src/runtime/ reaches for clock, randomness or runtime", () => {
  const findings = SOURCES.flatMap((path) => usesOf(path, IMPURE))
    .filter(({ path, name }) => !allowed(path, name))
    .map(({ path, line, name }) => `${path}:${line} uses ${name}`);
  strictEqual(
    findings.length,
    0,
    `take it as an argument (Net, Clock), or list the exception with its reason in tests/repo/purity_test.ts\n  ${
      findings.join("\n  ")
    }\n`,
  );
});

Deno.test("every exception is still needed", () => {
  for (const place of Object.keys(EXCEPTIONS)) {
    if (place === "src/runtime/") continue;
    const used = new Set(
      SOURCES.filter((path) => path.startsWith(place)).flatMap((path) => usesOf(path, IMPURE)).map((use) =>
        use.name
      ),
    );
    const idle = EXCEPTIONS[place].filter((name) => !used.has(name));
    deepStrictEqual(idle, [], `${place} no longer uses ${idle.join(", ")}; remove the exception`);
  }
});

Deno.test("usesOf() finds uses in code, and nothing in comments, strings and members", async () => {
  const path = "tests/repo/purity_sample.ts";
  const found = usesOf(path, IMPURE).map(({ line, name }) => `${line} ${name}`);
  const expected: string[] = [];
  const text = await Deno.readTextFile(new URL("purity_sample.ts", import.meta.url));
  text.split("\n").forEach((line, i) => {
    const wanted = /\/\/ finds (.*)$/.exec(line);
    for (const name of wanted?.[1].split(", ") ?? []) expected.push(`${i + 1} ${name}`);
  });
  ok(expected.length > 5);
  deepStrictEqual(found.sort(), expected.sort());
});
