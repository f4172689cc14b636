/** Reads seeds.txt: a seed and what it found, one a line; `#` begins a comment. */

export interface KnownSeed {
  readonly seed: number;
  readonly found: string;
}

export function knownSeeds(): KnownSeed[] {
  return Deno.readTextFileSync(new URL("seeds.txt", import.meta.url))
    .split("\n")
    .filter((line) => /^\d/.test(line))
    .map((line) => {
      const [, seed, found] = /^(\d+)\s+(.*)$/.exec(line)!;
      return { seed: Number(seed), found: found! };
    });
}
