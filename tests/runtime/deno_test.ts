/** The seam's contract on Deno's sockets. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { SystemClock } from "../../src/runtime/clock.ts";
import { RunningClock } from "../../src/runtime/running_clock.ts";
import { DenoNet } from "../../src/runtime/deno.ts";
import { contract } from "./contract.ts";
import { kernelContract } from "./kernel_contract.ts";

const dir = mkdtempSync(`${tmpdir()}/ringmaster-seam-`);
// `unload` comes after all tests of the file.
addEventListener("unload", () => rmSync(dir, { recursive: true }));

const register = (name: string, run: () => Promise<void>) => Deno.test(`deno: ${name}`, run);
contract(new DenoNet(), new RunningClock(new SystemClock()), register, dir);
kernelContract(new DenoNet(), new RunningClock(new SystemClock()), register, dir);
