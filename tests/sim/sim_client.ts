/**
 * A client of the simulated world: sends what its workload says, in its own manner, and checks every reply.
 *
 *   workload ──► batches (whole, cut, pipelined) ──► proxy ──► replies ──► ExpectQueue: the true one, or a violation
 */
import type { Address, Handler, NetError, Socket } from "../../src/net/net.ts";
import { Inbox } from "../../src/bytes/inbox.ts";
import { latin1, textOf } from "../lib/bytes.ts";
import { replyEnd, ReplyProgress } from "../lib/resp.ts";
import type { SimClock } from "./clock.ts";
import { ExpectQueue, type Judge } from "./expect.ts";
import type { SimNet, SimSocket } from "./net.ts";
import type { Random } from "./random.ts";
import type { Step } from "./step.ts";
import { Violation } from "./truth.ts";

export interface Workload {
  hello(): Step;
  next(): Step;
  epilogue(): Step;
  goodbye(): Step;
  /** It may wait on a server for as long as that likes: after a FIN it would not be told. */
  readonly blocks: boolean;
  /** Offset past the reply at `start`, or -1; absent: its pool's usual protocol. */
  replyEnd?(bytes: Uint8Array, start: number, end: number): number;
  /** A reply as the judge knows it. */
  asLine?(reply: string): string;
  /** True if what was read is a message of a subscription, and right. */
  message?(text: string): boolean;
}

/** How a client behaves. */
export interface Manners {
  readonly requests: number;
  readonly batchMax: number;
  /** Waits for all replies before it goes on. */
  readonly patient: boolean;
  readonly thinkMaxMs: number;
  /** Reads nothing for a while, now and then. */
  readonly lazy: number;
  /** Goes away without a word, at some batch. */
  readonly vanish: number;
  /** Sends a batch in two parts with a pause between them. */
  readonly cut: number;
  /** Its last word: QUIT or rubbish, FIN, a reset, or nothing. */
  readonly leave: "goodbye" | "half" | "destroy" | "stay";
}

export class SimClient implements Handler {
  readonly expects = new ExpectQueue();
  socket: SimSocket | null = null;
  closed = false;
  /** Its connection may end at any time without that being a fault of the proxy's. */
  excused = false;
  /** It has sent all it will send. */
  done = false;
  /** Requests sent that count in requests_total. */
  counted = 0;
  /** Errors of the proxy's that it has read. */
  failures = 0;
  opened = false;
  /** When it began to connect. */
  cameAtMs = 0;
  /** If there are any, it says these and nothing else. */
  says: readonly Step[] = [];
  /** Some of its requests may have been left unanswered. */
  clean = true;
  /** Bytes of all requests so far, those included that are still to be sent. */
  saidBytes = 0;
  /** Of those that its workload has made and that are not among them yet. */
  private madeBytes = 0;
  /** Each request or group of requests: where it ends among those bytes, and how many of it are counted. */
  private readonly marks: { readonly end: number; readonly requests: number; readonly counted: number }[] =
    [];
  private sentLast = false;
  private lastRead = false;
  private dismissed = false;
  private readonly inbox = new Inbox();
  private progress = new ReplyProgress();
  private left: number;
  private rest: string | null = null;
  private reading = true;

  constructor(
    readonly id: number,
    private readonly redis: boolean,
    readonly manners: Manners,
    readonly workload: Workload,
    private readonly judge: Judge,
    private readonly net: SimNet,
    private readonly clock: SimClock,
    private readonly random: Random,
    private readonly onOver: (client: SimClient) => void,
  ) {
    this.left = manners.requests;
  }

  connect(address: Address): void {
    this.cameAtMs = this.clock.nowMs();
    this.socket = this.net.connect(address, this, this);
  }

  /** Nothing more is to come from it, and nothing is owed to it. */
  get quiet(): boolean {
    return this.closed || this.done && this.expects.settled;
  }

  /** Reads on and finishes soon: the world has become well. */
  hurry(): void {
    this.left = Math.min(this.left, 3);
    if (!this.reading) this.read();
  }

  /** Bytes of all requests before the one that its workload makes next. */
  get bytesBefore(): number {
    return this.saidBytes + this.madeBytes;
  }

  /** Bytes of all requests that the proxy has read. */
  get readByProxy(): number {
    return this.socket?.other?.givenBytes ?? 0;
  }

  private readonly lineOf = (reply: string) => this.workload.asLine?.(reply) ?? reply;

