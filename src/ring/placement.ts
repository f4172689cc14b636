/**
 * Placement: which server of a pool owns a key. What the proxy asks for each key of each request.
 *
 *   key ──► hash tag ──► hash (empty: 0) ──► ring of live servers ──► server index, or NO_SERVER
 *
 * In a pool of a cluster the hash is the slot, and the ring knows who owns which (slots.ts).
 *
 * Two rules are twemproxy's own and part of placement: what is empty hashes to 0, whatever the function says,
 * and a pool of one server hashes nothing. One is ours in form only: with no live server there is no ring,
 * where twemproxy keeps the last one and fails requests before it looks.
 * Source: twemproxy 0.5.0, nc_server.c. Checked against tests/vectors/placement.json.
 */
import type { Hash } from "../hash/hash.ts";
import { tagEnd, tagStart } from "./hash_tag.ts";
import { type BuildRing, type DistributionName, DISTRIBUTIONS, type Ring, type RingServer } from "./ring.ts";
import { buildSlots, slotOfKey, SLOTS } from "./slots.ts";

/** No server of the pool is live. */
export const NO_SERVER = -1;
const NO_TAG = -1;

export interface PlacementOptions {
  readonly hash: Hash;
  /** "slots": those of a cluster, with the hash slotOfKey, which knows tags itself, and no tag. */
  readonly distribution: DistributionName | "slots";
  /** The opening and the closing byte; null = keys are hashed whole. */
  readonly hashTag: Uint8Array | null;
  /** In twemproxy's order (sortServers); kept. */
  readonly servers: readonly RingServer[];
  /** Uniform in [0, 1); only the distribution `random` calls it, once a key. */
  readonly random: () => number;
  /** As of `setLive`; absent: all are. */
  readonly live?: Uint8Array;
  /** The ring of these, made already; absent: it is made. */
  readonly ring?: Ring | null | undefined;
}

export class Placement {
  private readonly hash: Hash;
  private readonly build: BuildRing;
  private readonly tagOpen: number;
  private readonly tagClose: number;
  private readonly servers: readonly RingServer[];
  private readonly random: () => number;
  private current: Ring | null = null;
  /** The marks that it was made for. */
  private live: Uint8Array | null = null;

  /** Throws a RangeError if the hash tag is not two bytes. */
  constructor(options: PlacementOptions) {
    const tag = options.hashTag;
    if (tag !== null && tag.length !== 2) {
      throw new RangeError(`Cannot place keys: hash tag of ${tag.length} bytes, expected 2`);
    }
    this.hash = options.hash;
    this.build = options.distribution === "slots" ? buildSlots : DISTRIBUTIONS[options.distribution];
    this.tagOpen = tag === null ? NO_TAG : tag[0]!;
    this.tagClose = tag === null ? NO_TAG : tag[1]!;
    this.servers = options.servers;
    this.random = options.random;
    const live = options.live ?? new Uint8Array(options.servers.length).fill(1);
    if (options.ring === undefined) this.setLive(live);
    else {
      this.live = live.slice();
      this.current = options.ring;
    }
  }

  /**
   * The index of the server that owns the key `bytes[start, end)`; NO_SERVER (-1) if none is live.
   * Allocates nothing. With the distribution `random` each call draws anew.
   * @param bytes borrowed
   */
  serverOf(bytes: Uint8Array, start: number, end: number): number {
    const ring = this.current;
    if (ring === null) return NO_SERVER;
    if (this.servers.length === 1) return 0;
    if (this.tagOpen !== NO_TAG) {
      const from = tagStart(bytes, start, end, this.tagOpen);
      if (from >= 0) {
        const to = tagEnd(bytes, from, end, this.tagClose);
        if (to >= 0) {
          start = from;
          end = to;
        }
      }
    }
    return ring.lookup(start < end ? this.hash(bytes, start, end) : 0);
  }

  /**
   * The slot of the key `bytes[start, end)`, 0 to 16383, whoever owns it; only of a placement on slots. Allocates nothing.
   * @param bytes borrowed
   */
  slotOf(bytes: Uint8Array, start: number, end: number): number {
    return slotOfKey(bytes, start, end);
  }

  /** The index of the server that owns this slot; NO_SERVER if none is live. Only of a placement on slots. */
  serverOfSlot(slot: number): number {
    if (!(slot >= 0 && slot < SLOTS)) return NO_SERVER;
    return this.current === null ? NO_SERVER : this.current.lookup(slot);
  }

  /**
   * Rebuilds the ring for the servers that are live now, if they are others than before. With ketama that costs about
   * 0.3 ms for ten servers and 2 to 4 ms for a hundred, so call it on change, not on every request.
   * @param live one byte a server, 0 = ejected; borrowed. Throws a RangeError if it is not as long as the
   *   servers.
   */
  setLive(live: Uint8Array): void {
    if (live.length !== this.servers.length) {
      throw new RangeError(
        `Cannot rebuild the ring: ${live.length} live marks, expected ${this.servers.length}`,
      );
    }
    if (this.live?.every((mark, i) => (mark === 0) === (live[i] === 0))) return;
    this.live = live.slice();
    this.current = this.build(this.servers, live, this.random);
  }

  /** Are these the same servers to the ring, in the same order? */
  isOf(servers: readonly RingServer[]): boolean {
    return servers.length === this.servers.length &&
      servers.every(({ name, weight, slots }, i) => {
        const present = this.servers[i]!;
        return name === present.name && weight === present.weight && slots === present.slots;
      });
  }

  /** The ring in use, for tables; null if no server is live. */
  get ring(): Ring | null {
    return this.current;
  }
}
