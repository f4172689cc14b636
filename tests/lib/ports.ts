/**
 * Free loopback ports.
 *
 * They lie below the kernel's range for outgoing connections (32768…60999 on Linux), so no connection can take one between
 * the moment it was found free and the moment somebody listens on it. Nor can another test: test files that run side by side
 * know nothing of each other, so a port that has been given out is a file in a folder of all, until its test file has ended.
 * (Without that two proxies were given one port now and then; clients of the one that came too late talked to the other.)
 * Where a port is not the point of a test, prefer a unix socket in the fixture's folder: it cannot collide at all.
 */
const FIRST = 12_000;
const LAST = 31_999;
/** Whoever has not given a port back after so long, ms, has died: no test file takes as long. */
const HELD_MS = 20 * 60_000;
const FOLDER = `${Deno.env.get("TMPDIR") ?? "/tmp"}/ringmaster-test-ports-${Deno.uid() ?? 0}`;

const given: string[] = [];
globalThis.addEventListener("unload", () => {
  for (const path of given) {
    try {
      Deno.removeSync(path);
    } catch {
      // Somebody has taken it for forgotten.
    }
  }
});

export function freePort(): number {
  Deno.mkdirSync(FOLDER, { recursive: true });
  for (let tries = 0; tries < 1000; tries++) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST + 1));
    const path = `${FOLDER}/${port}`;
    if (!claim(path)) continue;
    given.push(path);
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
    } catch {
      continue;
    }
    return port;
  }
  throw new Error(`no free port found between ${FIRST} and ${LAST}`);
}

/** False if it is somebody's. */
function claim(path: string): boolean {
  try {
    Deno.openSync(path, { write: true, createNew: true }).close();
    return true;
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  }
  try {
    const { mtime } = Deno.statSync(path);
    if (Date.now() - (mtime?.getTime() ?? 0) > HELD_MS) Deno.removeSync(path);
  } catch {
    // It has just been given back.
  }
  return false;
}
