/**
 * Scripts and functions of simulated clusters: their texts, and which of them every node has to be able to run, since somebody was told
 * that they are loaded. The proxy tells a node what it lacks, so its clients never read that a node has never heard of it.
 */
import { createHash } from "node:crypto";
import type { Reply } from "../../src/demo/redis/resp.ts";

const digests = new Map<string, string>();

/** In hex. */
export function sha1(text: string): string {
  let digest = digests.get(text);
  if (digest === undefined) {
    digest = createHash("sha1").update(text).digest("hex");
    digests.set(text, digest);
  }
  return digest;
}

export const SCRIPTS: readonly string[] = ["return0", "return1", "return2"];
export const LIBRARIES: readonly string[] = ["lib0", "lib1"];

/** Whatever its text, its function is GET of its key. @param version makes it another text */
export function libraryText(name: string, version: number): string {
  return `#!lua name=${name}\nredis.register_function('${functionOf(name)}', get) -- ${version}`;
}

export function functionOf(library: string): string {
  return `of_${library}`;
}

/** What workers have told each other by then, ms. */
const HEARD_MS = 1;
/** What a node has been told it is not told again for so long (TOLD_MS in scripts.ts), and whatever is on its way. */
const TOLD_MS = 1100;

/** What clients may rely on. */
export class Loaded {
  /** Since when; by text, or a library's name. */
  private readonly sinceMs = new Map<string, number>();
  /** When somebody began to take some of it away, for the last time, and how often that is not over. */
  private lostMs = -Infinity;
  private losing = 0;
  private forgotMs = -Infinity;

  constructor(private readonly nowMs: () => number) {}

  /** SCRIPT LOAD, or FUNCTION LOAD, that was sent then, has been answered. */
  loaded(name: string, sentMs: number): void {
    if (this.losing > 0 || this.lostMs >= sentMs || this.sinceMs.has(name)) return;
    this.sinceMs.set(name, this.nowMs() + HEARD_MS);
  }

  /** Some of it is about to be taken away. @returns to be called when it has been */
  loses(): () => void {
    this.losing++;
    const lost = () => {
      this.lostMs = this.nowMs() + HEARD_MS;
      this.sinceMs.clear();
    };
    lost();
    return () => {
      this.losing--;
      lost();
    };
  }

  /** A node has forgotten its scripts, and nobody has been told. */
  forgotten(): void {
    this.forgotMs = this.nowMs();
  }

  /** May whoever has asked for this then read that nobody knows it? */
  mayLack(name: string, madeAtMs: number): boolean {
    const sinceMs = this.sinceMs.get(name) ?? Infinity;
    return sinceMs > madeAtMs || this.lostMs >= madeAtMs || this.forgotMs >= madeAtMs - TOLD_MS;
  }

  /** What all nodes are to have now. */
  has(name: string): boolean {
    return !this.mayLack(name, this.nowMs());
  }
}

/** A dump without functions is so long. */
const DUMP_MARK = "0123456789";
const READONLY = "-READONLY You can't write against a read only replica.\r\n";

/** The name in `#!lua name=library`. */
function libraryOf(text: string): string {
  return /\sname=(\S+)/.exec(text)![1]!;
}

/** FUNCTION, of a server with these libraries. */
export function executeFunction(
  libraries: Map<string, string>,
  reply: Reply,
  what: string,
  args: readonly string[],
  isPrimary: boolean,
): void {
  if (what === "list") {
    const names = [...libraries.keys()].filter((name) => args[3] === undefined || name === args[3]);
    return reply.bulks(names, names.length);
  }
  if (what === "dump") {
    return reply.bulk(DUMP_MARK + [...libraries.values()].map((text) => `\0${text}`).join(""));
  }
  if (!isPrimary) {
    reply.text += READONLY;
    return;
  }
  const replaces = args.some((word) => word.toUpperCase() === "REPLACE");
  switch (what) {
    case "load":
    case "restore": {
      const texts = what === "load" ? [args.at(-1)!] : args[2]!.split("\0").slice(1);
      const names = texts.map(libraryOf);
      const there = names.find((name) => libraries.has(name));
      if (there !== undefined && !replaces) {
        return reply.error(`ERR Library ${what === "load" ? `'${there}'` : there} already exists`);
      }
      names.forEach((name, i) => libraries.set(name, texts[i]!));
      return what === "load" ? reply.bulk(names[0]!) : reply.ok();
    }
    case "delete":
      return libraries.delete(args[2]!) ? reply.ok() : reply.error("ERR Library not found");
    case "flush":
      libraries.clear();
      return reply.ok();
    default:
      reply.error(`ERR unknown subcommand '${args[1]}'. Try FUNCTION HELP.`);
  }
}
