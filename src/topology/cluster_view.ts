/**
 * What the nodes of a Redis Cluster say of who owns which slots, and what of it counts.
 *
 *   CLUSTER NODES, and SHARDS or SLOTS, of some nodes ──readView──► ClusterView each ──ClusterMap.merge──► slot ──► owner
 *
 * Plain data. NODES has the configuration epochs and what a node sees of the others; SHARDS and SLOTS have the endpoints that clients
 * should use. A slot is whose claim has the highest epoch, as in the cluster itself, so that whoever has not heard of a change
 * yet does no harm; and what is known stays known, however few answer, until
 *  - a higher epoch claims the slot,
 *  - its owner says itself that it does not own it, or that its epoch is another one (a node's own word counts),
 *  - its owner is a replica by a later epoch, or most nodes have been heard and none of them says that it owns it (it may be dead),
 *  - or no node that sees most of the cluster knows its owner any more.
 * Of a node that has lost a slot and gained another, who has heard of the second only says that it has both, by its newest epoch: what a
 * node does not say of itself nobody can say of it, unless it is of a later epoch.
 * A node that sees less than half of the primaries is behind a broken network, or dead to the others: it cannot tell what has
 * happened since, and only a higher epoch counts that it has.
 */
import { type SlotRange, SLOTS } from "../ring/slots.ts";
import { ReplyError, type Value } from "../protocol/redis/value.ts";

/** One node, as another (or itself) sees it. */
export interface SeenNode {
  readonly id: string;
  /** Where clients should go; "" = not told: the host that was asked. */
  readonly host: string;
  readonly port: number;
  /** The id of its primary; null: it is one. */
  readonly primary: string | null;
  /** Of its configuration; of what it claims. */
  readonly epoch: number;
  /** The cluster has agreed that it is gone. */
  readonly failed: boolean;
  /** Whoever says this has a connection to it, and does not suspect it. */
  readonly near: boolean;
  readonly slots: readonly SlotRange[];
}

/** What one node says. */
export interface ClusterView {
  /** Its own id; null: not told. */
  readonly me: string | null;
  /** By id. */
  readonly nodes: ReadonlyMap<string, SeenNode>;
  /** It sees less than half of the primaries that own slots. */
  readonly alone: boolean;
  /** It does not tell the epochs of others: all are its own. */
  readonly coarse: boolean;
}

/** The most nodes that are believed: the specification recommends a thousand. */
const NODES_MAX = 10_000;
/** Longest host name that is believed. */
const HOST_MAX = 255;

/** Where SHARDS or SLOTS say that a node is. */
interface Told {
  readonly host: string;
  readonly port: number;
  readonly primary: string | null;
  readonly failed: boolean;
  readonly slots: SlotRange[];
}

/**
 * @param nodes what CLUSTER NODES was answered with
 * @param shards the same of CLUSTER SHARDS
 * @param slots the same of CLUSTER SLOTS; null: not asked
 * @param info the same of CLUSTER INFO, which is of use where NODES is refused; null: not asked
 * @returns why it is none, for people
 */
export function readView(
  nodes: Value,
  shards: Value,
  slots: Value | null,
  info: Value | null,
): ClusterView | string {
  const told = Array.isArray(shards)
    ? toldByShards(shards)
    : Array.isArray(slots)
    ? toldBySlots(slots)
    : null;
  if (typeof nodes === "string") {
    const view = readNodes(nodes, told ?? new Map());
    return view.nodes.size > 0 ? view : "it names no node";
  }
  if (told === null) return nodes instanceof ReplyError ? nodes.text : "its answer is none";
  const epoch = typeof info === "string" ? Number(/cluster_current_epoch:([0-9]+)/.exec(info)?.[1] ?? 0) : 0;
  const seen = [...told].map(([id, each]): [string, SeenNode] => [id, { id, ...each, epoch, near: true }]);
  return { me: null, nodes: new Map(seen), alone: false, coarse: true };
}

