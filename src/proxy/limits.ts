/**
 * What a client may do together with all others of its address or user, over all workers (stats/quotas.ts): per_address, per_user.
 *
 *   accept ──► Limits.admit: one connection more? ──► Allowance: a share of each Who that the client is
 *   login ──► Limits.changeUser: one more of its user?
 *   request ──► before: has one of them had enough? ──► front: an error, instead of taking it
 *           ──► after: what was taken has been spent
 *
 * What is answered by the proxy itself is answered even then, and is not counted. Bytes that a client has been sent are counted when its
 * next request comes, or at its end. Clients of pools without limits have no Allowance.
 */
import type { Ip } from "../net/ip_range.ts";
import { type Log, NOTICE } from "../net/log.ts";
import type { Clock } from "../net/net.ts";
import { LIMIT_BYTES_PER_S, LIMIT_REQUESTS_PER_S, REQUESTS_TOTAL } from "../stats/metrics.ts";
import {
  ADDRESS,
  ENOUGH_BYTES,
  ENOUGH_NOTHING,
  type Quotas,
  type Rates,
  USER,
  type Who,
} from "../stats/quotas.ts";
import type { Client } from "./client.ts";
import type { Turn } from "./turn.ts";

/** Of Pool.refusing: max_memory is reached; the client at hand has had enough. */
export const MEMORY_FULL = 1;
export const HAD_ENOUGH = 2;

/** Clients that are given a share in one turn, when a reload brings limits. */
const SHARES_A_TURN = 256;

/** What limits need of their pool. */
export interface LimitsOf {
  readonly config: { readonly name: string; readonly perAddress: Rates | null };
  readonly board: { readonly id: number };
  readonly worker: number;
  readonly counters: Float64Array;
  readonly clients: ReadonlySet<Client>;
  readonly clock: Clock;
  readonly turn: Turn;
  readonly log: Log;
  readonly front: { laterReply(text: string): Uint8Array; partOf?(client: Client): Part | null };
}

/** Rates, and what is said by whom they are kept. */
export interface Measure {
  readonly rates: Rates;
  /** The key that has them: "per_address". */
  readonly key: string;
  /** What is said of who is one connection too many. */
  readonly tooMany: string;
  readonly requestsReply: Uint8Array;
  readonly bytesReply: Uint8Array;
}

/** Whom a client is one of, and what they may do. */
export interface Part {
  readonly who: Who;
  readonly measure: Measure;
}

/** A client's part in a Who of its. */
interface Share {
  readonly who: Who;
  readonly slot: number;
  measure: Measure;
}

/** IPv4 addresses have these 32 bits before theirs: no client of IPv6 has them, they are for groups of receivers. */
const IPV4 = -1;

/** Whose share a client of this address has: the first 64 bits count of IPv6, which are one network. */
export function whoOf(ip: Ip): Who {
  const at = (i: number) => ip[i]! << 24 | ip[i + 1]! << 16 | ip[i + 2]! << 8 | ip[i + 3]!;
  return ip.length === 4
    ? { kind: ADDRESS, high: IPV4, low: at(0) }
    : { kind: ADDRESS, high: at(0), low: at(4) };
}

export class Limits {
  /** Of per_address; null: there is none. */
  private measure: Measure | null;
  /** `nowMs` was read in the turn of that time. */
  private readAtMs = -1;
  private wallMs = 0;
  private toShare: Iterator<Client> | null = null;

  /** @param ipOf the address of a client; null: it has none */
  constructor(
    private readonly of: LimitsOf,
    private readonly quotas: Quotas,
    private readonly ipOf: (client: Client) => Ip | null,
  ) {
    this.measure = this.measureOf("per_address", of.config.perAddress);
  }

  /** Rates to keep. @param key where they stand, for people */
  measureOf(key: string, rates: Rates | null): Measure | null {
    if (rates === null) return null;
    const { connectionsMax } = rates;
    const reply = (name: string, max: number) =>
      this.of.front.laterReply(`${name} of ${key} is reached: ${max}. Try again later`);
    return {
      key,
      rates,
      tooMany: `max_connections of ${key} is reached: ${connectionsMax}`,
      requestsReply: reply("max_requests_per_s", rates.requestsMax),
      bytesReply: reply("max_bytes_per_s", rates.bytesMax),
    };
  }

