/**
 * Several threads that carry traffic, and the main thread that looks after them.
 *
 *   main: configuration, statistics port, signals, log ──orders──► worker 0, 1, …: a Proxy each, on the same TCP ports
 *                                                      ◄─reports──
 *
 * The kernel deals new connections out among the listeners (SO_REUSEPORT). What is counted, and who probes an ejected
 * server, stands on the board (stats/board.ts) in memory shared by all; messages only say "look". A worker that throws is
 * buried and replaced, after a wait that grows if it keeps dying; its replacement counts on where it has stopped.
 *
 * Each worker is this program again (`isMainThread` in main.ts), since that works on Deno, on Bun and in the compiled
 * executable, which has one entry point (runtime/threads.ts). An error that ends a thread has no stack on Deno, so a worker
 * reports its own.
 */
import type { Config, PoolConfig } from "../config/config.ts";
import { type EventsSeen, NO_EVENTS } from "../topology/events.ts";
import type { ServerState, Sign } from "../topology/state.ts";
import type { ConfigChange, Stamp } from "../topology/change.ts";
import { ALERT, INFO, type Log, NOTICE } from "../net/log.ts";
import type { Address, Clock, Net, TimerId } from "../net/net.ts";
import { makeBoard } from "./ceilings.ts";
import type { ClientAnswer, ClientQuestion } from "../proxy/client_question.ts";
import { type ArgumentOf, GATHER_MAX_MS, type Gathered, type QuestionKind } from "./questions.ts";
import { isInherited } from "../runtime/heirloom.ts";
import { startThread, type Thread } from "../runtime/threads.ts";
import { StatsPort } from "./stats_port.ts";
import type { Board, BoardMemory, PoolMemory } from "../stats/board.ts";
import type { ProcessStats } from "../stats/document.ts";
import { sumStats } from "../stats/sum.ts";
import { VERSION } from "../stats/version.ts";

/** What a worker is given at its start. */
export interface Appointment {
  /** From 0. */
  readonly worker: number;
  readonly config: Config;
  readonly board: BoardMemory;
  readonly stamp: Stamp;
  /** Where servers are, by pool, as far as a keeper has said. */
  readonly states: ReadonlyMap<string, readonly ServerState[]>;
  readonly events: EventsSeen;
  /** When the process started, ms since the epoch. */
  readonly startedAtMs: number;
}

/** What the main thread says to a worker. */
export type Order =
  | { readonly kind: "listen" }
  | { readonly kind: "measure"; readonly id: number }
  | {
    readonly kind: "gather";
    readonly id: number;
    readonly question: QuestionKind;
    readonly argument: unknown;
  }
  | { readonly kind: "servers"; readonly pool: number }
  | { readonly kind: "know"; readonly pool: number; readonly words: readonly string[] }
  | { readonly kind: "follow"; readonly pool: string; readonly states: readonly ServerState[] }
  | { readonly kind: "events"; readonly seen: EventsSeen }
  | {
    readonly kind: "asked";
    readonly id: number;
    readonly from: number;
    readonly pool: number;
    readonly question: ClientQuestion;
  }
  | { readonly kind: "told"; readonly id: number; readonly answer: ClientAnswer | null }
  | {
    readonly kind: "prepare";
    readonly id: number;
    readonly config: Config;
    readonly memory: readonly PoolMemory[];
    readonly stamp: Stamp;
  }
  | { readonly kind: "commit"; readonly id: number }
  | { readonly kind: "abandon" }
  | { readonly kind: "drain"; readonly timeoutMs: number }
  | { readonly kind: "stop" };

