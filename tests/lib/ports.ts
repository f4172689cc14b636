/**
 * Free loopback ports.
 *
 * They lie below the kernel's range for outgoing connections (32768…60999 on Linux), so no connection can take one between
 * the moment it was found free and the moment somebody listens on it. One process never gives out a port twice.
 * Where a port is not the point of a test, prefer a unix socket in the fixture's folder: it cannot collide at all.
 */
const FIRST = 12_000;
const LAST = 31_999;
const given = new Set<number>();

export function freePort(): number {
  for (let tries = 0; tries < 1000; tries++) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST + 1));
    if (given.has(port)) continue;
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
    } catch {
      continue;
    }
    given.add(port);
    return port;
  }
  throw new Error(`no free port found between ${FIRST} and ${LAST}`);
}
