/**
 * EXEC on its way to a server: MULTI, what has been queued, and EXEC.
 *
 *   few commands    shared connection ──► MULTI c1 … cn EXEC             in one piece
 *   very many       leased connection ──► MULTI c1 … │ … │ … cn EXEC     a slice a turn, while the server takes them
 *
 * A connection that others use cannot be left in the middle of a MULTI, so what goes in one piece is short, or has a connection to
 * itself anyway. EXEC is written last: if anything goes wrong before (the client leaves, the server fails or takes no more for
 * `timeout`, max_memory is reached), the connection is closed and the server forgets what it has queued; nothing is half done.
 * The server has `timeout` for each slice, counted anew with every command it queues, and then for EXEC itself.
 *
 * A node of a cluster that has not the keys says so to a command or to EXEC, as its version has it, and has done nothing then: what went
 * in one piece without a WATCH goes to another one (redis/redirect.ts), behind ASKING if need be, which lasts for all of it.
 */
import { concat, encode, startsWith } from "../bytes/ascii.ts";
import { command } from "../protocol/redis/encode.ts";
import { CROSSSLOT_SLOTS } from "../protocol/redis/errors.ts";
import { nullArray } from "../protocol/redis/reply_writer.ts";
import { CLUSTERDOWN, readRedirect, type Redirect } from "../protocol/redis/redirect_reply.ts";
import { REQUESTS } from "../stats/metrics.ts";
import { type Client, LEASED } from "../proxy/client.ts";
import type { CommandQueue } from "./queue.ts";
import type { RedisSession } from "./session.ts";
import { type Aside, isArray, type Rerun, Weaver } from "./woven.ts";
import { type Failure, failureOf } from "../proxy/failures.ts";
import { sendFragment } from "../proxy/fan_out.ts";
import { type Internal, Request } from "../proxy/request.ts";
import type { Endpoint } from "../proxy/endpoint.ts";
import type { Server } from "../proxy/server.ts";
import type { Holder, ServerConnection, Waiter } from "../proxy/server_connection.ts";
import type { Joiner } from "../proxy/split.ts";
import type { Postponed } from "../proxy/turn.ts";
import { connectionAt, Placed, type PoolRedirects, Redirected, sayOnLease } from "./redirect.ts";

/** A slice has about this many bytes for each command that one may have (pool.sliceArguments). */
const COMMAND_BYTES = 256;

const MULTI_BYTES = command("MULTI");
const EXEC_BYTES = command("EXEC");
const ABORTED_START = encode("-EXECABORT ");
const ABORTED_BECAUSE = encode("-EXECABORT Transaction discarded because of: ");
const MINUS = 45;
const MINUS_BYTE = Uint8Array.of(MINUS);
const APART = concat(ABORTED_BECAUSE, CROSSSLOT_SLOTS.subarray(1));
const NO_OWNERS = new Uint16Array(0);

/** What EXEC answers when a watched key has been touched. @param resp of the client */
export function touched(resp: number): Uint8Array {
  return nullArray(resp);
}

/** Bytes of a slice. */
function sliceBytes(client: Client): number {
  return client.pool.sliceArguments * COMMAND_BYTES;
}

/** Are these too many for one piece? */
export function isLong(client: Client, queue: CommandQueue): boolean {
  return queue.count > client.pool.sliceArguments || queue.size > sliceBytes(client);
}

export class Execution implements Holder, Postponed, Waiter {
  private readonly client: Client;
  private readonly parent: Request;
  /** MULTI and all that is queued: answered +OK, and +QUEUED for each. */
  private readonly queued = new Request(null);
  /** EXEC itself, once everything before it has been written. */
  private exec: Request | null = null;
  private connection!: ServerConnection;
  /** The connection is held here, not by a WATCH. */
  private leased = false;
  private sliced = false;
  private over = false;
  /** In a cluster: keys are watched on the connection, so nothing goes elsewhere. */
  private watched = false;
  /** What the server refused while queueing. */
  private refusal: Uint8Array | null = null;
  /** In a cluster, what is sent between MULTI and EXEC, while it may have to be sent elsewhere. */
  private block: Uint8Array | null = null;

  /** @param queue taken over */
  constructor(
    private readonly session: RedisSession,
    private readonly queue: CommandQueue,
    private readonly asides: readonly Aside[],
    private readonly rerun: Rerun,
  ) {
    this.client = session.client;
    this.parent = new Request(this.client);
  }

  /** Bytes of memory that would be free without it. */
  get holdsBytes(): number {
    return this.queue.size;
  }

