/**
 * One connection of the main thread to a Redis server or a sentinel: questions, their answers, and what it publishes.
 *
 *   dial ──► AUTH, HELLO 3 (if wanted) ──► questions that waited ──► answers in their order
 *                                     └──► SUBSCRIBE ──► messages, from then on
 *
 * Callbacks and no promises, since the simulator takes its turns without a pause. Whatever goes wrong ends the link: a question without
 * an answer in time, an answer without a question, garbage, more bytes than any answer has. An error reply is an answer like any
 * other: nothing is asked twice, and nothing that a server does not know (QUIT, CLIENT SETINFO) is said. Nobody dials again
 * here: that is for whoever owns the link.
 */
import { latin1 } from "../bytes/ascii.ts";
import { Inbox } from "../bytes/inbox.ts";
import type { PoolConfig } from "../config/config.ts";
import type { Address, Clock, Handler, Net, NetError, Socket, TimerId } from "../net/net.ts";
import { commandOf, type Word } from "../protocol/redis/encode.ts";
import { isPush, NEED_MORE, ReplyResume, scanReply } from "../protocol/redis/reply.ts";
import { readValue, ReplyError, type Value } from "../protocol/redis/value.ts";

/** No answer comes any more; `why` is for people: "nobody answers within 1000 ms". */
export class LinkLost {
  constructor(readonly why: string) {}
}

/** What has been answered (an error reply is a ReplyError), or that nothing will be. */
export type Answer = Value | LinkLost;

export interface LinkOptions {
  readonly net: Net;
  readonly clock: Clock;
  readonly address: Address;
  /** null: no AUTH. */
  readonly auth: { readonly user: string | null; readonly password: string } | null;
  /** Ask for RESP3, so that questions can be asked beside a subscription; a server that knows none is spoken to in RESP2. */
  readonly resp3: boolean;
  /** From the dial until the server has answered its greetings, ms. */
  readonly connectMs: number;
  /** From a question until its answer, ms; counts from when it is asked, connected or not. */
  readonly answerMs: number;
  /** That is selected; absent, or 0: none is. */
  readonly database?: number;
  /** The largest answer, in bytes; absent: ANSWER_SIZE_MAX. */
  readonly answerSizeMax?: number;
  /** Called with how many bytes have come. */
  readonly received?: (bytes: number) => void;
  /** Called once, when the server has answered its greetings. */
  readonly begun?: () => void;
  /**
   * Called once, after all questions under way have been told; not if the owner closes it. `why` is for people; `ended`: the other side
   * has closed what was in use.
   */
  readonly lost: (why: string, ended: boolean) => void;
}

interface Question {
  readonly words: readonly Word[];
  /** null: nobody needs to know. */
  readonly told: ((answer: Answer) => void) | null;
  /** A SUBSCRIBE: so many confirmations are still to come; 0 for any other question. */
  confirmations: number;
  /** null: it has none of its own. */
  readonly deadline: TimerId | null;
}

/** The largest answer, in bytes. INFO has some 20 KB, the sentinels of a large set 100. */
const ANSWER_SIZE_MAX = 1024 * 1024;
/** Questions under way at a time. */
const QUESTIONS_MAX = 10_000;

/** Of AUTH for whoever has no password: old and new servers' words. Then it needs none. */
const NEEDS_NO_PASSWORD = /no password is set|without any password configured/;

const CONNECTING = 0;
const GREETING = 1;
const READY = 2;
const CLOSED = 3;

export class RedisLink {
  private state = CONNECTING;
  private readonly socket: Socket;
  private readonly inbox = new Inbox();
  private readonly scan = new ReplyResume();
  /** Written, in the order of their answers. */
  private readonly asked: Question[] = [];
  /** To be written when the greetings have been answered. */
  private readonly waiting: Question[] = [];
  private readonly connectTimer: TimerId;
  /** In RESP2 a connection with a subscription takes PING alone. */
  private subscribed = false;
  private resp3 = false;
  private greetings = 0;
  /** What is written leaves when `together` ends. */
  private gathering = false;
  private onMessage: (channel: string, text: string) => void = () => {};

