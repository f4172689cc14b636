/**
 * A server of the simulated world: a model behind the seam, with the bad habits that its plan gives it.
 *
 *   data ──► (busy, frozen) ──► session.feed ──► (garbage, one reply too many) ──► send
 */
import { MemoryMemcached } from "../../src/demo/memory_memcached.ts";
import type { MemorySession } from "../../src/demo/serve.ts";
import { toBytes } from "../../src/demo/redis/resp.ts";
import { OLDEST } from "../../src/memcached/versions.ts";
import type { Address, Handler, Socket } from "../../src/net/net.ts";
import type { SimClock } from "./clock.ts";
import { ModelMemcachedSession } from "./model_memcached.ts";
import { ModelRedis } from "./model_redis.ts";
import type { SimNet, SimSocket } from "./net.ts";
import type { Random } from "./random.ts";
import type { Truth } from "./truth.ts";

/** How often, per read of the server, and for how long. */
export interface Habits {
  /** A read's requests take a while. */
  readonly busy: number;
  readonly busyMaxMs: number;
  /** Something that is no reply comes in place of the replies. */
  readonly garbage: number;
  /** A reply nobody asked for, then the end. */
  readonly extra: number;
  /** The server closes the connection after its replies (idle timeout, CLIENT KILL). */
  readonly hangUp: number;
}

export const GOOD: Habits = { busy: 0, busyMaxMs: 0, garbage: 0, extra: 0, hangUp: 0 };

interface Connection {
  readonly session: MemorySession;
  /** What was received while the server was busy. */
  readonly waiting: Uint8Array[];
  busy: boolean;
  /** It says nothing more. */
  mute: boolean;
  /** What it will say when it goes on; null while it does not halt. */
  rest: Uint8Array[] | null;
  /** To be called at its end. */
  readonly gone: () => void;
}

const REDIS_GARBAGE = ["HTTP/1.1 400 Bad Request\r\n\r\n", "$3\r\nabcdef\r\n", "\r\n", "*x\r\n", "$-7\r\n"];
const MEMCACHED_GARBAGE = [
  "HTTP/1.1 400 Bad Request\r\n\r\n",
  "VALUE x\r\n",
  "\r\n",
  "VALUE k 0 2\r\nabcd\r\n",
];

export class SimServer implements Handler {
  habits: Habits = GOOD;
  frozenUntilMs = 0;
  /** How often it halts in the middle of its replies to a read; sometimes it ends there. */
  halts = 0;
  /** How often it is full when somebody connects: it says so, unasked, and closes. */
  turnsAway = 0;
  /** Or it says nothing: it accepts and closes. */
  wordless = false;
  /** It has said a line that nobody had asked for, and read nothing more on that connection. */
  saidExtra = false;
  /** Those it has turned away. */
  refusals = 0;
  model: ModelRedis | MemoryMemcached;
  /** Reads so far. */
  reads = 0;
  private restarts = 0;

  constructor(
    readonly index: number,
    readonly address: Address,
    readonly redis: boolean,
    private readonly net: SimNet,
    private readonly clock: SimClock,
    private readonly truth: Truth,
    private readonly random: Random,
    /** Each opens it; null among them: it is open to all. Null: it knows none. */
    private readonly passwords: ReadonlySet<string | null> | null,
    /** Of a memcached. */
    private readonly version: string = OLDEST,
  ) {
    this.model = this.newModel();
  }

  private newModel(): ModelRedis | MemoryMemcached {
    if (!this.redis) {
      return new MemoryMemcached({ nowMs: () => this.clock.wallMs(), itemSizeMax: 8 * 1024 * 1024 });
    }
    const { passwords } = this;
    return new ModelRedis(this.index, this.truth, this.clock, {
      random: this.random.next,
      ...(passwords === null ? {} : { passwords }),
    });
  }

  /** @param twin another address, where the same data is */
  async listen(twin: Address | null = null): Promise<void> {
    const options = { backlog: 511, reusePort: false, keepAlive: false };
    await this.net.listen(this.address, this, options);
    if (twin !== null) await this.net.listen(twin, this, options);
  }

  /** Forgets everything, as after a restart without a file. @param loadingMs how long it answers -LOADING */
  restart(loses: boolean, loadingMs: number): void {
    this.restarts++;
    if (loses) {
      this.model = this.newModel();
      if (this.model instanceof ModelRedis) this.model.restarted = true;
    }
    if (this.model instanceof ModelRedis) this.model.loadingUntilMs = this.clock.nowMs() + loadingMs;
  }

