/** Completions and the manual page: nothing of the command line is left out, and bash does what it is told. */
import { deepStrictEqual, ok } from "node:assert/strict";
import { completions } from "../../src/cli/completions.ts";
import { COMMANDS, SHELLS } from "../../src/cli/flags.ts";
import { manPage } from "../../src/cli/man.ts";

for (const shell of SHELLS) {
  Deno.test(`completions of ${shell} know every command and flag`, () => {
    const script = completions(shell);
    for (const { name, flags } of COMMANDS) {
      ok(script.includes(name), name);
      for (const { long } of flags) {
        ok(script.includes(shell === "fish" ? `-l ${long}` : `--${long}`), `${name} --${long}`);
      }
    }
  });
}

Deno.test("the manual page has every command and flag, in lines that are not long", () => {
  const page = manPage();
  const lines = page.split("\n");
  for (const { name, usage, flags } of COMMANDS) {
    const head = `ringmaster ${name} ${usage}`.trim().split(" ").slice(0, name === "" ? 1 : 2).join(" ");
    ok(page.includes(head), head);
    for (const { long, short } of flags) {
      const spelled = `\\-\\-${long.replaceAll("-", "\\-")}`;
      ok(
        lines.some((line) => line.startsWith(`.B ${short === "" ? "" : `\\-${short}, `}${spelled}`)),
        `${name} ${long}`,
      );
    }
  }
  let asIs = false;
  for (const line of lines) {
    if (line === ".nf" || line === ".fi") asIs = line === ".nf";
    ok(/^[\x20-\x7e]*$/.test(line), line);
    ok(asIs || line.startsWith(".") || line.length <= 80, line);
  }
});

const ASKED: readonly (readonly [string, readonly string[]])[] = [
  ["ringmaster pl", ["plan"]],
  ["ringmaster --log-f", ["--log-format"]],
  ["ringmaster --log-format ", ["text", "json"]],
  ["ringmaster --log-format = j", ["json"]],
  ["ringmaster completions ", [...SHELLS]],
  ["ringmaster plan --ke", ["--keys"]],
  ["ringmaster route --statis", []],
];

Deno.test("bash completes commands, flags and their values", async () => {
  const asked = ASKED.map(([line]) => `ask ${line.split(" ").map((word) => `"${word}"`).join(" ")}`);
  const script = `${completions("bash")}
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ringmaster; echo "\${COMPREPLY[*]}"; }
${asked.join("\n")}
`;
  const { stdout, stderr } = await new Deno.Command("bash", { args: ["-c", script] }).output();
  const text = new TextDecoder();
  deepStrictEqual(
    [text.decode(stdout).trimEnd().split("\n").concat([""]).slice(0, ASKED.length), text.decode(stderr)],
    [ASKED.map(([, words]) => words.join(" ")), ""],
  );
});
