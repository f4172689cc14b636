/**
 * Which setting of a pool is probably wrong, by where keys really are: other settings are tried, and the one that says of every key
 * where it was found is it.
 *
 *   (key, server it was found on), … ──► hash, distribution, hash_tag ──► addresses exchanged ──► one weight ──► one server's name
 */
import type { DistributionName, HashName, PoolConfig } from "../config/config.ts";
import { HASHES } from "../hash/hash.ts";
import { sortServers } from "../ring/server_order.ts";
import { placementOf } from "../topology/placement.ts";

/** A key and the index of the server that has it; `elsewhere(index)`: it is looked for on another one than this, whichever. */
export interface Sighting {
  readonly key: Uint8Array;
  readonly server: number;
}
export const elsewhere = (server: number): number => ~server;

export interface Cause {
  /** For people: "weight of s17: the file has 1, with 2 …". */
  readonly text: string;
  /** Keys that it explains, of `of`; the file explains `before` of them. */
  readonly explains: number;
  readonly before: number;
  readonly of: number;
}

/** Sightings that are kept, and fewer than which say nothing. */
export const SIGHTINGS_MAX = 4000;
const SIGHTINGS_MIN = 10;
/** A setting that is right explains all keys but a few leftovers. */
const RIGHT = 0.97;
/** Share of a server's own keys that has to be elsewhere for it to be the server. */
const ITS_OWN = 1 / 4;
/** Servers whose weight is tried, those first of which the most keys are elsewhere. */
const WEIGHED_MAX = 4;
/** Weights of it that are tried at most, besides those that people like. */
const TRIED_MAX = 24;
const WEIGHTS = [10, 20, 25, 50, 75, 100, 150, 200, 250, 500, 1000];
const DISTRIBUTED: readonly DistributionName[] = ["ketama", "modula"];
const TAGS: readonly (string | null)[] = [null, "{}", "[]", "()", "<>", "$$", "::", "||"];

/**
 * null: nothing explains them.
 * @param pool not of a cluster
 * @param other the file that it is compared with: of two weights that explain the same the one is named that it has
 */
export function likelyCause(
  pool: PoolConfig,
  sightings: readonly Sighting[],
  other: PoolConfig | null = null,
): Cause | null {
  if (sightings.length < SIGHTINGS_MIN || pool.cluster) return null;
  const before = sightings.length - wrongOf(pool, sightings, Infinity);
  if (before === sightings.length) return null;
  const said = (text: string, wrong: number): Cause => ({
    text,
    explains: sightings.length - wrong,
    before,
    of: sightings.length,
  });
  let best: { text: string; wrong: number } | null = null;
  let allowed = Math.min(sightings.length - before - 1, Math.floor(sightings.length * (1 - RIGHT)));
  const attempt = (text: () => string, changed: PoolConfig) => {
    if (allowed < 0) return;
    const wrong = wrongOf(changed, sightings, allowed);
    if (wrong > allowed) return;
    best = { text: text(), wrong };
    allowed = wrong - 1;
  };
  const most = allowed;
  for (const [text, changed] of otherSettings(pool)) attempt(() => text, changed);
  const blind = sightings.some(({ server }) => server < 0);
  const weight = blind ? hiddenWeight(pool, sightings, allowed) : otherWeight(pool, sightings, allowed);
  if (weight !== null) best = weight;
  const told = other === null
    ? null
    : weightOfOther(pool, other, sightings, best === null ? most : best.wrong);
  if (told !== null) best = told;
  const swapped = blind ? null : exchanged(pool, sightings);
  if (best !== null) {
    const { text, wrong } = best as { text: string; wrong: number };
    return said(text, wrong);
  }
  if (swapped !== null) return said(swapped.text, swapped.wrong);
  const one = blind ? null : oneServer(pool, sightings);
  return one === null ? null : said(one.text, one.wrong);
}

