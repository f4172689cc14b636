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
import { assert } from "../bytes/assert.ts";
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
/** Who goes rather, if they are as many. */
const BY_BLAME = [SILENT, ANSWERED, ASKING, RETURNED] as const;
/** With so many at most at an address it is not the address that is to blame. */
const FEW = 8;
/** Share of all places that those of one address may have for whom we wait. */
const ADDRESS_SHARE = 1 / 2;
/** Addresses of which it is known that they have shaken hands, the latest. */
const KNOWN_MAX = 4096;

/** One that is half open: a link in the chain of its kind. */
interface Place<T> {
  readonly who: T;
  readonly group: Group<T>;
  kind: number;
  before: Place<T> | null;
  after: Place<T> | null;
}

/** All of one kind, whatever their address; who has been of it longest comes first. */
class Chain<T> {
  first: Place<T> | null = null;
  last: Place<T> | null = null;

  add(place: Place<T>): void {
    place.before = this.last;
    place.after = null;
    if (this.last === null) this.first = place;
    else this.last.after = place;
    this.last = place;
  }

  remove({ before, after }: Place<T>): void {
    if (before === null) this.first = after;
    else before.after = after;
    if (after === null) this.last = before;
    else after.before = before;
  }
}

/** Of one address, by kind; who has been of it longest comes first. */
class Group<T> {
  private readonly kinds: (Set<T> | null)[] = [null, null, null, null];
  size = 0;

  /** @param known somebody of this address has shaken hands before */
  constructor(readonly address: string, public known: boolean) {}

  get isTrusted(): boolean {
    return this.known && this.size <= FEW;
  }

  /** How much it is to blame that there are too many. */
  get blame(): number {
    if (this.isTrusted) return 0;
    return this.size === 1 || this.size > FEW ? this.size : FEW;
  }

  count(kind: number): number {
    return this.kinds[kind]?.size ?? 0;
  }

  put(who: T, kind: number): void {
    (this.kinds[kind] ??= new Set()).add(who);
  }

  take(who: T, kind: number): void {
    this.kinds[kind]!.delete(who);
  }

  /** There is one. */
  first(kind: number): T {
    return this.kinds[kind]!.values().next().value!;
  }
}

