/**
 * Work that takes some ms, in steps: a generator that yields about how many µs it has taken since the last time, by what it does and
 * not by a clock. Who cares about the time takes a step a turn (service/turns.ts); who does not, all of them.
 */

/** All of it at once. */
export function atOnce<T>(steps: Generator<number, T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}
