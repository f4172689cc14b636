/**
 * A memcached server, or a proxy in front of some, that is read.
 *
 *   a proxy: get KEY            a server: mg KEY v f t, which says the lifetime too (before 1.6: get)
 *   keys of a server: lru_crawler metadump all, cut off when there are enough
 *
 * One request a line, all of a call in one piece; answers come in their order.
 */
import { latin1, latin1Bytes } from "../bytes/ascii.ts";
import { Inbox } from "../bytes/inbox.ts";
import type { Handler, NetError, Socket, TimerId } from "../net/net.ts";
import {
  ANSWER_MAX,
  ANSWER_MS,
  type Page,
  type Peer,
  type PeerAround,
  PeerFailed,
  type PeerPlace,
} from "./peer.ts";
import { joined, type Reading } from "./reading.ts";

const LF = 10;
/** Bytes of keys that one dump may hold. */
const DUMP_MAX = 64 * 1024 * 1024;

/**
 * What a line of `lru_crawler metadump` says: a key, that the dump begins (OK, which 1.6.45 sends first and 1.6.18 does not) or ends;
 * "wrong": anything else.
 */
export function dumpLine(line: string): Uint8Array | "begins" | "ends" | "wrong" {
  const key = /^key=(\S*) /.exec(line)?.[1];
  if (key !== undefined) return unescaped(key);
  return line === "OK" ? "begins" : line === "END" ? "ends" : "wrong";
}

/** A request under way. A line of its answer either ends it or announces data, or more lines. */
interface Question {
  /** @returns DONE, MORE, or how many bytes of data stand behind this line */
  line(line: string): number;
  /** @returns true: that was all; a meta answer ends with its data, one to get with END */
  data(bytes: string): boolean;
  /** It has been answered (null), or will not be. */
  ended(why: string | null): void;
  timer: TimerId;
}
const DONE = -1;
const MORE = -2;

export class MemcachedPeer implements Peer {
  asked = 0;
  answeredBytes = 0;
  /** It has answered meta commands, or may. */
  private meta: boolean;
  private link: Link | null = null;

  /** @param direct it is a server itself, and not a proxy */
  constructor(readonly place: PeerPlace, direct: boolean, private readonly around: PeerAround) {
    this.meta = direct;
  }

  async greet(): Promise<string | null> {
    const [line] = await this.lines(["version"]);
    if (line === null || "why" in line!) return line?.why ?? null;
    return /^(VERSION |SERVER_ERROR)/.test(line!.text)
      ? null
      : `what it says is not memcached's protocol: ${line!.text.slice(0, 80)}`;
  }

  async read(keys: readonly Uint8Array[]): Promise<Reading[]> {
    if (keys.length === 0) return [];
    const readings: Reading[] = keys.map(() => ({ kind: "absent" }));
    const meta = this.meta;
    const link = this.dialled();
    const all = keys.map((key, at) => {
      const text = latin1(key);
      const wrong = keyRefusal(text);
      if (wrong !== null) {
        readings[at] = { kind: "error", text: wrong };
        return null;
      }
      this.asked++;
      return new Promise<void>((resolve) => {
        link.ask(meta ? `mg ${text} v f t\r\n` : `get ${text}\r\n`, {
          line: (line) => this.readLine(line, meta, (reading) => readings[at] = reading),
          data: (data) => {
            const found = readings[at]!;
            if (found.kind === "found") readings[at] = { ...found, content: joined([found.content, data]) };
            return meta;
          },
          ended: (why) => {
            if (why !== null) readings[at] = { kind: "lost", why };
            resolve();
          },
        });
      });
    });
    link.flush();
    await Promise.all(all);
    if (!meta || !readings.some((each) => each.kind === "error" && each.text === "ERROR")) return readings;
    // A server from before 1.6.
    this.meta = false;
    return this.read(keys);
  }