  constructor(private readonly options: LinkOptions) {
    const { clock, net, address, connectMs } = options;
    this.connectTimer = clock.setTimer(connectMs, () => {
      this.fail(
        this.state === CONNECTING
          ? `no connection within ${connectMs} ms`
          : `connected, but silent for ${connectMs} ms`,
      );
    });
    this.socket = net.connect(address, HANDLER, this);
  }

  /** True until it is lost or closed. */
  get open(): boolean {
    return this.state !== CLOSED;
  }

  /** "ip:port" of the server, or "unix"; of an open link. */
  get peer(): string {
    return this.socket.peer();
  }

  /** True from when the server has answered its greetings. */
  get ready(): boolean {
    return this.state === READY;
  }

  /**
   * @param told called once and later, unless the link is closed by its owner before that
   * @throws Error for anything but PING beside a subscription in RESP2, which no server would answer
   */
  ask(words: readonly Word[], told: (answer: Answer) => void, answerMs = this.options.answerMs): void {
    if (this.subscribed && !this.resp3 && words[0] !== "PING") {
      throw new Error(`${words[0]} beside a subscription in RESP2`);
    }
    this.put(words, told, 0, answerMs);
  }

  /**
   * @param told when all channels have been confirmed, or that they will not be
   * @param onMessage called with every message from then on; one subscription a link
   */
  subscribe(
    channels: readonly string[],
    told: (answer: Answer) => void,
    onMessage: (channel: string, text: string) => void,
  ): void {
    this.onMessage = onMessage;
    this.subscribed = true;
    this.put(["SUBSCRIBE", ...channels], told, channels.length, this.options.answerMs);
  }

  /** What `run` asks leaves in one piece. */
  together(run: () => void): void {
    this.gathering = true;
    run();
    this.gathering = false;
    this.socket.flush();
  }

  /** Nobody is told anything any more. */
  close(): void {
    this.shut();
    this.asked.length = this.waiting.length = 0;
  }

  private put(
    words: readonly Word[],
    told: ((answer: Answer) => void) | null,
    confirmations: number,
    answerMs: number,
  ): void {
    const { clock } = this.options;
    if (this.state === CLOSED) {
      if (told !== null) clock.setTimer(0, () => told(new LinkLost("the connection is closed")));
      return;
    }
    const [first] = words;
    const name = (first instanceof Uint8Array ? latin1(first) : first) +
      (words[0] === "SENTINEL" ? ` ${words[1]}` : "");
    const deadline = clock.setTimer(answerMs, () => this.fail(`no answer to ${name} within ${answerMs} ms`));
    const question = { words, told, confirmations, deadline };
    if (this.state === READY) this.write(question);
    else this.waiting.push(question);
    if (this.asked.length + this.waiting.length <= QUESTIONS_MAX) return;
    // The owner must not be called from inside its own question.
    clock.setTimer(0, () => this.fail(`more than ${QUESTIONS_MAX} questions without an answer`));
  }

  private write(question: Question): void {
    this.asked.push(question);
    const bytes = commandOf(question.words);
    this.socket.sendShared(bytes, 0, bytes.length);
    if (!this.gathering) this.socket.flush();
  }

  private greet(words: readonly Word[], judge: (answer: Value) => string | null): void {
    this.greetings++;
    const told = (answer: Answer) => {
      if (answer instanceof LinkLost) return;
      const wrong = judge(answer);
      if (wrong !== null) this.fail(wrong);
      else if (--this.greetings === 0) this.begin();
    };
    // connectTimer is the deadline of all greetings together.
    this.write({ words, told, confirmations: 0, deadline: null });
  }

  /** The greetings have been answered. */
  private begin(): void {
    this.state = READY;
    this.options.clock.clearTimer(this.connectTimer);
    this.together(() => {
      for (const question of this.waiting.splice(0)) this.write(question);
    });
    this.options.begun?.();
  }

  // ---- from the socket

  opened(): void {
    const { auth, resp3, database = 0 } = this.options;
    this.state = GREETING;
    if (auth !== null) {
      const words = auth.user === null ? [auth.password] : [auth.user, auth.password];
      this.greet(["AUTH", ...words.map(utf8)], (answer) => {
        const fine = !(answer instanceof ReplyError) || NEEDS_NO_PASSWORD.test(answer.text);
        return fine ? null : `AUTH is refused: ${answer.text}`;
      });
    }
    if (resp3) {
      this.greet(["HELLO", "3"], (answer) => {
        this.resp3 = !(answer instanceof ReplyError);
        return null;
      });
    }
    if (database > 0) {
      this.greet(
        ["SELECT", database],
        (answer) => answer instanceof ReplyError ? `SELECT ${database} is refused: ${answer.text}` : null,
      );
    }
    if (this.greetings === 0) this.begin();
  }

