/** What a thread for an errand is started with; apart from errands.ts, so that a worker need not load that to know that it is none. */

export interface Order {
  /** A row of ERRANDS in errands.ts. */
  readonly errand: string;
  readonly argument: unknown;
}

/** Whether a thread that was given this is to do an errand. */
export function isErrand(data: unknown): data is Order {
  return typeof data === "object" && data !== null && "errand" in data;
}
