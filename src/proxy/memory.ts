/**
 * The process's ceiling on memory held for requests and replies: max_memory.
 *
 *   held = inboxes + unsent bytes + replies that wait for earlier ones + queued transactions + subscriptions,
 *          of clients and of servers
 *
 *   held + clients > max ──► those that hold most are closed until it is ≤ RELIEVED × max: clients, then server connections
 *                        ──► meanwhile new requests and new clients are refused (`full`)
 *   clients > max / 2    ──► new clients are refused (`crowded`); those that are here are served
 *
 * What a closed client held and is let go of some a turn (subscriptions) is `leaving`: nobody else is closed for it.
 *
 * Nobody counts on the data path: bytes received since the last look are added up, and no more than a small multiple of them
 * can be held that was not before; where it is a large one (a message for many, a channel's subscription) that is noted as well.
 * So a look at every client is due only once `stepBytes` have come, whatever the traffic.
 * Held is not resident: the runtime's own 60 MB, unused chunks and garbage come on top, which can be several times as much. So
 * resident memory is looked at as well: beyond the maximum and SPARE, chunks are let go and garbage is collected at once, and if that
 * does not do, the greediest are closed. That bounds what nobody charges, too.
 * When much was held and is not any more, chunks are let go and the runtime is asked to give memory back to the system.
 */
import { CHUNKS_KEPT, dropChunks, limitChunks, trimChunks, unusedChunkBytes } from "../bytes/chunks.ts";
import { NOTICE, WARN } from "../net/log.ts";
import type { Log } from "../net/log.ts";
import type { Clock } from "../net/net.ts";
import { LIMIT_MEMORY, MEMORY_BYTES } from "../stats/metrics.ts";
import type { Client } from "./client.ts";
import { MEMORY_FULL } from "./limits.ts";
import type { Pool } from "./pool.ts";
import type { ServerConnection } from "./server_connection.ts";
import type { Split } from "./split.ts";
import type { Turn } from "./turn.ts";

export const MEMORY_FULL_TEXT = "out of memory: max_memory of the proxy is reached, try again later";

/** Share of the maximum that is aimed at when clients are closed. */
const RELIEVED = 0.75;
/** Closing whoever holds less than this would not help, unless there are very many of them. */
const GREEDY_MIN = 64 * 1024;
/** Server connections are closed if they hold this share of what is too much: others' requests go with them. */
const SERVER_SHARE = 1 / 16;
/** What a client takes that holds nothing; seen on Bun. */
const CLIENT_BYTES = 2048;
/** And one that speaks TLS, or begins to, on top: its engine; seen on Bun 1.4.5, some 20 to 27 kB. */
export const ENGINE_BYTES = 28 * 1024;
/** Share of the maximum that clients may take which hold nothing. */
const CROWD_SHARE = 1 / 2;
/** Nobody is closed for the sake of resident memory while less than this share of the maximum is held: it is somebody else's. */
const BLAMELESS_SHARE = 1 / 4;
/** Whoever asks gets what was held so long ago at most: a look goes over all clients. */
const FRESH_MS = 1000;
/** With more than this share of the maximum held looks are more frequent. */
const NARROW_SHARE = 3 / 4;
const STEP_MAX = 16 * 1024 * 1024;
const LOOK_AGAIN_MS = 50;
/** Memory is given back after this much was held. */
const SPIKE_MIN = 64 * 1024 * 1024;
const SPIKE_OVER = 16 * 1024 * 1024;
const COLLECT_AFTER_MS = 2000;
/** What the process may have resident beyond the maximum. */
const SPARE = 48 * 1024 * 1024;
/** Unused chunks may take this share of the maximum; they are not among what is held. */
const CHUNKS_SHARE = 1 / 8;

/** What a thread's memory is looked after with. */
export interface MemoryOptions {
  readonly clock: Clock;
  readonly turn: Turn;
  readonly log: Log;
  /** Bytes; Infinity = no ceiling. */
  readonly max: number;
  /** Gives unused memory back to the system, if the runtime can. */
  readonly collect: (() => void) | null;
  /** Bytes that are resident of the whole process, and its own maximum, that of all threads; 0 = not known. */
  readonly residentBytes: () => number;
  readonly processMax: number;
  /** Clients that are shaking hands; absent: none do. */
  readonly handshakes?: () => number;
}

/** What each client of the pool takes that holds nothing. */
function clientBytes({ config }: Pool): number {
  return config.tls === null ? CLIENT_BYTES : CLIENT_BYTES + ENGINE_BYTES;
}

