/**
 * How much each step of a reload does: reading a file of 100 servers, what moves, the new ring. Others have their turns between steps
 * (`rarely` of src/service/turns.ts), so none may do much, however cold its code is; counted, not timed (lib/work_counter.ts), the
 * YAML library with it.
 */
import { ok } from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WorkCounter } from "../lib/work_counter.ts";

const counter = await WorkCounter.start(/\/src\/|\/yaml\//);
const { atOnce } = await import("../../src/ring/steps.ts");
const { loadSteps } = await import("../../src/config/parse.ts");
const { changeSteps } = await import("../../src/topology/change.ts");
const { placementSteps } = await import("../../src/topology/placement.ts");

const SERVERS = 100;
/** Blocks of code in one step. */
const BLOCKS_MAX = 10_000;

const ymlOf = (from: number) =>
  "wide:\n  listen: 127.0.0.1:1\n  distribution: ketama\n  servers:\n" +
  Array.from({ length: SERVERS }, (_, i) => `    - 127.0.0.1:${1 + from + i}:1 server${from + i}\n`).join("");

/** Takes every step by itself. */
async function counted<T>(what: string, steps: Generator<number, T>, over: string[]): Promise<T> {
  for (let i = 0;; i++) {
    await counter.take();
    const { done, value } = steps.next();
    const { blocks, most } = await counter.take();
    if (blocks > BLOCKS_MAX) over.push(`step ${i} of ${what}: ${blocks} blocks (${most})`);
    if (done) return value;
  }
}

Deno.test("a reload of 100 servers does little in each of its steps", async () => {
  const folder = mkdtempSync(join(tmpdir(), "ringmaster-"));
  const over: string[] = [];
  try {
    const file = join(folder, "wide.yml");
    writeFileSync(file, ymlOf(0));
    const before = atOnce(loadSteps(file));
    writeFileSync(file, ymlOf(1));
    const after = await counted("reading the file", loadSteps(file), over);
    const change = await counted("what moves", changeSteps(before, after), over);
    await counted("the ring", placementSteps(change.after.pools[0]!), over);
  } finally {
    rmSync(folder, { recursive: true });
  }
  await counter.stop();
  ok(over.length === 0, over.join("\n"));
});
