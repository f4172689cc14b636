/**
 * How long a command waits on its server, as it says itself: to ask for what is left of that when it is sent once more.
 *
 *   BLPOP key … SECONDS      BLMPOP SECONDS …      XREAD … BLOCK MILLISECONDS …      0 = for ever
 */
import { latin1 } from "../../bytes/ascii.ts";
import { Args } from "./args.ts";
import { resolve } from "./commands.ts";
import { commandOf } from "./encode.ts";
import { RequestResume, scanRequest } from "./request.ts";

const LAST = new Set(["BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX"]);
const FIRST = new Set(["BLMPOP", "BZMPOP"]);
/** Words before BLOCK are few: COUNT, GROUP, NOACK and theirs. */
const OPTIONS_MAX = 10;
const ANY_SIZE = { requestSizeMax: Infinity, argumentsMax: Infinity };
/** What is not a whole wait any more, is this: servers take 0 for ever. */
const LEAST_MS = 1;

const args = new Args();

/** What a request says of its time: in which argument, in which unit (ms), and how long in all, ms. Null if it waits for ever. */
function timeIn(request: Uint8Array): { at: number; unitMs: number; wholeMs: number } | null {
  if (scanRequest(request, 0, request.length, args, ANY_SIZE, new RequestResume()) < 0) return null;
  const name = resolve(request, args)?.name ?? "";
  const word = (i: number) => latin1(request, args.starts[i]!, args.ends[i]!);
  let at = LAST.has(name) ? args.count - 1 : FIRST.has(name) ? 1 : -1;
  let unitMs = 1000;
  if (name === "XREAD" || name === "XREADGROUP") {
    unitMs = 1;
    for (let i = 1; i < Math.min(args.count - 1, OPTIONS_MAX) && at < 0; i++) {
      // As far as a server reads it that takes it for a C string.
      if (word(i).split("\0", 1)[0]!.toUpperCase() === "BLOCK") at = i + 1;
    }
  }
  const time = at < 0 ? NaN : Number(word(at));
  return time > 0 ? { at, unitMs, wholeMs: time * unitMs } : null;
}

/** How long it waits, ms; Infinity if for ever. */
export function waitOf(request: Uint8Array): number {
  return timeIn(request)?.wholeMs ?? Infinity;
}

/** `request` as it is, or with its time less by `passedMs`; a new array if it has one. */
export function waitLeft(request: Uint8Array, passedMs: number): Uint8Array {
  const time = passedMs < LEAST_MS ? null : timeIn(request);
  if (time === null) return request;
  const { at, unitMs, wholeMs } = time;
  const leftMs = Math.max(LEAST_MS, Math.ceil(wholeMs - passedMs));
  const words = Array.from(
    { length: args.count },
    (_, i) => request.subarray(args.starts[i]!, args.ends[i]!),
  );
  return commandOf(words.map((each, i) => i === at ? String(leftMs / unitMs) : each));
}