/** Of all addresses that are to blame alike: how many they are, and how many they have of each kind. */
interface Level {
  groups: number;
  readonly kinds: number[];
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
  /** By kind. */
  private readonly chains: readonly Chain<T>[] = Array.from({ length: KINDS }, () => new Chain<T>());
  /** By blame: in a flood of very many addresses nobody can look at them all each time. */
  private readonly levels: (Level | undefined)[] = [];
  /** No address is more to blame. */
  private most = 0;
  /** ANSWERED ones. */
  answered = 0;

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
    } else this.leaveLevel(group);
    group.size++;
    this.enterLevel(group);
    const gone = this.places.size >= this.max ? this.oneOfMost() : null;
    const place: Place<T> = { who, group, kind: SILENT, before: null, after: null };
    this.places.set(who, place);
    this.put(place, SILENT);
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
    const { group } = place;
    this.places.delete(who);
    this.take(place);
    this.leaveLevel(group);
    if (--group.size === 0) this.groups.delete(group.address);
    else this.enterLevel(group);
    for (let lane = 0; lane < LANES.length; lane++) {
      if (group.count(LANES[lane]!) === 0) this.turns[lane]!.delete(group);
    }
    return true;
  }

  /** It has shaken hands, and is half open no more. */
  shook(who: T): void {
    const place = this.places.get(who);
    if (place === undefined) return;
    const { group, group: { address } } = place;
    if (!group.known) {
      this.leaveLevel(group);
      group.known = true;
      this.enterLevel(group);
    }
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
        if (group.count(kind) === 0) {
          turns.delete(group);
          continue;
        }
        const who = group.first(kind);
        this.lane = (lane + 1) % LANES.length;
        turns.delete(group);
        this.move(who, ANSWERED);
        // Behind the others.
        if (group.count(kind) > 0) turns.add(group);
        this.limit(group);
        return who;
      }
    }
    return null;
  }

  private move(who: T, kind: number): Group<T> | null {
    const place = this.places.get(who);
    if (place === undefined) return null;
    this.take(place);
    this.put(place, kind);
    return place.group;
  }

  /** It becomes one of this kind. */
  private put(place: Place<T>, kind: number): void {
    const { who, group } = place;
    place.kind = kind;
    group.put(who, kind);
    this.chains[kind]!.add(place);
    this.levels[group.blame]!.kinds[kind]!++;
    if (kind === ANSWERED) this.answered++;
  }

  private take(place: Place<T>): void {
    const { who, group, kind } = place;
    group.take(who, kind);
    this.chains[kind]!.remove(place);
    this.levels[group.blame]!.kinds[kind]!--;
    if (kind === ANSWERED) this.answered--;
  }

  /** What it is to blame may change. */
  private leaveLevel(group: Group<T>): void {
    const level = this.levels[group.blame]!;
    level.groups--;
    for (let kind = 0; kind < KINDS; kind++) level.kinds[kind]! -= group.count(kind);
  }

  private enterLevel(group: Group<T>): void {
    const { blame } = group;
    const level = this.levels[blame] ??= { groups: 0, kinds: [0, 0, 0, 0] };
    level.groups++;
    for (let kind = 0; kind < KINDS; kind++) level.kinds[kind]! += group.count(kind);
    this.most = Math.max(this.most, blame);
  }

  /** Pushes out one if we wait for too many of this address. */
  private limit(group: Group<T>): void {
    const [silent, answered] = [group.count(SILENT), group.count(ANSWERED)];
    if (silent + answered <= Math.max(1, Math.floor(this.max * ADDRESS_SHARE))) return;
    this.pushOut(group.first(answered > silent ? ANSWERED : SILENT));
  }

  /** Who goes when all places are taken. */
  private oneOfMost(): T | null {
    while (this.most > 0 && (this.levels[this.most]?.groups ?? 0) === 0) this.most--;
    const { most } = this;
    const kinds = this.levels[most]?.kinds;
    let best = SILENT;
    for (const kind of BY_BLAME) if (kinds !== undefined && kinds[kind]! > kinds[best]!) best = kind;
    if (kinds === undefined || kinds[best] === 0) return null;
    const waits = best === ASKING || best === RETURNED;
    let place = waits ? this.chains[best]!.last! : this.chains[best]!.first!;
    while (place.group.blame !== most) place = waits ? place.before! : place.after!;
    return place.who;
  }

  /** @throws if something does not hold that always has to */
  invariants(): void {
    const levels: Level[] = [];
    for (const group of this.groups.values()) {
      const level = levels[group.blame] ??= { groups: 0, kinds: [0, 0, 0, 0] };
      level.groups++;
      for (let kind = 0; kind < KINDS; kind++) level.kinds[kind]! += group.count(kind);
      assert(group.blame <= this.most, "an address is more to blame than the most");
    }
    for (let i = 0; i < Math.max(levels.length, this.levels.length); i++) {
      const [is, should] = [this.levels[i], levels[i]].map((level) =>
        `${level?.groups ?? 0} ${level?.kinds ?? [0, 0, 0, 0]}`
      );
      assert(is === should, `blame ${i}: ${is}, not ${should}`);
    }
    this.chains.forEach((chain, kind) => {
      let count = 0;
      for (let place = chain.first; place !== null; place = place.after) {
        assert(place.kind === kind && this.places.get(place.who) === place, "a chain of another kind");
        count++;
      }
      assert(
        count === levels.reduce((sum, level) => sum + level.kinds[kind]!, 0),
        "a chain of another length",
      );
    });
  }
}

/** Whose address it is, of "ip:port": the first 64 bits of IPv6, which are one network. Who has none is of one address with his like. */
export function addressOf(peer: string): string {
  const ip = ipOfPeer(peer);
  return ip === null ? "" : ip.slice(0, ip.length === 16 ? 8 : 4).join(".");
}
