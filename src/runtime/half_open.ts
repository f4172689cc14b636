/**
 * Who has connected and not shaken hands, by address: whose turn is next, and who goes when they are too many.
 *
 *   add ─► SILENT ─asks─► ASKING ─next─► ANSWERED ─► remove
 *          we wait for it  it waits for us  we wait for it ─asksAgain─► RETURNED ─next─► ANSWERED
 *
 * There may be many who mean nothing but harm, from one address or from many, and few who are honest and take a moment. So:
 *
 *  - Those that ask have their turn address by address: who is alone at his does not stand behind hundreds of another. Those that have come
 *    back after an answer have turns of their own, and so have those of an address that has shaken hands before: they have shown that they go on.
 *  - An address may have a part of all that we wait for. One more pushes out its oldest.
 *  - When all places are taken, one goes of the address that has the most. Who is alone at his address stays as long as somebody
 *    else is not; addresses that have a few are alike. Those that have shaken hands before, and have a few, go last.
 *  - If many would do, one goes of the kind that is most numerous: whatever a flood does, it pushes out itself, be it one of the silent or
 *    one of those that ask and never go on. The oldest goes, of those that ask the newest: the oldest is next.
 */
import { ipOfPeer } from "../net/ip_range.ts";

export const SILENT = 0;
export const ASKING = 1;
export const ANSWERED = 2;
export const RETURNED = 3;
const KINDS = 4;

/** Kinds that have turns: of those that ask first those of all addresses, in the end those of known ones. */
const LANES = [ASKING, RETURNED, ASKING] as const;
const LANE_OF_ALL = 0;
const LANE_OF_RETURNED = 1;
const LANE_OF_KNOWN = 2;
/** With so many at most at an address it is not the address that is to blame. */
const FEW = 8;
/** Share of all places that those of one address may have for whom we wait. */
const ADDRESS_SHARE = 1 / 2;
/** Addresses of which it is known that they have shaken hands, the latest. */
const KNOWN_MAX = 4096;

/** Of one address, by kind, oldest first; and when each has come to be of its kind. */
class Group<T> {
  readonly kinds: readonly Map<T, number>[] = Array.from({ length: KINDS }, () => new Map<T, number>());
  size = 0;

  /** @param known somebody of this address has shaken hands before */
  constructor(readonly address: string, public known: boolean) {}

  get isTrusted(): boolean {
    return this.known && this.size <= FEW;
  }
}

interface Place<T> {
  readonly group: Group<T>;
  kind: number;
}

export class HalfOpen<T> {
  private readonly places = new Map<T, Place<T>>();
  private readonly groups = new Map<string, Group<T>>();
  /** Those that have somebody who asks, or asks again, in the order of their turns. */
  private readonly turns: readonly Set<Group<T>>[] = LANES.map(() => new Set());
  /** Who has the next turn. */
  private lane = LANE_OF_ALL;
  /** Addresses that have shaken hands, the latest last. */
  private readonly known = new Set<string>();
  /** ANSWERED ones. */
  answered = 0;
  private serial = 0;

  /** @param pushOut has to `remove`; not called for who has just been added */
  constructor(public max: number, private readonly pushOut: (who: T) => void) {}

  get size(): number {
    return this.places.size;
  }

  /** Somebody asks. */
  get asked(): boolean {
    return this.turns.some((each) => each.size > 0);
  }

  keys(): Iterable<T> {
    return this.places.keys();
  }

  add(who: T, address: string): void {
    let group = this.groups.get(address);
    if (group === undefined) {
      this.groups.set(address, group = new Group(address, this.known.has(address)));
    }
    group.size++;
    const gone = this.places.size >= this.max ? this.oneOfMost() : null;
    this.places.set(who, { group, kind: SILENT });
    group.kinds[SILENT]!.set(who, this.serial++);
    if (gone !== null) this.pushOut(gone);
    else this.limit(group);
  }

  /** It is of this address, as has come out. */
  isOf(who: T, address: string): void {
    if (this.remove(who)) this.add(who, address);
  }

