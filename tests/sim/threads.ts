/** What worlds with several workers need of threads: memory that they share, and messages from one to the other. */
import type { Config } from "../../src/config/config.ts";
import type { Clock } from "../../src/net/net.ts";
import { makeBoard } from "../../src/service/ceilings.ts";
import { Board } from "../../src/stats/board.ts";

/** The board as each worker has it, in their order. */
export function boardsOf(config: Config, workers: number): Board[] {
  const board = makeBoard(config, workers);
  return Array.from({ length: workers }, (_, i) => i === 0 ? board : Board.of(board.memory));
}

/** Messages to workers: those to one of them keep their order, however long each takes. */
export class Messages {
  /** By worker: when it hears the last one. */
  private readonly lastMs: number[] = [];

  constructor(private readonly clock: Clock) {}

  /** @param afterMs how long it takes by itself */
  send(worker: number, afterMs: number, run: () => void): void {
    const nowMs = this.clock.nowMs();
    const atMs = this.lastMs[worker] = Math.max(this.lastMs[worker] ?? 0, nowMs + afterMs);
    this.clock.setTimer(atMs - nowMs, run);
  }
}