/** How many keys are not where `pool` says; more than `most` is not counted further. */
function wrongOf(pool: PoolConfig, sightings: readonly Sighting[], most: number): number {
  const placement = placementOf(pool, () => 0);
  let wrong = 0;
  for (const { key, server } of sightings) {
    const said = placement.serverOf(key, 0, key.length);
    if ((server < 0 ? said === elsewhere(server) : said !== server) && ++wrong > most) break;
  }
  return wrong;
}

function* otherSettings(pool: PoolConfig): Generator<[string, PoolConfig]> {
  const fileTag = pool.hashTag === null ? null : String.fromCharCode(...pool.hashTag);
  const distributions = DISTRIBUTED.filter((each) => each !== pool.distribution);
  const tags = TAGS.filter((tag) => tag !== fileTag);
  const hashes = (Object.keys(HASHES) as HashName[]).filter((each) => each !== pool.hash);
  const is = (name: string, file: string, right: string) => `${name}: the file has ${file}, with ${right}`;
  for (const hash of hashes) yield [is("hash", pool.hash, hash), { ...pool, hash }];
  for (const tag of tags) {
    const text = is("hash_tag", tagText(fileTag), tagText(tag));
    yield [text, { ...pool, hashTag: tagBytes(tag) }];
  }
  for (const distribution of distributions) {
    const text = is("distribution", pool.distribution, distribution);
    yield [text, { ...pool, distribution }];
    for (const hash of hashes) {
      yield [`${text} and ${is("hash", pool.hash, hash)}`, { ...pool, distribution, hash }];
    }
  }
  const names = [
    [
      "the servers' names: the file has some, with none",
      (server: PoolConfig["servers"][number]) => unnamed(server),
    ],
  ] as const;
  for (const [text, nameOf] of names) {
    if (pool.servers.every((server) => nameOf(server) === server.name)) continue;
    const renamed = pool.servers.map((server) => ({ ...server, name: nameOf(server) }));
    // Sightings know servers by their place in the file's order: only where it stays are these comparable.
    const order = sortServers(renamed);
    if (order.some((server, at) => server !== renamed[at]) && pool.distribution === "modula") continue;
    yield [text, { ...pool, servers: renamed }];
  }
}

/** What a server without a name is called (config/values.ts). */
function unnamed({ addressText, address }: PoolConfig["servers"][number]): string {
  if (address !== null && "path" in address) return `${address.path}:`;
  return address !== null && address.port === 11211 ? address.host : addressText;
}

const tagText = (tag: string | null): string => tag === null ? "none" : `"${tag}"`;
const tagBytes = (tag: string | null): Uint8Array | null =>
  tag === null ? null : Uint8Array.from(tag, (letter) => letter.charCodeAt(0));

/** @param allowed keys that may still be elsewhere */
function otherWeight(
  pool: PoolConfig,
  sightings: readonly Sighting[],
  allowed: number,
): { readonly text: string; readonly wrong: number } | null {
  if (pool.servers.length < 2 || allowed < 0) return null;
  const placement = placementOf(pool, () => 0);
  const said = new Float64Array(pool.servers.length);
  const found = new Float64Array(pool.servers.length);
  for (const { key, server } of sightings) {
    said[placement.serverOf(key, 0, key.length)]!++;
    found[server]!++;
  }
  const strange = (at: number) => Math.abs(found[at]! - said[at]!) / Math.sqrt(said[at]! + 1);
  const order = pool.servers.map((_, at) => at).sort((a, b) => strange(b) - strange(a));
  // Few keys may fit several weights.
  let best: { at: number; weights: number[]; wrong: number } | null = null;
  for (const at of order.slice(0, WEIGHED_MAX)) {
    for (const weight of weightsFor(pool, at, said[at]!, found[at]!, sightings.length)) {
      const servers = pool.servers.map((server, i) => i === at ? { ...server, weight } : server);
      const wrong = wrongOf({ ...pool, servers }, sightings, allowed);
      if (wrong > allowed) continue;
      if (best !== null && best.at === at && best.wrong === wrong) best.weights.push(weight);
      else if (best === null || wrong < best.wrong) best = { at, weights: [weight], wrong };
      allowed = wrong;
    }
    // Another server's weight can hardly explain the same.
    if (best !== null) break;
  }
  if (best === null) return null;
  const { name, weight } = pool.servers[best.at]!;
  const { weights, wrong } = best;
  const which = weights.length === 1 ? weights[0] : `${Math.min(...weights)} to ${Math.max(...weights)}`;
  return { text: `weight of ${name}: the file has ${weight}, with ${which}`, wrong };
}

