/** The arguments of a request as people may see them: shortened, and hidden where they may be passwords. */
import { shownWord } from "../../bytes/shown.ts";
import type { Args } from "./args.ts";
import type { Command } from "./command.ts";

const WORDS_MAX = 8;
const WORD_MAX = 64;
const HIDDEN = "(hidden)";

/** Their arguments are passwords, or may be among them. */
const SECRETIVE: ReadonlySet<string> = new Set([
  "AUTH",
  "HELLO",
  "MIGRATE",
  "CONFIG|SET",
  "ACL|SETUSER",
  "ACL|GENPASS",
  "ACL|DRYRUN",
]);

/**
 * What stands behind the command's name.
 * @param noted so many arguments are in `args`
 */
export function shownWords(command: Command, bytes: Uint8Array, args: Args, noted: number): string[] {
  const first = command.container === null ? 1 : 2;
  if (args.count <= first) return [];
  if (SECRETIVE.has(command.name)) return [HIDDEN];
  const words: string[] = [];
  const last = Math.min(noted, first + WORDS_MAX);
  for (let i = first; i < last; i++) words.push(shownWord(bytes, args.starts[i]!, args.ends[i]!, WORD_MAX));
  if (args.count > last) words.push(`… (${args.count - last} more)`);
  return words;
}
