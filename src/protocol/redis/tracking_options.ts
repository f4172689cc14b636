/**
 * The options of CLIENT TRACKING, as Redis 7 reads them and in its words where they are wrong.
 *
 *   CLIENT TRACKING ON|OFF [REDIRECT id] [BCAST] [PREFIX p …] [OPTIN] [OPTOUT] [NOLOOP]
 *
 * Checked here and not by a server, since REDIRECT names a client of the proxy's, and what servers are told is another request:
 * `trackingRequest`.
 */
import { latin1 } from "../../bytes/ascii.ts";
import type { Args } from "./args.ts";
import { commandOf } from "./encode.ts";
import { errorReply, NOT_AN_INTEGER, shown, SYNTAX_ERROR } from "./errors.ts";
import { ReplyWriter } from "./reply_writer.ts";

export interface TrackingOptions {
  readonly on: boolean;
  /** The client that gets the invalidations; 0 = the one that reads. */
  readonly redirect: number;
  readonly bcast: boolean;
  /** Latin1 text, in order of bytes; only with `bcast`, and then "" stands for every key. */
  readonly prefixes: readonly string[];
  readonly optin: boolean;
  readonly optout: boolean;
  readonly noloop: boolean;
}

/** What CLIENT TRACKINGINFO tells of a client that tracks. */
export interface TrackingState {
  readonly options: TrackingOptions;
  /** CLIENT CACHING has been said for the next request. */
  readonly cachingSaid: boolean;
  /** The client that should get the invalidations was gone when there was one. */
  readonly broken: boolean;
}

/**
 * Reads the options of a request.
 * @param refuses the error for a client that cannot be redirected to, or null
 * @returns an error reply if they are wrong
 */
export function parseTracking(
  bytes: Uint8Array,
  args: Args,
  refuses: (id: number) => Uint8Array | null,
): TrackingOptions | Uint8Array {
  const prefixes: string[] = [];
  const words = new Set<string>();
  let redirect = 0;
  for (let i = 3; i < args.count; i++) {
    const option = shown(bytes, args.starts[i]!, args.ends[i]!).toUpperCase();
    const value = i + 1 < args.count ? latin1(bytes, args.starts[i + 1]!, args.ends[i + 1]!) : null;
    if (option === "REDIRECT" && value !== null) {
      if (redirect !== 0) return errorReply("ERR A client can only redirect to a single other client");
      if (!/^(0|-?[1-9][0-9]{0,18})$/.test(value) || !isInt64(value)) return NOT_AN_INTEGER;
      redirect = Number(value);
      const refusal = refuses(redirect);
      if (refusal !== null) return refusal;
      i++;
    } else if (option === "PREFIX" && value !== null) {
      prefixes.push(value);
      i++;
    } else if (/^(BCAST|OPTIN|OPTOUT|NOLOOP)$/.test(option)) words.add(option);
    else return SYNTAX_ERROR;
  }
  const mode = shown(bytes, args.starts[2]!, args.ends[2]!).toUpperCase();
  if (mode !== "ON" && mode !== "OFF") return SYNTAX_ERROR;
  return {
    on: mode === "ON",
    redirect,
    bcast: words.has("BCAST"),
    prefixes: words.has("BCAST") && prefixes.length === 0 ? [""] : prefixes,
    optin: words.has("OPTIN"),
    optout: words.has("OPTOUT"),
    noloop: words.has("NOLOOP"),
  };
}

/** @param digits a whole number in decimal */
function isInt64(digits: string): boolean {
  return BigInt.asIntN(64, BigInt(digits)) === BigInt(digits);
}

/** Why tracking cannot be turned on with these options, or changed to them; null if it can. */
export function trackingConflict(
  wanted: TrackingOptions,
  present: TrackingOptions | null,
): Uint8Array | null {
  if (!wanted.bcast && wanted.prefixes.length > 0) {
    return errorReply("ERR PREFIX option requires BCAST mode to be enabled");
  }
  if (present !== null && present.bcast !== wanted.bcast) return cannotSwitch("BCAST mode on/off");
  if (wanted.bcast && (wanted.optin || wanted.optout)) {
    return errorReply("ERR OPTIN and OPTOUT are not compatible with BCAST");
  }
  if (wanted.optin && wanted.optout) {
    return errorReply("ERR You can't specify both OPTIN mode and OPTOUT mode");
  }
  if (present !== null && ((wanted.optin && present.optout) || (wanted.optout && present.optin))) {
    return cannotSwitch("OPTIN/OPTOUT mode");
  }
  return wanted.bcast ? prefixConflict(wanted.prefixes, present?.prefixes ?? []) : null;
}

