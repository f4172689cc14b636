/**
 * Says in the log that clients speak HTTP, but not as often as somebody likes to try.
 *
 *   a line ──► EVERY_MS in which others are only counted ──► the next line, with their number
 */
import type { Log } from "../net/log.ts";
import { WARN } from "../net/log.ts";
import type { Clock } from "../net/net.ts";
import { PROTOCOL_ERROR } from "../stats/metrics.ts";
import type { Client } from "./client.ts";

/** Between two lines of the whole process. */
const EVERY_MS = 1000;

export class HttpGuard {
  private lastMs = -Infinity;
  private unsaid = 0;

  /** @param workers each has its own share of the process's lines */
  constructor(private readonly clock: Clock, private readonly log: Log, private readonly workers: number) {}

  /** The client's request at hand is HTTP; the caller closes the connection. */
  note(client: Client): void {
    client.pool.counters[PROTOCOL_ERROR]!++;
    const nowMs = this.clock.nowMs();
    if (nowMs - this.lastMs < EVERY_MS * this.workers) this.unsaid++;
    else {
      const others = this.unsaid === 0 ? "" : `; so did ${this.unsaid} more since this was last said`;
      this.log.write(
        WARN,
        `possible attack: c ${client.serial} '${client.socket.peer()}' in pool '${client.pool.config.name}' ` +
          `speaks HTTP (cross-protocol scripting?), closing${others}`,
      );
      this.lastMs = nowMs;
      this.unsaid = 0;
    }
  }
}