/** What a worker says to the main thread. `ended` answers drain and stop. */
export type Report =
  | { readonly kind: "ready" }
  | { readonly kind: "listening" }
  | { readonly kind: "failed"; readonly message: string }
  | { readonly kind: "log"; readonly level: number; readonly text: string }
  | { readonly kind: "measured"; readonly id: number }
  /** @param text JSON; "" = it has no answer */
  | { readonly kind: "gathered"; readonly id: number; readonly text: string }
  | { readonly kind: "servers"; readonly pool: number }
  | { readonly kind: "know"; readonly pool: number; readonly words: readonly string[] }
  | {
    readonly kind: "sign";
    readonly pool: number;
    readonly server: string;
    readonly sign: Sign;
    readonly cause: string;
  }
  | {
    readonly kind: "ask";
    readonly id: number;
    readonly to: number;
    readonly pool: number;
    readonly question: ClientQuestion;
  }
  | { readonly kind: "told"; readonly id: number; readonly to: number; readonly answer: ClientAnswer | null }
  /** @param refused why it cannot be; null = it waits for the commit */
  | { readonly kind: "prepared"; readonly id: number; readonly refused: string | null }
  | { readonly kind: "committed"; readonly id: number }
  | { readonly kind: "ended"; readonly cutOff: number }
  | { readonly kind: "died"; readonly stack: string };

export interface WorkersOptions {
  readonly config: Config;
  /** ≥ 1 */
  readonly count: number;
  /** URL of the program's own module. */
  readonly program: string;
  readonly net: Net;
  readonly clock: Clock;
  readonly log: Log;
  readonly hostName: string;
  /** Who looks after where servers are; absent: they stay where the configuration says. */
  readonly director?: WorkersDirector;
}

/** What workers ask of the Director, which is told what they have seen. */
export interface WorkersDirector {
  readonly events: { readonly seen: EventsSeen };
  /** By pool. */
  states(): ReadonlyMap<string, readonly ServerState[]>;
  sign(pool: string, server: string, sign: Sign, cause: string): void;
}

/** Wait before a worker that died is replaced; doubles while it does not live LIVED_WELL_MS. */
const REPLACE_FIRST_MS = 50;
const REPLACE_MAX_MS = 5000;
const LIVED_WELL_MS = 60_000;
/** A worker that is too busy to measure its queues in this time is counted with what it said last. */
const MEASURE_MAX_MS = 1000;
/** A worker that is too busy to prepare a reload, or to commit it, in this time. */
const PREPARE_MAX_MS = 10_000;
/** After shutdown_timeout, and after the order to stop at once. */
const STOP_MAX_MS = 500;
/** On this machine a listener answers at once, unless a firewall is silent. */
const ANSWER_MAX_MS = 500;

const LISTEN: Order = { kind: "listen" };

/** Why they do not listen, if they were to stop before they did. */
const STOPPED = "stopped before it was ready";

/** One worker's place, whoever fills it. */
interface Post {
  readonly index: number;
  thread: Thread | null;
  /** It waits for the order to listen. */
  ready: boolean;
  listening: boolean;
  /** Why it is about to end, in its own words. */
  lastWords: string;
  startedAtMs: number;
  replaceMs: number;
  replaceTimer: TimerId | null;
  /** It has answered drain or stop. */
  ended: boolean;
  cutOff: number;
  /** Questions of other workers that it has not answered. */
  asked: { readonly id: number; readonly from: Post }[];
}

export class Workers {
  readonly board: Board;
  /** As it is now; a reload replaces it. */
  config: Config;
  private stamp: Stamp;
  private readonly posts: Post[] = [];
  private readonly startedAtMs: number;
  private statsServer: StatsPort | null = null;
  private starting = true;
  private stopping = false;
  private lastId = 0;
  /** The reload that is under way: what workers have said of it ("" = ready), and who has committed it. */
  private change: {
    readonly id: number;
    readonly answers: Map<Post, string>;
    readonly committed: Set<Post>;
  } | null = null;
  /** Those who wait for something to happen to a worker; each looks again whenever something has. */
  private readonly watchers = new Set<() => void>();
  /** By id of a measurement: the workers that have not answered. */
  private readonly unmeasured = new Map<number, Set<Post>>();
  /** By id of a question to all: who has not answered, and what the others have. */
  private readonly gathering = new Map<
    number,
    { readonly waiting: Set<Post>; readonly texts: Map<Post, string> }
  >();

