/**
 * What workers ask each other about the clients of a pool, and how it is answered: plain data, since it goes to other threads.
 * redis/clients.ts asks and answers; service/peers.ts carries.
 */
import type { Conditions } from "../protocol/redis/client_filter.ts";

/** What one worker asks another, or itself, about the clients of a pool. Small: what is long is asked in parts. */
export type ClientQuestion =
  | {
    readonly kind: "page";
    /** Those with larger ids only. */
    readonly after: number;
    /** Those of these ids only; null = of any. At most PAGE. */
    readonly ids: readonly number[] | null;
    readonly conditions: Conditions;
    /** Are their lines wanted, or only their ids? */
    readonly lines: boolean;
  }
  /** At most KILLS ids. */
  | { readonly kind: "kill"; readonly ids: readonly number[] }
  | { readonly kind: "unblock"; readonly id: number; readonly reason: string };

export interface ClientAnswer {
  /** Clients that were meant; of kill and unblock, those to which it was done. */
  readonly ids: readonly number[];
  /** Of each, if lines were wanted. */
  readonly lines: readonly string[];
  /** The next page is after this id; -1 = there is none. */
  readonly next: number;
}

/** Answer of another worker; GONE: it has died, and its clients with it; SILENT: it does not answer in time. */
export const GONE = 0;
export const SILENT = 1;
export type Told = (answer: ClientAnswer | typeof GONE | typeof SILENT) => void;
