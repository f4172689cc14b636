/**
 * Some nodes of a cluster on the simulator's network, that own slots, let them move, and say MOVED, ASK and TRYAGAIN as real ones do
 * (compat/cluster.md, of strings and of commands that the tests send). Who owns what each of them believes by itself.
 */
import { createHash } from "node:crypto";
import type { Net } from "../../src/net/net.ts";
import { slotHash } from "../../src/ring/slots.ts";
import { latin1 } from "./bytes.ts";
import { type FakeConnection, FakeRedis } from "./fake_redis.ts";

export const PORT = 6379;

export function slotOf(key: string): number {
  const open = key.indexOf("{");
  const close = open < 0 ? -1 : key.indexOf("}", open);
  const bytes = latin1(close > open + 1 ? key.slice(open + 1, close) : key);
  return slotHash(bytes, 0, bytes.length);
}

/** Where the keys are among a command's words. */
function keysOf([name, ...words]: readonly string[]): readonly string[] {
  switch (name) {
    case "MGET":
    case "DEL":
    case "EXISTS":
    case "WATCH":
      return words;
    case "MSET":
    case "MSETNX":
      return words.filter((_, i) => i % 2 === 0);
    case "BLPOP":
      return words.slice(0, -1);
    case "EVAL":
    case "EVALSHA":
    case "FCALL":
      return words.slice(2, 2 + Number(words[1]));
    case "GET":
    case "SET":
    case "APPEND":
    case "M.SAY":
    case "M.ASKED":
      return words.slice(0, 1);
    default:
      return [];
  }
}

/** A transaction. */
interface Queue {
  readonly commands: (readonly string[])[];
  readonly asking: boolean;
  aborted: boolean;
}

export class FakeNode {
  readonly redis: FakeRedis;
  readonly data = new Map<string, string>();
  /** It is a replica by now. */
  follows = false;
  /** It answers nothing. */
  silent = false;
  /** Texts that it knows, by digest. */
  readonly scripts = new Map<string, string>();
  /** Texts of libraries, each of one function of the same name. */
  readonly libraries = new Map<string, string>();
  /** Slots that leave for, or come from, a node. */
  readonly migrating = new Map<number, FakeNode>();
  readonly importing = new Map<number, FakeNode>();
  /** What it says to every request with keys, in place of all else. */
  down: string | null = null;
  /** What it believes, where that is not what is so. */
  readonly believed = new Map<number, FakeNode>();
  /** Who waits with BLPOP. */
  readonly waiting: FakeConnection[] = [];
  /** It takes no scripts now. */
  loading = false;
  /** It does not say which libraries it has. */
  mute = false;
  /** Whether it looks at keys when a command is queued, as Redis does, or only at EXEC, as Valkey 9.1 while a slot moves. */
  checksQueued = true;
  private readonly asking = new Set<FakeConnection>();
  /** Set it is the answer to ASKING. */
  askingRefusal: string | null = null;
  /** It is none of a cluster, and takes whatever it is sent. */
  standalone = false;
  private readonly queues = new Map<FakeConnection, Queue>();

  constructor(readonly cluster: FakeCluster, readonly host: string) {
    this.redis = new FakeRedis((words, connection) => this.silent ? null : this.answer(words, connection));
  }

  get name(): string {
    return `${this.host}:${PORT}`;
  }

  private answer(words: readonly string[], connection: FakeConnection): string {
    const queue = this.queues.get(connection);
    const asking = this.asking.delete(connection);
    if (queue !== undefined) return this.queue(queue, words, connection);
    if (words[0] === "MULTI") {
      this.queues.set(connection, { commands: [], asking, aborted: false });
      return "+OK\r\n";
    }
    if (this.standalone) {
      return words[0] === "CLUSTER"
        ? "-ERR This instance has cluster support disabled\r\n"
        : this.execute(words, keysOf(words), connection);
    }
    if (words[0] === "ASKING") {
      if (this.askingRefusal !== null) return this.askingRefusal;
      this.asking.add(connection);
      return "+OK\r\n";
    }
    const keys = keysOf(words);
    return this.refusal(keys, asking) ?? this.execute(words, keys, connection);
  }

