/**
 * Where a key lives, and why: each step that a placement takes, told. `ringmaster route --explain` and /api/route print it.
 *
 *   key ──► hash tag ──► hash ──► point, remainder or slot ──► server, past those that are off the ring ──► who answers its reads
 *
 * The server is the one that `Placement.serverOf` gives (tests/property/explain_test.ts); the rest tells how it comes to that.
 */
import { latin1 } from "../bytes/ascii.ts";
import { hexOf } from "../bytes/hex.ts";
import type { PoolConfig, ReadFrom } from "../config/config.ts";
import { HASHES } from "../hash/hash.ts";
import { tagEnd, tagStart } from "../ring/hash_tag.ts";
import { Ketama } from "../ring/ketama.ts";
import { Modula } from "../ring/modula.ts";
import type { Placement } from "../ring/placement.ts";
import type { Ring } from "../ring/ring.ts";
import { NOBODY, ownersOf, slotOfKey, SlotRing, SLOTS } from "../ring/slots.ts";
import { atOnce } from "../ring/steps.ts";
import { placementSteps } from "./placement.ts";

/** Who may answer a server's reads. */
export interface ReadCandidate {
  readonly address: string;
  readonly zone: string | null;
  readonly well: boolean;
  /** What is wrong with it, "" = nothing is known to be. */
  readonly why: string;
}

/** What is known of the servers, by their place in the pool. */
export interface ServersNow {
  /** Why a server is off the ring; null = it is on it. */
  offRing(server: number): string | null;
  /** Where it is. */
  addressOf(server: number): string;
  replicasOf(server: number): readonly ReadCandidate[];
  /** Where this proxy runs; null = not said. */
  readonly zone: string | null;
}

export interface Skipped {
  readonly server: string;
  readonly why: string;
  /** Where the key would have come to it. */
  readonly place: string;
}

/** The `place` of any key then. */
export const NO_SERVER = "no server is on the ring";

/** Plain data; names are those of the JSON answers. */
export interface Explanation {
  readonly pool: string;
  /** As text if it is UTF-8; null if it is not. */
  readonly key: string | null;
  readonly key_hex: string;
  /** Which part of the key counts. */
  readonly hash_tag: string;
  readonly hashed: string;
  readonly hash: string;
  /** null: nothing is hashed. */
  readonly hash_value: number | null;
  readonly distribution: string;
  /** Of a cluster. */
  readonly slot: number | null;
  /** Which point, remainder or slot decides. */
  readonly place: string;
  /** Those that would have come first, were they on the ring. */
  readonly skipped: readonly Skipped[];
  /** null: any, or nobody; `place` says which. */
  readonly server: string | null;
  readonly address: string | null;
  readonly read_from: ReadFrom;
  /** Who answers reads. */
  readonly reads: string;
  readonly replicas: readonly ReadCandidate[];
}

/** @param key borrowed */
export function explain(pool: PoolConfig, key: Uint8Array, now: ServersNow): Explanation {
  return atOnce(explainSteps(pool, key, now));
}

/** The same in steps (ring/steps.ts). @param key borrowed until the end */
export function* explainSteps(
  pool: PoolConfig,
  key: Uint8Array,
  now: ServersNow,
): Generator<number, Explanation> {
  const { servers, cluster, distribution } = pool;
  const live = Uint8Array.from(servers, (_, i) => now.offRing(i) === null ? 1 : 0);
  const placement = yield* placementSteps(pool, live);
  const tag = tagOf(pool, key);
  const hashed = key.subarray(tag.start, tag.end);
  const single = servers.length === 1;
  const slot = cluster ? slotOfKey(key, 0, key.length) : null;
  const hash = cluster ? slot : hashed.length === 0 ? 0 : HASHES[pool.hash](hashed, 0, hashed.length);
  const drawn = !cluster && distribution === "random" && !single;
  const owners = cluster ? ownersOf(servers) : null;
  const unknown = owners !== null && owners[slot!] === NOBODY;
  const index = drawn || unknown ? -1 : placement.serverOf(key, 0, key.length);
  const server = index < 0 ? null : servers[index]!;
  return {
    pool: pool.name,
    key: textOf(key),
    key_hex: hexOf(key),
    hash_tag: tag.said,
    hashed: textOf(hashed) ?? latin1(hashed),
    hash: cluster ? "crc16" : pool.hash,
    hash_value: single && !cluster ? null : hash,
    distribution: cluster ? "slots" : distribution,
    slot,
    place: !live.includes(1)
      ? NO_SERVER
      : unknown
      ? `nobody owns slot ${slot}, as far as is known`
      : single
      ? "the pool has one server, and nothing is hashed"
      : placeOf(placement.ring!, hash!),
    skipped: drawn || cluster || single ? [] : yield* skippedOf(pool, hash!, live, now),
    server: server?.name ?? null,
    address: server === null ? null : now.addressOf(index),
    read_from: pool.readFrom,
    reads: pool.redis ? readsOf(pool.readFrom, now.zone) : "memcached has no replicas",
    replicas: server === null ? [] : now.replicasOf(index),
  };
}

