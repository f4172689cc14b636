/**
 * What an in-memory Redis holds: databases of keys with a value and perhaps a time to die. Keys and values are
 * text with one character a byte. Keys die when somebody looks (no sweeper), so the same calls at the same times
 * give the same store.
 */
import { CommandError, WRONG_TYPE } from "./errors.ts";
import { SortedSet } from "./sorted_set.ts";

/** A string, hash, list, set or sorted set, told apart by its JavaScript type. */
export type Value = string | Map<string, string> | string[] | Set<string> | SortedSet;

export interface Entry {
  value: Value;
  /** Wall milliseconds; Infinity if the key lives for ever. */
  expiresAtMs: number;
  /** Grows with each new key: SCAN's cursor, so that a scan misses no key that lives through it. */
  readonly serial: number;
}

/** Told when a key it watches changes. */
export interface Watcher {
  dirty: boolean;
}

export function typeOf(value: Value): "string" | "hash" | "list" | "set" | "zset" {
  if (typeof value === "string") return "string";
  if (value instanceof Map) return "hash";
  if (value instanceof Set) return "set";
  return Array.isArray(value) ? "list" : "zset";
}

/** One numbered database. */
export class Database {
  readonly entries = new Map<string, Entry>();
  private readonly watchers = new Map<string, Set<Watcher>>();
  private serial = 0;

  constructor(private readonly nowMs: () => number) {}

  /** The living entry of a key. */
  find(key: string): Entry | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined || entry.expiresAtMs > this.nowMs()) return entry;
    this.remove(key);
    return undefined;
  }

  string(key: string): string | undefined {
    const value = this.find(key)?.value;
    if (value === undefined || typeof value === "string") return value;
    throw new CommandError(WRONG_TYPE);
  }
  hash(key: string): Map<string, string> | undefined {
    const value = this.find(key)?.value;
    if (value === undefined || value instanceof Map) return value;
    throw new CommandError(WRONG_TYPE);
  }
  list(key: string): string[] | undefined {
    const value = this.find(key)?.value;
    if (value === undefined || Array.isArray(value)) return value;
    throw new CommandError(WRONG_TYPE);
  }
  set(key: string): Set<string> | undefined {
    const value = this.find(key)?.value;
    if (value === undefined || value instanceof Set) return value;
    throw new CommandError(WRONG_TYPE);
  }
  sortedSet(key: string): SortedSet | undefined {
    const value = this.find(key)?.value;
    if (value === undefined || value instanceof SortedSet) return value;
    throw new CommandError(WRONG_TYPE);
  }

  /** Sets a key; its time to die goes, unless `expiresAtMs` is given or the old one is to be kept. */
  put(key: string, value: Value, expiresAtMs: number | "keep" = Infinity): void {
    const entry = this.find(key);
    if (entry === undefined) {
      const at = expiresAtMs === "keep" ? Infinity : expiresAtMs;
      this.entries.set(key, { value, expiresAtMs: at, serial: ++this.serial });
    } else {
      entry.value = value;
      if (expiresAtMs !== "keep") entry.expiresAtMs = expiresAtMs;
    }
    this.touch(key);
  }

  /** True if the key was there. */
  remove(key: string): boolean {
    if (!this.entries.delete(key)) return false;
    this.touch(key);
    return true;
  }

  /** After a change inside a collection: drops it when it is empty and tells watchers. */
  changed(key: string, size: number): void {
    if (size === 0) this.entries.delete(key);
    this.touch(key);
  }

  touch(key: string): void {
    const watchers = this.watchers.get(key);
    if (watchers !== undefined) { for (const watcher of watchers) watcher.dirty = true; }
  }

  clear(): void {
    for (const key of this.watchers.keys()) if (this.entries.has(key)) this.touch(key);
    this.entries.clear();
  }

  watch(key: string, watcher: Watcher): void {
    let watchers = this.watchers.get(key);
    if (watchers === undefined) this.watchers.set(key, watchers = new Set());
    watchers.add(watcher);
  }

  unwatch(key: string, watcher: Watcher): void {
    const watchers = this.watchers.get(key);
    if (watchers?.delete(watcher) && watchers.size === 0) this.watchers.delete(key);
  }
}
