/**
 * How much is tried: RINGMASTER_RUNS times what is written in a test.
 *
 *   0.2  deno task ok        a fifth of each property's runs, and nothing that is `thorough`
 *   1    deno task test      everything, as it is written; so does `deno test FILE`
 *   20   deno task property  long runs
 */

const TIMES = Number(Deno.env.get("RINGMASTER_RUNS") ?? 1);

/** How often a property is tried: `usual` times in `deno task test`. */
export function runs(usual: number): number {
  return Math.max(1, Math.ceil(usual * TIMES));
}

/** A test that takes more than some tenths of a second: `deno task ok`, which is to be quick, leaves it to `deno task test`. */
export function thorough(name: string, test: (t: Deno.TestContext) => void | Promise<void>): void {
  if (TIMES >= 1) Deno.test(name, test);
}