  /** All in one piece. */
  send(connection: ServerConnection): void {
    const { client, queue } = this;
    const mayMove = client.pool.cluster && connection.holder === null;
    const tells = client.pool.cluster && queue.namesScripts;
    const block = mayMove || tells ? queue.take() : null;
    if (mayMove && this.learns(connection, block!)) return;
    if (tells) this.tellScripts(connection, block!);
    this.begin(connection);
    if (block === null) connection.wrote(queue.writeTo(connection, Infinity));
    else connection.write(block, 0, block.length);
    if (mayMove) {
      this.block = block;
      this.session.readBytes += block!.length;
    }
    this.finish();
  }

  /**
   * In a cluster a node may lack a function too, but has to be asked before it is told: all of it waits for that, as behind a redirect. The
   * client is at rest.
   */
  private learns(connection: ServerConnection, block: Uint8Array): boolean {
    const { client, session } = this;
    const redirects = client.pool.front.redirects as PoolRedirects;
    const { functions } = this.queue;
    if (functions === null || redirects.called(connection, functions).length === 0) return false;
    client.enqueue(this.parent);
    if (this.asides.length > 0) client.beginWoven();
    this.block = block;
    session.readBytes += block.length;
    this.redirected().begin(connection.server);
    return true;
  }

  /** In a cluster a node may lack a script, and would say so in the middle of what it does: it is told before. */
  private tellScripts(connection: ServerConnection, block: Uint8Array): void {
    const redirects = this.client.pool.front.redirects as PoolRedirects;
    for (const each of redirects.named(connection, block)) {
      if (connection.holder === null) redirects.teach(connection, each);
      else sayOnLease(connection, each);
    }
  }

  /** The same on the connection that watches keys. */
  sendWatched(connection: ServerConnection): void {
    this.watched = this.client.pool.cluster;
    this.send(connection);
  }

  /** In slices, on a connection that nobody else uses; if that is a watching one, it has its holder. The client is at rest. */
  sendSliced(connection: ServerConnection): void {
    this.sliced = true;
    this.begin(connection);
    this.session.sliced = this;
    this.client.pool.turn.later(this);
  }

  /** The same on a connection of its own. False while the server is left alone after failed connects. */
  sendLeased(server: Server): boolean {
    const { client } = this;
    const connection = server.lease(client.pool.front.connectionClass(client), this);
    if (connection === null) return false;
    this.leased = true;
    this.sendSliced(connection);
    client.block(LEASED);
    return true;
  }

  private begin(connection: ServerConnection): void {
    const { client, queued } = this;
    this.connection = connection;
    client.enqueue(this.parent);
    if (this.asides.length > 0) client.beginWoven();
    queued.internal = this.took;
    queued.replies = this.queue.count + 1;
    connection.enqueue(queued, this.sliced);
    connection.server.counters[REQUESTS]! += this.queue.count;
    connection.write(MULTI_BYTES, 0, MULTI_BYTES.length);
  }

  /** Called by the turn: one slice. */
  resume(): void {
    const { connection, queue, client } = this;
    if (this.over) return;
    // It has answered more than it was asked: whose replies those are nobody knows.
    if (connection.head === null) {
      return this.failed(connection.server.errorReply(failureOf("ESTRAY")));
    }
    if (connection.congested) {
      connection.waiters.push(this);
      return;
    }
    connection.wrote(queue.writeTo(connection, sliceBytes(client)));
    connection.startClock(this.queued);
    if (queue.empty) this.finish();
    else client.pool.turn.later(this);
  }

  waitOver(): void {
    if (!this.over) this.client.pool.turn.later(this);
  }

  /** Everything has been written but EXEC. */
  private finish(): void {
    const { connection } = this;
    if (this.sliced) this.slicesDone();
    const split = new ExecSplit(
      this.session,
      this.parent,
      this.join,
      this.asides,
      this.rerun,
      this.block === null && !this.watched ? null : this,
    );
    this.exec = sendFragment(split, split.add(), connection, EXEC_BYTES, 0, EXEC_BYTES.length);
  }

  private slicesDone(): void {
    const { session } = this;
    session.sliced = null;
    session.tracking?.cachingUsed(session.tracking.caching);
  }

  /** A reply to one of those before EXEC. */
  private readonly took: Internal = (reply, start, end, failed) => {
    if (failed) return this.failed(reply);
    if (this.refusal === null && reply[start] === MINUS) this.refusal = reply.slice(start + 1, end);
    const { exec, parent } = this;
    // All have been queued: the reply to come is the client's as it is, and a large one need not be kept until it is whole.
    if (
      exec !== null && this.refusal === null && this.asides.length === 0 && this.block === null &&
      !this.watched && this.connection.replaceHead(exec, parent)
    ) this.exec = parent;
    const { pool } = this.client;
    if (!this.sliced || pool.timeoutMs <= 0) return;
    this.queued.deadlineMs = pool.turn.now() + pool.timeoutMs;
    if (this.exec !== null) this.exec.deadlineMs = this.queued.deadlineMs;
  };