/** Lines of "id ip:port@bus,host flags primary ping pong epoch link slot slot-slot …". */
function readNodes(text: string, told: ReadonlyMap<string, Told>): ClusterView {
  const nodes = new Map<string, SeenNode>();
  let me: string | null = null;
  const lines = text.split("\n");
  const hostOfUntold = untold(lines, told);
  for (const line of lines) {
    const [id, place, flagText, primaryText, , , epochText, link, ...ranges] = line.trim().split(" ");
    if (id === undefined || link === undefined || nodes.size >= NODES_MAX) continue;
    const flags = flagText!.split(",");
    if (flags.includes("myself")) me = id;
    if (flags.includes("handshake")) continue;
    const at = placeOf(place!);
    const where = told.get(id);
    const failed = flags.includes("fail") || flags.includes("noaddr");
    nodes.set(id, {
      id,
      host: hostOf(where?.host ?? hostOfUntold(at), at.ip),
      port: where?.port || at.port,
      primary: flags.includes("slave") ? primaryText! : null,
      epoch: Number(epochText) || 0,
      failed,
      near: flags.includes("myself") || (!failed && !flags.includes("fail?") && link === "connected"),
      // What begins with a bracket is on its way, and nobody else's yet.
      slots: ranges.flatMap(rangeOf),
    });
  }
  const owners = [...nodes.values()].filter((node) => node.slots.length > 0);
  const near = owners.filter((node) => node.near).length;
  return { me, nodes, alone: near * 2 < owners.length + 1 && owners.length > 1, coarse: false };
}

/**
 * A node that has just changed its part is in nobody's SHARDS for a moment. It is where it was before if it is called as the others are:
 * by its name, by its address, or not at all.
 */
function untold(lines: readonly string[], told: ReadonlyMap<string, Told>): (at: Place) => string {
  for (const line of lines) {
    const [id, place = ""] = line.trim().split(" ", 2);
    const host = told.get(id!)?.host;
    if (host === undefined) continue;
    const { ip, name } = placeOf(place);
    if (host === "" && ip !== "") return () => "";
    if (host !== ip && host === name) return (at) => at.name === "" ? at.ip : at.name;
  }
  return ({ ip }) => ip;
}

/** Where a line of NODES says that a node is. */
interface Place {
  readonly ip: string;
  readonly port: number;
  /** Its host name; "" = it has none. */
  readonly name: string;
}

/** "ip:port@bus,host,…": the last colon before the first of the others counts. */
function placeOf(text: string): Place {
  const place = text.split(/[@,]/, 1)[0]!;
  const colon = place.lastIndexOf(":");
  const ip = place.slice(0, Math.max(colon, 0));
  return { ip, port: Number(place.slice(colon + 1)) || 0, name: text.split(",", 2)[1] ?? "" };
}

/** A host name that should be known and is not ("?") is the node's address in its place. */
function hostOf(told: string, ip: string): string {
  const host = told === "?" ? ip : told;
  return host.length > HOST_MAX || /[\s\0]/.test(host) ? ip : host;
}

function rangeOf(text: string): SlotRange[] {
  const match = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(text);
  if (match === null) return [];
  return slotRange(Number(match[1]), Number(match[2] ?? match[1]));
}

function slotRange(first: unknown, last: unknown): SlotRange[] {
  const fits = typeof first === "number" && typeof last === "number" && first >= 0 && first <= last &&
    last < SLOTS;
  return fits ? [[first, last]] : [];
}

/** The pairs of a map, as RESP2 and RESP3 have it. */
function fieldsOf(value: Value | undefined): Map<string, Value> {
  const fields = new Map<string, Value>();
  if (!Array.isArray(value)) return fields;
  for (let i = 0; i + 1 < value.length; i += 2) fields.set(String(value[i]), value[i + 1]!);
  return fields;
}

function toldByShards(shards: readonly Value[]): Map<string, Told> {
  const told = new Map<string, Told>();
  for (const shard of shards) {
    const fields = fieldsOf(shard);
    const flat = fields.get("slots");
    const bounds = Array.isArray(flat) ? flat : [];
    const slots: SlotRange[] = [];
    for (let i = 0; i + 1 < bounds.length; i += 2) {
      slots.push(...slotRange(Number(bounds[i]), Number(bounds[i + 1])));
    }
    const nodes = fields.get("nodes");
    const members = Array.isArray(nodes) ? nodes.map(fieldsOf) : [];
    const primary = members.find((member) => member.get("role") === "master");
    for (const member of members) {
      if (told.size >= NODES_MAX) break;
      const ip = String(member.get("ip") ?? "");
      told.set(String(member.get("id")), {
        host: hostOf(String(member.get("endpoint") ?? ""), ip),
        port: Number(member.get("port")) || 0,
        primary: member === primary ? null : String(primary?.get("id") ?? ""),
        failed: member.get("health") === "fail",
        slots: member === primary ? slots : [],
      });
    }
  }
  return told;
}

