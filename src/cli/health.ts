/** `ringmaster health`: whether a running proxy is ready, or alive, as an exit code. For containers and scripts. */
import { askAdmin } from "../admin/client.ts";
import { NoPeer, peerOf } from "./admin_peer.ts";
import type { HealthOptions } from "./flags.ts";
import { EXIT_FAILURE, EXIT_OK, type Io } from "./io.ts";

/** A worker that is stuck is waited for a second. */
const ANSWER_MAX_MS = 5000;

/** 0: it is. 1: it is not, or nobody answers, and why is said. */
export async function health(options: HealthOptions, io: Io): Promise<number> {
  try {
    const path = options.alive ? "/healthz" : "/readyz";
    const { status, text } = await askAdmin(peerOf(options), path, ANSWER_MAX_MS);
    if (status === 200) {
      io.out(text);
      return EXIT_OK;
    }
    io.err(`ringmaster health: ${text.trim() || `status ${status}`}\n`);
  } catch (error) {
    if (!(error instanceof NoPeer || error instanceof Error)) throw error;
    io.err(`ringmaster health: ${error.message}\n`);
  }
  return EXIT_FAILURE;
}
