/**
 * A pool of OLD and of NEW, read beside each other.
 *
 *   keys, some at a time ──► the pace ──► both sides ──► the same?  done
 *                                                   └──► not: read again later, OLD, NEW, OLD, until it is the same, or OLD itself
 *                                                        changes, or it has stayed different: only then it is a difference
 *   a key and where it was found ──► where the files say? ──► not: is there a copy where they say? ──► leftover, or misplaced ──► cause
 *
 * Memory is bounded: keys that wait to be read again are RECHECKED, sightings SIGHTINGS_MAX.
 */
import type { Clock } from "../net/net.ts";
import type { PoolConfig } from "../config/config.ts";
import { type Cause, elsewhere, likelyCause, type Sighting, SIGHTINGS_MAX } from "./cause.ts";
import type { Pace } from "./pace.ts";
import { type Difference, differenceOf, type Reading, unread, unreadText } from "./reading.ts";
import { NO_OWNER, type Side } from "./side.ts";
import type { Tally } from "./tally.ts";

/** A key, and the address of the server that it was found on; null: it comes from a list. */
export interface KeyAt {
  readonly key: Uint8Array;
  readonly foundAt: string | null;
}

/** Keys that are read at a time. */
export const BATCH = 128;
/** Keys that wait to be read again, at most. */
const RECHECKED = 512;
/** Before each time that a key is read again, ms. */
const PAUSES_MS = [50, 250, 1000];
/** So many differences are enough: others are looked at twice, not four times. */
const CERTAIN = 1000;
/** Times that a server may keep silent before keys of it are not asked for any more. */
const SILENT_MAX = 2;
/** Keys of a side that are looked for on all its servers. */
const LOCATED_MAX = 500;

/** One of the two does not answer any more: nothing can be compared. The message is for people. */
export class CannotCompare extends Error {
  override readonly name = "CannotCompare";
}

interface Pending extends KeyAt {
  old: Reading;
  young: Reading;
}

/** A side whose file does not say where keys are, or whose proxy does not look where its file says. */
export interface PlacingFault {
  readonly label: string;
  /** It is the proxy, which runs with something else than the file. */
  readonly running: boolean;
  /** Keys that lie elsewhere, or that the proxy does not find. */
  readonly misplaced: number;
  readonly cause: Cause | null;
}

interface Placed {
  readonly side: Side;
  /** Some of the keys seen, drawn evenly. */
  readonly sightings: Sighting[];
  seen: number;
  misplaced: number;
  located: number;
  /** Keys that lie where the file says, and that the proxy does not find there. */
  readonly blind: Uint8Array[];
  /** What this side has not, and the other one has. */
  missed: number;
}

export class Comparison {
  private readonly pending: Pending[] = [];
  /** By the owner that OLD, or NEW if it has none, says: how often it has kept silent. */
  private readonly silent = new Map<number, number>();
  private readonly placed: readonly Placed[];
  private faults: readonly PlacingFault[] = [];

  constructor(
    private readonly old: Side,
    private readonly young: Side,
    private readonly tally: Tally,
    private readonly around: {
      readonly clock: Clock;
      readonly pace: Pick<Pace, "take">;
      /** Uniform in [0, 1). */
      readonly random: () => number;
    },
  ) {
    this.placed = [old, young].map((side) => ({
      side,
      sightings: [],
      seen: 0,
      misplaced: 0,
      located: 0,
      blind: [],
      missed: 0,
    }));
  }

  /** @throws CannotCompare */
  async take(all: readonly KeyAt[]): Promise<void> {
    const { tally } = this;
    const batch: KeyAt[] = [];
    for (const each of all) {
      tally.keys++;
      const owner = this.ownerOf(each.key);
      if ((this.silent.get(owner) ?? 0) < SILENT_MAX) batch.push(each);
      else tally.cannotTell(each.key, `${this.ownerText(owner)} does not answer`);
    }
    if (batch.length === 0) return;
    await this.around.pace.take(batch.length);
    const keys = batch.map(({ key }) => key);
    const [old, young] = await Promise.all([this.old.read(keys), this.young.read(keys)]);
    let lost = false;
    const settled: Pending[] = [];
    batch.forEach(({ key, foundAt }, i) => {
      const one = { key, foundAt, old: old[i]!, young: young[i]! };
      if (differenceOf(one.old, one.young) !== null || unread(one.old, one.young)) this.pending.push(one);
      else settled.push(one);
      lost ||= one.old.kind === "lost" || one.young.kind === "lost";
    });
    await this.settle(settled);
    if (lost || this.pending.length >= RECHECKED) await this.recheck();
  }

