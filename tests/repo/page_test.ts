/** The admin page is one file, made from its sources, that needs nothing from elsewhere. */
import { deepStrictEqual, ok } from "node:assert/strict";
import { PAGE } from "../../src/admin/page/built.ts";
import { ROOT } from "../lib/repo.ts";
import { importsOf, SOURCES } from "./source.ts";
import { builtPage } from "./write_page.ts";

const SIZE_MAX = 160 * 1024;

Deno.test("the built page is in step with its sources", () => {
  const built = Deno.readTextFileSync(`${ROOT}/src/admin/page/built.ts`);
  ok(built === builtPage(), `run "deno task page"`);
});

Deno.test("the built page is small and refers to nothing outside it", () => {
  ok(PAGE.length < SIZE_MAX, `it has ${PAGE.length} characters`);
  const outside = [...PAGE.matchAll(/(?:src|href|action)\s*=\s*["']([^"']*)/g)].map((m) => m[1]!)
    .filter((to) => !to.startsWith("#") && !to.startsWith("data:"));
  deepStrictEqual(outside, []);
  ok(!/url\(|@import/.test(PAGE.slice(0, PAGE.indexOf("<script>"))));
});

Deno.test("of the rest of src/ the page has what is listed here: whoever changes these builds it again", () => {
  const others = SOURCES.filter((path) => path.startsWith("src/admin/page/"))
    .flatMap(importsOf)
    .filter(({ to, typeOnly }) => to !== null && !typeOnly && !to.startsWith("src/admin/page/"))
    .map(({ to }) => to!);
  deepStrictEqual([...new Set(others)].sort(), ["src/topology/plan_svg.ts", "src/topology/plan_text.ts"]);
});