  /** The server failed, or took too long. @param reply what the client is told; owned */
  private failed(reply: Uint8Array): void {
    // When EXEC is on its way it fails as well, and says so.
    if (this.over || this.exec !== null) return;
    const { client, parent } = this;
    this.stop();
    this.slicesDone();
    if (parent.client !== null) {
      client.countForwardError();
      client.deliver(parent, reply, 0, reply.length);
    }
    this.connection.retire();
  }

  private stop(): void {
    this.over = true;
    this.queue.clear();
  }

  /** The client is gone before EXEC was written. */
  abandon(): void {
    this.stop();
    if (this.leased) this.connection.endpoint.giveBack(this.connection, false);
  }

  /** If the server refused a command while queueing, the client is told which error it was: it has read +QUEUED. */
  private readonly join: Joiner = ({ replies }) => {
    const { bytes, start, end } = replies[0]!;
    if (this.refusal === null || !startsWith(bytes, start, end, ABORTED_START)) {
      return bytes.subarray(start, end);
    }
    return concat(ABORTED_BECAUSE, this.refusal);
  };

  // ---- in a cluster

  /** EXEC has been answered so: goes to another node if that is asked for. `bytes[0, end)` is borrowed. */
  goesOn(bytes: Uint8Array, end: number): boolean {
    const { refusal, connection } = this;
    if (bytes[0] !== MINUS) return this.settled();
    const said = refusal === null ? bytes.slice(0, end) : concat(MINUS_BYTE, refusal);
    const redirect = readRedirect(said, 0, said.length);
    if (redirect === null) return this.settled();
    if (this.watched) {
      if (redirect.kind === CLUSTERDOWN) return false;
      // What is watched is elsewhere now: as if it had been touched.
      const reply = touched(this.session.resp);
      this.client.deliver(this.parent, reply, 0, reply.length);
      return true;
    }
    this.redirected().refused(connection.endpoint, redirect, said, 0, said.length);
    return true;
  }

  /** No byte of EXEC has left. See Placed. */
  unsent(server: Server, failure: Failure, pauses: boolean): boolean {
    return this.redirected().unsent(server, failure, pauses);
  }

  private settled(): false {
    this.session.readBytes -= this.block?.length ?? 0;
    return false;
  }

  private redirected(): RedirectedBlock {
    this.settled();
    const { client, session, parent, asides, rerun, queue } = this;
    const split = new ExecSplit(session, parent, JOIN_ONE, asides, rerun, null);
    const original = new Request(null);
    original.split = split;
    original.fragment = split.add();
    return new RedirectedBlock(
      client.pool.front.redirects as PoolRedirects,
      original,
      this.block!,
      queue.count,
      queue.namesScripts,
      queue.functions,
    );
  }

  // ---- the leased connection

  answered(connection: ServerConnection): void {
    if (this.exec === null || !connection.idle) return;
    connection.endpoint.giveBack(connection, true);
    this.client.unblock(LEASED);
  }

  lost(): void {
    this.client.unblock(LEASED);
  }

  pushed(): void {}
}

/** EXEC's own request: its reply is the transaction's, with what waits aside in its places. */
class ExecSplit extends Placed {
  /** Some of the reply has come, and gone on. */
  private weaver: Weaver | null = null;

  /** @param execution null: what it is answered with is the client's */
  constructor(
    private readonly session: RedisSession,
    parent: Request,
    join: Joiner,
    private readonly asides: readonly Aside[],
    private readonly rerun: Rerun,
    private readonly execution: Execution | null,
  ) {
    super(parent, join, NO_OWNERS, 0);
  }

  override unsent(server: Server, failure: Failure, pauses: boolean): boolean {
    return this.execution?.unsent(server, failure, pauses) ?? false;
  }

  override get endsRequestBefore(): boolean {
    return true;
  }

  /** Of an array the elements leave as they come: what has been done has been done. */
  override takesParts(bytes: Uint8Array, start: number): boolean {
    return this.execution === null && this.asides.length > 0 && isArray(bytes, start);
  }

  override takePart(bytes: Uint8Array, start: number, end: number): void {
    this.weaver ??= new Weaver(this.session, this.parent, this.asides, this.rerun);
    this.weaver.takePart(bytes, start, end);
  }

