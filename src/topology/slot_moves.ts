/** Which slots of a cluster go from whom to whom, for people. */
import type { ServerConfig } from "../config/config.ts";
import { NOBODY, ownersOf, type SlotRange, SLOTS, slotsText } from "../ring/slots.ts";

/** Longest list of slots that is told in full, in characters. */
const TOLD_MAX = 60;

/** Lines such as "slots 5461-5470 move from 10.0.0.1:7001 to 10.0.0.2:7001"; the most slots first, and of many lines few. */
export function slotMoves(
  before: readonly ServerConfig[],
  after: readonly ServerConfig[],
  linesMax = 20,
): string[] {
  const [from, to] = [ownersOf(before), ownersOf(after)];
  // An index each, by name: whoever stays may have another place.
  const indexOf = new Map(after.map(({ name }, i) => [name, i]));
  const present = Uint16Array.from([...before.map(({ name }) => indexOf.get(name) ?? NOBODY - 1)]);
  const moves = new Map<number, { readonly ranges: SlotRange[]; count: number }>();
  for (let first = 0; first < SLOTS;) {
    const [old, next] = [from[first]!, to[first]!];
    let end = first + 1;
    while (end < SLOTS && from[end] === old && to[end] === next) end++;
    if ((old === NOBODY ? NOBODY : present[old]) !== next) {
      const key = old * (NOBODY + 1) + next;
      let move = moves.get(key);
      if (move === undefined) moves.set(key, move = { ranges: [], count: 0 });
      move.ranges.push([first, end - 1]);
      move.count += end - first;
    }
    first = end;
  }
  const lines = [...moves].sort((a, b) => b[1].count - a[1].count)
    .map(([key, { ranges, count }]) => {
      const [old, next] = [Math.floor(key / (NOBODY + 1)), key % (NOBODY + 1)];
      return `${shown(ranges, count)} ${
        movement(count === 1, before[old]?.name ?? null, after[next]?.name ?? null)
      }`;
    });
  if (lines.length <= linesMax) return lines;
  return [...lines.slice(0, linesMax), `and slots between ${lines.length - linesMax} more pairs of nodes`];
}

function movement(one: boolean, from: string | null, to: string | null): string {
  if (from === null) return `${one ? "is" : "are"} ${to}'s now`;
  if (to === null) return `${one ? "is" : "are"} nobody's any more, and ${one ? "was" : "were"} ${from}'s`;
  return `${one ? "moves" : "move"} from ${from} to ${to}`;
}

function shown(ranges: readonly SlotRange[], count: number): string {
  const text = slotsText(ranges);
  if (count === 1) return `slot ${text}`;
  if (text.length <= TOLD_MAX) return `slots ${text}`;
  return `${count} slots (${text.slice(0, text.lastIndexOf(" ", TOLD_MAX))} …)`;
}