export class Memory {
  /** New work is refused: Pool.refusing says so to each of the pools. */
  private isFull = false;
  /** New clients are refused. */
  crowded = false;
  /** Bytes held when last looked at. */
  heldBytes = 0;
  /** Of gone clients, and not yet free. */
  private leavingBytes = 0;
  /** The most that was held since the last collection in calm. */
  private mostBytes = 0;
  /** A look is due when so much has come: `usualStep`, or less when there is not much room left. */
  private stepBytes: number;
  private readonly usualStep: number;
  private sinceBytes = 0;
  private measuredAtMs = -Infinity;
  /** Resident memory after the last collection. */
  private quietBytes = 0;
  /** With more resident than this, garbage is collected at once. */
  private ceilingBytes: number;
  private looking = false;
  private spiked = false;
  private timer = false;
  private stopped = false;
  private readonly pools: Pool[] = [];
  private readonly splits = new Set<Split>();
  /** Bytes of replies that a client is to get and that lie elsewhere: with splits and server connections. */
  private readonly owedBytes = new Map<Client, number>();

  constructor(private readonly options: MemoryOptions) {
    this.stepBytes = this.usualStep = Math.min(STEP_MAX, options.max / 16);
    this.ceilingBytes = options.processMax + SPARE;
    limitChunks(options.max * CHUNKS_SHARE);
  }

  add(pool: Pool): void {
    this.pools.push(pool);
    this.full = this.isFull;
  }

  get full(): boolean {
    return this.isFull;
  }

  set full(full: boolean) {
    this.isFull = full;
    for (const pool of this.pools) {
      pool.refusing = full ? pool.refusing | MEMORY_FULL : pool.refusing & ~MEMORY_FULL;
    }
  }

  /** A client of this pool has come. */
  noteClient(pool: Pool): void {
    this.note(clientBytes(pool));
  }

  remove(pool: Pool): void {
    const at = this.pools.indexOf(pool);
    if (at >= 0) this.pools.splice(at, 1);
  }

  /** So many bytes have been received from anybody, or are about to be taken for what somebody has asked for. */
  note(bytes: number): void {
    if ((this.sinceBytes += bytes) >= this.stepBytes && !this.looking) {
      this.looking = true;
      this.options.turn.later(this);
    }
  }

  /** Called by the turn. */
  resume(): void {
    this.looking = false;
    this.look();
  }

  /** Brings the pools' MEMORY_BYTES up to date, to a second. To be called between two turns. */
  refresh(): void {
    if (!this.stopped && this.options.clock.nowMs() - this.measuredAtMs >= FRESH_MS) {
      this.heldBytes = this.measure();
    }
  }

  stop(): void {
    this.stopped = true;
  }

  private look(): void {
    if (this.stopped) return;
    const { max } = this.options;
    this.sinceBytes = 0;
    this.heldBytes = this.measure();
    const handshakeBytes = (this.options.handshakes?.() ?? 0) * ENGINE_BYTES;
    const crowdBytes = this.pools.reduce(
      (sum, pool) => sum + pool.clients.size * clientBytes(pool),
      handshakeBytes,
    );
    if (this.heldBytes + crowdBytes > max) this.relieve(RELIEVED * max - crowdBytes);
    const residentBytes = this.watchResident();
    this.watchCrowd(crowdBytes);
    const full = this.heldBytes > (this.full ? RELIEVED : 1) * max;
    if (full !== this.full) {
      this.full = full;
      this.options.log.write(
        WARN,
        full
          ? `max_memory is reached: ${this.heldBytes} of ${max} bytes are held, new requests are refused`
          : `max_memory has room again: ${this.heldBytes} of ${max} bytes are held`,
      );
    }
    const busyBytes = this.heldBytes + this.leavingBytes;
    // What comes until the next look is resident on top of all that.
    const narrow = busyBytes > NARROW_SHARE * max || residentBytes > this.options.processMax;
    this.stepBytes = narrow ? this.usualStep / 4 : this.usualStep;
    this.mostBytes = Math.max(this.mostBytes, busyBytes);
    if (busyBytes > SPIKE_MIN || residentBytes > this.quietBytes + 2 * SPIKE_MIN) this.spiked = true;
    // What is held now will be unused chunks.
    const chunkBytes = Math.max(busyBytes, unusedChunkBytes());
    if (this.full || this.crowded || this.spiked || chunkBytes > CHUNKS_KEPT) this.lookAgain();
  }

  private lookAgain(): void {
    if (this.timer) return;
    this.timer = true;
    this.options.clock.setTimer(this.full ? LOOK_AGAIN_MS : COLLECT_AFTER_MS, () => {
      this.timer = false;
      const calm = this.calm;
      this.look();
      if (!calm || this.stopped || !this.calm) return;
      if (trimChunks() === 0 && !this.spiked) return;
      // What is still held will be garbage as well: once more when most of that has gone.
      this.mostBytes = this.heldBytes + this.leavingBytes;
      this.spiked = this.mostBytes >= SPIKE_OVER;
      this.collect();
    });
  }

  /** Most of what was held is not any more. */
  private get calm(): boolean {
    return !this.full && this.heldBytes + this.leavingBytes < Math.max(SPIKE_OVER, this.mostBytes / 2);
  }