  override take(fragment: number, bytes: Uint8Array, start: number, end: number, failed: boolean): void {
    if (this.weaver === null) super.take(fragment, bytes, start, end, failed);
    else if (failed) this.weaver.breakOff();
    else this.weaver.takeLast(bytes, start, end);
  }

  protected override deliver(client: Client, joined: Uint8Array, end: number): void {
    if (this.execution?.goesOn(joined, end)) return;
    if (this.asides.length === 0) super.deliver(client, joined, end);
    else new Weaver(this.session, this.parent, this.asides, this.rerun).weave(joined, 0, end);
  }
}

const JOIN_ONE: Joiner = ({ replies: [reply] }) => reply!.bytes.subarray(reply!.start, reply!.end);

/** MULTI, what is between, and EXEC, for another node than was asked first. */
class RedirectedBlock extends Redirected {
  /** What a command was refused with, without the minus. */
  private refusal: Uint8Array | null = null;
  /** Who is to be asked which libraries it lacks, before it is asked. */
  private learner: { readonly endpoint: Endpoint; readonly asking: boolean } | null = null;
  /** The slot of which nodes say that it is elsewhere; -1 = they have not. */
  private slotTold = -1;

  /**
   * @param count of commands in `block`
   * @param namesScripts by their digests
   * @param functions that are called, which its node may lack; null: none is
   */
  constructor(
    redirects: PoolRedirects,
    original: Request,
    block: Uint8Array,
    private readonly count: number,
    private readonly namesScripts: boolean,
    private readonly functions: ReadonlySet<string> | null,
  ) {
    super(redirects, original, block);
  }

  protected override ask(endpoint: Endpoint, asking: boolean, before: readonly Uint8Array[] = []): boolean {
    const { functions } = this;
    if (functions === null) return super.ask(endpoint, asking, before);
    const connection = connectionAt(this.client, endpoint);
    if (connection === null) return false;
    if (this.redirects.called(connection, functions).length === 0) {
      return super.ask(endpoint, asking, before);
    }
    // Its client sends nothing more meanwhile.
    this.learner = { endpoint, asking };
    this.own.wait(this, 0);
    return true;
  }

  override tryAgain(): void {
    const { learner, redirects, client } = this;
    this.learner = null;
    const connection = learner === null ? null : connectionAt(client, learner.endpoint);
    if (connection === null || this.parent.client === null) return super.tryAgain();
    const { endpoint, asking } = learner!;
    redirects.learn(client, connection, redirects.called(connection, this.functions!), (loads) => {
      if (this.parent.client === null) return this.over();
      // Whoever has its slot by now may lack them as well.
      if (loads === null) return void this.unsent(endpoint.server, endpoint.server.whyRefused, true);
      if (!super.ask(endpoint, asking, loads)) super.tryAgain();
    });
  }

  /** Keys of two slots, which one node had when they were queued, are on two now: they would send it to each other. */
  override refused(by: Endpoint, redirect: Redirect, bytes: Uint8Array, start: number, end: number): void {
    const { slot } = redirect;
    if (slot >= 0 && this.slotTold >= 0 && slot !== this.slotTold) {
      return this.answer(APART, 0, APART.length, false);
    }
    if (slot >= 0) this.slotTold = slot;
    super.refused(by, redirect, bytes, start, end);
  }

  override get endsRequestBefore(): boolean {
    return true;
  }

  /** What scripts in it answer is within EXEC's reply. */
  protected override tellsWords(): boolean {
    return false;
  }

  protected override before(connection: ServerConnection): readonly Uint8Array[] {
    return this.namesScripts ? this.redirects.named(connection, this.bytes) : [];
  }

  protected override send(connection: ServerConnection, block: Uint8Array): void {
    this.refusal = null;
    const queued = new Request(null);
    queued.internal = (reply, start, end, failed) => {
      if (!failed && this.refusal === null && reply[start] === MINUS) {
        this.refusal = reply.slice(start + 1, end);
      }
    };
    queued.replies = this.count + 1;
    connection.enqueue(queued);
    connection.server.counters[REQUESTS]! += this.count;
    connection.write(MULTI_BYTES, 0, MULTI_BYTES.length);
    connection.write(block, 0, block.length);
    super.send(connection, EXEC_BYTES);
  }

  override take(fragment: number, bytes: Uint8Array, start: number, end: number, failed: boolean): void {
    const { refusal } = this;
    if (failed || refusal === null || !startsWith(bytes, start, end, ABORTED_START)) {
      return super.take(fragment, bytes, start, end, failed);
    }
    const said = concat(MINUS_BYTE, refusal);
    const heard = readRedirect(said, 0, said.length) !== null ? said : concat(ABORTED_BECAUSE, refusal);
    super.take(fragment, heard, 0, heard.length, false);
  }
}