  /**
   * Gives a client that has come its share of its address.
   * @returns that of which there are as many as may be, so that it has to go; null: it may stay
   */
  admit(client: Client): Measure | null {
    const part = this.ofAddress(client);
    return part === null || this.join(client, part, false) ? null : part.measure;
  }

  /**
   * The client is another user.
   * @param part null: one without limits, or none
   * @returns that of which there are as many as may be: it stays who it was; else null
   */
  changeUser(client: Client, part: Part | null): Measure | null {
    const { allowance } = client;
    if (part === null) allowance?.drop(USER);
    else if (!allowance?.keeps(part) && !this.join(client, part, false)) return part.measure;
    return null;
  }

  private ofAddress(client: Client): Part | null {
    const { measure } = this;
    if (measure === null) return null;
    const ip = this.ipOf(client);
    return ip === null ? null : { who: whoOf(ip), measure };
  }

  /**
   * The client is one of them, and no other of that kind.
   * @param forced however many there are
   * @returns false if there are as many as may be
   */
  private join(client: Client, { who, measure }: Part, forced: boolean): boolean {
    const { of, quotas } = this;
    const slot = quotas.enter(of.board.id, who, of.worker, measure.rates, forced, this.nowMs());
    if (slot < 0) return false;
    client.allowance ??= new Allowance(client, this, quotas);
    client.allowance.take({ who, slot, measure });
    return true;
  }

  /** Another configuration: whoever is connected is counted by it, or not any more. */
  adopt(): void {
    const { of } = this;
    const before = this.measure;
    const measure = this.measure = this.measureOf("per_address", of.config.perAddress);
    for (const client of of.clients) client.allowance?.change(ADDRESS, measure);
    if (before === null && measure !== null) this.shareSoon();
  }

  /** Users have other limits, or none. */
  usersChanged(): void {
    const { clients, front } = this.of;
    let more = false;
    for (const client of clients) {
      const part = front.partOf?.(client) ?? null;
      if (part === null) client.allowance?.drop(USER);
      else if (!client.allowance?.keeps(part)) more = true;
    }
    if (more) this.shareSoon();
  }

  /** Whoever lacks a share gets it, some clients a turn. */
  private shareSoon(): void {
    const { clients, turn } = this.of;
    if (this.toShare === null) turn.later(this);
    this.toShare = clients.values();
  }

  /** Called by the turn: more of those who were here before the limits. */
  resume(): void {
    const { turn, front } = this.of;
    for (let i = 0; i < SHARES_A_TURN && this.toShare !== null; i++) {
      const { done, value: client } = this.toShare.next();
      if (done) this.toShare = null;
      else if (!client.closed) {
        for (const part of [this.ofAddress(client), front.partOf?.(client) ?? null]) {
          if (part !== null && !client.allowance?.keeps(part)) this.join(client, part, true);
        }
      }
    }
    if (this.toShare !== null) turn.later(this);
  }

  /** Ms since the epoch of Unix, read once a turn. */
  nowMs(): number {
    const { turn, clock } = this.of;
    const at = turn.now();
    if (at !== this.readAtMs) {
      this.readAtMs = at;
      this.wallMs = clock.wallMs();
    }
    return this.wallMs;
  }

  /** A request of the client is refused, of `share`: counts it, and says so once in a while. */
  refused(client: Client, { slot, measure: { key, rates } }: Share, bytes: boolean): void {
    const { counters, log, config } = this.of;
    counters[bytes ? LIMIT_BYTES_PER_S : LIMIT_REQUESTS_PER_S]!++;
    if (!this.quotas.says(slot, this.nowMs())) return;
    const limit = bytes ? `max_bytes_per_s: ${rates.bytesMax}` : `max_requests_per_s: ${rates.requestsMax}`;
    log.write(
      NOTICE,
      `pool '${config.name}': client ${client.peer()} has reached ${key}: ${limit}; requests beyond it are refused`,
    );
  }
}

