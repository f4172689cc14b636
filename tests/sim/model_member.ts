/**
 * A member of a replica set as promotion sees it: who it follows, how much it has, who has fenced it; no data but an offset.
 *
 * It listens on an address for each proxy, so that one can be cut off from it and another not; its fellows know it by a third one, as
 * behind a forwarder. When frozen, what is said to it waits, and happens when it goes on, in its order.
 */
import type { Address, Listener, Net, Socket } from "../../src/net/net.ts";
import { latin1, textOf } from "../lib/bytes.ts";
import { parseReply } from "../lib/resp.ts";
import type { SimClock } from "./clock.ts";
import type { Random } from "./random.ts";

interface Line {
  readonly socket: Socket;
  /** Whose it is. */
  readonly proxy: number;
  readonly id: number;
  readonly sinceMs: number;
  read: string;
  name: string;
  readonly channels: Set<string>;
  closed: boolean;
}

const FULL_SYNC_MS = 300;
/** Of that, until the first of it comes. */
const SYNC_WAIT_MS = 150;

export class ModelMember {
  readonly port: number;
  /** Place of whom it follows; -1: it is a primary. */
  follows: number;
  /** The same after a restart. */
  private saved: number;
  history: string;
  before = "";
  offset = 0;
  alive = true;
  frozen = false;
  /** Its replicas are told that they have no password: they ask for all of its data for ever, and get nothing. */
  refuses = false;
  /** All of its data is coming, until then. */
  private syncUntilMs = -1;
  linked = false;
  private heardAtMs = 0;
  startedAtMs = -60_000;
  /** When it was made the primary that it is, or has started as one. */
  reignsFromMs = -60_000;
  /** It was told so by a proxy, and not by hand, and has not just started. */
  promoted = true;
  /** It has executed a write of a client, which came at that time. */
  executed: (cameAtMs: number) => void = () => {};
  readonly lines = new Set<Line>();
  private readonly late: (() => void)[] = [];
  private readonly listeners: Listener[] = [];
  private lineIds = 0;

  constructor(
    readonly place: number,
    private readonly all: readonly ModelMember[],
    private readonly net: Net,
    private readonly clock: SimClock,
    private readonly random: Random,
  ) {
    this.port = 7000 + place;
    this.follows = this.saved = place === 0 ? -1 : 0;
    this.history = "f".repeat(40);
    this.linked = place !== 0;
  }

  static addressOf(place: number, proxy: number): Address & { host: string; port: number } {
    return { host: `10.0.${proxy}.${place}`, port: 6379 };
  }

  async listen(proxies: number): Promise<void> {
    for (let proxy = 0; proxy < proxies; proxy++) {
      this.listeners.push(
        await this.net.listen(ModelMember.addressOf(this.place, proxy), {
          open: (socket) => {
            if (!this.alive) return socket.destroy();
            const line: Line = {
              socket,
              proxy,
              id: ++this.lineIds,
              sinceMs: this.clock.nowMs(),
              read: "",
              name: "",
              channels: new Set(),
              closed: false,
            };
            socket.owner = line;
            this.lines.add(line);
          },
          data: (socket, bytes) => {
            const [text, cameAtMs] = [textOf(bytes), this.clock.nowMs()];
            const line = socket.owner as Line | undefined;
            if (line !== undefined) this.soon(() => this.take(line, text, cameAtMs));
          },
          eof: (socket) => socket.end(),
          drain: () => {},
          close: (socket) => {
            const line = socket.owner as Line | undefined;
            if (line !== undefined) this.soon(() => this.drop(line));
          },
        }, { backlog: 16, reusePort: false, keepAlive: false }),
      );
    }
  }

  /** Of the process that runs now. */
  get runId(): string {
    return `${this.place} ${this.startedAtMs}`;
  }

  private soon(run: () => void): void {
    if (this.frozen) this.late.push(run);
    else run();
  }

  freeze(): void {
    this.frozen = true;
  }

  goOn(): void {
    this.frozen = false;
    for (const run of this.late.splice(0)) run();
  }

