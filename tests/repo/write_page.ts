/**
 * Builds the admin page: `src/admin/page/` becomes one document in `src/admin/page/built.ts`, a string that the executable
 * carries. `deno task page` runs it; page_test.ts checks that it has been run.
 *
 *   main.ts ──Bun──► script ─┐
 *   style.css, uPlot's ──────┼──► index.html ──► built.ts: PAGE, whose policy has the hashes of script and style
 *   dark.css (into it) ──────┘
 */
import { createHash } from "node:crypto";
import { BUN, ROOT } from "../lib/repo.ts";

const SOURCE = `${ROOT}/src/admin/page`;
const BUILT = `${SOURCE}/built.ts`;
const NOTICE = "uPlot, https://github.com/leeoniya/uPlot, MIT, © Leon Sorokin and contributors";

/** What built.ts should be. Throws with Bun's own words if the script cannot be built. */
export function builtPage(): string {
  const script = bundled();
  const dark = /:root \{([^}]*)\}/.exec(readText(`${SOURCE}/dark.css`))![1]!;
  const style = squeezed(
    readText(`${ROOT}/node_modules/uplot/dist/uPlot.min.css`) +
      readText(`${SOURCE}/style.css`).replaceAll("/*DARK*/", () => dark),
  );
  // What it may be framed by stands in the answer's head: a document cannot say that of itself.
  const policy = [
    "default-src 'none'",
    `script-src '${hashOf(script)}'`,
    `style-src '${hashOf(style)}'`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  const page = readText(`${SOURCE}/index.html`)
    .replace("/*POLICY*/", () => policy)
    .replace(/\s*\/\*STYLE\*\/\s*/, () => style)
    .replace(/\s*\/\*SCRIPT\*\/\s*/, () => script)
    .replace("<html", () => `<!-- ${NOTICE} -->\n<html`);
  return `// Made by "deno task page" from what is beside it; not to be edited.\n// deno-fmt-ignore-file\n// deno-lint-ignore-file\n` +
    `/** The page, whole: script and style are in it, and its policy allows these two and nothing from elsewhere. */\n` +
    `export const PAGE = ${JSON.stringify(page)};\n`;
}

function bundled(): string {
  const args = ["build", `${SOURCE}/main.ts`, "--target=browser", "--format=iife", "--minify"];
  const { code, stdout, stderr } = new Deno.Command(BUN, { args, cwd: ROOT, stdin: "null" }).outputSync();
  if (code !== 0) throw new Error(`the page's script cannot be built:\n${new TextDecoder().decode(stderr)}`);
  // It stands in a script element.
  return new TextDecoder().decode(stdout).trim().replaceAll("</script", "<\\/script");
}

/** Without comments and without space that means nothing. */
function squeezed(style: string): string {
  return style.replaceAll(/\/\*.*?\*\//gs, "").replaceAll(/\s+/g, " ").replaceAll(/ ?([{};,]) ?/g, "$1")
    .trim();
}

const hashOf = (text: string): string => `sha256-${createHash("sha256").update(text).digest("base64")}`;
const readText = (path: string): string => Deno.readTextFileSync(path);

if (import.meta.main) {
  Deno.writeTextFileSync(BUILT, builtPage());
}