function toldBySlots(ranges: readonly Value[]): Map<string, Told> {
  const told = new Map<string, Told>();
  for (const range of ranges) {
    if (!Array.isArray(range)) continue;
    const [first, last, ...members] = range as readonly Value[];
    let primary: string | null = null;
    for (const member of members) {
      if (!Array.isArray(member) || told.size >= NODES_MAX) continue;
      const [endpoint, port, name, metadata] = member as readonly Value[];
      // Before Redis 4 they had no ids.
      const id = String(name ?? `${endpoint}:${port}`);
      const ip = String(fieldsOf(metadata).get("ip") ?? "");
      const present = told.get(id);
      const slots = primary === null ? slotRange(first, last) : [];
      if (present !== undefined) present.slots.push(...slots);
      else {
        told.set(id, {
          host: hostOf(String(endpoint ?? ""), ip),
          port: Number(port) || 0,
          primary,
          failed: false,
          slots,
        });
      }
      primary ??= id;
    }
  }
  return told;
}

/**
 * Those of the views that are of one cluster: that which has nodes with these ids, or if none has, that whose view has most slots. Nodes of
 * two clusters have no node in common.
 */
export function ofOneCluster<View extends ClusterView>(
  views: readonly View[],
  known: Iterable<string>,
): View[] {
  const ids = new Set(known);
  const isAkin = ({ nodes }: View) => [...nodes.keys()].some((id) => ids.has(id));
  if (!views.some(isAkin)) {
    const [first] = [...views].sort((a, b) => slotsOf(b) - slotsOf(a));
    if (first !== undefined) { for (const id of first.nodes.keys()) ids.add(id); }
  }
  // One may know of another only by way of a third.
  for (let akin = -1, before = -2; akin > before;) {
    before = akin;
    const found = views.filter(isAkin);
    for (const { nodes } of found) for (const id of nodes.keys()) ids.add(id);
    akin = found.length;
  }
  return views.filter(isAkin);
}

function slotsOf({ nodes }: ClusterView): number {
  let count = 0;
  for (const { slots } of nodes.values()) for (const [first, last] of slots) count += last - first + 1;
  return count;
}

const NOBODY = -1;

/** What a node has said of itself. */
interface OwnWord {
  readonly epoch: number;
  readonly slots: readonly SlotRange[];
  readonly round: number;
}

/** By slot: 1 if it is in one of them. */
function bitmapOf(ranges: readonly SlotRange[]): Uint8Array {
  const bitmap = new Uint8Array(SLOTS);
  for (const [first, last] of ranges) bitmap.fill(1, first, last + 1);
  return bitmap;
}

/** Who owns which slot, by all that has been heard. */
export class ClusterMap {
  /** Ids of those that own slots, or did. */
  private readonly ids: string[] = [];
  private readonly owners = new Int32Array(SLOTS).fill(NOBODY);
  private readonly epochs = new Float64Array(SLOTS).fill(-1);
  /** What each has said last of itself, by id; of those that are known. */
  private readonly words = new Map<string, OwnWord>();
  private round = 0;

  /** Takes what several nodes have said at about the same time. */
  merge(views: readonly ClusterView[]): void {
    this.round++;
    for (const view of views) if (view.me !== null) this.hearOwner(view, view.me);
    const wide = views.filter((view) => !view.alone);
    if (wide.length > 0) this.forget((id) => !wide.some((view) => view.nodes.has(id)));
    this.dropUnclaimed(wide);
    for (const view of views) {
      for (const node of view.nodes.values()) if (node.slots.length > 0) this.claim(node, view.coarse);
    }
  }

  /** An owner speaks of itself. */
  private hearOwner(view: ClusterView, me: string): void {
    const { slots, epoch } = view.nodes.get(me) ?? { slots: [], epoch: 0 };
    if (!view.coarse) this.words.set(me, { epoch, slots, round: this.round });
    const owner = this.ids.indexOf(me);
    if (owner < 0) return;
    const owned = bitmapOf(slots);
    for (let slot = 0; slot < SLOTS; slot++) {
      if (this.owners[slot] !== owner) continue;
      if (owned[slot] === 1) this.epochs[slot] = epoch;
      else this.drop(slot);
    }
  }

