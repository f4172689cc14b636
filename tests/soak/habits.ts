/** How clients of long runs behave: a mix of what applications do. */
import type { Habit } from "./caller.ts";

export const HABITS: readonly Habit[] = [
  // One request after the other, as fast as it goes.
  { pauseMs: () => 0, burst: () => 1 },
  // A web application: a request now and then.
  { pauseMs: (random) => random.below(20), burst: () => 1 },
  { pauseMs: (random) => random.below(200), burst: () => 1 },
  // A pipeline now and then.
  { pauseMs: (random) => random.below(50), burst: (random) => random.between(1, 30) },
];

/** For hours: also clients that come and go. */
export const SOAK_HABITS: readonly Habit[] = [
  ...HABITS,
  { pauseMs: (random) => random.below(10), burst: () => 1, burstsMax: 5 },
  { pauseMs: (random) => random.below(5000), burst: (random) => random.between(1, 100), burstsMax: 2 },
];
