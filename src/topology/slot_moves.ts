/** Which slots of a cluster go from whom to whom, for people. */
import type { ServerConfig } from "../config/config.ts";
import { parseSlots, type SlotRange, SLOTS, slotsText } from "../ring/slots.ts";

/** Longest list of slots that is told in full, in characters. */
const TOLD_MAX = 60;

/** Lines such as "slots 5461-5470 move from 10.0.0.1:7001 to 10.0.0.2:7001"; the most slots first, and of many lines few. */
export function slotMoves(
  before: readonly ServerConfig[],
  after: readonly ServerConfig[],
  linesMax = 20,
): string[] {
  const [from, to] = [ownersOf(before), ownersOf(after)];
  const moves = new Map<string, { readonly ranges: SlotRange[]; count: number }>();
  for (let first = 0; first < SLOTS;) {
    let end = first + 1;
    while (end < SLOTS && from[end] === from[first] && to[end] === to[first]) end++;
    if (from[first] !== to[first]) {
      const key = movement(from[first] ?? null, to[first] ?? null);
      const move = moves.get(key) ?? { ranges: [], count: 0 };
      move.ranges.push([first, end - 1]);
      move.count += end - first;
      moves.set(key, move);
    }
    first = end;
  }
  const lines = [...moves].sort((a, b) => b[1].count - a[1].count)
    .map(([how, { ranges, count }]) => `${shown(ranges, count)} ${how}`);
  if (lines.length <= linesMax) return lines;
  return [...lines.slice(0, linesMax), `and slots between ${lines.length - linesMax} more pairs of nodes`];
}

function movement(from: string | null, to: string | null): string {
  if (from === null) return `are ${to}'s now`;
  return to === null ? `are nobody's any more, and were ${from}'s` : `move from ${from} to ${to}`;
}

function shown(ranges: readonly SlotRange[], count: number): string {
  const text = slotsText(ranges);
  if (count === 1) return `slot ${text}`;
  if (text.length <= TOLD_MAX) return `slots ${text}`;
  return `${count} slots (${text.slice(0, text.lastIndexOf(" ", TOLD_MAX))} …)`;
}

/** Names, by slot. */
function ownersOf(servers: readonly ServerConfig[]): (string | undefined)[] {
  const owners = new Array<string | undefined>(SLOTS).fill(undefined);
  for (const { name, slots } of servers) {
    for (const [first, last] of parseSlots(slots ?? "")) owners.fill(name, first, last + 1);
  }
  return owners;
}
