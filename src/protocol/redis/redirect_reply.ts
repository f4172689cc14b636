/**
 * What a node of a cluster says instead of an answer, when another one has the key or none can answer now.
 *
 *   -MOVED 3999 127.0.0.1:6381     another node owns the slot
 *   -ASK 3999 127.0.0.1:6381       the slot is moving, and this key has moved, or is not there: ask the other one, for this request only
 *   -TRYAGAIN …                    the slot is moving, and some of the keys have moved
 *   -CLUSTERDOWN …                 no node serves keys, or nobody owns this slot
 *   -UNBLOCKED force unblock …     another node has taken this one's place while a command waited (Redis; Valkey says MOVED)
 *
 * Nothing of the request has been done where this is said. Words as Redis 7.0 and 8.6 and Valkey 9.1 say them.
 */
import { encode, latin1, startsWith } from "../../bytes/ascii.ts";
import { parseDecimal } from "../../bytes/decimal.ts";
import { command } from "./encode.ts";

export const MOVED = 0;
export const ASK = 1;
export const TRYAGAIN = 2;
export const CLUSTERDOWN = 3;
export const UNBLOCKED = 4;

export interface Redirect {
  /** MOVED, ASK, TRYAGAIN, CLUSTERDOWN or UNBLOCKED. */
  readonly kind: number;
  /** -1 = not said. */
  readonly slot: number;
  /** Of the node to ask. "" = the host of whoever says it; "?" = not known. Without brackets. */
  readonly host: string;
  /** 0 = none is named. */
  readonly port: number;
}

/** To be said right before a request that goes where -ASK has pointed, on the same connection: it lasts for one command. */
export const ASKING: Uint8Array = command("ASKING");

const MOVED_START = encode("-MOVED ");
const ASK_START = encode("-ASK ");
const NO_NODE = { slot: -1, host: "", port: 0 };
const WITHOUT_NODE: readonly (readonly [Uint8Array, Redirect])[] = [
  [encode("-TRYAGAIN "), { kind: TRYAGAIN, ...NO_NODE }],
  [encode("-CLUSTERDOWN "), { kind: CLUSTERDOWN, ...NO_NODE }],
  [encode("-UNBLOCKED force unblock "), { kind: UNBLOCKED, ...NO_NODE }],
];

/** What the reply `bytes[start, end)` says; null if it is none of these. Borrowed. */
export function readRedirect(bytes: Uint8Array, start: number, end: number): Redirect | null {
  if (startsWith(bytes, start, end, MOVED_START)) return readNode(MOVED, bytes, start + 7, end);
  if (startsWith(bytes, start, end, ASK_START)) return readNode(ASK, bytes, start + 5, end);
  for (const [words, redirect] of WITHOUT_NODE) if (startsWith(bytes, start, end, words)) return redirect;
  return null;
}

/** `<slot> <host>:<port>`, and perhaps more words. */
function readNode(kind: number, bytes: Uint8Array, start: number, end: number): Redirect | null {
  const [slotText, node] = latin1(bytes, start, end).trimEnd().split(" ");
  const colon = node?.lastIndexOf(":") ?? -1;
  if (slotText === undefined || node === undefined || colon < 0) return null;
  const slot = decimal(slotText);
  const port = decimal(node.slice(colon + 1));
  if (slot < 0 || slot > 16383 || port < 1 || port > 65535) return null;
  const host = node.slice(0, colon);
  return { kind, slot, host: host.startsWith("[") ? host.slice(1, -1) : host, port };
}

function decimal(text: string): number {
  const bytes = encode(text);
  return parseDecimal(bytes, 0, bytes.length);
}

const NOSCRIPT_START = encode("-NOSCRIPT No matching script");
const NO_FUNCTION_START = encode("-ERR Function not found\r\n");

/** Does a node say that it does not know a script? Whoever makes up just these words in a script is not told from it. */
export function lacksScript(bytes: Uint8Array, start: number, end: number): boolean {
  return startsWith(bytes, start, end, NOSCRIPT_START);
}

/** The same of a function. */
export function lacksFunction(bytes: Uint8Array, start: number, end: number): boolean {
  return startsWith(bytes, start, end, NO_FUNCTION_START);
}