  constructor(private readonly options: WorkersOptions) {
    this.config = options.config;
    this.board = makeBoard(options.config, options.count);
    this.board.logLevel = options.log.level;
    this.startedAtMs = options.clock.wallMs();
    this.stamp = { epoch: 0, cause: "start", atMs: this.startedAtMs };
    for (let index = 0; index < options.count; index++) {
      this.posts.push({
        index,
        thread: null,
        ready: false,
        listening: false,
        lastWords: "",
        startedAtMs: 0,
        replaceMs: REPLACE_FIRST_MS,
        replaceTimer: null,
        ended: false,
        cutOff: 0,
        asked: [],
      });
    }
  }

  /** Starts listening, statistics first. Resolves when all workers listen; rejects with the first reason why one does not. */
  async listen(statsAddress: Address | null): Promise<void> {
    const { net, log } = this.options;
    if (statsAddress !== null) {
      this.statsServer = await StatsPort.listen(net, statsAddress, () => this.stats());
    }
    await this.refuseSharedPorts(this.config.pools);
    if (this.stopping) throw new Error(STOPPED);
    for (const post of this.posts) this.start(post);
    await this.untilAll((post) => post.ready);
    // All together, so that the first clients do not all come to the worker that was made first.
    for (const post of this.posts) post.thread!.post(LISTEN);
    await this.untilAll((post) => post.listening);
    this.starting = false;
    log.write(NOTICE, `${this.posts.length} workers are listening`);
  }

  /** Rejects if a worker that is starting ends, or all are to. */
  private untilAll(met: (post: Post) => boolean): Promise<void> {
    return this.until(() => {
      if (this.stopping) throw new Error(STOPPED);
      const failed = this.posts.find((post) => post.lastWords !== "" || post.thread === null);
      if (failed !== undefined) throw new Error(failed.lastWords || `worker ${failed.index} has ended`);
      return this.posts.every(met);
    }, Infinity);
  }

  /**
   * With SO_REUSEPORT a second Ringmaster on the same port would not be refused, but be given half of the clients: nobody
   * may answer there yet. (To listen there for a moment without it would be surer, but lose clients that come just then.)
   */
  private async refuseSharedPorts(pools: readonly PoolConfig[]): Promise<void> {
    for (const { listen, listenText, reusePort } of pools) {
      if ("path" in listen || reusePort || isInherited(listen)) continue;
      if (await this.answers(listen)) throw new Error(`listen ${listenText}: Address already in use`);
    }
  }

  private answers(address: Address): Promise<boolean> {
    const { clock, net } = this.options;
    return new Promise((resolve) => {
      const socket = net.connect(address, {
        open: () => settle(true),
        data: () => {},
        eof: () => {},
        drain: () => {},
        close: () => settle(false),
      }, null);
      const timer = clock.setTimer(ANSWER_MAX_MS, () => settle(false));
      const settle = (answered: boolean) => {
        clock.clearTimer(timer);
        socket.destroy();
        resolve(answered);
      };
    });
  }

  get statsPort(): number {
    return this.statsServer?.port ?? 0;
  }

  /** The log has another level: workers do not even send what it would drop. */
  levelChanged(): void {
    this.board.logLevel = this.options.log.level;
  }

  // ---- one worker

  private start(post: Post): void {
    const { clock, program } = this.options;
    const { config } = this;
    const appointment: Appointment = {
      worker: post.index,
      config,
      board: this.board.memory,
      stamp: this.stamp,
      states: this.options.director?.states() ?? new Map(),
      events: this.options.director?.events.seen ?? NO_EVENTS,
      startedAtMs: this.startedAtMs,
    };
    const thread = post.thread = startThread(program, appointment, {
      message: (report) => this.heard(post, report as Report),
      failed: (error) => post.lastWords ||= (error as Error | null)?.stack ?? String(error),
      ended: () => this.exited(post, thread),
    });
    post.ready = post.listening = false;
    post.lastWords = "";
    post.startedAtMs = clock.nowMs();
  }

