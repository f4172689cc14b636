/** What has been found in one pool so far: numbers, and the first few keys of each kind. */
import { latin1 } from "../bytes/ascii.ts";
import { shown } from "../bytes/shown.ts";
import { type DifferenceKind, DIFFERENCES } from "./reading.ts";

/** Keys of one kind that are shown. */
export const SHOWN_DEFAULT = 5;

export type Kind = DifferenceKind | "placement" | "misplaced";

export interface Example {
  readonly kind: Kind | "stray" | "changing" | "unread";
  /** As bytes. */
  readonly key: Uint8Array;
  readonly text: string;
}

export class Tally {
  /** Keys that were looked at, each once. */
  keys = 0;
  /** Keys that both sides have, and that are the same. */
  same = 0;
  /** Keys that neither side has. */
  gone = 0;
  /** Keys of which only a part was compared, since they are large. */
  parts = 0;
  /** Keys that had to be read more than once. */
  again = 0;
  /** Keys that changed each time they were read. */
  changing = 0;
  /** Keys of which at least one side did not say what they are. */
  unread = 0;
  /** Keys on a server that the file does not say, of which clients read another copy, or none. */
  strays = 0;
  readonly differences: Record<Kind, number> = {
    missing: 0,
    extra: 0,
    type: 0,
    value: 0,
    ttl: 0,
    error: 0,
    placement: 0,
    misplaced: 0,
  };
  readonly examples: Example[] = [];
  /** Why nothing more can be said of some keys, and for how many; for people. */
  readonly reasons = new Map<string, number>();
  /** Sentences. */
  readonly notes: string[] = [];
  /** Servers of which keys could not be had. */
  readonly unscanned: string[] = [];

  constructor(private readonly shownMax: number) {}

  differs(kind: Kind, key: Uint8Array, text: string): void {
    this.differences[kind]++;
    this.show(kind, key, text);
  }

  show(kind: Example["kind"], key: Uint8Array, text: string): void {
    let shownOfKind = 0;
    for (const example of this.examples) if (example.kind === kind) shownOfKind++;
    if (shownOfKind < this.shownMax) this.examples.push({ kind, key, text });
  }

  /** What was called misplaced are leftovers. */
  forgive(keys: number): void {
    this.differences.misplaced = 0;
    this.strays += keys;
    const kept = this.examples.filter(({ kind }) => kind !== "misplaced");
    this.examples.splice(0, this.examples.length, ...kept);
  }

  cannotTell(key: Uint8Array, why: string): void {
    this.unread++;
    // Servers put what they like into errors.
    if (this.reasons.size < REASONS_MAX || this.reasons.has(why)) {
      this.reasons.set(why, (this.reasons.get(why) ?? 0) + 1);
    }
    this.show("unread", key, why);
  }

  get different(): boolean {
    return Object.values(this.differences).some((count) => count > 0);
  }

  /** Some of what was to be compared was not. */
  get incomplete(): boolean {
    return this.unread > 0 || this.unscanned.length > 0;
  }
}

const REASONS_MAX = 100;

export const KINDS: Readonly<Record<Kind, string>> = {
  ...DIFFERENCES,
  placement: "keys that the two files give to different servers",
  misplaced: "keys that lie on another server than a file says",
};

// deno-lint-ignore no-control-regex
const ORDERS = /[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"]/g;
const escaped = (letter: string): string =>
  letter === '"' ? '\\"' : `\\x${letter.charCodeAt(0).toString(16).padStart(2, "0")}`;

/** A key in a line of text: what is no printable text as \xNN, in quotes. */
export function keyShown(key: Uint8Array): string {
  const cut = key.length > 200 ? `… (${key.length} bytes)` : "";
  return `"${shown(latin1(key, 0, Math.min(key.length, 200))).replace(ORDERS, escaped)}"${cut}`;
}
