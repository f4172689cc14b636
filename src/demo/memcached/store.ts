/**
 * What an in-memory memcached holds. Keys and values are text with one character a byte. Time is in whole seconds,
 * as there; items die when somebody looks.
 */

export interface Item {
  value: string;
  flags: number;
  /** Seconds since the epoch; 0 if the item lives for ever. */
  expiresAtS: number;
  cas: number;
  lastAccessS: number;
  fetched: boolean;
  /** Invalidated, but still served (md with I). */
  stale: boolean;
  /** Some client was told to fetch a fresh value. */
  tokenSent: boolean;
  /** Its key was given in base64, and is shown so. A copy made by incr, append or prepend forgets it, as there. */
  readonly binary: boolean;
}

/** Times to live beyond this are absolute. */
const RELATIVE_MAX_S = 60 * 60 * 24 * 30;
/** Header, CAS and the terminators that memcached adds to each item, in bytes. */
const HEADER_BYTES = 48 + 8 + 1 + 2;
/** Flags, where there are any, in bytes. */
const FLAGS_BYTES = 4;

export type Mode = "set" | "add" | "replace" | "append" | "prepend";
export type Outcome = "stored" | "notStored" | "exists" | "notFound";

export interface StoreRequest {
  readonly mode: Mode;
  readonly key: string;
  readonly value: string;
  readonly flags: number;
  readonly expiresAtS: number;
  /** The item must have this CAS; null if it need not exist. */
  readonly cas: number | null;
  /** A lower CAS is good enough to leave the value as a stale one (ms with I). */
  readonly stale: boolean;
  /** The key was given in base64. */
  readonly binary: boolean;
}

export class Store {
  private readonly items = new Map<string, Item>();
  private lastCas = 0;
  /** When a delayed flush_all is due, in seconds; 0 for none. */
  private flushAtS = 0;
  readonly startedAtS: number;
  gets = 0;
  hits = 0;
  sets = 0;

  /** @param itemSizeMax bytes of the largest item, its header included */
  constructor(private readonly nowMs: () => number, private readonly itemSizeMax: number) {
    this.startedAtS = this.nowS();
  }

  nowS(): number {
    return Math.floor(this.nowMs() / 1000);
  }

  /** When something dies whose time to live was given as `exptime`. */
  expiry(exptime: number): number {
    if (exptime === 0) return 0;
    if (exptime < 0) return 1;
    return exptime > RELATIVE_MAX_S ? exptime : exptime + this.nowS();
  }

  get size(): number {
    return this.items.size;
  }

  /** The living item; not counted as an access. */
  find(key: string): Item | undefined {
    const nowS = this.nowS();
    if (this.flushAtS !== 0 && this.flushAtS <= nowS) {
      this.flushAtS = 0;
      this.items.clear();
    }
    const item = this.items.get(key);
    if (item === undefined || item.expiresAtS === 0 || item.expiresAtS > nowS) return item;
    this.items.delete(key);
    return undefined;
  }

  /** The living item, for a read. */
  fetch(key: string): Item | undefined {
    const item = this.find(key);
    this.gets++;
    if (item === undefined) return undefined;
    this.hits++;
    item.fetched = true;
    item.lastAccessS = this.nowS();
    return item;
  }

  /** True if an item of this size may be stored. */
  fits(key: string, flags: number, valueLength: number): boolean {
    return itemSize(key, flags, valueLength) <= this.itemSizeMax;
  }

  /** @returns what happened, and the new item if it was stored */
  store(request: StoreRequest): { outcome: Outcome; item: Item | null } {
    this.sets++;
    const { mode, key, value } = request;
    // The quirks are those of 1.6.18: 0 is no CAS for append and prepend, and these need no item for one.
    const cas = request.cas === 0 && (mode === "append" || mode === "prepend") ? null : request.cas;
    const old = this.find(key);
    let stale = false;
    if (cas !== null && old === undefined && (mode === "set" || mode === "replace")) {
      return { outcome: "notFound", item: null };
    }
    if (cas !== null && old !== undefined && mode !== "add") {
      stale = request.stale && (mode === "set" || mode === "replace") && cas > 0 && cas < old.cas;
      if (cas !== old.cas && !stale) return { outcome: "exists", item: null };
    }
    if (old === undefined ? mode !== "set" && mode !== "add" : mode === "add") {
      return { outcome: "notStored", item: null };
    }
    let item: Item;
    if (old !== undefined && (mode === "append" || mode === "prepend")) {
      item = this.put(
        key,
        mode === "append" ? old.value + value : value + old.value,
        old.flags,
        old.expiresAtS,
      );
    } else item = this.put(key, value, request.flags, request.expiresAtS, request.binary);
    if (stale) {
      item.expiresAtS = old!.expiresAtS;
      item.stale = true;
      item.tokenSent = old!.tokenSent;
    }
    return { outcome: "stored", item };
  }

  /** A new item in place of whatever was there. */
  put(key: string, value: string, flags: number, expiresAtS: number, binary = false): Item {
    const item: Item = {
      value,
      flags,
      expiresAtS,
      cas: this.nextCas(),
      lastAccessS: this.nowS(),
      fetched: false,
      stale: false,
      tokenSent: false,
      binary,
    };
    this.items.set(key, item);
    return item;
  }

  /**
   * Adds to the number that the item's value spells.
   * @param delta 0 ≤ delta < 2^64; going down stops at 0, going up wraps at 2^64
   * @returns the new number, or null if the value is none
   */
  add(key: string, item: Item, delta: bigint, up: boolean): { item: Item; text: string } | null {
    const old = numberIn(item.value);
    if (old === null) return null;
    const sum = up ? BigInt.asUintN(64, old + delta) : old > delta ? old - delta : 0n;
    const text = sum.toString();
    if (text.length > item.value.length) {
      return { item: this.put(key, text, item.flags, item.expiresAtS), text };
    }
    // In place, as memcached does: what is shorter gets spaces.
    item.value = text.padEnd(item.value.length, " ");
    item.cas = this.nextCas();
    return { item, text };
  }

  remove(key: string): boolean {
    return this.items.delete(key);
  }

  /** @param delayS seconds until it happens; 0 or less: now */
  flush(delayS: number): void {
    if (delayS > 0) this.flushAtS = this.expiry(delayS);
    else {
      this.flushAtS = 0;
      this.items.clear();
      this.nextCas();
    }
  }

  nextCas(): number {
    return ++this.lastCas;
  }
}

/** Bytes of an item with its header, as memcached counts them. */
export function itemSize(key: string, flags: number, valueLength: number): number {
  return HEADER_BYTES + key.length + valueLength + (flags === 0 ? 0 : FLAGS_BYTES);
}

/** Number at the front of a value, as C's strtoull takes it: blanks before it, a blank or nothing after it. */
function numberIn(value: string): bigint | null {
  const match = /^[\t\n\v\f\r ]*\+?(\d+)(?:[\t\n\v\f\r ]|$)/.exec(value);
  if (match === null) return null;
  const number = BigInt(match[1]!);
  return number < 2n ** 64n ? number : null;
}
