/**
 * Sends one request of many keys to the nodes of a cluster: as one fragment a slot, since that is all that a node takes at once, all in
 * the same turn and so in one write a node.
 *
 *   MGET a b c {a}d   ──►  node 0: MGET a {a}d │ MGET c      owners: 0 1 2 0
 *                     ──►  node 1: MGET b                    (places among the fragments, in the order of the slots' first keys)
 *
 * As in split.ts, keys are copied straight from the client's bytes, and nothing is made per key; a request is made per slot.
 */
import { Outbox } from "../bytes/outbox.ts";
import type { Args } from "../protocol/redis/args.ts";
import { type Command, FLAG } from "../protocol/redis/command.ts";
import { SLOTS } from "../ring/slots.ts";
import { FRAGMENTS } from "../stats/metrics.ts";
import type { Client } from "../proxy/client.ts";
import { enqueueFragment, pace, refuseFragment } from "../proxy/fan_out.ts";
import type { Pool } from "../proxy/pool.ts";
import { KEPT_MAX, KeptRequest } from "../proxy/request.ts";
import { type Joiner, NO_OWNERS, type Split } from "../proxy/split.ts";
import type { RedisSession } from "./session.ts";
import { beginSplit, header, MANY, NONE_LIVE, writeHead } from "./split.ts";

/** Of the request at hand, whose slots are numbered as they are met. By slot: its number, -1 = not met. */
const numberOf = new Int16Array(SLOTS).fill(-1);
/** By key: the number of its slot, and the next key of that slot, -1 = none. Grow. */
let ownerOf = new Uint16Array(64);
let nextOf = new Int32Array(64);
/** By number: the slot, its first and last key, how many it has. Grow. */
let slotOf = new Uint16Array(64);
let firstOf = new Int32Array(64);
let lastOf = new Int32Array(64);
let countOf = new Int32Array(64);
let slots = 0;

/** What is written to: a connection, or a read that is gathered. */
interface Writer {
  writePart(bytes: Uint8Array, start: number, end: number): void;
}

function reserve(keys: number): void {
  if (keys <= ownerOf.length) return;
  ownerOf = new Uint16Array(keys * 2);
  slotOf = new Uint16Array(keys * 2);
  nextOf = new Int32Array(keys * 2);
  firstOf = new Int32Array(keys * 2);
  lastOf = new Int32Array(keys * 2);
  countOf = new Int32Array(keys * 2);
}

/**
 * Finds the slot of every key. Of a request of some thousand keys at most.
 * @param step 1: every argument is a key; 2: every other one
 * @returns the only slot; MANY if there are several; NONE_LIVE
 */
export function placeSlots(pool: Pool, bytes: Uint8Array, args: Args, step: number): number {
  const keys = (args.count - 1) / step;
  reserve(keys);
  const { placement } = pool;
  slots = 0;
  for (let k = 0, i = 1; k < keys; k++, i += step) {
    const slot = placement.slotOf(bytes, args.starts[i]!, args.ends[i]!);
    let number = numberOf[slot]!;
    if (number < 0) {
      number = numberOf[slot] = slots++;
      slotOf[number] = slot;
      firstOf[number] = k;
      countOf[number] = 0;
    } else nextOf[lastOf[number]!] = k;
    lastOf[number] = k;
    countOf[number]!++;
    nextOf[k] = -1;
    ownerOf[k] = number;
  }
  for (let number = 0; number < slots; number++) numberOf[slotOf[number]!] = -1;
  if (placement.serverOfSlot(slotOf[0]!) < 0) return NONE_LIVE;
  return slots === 1 ? slotOf[0]! : MANY;
}

/** As sendFragments of split.ts, for the request whose keys `placeSlots` has just placed in several slots. */
export function sendSlots(
  client: Client,
  command: Command,
  bytes: Uint8Array,
  args: Args,
  step: number,
  join: Joiner,
  keepOwners: boolean,
  sliceOf: ((owners: Uint16Array) => Split) | null = null,
): void {
  const { pool } = client;
  const owners = keepOwners ? ownerOf.slice(0, (args.count - 1) / step) : NO_OWNERS;
  const split = beginSplit(client, join, owners, sliceOf);
  for (let number = 0; number < slots; number++) split.add();
  pool.counters[FRAGMENTS]! += slots;
  for (let number = 0; number < slots; number++) sendSlot(client, split, number, command, bytes, args, step);
}

/** The fragment of the slot of this number, which is its place in the split. */
function sendSlot(
  client: Client,
  split: Split,
  number: number,
  command: Command,
  bytes: Uint8Array,
  args: Args,
  step: number,
): void {
  const { pool } = client;
  const session = client.session as RedisSession;
  const server = pool.servers[pool.placement.serverOfSlot(slotOf[number]!)]!;
  const read = session.reads !== null && command.onReplica
    ? session.reads.fragment(session, server, split, number)
    : null;
  if (read !== null) {
    writeKeys(read, number, command, bytes, args, step);
    return read.send();
  }
  const connection = pool.front.connectionTo(client, server);
  if (connection === null) return refuseFragment(split, number, server);
  if (pool.config.retryReads && (command.flags & FLAG.READ) !== 0) {
    const kept = new KeptRequest(null);
    kept.bytes = gather(number, command, bytes, args, step);
    enqueueFragment(split, number, connection, false, kept);
    connection.write(kept.bytes, 0, kept.bytes.length);
    // As if it had been sent again already.
    if (kept.bytes.length > KEPT_MAX) kept.again = true;
  } else {
    enqueueFragment(split, number, connection);
    connection.wrote(writeKeys(connection, number, command, bytes, args, step));
  }
  pace(client, connection);
}

/** Writes the request for the keys of one slot; neighbours are one copy. Returns how many bytes those were. */
function writeKeys(
  to: Writer,
  number: number,
  command: Command,
  bytes: Uint8Array,
  args: Args,
  step: number,
): number {
  let size = writeHead(command, countOf[number]! * step + 1);
  to.writePart(header, 0, size);
  for (let k = firstOf[number]!; k >= 0;) {
    const from = args.ends[k * step]! + 2;
    let next = nextOf[k]!;
    for (; next === k + 1; next = nextOf[k]!) k++;
    const end = args.ends[(k + 1) * step]! + 2;
    to.writePart(bytes, from, end);
    size += end - from;
    k = next;
  }
  return size;
}

/** As `writeKeys`, into an array; owned. */
function gather(number: number, command: Command, bytes: Uint8Array, args: Args, step: number): Uint8Array {
  const parts = new Outbox();
  const part: Writer = { writePart: (from, start, end) => parts.append(from, start, end) };
  const whole = new Uint8Array(writeKeys(part, number, command, bytes, args, step));
  parts.moveTo(whole);
  return whole;
}
