/** The seam's contract on Bun's sockets, on those of epoll_net.ts, and on TLS over both, also with handshakes that are begun twice: runs bun_contract.ts under Bun, one step a case. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

/** Which nets, and of which cases alone. */
const RUNS = [
  ["bun", ""],
  ["epoll", ""],
  ["tls over bun", ""],
  ["tls over epoll", ""],
  ["tls over epoll, pressed", ""],
  ["epoll with pipes that give nothing", "passTo()"],
] as const;

for (const [net, only] of RUNS) {
  Deno.test(`${net}: the seam's contract`, async (t) => {
    const root = fileURLToPath(new URL("../..", import.meta.url).href);
    const { code, stdout, stderr } = await new Deno.Command("node_modules/.bin/bun", {
      args: ["tests/runtime/bun_contract.ts", net, only],
      cwd: root,
    }).output();
    const lines = new TextDecoder().decode(stdout).split("\n").filter((line) => line !== "");
    for (const line of lines) {
      const [outcome, name, error] = line.split("\t");
      await t.step(`${net}: ${name}`, () => {
        if (outcome !== "ok") throw new Error(error === undefined ? line : JSON.parse(error));
      });
    }
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    assert.ok(lines.length > (only === "" ? 30 : 1), `only ${lines.length} cases ran`);
  });
}
