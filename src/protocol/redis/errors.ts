/**
 * Error replies Ringmaster makes itself: Redis 7's exact texts where Redis has one (compared with a real server in
 * tests/real/redis_commands_test.ts), and refusals that say why and what to do instead.
 */
import { encode, latin1 } from "../../bytes/ascii.ts";
import type { Args } from "./args.ts";
import { type Command, FLAG, ROUTE } from "./command.ts";
import { findCommand } from "./commands.ts";
import type { KeyList } from "./keys.ts";

/** As Redis: how much of what the client sent is shown back to it, in bytes. */
const SHOWN_MAX = 128;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;

export const CROSSSLOT = encode("-CROSSSLOT Keys in request don't hash to the same server\r\n");
const CROSSSLOT_BRACES = encode(
  "-CROSSSLOT Keys in request don't hash to the same server: this pool has no hash_tag, so all of a key counts; " +
    'set hash_tag: "{}" and what is in braces decides\r\n',
);
/** As Redis says it in a cluster. */
export const CROSSSLOT_SLOTS = encode("-CROSSSLOT Keys in request don't hash to the same slot\r\n");
export const NOAUTH = encode("-NOAUTH Authentication required\r\n");
export const SYNTAX_ERROR = encode("-ERR syntax error\r\n");
export const NOT_AN_INTEGER = encode("-ERR value is not an integer or out of range\r\n");
export const CLUSTER_DISABLED = encode("-ERR This instance has cluster support disabled\r\n");

/** An error reply of one line; the caller's. `text` begins with the error's code ("ERR …"). */
export function errorReply(text: string): Uint8Array {
  return latin1Bytes(`-${oneLine(text)}\r\n`);
}

/** Braces are looked for in so many keys: one that has none of them there is not meant for a cluster. */
const BRACES_MAX = 256;

/**
 * For a request whose keys are on several servers.
 * @param keys its keys, among its arguments
 * @param hashTag the pool's, or null: then keys in braces were meant to have one
 */
export function crossSlot(
  bytes: Uint8Array,
  args: Args,
  keys: KeyList,
  hashTag: Uint8Array | null,
): Uint8Array {
  if (hashTag !== null) return CROSSSLOT;
  for (let i = 0; i < Math.min(keys.count, BRACES_MAX); i++) {
    const key = bytes.subarray(args.starts[keys.at[i]!], args.ends[keys.at[i]!]);
    const open = key.indexOf(OPEN_BRACE);
    if (open >= 0 && key.indexOf(CLOSE_BRACE, open) > open + 1) return CROSSSLOT_BRACES;
  }
  return CROSSSLOT;
}

/** "-ERR wrong number of arguments for 'client|setname' command". */
export function arityError(command: Command): Uint8Array {
  const text = `wrong number of arguments for '${command.lower}' command`;
  // EXEC that is no good ends the transaction all the same, and says so.
  return errorReply(
    command.name === "EXEC" ? `EXECABORT Transaction discarded because of: ${text}` : `ERR ${text}`,
  );
}

/** For a request of more arguments than make sense. */
export function tooManyError(command: Command, max: number): Uint8Array {
  return errorReply(
    `ERR too many arguments for '${command.lower}' command: at most ${max} through this proxy`,
  );
}

/**
 * For a request that `resolve` does not know: an unknown subcommand of a known container, or an unknown command.
 * @param container the command that has been found, if it is not in the table
 */
export function unknownError(bytes: Uint8Array, args: Args, container?: Command): Uint8Array {
  const start = args.starts[0]!;
  const end = args.ends[0]!;
  container ??= findCommand(bytes, start, end);
  if (container !== undefined && args.count > 1) {
    const word = shown(bytes, args.starts[1]!, args.ends[1]!);
    return errorReply(`ERR unknown subcommand '${word}'. Try ${container.name} HELP.`);
  }
  let rest = "";
  for (let i = 1; i < args.count && rest.length < SHOWN_MAX; i++) {
    rest += `'${shown(bytes, args.starts[i]!, args.ends[i]!, SHOWN_MAX - rest.length)}' `;
  }
  return errorReply(`ERR unknown command '${shown(bytes, start, end)}', with args beginning with: ${rest}`);
}

/** What a pool without dangerous commands refuses. */
const DENIED = FLAG.DANGEROUS | FLAG.CLEARS;

/** Must the command be refused, in a pool where dangerous commands are (not) allowed? */
export function isRefused(command: Command, dangerousAllowed: boolean): boolean {
  return command.route === ROUTE.REFUSED || ((command.flags & DENIED) !== 0 && !dangerousAllowed);
}

/** Why the command is refused and what to do instead. */
export function refusal(command: Command): Uint8Array {
  const name = command.name.replace("|", " ");
  if (command.route === ROUTE.REFUSED) return errorReply(`ERR '${name}' ${command.hint}`);
  return errorReply(
    `ERR '${name}' is refused because it can harm more than this client's keys; ` +
      "run it on the servers themselves, or set dangerous_commands: allow for this pool",
  );
}

/** `bytes[start, end)` as Redis prints an argument in an error: up to a NUL, and not all of a long one. */
export function shown(bytes: Uint8Array, start: number, end: number, sizeMax = SHOWN_MAX): string {
  let stop = start;
  const last = Math.min(end, start + sizeMax);
  while (stop < last && bytes[stop] !== 0) stop++;
  return latin1(bytes, start, stop);
}

/**
 * What FUNCTION LIST is answered if its server would repeat an argument that is more than one line. Valkey 9.1.2 repeats it as it is,
 * and the rest would be taken for the next reply, whoever waits for that; others write blanks, as this does. Null if there is no
 * such argument. (Of all commands of Redis 7.0 and 8.6 and Valkey 9.1 no other does it.)
 */
export function functionListError(bytes: Uint8Array, args: Args): Uint8Array | null {
  let code = false;
  let library = false;
  for (let i = 2; i < args.count; i++) {
    const word = latin1(bytes, args.starts[i]!, args.ends[i]!);
    const lower = word.toLowerCase();
    if (lower === "withcode" && !code) code = true;
    else if (lower === "libraryname" && !library) {
      library = true;
      // Its pattern is not repeated.
      i++;
    } else return /[\r\n]/.test(word) ? errorReply(`ERR Unknown argument ${word}`) : null;
  }
  return null;
}

function oneLine(text: string): string {
  return text.replaceAll("\r", " ").replaceAll("\n", " ");
}

/** The client's own bytes go back as they came, so one character is one byte here. */
function latin1Bytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}
