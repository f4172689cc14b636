/**
 * CLIENT LIST, KILL, INFO and UNBLOCK: who is connected to a pool, over all workers.
 *
 *   CLIENT LIST ──► Walk (its arguments) ──► ClientsWork ─┬─► clients of this worker, a page a turn ─┬─► one reply, in its place
 *                                                         └─► question ──► other worker's page ──────┘
 *
 * A page is asked for when the one before has come, of one worker after the other: whatever the number of clients, no turn here or
 * there takes care of more than PAGE, and what has been gathered is the asker's own (client_output_limit, max_memory). CLIENT KILL asks
 * for the same pages, for the ids alone, and then ends those. The clients of a worker that has died are gone, so the list without
 * them is whole; one that says nothing is named in an error, as a list that lacks some would be taken for the truth.
 */
import { encode, latin1 } from "../bytes/ascii.ts";
import type { Args } from "../protocol/redis/args.ts";
import { ClientFilter, meets } from "../protocol/redis/client_filter.ts";
import { clientLine, type ClientView } from "../protocol/redis/client_view.ts";
import { errorReply } from "../protocol/redis/errors.ts";
import { OK } from "../protocol/redis/reply_writer.ts";
import { redirectOf } from "../protocol/redis/tracking_options.ts";
import type { Client } from "../proxy/client.ts";
import { type ClientAnswer, type ClientQuestion, GONE, SILENT, type Told } from "../proxy/client_question.ts";
import type { Pool } from "../proxy/pool.ts";
import { CHANNEL, PATTERN, SHARD } from "./pubsub.ts";
import type { RedisSession } from "./session.ts";
import type { SliceWork, Walk } from "./walk.ts";
import type { Postponed } from "../proxy/turn.ts";

/** Clients, or ids, of one page. */
const PAGE = 256;
/** A page ends when its lines have so many bytes. */
const PAGE_BYTES = 64 * 1024;
/** Clients that are ended in one turn: each takes a line of the log and a system call. */
const KILLS = 64;
/** Clients that are looked at in one turn, whether they are meant or not. */
const LOOKS = 1024;

const NOBODY: ClientAnswer = { ids: [], lines: [], next: -1 };
const NO_SUCH_CLIENT = errorReply("ERR No such client");

/** What is to be told of a client. @param wallMs ms since 1970 */
export function viewOf(client: Client, nowMs: number, wallMs: number): ClientView {
  const session = client.session as RedisSession;
  const { subscriptions, tracking, transaction } = session;
  const subscribed = (kind: number) => subscriptions === null ? 0 : subscriptions.names[kind]!.size;
  const replyBytes = client.socket.queuedBytes + client.replies.heldBytes;
  return {
    id: client.serial,
    address: session.address(),
    localAddress: session.localAddress(),
    name: latin1(session.name),
    libName: latin1(session.libName),
    libVersion: latin1(session.libVersion),
    ageSeconds: Math.max(0, Math.floor((wallMs - session.sinceMs) / 1000)),
    idleSeconds: Math.max(0, Math.floor((nowMs - client.lastActiveMs) / 1000)),
    flags: flagsOf(client, session) || "N",
    capabilities: session.canRedirect ? "r" : "",
    user: session.user,
    db: session.db,
    channels: subscribed(CHANNEL),
    patterns: subscribed(PATTERN),
    shardChannels: subscribed(SHARD),
    queued: transaction?.queueing ? transaction.queuedCount : -1,
    requestBytes: client.inbox.size,
    replyBytes,
    heldBytes: client.holdsBytes,
    receivedBytes: client.receivedBytes,
    sentBytes: client.socket.flushedBytes,
    command: session.command?.lower ?? "NULL",
    redirect: redirectOf(tracking),
    resp: session.resp,
  };
}

function flagsOf(client: Client, session: RedisSession): string {
  const { tracking } = session;
  return (session.subscriptions === null ? "" : "P") +
    (session.transaction?.queueing ? "x" : "") +
    (session.blocking === null ? "" : "b") +
    (tracking === null ? "" : "t") + (tracking?.broken ? "R" : "") + (tracking?.options.bcast ? "B" : "") +
    (client.closing ? "c" : "") +
    (session.overUnix ? "U" : "");
}

