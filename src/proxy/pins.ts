/**
 * What keeps the engine's pages of requests: of those that are made, one in SPACING is kept for a while, though nobody needs it.
 *
 *   a block of 16 KiB, all dead   ──► collected ──► given back to the system ──► page faults when it is used again
 *   the same with one alive in it ──► collected ──► used again as it is
 *
 * A load of small requests leaves nothing but dead records behind, so each collection gave back most of what the next requests
 * needed: a tenth of the CPU in pipelines, and moments in which the thread waited for pages. Kept is the last PINS × SPACING
 * requests' worth of blocks, more than one collection's; the pins point to nobody. In a lull they go (runtime/lull.ts).
 *
 * Seen on Bun 1.4.5: JavaScriptCore gives back blocks without live objects, and has a thread (JSCWarmUp) that makes pages ready.
 */
import { Request } from "./request.ts";

/** A block has room for about 100 records. */
export const SPACING = 96;
/** A power of two. */
export const PINS = 512;

const pins: Request[] = [];
let at = 0;
let made = 0;

/** `count` requests have just been made. */
export function pin(count: number): void {
  made += count;
  if (made < SPACING) return;
  made = 0;
  pins[at] = new Request(null);
  at = (at + 1) & (PINS - 1);
}

/** For a lull: what only a load needs goes with the next collection. @returns how many there were */
export function unpin(): number {
  const count = pins.length;
  pins.length = at = made = 0;
  return count;
}
