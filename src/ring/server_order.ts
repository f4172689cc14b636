/**
 * twemproxy's order of servers and pools: by length of the name, then by its bytes.
 *
 *   configured  127.0.0.10:9999  127.0.0.2:10000  127.0.0.1      →  127.0.0.1  127.0.0.10:9999  127.0.0.2:10000
 *
 * Not cosmetic: modula's list, the owner of equal ketama points and every server index follow it.
 * Source: twemproxy 0.5.0, nc_server.c (server_name_cmp) and nc_string.c. Checked against
 * tests/vectors/placement.json.
 */
import { encode } from "../bytes/ascii.ts";

/**
 * The servers (or pools) in twemproxy's order, in a new array; the elements are the caller's own objects.
 * Names are compared as UTF-8, bytes as unsigned; equal names, which configuration refuses, keep their order.
 */
export function sortServers<T extends { readonly name: string }>(servers: readonly T[]): T[] {
  return servers
    .map((server) => ({ server, name: encode(server.name) }))
    .sort((a, b) => compareNames(a.name, b.name))
    .map(({ server }) => server);
}

function compareNames(a: Uint8Array, b: Uint8Array): number {
  if (a.length !== b.length) return a.length - b.length;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return 0;
}