  kill(): void {
    this.alive = false;
    this.frozen = false;
    this.late.length = 0;
    this.hangUp();
    this.linked = false;
  }

  /** It closes all connections, and goes on. */
  hangUp(): void {
    for (const { socket } of this.lines) socket.destroy();
    this.lines.clear();
  }

  /** It comes back as its file says. @param empty without its data */
  restart(empty: boolean): void {
    this.alive = true;
    this.follows = this.saved;
    this.startedAtMs = this.reignsFromMs = this.clock.nowMs();
    this.promoted = false;
    this.syncUntilMs = -1;
    if (!empty) return;
    this.offset = 0;
    this.newHistory(false);
  }

  private newHistory(goesOn: boolean): void {
    this.before = goesOn ? this.history : "0".repeat(40);
    this.history = Array.from({ length: 40 }, () => this.random.int(0, 15).toString(16)).join("");
  }

  /** FAILOVER TO: the two change roles, with all data there. Whoever follows this one goes on with that. */
  handOver(to: ModelMember): void {
    if (
      !this.alive || this.frozen || this.follows >= 0 || to.frozen || to.follows !== this.place || !to.linked
    ) return;
    to.replicate();
    to.follows = -1;
    to.reignsFromMs = this.clock.nowMs();
    to.promoted = false;
    to.linked = false;
    to.newHistory(true);
    this.follows = to.place;
    this.linked = false;
  }

  /** A write of a client. True if it has been taken. */
  write(): boolean {
    if (!this.alive || this.frozen || this.follows >= 0) return false;
    this.offset++;
    return true;
  }

  /** What replication does in a while. */
  replicate(): void {
    if (!this.alive || this.frozen || this.follows < 0) return;
    const primary = this.all[this.follows]!;
    const nowMs = this.clock.nowMs();
    if (!primary.alive || (primary.follows >= 0 && !primary.linked) || primary.follows === this.place) {
      this.linked = false;
      // What was coming has been given up; what is here stays.
      this.syncUntilMs = -1;
      return;
    }
    if (primary.frozen) return;
    if (primary.refuses) {
      this.linked = false;
      this.syncUntilMs = nowMs + FULL_SYNC_MS;
      return;
    }
    this.heardAtMs = nowMs;
    if (
      this.history === primary.history || (this.history === primary.before && this.offset <= primary.offset)
    ) {
      this.linked = true;
      this.syncUntilMs = -1;
      if (this.history !== primary.history) this.before = this.history;
      this.history = primary.history;
      this.offset = primary.offset;
    } else if (this.syncUntilMs < 0) {
      this.linked = false;
      this.syncUntilMs = nowMs + FULL_SYNC_MS;
    } else if (nowMs >= this.syncUntilMs) {
      this.history = primary.history;
      this.before = primary.before;
      this.offset = primary.offset;
      this.syncUntilMs = -1;
      this.linked = true;
    }
  }

  // ---- what is asked

  private drop(line: Line): void {
    line.closed = true;
    this.lines.delete(line);
  }

  private take(line: Line, text: string, cameAtMs: number): void {
    if (line.closed) return;
    line.read += text;
    while (!line.closed) {
      const bytes = latin1(line.read);
      const found = parseReply(bytes, 0, bytes.length);
      if (found === null) return;
      line.read = line.read.slice(found.end);
      const answer = latin1(this.answer(line, found.value as string[], cameAtMs));
      line.socket.send(answer, 0, answer.length);
      line.socket.flush();
    }
  }

