/** Who is read: a proxy, or a server itself. Nothing but reads is ever sent. */
import type { Address, Clock, Net } from "../net/net.ts";
import type { LinkOptions } from "../topology/redis_link.ts";
import type { Reading } from "./reading.ts";

/** How long anything may take to answer, ms. */
export const ANSWER_MS = 5000;
/** Bytes of one answer; a value that is larger is not read. */
export const ANSWER_MAX = 32 * 1024 * 1024;

export interface PeerAround {
  readonly net: Net;
  readonly clock: Clock;
}

/** Where it is and how it is greeted. */
export interface PeerPlace {
  readonly address: Address;
  /** For people. */
  readonly text: string;
  readonly auth: LinkOptions["auth"];
}

/** Some keys of a server. */
export interface Page {
  readonly keys: readonly Uint8Array[];
  /** Where to go on; null: that was all, or all there is to be had. */
  readonly next: string | null;
  /** Why there are more that cannot be had; for people. */
  readonly cut?: string;
}

export interface Peer {
  readonly place: PeerPlace;
  /** Requests sent to it so far, and bytes that it has answered. */
  readonly asked: number;
  readonly answeredBytes: number;
  /** null: it is there, and speaks the protocol; else what is wrong, for people. */
  greet(): Promise<string | null>;
  /** A reading for each key, in their order. Never rejects. */
  read(keys: readonly Uint8Array[]): Promise<Reading[]>;
  /** Whether each is there; null: not told. */
  has(keys: readonly Uint8Array[]): Promise<(boolean | null)[]>;
  /**
   * About `most` keys, from where a page before has ended, or any (null).
   * @throws PeerFailed
   */
  page(from: string | null, most: number): Promise<Page>;
  /** Seconds of processor time that its process has taken so far, whoever has asked it; null: it does not say. */
  cpuSeconds(): Promise<number | null>;
  close(): void;
}

/** It has not done what it was asked for; the message is for people. */
export class PeerFailed extends Error {
  override readonly name = "PeerFailed";
}