  private note(what: string): void {
    this.net.log.add(this.clock.nowMs(), `C${this.id}`, what);
  }

  fail(what: string): never {
    throw new Violation(`client ${this.id}: ${what}`);
  }

  // ---- sending

  open(): void {
    this.opened = true;
    this.submit(this.workload.hello());
    if (this.says.length > 0 && !this.sentLast) {
      for (const step of this.says) if (!this.sentLast) this.submit(step);
      this.done = true;
    } else this.later();
  }

  /** Its time is over. */
  dismiss(): void {
    this.excused = this.done = this.dismissed = true;
    this.socket!.destroy();
  }

  private later(): void {
    this.clock.setTimer(this.random.next() * this.manners.thinkMaxMs, () => this.go());
  }

  private go(): void {
    if (this.closed || this.sentLast || this.done) return;
    if (this.rest !== null) return this.later();
    if (this.left <= 0) return this.leave();
    const count = Math.min(this.left, this.random.magnitude(1, this.manners.batchMax));
    const steps: Step[] = [];
    for (let i = 0; i < count && !this.sentLast; i++) {
      const step = this.workload.next();
      this.madeBytes += step.bytes.length;
      steps.push(step);
      if (step.last) break;
    }
    this.left -= count;
    this.madeBytes = 0;
    const vanishes = this.random.chance(this.manners.vanish);
    this.submit(joined(steps), vanishes, steps);
    if (vanishes) {
      this.note("vanishes");
      this.excused = true;
      this.clean = false;
      this.done = true;
      this.clock.setTimer(this.random.next() * 5, () => this.socket!.destroy());
      return;
    }
    if (this.random.chance(this.manners.lazy)) this.doze();
    if (!this.manners.patient || this.expects.settled) this.later();
  }

  /** @param steps what `step` was joined from */
  submit(step: Step, mayStop = false, steps: readonly Step[] = [step]): void {
    if (step.bytes === "") return;
    const before = this.saidBytes;
    for (const { bytes, expects } of steps) {
      const counted = expects.filter((expect) => expect.counted).length;
      this.marks.push({ end: this.saidBytes += bytes.length, requests: expects.length, counted });
    }
    for (const expect of step.expects) {
      this.expects.push(this.judge.limited?.(expect, this.id, before, this.lineOf) ?? expect);
      if (expect.unsure === true) {
        this.clean = false;
        // Its connection may end without a word.
        if (expect.maybeSilent()) this.excused = true;
      }
      if (expect.counted) this.counted++;
      this.note(`> ${expect.shown}`);
    }
    if (step.last) this.sentLast = this.done = true;
    const bytes = step.bytes;
    if (bytes.length > 1 && this.random.chance(this.manners.cut)) {
      const at = this.random.int(1, bytes.length - 1);
      this.rest = bytes.slice(at);
      this.send(bytes.slice(0, at));
      if (mayStop) return;
      this.clock.setTimer(this.random.next() * 50, () => {
        const rest = this.rest!;
        this.rest = null;
        this.send(rest);
        if (this.done && !this.sentLast) this.finish();
        else if (this.manners.patient && this.expects.settled) this.later();
      });
    } else this.send(bytes);
  }

  private send(text: string): void {
    if (this.closed) return;
    const bytes = latin1(text);
    this.socket!.send(bytes, 0, bytes.length);
    this.socket!.flush();
  }

  private leave(): void {
    this.done = true;
    const { leave } = this.manners;
    if (leave === "goodbye") this.submit(this.workload.goodbye());
    else this.finish();
  }

  private finish(): void {
    const { leave } = this.manners;
    if (leave === "half" && !this.workload.blocks) {
      this.note("half closes");
      this.socket!.halfClose();
    } else if (leave === "destroy") {
      this.excused = true;
      this.clean = false;
      this.socket!.destroy();
    }
  }

  private doze(): void {
    if (!this.reading) return;
    this.reading = false;
    this.socket!.pause();
    this.clock.setTimer(this.random.magnitude(1, 3000), () => this.read());
  }

  private read(): void {
    this.reading = true;
    if (!this.closed) this.socket!.resume();
  }

  // ---- receiving

