/**
 * A conformance case as data, in four slots:
 *
 *   client sends ──► proxy ──► server must receive
 *   client must receive ◄── proxy ◄── server replies
 *
 * The two inner slots are there only in cases that run against scripted servers; the others run against real ones.
 * All text is one character per byte. `<closed>` at the end of what the client must receive says that the
 * connection ends there; without it the connection has to answer a PING afterwards.
 */
import { latin1, request, textOf } from "../lib/bytes.ts";

/** What cases run against; "ringmaster" stands for deno, bun and compiled in the notes. */
export type Target = "direct" | "nutcracker" | "deno" | "bun" | "compiled";
export const TARGETS: readonly Target[] = ["direct", "nutcracker", "deno", "bun", "compiled"];

/** An exact text, or a pattern for the whole of it. */
export type Expected = string | RegExp;

/** Another outcome than Ringmaster's, and why that is right. */
export interface Differs {
  readonly why: string;
  /** Absent: not run there. */
  readonly expect?: Expected;
  /** By server; absent: as for Ringmaster. */
  readonly receive?: readonly string[];
}

export interface Case {
  readonly name: string;
  readonly send: string;
  /** FIN after `send`. */
  readonly halfClose?: boolean;
  /** What each of the two scripted servers must have received, as it came. */
  readonly receive?: readonly string[];
  /** What each of the two scripted servers replies, one text a request. Its presence makes the servers scripted. */
  readonly reply?: readonly (readonly string[])[];
  readonly expect: Expected;
  /** How many replies, if `expect` is a pattern; 1 if absent. */
  readonly replies?: number;
  readonly differs?: { readonly direct?: Differs; readonly nutcracker?: Differs };
}

export const CLOSED = "<closed>";

/** Requests of words; a text is cut at its spaces. */
export function cmd(...requests: (string | readonly string[])[]): string {
  return requests
    .map((words) => textOf(request(...(typeof words === "string" ? words.split(" ") : words).map(latin1))))
    .join("");
}

export function bulk(...texts: (string | null)[]): string {
  return texts.map((text) => text === null ? "$-1\r\n" : `$${text.length}\r\n${text}\r\n`).join("");
}

export function array(...items: string[]): string {
  return `*${items.length}\r\n${items.join("")}`;
}