function cannotSwitch(what: string): Uint8Array {
  return errorReply(
    `ERR You can't switch ${what} before disabling tracking for this client, and then re-enabling it with a ` +
      "different mode.",
  );
}

/** More prefixes than this of one client are refused: servers go through all of them at every write. */
export const PREFIXES_MAX = 4096;

function prefixConflict(wanted: readonly string[], present: readonly string[]): Uint8Array | null {
  // No prefix at all is no prefix to Redis, and overlaps with nothing.
  if (wanted.length === 1 && wanted[0] === "") return null;
  const first = firstOverlapping(wanted, present);
  if (first === -1) {
    return wanted.length + present.length <= PREFIXES_MAX
      ? null
      : errorReply(`ERR too many prefixes: a client may have ${PREFIXES_MAX} through this proxy`);
  }
  const prefix = wanted[first]!;
  const old = present.find((other) => overlap(prefix, other));
  if (old !== undefined) return overlapError(prefix, "an existing prefix", old);
  const other = wanted.find((other, i) => i > first && overlap(prefix, other))!;
  return overlapError(prefix, "another provided prefix", other);
}

/** The first of `wanted` that overlaps with another one, or with one of `present`; -1 = none. Does not compare each with each. */
function firstOverlapping(wanted: readonly string[], present: readonly string[]): number {
  const all = [...wanted, ...present];
  const order = Array.from(all, (_, i) => i).sort((a, b) =>
    all[a]! < all[b]! ? -1 : all[a]! > all[b]! ? 1 : 0
  );
  let first = wanted.length;
  // In order, what begins with a prefix comes right behind it: `open` holds those that the one at hand may begin with.
  const open: number[] = [];
  for (const i of order) {
    while (open.length > 0 && !all[i]!.startsWith(all[open.at(-1)!]!)) open.pop();
    if (open.length > 0) first = Math.min(first, i, open.at(-1)!);
    open.push(i);
  }
  return first === wanted.length ? -1 : first;
}

function overlap(a: string, b: string): boolean {
  return a.startsWith(b) || b.startsWith(a);
}

function overlapError(prefix: string, what: string, other: string): Uint8Array {
  return errorReply(
    `ERR Prefix '${prefix}' overlaps with ${what} '${other}'. Prefixes for a single client must not overlap.`,
  );
}

/** The options after a second CLIENT TRACKING ON: all are the new ones, but prefixes are added. */
export function mergeTracking(present: TrackingOptions, wanted: TrackingOptions): TrackingOptions {
  const prefixes = [...new Set([...present.prefixes, ...wanted.prefixes])].sort();
  return { ...wanted, prefixes };
}

/**
 * What a server is told.
 * @param redirect the server's own id of the connection that gets the invalidations; 0 = the one that reads
 */
export function trackingRequest(options: TrackingOptions, redirect: number): Uint8Array {
  const words = ["CLIENT", "TRACKING", "ON"];
  if (redirect !== 0) words.push("REDIRECT", String(redirect));
  if (options.bcast) words.push("BCAST");
  // One for every key says it all, and servers would find that it overlaps with the others.
  if (!options.prefixes.includes("")) { for (const prefix of options.prefixes) words.push("PREFIX", prefix); }
  if (options.optin) words.push("OPTIN");
  if (options.optout) words.push("OPTOUT");
  if (options.noloop) words.push("NOLOOP");
  return commandOf(words);
}

/** The reply to CLIENT TRACKINGINFO. @param state null = tracking is off */
export function trackingInfo(state: TrackingState | null, resp: 2 | 3): Uint8Array {
  const options = state?.options;
  const flags = options === undefined ? ["off"] : ["on"];
  if (options?.bcast) flags.push("bcast");
  if (options?.optin) flags.push("optin");
  if (options?.optin && state!.cachingSaid) flags.push("caching-yes");
  if (options?.optout) flags.push("optout");
  if (options?.optout && state!.cachingSaid) flags.push("caching-no");
  if (options?.noloop) flags.push("noloop");
  if (state?.broken) flags.push("broken_redirect");
  const prefixes = options?.prefixes ?? [];
  const reply = new ReplyWriter(resp).map(3).bulk("flags").set(flags.length);
  for (const flag of flags) reply.bulk(flag);
  reply.bulk("redirect").integer(redirectOf(state)).bulk("prefixes").array(prefixes.length);
  for (const prefix of prefixes) reply.bulkLatin1(prefix);
  return reply.take();
}

/** What CLIENT GETREDIR tells: -1 = tracking is off, 0 = not redirected. */
export function redirectOf(state: TrackingState | null): number {
  return state?.options.redirect ?? -1;
}
