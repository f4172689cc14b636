/**
 * A map of names that may have very many, and never grows all at once: a Map of 100,000 entries that is full moves all of them,
 * which takes 8 ms in one turn. Beyond SPLIT_AT entries it is many maps, by a hash of the name, each growing by itself; until then it
 * is one, and keeps the order in which names came.
 */

const SPLIT_AT = 4096;
/** A power of two. */
const SHARDS = 64;
/** The hash takes so many characters of a name, its last ones: names that are counted up differ there. */
const HASHED = 12;

function shardOf(name: string): number {
  let hash = name.length;
  for (let i = Math.max(0, name.length - HASHED); i < name.length; i++) {
    hash = Math.imul(hash, 31) + name.charCodeAt(i) | 0;
  }
  return (hash ^ hash >>> 15 ^ hash >>> 7) & SHARDS - 1;
}

export class WideMap<V> {
  private maps: readonly Map<string, V>[] = [new Map()];
  private count = 0;

  get size(): number {
    return this.count;
  }

  get(name: string): V | undefined {
    return this.of(name).get(name);
  }

  has(name: string): boolean {
    return this.of(name).has(name);
  }

  set(name: string, value: V): void {
    const map = this.of(name);
    const before = map.size;
    map.set(name, value);
    if (map.size > before && ++this.count > SPLIT_AT && this.maps.length === 1) this.split();
  }

  /** False if it was not there. */
  delete(name: string): boolean {
    if (!this.of(name).delete(name)) return false;
    if (--this.count === 0) this.maps = [new Map()];
    return true;
  }

  /**
   * As Map's: what is deleted meanwhile does not come, and what comes meanwhile may or may not. Where it is split meanwhile, also what
   * has been deleted since then may come.
   */
  *keys(): Generator<string> {
    for (const map of this.maps) yield* map.keys();
  }

  *values(): Generator<V> {
    for (const map of this.maps) yield* map.values();
  }

  private of(name: string): Map<string, V> {
    return this.maps.length === 1 ? this.maps[0]! : this.maps[shardOf(name)]!;
  }

  private split(): void {
    const maps = Array.from({ length: SHARDS }, () => new Map<string, V>());
    for (const [name, value] of this.maps[0]!) maps[shardOf(name)]!.set(name, value);
    // Whoever walks the one map goes on with it.
    this.maps = maps;
  }
}
