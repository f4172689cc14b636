/**
 * A request of very many arguments that goes on its way whole: SINTER, EVAL, WATCH, or whatever stands in a transaction.
 *
 *   SINTER k1 … k100000  ──►  turn: notes some arguments ──► … ──► turn: finds some keys' server ──► … ──► taken like any other
 *
 * Where its arguments are, whether its user may use its keys, and which server has all of them, takes as many turns as it needs. Meanwhile it lies in its
 * client's inbox, and the client is blocked; when it is offered again, both are known. Nothing is owed to anybody for it, so what
 * was asked before it is answered as always.
 */
import { type AclRules, Asking } from "../protocol/redis/acl_rules.ts";
import { hasKeys } from "../protocol/redis/acl_table.ts";
import { Args } from "../protocol/redis/args.ts";
import type { Command } from "../protocol/redis/command.ts";
import { findKeys, KeyList } from "../protocol/redis/keys.ts";
import { noteArguments } from "../protocol/redis/request.ts";
import { type Client, SLICED } from "../proxy/client.ts";
import { ACROSS, NONE_YET, placedOf, placeSome, serverAt } from "./places.ts";
import type { RedisSession } from "./session.ts";
import type { Postponed } from "../proxy/turn.ts";

/** So many arguments are noted in a turn, and so many keys are placed. */
const NOTED_MAX = 16 * 1024;
const PLACED_MAX = 4096;

const LF = 10;

const NO_KEYS = new KeyList();

export class Preparation implements Postponed {
  /** All is known. */
  ready = false;
  /** Of the keys so far (`placeSome`). */
  private place = NONE_YET;
  private readonly keys = new KeyList();
  private readonly client: Client;
  /** Where the arguments are, if the request begins at `countedFrom`. */
  private readonly args = new Args();
  private countedFrom = 0;
  /** The next argument's `$`, counted likewise. */
  private at: number;
  private placed = 0;
  /** `Pool.moves` when the first key was placed. */
  private moves: number;
  private found = false;
  /** What the user's rules say of it; null: nobody has to ask. */
  private asking: Asking | null = null;
  /** The rules that are asked. */
  private asked: AclRules | null = null;
  private allowed = false;

  /**
   * @param size bytes of the whole request, which begins at `start` of `bytes`, borrowed; it stays where it is
   * @param command undefined: not known, or not yet
   */
  constructor(
    private readonly session: RedisSession,
    private command: Command | undefined,
    bytes: Uint8Array,
    start: number,
    readonly size: number,
    private readonly count: number,
  ) {
    const client = this.client = session.client;
    this.moves = client.pool.moves;
    this.at = bytes.indexOf(LF, start) + 1 - start;
    this.args.reserve(count);
    this.session.preparation = this;
    client.block(SLICED);
    client.pool.turn.later(this);
  }

  /** A server has told what the command is, or tells it otherwise than before: its keys are looked for, and placed, as that says. */
  isFor(command: Command): void {
    if (command === this.command) return;
    this.command = command;
    this.found = false;
    this.placeAgain();
  }

  /** The keys it has found, if it has looked for those of `command`. */
  keysOf(command: Command): KeyList | null {
    return command === this.command ? this.keys : null;
  }

  /** What these rules say of it, if they have been asked about all of it. */
  askingOf(command: Command, rights: AclRules): Asking | null {
    return command === this.command && rights === this.asked && this.allowed ? this.asking : null;
  }

  /** As `ownerOfKeys`, if there are keys and `keysOf` tells of them. */
  get owner(): number {
    return serverAt(this.client.pool, this.place);
  }

  /** Bytes of memory that would be free without it. */
  get holdsBytes(): number {
    return 2 * this.args.starts.byteLength + this.keys.at.byteLength;
  }

  /** The keys have been placed, and none can have moved since. If some can, they are placed again. */
  get isDone(): boolean {
    const { moves } = this.client.pool;
    if (!this.ready || this.moves === moves) return this.ready;
    this.moves = moves;
    if (this.place === NONE_YET) return true;
    this.placeAgain();
    return false;
  }

  private placeAgain(): void {
    this.place = NONE_YET;
    this.placed = 0;
    if (!this.ready) return;
    this.ready = false;
    // They have been lent, and are counted from there.
    this.countFrom(0);
    this.client.block(SLICED);
    this.client.pool.turn.later(this);
  }

  /** Called by the turn. */
  resume(): void {
    const { client, args, count } = this;
    // Of a client that is to end nothing is taken any more, and what it has sent is gone.
    if (client.closing || this.session.preparation !== this) return;
    const { bytes, start } = client.inbox;
    const request = start === 0 ? bytes : bytes.subarray(start);
    if (args.count < count) {
      const most = Math.min(count - args.count, NOTED_MAX);
      this.at = noteArguments(request, this.at, args.count, most, 1, Infinity, args);
    } else if (!this.found) this.find(request);
    else if (!this.allowed) this.ask(request);
    else this.placeMore(request);
    if (!this.ready) return client.pool.turn.later(this);
    client.unblock(SLICED);
  }

  private find(request: Uint8Array): void {
    this.found = true;
    const { command, keys, session: { rights } } = this;
    if (command !== undefined) findKeys(command, request, this.args, keys);
    this.asked = rights;
    this.asking = null;
    if (rights !== null && command !== undefined && rights.free[command.id] !== 1) {
      const none = !hasKeys(command) || keys.count <= 0;
      this.asking = new Asking(rights, command, none ? NO_KEYS : keys, request, this.args);
    }
    this.allowed = this.asking === null;
    this.ready = this.allowed && keys.count <= 0;
  }

  private ask(request: Uint8Array): void {
    this.allowed = this.asking!.look(request, this.args, PLACED_MAX);
    this.ready = this.allowed && this.keys.count <= 0;
  }

  private placeMore(request: Uint8Array): void {
    const { pool } = this.client;
    if (this.moves !== pool.moves) {
      this.moves = pool.moves;
      this.place = NONE_YET;
      this.placed = 0;
    }
    const all = placedOf(pool, this.keys);
    const to = Math.min(this.placed + PLACED_MAX, all);
    this.place = placeSome(pool, request, this.args, this.keys, this.placed, to, this.place);
    this.placed = to;
    this.ready = to === all || this.place === ACROSS;
  }

  /** Puts into `args` where the arguments are, now that the request begins at `start`; what is there belongs to this. */
  lend(args: Args, start: number): void {
    this.countFrom(start);
    args.count = this.count;
    args.starts = this.args.starts;
    args.ends = this.args.ends;
  }

  private countFrom(start: number): void {
    const by = start - this.countedFrom;
    if (by === 0) return;
    this.countedFrom = start;
    const { starts, ends } = this.args;
    for (let i = 0; i < this.count; i++) {
      starts[i]! += by;
      ends[i]! += by;
    }
  }
}
