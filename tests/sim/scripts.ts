/**
 * Scripts and functions of simulated clusters: their texts, and which of them every node has to be able to run, since somebody was told
 * that they are loaded. The proxy tells a node what it lacks, so its clients never read that a node has never heard of it.
 */
import { createHash } from "node:crypto";

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