/** What one client may still do. */
export class Allowance {
  private readonly shares: Share[] = [];
  /** Of all that it has been sent, what has been counted, or need not be. */
  private sentBytes: number;
  /** Of the pool, before the request at hand. */
  private requests: number;
  /** The request at hand is not counted. */
  private free = false;
  /** The share of which it has had enough. */
  private full: Share | null = null;
  private enough = ENOUGH_NOTHING;

  constructor(
    private readonly client: Client,
    private readonly limits: Limits,
    private readonly quotas: Quotas,
  ) {
    this.sentBytes = sentBytes(client);
    this.requests = client.pool.counters[REQUESTS_TOTAL]!;
  }

  /** Is it one of them already? It is counted by that measure from now on. */
  keeps({ who, measure }: Part): boolean {
    const share = this.shares.find((each) => each.who.kind === who.kind);
    if (share === undefined || share.who.high !== who.high || share.who.low !== who.low) return false;
    share.measure = measure;
    return true;
  }

  /** In place of the one of its kind. */
  take(share: Share): void {
    this.drop(share.who.kind);
    this.shares.push(share);
  }

  /** Is not one of that kind of Who any more. */
  drop(kind: number): void {
    const at = this.shares.findIndex((share) => share.who.kind === kind);
    if (at < 0) return;
    this.countSent();
    const [share] = this.shares.splice(at, 1);
    this.quotas.leave(share!.slot, this.client.pool.worker);
  }

  /** @param measure null: it is not counted any more */
  change(kind: number, measure: Measure | null): void {
    if (measure === null) return this.drop(kind);
    for (const share of this.shares) if (share.who.kind === kind) share.measure = measure;
  }

  /** A request of the client is about to be taken: if it has had enough, its front is told by Pool.refusing. */
  before(): void {
    const { pool } = this.client;
    this.countSent();
    this.requests = pool.counters[REQUESTS_TOTAL]!;
    this.free = false;
    const nowMs = this.limits.nowMs();
    for (const share of this.shares) {
      const enough = this.quotas.enough(share.slot, share.measure.rates, nowMs);
      if (enough === ENOUGH_NOTHING) continue;
      this.enough = enough;
      this.full = share;
      pool.refusing |= HAD_ENOUGH;
      return;
    }
  }

  /** The request at hand has been taken, or more is needed of it. @param bytes of it; negative: more are needed */
  after(bytes: number): void {
    const { pool } = this.client;
    pool.refusing &= ~HAD_ENOUGH;
    if (bytes <= 0 || this.free) return;
    const requests = pool.counters[REQUESTS_TOTAL]! - this.requests;
    for (const share of this.shares) this.quotas.spend(share.slot, share.measure.rates, requests, bytes);
  }

  /**
   * The front's: the request at hand is refused, since the client has had enough.
   * @param told it reads that
   * @returns what it reads then; shared
   */
  refuse(told: boolean): Uint8Array {
    const share = this.full!;
    const bytes = this.enough === ENOUGH_BYTES;
    const reply = bytes ? share.measure.bytesReply : share.measure.requestsReply;
    this.free = true;
    if (told) this.sentBytes += reply.length;
    this.limits.refused(this.client, share, bytes);
    return reply;
  }

  /** The front's: the request at hand is answered although the client has had enough. */
  pass(): void {
    this.free = true;
  }

  /** The client is gone. */
  leave(): void {
    while (this.shares.length > 0) this.drop(this.shares[0]!.who.kind);
  }

  private countSent(): void {
    const bytes = sentBytes(this.client) - this.sentBytes;
    // Refusals that have not left yet are counted as sent.
    if (bytes <= 0) return;
    this.sentBytes += bytes;
    for (const { slot, measure } of this.shares) this.quotas.spend(slot, measure.rates, 0, bytes);
  }
}

function sentBytes({ socket }: Client): number {
  return socket.flushedBytes + socket.queuedBytes;
}