  data(_socket: Socket, bytes: Uint8Array): void {
    const { inbox } = this;
    inbox.append(bytes, 0, bytes.length);
    while (inbox.size > 0 && !this.dismissed) {
      const end = this.workload.replyEnd !== undefined
        ? this.workload.replyEnd(inbox.bytes, inbox.start, inbox.end)
        : this.redis
        ? replyEnd(inbox.bytes, inbox.start, inbox.end, this.progress)
        : memcachedEnd(inbox.bytes, inbox.start, inbox.end, this.progress);
      if (end < 0) break;
      this.progress = new ReplyProgress();
      const reply = textOf(inbox.bytes, inbox.start, end);
      inbox.consumeTo(end);
      this.take(reply);
    }
    const { patient } = this.manners;
    if (patient && this.expects.settled && this.opened && !this.done) this.later();
  }

  private take(reply: string): void {
    const shown = reply.length > 60 ? `${reply.slice(0, 60)}…` : reply;
    this.note(`< ${JSON.stringify(shown)}`);
    if (this.workload.message?.(reply)) return;
    const head = this.expects.head;
    const found = this.expects.take(reply);
    if (found === null) {
      if (this.judge.isRefusal(reply)) {
        this.excused = true;
        this.clean = false;
        return;
      }
      this.fail(`got ${JSON.stringify(shown)} for ${head}`);
    }
    if (this.judge.isFailure(this.lineOf(reply))) this.failures++;
    if (found.gives?.(reply) === true) {
      this.clean = false;
      return this.dismiss();
    }
    if (!found.last) return;
    this.lastRead = true;
    // It did not know, and has sent on.
    if (found.unsure === true) this.excused = this.sentLast = this.done = true;
  }

  eof(socket: Socket): void {
    this.over("FIN");
    socket.end();
  }

  drain(): void {}

  close(_socket: Socket, error: NetError | null): void {
    this.over(error?.code ?? "close");
    // What it sent last may not have arrived.
    if (error !== null) this.clean = false;
    else this.takeBackUnread();
    this.closed = this.done = true;
    this.onOver(this);
  }

  /**
   * The proxy has ended the connection (idle_timeout), and what crossed its end it has not read: a quit or a noreply, which
   * nobody waits for, is then a request that there never was.
   */
  private takeBackUnread(): void {
    const given = this.readByProxy;
    for (let i = this.marks.length - 1; i >= 0 && this.marks[i]!.end > given; i--) {
      const { requests, counted } = this.marks[i]!;
      const before = i === 0 ? 0 : this.marks[i - 1]!.end;
      // Of a group in pieces nobody knows how many requests are whole.
      if (requests > 1 && before < given) this.clean = false;
      this.counted -= counted;
    }
  }

  /** The connection ends: was it time? */
  private over(how: string): void {
    if (this.closed) return;
    if (!this.expects.settled) {
      this.clean = false;
      if (this.inbox.size > 0 && !this.excused && how === "FIN" && !this.judge.mayCut(this)) {
        this.fail(`${how} in the middle of a reply to ${this.expects.head}`);
      }
      if (!this.excused && !this.judge.mayCut(this)) {
        this.fail(`${how} although it is owed ${this.expects.waiting} replies, next ${this.expects.head}`);
      }
      return;
    }
    if (this.inbox.size > 0 && how === "FIN") this.fail(`${how} behind half a reply`);
    const asked = this.sentLast || this.lastRead || this.excused ||
      this.manners.leave === "half" && this.done;
    if (!asked && !this.judge.mayCut(this)) this.fail(`${how} although it did not ask for it`);
  }
}

function joined(steps: readonly Step[]): Step {
  return {
    bytes: steps.map((step) => step.bytes).join(""),
    expects: steps.flatMap((step) => step.expects),
    last: steps.some((step) => step.last),
  };
}

/** Offset past the memcached reply at `start`, or -1; with the same `progress` it goes on where it was. */
function memcachedEnd(bytes: Uint8Array, start: number, end: number, progress: ReplyProgress): number {
  for (;;) {
    // A data block that is not all here.
    if (start + progress.at > end) return -1;
    if (progress.left === 0) return start + progress.at;
    const line = bytes.indexOf(10, start + Math.max(progress.at, progress.searched));
    if (line < 0 || line >= end) {
      progress.searched = end - start;
      return -1;
    }
    const words = textOf(bytes, start + progress.at, line - 1).split(" ");
    progress.at = line + 1 - start;
    if (words[0] === "VALUE") progress.at += Number(words[3]) + 2;
    else if (words[0] !== "STAT") {
      progress.left = 0;
      if (words[0] === "VA") progress.at += Number(words[1]) + 2;
    }
  }
}
