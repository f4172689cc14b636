/** Files of unix sockets. With real sockets: the contract of the runtimes (tests/runtime). */
import { strictEqual } from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { claimPath } from "../../src/runtime/unix_path.ts";

Deno.test("claimPath(): what cannot be removed stays, and nothing is thrown where a listener closes", () => {
  // unlink(2) refuses a folder to root as well, as it refuses others a socket in a folder that is not theirs.
  const folder = mkdtempSync(join(tmpdir(), "ringmaster-"));
  writeFileSync(join(folder, "full"), "");
  claimPath(folder, undefined)();
  strictEqual(existsSync(folder), true);
  const gone = claimPath(folder, undefined);
  rmSync(folder, { recursive: true });
  gone();
});