  /** @returns as Question.line */
  private readLine(line: string, meta: boolean, told: (reading: Reading) => void): number {
    const words = line.split(" ");
    const at = meta ? 1 : 3;
    if (words[0] === (meta ? "VA" : "VALUE") && /^\d+$/.test(words[at] ?? "")) {
      const size = Number(words[at]);
      const flags = meta ? words.find((word) => word[0] === "f")?.slice(1) : words[2];
      const ttl = meta ? Number(words.find((word) => word[0] === "t")?.slice(1)) : NaN;
      const ttlMs = Number.isNaN(ttl) ? null : ttl < 0 ? -1 : ttl * 1000;
      told({ kind: "found", type: "item", size, content: flags ?? "", whole: true, ttlMs });
      return size;
    }
    if (line !== (meta ? "EN" : "END")) told({ kind: "error", text: line });
    return DONE;
  }

  async has(keys: readonly Uint8Array[]): Promise<(boolean | null)[]> {
    const readings = await this.read(keys);
    return readings.map(({ kind }) => kind === "found" ? true : kind === "absent" ? false : null);
  }

  /** All that there are to be had come in one page: a dump cannot be gone on with. */
  async page(_from: string | null, most: number): Promise<Page> {
    const { clock, net } = this.around;
    // A connection of its own, since it is cut off in the middle.
    const link = new Link({ net, clock }, this.place, (bytes) => this.answeredBytes += bytes);
    this.asked++;
    const keys: Uint8Array[] = [];
    let held = 0;
    const wrong = await new Promise<string | null>((resolve) => {
      link.ask("lru_crawler metadump all\r\n", {
        line: (line) => {
          const said = dumpLine(line);
          if (said === "begins") return MORE;
          if (typeof said === "string") {
            resolve(said === "ends" ? null : line);
            return DONE;
          }
          keys.push(said);
          held += said.length + 64;
          if (keys.length < most && held < DUMP_MAX) return MORE;
          resolve(null);
          return DONE;
        },
        data: () => false,
        ended: (why) => resolve(why),
      });
      link.flush();
    });
    link.close();
    if (wrong !== null) {
      throw new PeerFailed(
        /^BUSY/.test(wrong) ? "its crawler is busy with somebody else" : `lru_crawler metadump: ${wrong}`,
      );
    }
    return held < DUMP_MAX ? { keys, next: null } : {
      keys,
      next: null,
      cut: `no more than its first ${keys.length} keys fit into ${DUMP_MAX / 1024 / 1024} MiB`,
    };
  }

  async cpuSeconds(): Promise<number | null> {
    let seconds = 0;
    const why = await new Promise<string | null>((resolve) => {
      this.asked++;
      const link = this.dialled();
      link.ask("stats\r\n", {
        line: (line) => {
          seconds += Number(/^STAT rusage_(?:user|system) ([0-9.]+)$/.exec(line)?.[1] ?? 0);
          return line.startsWith("STAT ") ? MORE : DONE;
        },
        data: () => false,
        ended: resolve,
      });
      link.flush();
    });
    return why === null ? seconds : null;
  }

  close(): void {
    this.link?.close();
    this.link = null;
  }

  /** Questions that are answered in one line each. */
  private lines(questions: readonly string[]): Promise<({ text: string } | { why: string })[]> {
    const link = this.dialled();
    this.asked += questions.length;
    const all = questions.map((words) =>
      new Promise<{ text: string } | { why: string }>((resolve) => {
        let text = "";
        link.ask(`${words}\r\n`, {
          line: (line) => {
            text = line;
            return DONE;
          },
          data: () => false,
          ended: (why) => resolve(why === null ? { text } : { why }),
        });
      })
    );
    link.flush();
    return Promise.all(all);
  }

  private dialled(): Link {
    if (this.link !== null && this.link.open) return this.link;
    return this.link = new Link(this.around, this.place, (bytes) => this.answeredBytes += bytes);
  }
}

