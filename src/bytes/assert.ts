/**
 * What must be so, or we have erred: for invariants, never for what peers, operators or the system do.
 *
 * Checks stay on. A broken one throws, which nobody catches to go on: order may be lost, and a proxy that has lost its order
 * hands one client's data to another.
 */

/** @param what must be so, for whoever reads the crash; a constant text, so that a check that holds costs nothing more */
export function assert(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${what}`);
}
