/** What a simulated client sends in one go, with what may come back for it. */
import type { Expect } from "./expect.ts";

export interface Step {
  /** latin1 */
  readonly bytes: string;
  readonly expects: readonly Expect[];
  /** Nothing is sent after it. */
  readonly last: boolean;
}

/** One Redis request. */
export function step(args: readonly string[], expect: Expect): Step {
  return { bytes: `*${args.length}\r\n${args.map(bulk).join("")}`, expects: [expect], last: false };
}

/** Several steps as one. */
export function together(steps: readonly Step[]): Step {
  return {
    bytes: steps.map((one) => one.bytes).join(""),
    expects: steps.flatMap((one) => one.expects),
    last: steps.some((one) => one.last),
  };
}

/** A RESP bulk string; latin1. */
export function bulk(text: string): string {
  return `$${text.length}\r\n${text}\r\n`;
}