/** One weight as the other file has it. @param allowed keys that may still be elsewhere */
function weightOfOther(
  pool: PoolConfig,
  other: PoolConfig,
  sightings: readonly Sighting[],
  allowed: number,
): { readonly text: string; readonly wrong: number } | null {
  for (const [at, { name, weight }] of pool.servers.entries()) {
    const its = other.servers.find((each) => each.name === name)?.weight;
    if (its === undefined || its === weight) continue;
    const servers = pool.servers.map((server, i) => i === at ? { ...server, weight: its } : server);
    const wrong = wrongOf({ ...pool, servers }, sightings, allowed);
    if (wrong <= allowed) return { text: `weight of ${name}: the file has ${weight}, with ${its}`, wrong };
  }
  return null;
}

/**
 * The weight that somebody counts with who looks for some keys elsewhere, who knows where: a server that weighs more takes keys from all
 * others, as many as it gains; one that weighs less loses its own.
 */
function hiddenWeight(
  pool: PoolConfig,
  sightings: readonly Sighting[],
  allowed: number,
): { readonly text: string; readonly wrong: number } | null {
  const { servers } = pool;
  const lost = new Float64Array(servers.length);
  for (const { server } of sightings) if (server < 0) lost[elsewhere(server)]!++;
  const share = lost.reduce((sum, count) => sum + count, 0) / sightings.length;
  const total = servers.reduce((sum, { weight }) => sum + weight, 0);
  let best: { at: number; weight: number; wrong: number } | null = null;
  for (const [at, { weight }] of servers.entries()) {
    const others = total - weight;
    const heavier = Math.min(weight / total + share, 0.99);
    const lighter = Math.max(weight / total - share, 0);
    const around = (part: number) => [-1, 0, 1, 2].map((by) => Math.floor(part * others / (1 - part)) + by);
    for (const other of new Set([...around(heavier), ...around(lighter)])) {
      if (other < 1 || other === weight || allowed < 0) continue;
      const changed = servers.map((server, i) => i === at ? { ...server, weight: other } : server);
      const wrong = wrongOf({ ...pool, servers: changed }, sightings, allowed);
      if (wrong > allowed) continue;
      best = { at, weight: other, wrong };
      allowed = wrong - 1;
    }
  }
  if (best === null) return null;
  const { name, weight } = servers[best.at]!;
  return { text: `weight of ${name}: the file has ${weight}, with ${best.weight}`, wrong: best.wrong };
}

/** Weights that give a server about the share of all `keys` that it has, `found`, in place of `said`. */
function weightsFor(
  { servers }: PoolConfig,
  at: number,
  said: number,
  found: number,
  keys: number,
): number[] {
  const { weight } = servers[at]!;
  // With weight w among others of W it has w : W of the keys as others have; so w grows as that ratio does.
  const ratio = (of: number) => (of + 1) / (keys - of + 1);
  const guess = weight * ratio(found) / ratio(said);
  const margin = 1 + 3 / Math.sqrt(Math.min(found, said, keys - found, keys - said) + 1);
  const [low, high] = [Math.max(1, Math.floor(guess / margin)), Math.ceil(guess * margin)];
  const all: number[] = [];
  const step = Math.max(1, Math.ceil((high - low) / TRIED_MAX));
  for (let each = low; each <= high; each += step) all.push(each);
  for (const round of WEIGHTS) if (round >= low && round <= high) all.push(round);
  return [...new Set(all)].filter((each) => each !== weight).sort((a, b) => a - b);
}

