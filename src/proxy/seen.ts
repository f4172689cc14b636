/**
 * What a worker sees of a pool's requests: which keys are asked for most, which have the largest values; and some requests for who
 * listens.
 *
 *   a request ──► REQUESTS_TOTAL ≥ drawAt? ──► drawn, about 1,000 a second: its keys are counted (stats/heavy_hitters.ts),
 *            │                                └──► followed to its reply: large? (stats/big_keys.ts)  listened for? (stats/tapped.ts)
 *            └──► larger than bigFloor? ──► its key is noted
 *
 * That is all a request costs that is not drawn: a number that has just been counted is compared, and a size that is known. Nothing is
 * held before the first is drawn.
 */
import { type BigKey, BigKeys } from "../stats/big_keys.ts";
import { Draws, GAP_MIN, PER_SECOND } from "../stats/draws.ts";
import { HeavyHitters, type HotKeys } from "../stats/heavy_hitters.ts";
import { Tap, type TapFilter, type Tapped } from "../stats/tapped.ts";
import type { Request } from "./request.ts";

/** Keys of one request that are counted; of more, so many in a row, each for more. */
export const KEYS_COUNTED = 4;
/** Requests that are looked at for who listens, a second; of fewer, all. */
const TAPPED_PER_SECOND = 20_000;
/** Requests that are followed at a time. */
const FOLLOWED_MAX = 512;
/** Bytes of a key whose reply is looked at. */
const KEY_MAX = 1024;
/** Places in `Seen.#at`. */
const HOT = 0;
const TAP = 1;
const DRAW = 2;

/** A request that is followed to its reply. */
export interface Followed {
  /** Lower case. */
  readonly command: string;
  /** Its only key, owned; null = none, or one among others. */
  readonly key: Uint8Array | null;
  /** Who is to be told, and what. */
  readonly taps: readonly Tap[];
  readonly server: string | null;
  readonly client: string;
  readonly words: readonly string[];
}

export class Seen {
  /**
   * When a request is drawn next, of REQUESTS_TOTAL: HOT and TAP, and DRAW, the sooner. In an array of numbers with fractions, since these
   * are some of one kind and some of the other for the engine, which would compile whoever asks twice.
   */
  readonly #at = new Float64Array([0, Infinity, 0]);
  /** A message that is larger is noted; bytes. */
  bigFloor: number;
  /** Who listens. */
  taps: readonly Tap[] = [];
  readonly #big = new BigKeys();
  #hot: HeavyHitters | null = null;
  readonly #draws: Draws;
  readonly #tapDraws: Draws;
  /** The request that is taken now, before it has a record. */
  #following: Followed | null = null;
  readonly #followed = new Map<Request, Followed>();
  /** Bytes of replies that go on in parts, so far. */
  readonly #parts = new Map<Request, number>();

  /** @param seed not 0 @param requests REQUESTS_TOTAL as it is */
  constructor(private readonly pool: string, seed: number, requests: number, nowMs: number) {
    this.bigFloor = this.#big.floor;
    this.#draws = new Draws(seed, nowMs, PER_SECOND, GAP_MIN);
    this.#tapDraws = new Draws(-seed, nowMs, TAPPED_PER_SECOND, 1);
    this.#at[HOT] = requests + this.#draws.next(nowMs);
    this.#next();
  }

  /** The next request is drawn when REQUESTS_TOTAL has come so far. */
  get drawAt(): number {
    return this.#at[DRAW]!;
  }