  private heard(post: Post, report: Report): void {
    switch (report.kind) {
      case "log":
        return this.options.log.write(report.level, `w${post.index} ${report.text}`);
      case "servers":
      case "know":
        for (const other of this.posts) if (other !== post) this.tell(other, report);
        return;
      case "sign":
        return this.sign(report);
      case "ask":
        return this.passOn(post, report);
      case "told": {
        const from = this.posts[report.to]!;
        const at = post.asked.findIndex((one) => one.id === report.id && one.from === from);
        if (at < 0) return;
        post.asked.splice(at, 1);
        return this.tell(from, { kind: "told", id: report.id, answer: report.answer });
      }
      case "ready":
        post.ready = true;
        if (!this.starting) post.thread?.post(LISTEN);
        break;
      case "listening":
        post.listening = true;
        // What has changed since it looked at the board.
        for (const { id } of this.board.pools) this.tell(post, { kind: "servers", pool: id });
        this.tellAll(post);
        break;
      case "failed":
        post.lastWords = report.message;
        if (!this.starting) post.thread?.end();
        break;
      case "died":
        post.lastWords = report.stack;
        break;
      case "prepared":
        if (report.id === this.change?.id) this.change.answers.set(post, report.refused ?? "");
        break;
      case "committed":
        if (report.id === this.change?.id) this.change.committed.add(post);
        break;
      case "measured":
        this.unmeasured.get(report.id)?.delete(post);
        break;
      case "gathered": {
        const asked = this.gathering.get(report.id);
        if (asked?.waiting.delete(post)) asked.texts.set(post, report.text);
        break;
      }
      case "ended":
        post.ended = true;
        post.cutOff = report.cutOff;
        break;
    }
    this.lookAgain();
  }

  private sign({ pool, server, sign, cause }: Report & { kind: "sign" }): void {
    const at = this.board.pools.findIndex(({ id }) => id === pool);
    const config = this.config.pools[at];
    if (config !== undefined) this.options.director?.sign(config.name, server, sign, cause);
  }

  private tell(post: Post, order: Order): void {
    if (post.listening) post.thread?.post(order);
  }

  /** A question for another worker. */
  private passOn(from: Post, { id, to, pool, question }: Report & { kind: "ask" }): void {
    const post = this.posts[to];
    if (post === undefined || !post.listening) return this.tell(from, { kind: "told", id, answer: null });
    post.asked.push({ id, from });
    this.tell(post, { kind: "asked", id, from: from.index, pool, question });
  }

  /** It has ended: nobody waits for its answers, and it waits for none. */
  private forgetQuestions(post: Post): void {
    const { asked } = post;
    post.asked = [];
    for (const { id, from } of asked) if (from !== post) this.tell(from, { kind: "told", id, answer: null });
    for (const other of this.posts) other.asked = other.asked.filter(({ from }) => from !== post);
  }

  private exited(post: Post, thread: Thread): void {
    if (post.thread !== thread) return;
    const { clock, log } = this.options;
    post.thread = null;
    post.ready = post.listening = false;
    for (const waiting of this.unmeasured.values()) waiting.delete(post);
    for (const { waiting } of this.gathering.values()) waiting.delete(post);
    this.forgetQuestions(post);
    if (this.stopping) {
      if (post.lastWords !== "") log.write(ALERT, `w${post.index} died: ${post.lastWords}`);
    } else if (!this.starting) {
      if (clock.nowMs() - post.startedAtMs >= LIVED_WELL_MS) post.replaceMs = REPLACE_FIRST_MS;
      const clients = this.clientsOf(post);
      this.board.bury(post.index);
      this.bequeathProbes(post);
      const why = post.lastWords || "it gave no reason";
      log.write(ALERT, `w${post.index} died, ${clients} clients lost: ${why}`);
      log.write(NOTICE, `w${post.index} will be replaced in ${post.replaceMs} ms`);
      post.replaceTimer = clock.setTimer(post.replaceMs, () => {
        post.replaceTimer = null;
        this.start(post);
      });
      post.replaceMs = Math.min(post.replaceMs * 2, REPLACE_MAX_MS);
    }
    this.lookAgain();
  }

