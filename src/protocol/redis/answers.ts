/** Replies Ringmaster gives itself. */
import type { Args } from "./args.ts";
import type { Command } from "./command.ts";

/** What the answers need to know of, and change in, one client's connection. */
export interface Session {
  /** Positive, unique in the process's life. */
  readonly id: number;
  /** Owned by the session; empty if not set. */
  name: Uint8Array;
  libName: Uint8Array;
  libVersion: Uint8Array;
  /** The protocol the client speaks. HELLO changes it; the answer to HELLO is already in the new one. */
  resp: 2 | 3;
  /** 0 ≤ db < host.databases; SELECT changes it. */
  db: number;
  /** True from the start where the pool has no password. */
  authenticated: boolean;
  noEvict: boolean;
  noTouch: boolean;
  /** When it connected, ms on the clock of `Host.wallMs`. */
  readonly sinceMs: number;
  /** "127.0.0.1:54321" or the unix path, the peer's. */
  address(): string;
  /** The same of our end. */
  localAddress(): string;
}

/** What the answers need to know of the pool and the process. */
export interface Host {
  readonly poolName: string;
  /** redis_auth, or null if clients need none. */
  readonly password: Uint8Array | null;
  /** ≥ 1. */
  readonly databases: number;
  /** May clients speak RESP3? */
  readonly resp3: boolean;
  /** The Redis version we imitate, "7.4.0": clients switch features on it. */
  readonly version: string;
  /** Ringmaster's own version. */
  readonly ringmasterVersion: string;
  /** The port clients connect to; 0 for a unix socket. */
  readonly port: number;
  /** 0 = no limit. */
  readonly clientsMax: number;
  /** Bytes. */
  readonly bulkSizeMax: number;
  /** ms since 1970. */
  wallMs(): number;
  uptimeSeconds(): number;
  connectedClients(): number;
  serverCount(): number;
  liveServerCount(): number;
}

/**
 * The whole reply to a ROUTE.LOCAL request whose arity is right. The array is a constant or the caller's, never
 * changed later. QUIT's reply is +OK; closing is the caller's.
 */
export function answer(
  _command: Command,
  _bytes: Uint8Array,
  _args: Args,
  _session: Session,
  _host: Host,
): Uint8Array {
  throw new Error("not yet");
}