  /** What is still open. @throws CannotCompare */
  async end(): Promise<void> {
    await this.recheck();
    this.faults = this.placed.flatMap((placed) =>
      faultsOf(placed, (placed.side === this.old ? this.young : this.old).pool)
    );
    // Where no proxy is asked nobody has said that clients read them where they are.
    const { differences, notes } = this.tally;
    const [old, young] = [this.old, this.young];
    if (
      old.proxy !== null || young.proxy !== null || differences.placement > 0 || differences.misplaced === 0
    ) return;
    if (this.faults.some(({ cause }) => cause !== null)) return;
    const keys = Math.max(...this.faults.map(({ misplaced }) => misplaced));
    this.tally.forgive(keys);
    this.faults = [];
    notes.push(
      `${keys} keys lie where neither file says, both files agree, and no setting explains it: leftovers of other servers, ` +
        "or several settings are wrong. With the proxies (without --direct) it is seen whether clients read them",
    );
  }

  /** Of each side with keys that are elsewhere; when it has ended. */
  causes(): readonly PlacingFault[] {
    return this.faults;
  }

  // ---- read again

  private async recheck(): Promise<void> {
    const { tally, around } = this;
    let open = this.pending.splice(0);
    for (const [attempt, pauseMs] of PAUSES_MS.entries()) {
      if (open.length === 0) return;
      const isLost = open.some(({ old, young }) => old.kind === "lost" || young.kind === "lost");
      // What was lost is asked for at once, to find out whose fault it is.
      if (!isLost || attempt > 0) await new Promise<void>((then) => around.clock.setTimer(pauseMs, then));
      const last = attempt === PAUSES_MS.length - 1 ||
        Object.values(tally.differences).some((n) => n > CERTAIN);
      open = await this.readAgain(open, last, attempt === 0);
      await this.assertAlive(open);
      if (last) break;
    }
  }

  /** @returns those that are still open; none if it is the `last` time */
  private async readAgain(open: readonly Pending[], last: boolean, first: boolean): Promise<Pending[]> {
    const { tally } = this;
    const still: Pending[] = [];
    const settled: Pending[] = [];
    // By server, so that one that is silent takes no others with it.
    const groups = new Map<number, Pending[]>();
    for (const one of open) {
      const owner = this.ownerOf(one.key);
      groups.set(owner, [...groups.get(owner) ?? [], one]);
    }
    for (const [owner, group] of groups) {
      for (let from = 0; from < group.length; from += BATCH) {
        const part = group.slice(from, from + BATCH);
        if ((this.silent.get(owner) ?? 0) >= SILENT_MAX) {
          for (const { key } of part) tally.cannotTell(key, `${this.ownerText(owner)} does not answer`);
          continue;
        }
        if (first) tally.again += part.length;
        await this.around.pace.take(part.length);
        const [before, between, after] = await this.readTwice(part.map(({ key }) => key));
        if (before.every(isSilent) || between.every(isSilent)) {
          this.silent.set(owner, (this.silent.get(owner) ?? 0) + 1);
        }
        part.forEach(({ key, foundAt }, i) => {
          const [a, b, c] = [before[i]!, between[i]!, after[i]!];
          const one = { key, foundAt, old: c, young: b };
          const difference = differenceOf(c, b);
          if (unread(c, b)) {
            if (last) tally.cannotTell(key, unreadText(c, b));
            else still.push(one);
          } else if (difference === null) settled.push(one);
          else if (differenceOf(a, b) === null && !unread(a, b)) settled.push({ ...one, old: a });
          else if (!last) still.push(one);
          else if (differenceOf(a, c) !== null) {
            tally.changing++;
            tally.show("changing", key, `OLD itself changed while it was read: ${difference.text}`);
          } else this.found(one, difference);
        });
      }
    }
    await this.settle(settled);
    return still;
  }

