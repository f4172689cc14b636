/**
 * Splits a get, gets, gat or gats with many keys into one line per server.
 *
 *   gat 60 a b c d ──► server 0: gat 60 a c        keyFragment = 0 1 0 1
 *                      server 1: gat 60 b d
 *
 * memcached takes `get` and `gets` lines of any length but may close on a gat line of more than LINE_MAX bytes,
 * so a server can get several gat lines. Duplicate keys stay: a server answers each, as it would directly.
 */
import { copy } from "../../bytes/ascii.ts";
import { FORM, FORM_GAT, rowOf } from "./commands.ts";
import { LINE_MAX, type MemcachedRequest } from "./request.ts";

const BGET = rowOf("bget");

/** A split request; one per thread, overwritten by the next split. */
export class GetSplit {
  /** How many fragments. */
  count = 0;
  /** Fragment → server, as given. */
  servers: Int32Array = new Int32Array(16);
  /** Fragment → bytes of its line, CRLF included. */
  sizes: Int32Array = new Int32Array(16);
  /** Key (0 = first key of the request) → fragment; fragments hold their keys in request order. */
  keyFragments: Int32Array = new Int32Array(64);
  /** Fragment → its first key; key → the next key of its fragment, -1 after the last. */
  firstKeys: Int32Array = new Int32Array(16);
  nextKeys: Int32Array = new Int32Array(64);
  /** Server → its fragment that still takes keys, -1 if it has none. Fragment → its last key. */
  private open: Int32Array = new Int32Array(16);
  private lastKeys: Int32Array = new Int32Array(16);

  /**
   * @param request as scanned, with `split` or one key
   * @param keyServers server of each key, 0 ≤ server < serverCount; borrowed
   */
  split(request: MemcachedRequest, keyServers: Int32Array, serverCount: number): void {
    const keyCount = request.keyCount;
    const starts = request.wordStarts;
    const ends = request.wordEnds;
    const first = request.keyFirst;
    if (this.keyFragments.length < keyCount) {
      const size = Math.max(keyCount, this.keyFragments.length * 2);
      this.keyFragments = new Int32Array(size);
      this.nextKeys = new Int32Array(size);
    }
    if (this.open.length < serverCount) this.open = new Int32Array(serverCount);
    const open = this.open.fill(-1, 0, serverCount);
    const isGat = FORM[request.row] === FORM_GAT;
    const sizeMax = isGat ? LINE_MAX + 1 : 0x7fffffff;
    // The key's name and, for gat, its time; CRLF.
    const fixed = nameLength(request) + (isGat ? 1 + ends[1]! - starts[1]! : 0) + 2;
    this.count = 0;
    for (let key = 0; key < keyCount; key++) {
      const server = keyServers[key]!;
      const size = 1 + ends[first + key]! - starts[first + key]!;
      let fragment = open[server]!;
      if (fragment === -1 || this.sizes[fragment]! + size > sizeMax) {
        fragment = this.add(server, fixed);
        open[server] = fragment;
        this.firstKeys[fragment] = key;
      } else {
        this.nextKeys[this.lastKeys[fragment]!] = key;
      }
      this.sizes[fragment]! += size;
      this.lastKeys[fragment] = key;
      this.nextKeys[key] = -1;
      this.keyFragments[key] = fragment;
    }
  }

  private add(server: number, size: number): number {
    const fragment = this.count++;
    if (fragment === this.servers.length) {
      this.servers = grown(this.servers);
      this.sizes = grown(this.sizes);
      this.firstKeys = grown(this.firstKeys);
      this.lastKeys = grown(this.lastKeys);
    }
    this.servers[fragment] = server;
    this.sizes[fragment] = size;
    return fragment;
  }
}

function grown(array: Int32Array): Int32Array {
  const bigger = new Int32Array(array.length * 2);
  bigger.set(array);
  return bigger;
}

/** bget is written as get: memcached does the same for both, but does not let a bget line be long. */
function nameLength(request: MemcachedRequest): number {
  return request.row === BGET ? 3 : request.wordEnds[0]! - request.wordStarts[0]!;
}

/**
 * Writes the line of one fragment to `to` at `at`; `split.sizes[fragment]` bytes.
 *
 * @param bytes what `request` was scanned from; borrowed
 * @returns the offset in `to` just past the line
 */
export function writeFragment(
  bytes: Uint8Array,
  request: MemcachedRequest,
  split: GetSplit,
  fragment: number,
  to: Uint8Array,
  at: number,
): number {
  const starts = request.wordStarts;
  const ends = request.wordEnds;
  const nameEnd = ends[0]!;
  at = copy(to, at, bytes, nameEnd - nameLength(request), nameEnd);
  // The words between name and keys: gat's time.
  for (let word = 1; word < request.keyFirst; word++) {
    to[at++] = 32;
    at = copy(to, at, bytes, starts[word]!, ends[word]!);
  }
  for (let key = split.firstKeys[fragment]!; key !== -1; key = split.nextKeys[key]!) {
    to[at++] = 32;
    at = copy(to, at, bytes, starts[request.keyFirst + key]!, ends[request.keyFirst + key]!);
  }
  to[at++] = 13;
  to[at++] = 10;
  return at;
}
