/** How often a property is tried. */

const TIMES = Number(Deno.env.get("RINGMASTER_RUNS") ?? 1);

/** `few` for `deno task ok`, which is to be quick; RINGMASTER_RUNS times as many in a long run (`deno task property`). */
export function runs(few: number): number {
  return few * TIMES;
}