  private queue(queue: Queue, words: readonly string[], connection: FakeConnection): string {
    const { commands, asking } = queue;
    if (words[0] !== "EXEC") {
      const refusal = this.checksQueued ? this.refusal(keysOf(words), asking) : null;
      if (refusal !== null) queue.aborted = true;
      commands.push(words);
      return refusal ?? "+QUEUED\r\n";
    }
    this.queues.delete(connection);
    if (queue.aborted) return "-EXECABORT Transaction discarded because of previous errors.\r\n";
    const refusal = this.refusal(commands.flatMap(keysOf), asking);
    if (refusal !== null) return refusal;
    return `*${commands.length}\r\n${
      commands.map((each) => this.execute(each, keysOf(each), connection)).join("")
    }`;
  }

  private refusal(keys: readonly string[], asking: boolean): string | null {
    if (keys.length === 0) return null;
    const slot = slotOf(keys[0]!);
    if (keys.some((key) => slotOf(key) !== slot)) {
      return "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    }
    if (this.down !== null) return this.down;
    const owner = this.believed.get(slot) ?? this.cluster.owner(slot);
    const there = keys.filter((key) => this.data.has(key)).length;
    const target = this.migrating.get(slot);
    if (owner === this && target !== undefined && there < keys.length) {
      return there > 0 ? TRYAGAIN : `-ASK ${slot} ${target.name}\r\n`;
    }
    if (owner === this) return null;
    if (!this.importing.has(slot) || !asking) return `-MOVED ${slot} ${owner.name}\r\n`;
    return keys.length > 1 && there < keys.length ? TRYAGAIN : null;
  }

  private execute(
    [name, ...words]: readonly string[],
    keys: readonly string[],
    connection: FakeConnection,
  ): string {
    const { data } = this;
    switch (name) {
      case "BLPOP": {
        const key = keys.find((each) => data.has(each));
        if (key === undefined) {
          this.waiting.push(connection);
          return "";
        }
        const value = data.get(key);
        data.delete(key);
        return `*2\r\n${bulk(key)}${bulk(value)}`;
      }
      case "HELLO":
        return "*0\r\n";
      case "READONLY":
        return "+OK\r\n";
      case "ROLE":
        return this.follows
          ? `*5\r\n${bulk("slave")}${bulk("10.0.1.1")}:${PORT}\r\n${bulk("connected")}:1\r\n`
          : `*3\r\n${bulk("master")}:1\r\n*0\r\n`;
      case "CLIENT":
        if (words[0] === "UNBLOCK") return this.unblock(words[2] === "ERROR");
        return words[0] === "ID" ? ":7\r\n" : "+OK\r\n";
      case "GET":
        return bulk(data.get(words[0]!));
      case "MGET":
        return `*${keys.length}\r\n${keys.map((key) => bulk(data.get(key))).join("")}`;
      case "SET":
      case "MSET":
        for (let i = 0; i < words.length; i += 2) data.set(words[i]!, words[i + 1]!);
        return "+OK\r\n";
      case "APPEND":
        data.set(words[0]!, (data.get(words[0]!) ?? "") + words[1]!);
        return `:${data.get(words[0]!)!.length}\r\n`;
      case "DEL":
        return `:${keys.filter((key) => data.delete(key)).length}\r\n`;
      case "EXISTS":
        return `:${keys.filter((key) => data.has(key)).length}\r\n`;
      case "WATCH":
      case "UNWATCH":
        return "+OK\r\n";
      case "EVAL":
        this.scripts.set(digestOf(words[0]!), words[0]!);
        // A script that makes up an error.
        return words[0]!.startsWith("-") ? `${words[0]}\r\n` : bulk(words[0]);
      case "EVALSHA":
        return this.scripts.has(words[0]!)
          ? bulk(this.scripts.get(words[0]!))
          : "-NOSCRIPT No matching script. Please use EVAL.\r\n";
      case "SCRIPT":
        if (words[0] === "LOAD" && this.loading) return "-LOADING Redis is loading the dataset in memory\r\n";
        if (words[0] === "LOAD") this.scripts.set(digestOf(words[1]!), words[1]!);
        else this.scripts.clear();
        return words[0] === "LOAD" ? bulk(digestOf(words[1]!)) : "+OK\r\n";
      case "FCALL":
        return this.libraries.has(words[0]!)
          ? bulk(this.libraries.get(words[0]!))
          : "-ERR Function not found\r\n";
      case "FUNCTION":
        return this.executeFunction(words);
      case "M.SAY":
      case "M.ASKED":
        return `${words.at(-1)}\r\n`;
      case "COMMAND":
        return words[0] === "INFO" ? learned(words[1]!) : `*1\r\n${bulk(words[2])}`;
      case "FLUSHALL":
        return this.follows ? "-READONLY You can't write against a read only replica.\r\n" : "+OK\r\n";
      case "PUBLISH":
        return ":0\r\n";
      case "DBSIZE":
        return `:${data.size}\r\n`;
      default:
        return `-ERR unknown command '${name}'\r\n`;
    }
  }

  /** Of all that wait here, whoever came last. */
  private unblock(tells: boolean): string {
    const waits = this.waiting.pop();
    waits?.say(tells ? "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n" : "*-1\r\n");
    return waits === undefined ? ":0\r\n" : ":1\r\n";
  }

  private executeFunction([what, ...words]: readonly string[]): string {
    const { libraries } = this;
    const text = words.at(-1)!;
    if (what === "LIST" && this.mute) return "";
    if (what === "LIST") return libraries.has(text) ? `*1\r\n${bulk(text)}` : "*0\r\n";
    if (what === "DUMP") return bulk(`dump of libraries:${[...libraries.values()].join("|")}`);
    const texts = what === "LOAD" ? [text] : text.slice(text.indexOf(":") + 1).split("|").filter(Boolean);
    const names = texts.map((each) => /name=(\S+)/.exec(each)![1]!);
    if (names.some((name) => libraries.has(name))) return "-ERR Library already exists\r\n";
    texts.forEach((each, i) => libraries.set(names[i]!, each));
    return what === "LOAD" ? bulk(names[0]) : "+OK\r\n";
  }
}

/** As SCRIPT LOAD has it. */
export function digestOf(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}

export class FakeCluster {
  readonly nodes: readonly FakeNode[];
  private readonly owners: FakeNode[];