  /** Another worker probes what this one did; if there is none, the replacement will find it on the board. */
  private bequeathProbes(post: Post): void {
    const heir = this.posts.find((other) => other.listening);
    if (heir === undefined) return;
    this.board.pools.forEach((pool) => {
      if (!pool.inherit(post.index, heir.index)) return;
      this.options.log.write(INFO, `w${heir.index} takes over the probes of w${post.index}`);
      this.tell(heir, { kind: "servers", pool: pool.id });
    });
  }

  private clientsOf(post: Post): number {
    return this.board.clientsOf(post.index);
  }

  // ---- another configuration

  /**
   * Goes on under another configuration: all workers prepare it, then all commit it. Rejects, with nothing changed, if one
   * of them cannot. One that starts or dies meanwhile begins anew with what is in force.
   */
  async reload({ after, arrangement }: ConfigChange, stamp: Stamp): Promise<void> {
    if (this.starting || this.stopping) throw new Error("the workers are starting or stopping");
    const present = new Set(this.config.pools.map((pool) => pool.listenText));
    await this.refuseSharedPorts(after.pools.filter((pool) => !present.has(pool.listenText)));
    const id = ++this.lastId;
    const memory = this.board.arrange(arrangement);
    const change = this.change = { id, answers: new Map<Post, string>(), committed: new Set<Post>() };
    const asked = new Map(this.posts.filter((post) => post.listening).map((post) => [post, post.thread]));
    const isThere = (post: Post) => post.thread !== null && post.thread === asked.get(post);
    for (const post of asked.keys()) this.tell(post, { kind: "prepare", id, config: after, memory, stamp });
    const waiting = () => [...asked.keys()].filter((post) => isThere(post) && !change.answers.has(post));
    await this.until(() => waiting().length === 0, PREPARE_MAX_MS);
    const silent = waiting();
    const refused = [...change.answers.values()].find((text) => text !== "") ??
      (silent.length > 0 ? `worker ${silent[0]!.index} does not answer` : null);
    if (refused !== null || this.stopping) {
      for (const post of asked.keys()) if (isThere(post)) this.tell(post, { kind: "abandon" });
      this.change = null;
      throw new Error(refused ?? "the workers are stopping");
    }
    this.board.adopt(memory);
    this.config = after;
    this.stamp = stamp;
    for (const post of this.posts) {
      if (isThere(post)) this.tell(post, { kind: "commit", id });
      else if (post.thread !== null) {
        post.lastWords = "it was starting with the configuration before";
        post.thread.end();
      }
    }
    const missing = () => [...asked.keys()].some((post) => isThere(post) && !change.committed.has(post));
    await this.until(() => !missing(), PREPARE_MAX_MS);
    this.change = null;
  }

  /** An operator has taken servers of a pool off the ring, or brought them back: all look at the board. */
  serversChanged(pool: number): void {
    for (const post of this.posts) this.tell(post, { kind: "servers", pool });
  }

  // ---- where servers are

  /** As Proxy.follow, on all workers. One that is starting has begun with less, and is told when it listens. */
  follow(pool: string, states: readonly ServerState[]): void {
    for (const post of this.posts) this.tell(post, { kind: "follow", pool, states });
  }

  /** As Proxy.grant: it stands on the board. */
  grant(pool: string, server: string, ms: number): void {
    const at = this.config.pools.findIndex(({ name }) => name === pool);
    const place = this.config.pools[at]?.servers.findIndex(({ name }) => name === server) ?? -1;
    this.board.pools[at]?.servers[place]?.grant(ms);
  }

  tellEvents(seen: EventsSeen): void {
    for (const post of this.posts) this.tell(post, { kind: "events", seen });
  }

  /** What has been said while it started. */
  private tellAll(post: Post): void {
    const { director } = this.options;
    if (director === undefined) return;
    for (const [pool, states] of director.states()) this.tell(post, { kind: "follow", pool, states });
    this.tell(post, { kind: "events", seen: director.events.seen });
  }

  // ---- statistics