  private watchCrowd(crowdBytes: number): void {
    const { max, log } = this.options;
    const crowded = crowdBytes > (this.crowded ? RELIEVED : 1) * CROWD_SHARE * max;
    if (crowded === this.crowded) return;
    this.crowded = crowded;
    const share = `${crowdBytes} of ${max} bytes are taken by client connections`;
    log.write(
      WARN,
      crowded
        ? `max_memory: ${share}, new ones are refused`
        : `max_memory: ${share}, new ones are accepted again`,
    );
  }

  private collect(): number {
    this.options.collect?.();
    return this.quietBytes = this.options.residentBytes();
  }

  /** Gives back what is unused, at once, if too much is resident; closes the greediest if that is not enough. */
  private watchResident(): number {
    const { residentBytes, processMax, collect, max } = this.options;
    const resident = residentBytes();
    const ceiling = processMax + SPARE;
    if (resident <= ceiling) this.ceilingBytes = ceiling;
    // Without a collector at hand nobody knows how much of it is garbage.
    if (resident <= this.ceilingBytes || collect === null) return resident;
    dropChunks(0);
    let left = this.collect();
    // Once more when it is calm again.
    this.spiked = true;
    // With more than half of the spare in use the next collection would be due at once.
    const excess = (left - this.leavingBytes - processMax - SPARE / 2) * (max / processMax);
    if (excess > 0 && this.heldBytes > BLAMELESS_SHARE * max) {
      this.relieve(Math.max(this.heldBytes - excess, BLAMELESS_SHARE * max));
      left = this.collect();
    }
    // What does not go is not collected again and again.
    this.ceilingBytes = Math.max(ceiling, left + this.usualStep);
    return left;
  }

  /** Also notes with each client what lies elsewhere for it: replies of fragments that wait for others, and half replies. */
  private measure(): number {
    let all = 0;
    this.measuredAtMs = this.options.clock.nowMs();
    this.leavingBytes = 0;
    this.splits.clear();
    this.owedBytes.clear();
    for (const pool of this.pools) {
      let held = pool.front.keptBytes?.() ?? 0;
      this.leavingBytes += pool.front.leavingBytes?.() ?? 0;
      for (const client of pool.clients) held += client.holdsBytes;
      for (const greeting of pool.greetings) held += greeting.holdsBytes;
      for (const server of pool.everyServer) {
        for (const connection of server.connections) {
          held += connection.holdsBytes;
          this.owe(connection.receiver, connection.unfinishedBytes);
          for (let r = connection.head; r !== null; r = r.nextInFlight) {
            if (r.split !== null) this.splits.add(r.split);
          }
        }
      }
      all += pool.counters[MEMORY_BYTES] = held;
    }
    for (const split of this.splits) {
      const bytes = split.heldBytes;
      const { client } = split.parent;
      all += bytes;
      // Whose client has gone is nobody's.
      if (client !== null) client.pool.counters[MEMORY_BYTES]! += bytes;
      this.owe(client, bytes);
    }
    return all;
  }

  private owe(client: Client | null, bytes: number): void {
    if (client !== null && bytes > 0) this.owedBytes.set(client, (this.owedBytes.get(client) ?? 0) + bytes);
  }

  private holding(client: Client): number {
    return client.holdsBytes + (this.owedBytes.get(client) ?? 0);
  }

  /** Closes the greediest, clients first: a server connection takes the requests of others with it. */
  private relieve(goal: number): void {
    this.closeClients(goal, GREEDY_MIN);
    this.closeConnections(goal);
    if (this.heldBytes > goal) this.closeClients(goal, CLIENT_BYTES);
  }

  /** @param least who holds less is left alone */
  private closeClients(goal: number, least: number): void {
    const holders: { client: Client; bytes: number }[] = [];
    for (const pool of this.pools) {
      for (const client of pool.clients) {
        const bytes = client.closed ? 0 : this.holding(client);
        if (bytes >= least) holders.push({ client, bytes });
      }
    }
    holders.sort((a, b) => b.bytes - a.bytes);
    for (const { client, bytes } of holders) {
      if (this.heldBytes <= goal) return;
      client.pool.counters[LIMIT_MEMORY]!++;
      client.giveUp(`holds ${bytes} bytes, the most of all, and max_memory is reached`);
      this.heldBytes -= bytes;
    }
  }

  private closeConnections(goal: number): void {
    const connections: ServerConnection[] = [];
    for (const pool of this.pools) {
      for (const server of pool.everyServer) {
        for (const each of server.connections) if (each.holdsBytes >= GREEDY_MIN) connections.push(each);
      }
    }
    connections.sort((a, b) => b.holdsBytes - a.holdsBytes);
    for (const connection of connections) {
      const bytes = connection.holdsBytes;
      if (this.heldBytes <= goal || bytes < (this.heldBytes - goal) * SERVER_SHARE) return;
      const { name } = connection.server.config;
      this.options.log.write(NOTICE, `s '${name}' holds ${bytes} bytes, and max_memory is reached: closing`);
      connection.fail("EMEMORY");
      this.heldBytes -= bytes;
    }
  }
}
