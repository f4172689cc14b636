/**
 * Where the keys of a transaction are, when some may have moved since it was queued: servers have come or gone, left the ring or
 * returned. The queue is read from its beginning to its end for it, and is then as it was.
 *
 *   few commands   at once
 *   very many      turn: some commands ──► turn: some more ──► …    the client is blocked, and offers its EXEC again
 *
 * If keys move once more meanwhile, it begins again.
 */
import { concat } from "../bytes/ascii.ts";
import { Args } from "../protocol/redis/args.ts";
import { FINDER } from "../protocol/redis/command.ts";
import { resolve } from "../protocol/redis/commands.ts";
import { findKeys, KeyList } from "../protocol/redis/keys.ts";
import { RequestResume, scanRequest } from "../protocol/redis/request.ts";
import { type Client, SLICED } from "../proxy/client.ts";
import type { Postponed } from "../proxy/turn.ts";
import type { Known } from "./kept_keys.ts";
import { ACROSS, NONE_YET, NOWHERE, placedOf, placeSome, serverAt } from "./places.ts";
import type { CommandQueue } from "./queue.ts";

/** So many bytes are taken out of the queue at a time, or as many as a command has that is longer. */
const PIECE_BYTES = 64 * 1024;

const NO_LIMITS = { requestSizeMax: Infinity, argumentsMax: Infinity };
const NOTHING = new Uint8Array(0);

export class Placing implements Postponed {
  /** The server of all keys: its index; NOWHERE; or ACROSS, which is for good: the queue is of no use any more then. */
  server = NOWHERE;
  /** `Pool.moves` when it began. */
  private moves = -1;
  /** Of all commands so far: as `server`. */
  private all = NONE_YET;
  private ready = false;
  private over = false;
  /** Bytes of the queue that have still to be read; those read last, and how far they have been looked at. */
  private left = 0;
  private bytes: Uint8Array = NOTHING;
  private at = 0;
  /** Of the command at hand: where its keys so far are, as `placeSome` has it. */
  private place = NONE_YET;
  private readonly args = new Args();
  private readonly keys = new KeyList();
  private placed = 0;
  private toPlace = 0;

  /** @param known for commands that are not in the table */
  constructor(
    private readonly client: Client,
    private readonly queue: CommandQueue,
    private readonly known: Known,
  ) {}

  /** Bytes of memory that would be free without it. */
  get holdsBytes(): number {
    return this.bytes.length;
  }

  /** Is all known, as things are now? @param long it may take turns: if it does the client is blocked, and has to ask again */
  isDone(long: boolean): boolean {
    if (this.ready && (this.server === ACROSS || this.moves === this.client.pool.moves)) return true;
    this.begin();
    if (!this.ready && long) {
      this.client.block(SLICED);
      this.client.pool.turn.later(this);
    } else while (!this.ready) this.some(Infinity);
    return this.ready;
  }

  private begin(): void {
    const { pool } = this.client;
    this.moves = pool.moves;
    this.left = this.queue.size;
    this.all = NONE_YET;
    this.ready = false;
    // Nothing but the one server could have them.
    if (pool.servers.length === 1 && !pool.cluster) this.finish(pool.live[0] === 0 ? NOWHERE : 0);
  }

  /** Called by the turn. */
  resume(): void {
    const { client } = this;
    if (this.over || client.closing) return;
    this.some(client.pool.sliceArguments);
    if (!this.ready) return client.pool.turn.later(this);
    client.unblock(SLICED);
  }

  /** The transaction is over, whatever for. */
  stop(): void {
    this.over = true;
  }

  /** Reads on, for so many commands and keys together. */
  private some(most: number): void {
    for (let left = most; left > 0 && !this.ready;) {
      if (this.placed < this.toPlace) left -= this.placeSome(left);
      else if (this.next()) left--;
      else if (this.moves !== this.client.pool.moves) this.begin();
      else this.finish(this.all === NONE_YET ? NOWHERE : this.all);
    }
  }

  /** Places so many keys of the command at hand. @returns how many it has */
  private placeSome(most: number): number {
    const { client: { pool }, placed, toPlace } = this;
    const to = Math.min(placed + most, toPlace);
    this.place = placeSome(pool, this.bytes, this.args, this.keys, placed, to, this.place);
    this.placed = to;
    if (to === toPlace) {
      const server = serverAt(pool, this.place);
      // With distribution "random" the first draw decides.
      if (this.all === NONE_YET) this.all = server;
      else if (this.all !== server && pool.config.distribution !== "random") this.apart();
    }
    if (this.place === ACROSS) this.apart();
    return to - placed;
  }

  /** They are on several servers; unless keys have moved since it began, which makes it begin again when all has been read. */
  private apart(): void {
    if (this.moves === this.client.pool.moves) this.finish(ACROSS);
  }

  private finish(server: number): void {
    this.server = server;
    this.ready = true;
    this.bytes = NOTHING;
    this.at = this.placed = this.toPlace = 0;
  }

  /** Looks for the keys of the next command. False if there is none. */
  private next(): boolean {
    const { args, keys } = this;
    for (;;) {
      const end = scanRequest(this.bytes, this.at, this.bytes.length, args, NO_LIMITS, new RequestResume());
      if (end >= 0) {
        this.at = end;
        break;
      }
      if (!this.readMore()) return false;
    }
    const { bytes } = this;
    const command = resolve(bytes, args) ?? this.known(bytes, args);
    this.place = NONE_YET;
    this.placed = this.toPlace = 0;
    // Only a server knows its keys, or what it is at all.
    if (command === undefined || command.finder === FINDER.ASKED) this.finish(ACROSS);
    else if (findKeys(command, bytes, args, keys) > 0) this.toPlace = placedOf(this.client.pool, keys);
    return true;
  }

  /** At least as many bytes more as there are: a command in many pieces is not scanned too often. False if all have been read. */
  private readMore(): boolean {
    if (this.left === 0) return false;
    const rest = this.bytes.subarray(this.at);
    const piece = this.queue.rotate(Math.min(this.left, Math.max(PIECE_BYTES, rest.length)));
    this.left -= piece.length;
    this.bytes = rest.length === 0 ? piece : concat(rest, piece);
    this.at = 0;
    return true;
  }
}
