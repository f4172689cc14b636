/**
 * Keys that servers themselves name: of each server some, in turn, so that no server is asked for much at a time and all are heard.
 */
import { BATCH, type KeyAt } from "./comparison.ts";
import { type Peer, PeerFailed } from "./peer.ts";

/** A server that is scanned, and what has come of it. */
export interface Scanned {
  readonly peer: Peer;
  /** As the configuration writes its address. */
  readonly address: string;
}

/**
 * @param most keys in all; Infinity: as many as there are
 * @param failed told of a server whose keys cannot be had
 */
export async function* scanned(
  servers: readonly Scanned[],
  most: number,
  failed: (address: string, why: string) => void,
): AsyncGenerator<readonly KeyAt[]> {
  const open = servers.map((server) => ({ ...server, from: null as string | null }));
  let left = most;
  // Pages are small, and it is batches that are read at once.
  let batch: KeyAt[] = [];
  while (open.length > 0 && left > 0) {
    for (let i = 0; i < open.length && left > 0;) {
      const server = open[i]!;
      let next: string | null = null;
      try {
        const page = await server.peer.page(server.from, Math.ceil(Math.min(left, ALL) / open.length));
        next = page.next;
        if (page.cut !== undefined) failed(server.address, page.cut);
        for (const key of page.keys) {
          if (left === 0) break;
          left--;
          batch.push({ key, foundAt: server.address });
          if (batch.length < BATCH) continue;
          yield batch;
          batch = [];
        }
      } catch (error) {
        if (!(error instanceof PeerFailed)) throw error;
        failed(server.address, error.message);
      }
      server.from = next;
      if (next === null) open.splice(i, 1);
      else i++;
    }
  }
  if (batch.length > 0) yield batch;
}

/** More keys than any server has. */
const ALL = 2 ** 40;
