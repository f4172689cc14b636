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
}

export function currentRuntime(): Runtime {
  const bun = "Bun" in globalThis;
  const net = bun ? new BunNet() : new DenoNet();
  return { net, clock: new SystemClock(), name: net.name, version: bun ? Bun.version : Deno.version.deno };
}
