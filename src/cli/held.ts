/**
 * What an operator has taken off the ring stays off it when another process takes over.
 *
 *   old: the board ──► RINGMASTER_HELD=[["alpha","shard1",2]], pool, server, how ──► new: its board, before it listens
 */
import type { Config } from "../config/config.ts";
import { type Log, NOTICE } from "../net/log.ts";
import { type Board, DRAINED, EJECTED, FREE } from "../stats/board.ts";

const VARIABLE = "RINGMASTER_HELD";
/** A variable of the environment has 128 KiB at most. */
const TEXT_MAX = 30_000;

/** Whose board it is. */
interface Service {
  readonly board: Board;
  serversChanged(pool: number): void;
}

/** What the successor is told. */
export function heldFor({ pools }: Config, { pools: boards }: Board): Record<string, string> {
  let size = 2;
  const held = pools.flatMap(({ name, servers }, i) =>
    servers.map((server, j) => [name, server.name, boards[i]?.servers[j]?.held ?? FREE] as const)
  ).filter((row) => row[2] !== FREE && (size += JSON.stringify(row).length + 1) <= TEXT_MAX);
  return held.length === 0 ? {} : { [VARIABLE]: JSON.stringify(held) };
}

/** Takes what the process before has told, once. What is no server of this configuration is nobody's. */
export function takeHeld({ pools }: Config, service: Service, log: Log): void {
  const text = process.env[VARIABLE];
  if (text === undefined) return;
  // Not for what this process starts.
  delete process.env[VARIABLE];
  for (const [pool, server, how] of readHeld(text)) {
    const at = pools.findIndex((each) => each.name === pool && !each.cluster);
    const place = pools[at]?.servers.findIndex((each) => each.name === server) ?? -1;
    if (place < 0 || how !== EJECTED && how !== DRAINED) continue;
    const board = service.board.pools[at]!;
    board.servers[place]!.hold(how);
    service.serversChanged(board.id);
    log.write(
      NOTICE,
      `update pool '${pool}' to delete server '${server}': by hand, in the process before this one`,
    );
  }
}

function readHeld(text: string): readonly (readonly unknown[])[] {
  try {
    const rows = JSON.parse(text);
    return Array.isArray(rows) ? rows.filter(Array.isArray) : [];
  } catch {
    return [];
  }
}
