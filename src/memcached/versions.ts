/**
 * Which memcacheds a pool has: what is answered here is answered as by the oldest of them.
 *
 *   a line whose answer hangs on it ──► known? ── yes ─► answered
 *                                             └─ no ──► `version` to every server that is on the ring, the client waits
 *
 * Asked once a connection, and only when such a line comes. A new connection may be to another server than the one before: what is known
 * holds until one is made. Who does not say it in time, or not at all, does not count; if nobody does, what was known before does.
 */
import { encode, latin1 } from "../bytes/ascii.ts";
import { ROW_VERSION } from "../protocol/memcached/commands.ts";
import { NOBODY_KNOWS, READ_AS_1_6_18, READ_AS_NEWER } from "../protocol/memcached/request.ts";
import { type Client, LEARNING } from "../proxy/client.ts";
import { pace } from "../proxy/fan_out.ts";
import type { Pool } from "../proxy/pool.ts";
import type { Server } from "../proxy/server.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";
import { checkOf } from "./split.ts";

/** Whose words are ours where a pool has older ones, or nobody knows: clients switch features on it. */
export const OLDEST = "1.6.18";
/** From this one on lines are read by another parser. */
const NEWER_FROM = numberOf("1.6.40");

const VERSION = encode("version\r\n");
const SAID = /^VERSION (\d{1,3}\.\d{1,3}\.\d{1,3})\b/;
/** A client waits so long for servers that do not answer. */
const PATIENCE_MS = 250;
/** A server that did not tell is not asked again for so long, and then for twice as long: there are some that hang up at what they do not know. */
const REST_MIN_MS = 1000;
const REST_MAX_MS = 64_000;

function numberOf(version: string): number {
  return version.split(".").reduce((number, part) => number * 1000 + Number(part), 0);
}

/** Of a server that did not tell. */
interface Rest {
  untilMs: number;
  lastsMs: number;
}

export class ServerVersions {
  /** READ_AS_…, or NOBODY_KNOWS. */
  reading: number = NOBODY_KNOWS;
  /** What `version` is answered with. */
  text: string = OLDEST;
  /** "1.6.45", of the server at the other end; OLDEST if it said nothing that is a version. */
  private readonly said = new WeakMap<ServerConnection, string>();
  private readonly rests = new WeakMap<Server, Rest>();
  private readonly waiting: Client[] = [];
  /** Counts the questions; of the last one: what is known, and how many have not answered. */
  private question = 0;
  private known: string[] = [];
  private asked = 0;
  /** The oldest that is known, or was, is one of the newer ones. */
  private newer = false;
  /** Those that rest will be asked again. */
  private again = false;
  /** There are others than those that the last question was about. */
  private stale = false;

  /** @param changed `reading` is another */
  constructor(private readonly pool: Pool, private readonly changed: (reading: number) => void) {}

  /** There is another connection, or there are other servers. */
  forget(): void {
    if (this.reading === NOBODY_KNOWS) {
      this.stale = true;
      return;
    }
    this.reading = NOBODY_KNOWS;
    this.changed(NOBODY_KNOWS);
  }

  /** Finds out. @returns false if the client now waits, and has to offer its request again */
  learn(client: Client): boolean {
    if (this.reading !== NOBODY_KNOWS) return true;
    if (this.asked === 0) this.ask(client);
    if (this.reading !== NOBODY_KNOWS) return true;
    this.waiting.push(client);
    client.block(LEARNING);
    return false;
  }

  private ask(client: Client): void {
    const { pool, said, rests } = this;
    const question = ++this.question;
    this.known = [];
    // What fails at once must not end the question before all have been asked.
    this.asked = 1;
    for (const server of pool.onRing()) {
      if ((rests.get(server)?.untilMs ?? -Infinity) > pool.turn.now()) {
        this.askAgain();
        continue;
      }
      const connection = pool.front.connectionTo(client, server);
      const version = connection === null ? undefined : said.get(connection);
      if (version !== undefined) this.known.push(version);
      if (connection === null || version !== undefined) continue;
      this.asked++;
      connection.ask(VERSION, (bytes, start, end, failed) => {
        if (failed) this.rest(server);
        else {
          rests.delete(server);
          said.set(connection, SAID.exec(latin1(bytes, start, end))?.[1] ?? OLDEST);
        }
        if (this.question !== question || this.asked === 0) return this.forget();
        if (!failed) this.known.push(said.get(connection)!);
        this.answered();
      });
      connection.tail!.check = checkOf(ROW_VERSION, 0);
      pace(client, connection);
    }
    // Connections that the question itself has made do not count.
    this.stale = false;
    if (this.asked > 1) {
      pool.setTimer(PATIENCE_MS, () => {
        if (this.question !== question || this.asked === 0) return;
        this.asked = 1;
        this.answered();
      });
    }
    this.answered();
  }

  private rest(server: Server): void {
    const { rests } = this;
    const lastsMs = Math.min(REST_MAX_MS, 2 * (rests.get(server)?.lastsMs ?? REST_MIN_MS / 2));
    rests.set(server, { untilMs: this.pool.turn.now() + lastsMs, lastsMs });
    this.askAgain();
  }

  /** Who has not told, or was not asked, may do so later. */
  private askAgain(): void {
    if (this.again) return;
    this.again = true;
    this.pool.setTimer(REST_MIN_MS, () => {
      this.again = false;
      this.forget();
    });
  }

  /** One of those that have been asked has answered, or failed. */
  private answered(): void {
    if (--this.asked > 0) return;
    const { known } = this;
    if (known.length > 0) {
      const oldest = known.reduce((a, b) => numberOf(b) < numberOf(a) ? b : a);
      this.newer = numberOf(oldest) >= NEWER_FROM;
      this.text = this.newer ? oldest : OLDEST;
    }
    this.reading = this.newer ? READ_AS_NEWER : READ_AS_1_6_18;
    this.changed(this.reading);
    // Who waits is told now: were they asked again at once, servers that come and go could keep them waiting for ever.
    if (this.stale) this.askAgain();
    for (const client of this.waiting.splice(0)) client.unblock(LEARNING);
  }
}
