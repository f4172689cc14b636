/**
 * How much the turns of a proxy do for one client's request of very many arguments: the blocks of code that ran in each. Counted,
 * not timed (work_counter.ts); what the same is in milliseconds `deno task sweep` tells. What imports this
 * loads src/ after it.
 */
import { ok } from "node:assert/strict";
import { WorkCounter } from "./work_counter.ts";

/** Before anything of src/ is loaded: functions that have run once are not counted. */
const counter = await WorkCounter.start();
export const { TurnStand } = await import("./turn_stand.ts");
const { COMMANDS, ROUTE } = await import("../../src/protocol/redis/commands.ts");

export const ARGUMENTS = 100_000;
/**
 * Blocks of code in one turn. A read of 256 KiB full of one-letter arguments, or such a reply, takes 340,000, about a millisecond;
 * looking at 100,000 arguments takes more, if it is four blocks for each.
 */
export const BLOCKS_MAX = 400_000;
/** A memcached line is read byte by byte: 256 KiB of it take 1,460,000, all 100,000 keys at once 3,550,000. */
const LINE_BLOCKS_MAX = 1_600_000;
/** Turns that are counted together, if each does little. */
const TOGETHER_MAX = 16;

type Stand = Awaited<ReturnType<typeof TurnStand.make>>;

/** Fails with what is over the limit. */
export function none(found: readonly string[]): void {
  ok(found.length === 0, found.join("\n"));
}

/** Runs turns until nothing is to come; the most blocks of one turn, or of some together if those were not more than allowed. */
export async function mostWork(stand: Stand, alone: boolean): Promise<{ blocks: number; most: string }> {
  let worst = { blocks: 0, most: "" };
  let together = 1;
  let since = 0;
  await counter.take();
  const look = async () => {
    const work = await counter.take();
    since = 0;
    if (work.blocks > worst.blocks) worst = work;
    const small = work.blocks < BLOCKS_MAX / 4;
    together = alone || !small ? 1 : Math.min(together * 2, TOGETHER_MAX);
  };
  await stand.net.runEach(async () => {
    if (++since >= together) await look();
  });
  await look();
  return worst;
}

/** What is said of it if a turn of it does too much; it is looked at again by itself before that is said. */
export async function check(
  name: string,
  protocol: "redis" | "memcached",
  parts: readonly Uint8Array[],
  servers = 3,
): Promise<string[]> {
  const max = protocol === "redis" ? BLOCKS_MAX : LINE_BLOCKS_MAX;
  let work = { blocks: Infinity, most: "" };
  for (const alone of [false, true]) {
    const stand = await TurnStand.make(protocol, servers, (turn) => turn());
    const client = stand.join();
    for (const part of parts) client.socket.give(part);
    work = await mostWork(stand, alone);
    client.socket.reset();
    // What the client leaves behind is put away in turns too.
    const after = await mostWork(stand, alone);
    if (after.blocks > work.blocks) work = after;
    stand.stop();
    ok(work.blocks > 0, `${name}: nothing was counted`);
    if (work.blocks <= max) return [];
  }
  return [`${name}: ${work.blocks} blocks in one turn: ${work.most}`];
}

/** Rows that travel alike are looked at once. */
function kindOf(command: (typeof COMMANDS)[number]): string {
  const { name, route, finder, firstKey, lastKey, keyStep, numkeysAt, join, flags } = command;
  const own: readonly number[] = [
    ROUTE.LOCAL,
    ROUTE.CLIENT_MODE,
    ROUTE.PUBSUB,
    ROUTE.TRANSACTION,
    ROUTE.BLOCKING,
  ];
  if (own.includes(route)) return /\|HELP$|^CLUSTER\|/.test(name) ? "the same answer always" : name;
  return [route, finder, firstKey, lastKey, keyStep, numkeysAt, join, flags & ~FLAGS_THAT_DO_NOT_MATTER]
    .join();
}

/** Redis's own, of which only the servers make something: all but MOVABLE_KEYS, NO_MULTI and NO_MANDATORY_KEYS. */
const FLAGS_THAT_DO_NOT_MATTER = 0x7ffff & ~(1 << 14 | 1 << 16 | 1 << 18);

const byKind = new Map<string, (typeof COMMANDS)[number]>();
for (const command of COMMANDS) {
  const kind = kindOf(command);
  const present = byKind.get(kind);
  // One that takes as many arguments as it is given shows more.
  if (present === undefined || (present.arity > 0 && command.arity < 0)) byKind.set(kind, command);
}

/** A command of each kind. */
export const KINDS = [...byKind.values()];
