/** `ringmaster man`: the manual page, made from the tables of the command line. Checked with mandoc -T lint. */
import { VERSION } from "../stats/version.ts";
import { type Command, COMMANDS, type Flag } from "./flags.ts";

/** Of the page, not of the day: the same page is made everywhere. */
const DATE = "2026-11-29";
const LINE_MAX = 78;

export function manPage(): string {
  const proxy = COMMANDS.find(({ name }) => name === "")!;
  const others = COMMANDS.filter(({ name }) => name !== "");
  return [
    `.TH RINGMASTER 1 ${DATE} "ringmaster ${VERSION}" "User Commands"`,
    ".SH NAME",
    "ringmaster \\- a sharding proxy for Redis and memcached",
    ".SH SYNOPSIS",
    ".B ringmaster",
    text(proxy.usage),
    ".br",
    ".B ringmaster",
    text("COMMAND [flags] …"),
    ".SH DESCRIPTION",
    ...prose(
      "It listens where clients of Redis and memcached connect, and sends each request to the server that owns its key. " +
        "Configuration files and flags of twemproxy (nutcracker) are understood as they are.",
    ),
    ".SH OPTIONS",
    ...flagsOf(proxy),
    ...notesOf(proxy),
    ".SH COMMANDS",
    ...others.flatMap((command) => [
      `.SS "${text(`ringmaster ${command.name} ${command.usage}`.trim())}"`,
      ...prose(command.sentence),
      ...flagsOf(command),
      ...notesOf(command),
    ]),
    ".SH FILES",
    ".TP",
    ".I conf/ringmaster.yml, conf/nutcracker.yml",
    text("read in this order where no file is named"),
    ".SH SEE ALSO",
    ".BR redis\\-server (1),",
    ".BR memcached (1)",
    "",
  ].join("\n");
}

function flagsOf({ flags }: Command): string[] {
  return flags.flatMap((flag) => [".TP", `.B ${spelled(flag)}`, ...prose(flag.sentence)]);
}

function spelled({ short, long, value }: Flag): string {
  const names = short === "" ? `--${long}` : `-${short}, --${long}`;
  return text(value === "" ? names : `${names}=${value}`);
}

/** Lines as they stand. */
function notesOf({ notes }: Command): string[] {
  return notes.flatMap((note) => [".PP", ".nf", ...note.split("\n").map(text), ".fi"]);
}

/** In lines that mandoc does not find too long. */
function prose(words: string): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text(words).split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (longer.length > LINE_MAX && line !== "") lines.push(line);
    line = longer.length > LINE_MAX ? word : longer;
  }
  // A word that has come to the start of a line may look like a request.
  return [...lines, line].map((each) => each.replace(/^[.']/, "\\&$&"));
}

/** For roff: what would be read as a request or an escape is not. */
function text(words: string): string {
  const escaped = words.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll('"', "\\(dq")
    .replace(
      /[^\x20-\x7e]/g,
      (letter) => `\\[u${letter.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}]`,
    );
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}