  /** OLD, NEW and OLD again; whatever takes others with it (a value that is too large) is read alone. */
  private async readTwice(keys: readonly Uint8Array[]): Promise<[Reading[], Reading[], Reading[]]> {
    const before = await this.old.read(keys);
    // There is no need to wait for it again.
    if (before.every(isSilent)) return [before, before, before];
    const between = await this.young.read(keys);
    const after = between.every(isSilent) ? before : await this.old.read(keys);
    const all: [Reading[], Reading[], Reading[]] = [before, between, after];
    if (keys.length === 1 || !all.some((each) => each.some(({ kind }) => kind === "lost"))) return all;
    if (all.some((each) => each.every(isSilent))) return all;
    const alone: [Reading[], Reading[], Reading[]] = [[], [], []];
    for (const key of keys) {
      const one = await this.readTwice([key]);
      one.forEach((readings, i) => alone[i]!.push(readings[0]!));
    }
    return alone;
  }

  private found({ key, foundAt }: Pending, { kind, text }: Difference): void {
    const owners = [this.old, this.young].map((side) => {
      const owner = side.ownerOf(key);
      return owner === NO_OWNER ? "" : `, ${side.label}'s file says ${side.serverText(owner)}`;
    });
    const found = foundAt === null ? "" : `; found at ${foundAt}`;
    this.tally.differs(kind, key, text + owners.join("") + found);
    this.compareOwners(key);
    if (foundAt === null && kind !== "missing" && kind !== "extra") return;
    const blind = kind === "missing" ? this.placed[1]! : kind === "extra" ? this.placed[0]! : null;
    this.strange.push({ key, foundAt, blind });
  }

  /** Keys that differ, to be looked for when the next ones are settled; and which side has not found them. */
  private readonly strange: (KeyAt & { readonly blind: Placed | null })[] = [];

  /** Nothing was read of any of them: is one of the proxies gone? */
  private async assertAlive(open: readonly Pending[]): Promise<void> {
    for (const [side, of] of [[this.old, "old"], [this.young, "young"]] as const) {
      if (side.proxy === null || open.length === 0) continue;
      if (!open.every((one) => one[of].kind === "lost")) continue;
      const why = await side.proxy.greet();
      if (why === null || /^no answer/.test(why)) continue;
      throw new CannotCompare(`${side.label} at ${side.proxy.place.text} does not answer any more: ${why}`);
    }
  }

  // ---- what both sides say

  private async settle(same: readonly Pending[]): Promise<void> {
    const { tally } = this;
    for (const { key, old, young } of same) {
      if (old.kind === "absent") tally.gone++;
      else {
        tally.same++;
        if (old.kind === "found" && young.kind === "found" && !(old.whole && young.whole)) tally.parts++;
      }
      this.compareOwners(key);
    }
    const strange = this.strange.splice(0).map((each) => ({ ...each, read: null }));
    const read = same.map(({ key, foundAt, old }) => ({
      key,
      foundAt,
      blind: null,
      read: old.kind === "found",
    }));
    await this.lookAtPlaces([...read, ...strange]);
  }

  /** Do the two files give it to the same server? */
  private compareOwners(key: Uint8Array): void {
    const [a, b] = [this.old.ownerOf(key), this.young.ownerOf(key)];
    if (a === NO_OWNER || b === NO_OWNER) return;
    const [one, other] = [this.old.pool!.servers[a]!, this.young.pool!.servers[b]!];
    // The same server at another address has its keys, or they differ when they are read.
    if (one.addressText === other.addressText || one.name === other.name) return;
    this.tally.differs("placement", key, `OLD ${this.old.serverText(a)}, NEW ${this.young.serverText(b)}`);
  }

  /**
   * Does each lie on the server that each file says?
   * @param keys `read`: clients of OLD read it (true), nobody does (false), or it is read differently (null)
   */
  private async lookAtPlaces(
    keys: readonly (KeyAt & { readonly read: boolean | null; readonly blind: Placed | null })[],
  ): Promise<void> {
    const counted = new Set<Uint8Array>();
    for (const placed of this.placed) {
      const { side } = placed;
      if (side.placement === null) continue;
      const wrong: { key: Uint8Array; server: number; read: boolean | null }[] = [];
      const unknown: { key: Uint8Array; read: boolean | null; blind: boolean }[] = [];
      for (const { key, foundAt, read, blind } of keys) {
        const owner = side.ownerOf(key);
        if (owner === NO_OWNER) continue;
        if (foundAt === null) {
          // Where servers are read themselves, what was read was there.
          if (side.proxy === null && read === true) this.sight(placed, key, owner);
          else if (read !== false || side.proxy === null) {
            unknown.push({ key, read, blind: blind === placed });
          }
          continue;
        }
        const server = side.serverAt(foundAt);
        if (server === NO_OWNER) continue;
        if (server === owner && blind === placed) this.missed(placed, key);
        else if (server === owner) this.sight(placed, key, server);
        else wrong.push({ key, server, read });
      }
      await this.judge(placed, wrong, counted);
      await this.locate(placed, unknown);
    }
  }

