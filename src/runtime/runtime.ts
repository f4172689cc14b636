/**
 * Which runtime this is, chosen by what it has rather than by what it calls itself. Importing both adapters is
 * harmless: neither touches its global before it is used.
 */
import type { Clock, Net } from "../net/net.ts";
import { BunNet } from "./bun.ts";
import { SystemClock } from "./clock.ts";
import { DenoNet } from "./deno.ts";

export interface Runtime {
  readonly net: Net;
  readonly clock: Clock;
  /** "bun" or "deno". */
  readonly name: string;
  readonly version: string;
  /** Gives memory that is not in use back to the system; takes some ms. Absent where the runtime has no means to. */
  readonly collect?: () => void;
}

export function currentRuntime(): Runtime {
  const bun = "Bun" in globalThis;
  const net = bun ? new BunNet() : new DenoNet();
  const clock = new SystemClock();
  return bun
    ? { net, clock, name: net.name, version: Bun.version, collect: () => Bun.gc(true) }
    : { net, clock, name: net.name, version: Deno.version.deno };
}