/** Servers that have all keys of another one. */
function exchanged(
  pool: PoolConfig,
  sightings: readonly Sighting[],
): { readonly text: string; readonly wrong: number } | null {
  const placement = placementOf(pool, () => 0);
  const counts = new Map<number, Map<number, number>>();
  for (const { key, server } of sightings) {
    const said = placement.serverOf(key, 0, key.length);
    const row = counts.get(said) ?? new Map<number, number>();
    counts.set(said, row.set(server, (row.get(server) ?? 0) + 1));
  }
  const heirs = new Map<number, number>();
  let right = 0;
  for (const [said, row] of counts) {
    const [server, count] = [...row].reduce((a, b) => b[1] > a[1] ? b : a);
    heirs.set(said, server);
    right += count;
  }
  const wrong = sightings.length - right;
  if (wrong > sightings.length * (1 - RIGHT) || new Set(heirs.values()).size < heirs.size) return null;
  const moved = [...heirs].filter(([said, server]) => said !== server);
  if (moved.length === 0) return null;
  const texts = moved.slice(0, 4).map(([said, server]) =>
    `${pool.servers[said]!.name} at ${pool.servers[server]!.addressText} instead of ${
      pool.servers[said]!.addressText
    }`
  );
  const more = moved.length > 4 ? `, and ${moved.length - 4} more` : "";
  return { text: `addresses or names that are exchanged: with ${texts.join(", ")}${more}`, wrong };
}

/** Only keys of one server, by the file or by where they are, are elsewhere. */
function oneServer(
  pool: PoolConfig,
  sightings: readonly Sighting[],
): { readonly text: string; readonly wrong: number } | null {
  const placement = placementOf(pool, () => 0);
  const lost = sightings.map(({ key, server }) => [placement.serverOf(key, 0, key.length), server] as const)
    .filter(([said, server]) => said !== server);
  const of = pool.servers.map((_, at) =>
    lost.filter(([said, server]) => said === at || server === at).length
  );
  const most = of.indexOf(Math.max(...of));
  const wrong = lost.length - of[most]!;
  // With another name nearly all of its keys are elsewhere: a few of them are leftovers.
  const own = sightings.filter(({ key }) => placement.serverOf(key, 0, key.length) === most).length;
  if (of[most]! < own * ITS_OWN) return null;
  if (pool.servers.length < 3 || wrong > sightings.length * (1 - RIGHT) / 4) return null;
  const { name } = pool.servers[most]!;
  return {
    text: `name or weight of ${name}: all keys that are elsewhere are its own, or on it; with others`,
    wrong,
  };
}

/** What the two configurations of a pool say otherwise of where keys go; for people. */
export function placingDifferences(old: PoolConfig, young: PoolConfig): string[] {
  const lines: string[] = [];
  const say = (what: string, a: string, b: string) => {
    if (a !== b) lines.push(`${what}: OLD ${a}, NEW ${b}`);
  };
  const tag = ({ hashTag }: PoolConfig) => tagText(hashTag === null ? null : String.fromCharCode(...hashTag));
  say("hash", old.hash, young.hash);
  say("distribution", old.distribution, young.distribution);
  say("hash_tag", tag(old), tag(young));
  for (const server of old.servers) {
    const { name, weight, addressText } = server;
    const heir = young.servers.find((each) => each.name === name);
    if (heir !== undefined) {
      say(`weight of ${name}`, String(weight), String(heir.weight));
      say(`address of ${name}`, addressText, heir.addressText);
      continue;
    }
    const renamed = young.servers.find((each) =>
      each.addressText === addressText && !old.servers.some((other) => other.name === each.name)
    );
    if (renamed !== undefined) say(`name of the server at ${addressText}`, name, renamed.name);
    else lines.push(`server ${name} (${addressText}): only in OLD`);
  }
  for (const { name, addressText } of young.servers) {
    if (old.servers.some((each) => each.name === name || each.addressText === addressText)) continue;
    lines.push(`server ${name} (${addressText}): only in NEW`);
  }
  return lines;
}