interface Tag {
  readonly start: number;
  readonly end: number;
  readonly said: string;
}

/** As Placement.serverOf takes it; in a cluster Redis' own rule. */
function tagOf({ cluster, hashTag }: PoolConfig, key: Uint8Array): Tag {
  const whole = { start: 0, end: key.length };
  const [open, close] = cluster ? [123, 125] : hashTag ?? [];
  if (open === undefined || close === undefined) return { ...whole, said: "none is set: the whole key" };
  const signs = latin1(Uint8Array.of(open, close));
  const from = tagStart(key, 0, key.length, open);
  const to = from < 0 ? -1 : tagEnd(key, from, key.length, close);
  if (to < 0) return { ...whole, said: `${signs}: the key has none, or an empty one: the whole key` };
  return { start: from, end: to, said: `${signs}: what is between the first two` };
}

/** Which of its entries a hash leads to, for people. */
function placeOf(ring: Ring, hash: number): string {
  if (ring instanceof Ketama) {
    const { values } = ring;
    let at = 0;
    while (at < values.length && values[at]! < hash) at++;
    const wraps = at === values.length;
    const point = wraps ? 0 : at;
    return `point ${point + 1} of ${values.length} (${hex32(values[point]!)}) is ${
      wraps ? "the first one: the hash lies behind the last" : "the first at or after the hash"
    }`;
  }
  if (ring instanceof Modula) {
    return `${hash} modulo ${ring.weight}, the weight of all, is ${hash % ring.weight}`;
  }
  return ring instanceof SlotRing
    ? `slot ${hash} of ${SLOTS}`
    : "any server that is on the ring, drawn for each request";
}

/** Each takes a ring, of a hundred servers some ms. */
const SKIPPED_MAX = 8;

/** The first of those whom the key would have been given before, one after the other, were they on the ring. */
function* skippedOf(
  pool: PoolConfig,
  hash: number,
  live: Uint8Array,
  now: ServersNow,
): Generator<number, Skipped[]> {
  const skipped: Skipped[] = [];
  const marks = new Uint8Array(live.length).fill(1);
  for (let i = 0; i < Math.min(live.length, SKIPPED_MAX); i++) {
    const { ring }: Placement = yield* placementSteps(pool, marks);
    const owner = ring?.lookup(hash) ?? -1;
    if (owner < 0 || live[owner] === 1) break;
    skipped.push({
      server: pool.servers[owner]!.name,
      why: now.offRing(owner) ?? "",
      place: placeOf(ring!, hash),
    });
    marks[owner] = 0;
  }
  return skipped;
}

function readsOf(readFrom: ReadFrom, zone: string | null): string {
  switch (readFrom) {
    case "primary":
      return "the primary answers reads";
    case "prefer_replica":
      return "a replica that is well answers reads, each client's always the same one; the primary if there is none";
    case "replica":
      return "a replica that is well answers reads, each client's always the same one; the primary last";
    case "any":
      return "the primary or a replica that is well answers reads, each client's always the same one";
    case "nearest":
      return zone === null
        ? "of the primary and the replicas that are well those answer reads that are connected fastest"
        : `of the primary and the replicas that are well those of zone ${zone} answer reads, or those that are connected fastest`;
  }
}

const hex32 = (value: number): string => `0x${value.toString(16).padStart(8, "0")}`;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function textOf(bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

/** The same for people, a line a step; with a newline at its end. */
export function explanationText(told: Explanation): string {
  const { hash_value: hash } = told;
  const rows: [string, string][] = [
    ["key", told.key === null ? `0x${told.key_hex}` : shown(told.key)],
    ["pool", told.pool],
    ["hash tag", told.hash_tag],
    ["hashed", shown(told.hashed)],
    ["hash", hash === null ? "nothing is hashed" : `${told.hash}: ${hash} (${hex32(hash)})`],
    [told.distribution, told.place],
    ...told.skipped.map((
      { server, place, why },
    ): [string, string] => ["skipped", `${server}: ${place}; ${why}`]),
    ["server", told.server === null ? "none in particular" : `${told.server} at ${told.address}`],
    ["reads", told.reads],
    ...told.replicas.map(({ address, zone, well, why }): [string, string] => [
      "replica",
      [address, ...zone === null ? [] : [`zone ${zone}`], well ? "well" : why || "not known to be well"].join(
        ", ",
      ),
    ]),
  ];
  return rows.map(([name, text]) => `${name.padEnd(10)}${text}\n`).join("");
}

/** Control characters would do things to a terminal. */
const shown = (text: string): string =>
  JSON.stringify(text).replaceAll(
    /[\u007f-\u009f]/g,
    (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
