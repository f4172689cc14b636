/** `ringmaster tap`: some of the requests of a running proxy as they are answered, a line each. */
import { streamAdmin } from "../admin/client.ts";
import type { Sample } from "../stats/tapped.ts";
import { NoPeer, peerOf } from "./admin_peer.ts";
import type { TapOptions } from "./flags.ts";
import { EXIT_FAILURE, EXIT_OK, type Io } from "./io.ts";
import { sampleLine } from "../stats/sample_line.ts";

const ANSWER_MAX_MS = 5000;

/** Ends with the proxy, after `count` lines, or with a signal. */
export async function tap(options: TapOptions, io: Io): Promise<number> {
  try {
    const { pool, key, command, client, rate, json } = options;
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries({ pool, key, command, client, rate })) {
      if (value !== null) query.set(name, String(value));
    }
    const stream = await streamAdmin(peerOf(options), `/api/tap?${query}`, ANSWER_MAX_MS);
    const stop = () => stream.end();
    process.once("SIGINT", stop);
    process.once("SIGTERM", stop);
    let left = options.count ?? Infinity;
    let event = "";
    for await (const line of stream.lines) {
      if (stream.status !== 200) {
        if (line !== "") io.err(`ringmaster tap: ${line}\n`);
        continue;
      }
      if (line.startsWith("event: ")) event = line.slice(7);
      else if (line === "") event = "";
      else if (line.startsWith("data: ")) {
        const data = line.slice(6);
        if (event === "lost") io.err(`ringmaster tap: ${JSON.parse(data).count} samples were lost\n`);
        else if (event === "refused") {
          io.err(`ringmaster tap: ${JSON.parse(data).error}\n`);
          return EXIT_FAILURE;
        } else {
          io.out(json ? `${data}\n` : sampleLine(JSON.parse(data) as Sample));
          if (--left === 0) stream.end();
        }
      }
      if (left === 0) break;
    }
    return stream.status === 200 ? EXIT_OK : EXIT_FAILURE;
  } catch (error) {
    if (!(error instanceof NoPeer || error instanceof Error)) throw error;
    io.err(`ringmaster tap: ${error.message}\n`);
    return EXIT_FAILURE;
  }
}
