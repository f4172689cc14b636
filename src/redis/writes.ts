/**
 * read_your_writes: what clients have written, and which replicas have it.
 *
 *   a write ──► marks: PENDING ──► (nothing is owed to the client any more) ──► the round that counts now
 *   a read that had to go to the primary ──► a round: INFO of the primary ──► its offset
 *                                                     INFO on each connection to a replica, again until it has come to that offset
 *
 * A round has a number, given before the primary is asked. A write that was answered before that is in the offset that the primary
 * then says, and so is on every replica that has come to that offset in the same history. So a client may read on a connection that has
 * reached a later round than its mark. No clock is compared, and nobody is asked while nobody waits.
 *
 * What is known is known of a connection, not of an address: another process at the same address, or the same one that has begun anew
 * with what it has on its disk, has everything to prove.
 */
import { latin1 } from "../bytes/ascii.ts";
import type { TimerId } from "../net/net.ts";
import { command } from "../protocol/redis/encode.ts";
import type { Client } from "../proxy/client.ts";
import type { Pool } from "../proxy/pool.ts";
import type { Endpoint } from "../proxy/endpoint.ts";
import type { Server } from "../proxy/server.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";
import { readInfo, type ServerSaid } from "../topology/replica_health.ts";

/** Rounds of one server begin at least so far apart, ms. */
const ROUND_MS = 20;
/** A replica that has not come so far yet is asked again after so long, which doubles up to the second number, ms. */
const AGAIN_MS = 5;
const AGAIN_MAX_MS = 250;
/** Nobody has waited for so long, ms: nobody is asked. */
const UNWANTED_MS = 1000;
/** Offsets of the primary that replicas are still compared with. */
const TARGETS_MAX = 64;

const QUESTION = command("INFO", "replication");
/** Later than any round: what has been written is not answered yet. */
const PENDING = Infinity;

/** When one client has written, in rounds. */
export class Marks {
  /** To any server, and to each. */
  all = -1;
  readonly byServer = new Map<Server, number>();

  /** It sends a write. @param server null: perhaps to several */
  wrote(server: Server | null): void {
    if (server === null) this.all = PENDING;
    else this.byServer.set(server, PENDING);
  }
}

/** What the primary said in a round. */
interface Target {
  readonly round: number;
  readonly offset: number;
  readonly history: string;
}

interface Rounds {
  primary: Endpoint | null;
  /** Oldest first. */
  targets: Target[];
  asking: boolean;
  begunAtMs: number;
  wantedAtMs: number;
  timer: TimerId | null;
  againMs: number;
}

export class Writes {
  private readonly rounds = new Map<Server, Rounds>();

  constructor(private readonly pool: Pool) {}

  /** Has the replica at the other end of `connection` all that this client has written to the server? If not, it is found out. */
  reached(marks: Marks, client: Client, server: Server, connection: ServerConnection | null): boolean {
    const mark = this.markOf(marks, client, server);
    if (mark < 0) return true;
    if (mark < PENDING && connection !== null && connection.reached > mark) return true;
    this.want(server);
    return false;
  }

  private markOf(marks: Marks, client: Client, server: Server): number {
    const { all, byServer } = marks;
    const own = byServer.get(server) ?? -1;
    const mark = Math.max(all, own);
    if (mark < PENDING || client.head !== null) return mark;
    // All that it has sent has been answered: whatever a round says that begins now has it.
    if (all === PENDING) marks.all = lastRound;
    if (own === PENDING) byServer.set(server, lastRound);
    return lastRound;
  }

  // ---- rounds

  private want(server: Server): void {
    const nowMs = this.pool.turn.now();
    const rounds = this.roundsOf(server);
    rounds.wantedAtMs = nowMs;
    if (rounds.asking || nowMs - rounds.begunAtMs < ROUND_MS) return this.plan(server, rounds, ROUND_MS);
    this.begin(server, rounds);
  }

  private roundsOf(server: Server): Rounds {
    let rounds = this.rounds.get(server);
    if (rounds === undefined) {
      for (const known of this.rounds.keys()) if (known.gone) this.rounds.delete(known);
      rounds = {
        primary: null,
        targets: [],
        asking: false,
        begunAtMs: -Infinity,
        wantedAtMs: 0,
        timer: null,
        againMs: AGAIN_MS,
      };
      this.rounds.set(server, rounds);
    }
    return rounds;
  }

  private begin(server: Server, rounds: Rounds): void {
    const { primary } = server;
    if (rounds.primary !== primary) rounds.targets = [];
    rounds.primary = primary;
    rounds.begunAtMs = this.pool.turn.now();
    const connection = primary?.connection(0, 0) ?? null;
    if (connection === null) return;
    const round = ++lastRound;
    rounds.asking = true;
    connection.ask(QUESTION, (bytes, start, end, failed) => {
      rounds.asking = false;
      const said = failed ? null : saidIn(bytes, start, end);
      if (said === null || !said.master || rounds.primary !== primary) return;
      const { offset, history } = said;
      rounds.targets.push({ round, offset, history });
      if (rounds.targets.length > TARGETS_MAX) rounds.targets.splice(0, TARGETS_MAX / 2);
      rounds.againMs = AGAIN_MS;
      this.askReplicas(server, rounds);
    });
  }

  /** Asks those that have not come as far as the last round. */
  private askReplicas(server: Server, rounds: Rounds): void {
    const last = rounds.targets.at(-1);
    if (last === undefined) return;
    for (const replica of server.replicas) {
      for (const connection of replica.connections) {
        if (connection.reached >= last.round || connection.detached) continue;
        connection.ask(QUESTION, (bytes, start, end, failed) => {
          const said = failed ? null : saidIn(bytes, start, end);
          if (said === null || said.master || !said.linked) return;
          const reached = rounds.targets.findLast((target) =>
            target.offset <= said.offset && target.history === said.history
          );
          if (reached !== undefined && reached.round > connection.reached) connection.reached = reached.round;
          // Its last word may be the one that everybody waits for.
          if (connection.reached < last.round) this.plan(server, rounds, rounds.againMs);
        });
      }
    }
  }

  /** What is missing is asked for after a while: a round if one is wanted, else how far the replicas have come. */
  private plan(server: Server, rounds: Rounds, afterMs: number): void {
    if (rounds.timer !== null) return;
    rounds.timer = this.pool.setTimer(afterMs, () => {
      rounds.timer = null;
      if (server.gone || this.pool.turn.now() - rounds.wantedAtMs > UNWANTED_MS) return;
      rounds.againMs = Math.min(AGAIN_MAX_MS, rounds.againMs * 2);
      if (rounds.wantedAtMs > rounds.begunAtMs && !rounds.asking) this.begin(server, rounds);
      else this.askReplicas(server, rounds);
    });
  }
}

/** Number of the last round of any server of any pool: connections remember rounds for longer than a pool its configuration. */
let lastRound = 0;

/** @returns null if it is no bulk, nor a verbatim string (RESP3) */
function saidIn(bytes: Uint8Array, start: number, end: number): ServerSaid | null {
  if (bytes[start] !== 36 && bytes[start] !== 61) return null;
  return readInfo(latin1(bytes, start, end));
}