/** Why memcached has no such key; null: it may. */
function keyRefusal(key: string): string | null {
  if (key.length === 0 || key.length > 250) return `a key of ${key.length} bytes: memcached's have 1 to 250`;
  // deno-lint-ignore no-control-regex
  return /[\x00-\x20\x7f]/.test(key) ? "a key with a space or control character: memcached has none" : null;
}

function unescaped(key: string): Uint8Array {
  return latin1Bytes(
    key.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))),
  );
}

/** One connection. */
class Link {
  open = true;
  private readonly socket: Socket;
  private readonly inbox = new Inbox();
  private readonly questions: Question[] = [];
  /** Bytes of data, with their line's end, that are under way; 0 = a line is. */
  private expected = 0;

  constructor(
    private readonly around: PeerAround,
    place: PeerPlace,
    private readonly received: (bytes: number) => void,
  ) {
    this.socket = around.net.connect(place.address, HANDLER, this);
  }

  /** Leaves with the next `flush`. */
  ask(words: string, question: Omit<Question, "timer">): void {
    const bytes = latin1Bytes(words);
    const { clock } = this.around;
    const silent = () => this.fail(`no answer within ${ANSWER_MS} ms`);
    this.questions.push(Object.assign(question, { timer: clock.setTimer(ANSWER_MS, silent) }));
    if (this.open) this.socket.sendShared(bytes, 0, bytes.length);
  }

  flush(): void {
    this.socket.flush();
  }

  close(): void {
    this.fail("the connection is closed");
  }

  /** The end: whoever waits is told. */
  fail(why: string): void {
    if (!this.open) return;
    this.open = false;
    this.socket.owner = undefined;
    this.socket.destroy();
    this.inbox.clear();
    for (const question of this.questions.splice(0)) {
      this.around.clock.clearTimer(question.timer);
      question.ended(why);
    }
  }

  receive(bytes: Uint8Array): void {
    const { inbox } = this;
    this.received(bytes.length);
    inbox.append(bytes, 0, bytes.length);
    while (this.open && inbox.size > 0) {
      const [question] = this.questions;
      if (question === undefined) return this.fail("an answer nobody asked for");
      const { start } = inbox;
      if (this.expected > 0) {
        if (inbox.size < this.expected) break;
        const end = start + this.expected;
        const all = question.data(latin1(inbox.bytes, start, end - 2));
        this.expected = 0;
        inbox.consumeTo(end);
        if (all) this.answered();
        continue;
      }
      const lf = inbox.bytes.subarray(start, inbox.end).indexOf(LF);
      if (lf < 0) break;
      const line = latin1(inbox.bytes, start, start + lf).replace(/\r$/, "");
      inbox.consumeTo(start + lf + 1);
      const then = question.line(line);
      if (then >= 0) {
        if (then > ANSWER_MAX) return this.fail(`a value of ${then} bytes is more than is read`);
        this.expected = then + 2;
      } else if (then === DONE) this.answered();
      else this.wait(question);
    }
    if (inbox.size > ANSWER_MAX + 1024) this.fail(`an answer of more than ${ANSWER_MAX} bytes`);
  }

  private answered(): void {
    const question = this.questions.shift()!;
    this.around.clock.clearTimer(question.timer);
    question.ended(null);
  }

  /** Its answer goes on: it has its time anew. */
  private wait(question: Question): void {
    const { clock } = this.around;
    clock.clearTimer(question.timer);
    question.timer = clock.setTimer(ANSWER_MS, () => this.fail(`no answer within ${ANSWER_MS} ms`));
  }
}

const linkOf = (socket: Socket): Link | undefined => socket.owner as Link | undefined;
const closed = (error: NetError | null) => error === null ? "the connection was closed" : error.message;

const HANDLER: Handler = {
  open: () => {},
  data: (socket, bytes) => linkOf(socket)?.receive(bytes),
  eof: (socket) => linkOf(socket)?.fail(closed(null)),
  drain: () => {},
  close: (socket, error) => linkOf(socket)?.fail(closed(error)),
};