  #next(): void {
    this.#at[DRAW] = Math.min(this.#at[HOT]!, this.#at[TAP]!);
  }

  /**
   * A request has been drawn.
   * @param requests REQUESTS_TOTAL as it is
   * @returns for how many it stands; 0 = its keys are not to be counted, somebody listens
   */
  draw(requests: number, nowMs: number): number {
    let weight = 0;
    if (requests >= this.#at[HOT]!) {
      weight = this.#draws.mean;
      this.#at[HOT] = requests + this.#draws.next(nowMs);
    }
    if (this.#at[TAP]! <= requests) {
      this.taps = this.taps.filter((tap) => !tap.isOver(nowMs));
      this.#at[TAP] = this.taps.length === 0 ? Infinity : requests + this.#tapDraws.next(nowMs);
    }
    this.#next();
    return weight;
  }

  // ---- keys

  /** A request that was drawn asks for this key; bytes borrowed. */
  asked(bytes: Uint8Array, start: number, end: number, weight: number, nowMs: number): void {
    this.#hot ??= new HeavyHitters(nowMs);
    this.#hot.add(bytes, start, end, weight, nowMs);
  }

  /** A message of `size` bytes, more than `bigFloor`, has passed for this key; bytes borrowed. @param wallMs ms since the epoch */
  passed(
    bytes: Uint8Array,
    start: number,
    end: number,
    size: number,
    side: BigKey["side"],
    command: string,
    wallMs: number,
  ): void {
    this.#big.note(bytes, start, end, size, side, command, wallMs);
    this.bigFloor = this.#big.floor;
  }

  hot(most: number, nowMs: number): HotKeys {
    return this.#hot?.list(most, nowMs) ?? { total: 0, seen: 0, floor: 0, keys: [] };
  }

  big(wallMs: number): BigKey[] {
    const keys = this.#big.list(wallMs);
    this.bigFloor = this.#big.floor;
    return keys;
  }

  get holdsBytes(): number {
    return this.#hot === null ? 0 : HeavyHitters.HOLDS_BYTES;
  }

  // ---- requests that are followed

  /** Those who listen for one like this, as far as they may be told. @param keys latin1 */
  listeners(command: string, client: string, keys: readonly string[], nowMs: number): Tap[] {
    return this.taps.filter((tap) => tap.wants(command, client, keys, nowMs));
  }

  /** The key of a request that is drawn, to follow it; null if it is too long. Bytes borrowed. */
  keyOf(bytes: Uint8Array, start: number, end: number): Uint8Array | null {
    return end - start > KEY_MAX ? null : bytes.slice(start, end);
  }

  /** The request that is taken now is to be followed. */
  follow(followed: Followed): void {
    this.#following = followed;
  }

  /**
   * The request that is taken now has been sent on its way.
   * @param request its record; null = it has been answered already
   */
  sent(request: Request | null, wallMs: number): void {
    const followed = this.#following;
    if (followed === null) return;
    this.#following = null;
    if (request === null) this.#tell(followed, 0, null, 0, wallMs);
    else if (this.#followed.size < FOLLOWED_MAX) {
      request.follow();
      this.#followed.set(request, followed);
    } else for (const tap of followed.taps) tap.lose();
  }

  /** So many bytes of its reply have left, before the rest has come. */
  part(request: Request, bytes: number): void {
    this.#parts.set(request, (this.#parts.get(request) ?? 0) + bytes);
  }

  /** A request that is followed has its answer. @param bytes of it, or of its last part */
  answered(request: Request, bytes: number, nowMs: number, wallMs: number): void {
    const followed = this.#followed.get(request);
    if (followed === undefined) return;
    const size = bytes + (this.#parts.get(request) ?? 0);
    this.forget(request);
    const { key, command } = followed;
    if (key !== null && size > this.bigFloor) this.passed(key, 0, key.length, size, "reply", command, wallMs);
    const { stamp: { readMs }, writtenMs } = request;
    if (writtenMs < 0) this.#tell(followed, nowMs - readMs, null, size, wallMs);
    else this.#tell(followed, writtenMs - readMs, nowMs - writtenMs, size, wallMs);
  }

  /** Its client is gone. */
  forget(request: Request): void {
    this.#followed.delete(request);
    this.#parts.delete(request);
  }

  #tell(
    { taps, server, client, command, words }: Followed,
    waitedMs: number,
    servedMs: number | null,
    size: number,
    wallMs: number,
  ): void {
    if (taps.length === 0) return;
    const sample = {
      at: wallMs,
      pool: this.pool,
      server,
      client,
      command,
      arguments: words,
      waited_us: Math.max(0, Math.round(waitedMs * 1000)),
      served_us: servedMs === null ? null : Math.max(0, Math.round(servedMs * 1000)),
      reply_bytes: size,
    };
    for (const tap of taps) tap.add(sample);
  }

  /** What there is for who listens; those that are not among them listen no more. @param requests REQUESTS_TOTAL as it is */
  take(filters: readonly TapFilter[], requests: number, nowMs: number): Tapped[] {
    this.taps = filters.map((filter) =>
      this.taps.find((tap) => tap.filter.id === filter.id) ?? new Tap(filter, nowMs)
    );
    if (this.taps.length === 0) this.#at[TAP] = Infinity;
    else if (this.#at[TAP]! === Infinity) this.#at[TAP] = requests + this.#tapDraws.next(nowMs);
    this.#next();
    return this.taps.map((tap) => tap.take(nowMs));
  }
}