  private answer(line: Line, words: readonly string[], cameAtMs: number): string {
    const [name, first, second] = words;
    switch (`${name} ${first}`) {
      case "HELLO 3":
        return "%1\r\n$5\r\nproto\r\n:3\r\n";
      case "CLIENT SETNAME":
        line.name = second!;
        return "+OK\r\n";
      case "CLIENT LIST":
        return bulk(
          [...this.lines].filter(({ channels }) => channels.size > 0).map((each) =>
            `id=${each.id} addr=x name=${each.name} age=${
              Math.floor((this.clock.nowMs() - each.sinceMs) / 1000)
            } idle=0\n`
          ).join(""),
        );
      case "CLIENT KILL": {
        const line = [...this.lines].find(({ id }) => id === Number(words[3]));
        if (line === undefined) return ":0\r\n";
        this.drop(line);
        line.socket.destroy();
        return ":1\r\n";
      }
      case "PUBSUB NUMSUB": {
        const count = [...this.lines].filter(({ channels }) => channels.has(second!)).length;
        return `*2\r\n${bulk(second!)}:${count}\r\n`;
      }
      case "INFO replication":
        return bulk(this.replication());
      case "INFO server":
        return bulk(
          `# Server\r\nuptime_in_seconds:${
            Math.floor((this.clock.nowMs() - this.startedAtMs) / 1000)
          }\r\nrun_id:${this.runId}\r\ntcp_port:${this.port}\r\n`,
        );
      case "INFO persistence":
        return bulk("# Persistence\r\nloading:0\r\n");
      case "ROLE undefined":
        return this.follows < 0 ? "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n" : "*1\r\n$5\r\nslave\r\n";
      case "REPLICAOF NO":
        this.reignsFromMs = this.clock.nowMs();
        this.promoted = true;
        if (this.follows >= 0) {
          this.follows = -1;
          this.linked = false;
          this.newHistory(true);
        }
        return "+OK\r\n";
      case "CONFIG REWRITE":
        this.saved = this.follows;
        // One that was a primary already when it was promoted is not told to be one.
        if (this.follows < 0) this.reignsFromMs = this.clock.nowMs();
        this.promoted = true;
        return "+OK\r\n";
    }
    if (name === "SET") {
      if (!this.write()) return "-READONLY You can't write against a read only replica.\r\n";
      this.executed(cameAtMs);
      return "+OK\r\n";
    }
    if (name === "SUBSCRIBE") {
      line.channels.add(first!);
      return `>3\r\n${bulk("subscribe")}${bulk(first!)}:1\r\n`;
    }
    if (name === "REPLICAOF") {
      const place = Number(second) - 7000;
      if (this.follows === place) return "+OK Already connected to specified master\r\n";
      this.follows = place;
      this.linked = false;
      this.syncUntilMs = -1;
      return "+OK\r\n";
    }
    return `-ERR unknown command '${name}'\r\n`;
  }

  private progress(nowMs: number): string[] {
    if (this.syncUntilMs < 0) return ["master_sync_in_progress:0"];
    const came = nowMs > this.syncUntilMs - FULL_SYNC_MS + SYNC_WAIT_MS;
    const [total, read] = came ? [100, 50] : [-1, 0];
    return [
      "master_sync_in_progress:1",
      `master_sync_total_bytes:${total}`,
      `master_sync_read_bytes:${read}`,
    ];
  }

  private replication(): string {
    const nowMs = this.clock.nowMs();
    const lines = this.follows < 0
      ? [
        "role:master",
        ...this.all.filter((each) => each.linked && each.follows === this.place)
          .map((each, i) => `slave${i}:ip=10.9.9.9,port=${each.port},state=online,offset=0,lag=0`),
      ]
      : [
        "role:slave",
        "master_host:10.9.9.9",
        `master_port:${7000 + this.follows}`,
        `master_link_status:${this.linked ? "up" : "down"}`,
        `master_last_io_seconds_ago:${this.linked ? Math.floor((nowMs - this.heardAtMs) / 1000) : -1}`,
        ...this.progress(nowMs),
        `slave_repl_offset:${this.offset}`,
        "slave_priority:100",
      ];
    return ["# Replication", ...lines, `master_replid:${this.history}`, `master_replid2:${this.before}`]
      .concat(`master_repl_offset:${this.offset}`, "").join("\r\n");
  }
}

function bulk(text: string): string {
  return `$${text.length}\r\n${text}\r\n`;
}
