/**
 * `ringmaster route` beside a running proxy, as one whose servers stand on its command line: each key is asked of its admin side, which
 * says where it lives now, with who is off the ring.
 *
 *   /api/topology ──► pools ──► a key: /api/route of each ──► the same lines as for a file
 */
import { type AdminPeer, askAdmin } from "../admin/client.ts";
import { concat, encode } from "../bytes/ascii.ts";
import { hexOf } from "../bytes/hex.ts";
import { quoted } from "../config/config_error.ts";
import { type Explanation, explanationText, NO_SERVER } from "../topology/explain.ts";
import type { RouteOptions } from "./flags.ts";
import { EXIT_FAILURE, EXIT_OK, type Io } from "./io.ts";
import { type GivenKey, givenKeys, nobodyOf, textOf } from "./route_lines.ts";
import { UsageError } from "./usage_error.ts";

const ANSWER_MAX_MS = 5000;

/** @returns the exit code. Throws UsageError */
export async function routeAsked(peer: AdminPeer, options: RouteOptions, io: Io): Promise<number> {
  if (options.ejected.length > 0) {
    throw new UsageError(
      "option --ejected: expected it with a configuration file; a running proxy knows who is off",
    );
  }
  const ask = async (path: string) => {
    const { status, text } = await askAdmin(peer, path, ANSWER_MAX_MS);
    const said = JSON.parse(text);
    if (status !== 200) throw new Error(said.error ?? `it says ${status}`);
    return said;
  };
  try {
    const { pools } = await ask("/api/topology") as { readonly pools: readonly { readonly name: string }[] };
    const names = pools.map(({ name }) => name);
    const { pool } = options;
    if (pool !== null && !names.includes(pool)) {
      throw new UsageError(`option --pool: found ${quoted(pool)}, expected one of ${names.join(", ")}`);
    }
    for (const key of givenKeys(options, io)) {
      const hex = hexOf(key.bytes, key.start, key.end);
      for (const name of pool === null ? names : [pool]) {
        const told: Explanation = await ask(`/api/route?hex&key=${hex}&pool=${encodeURIComponent(name)}`);
        if (options.json) io.out(JSON.stringify(options.explain ? told : shortOf(told)) + "\n");
        else if (options.explain) io.out(explanationText(told) + "\n");
        else io.out(lineOf(key, told));
      }
    }
    return EXIT_OK;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const { host, port } = peer;
    const orElse = options.admin === null && options.confFile === null ? "; -c FILE answers from a file" : "";
    io.err(`ringmaster route: ${host}:${port}: ${(error as Error).message}${orElse}\n`);
    return EXIT_FAILURE;
  }
}

function shortOf({ key, key_hex, pool, server, address, slot }: Explanation) {
  return { key, key_hex, pool, server, address, ...slot === null ? {} : { slot } };
}

function lineOf(
  { given, givenStart, givenEnd }: GivenKey,
  { pool, server, address, slot, place, distribution }: Explanation,
): Uint8Array {
  const nobody = nobodyOf(distribution === "random" && place !== NO_SERVER);
  const text = textOf(pool, server, address, nobody);
  return concat(given.subarray(givenStart, givenEnd), encode(`${text}${slot === null ? "" : `\t${slot}`}\n`));
}