  /**
   * Keys that were found on another server: is there a copy where the file says?
   * @param counted leftovers of this call
   */
  private async judge(
    placed: Placed,
    wrong: readonly { key: Uint8Array; server: number; read: boolean | null }[],
    counted: Set<Uint8Array>,
  ): Promise<void> {
    const { tally } = this;
    const { side } = placed;
    const home = await side.areHome(wrong.map(({ key }) => key));
    wrong.forEach(({ key, server, read }, i) => {
      const text = `found on ${side.serverText(server)}, ${side.label}'s file says ${
        side.serverText(side.ownerOf(key))
      }`;
      // Clients see the copy at home; or they have not seen this one for as long as they ask OLD.
      if (home[i] === true || read === false && this.old.proxy !== null) {
        // By both files it is one leftover.
        if (!counted.has(key)) {
          counted.add(key);
          tally.strays++;
          tally.show("stray", key, text);
        }
        return;
      }
      this.misplaced(placed, key, server, text);
    });
  }

  /** Keys of a list that have been read: where? */
  private async locate(
    placed: Placed,
    keys: readonly { key: Uint8Array; read: boolean | null; blind: boolean }[],
  ): Promise<void> {
    if (keys.length === 0) return;
    const { side } = placed;
    const home = await side.areHome(keys.map(({ key }) => key));
    const away = keys.filter(({ key, blind }, i) => {
      if (home[i] === true && blind) this.missed(placed, key);
      else if (home[i] === true) this.sight(placed, key, side.ownerOf(key));
      return home[i] === false;
    }).slice(0, LOCATED_MAX - placed.located);
    if (away.length === 0) return;
    placed.located += away.length;
    const found = await side.locate(away.map(({ key }) => key));
    away.forEach(({ key }, i) => {
      const server = found[i]!;
      if (server === NO_OWNER || server === side.ownerOf(key)) return;
      const text = `found on ${side.serverText(server)}, ${side.label}'s file says ${
        side.serverText(side.ownerOf(key))
      }`;
      this.misplaced(placed, key, server, text);
    });
  }

  private misplaced(placed: Placed, key: Uint8Array, server: number, text: string): void {
    placed.misplaced++;
    this.tally.differs("misplaced", key, text);
    this.sight(placed, key, server);
  }

  /** It is where the file says, and the proxy does not find it. */
  private missed(placed: Placed, key: Uint8Array): void {
    if (placed.side.proxy === null) return;
    placed.missed++;
    if (placed.blind.length < SIGHTINGS_MAX) placed.blind.push(key);
  }

  private sight(placed: Placed, key: Uint8Array, server: number): void {
    const { sightings } = placed;
    const at = Math.floor(this.around.random() * ++placed.seen);
    if (sightings.length < SIGHTINGS_MAX) sightings.push({ key, server });
    else if (at < SIGHTINGS_MAX) sightings[at] = { key, server };
  }

  private ownerOf(key: Uint8Array): number {
    const owner = this.old.ownerOf(key);
    return owner === NO_OWNER ? this.young.ownerOf(key) : owner;
  }

  private ownerText(owner: number): string {
    const side = this.old.placement === null ? this.young : this.old;
    return owner === NO_OWNER ? "the proxy" : side.serverText(owner);
  }
}

/** @param other the pool of the other side */
function faultsOf(
  { side, sightings, misplaced, blind, missed }: Placed,
  other: PoolConfig | null,
): PlacingFault[] {
  const { label, pool } = side;
  const faults: PlacingFault[] = [];
  if (misplaced > 0) {
    faults.push({ label, running: false, misplaced, cause: likelyCause(pool!, sightings, other) });
  } else if (missed > 0) {
    const lost = blind.map((key) => ({ key, server: elsewhere(side.ownerOf(key)) }));
    // A server with other data misses all keys of its own: that is no setting.
    const owners = new Set(lost.map(({ server }) => server));
    const cause = owners.size === 1 ? null : likelyCause(pool!, [...sightings, ...lost], other);
    if (cause !== null) faults.push({ label, running: true, misplaced: missed, cause });
  }
  return faults;
}

const isSilent = (reading: Reading): boolean => reading.kind === "lost" && /^no answer/.test(reading.why);