  /** @param owning how many of the nodes own slots, equal ranges of them */
  constructor(count: number, owning: number) {
    this.nodes = Array.from({ length: count }, (_, i) => new FakeNode(this, `10.0.1.${i + 1}`));
    this.owners = Array.from({ length: 16384 }, (_, slot) => this.nodes[Math.floor(slot * owning / 16384)]!);
  }

  async listen(net: Net): Promise<void> {
    for (const { redis, host } of this.nodes) await redis.listen(net, { host, port: PORT });
  }

  owner(slot: number): FakeNode {
    return this.owners[slot]!;
  }

  node(index: number): FakeNode {
    return this.nodes[index]!;
  }

  /** The slot is another's from now on, with its keys. */
  give(slot: number, to: FakeNode): void {
    const from = this.owners[slot]!;
    this.owners[slot] = to;
    from.migrating.delete(slot);
    to.importing.delete(slot);
    for (const [key, value] of from.data) if (slotOf(key) === slot && from !== to) to.data.set(key, value);
    for (const key of [...from.data.keys()]) if (slotOf(key) === slot && from !== to) from.data.delete(key);
  }

  /** All slots of `from` are another's from now on, with their keys. */
  giveAll(from: FakeNode, to: FakeNode): void {
    for (let slot = 0; slot < this.owners.length; slot++) if (this.owners[slot] === from) this.give(slot, to);
  }

  /** The slot begins to move; `keys` have moved. */
  migrate(slot: number, to: FakeNode, ...keys: readonly string[]): void {
    const from = this.owners[slot]!;
    from.migrating.set(slot, to);
    to.importing.set(slot, from);
    for (const key of keys) {
      to.data.set(key, from.data.get(key)!);
      from.data.delete(key);
    }
  }

  /** The slots of a node as a configuration has them. */
  slotsOf(node: FakeNode): string {
    return this.owners.flatMap((owner, slot) => owner === node ? [String(slot)] : []).join(" ");
  }

  /** Nodes that own slots. */
  get servers(): readonly FakeNode[] {
    return this.nodes.filter((node) => this.owners.includes(node));
  }
}

/** Commands of a module: both have one key, which of M.ASKED only COMMAND GETKEYS tells. They answer their last word. */
function learned(name: string): string {
  const movable = name === "M.ASKED" ? "*2\r\n+write\r\n+movablekeys\r\n" : "*1\r\n+write\r\n";
  return `*1\r\n*7\r\n${bulk(name.toLowerCase())}:-2\r\n${movable}:1\r\n:1\r\n:1\r\n*0\r\n`;
}

const TRYAGAIN = "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";

function bulk(value: string | undefined): string {
  return value === undefined ? "$-1\r\n" : `$${value.length}\r\n${value}\r\n`;
}