  /** Of the whole process: all counters to this moment, those of dead workers included. */
  async stats(): Promise<ProcessStats> {
    const { clock, hostName } = this.options;
    const id = ++this.lastId;
    const waiting = new Set(this.posts.filter((post) => post.listening));
    this.unmeasured.set(id, waiting);
    for (const post of waiting) this.tell(post, { kind: "measure", id });
    await this.until(() => waiting.size === 0, MEASURE_MAX_MS);
    this.unmeasured.delete(id);
    const wallMs = clock.wallMs();
    const head = {
      source: hostName,
      version: VERSION,
      uptimeSeconds: Math.floor((wallMs - this.startedAtMs) / 1000),
      timestampSeconds: Math.floor(wallMs / 1000),
    };
    return sumStats(head, this.config.pools, this.board);
  }

  /** See questions.ts. A worker that dies meanwhile, or takes too long, is left out. */
  async gather<K extends QuestionKind>(kind: K, argument: ArgumentOf<K>): Promise<readonly Gathered<K>[]> {
    const id = ++this.lastId;
    const waiting = new Set(this.posts.filter((post) => post.listening));
    const texts = new Map<Post, string>();
    this.gathering.set(id, { waiting, texts });
    for (const post of waiting) this.tell(post, { kind: "gather", id, question: kind, argument });
    await this.until(() => waiting.size === 0, GATHER_MAX_MS);
    this.gathering.delete(id);
    return this.posts.flatMap((post) => {
      const text = texts.get(post) ?? "";
      return text === "" ? [] : [{ worker: post.index, answer: JSON.parse(text) }];
    });
  }

  // ---- the end

  /**
   * Stops gracefully, as Proxy.drain does, all workers at once.
   * @returns how many clients were cut off with replies owed to them
   */
  async drain(timeoutMs: number): Promise<number> {
    this.stopping = true;
    this.give({ kind: "drain", timeoutMs });
    await this.until(() => this.allEnded(), timeoutMs + STOP_MAX_MS);
    let cutOff = 0;
    for (const post of this.posts) {
      // One that does not even answer is as good as dead.
      const silent = post.thread !== null && !post.ended;
      cutOff += silent ? this.clientsOf(post) : post.cutOff;
      if (silent) this.options.log.write(ALERT, `w${post.index} does not stop by itself`);
    }
    this.end();
    return cutOff;
  }

  /** Closes everything at once. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.give({ kind: "stop" });
    await this.until(() => this.allEnded(), STOP_MAX_MS);
    this.end();
  }

  /** Workers that do not listen yet have nothing to finish. */
  private give(order: Order): void {
    for (const post of this.posts) {
      post.ended = false;
      if (post.replaceTimer !== null) this.options.clock.clearTimer(post.replaceTimer);
      post.replaceTimer = null;
      if (post.listening) this.tell(post, order);
      else this.terminate(post);
    }
    // Whoever waits for them to start waits in vain.
    this.lookAgain();
  }

  private allEnded(): boolean {
    return this.posts.every((post) => post.thread === null || post.ended);
  }

  private end(): void {
    this.statsServer?.close();
    for (const post of this.posts) this.terminate(post);
  }

  private terminate(post: Post): void {
    const { thread } = post;
    post.thread = null;
    thread?.end();
  }

  // ---- waiting

  /** Resolves when `met` says so, asked whenever something has happened to a worker; or after `timeoutMs`. */
  private until(met: () => boolean, timeoutMs: number): Promise<void> {
    const { clock } = this.options;
    return new Promise((resolve, reject) => {
      let timer: TimerId | null = null;
      const leave = () => {
        this.watchers.delete(look);
        if (timer !== null) clock.clearTimer(timer);
      };
      const look = () => {
        try {
          if (!met()) return;
          leave();
          resolve();
        } catch (error) {
          leave();
          reject(error);
        }
      };
      this.watchers.add(look);
      if (timeoutMs < Infinity) {
        timer = clock.setTimer(timeoutMs, () => {
          leave();
          resolve();
        });
      }
      look();
    });
  }

  private lookAgain(): void {
    for (const look of [...this.watchers]) look();
  }
}
