/**
 * How the proxy stops without losing a request that it has accepted.
 *
 *   TERM ──► listeners closed ──► each client ends at its next moment of rest ──► last call ──► shutdown_timeout
 *
 * The protocols have no word for "please go away", so the end of a connection is all a client is told, and a request
 * that crosses it on the wire gets no reply. (It has not been executed either: nothing that arrives after our FIN is read.)
 * So each connection ends at the moment at which a crossing is least likely:
 *  - a client that sends a request, or a batch, and waits for the replies: right behind its next reply that settles all;
 *  - a client that goes on sending meanwhile: when it has been quiet for PIPELINE_QUIET_MS, as more may be under way; one that
 *    is never quiet is treated like the first kind after QUIET_MS;
 *  - a client that rests: when it has been quiet for QUIET_MS. Until then it may as well send its next request.
 * A client in a transaction is not at rest, a blocked one is (its wait is ended, see Front.interrupt).
 * On Deno the FIN leaves a turn later than the reply, since a write is a promise there: a client without any pause between two
 * requests may be quicker.
 * At the last call, half of shutdown_timeout, nothing more is read: what has been received is answered, then FIN.
 */
import { type Log, NOTICE } from "../net/log.ts";
import type { Clock } from "../net/net.ts";
import type { Client } from "../proxy/client.ts";
import type { Pool } from "../proxy/pool.ts";

const QUIET_MS = 1000;
/** Longer than a busy client's hiccup, in which it does not notice our FIN either. */
const PIPELINE_QUIET_MS = 500;
/** How long clients that are owed nothing may take to close after our FIN. */
const PARTING_MS = 200;
const LOOK_MS = 5;

export class Drain {
  private readonly startMs: number;
  private busyAtMs: number;
  private lastCalled = false;

  constructor(
    private readonly pools: readonly Pool[],
    private readonly clock: Clock,
    log: Log,
    private readonly timeoutMs: number,
    what = "stopping",
  ) {
    this.startMs = this.busyAtMs = clock.nowMs();
    const clients = pools.reduce((sum, pool) => sum + pool.clients.size, 0);
    log.write(NOTICE, `${what}: ${clients} clients to finish`);
  }

  /**
   * Resolves when all clients are gone; a little after the last of them got its FIN, since a client that rests may not
   * notice; or after the timeout.
   * @returns how many clients are still owed something
   */
  run(): Promise<number> {
    for (const pool of this.pools) pool.drain();
    return new Promise((resolve) => {
      const look = () => {
        const owed = this.look(this.clock.nowMs());
        if (owed < 0) this.clock.setTimer(LOOK_MS, look);
        else resolve(owed);
      };
      look();
    });
  }

  /** Returns -1 to go on, or the number of clients that are owed something when it is over. */
  private look(nowMs: number): number {
    const lastCall = nowMs - this.startMs >= this.timeoutMs / 2;
    const impatient = nowMs - this.startMs >= Math.min(QUIET_MS, this.timeoutMs / 4);
    let present = 0;
    let busy = 0;
    let owed = 0;
    for (const pool of this.pools) {
      for (const client of pool.clients) {
        if (lastCall && !this.lastCalled) client.lastCall();
        else if (isQuiet(client, nowMs)) client.closeAfterReplies();
        if (impatient) client.hurry();
        present++;
        const isOwed = client.head !== null || client.socket.queuedBytes > 0;
        if (isOwed) owed++;
        if (isOwed || !client.closing) busy++;
      }
      // Whose header comes in a moment has a request behind it.
      present += pool.greetings.size;
      if (pool.listening) busy++;
    }
    this.lastCalled = lastCall;
    if (busy > 0) this.busyAtMs = nowMs;
    const over = nowMs - this.startMs >= this.timeoutMs || nowMs - this.busyAtMs >= PARTING_MS ||
      present + busy === 0;
    return over ? owed : -1;
  }
}

function isQuiet(client: Client, nowMs: number): boolean {
  if (client.closing) return false;
  const quietMs = client.pipelines ? PIPELINE_QUIET_MS : QUIET_MS;
  return nowMs - client.lastActiveMs >= quietMs && client.resting;
}
