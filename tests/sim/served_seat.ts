/**
 * One proxy of a world that serves: its director with the keeper, its workers, which are told where the primary is and granted leave, and
 * clients that write.
 */
import type { Config } from "../../src/config/config.ts";
import type { Address, Clock, Socket } from "../../src/net/net.ts";
import { GONE } from "../../src/proxy/client_question.ts";
import { Director } from "../../src/service/director.ts";
import { Proxy } from "../../src/service/proxy.ts";
import { PromoteKeeper } from "../../src/topology/promote.ts";
import type { ServerState } from "../../src/topology/state.ts";
import { request } from "../lib/bytes.ts";
import type { SimNet } from "./net.ts";
import type { SimProcess } from "./process.ts";
import type { Random } from "./random.ts";
import { Reader, SYSTEM } from "./reader.ts";
import { boardsOf, Messages } from "./threads.ts";
import { Violation } from "./truth.ts";

const CLIENTS = 2;
/** A message from thread to thread takes so long at most, ms. */
const MESSAGE_MAX_MS = 1;

export interface SeatAround {
  note(text: string): void;
  /** This keeper looks after it from now on. */
  keeps(keeper: PromoteKeeper): void;
  said(state: ServerState): void;
}

export class ServedSeat {
  private readonly director: Director;
  private readonly workers: readonly Proxy[];
  private readonly clients: Writer[] = [];
  private readonly messages: Messages;
  private reloads = 0;

  /** @param configs the same but for something that makes another keeper necessary; a reload brings the next one */
  constructor(
    private readonly configs: readonly [Config, Config],
    process: SimProcess,
    private readonly clock: Clock,
    private readonly net: SimNet,
    private readonly random: Random,
    private readonly around: SeatAround,
  ) {
    const count = random.int(1, 2);
    const [config] = configs;
    const log = { level: 5, write: (_: number, text: string) => around.note(text) };
    this.messages = new Messages(clock);
    this.workers = boardsOf(config, count).map((board, worker) =>
      new Proxy({
        config,
        net: process,
        clock,
        random: random.fork().next,
        log: { level: 5, write: (_, text) => around.note(`worker ${worker}: ${text}`) },
        system: SYSTEM,
        seat: {
          worker,
          board,
          serversChanged: () => {},
          tellOthers: () => {},
          sign: (_pool, server, sign, cause) =>
            this.message(() => this.director.sign("p", server, sign, cause)),
          ask: (_worker, _pool, _question, told) => this.message(() => told(GONE)),
        },
      })
    );
    this.director = new Director({
      config,
      net: process,
      clock,
      random: random.fork().next,
      log,
      keeperOf: (around) => {
        const keeper = new PromoteKeeper(around);
        this.around.keeps(keeper);
        return keeper;
      },
    });
  }

  private message(run: () => void): void {
    void this.clock.setTimer(this.random.next() * MESSAGE_MAX_MS, run);
  }

  async begin(): Promise<void> {
    // Nobody waits for what is known at first.
    void this.director.start({
      follow: (_, states) => this.follow(states),
      grant: (...granted) => this.workers[0]!.grant(...granted),
      tellEvents: () => {},
    });
    for (const worker of this.workers) await worker.listen(null);
    const { listen } = this.configs[0].pools[0]!;
    for (let i = 0; i < CLIENTS; i++) this.clients.push(new Writer(this.net, this.random.fork(), listen));
  }

  reload(): void {
    this.director.adopt(this.configs[++this.reloads % 2]!, "reload");
  }

  private follow(states: readonly ServerState[]): void {
    for (const state of states) this.around.said(state);
    this.workers.forEach((worker, i) => {
      this.messages.send(i, this.random.next() * MESSAGE_MAX_MS, () => worker.follow("p", states));
    });
  }

  /** All has been well for long: everybody is served. */
  checkWell(): void {
    for (const client of this.clients) client.checkWell();
  }

  stop(): void {
    for (const client of this.clients) client.stop();
    this.director.stop();
    for (const worker of this.workers) worker.stop();
  }
}

/** Writes, one request after the other. */
class Writer extends Reader {
  private stopped = false;
  private last = "";
  private readonly pauseMaxMs: number;

  constructor(
    private readonly net: SimNet,
    private readonly random: Random,
    private readonly listen: Address,
  ) {
    super();
    this.pauseMaxMs = random.magnitude(20, 1000);
    this.connect();
  }

  private connect(): void {
    this.socket = this.net.connect(this.listen, this, null);
    this.send(SET);
  }

  private later(run: () => void): void {
    this.net.clock.setTimer(this.random.next() * this.pauseMaxMs, () => this.stopped || run());
  }

  override data(socket: Socket, view: Uint8Array): void {
    super.data(socket, view);
    if (!this.read.endsWith("\r\n")) return;
    this.last = this.take();
    if (this.last.indexOf("\r\n") !== this.last.length - 2) {
      throw new Violation(`two replies to one SET: ${this.last}`);
    }
    this.later(() => this.send(SET));
  }

  override close(): void {
    this.later(() => this.connect());
  }

  checkWell(): void {
    if (this.last !== "+OK\r\n") {
      throw new Violation(`a client reads ${JSON.stringify(this.last)} when all is well`);
    }
  }

  stop(): void {
    this.stopped = true;
    this.socket.destroy();
  }
}

const SET = request("SET", "key", "value");
