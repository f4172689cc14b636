/** Tests of Redis' suite that pass directly and cannot pass through a proxy, each with its reason. */
export interface Expected {
  readonly unit: string;
  /** A test's name, or what several names have in common. */
  readonly test: string | RegExp;
  readonly reason: string;
}

export const EXPECTED: readonly Expected[] = [];