  open(socket: Socket): void {
    if (this.turnsAway > 0 && this.random.chance(this.turnsAway)) {
      this.refusals++;
      const text = this.redis ? "-ERR max number of clients reached" : "ERROR Too many open connections";
      if (!this.wordless) this.send(socket, toBytes(`${text}\r\n`));
      return socket.end();
    }
    const number = ++this.truth.connections;
    let session: MemorySession;
    let gone = () => {};
    if (this.model instanceof ModelRedis) {
      const { model } = this;
      const redis = model.session();
      model.name(redis, number, (text) => {
        if (!connection.mute) this.say(socket, toBytes(text));
      }, () => {
        connection.mute = true;
        socket.end();
      });
      model.awaitPassword(redis, (socket as SimSocket).other!.madeAtMs);
      gone = () => model.gone(redis);
      session = redis;
    } else {
      session = new ModelMemcachedSession(
        this.model,
        this.index,
        number,
        this.truth,
        () => this.clock.nowMs(),
        this.version,
      );
    }
    const connection: Connection = { session, waiting: [], busy: false, mute: false, rest: null, gone };
    socket.owner = connection;
  }

  data(socket: Socket, bytes: Uint8Array): void {
    const connection = socket.owner as Connection | null | undefined;
    if (!connection || connection.mute) return;
    this.reads++;
    connection.waiting.push(bytes.slice());
    if (!connection.busy) this.work(socket, connection);
  }

  private work(socket: Socket, connection: Connection): void {
    const { habits, random, clock } = this;
    let waitMs = Math.max(0, this.frozenUntilMs - clock.nowMs());
    if (random.chance(habits.busy)) waitMs += random.next() * habits.busyMaxMs;
    if (waitMs > 0) {
      connection.busy = true;
      // Who does not run does not read: the kernels fill up.
      socket.pause();
      clock.setTimer(waitMs, () => {
        connection.busy = false;
        socket.resume();
        this.answer(socket, connection);
      });
    } else this.answer(socket, connection);
  }

  private answer(socket: Socket, connection: Connection): void {
    const { session } = connection;
    for (const bytes of connection.waiting.splice(0)) {
      if (connection.mute || session.ended) return;
      const replies = session.feed(bytes);
      if (this.random.chance(this.habits.garbage)) {
        const text = this.random.pick(this.redis ? REDIS_GARBAGE : MEMCACHED_GARBAGE);
        this.net.log.add(this.clock.nowMs(), `S${this.index}`, `garbage ${JSON.stringify(text)}`);
        connection.mute = true;
        this.say(socket, toBytes(text));
        // The replies behind it must not be believed any more either.
        this.say(socket, replies);
        return;
      }
      this.say(socket, replies);
      if (this.random.chance(this.habits.extra)) {
        const text = this.redis
          ? `+EXTRA ${this.reads}\r\n`
          : this.random.pick(["STORED\r\n", "END\r\n", "VERSION extra\r\n", "HD\r\n"]);
        this.net.log.add(this.clock.nowMs(), `S${this.index}`, `extra ${JSON.stringify(text)}`);
        connection.mute = true;
        this.saidExtra = true;
        this.truth.addExtra(text);
        this.say(socket, toBytes(text));
        this.clock.setTimer(this.random.next() * 20, () => socket.end());
        return;
      }
    }
    if (session.ended || this.random.chance(this.habits.hangUp)) {
      connection.mute = true;
      socket.end();
    }
  }

  private say(socket: Socket, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const connection = socket.owner as Connection;
    if (connection.rest !== null) return void connection.rest.push(bytes);
    if (this.halts > 0 && bytes.length > 1 && this.random.chance(this.halts)) {
      const at = this.random.int(1, bytes.length - 1);
      connection.rest = [bytes.slice(at)];
      this.clock.setTimer(this.random.magnitude(1, 3000), () => this.goOn(socket, connection));
      return this.send(socket, bytes.slice(0, at));
    }
    this.send(socket, bytes);
  }

  private goOn(socket: Socket, connection: Connection): void {
    const rest = connection.rest!;
    connection.rest = null;
    if (this.random.chance(this.halts)) {
      connection.mute = true;
      return socket.end();
    }
    for (const bytes of rest) this.send(socket, bytes);
  }

  private send(socket: Socket, bytes: Uint8Array): void {
    socket.sendShared(bytes, 0, bytes.length);
    socket.flush();
    if (socket.queuedBytes > 1024 * 1024) socket.pause();
  }

  eof(socket: Socket): void {
    socket.end();
  }

  drain(socket: Socket): void {
    socket.resume();
  }

  close(socket: Socket): void {
    const connection = socket.owner as Connection | null | undefined;
    if (!connection) return;
    connection.mute = true;
    connection.session.close();
    connection.gone();
  }
}
