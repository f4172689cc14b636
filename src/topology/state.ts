/**
 * Where a server is at the moment: which address takes its writes, and which its reads may come from.
 *
 *   Keeper (main thread) ──states──► service/director.ts ──► every worker ──► Pool.follow
 *     └──────────signs: what a worker has seen of it ◄──────────────────────────┘
 *
 * A server is a place on the ring and known by its name; where it is can change at any time and moves no key.
 * All of it is plain data: it goes to other threads as it is.
 */
import type { Address } from "../net/net.ts";

/** One address that a server has at the moment. */
export interface EndpointSpec {
  readonly address: Address;
  /** As people write it: "10.0.0.1:6379". Equal texts are equal endpoints. */
  readonly text: string;
  readonly zone: string | null;
}

/** Where one server of a pool is: what the main thread tells every worker. */
export interface ServerState {
  /** Its name in the pool. */
  readonly server: string;
  /** Grows (by 1 at least) with each change of its primary; a lower one than is known is old news. */
  readonly term: number;
  /** null: none is known now, requests are refused with `why`. */
  readonly primary: EndpointSpec | null;
  /** Those that may be read from now, in a stable order. */
  readonly replicas: readonly EndpointSpec[];
  /** For log and events: "+switch-master from sentinel 127.0.0.1:26379", "start"; no line ends. */
  readonly cause: string;
  /** For people, when `primary` is null: "no sentinel answers"; no line ends. */
  readonly why: string;
  /** With `primary` null: one is about to be named, and until then, for so long at most, ms, requests wait instead of being refused. */
  readonly waitMs?: number;
}

/** What a worker has seen of a server: for whoever knows where it is, and for the events. */
export type Sign =
  /** It cannot be reached, or its connections are lost. */
  | "primary unreachable"
  /** It was not, and now is. */
  | "primary answers"
  /** What we would write to is none: by its ROLE, or -READONLY, or because it is loading. */
  | "not a primary"
  /** There is a new connection to it that carries nothing before it has been asked anew (Leave.holdsForNew). */
  | "needs leave"
  /** One of its replicas cannot be reached, or cannot serve. */
  | "replica failed"
  /** It has said that another one has a slot (-MOVED), or that the cluster is down. */
  | "moved"
  /** It has been taken off the ring (auto_eject_hosts). */
  | "ejected"
  /** It is on the ring again. */
  | "returned";

/** How a replica is, as a keeper has found it: for people and statistics. */
export interface ReplicaHealth {
  /** "host:port" or the unix path. */
  readonly address: string;
  /** It may be read from. */
  readonly well: boolean;
  /** What is wrong with it; "" = nothing, or it has not been asked yet. */
  readonly why: string;
  /** What it had not yet applied of its primary's stream when it was last asked; -1 = not known. */
  readonly lagBytes: number;
  /** For how long it had been lacking something; -1 = not known. */
  readonly lagMs: number;
}

/** Knows where some servers of a pool are. On the main thread only, over Net and Clock: the simulator runs it too. */
export interface Keeper {
  /** Calls `changed` with every state that differs from what it said last, from now on until `stop`, never from inside `start`. */
  start(changed: (states: readonly ServerState[]) => void): void;
  /** Look now. How often that may be is the keeper's business. */
  hint(server: string, sign: Sign): void;
  /** What one that takes over from it has to know beside the states, by server; to be read before `stop`. Absent: nothing. */
  memory?(): ReadonlyMap<string, unknown>;
  /** The replicas of a server; absent: it does not look after any. */
  health?(server: string): readonly ReplicaHealth[];
  /** Lets go of all timers and sockets; `changed` is not called any more. */
  stop(): void;
}