/** Answers a question about this worker's clients. `told` is called once, now or later. */
export function answerQuestion(pool: Pool, question: ClientQuestion, told: Told): void {
  switch (question.kind) {
    case "page":
      return told(pageOf(pool, question));
    case "kill":
      return told(kill(pool, question.ids));
    case "unblock":
      return unblock(pool, question.id, question.reason, told);
  }
}

function pageOf(pool: Pool, question: ClientQuestion & { kind: "page" }): ClientAnswer {
  const { after, conditions } = question;
  const wanted = question.ids === null ? null : new Set(question.ids);
  const nowMs = pool.turn.now();
  const wallMs = pool.clock.wallMs();
  const ids: number[] = [];
  const lines: string[] = [];
  let bytes = 0;
  let looks = 0;
  // In the order in which they came, which is that of their ids.
  for (const client of pool.clients) {
    const id = client.serial;
    if (id <= after || client.closed || (wanted !== null && !wanted.has(id))) continue;
    const view = viewOf(client, nowMs, wallMs);
    if (meets(view, conditions)) {
      ids.push(id);
      if (question.lines) bytes += lines[lines.push(clientLine(view)) - 1]!.length;
    }
    if (ids.length === PAGE || bytes >= PAGE_BYTES || ++looks === LOOKS) return { ids, lines, next: id };
  }
  return { ids, lines, next: -1 };
}

function kill(pool: Pool, ids: readonly number[]): ClientAnswer {
  const wanted = new Set(ids);
  const killed = [];
  for (const client of pool.clients) {
    if (client.closed || !wanted.has(client.serial)) continue;
    killed.push(client.serial);
    client.giveUp("is ended by CLIENT KILL");
    if (killed.length === ids.length) break;
  }
  return { ids: killed, lines: [], next: -1 };
}

function unblock(pool: Pool, id: number, reason: string, told: Told): void {
  for (const client of pool.clients) {
    if (client.serial !== id) continue;
    const { blocking } = client.session as RedisSession;
    if (blocking === null) break;
    return blocking.unblock(reason, (unblocked) => told(unblocked ? { ...NOBODY, ids: [id] } : NOBODY));
  }
  told(NOBODY);
}

/** CLIENT LIST and CLIENT KILL: takes the options, then looks for the clients they mean. */
export class ClientsWork implements SliceWork, Postponed {
  private readonly filter: ClientFilter;
  private walk: Walk | null = null;
  private readonly parts: Uint8Array[] = [];
  private partBytes = 0;
  /** The workers that are still to be asked, and their ids where ids were given. */
  private readonly targets: { readonly worker: number; readonly ids: number[] | null }[] = [];
  /** Ids that have not come to `targets` yet, and the last target of each worker. */
  private unsorted: Iterator<number> | null = null;
  private readonly open = new Map<number, number[]>();
  private after = -1;
  /** Of CLIENT KILL, by worker. */
  private readonly doomed = new Map<number, number[]>();
  private toKill: { readonly worker: number; readonly ids: readonly number[] }[] = [];
  private ending = false;
  private endsSelf = false;
  private killed = 0;

  /**
   * @param kills CLIENT KILL
   * @param old its old form, with an address and nothing else
   */
  constructor(
    private readonly client: Client,
    private readonly kills: boolean,
    private readonly old: boolean,
  ) {
    const { databases, users } = client.pool.config;
    const names = new Set(["default", ...(users ?? []).map(({ name }) => latin1(encode(name)))]);
    this.filter = new ClientFilter(kills, databases, names);
  }

  get holdsBytes(): number {
    return this.partBytes + this.filter.holdsBytes;
  }

  slice(walk: Walk, bytes: Uint8Array, args: Args): void {
    for (let i = 1; i < args.count; i++) {
      const start = args.starts[i]!;
      const end = args.ends[i]!;
      if (this.old) this.filter.setAddress(bytes, start, end);
      else {
        const error = this.filter.take(bytes, start, end);
        if (error !== null) return walk.finish(error);
      }
    }
    walk.goOn();
  }

  end(walk: Walk): void {
    const { filter, client: { pool, serial } } = this;
    const error = filter.finish();
    if (error !== null) return walk.finish(error);
    this.walk = walk;
    const me = (filter.skipMe ?? (this.kills && !this.old)) ? serial : -1;
    filter.notIds.add(me);
    if (filter.ids !== null) this.unsorted = filter.ids.values();
    else for (let worker = 0; worker < pool.board.workers; worker++) this.targets.push({ worker, ids: null });
    // In a turn of its own: some hundred arguments have been taken in this one.
    pool.turn.later(this);
  }