  remove(who: T): boolean {
    const place = this.places.get(who);
    if (place === undefined) return false;
    const { group, kind } = place;
    this.places.delete(who);
    group.kinds[kind]!.delete(who);
    if (kind === ANSWERED) this.answered--;
    if (--group.size === 0) this.groups.delete(group.address);
    LANES.forEach((kind, lane) => group.kinds[kind]!.size > 0 || this.turns[lane]!.delete(group));
    return true;
  }

  /** It has shaken hands, and is half open no more. */
  shook(who: T): void {
    const place = this.places.get(who);
    if (place === undefined) return;
    const { group, group: { address } } = place;
    group.known = true;
    this.known.delete(address);
    this.known.add(address);
    if (this.known.size > KNOWN_MAX) this.known.delete(this.known.values().next().value!);
    this.remove(who);
  }

  asks(who: T): void {
    const group = this.move(who, ASKING);
    if (group === null) return;
    const [lane, other] = group.isTrusted ? [LANE_OF_KNOWN, LANE_OF_ALL] : [LANE_OF_ALL, LANE_OF_KNOWN];
    this.turns[lane]!.add(group);
    this.turns[other]!.delete(group);
  }

  /** It has come back after `next`. */
  asksAgain(who: T): void {
    const group = this.move(who, RETURNED);
    if (group !== null) this.turns[LANE_OF_RETURNED]!.add(group);
  }

  /** Whose turn it is of those that ask; he has been answered then. Null: nobody asks. */
  next(): T | null {
    for (let i = 0; i < LANES.length; i++) {
      const lane = (this.lane + i) % LANES.length;
      const [turns, kind] = [this.turns[lane]!, LANES[lane]!];
      for (const group of turns) {
        for (const who of group.kinds[kind]!.keys()) {
          this.lane = (lane + 1) % LANES.length;
          turns.delete(group);
          this.move(who, ANSWERED);
          // Behind the others.
          if (group.kinds[kind]!.size > 0) turns.add(group);
          this.limit(group);
          return who;
        }
      }
    }
    return null;
  }

  private move(who: T, kind: number): Group<T> | null {
    const place = this.places.get(who);
    if (place === undefined) return null;
    const { group } = place;
    group.kinds[place.kind]!.delete(who);
    if (place.kind === ANSWERED) this.answered--;
    if (kind === ANSWERED) this.answered++;
    group.kinds[place.kind = kind]!.set(who, this.serial++);
    return group;
  }

  /** Pushes out one if we wait for too many of this address. */
  private limit(group: Group<T>): void {
    const waits = group.kinds[SILENT]!.size + group.kinds[ANSWERED]!.size;
    if (waits <= Math.max(1, Math.floor(this.max * ADDRESS_SHARE))) return;
    const gone = chosen([group], [SILENT, ANSWERED]);
    if (gone !== null) this.pushOut(gone);
  }

  /** Who goes when all places are taken. */
  private oneOfMost(): T | null {
    let most = 0;
    for (const group of this.groups.values()) most = Math.max(most, blame(group));
    const groups = [...this.groups.values()].filter((group) => blame(group) === most);
    return chosen(groups, [SILENT, ANSWERED, ASKING, RETURNED]);
  }
}

function blame<T>({ isTrusted, size }: Group<T>): number {
  if (isTrusted) return 0;
  return size === 1 || size > FEW ? size : FEW;
}

/** One of the most numerous of these kinds. */
function chosen<T>(groups: readonly Group<T>[], kinds: readonly number[]): T | null {
  let best = -1;
  let most = 0;
  for (const kind of kinds) {
    const size = groups.reduce((sum, group) => sum + group.kinds[kind]!.size, 0);
    if (size > most) [best, most] = [kind, size];
  }
  let gone: T | null = null;
  let since = Infinity;
  for (const group of most === 0 ? [] : groups) {
    for (const [who, serial] of group.kinds[best]!) {
      const waits = best === ASKING || best === RETURNED;
      const age = waits ? -serial : serial;
      if (age < since) [gone, since] = [who, age];
      if (!waits) break;
    }
  }
  return gone;
}

/** Whose address it is, of "ip:port": the first 64 bits of IPv6, which are one network. Who has none is of one address with his like. */
export function addressOf(peer: string): string {
  const ip = ipOfPeer(peer);
  return ip === null ? "" : ip.slice(0, ip.length === 16 ? 8 : 4).join(".");
}