  /** Of an owner that cannot speak of itself: what nobody says any more that it owns. */
  private dropUnclaimed(wide: readonly ClusterView[]): void {
    const known = new Set(wide.flatMap(({ nodes }) => [...nodes.keys()]));
    const claimed = 2 * wide.length > known.size ? this.claimedBy(wide) : null;
    /** By owner: the latest epoch by which it is a replica. */
    const replicaSince = this.ids.map((id) =>
      wide.reduce((latest, { nodes, coarse }) => {
        const node = nodes.get(id);
        return coarse || node === undefined || node.primary === null ? latest : Math.max(latest, node.epoch);
      }, -1)
    );
    for (let slot = 0; slot < SLOTS; slot++) {
      const owner = this.owners[slot]!;
      if (owner === NOBODY) continue;
      if (replicaSince[owner]! > this.epochs[slot]! || claimed?.[slot] === 0) this.drop(slot);
    }
  }

  /** By slot: 1 if any of them says that its owner owns it. */
  private claimedBy(views: readonly ClusterView[]): Uint8Array {
    const claimed = new Uint8Array(SLOTS);
    for (const { nodes } of views) {
      for (const { id, slots } of nodes.values()) {
        const owner = this.ids.indexOf(id);
        if (owner < 0) continue;
        for (const [first, last] of slots) {
          for (let slot = first; slot <= last; slot++) if (this.owners[slot] === owner) claimed[slot] = 1;
        }
      }
    }
    return claimed;
  }

  private drop(slot: number): void {
    this.owners[slot] = NOBODY;
    this.epochs[slot] = -1;
  }

  private forget(gone: (id: string) => boolean): void {
    for (const id of this.words.keys()) if (gone(id)) this.words.delete(id);
    const left = this.ids.map(gone);
    if (!left.includes(true)) return;
    for (let slot = 0; slot < SLOTS; slot++) {
      const owner = this.owners[slot]!;
      if (owner !== NOBODY && left[owner]) this.drop(slot);
    }
  }

  /** Two nodes have one epoch for a moment, when elections collide: the first that was heard of counts until one has a higher one. */
  private claim({ id, epoch, slots }: SeenNode, coarse: boolean): void {
    const { owners, epochs } = this;
    const owner = this.numberOf(id);
    const limit = coarse ? null : this.limitOf(id, epoch);
    const owned = limit === null ? null : bitmapOf(limit);
    for (const [first, last] of slots) {
      for (let slot = first; slot <= last; slot++) {
        if (owned !== null && owned[slot] === 0) continue;
        const known = epochs[slot]!;
        if (epoch < known || (epoch === known && !coarse)) continue;
        owners[slot] = owner;
        epochs[slot] = epoch;
      }
    }
  }

  /**
   * The slots that can be claimed for a node by this epoch; null: any. It may gain slots and keep its epoch, if that is the highest: what
   * it has said in another round limits only older epochs.
   */
  private limitOf(id: string, epoch: number): readonly SlotRange[] | null {
    const word = this.words.get(id);
    if (word === undefined || epoch > word.epoch) return null;
    return epoch < word.epoch || word.round === this.round ? word.slots : null;
  }

  private numberOf(id: string): number {
    const present = this.ids.indexOf(id);
    if (present >= 0) return present;
    if (this.ids.length < 2 * NODES_MAX) return this.ids.push(id) - 1;
    // Years of nodes that came and went: of those that own nothing one makes room.
    const used = new Set(this.owners);
    const free = this.ids.findIndex((_, i) => !used.has(i));
    this.ids[free] = id;
    return free;
  }

  /** Ranges of slots in ascending order, by the id of their owner; of nobody's slots none. */
  owned(): Map<string, SlotRange[]> {
    const owned = new Map<string, SlotRange[]>();
    for (let first = 0; first < SLOTS;) {
      const owner = this.owners[first]!;
      let end = first + 1;
      while (end < SLOTS && this.owners[end] === owner) end++;
      if (owner !== NOBODY) {
        const id = this.ids[owner]!;
        const ranges = owned.get(id);
        if (ranges === undefined) owned.set(id, [[first, end - 1]]);
        else ranges.push([first, end - 1]);
      }
      first = end;
    }
    return owned;
  }
}
