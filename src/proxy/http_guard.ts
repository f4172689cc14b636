/**
 * Says in the log that clients speak something else than the pool's protocol, HTTP or TLS, but not as often as somebody likes to try.
 *
 *   a line ──► EVERY_MS in which others are only counted ──► the next line, with their number
 */
import type { Log } from "../net/log.ts";
import { WARN } from "../net/log.ts";
import type { Clock } from "../net/net.ts";
import { PROTOCOL_ERROR } from "../stats/metrics.ts";
import type { Client } from "./client.ts";

/** Between two lines of the whole process, of HTTP and of TLS each. */
const EVERY_MS = 1000;

/** What a client of TLS is told, in vain, and who looks at the wire is. */
export const TLS_ON_PLAIN_PORT = "Protocol error: this port does not speak TLS";

/** What was said last, and how often it was not. */
interface Said {
  lastMs: number;
  unsaid: number;
}

export class HttpGuard {
  private readonly http: Said = { lastMs: -Infinity, unsaid: 0 };
  private readonly tls: Said = { lastMs: -Infinity, unsaid: 0 };

  /** @param workers each has its own share of the process's lines */
  constructor(private readonly clock: Clock, private readonly log: Log, private readonly workers: number) {}

  /** The client's request at hand is HTTP; the caller closes the connection. */
  note(client: Client): void {
    this.say(
      client,
      this.http,
      "possible attack: ",
      "speaks HTTP (cross-protocol scripting?), closing",
    );
  }

  /** The client speaks TLS where the pool has none; the caller closes the connection. */
  noteTls(client: Client): void {
    this.say(client, this.tls, "", "speaks TLS, but the pool has no 'tls', closing");
  }

  private say(client: Client, said: Said, head: string, does: string): void {
    client.pool.counters[PROTOCOL_ERROR]!++;
    const nowMs = this.clock.nowMs();
    if (nowMs - said.lastMs < EVERY_MS * this.workers) {
      said.unsaid++;
      return;
    }
    const others = said.unsaid === 0 ? "" : `; so did ${said.unsaid} more since this was last said`;
    this.log.write(
      WARN,
      `${head}c ${client.serial} '${client.peer()}' in pool '${client.pool.config.name}' ${does}${others}`,
    );
    said.lastMs = nowMs;
    said.unsaid = 0;
  }
}