  /** Each id is asked of the worker that it is of, PAGE at a time. */
  private sortSome(ids: Iterator<number>): void {
    const { pool } = this.client;
    for (let i = 0; i < LOOKS; i++) {
      const { done, value: id } = ids.next();
      if (done) {
        this.unsorted = null;
        break;
      }
      const worker = pool.workerOf(id);
      if (worker < 0) continue;
      let some = this.open.get(worker);
      if (some === undefined || some.length === PAGE) {
        some = [];
        this.open.set(worker, some);
        this.targets.push({ worker, ids: some });
      }
      some.push(id);
    }
    pool.turn.later(this);
  }

  /** Called by the turn: the next page, or the next clients that are to be ended. */
  resume(): void {
    const walk = this.walk!;
    if (walk.abandoned) return;
    if (this.unsorted !== null) return this.sortSome(this.unsorted);
    if (this.ending) return this.killSome();
    const target = this.targets[0];
    if (target === undefined) return this.kills ? this.beginToKill() : this.finishList();
    this.ask(target.worker, {
      kind: "page",
      after: this.after,
      ids: target.ids,
      conditions: this.filter.conditions,
      lines: !this.kills,
    }, (page) => this.take(target.worker, page));
  }

  private ask(worker: number, question: ClientQuestion, done: (answer: ClientAnswer) => void): void {
    const { pool } = this.client;
    pool.askWorker(worker, question, (answer) => {
      if (this.walk!.abandoned) return;
      if (answer === SILENT) {
        return this.walk!.finish(errorReply(
          `ERR worker ${worker} of the proxy does not answer, so its clients are not known` +
            `${this.kills ? `; ${this.killed} of others have been closed` : ""}; try again`,
        ));
      }
      done(answer === GONE ? NOBODY : answer);
    });
  }

  private take(worker: number, page: ClientAnswer): void {
    const { client, filter } = this;
    let text = "";
    for (let i = 0; i < page.ids.length; i++) {
      const id = page.ids[i]!;
      if (filter.notIds.has(id)) continue;
      if (!this.kills) text += page.lines[i]!;
      else if (id === client.serial) this.endsSelf = true;
      else {
        const doomed = this.doomed.get(worker);
        if (doomed === undefined) this.doomed.set(worker, [id]);
        else doomed.push(id);
      }
    }
    if (text !== "") {
      const part = encode(text);
      this.parts.push(part);
      this.partBytes += part.length;
      client.pool.memory.note(part.length);
      if (!client.mayHold(this.partBytes)) return;
    }
    this.after = page.next;
    if (page.next < 0) this.targets.shift();
    client.pool.turn.later(this);
  }

  private finishList(): void {
    const { resp } = this.client.session as RedisSession;
    const size = this.partBytes;
    const head = encode(resp === 3 ? `=${size + 4}\r\ntxt:` : `$${size}\r\n`);
    const reply = new Uint8Array(head.length + size + 2);
    reply.set(head);
    let at = head.length;
    for (const part of this.parts) {
      reply.set(part, at);
      at += part.length;
    }
    reply[at] = 13;
    reply[at + 1] = 10;
    this.walk!.finish(reply);
  }

  private beginToKill(): void {
    for (const [worker, ids] of this.doomed) {
      for (let i = 0; i < ids.length; i += KILLS) {
        this.toKill.push({ worker, ids: ids.slice(i, i + KILLS) });
      }
    }
    this.ending = true;
    this.killSome();
  }

  private killSome(): void {
    const next = this.toKill.shift();
    if (next === undefined) return this.finishKill();
    this.ask(next.worker, { kind: "kill", ids: next.ids }, ({ ids }) => {
      this.killed += ids.length;
      this.client.pool.turn.later(this);
    });
  }

  private finishKill(): void {
    const { client } = this;
    const killed = this.killed + (this.endsSelf ? 1 : 0);
    const reply = !this.old ? encode(`:${killed}\r\n`) : killed > 0 ? OK : NO_SUCH_CLIENT;
    // As redis-server: its own reply it still gets, and nothing that it has sent behind.
    this.walk!.finish(reply);
    if (this.endsSelf) client.closeAfterReplies();
  }
}