  receive(bytes: Uint8Array): void {
    const { inbox, scan } = this;
    const { received, answerSizeMax = ANSWER_SIZE_MAX } = this.options;
    received?.(bytes.length);
    inbox.append(bytes, 0, bytes.length);
    while (this.state !== CLOSED && inbox.size > 0) {
      const { start } = inbox;
      const end = scanReply(inbox.bytes, start, inbox.end, scan);
      if (end === NEED_MORE) {
        if (inbox.size > answerSizeMax) this.fail(`an answer of more than ${answerSizeMax} bytes`);
        return;
      }
      const value = end < 0 ? undefined : readValue(inbox.bytes, start, end);
      if (value === undefined) return this.fail("what it says is not Redis' protocol");
      const pushed = isPush(inbox.bytes, start);
      inbox.consumeTo(end);
      this.take(value, pushed);
    }
  }

  private take(value: Value, pushed: boolean): void {
    const [question] = this.asked;
    // A subscriber's words come as pushes in RESP3 and as lists in RESP2, where nothing else can be said but an error.
    if (pushed || (this.subscribed && !this.resp3 && Array.isArray(value))) {
      const [kind, channel, text] = value as readonly Value[];
      if (kind === "message") return this.onMessage(String(channel), String(text));
      if (kind === "subscribe" && question !== undefined && question.confirmations > 0) {
        if (--question.confirmations === 0) this.answer(question, value);
        return;
      }
      if (pushed) return;
      const fits = kind === "pong" ? question?.words[0] === "PING" : question?.confirmations === 0;
      if (!fits) return this.fail("what it says is no subscription's");
    }
    if (question === undefined) {
      return this.fail(value instanceof ReplyError ? value.text : "an answer nobody asked for");
    }
    this.answer(question, value);
  }

  private answer(question: Question, value: Value): void {
    this.asked.shift();
    if (question.deadline !== null) this.options.clock.clearTimer(question.deadline);
    question.told?.(value);
  }

  wasClosed(error: NetError | null): void {
    this.fail(error === null ? "the connection was closed" : error.message, this.state === READY);
  }

  // ---- the end

  private fail(why: string, ended = false): void {
    if (this.state === CLOSED) return;
    const questions = [...this.asked.splice(0), ...this.waiting.splice(0)];
    this.shut(questions);
    for (const { told } of questions) told?.(new LinkLost(why));
    this.options.lost(why, ended);
  }

  private shut(questions: readonly Question[] = [...this.asked, ...this.waiting]): void {
    this.state = CLOSED;
    const { clock } = this.options;
    clock.clearTimer(this.connectTimer);
    for (const { deadline } of questions) if (deadline !== null) clock.clearTimer(deadline);
    this.socket.owner = undefined;
    this.socket.destroy();
    this.inbox.clear();
  }
}

/** A password's bytes are UTF-8, as redis_auth's. */
const encoder = new TextEncoder();
const utf8 = (text: string): Uint8Array => encoder.encode(text);

const linkOf = (socket: Socket): RedisLink | undefined => socket.owner as RedisLink | undefined;

const HANDLER: Handler = {
  open: (socket) => linkOf(socket)?.opened(),
  data: (socket, bytes) => linkOf(socket)?.receive(bytes),
  // Whoever is half closed answers nothing more.
  eof: (socket) => linkOf(socket)?.wasClosed(null),
  drain: () => {},
  close: (socket, error) => linkOf(socket)?.wasClosed(error),
};

const decoder = new TextDecoder();

/** What servers of this pool are told: server_auth, or redis_auth, which has no user. */
export function serverAuth(
  { redisAuth, serverAuth }: Pick<PoolConfig, "redisAuth" | "serverAuth">,
): LinkOptions["auth"] {
  if (serverAuth !== null) return serverAuth;
  return redisAuth === null ? null : { user: null, password: decoder.decode(redisAuth) };
}
