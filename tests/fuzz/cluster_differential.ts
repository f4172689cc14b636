/**
 * The same random commands to two equal clusters, whose slots move in the same way between batches:
 *
 *   seed ──► Grammar ──► batch ──┬─► reference client ──► cluster A ──► replies ┐
 *                                └─► Ringmaster ────────► cluster B ──► replies ┴► equal?
 *
 * After each round DEBUG DIGEST of each node of A and of its like in B must be equal too. LISTED has what may differ, and why.
 */
import { concat, latin1, show, textOf } from "../lib/bytes.ts";
import { RawClient, type Target } from "../lib/client.ts";
import { type Cluster, type ClusterNode, slotOf } from "../lib/cluster.ts";
import { encode } from "../lib/cluster_client.ts";
import { poll } from "../lib/poll.ts";
import { Random } from "../lib/random.ts";
import { inVersion } from "../lib/versions.ts";
import { isOfAll, nameOf, Reference } from "./cluster_reference.ts";
import { type Command, encodeCommand, FORMS, Grammar } from "./grammar.ts";
import { dependsOnSeed, normal } from "./normal.ts";

/** What is not generated, and why. */
export const EXCLUDED: Readonly<Record<string, string>> = {
  "what EXCLUDED of differential.ts has": "as there",
  "HELLO, RESET, AUTH, CLIENT x, ASKING, CLUSTER x, COMMAND x, SELECT, SWAPDB, MOVE, WAIT":
    "of the connection or of databases, and the proxy's own as in other pools: fuzz, announce_cluster",
  "commands to all nodes inside MULTI": "refused, as in all pools of several servers: transactions_test.ts",
};

export interface Listed {
  readonly reason: string;
  /** The data may differ after it: the round ends. */
  readonly ends?: boolean;
  /** Only where WATCH has been said, in a round in which slots move or behind one: they were on their way, or the proxy hears late of it. */
  readonly watching?: boolean;
  /** Only where more was sent in one go behind it. */
  readonly pipelined?: boolean;
  readonly is: (command: Command, direct: string, through: string) => boolean;
}

const isError = (reply: string) => reply.startsWith("-");
/** A client of the proxy is never told to go elsewhere. */
const isRedirect = (reply: string) => /^-(EXECABORT [^\r]*: )?(MOVED|ASK) \d/.test(reply);

/** What may differ. */
export const LISTED: readonly Listed[] = [
  {
    reason:
      "one error of several: fragments of a split command are refused with different texts, one is told",
    is: (command, direct, through) =>
      /^(DEL|UNLINK|EXISTS|TOUCH|MGET|MSET)$/.test(nameOf(command)) && isError(direct) && isError(through) &&
      direct.includes(through.slice(0, -2)),
  },
  {
    reason: "a script that EVAL has left on one node: EVALSHA without keys, or SCRIPT EXISTS, asks another",
    is: (command, direct, through) =>
      /^(EVALSHA|EVALSHA_RO)$/.test(nameOf(command)) &&
      (direct.startsWith("-NOSCRIPT") || through.startsWith("-NOSCRIPT")),
  },
  {
    reason:
      "a script that the proxy knows it tells to a node that lacks it: SCRIPT EXISTS finds it on more of them",
    is: (command, direct, through) =>
      /^SCRIPT EXISTS$/i.test(command.slice(0, 2).join(" ")) && existsMore(direct, through),
  },
  {
    reason:
      "a script that is refused for keys that are on their way is asked again when what was sent behind it has been done",
    ends: true,
    pipelined: true,
    is: (command, direct) =>
      /^(EVAL|EVALSHA|FCALL)(_RO)?$/.test(nameOf(command)) && direct.startsWith("-TRYAGAIN"),
  },
  {
    reason: "SCAN with a cursor that nobody has given is over, whatever else is wrong with it",
    is: (command, direct, through) =>
      nameOf(command) === "SCAN" && direct.startsWith("-ERR") && through === "*2\r\n$1\r\n0\r\n*0\r\n",
  },
  {
    reason:
      "wrong in two ways: a proxy of several servers looks for the keys first, and says what is wrong there",
    is: (_, direct, through) => /^-(ERR|CROSSSLOT) /.test(direct) && through.startsWith("-ERR"),
  },
  {
    reason:
      "wrong in itself, and its keys are on their way: a node says that of the keys first, the proxy looks for them in vain",
    is: (_, direct, through) => direct.startsWith("-TRYAGAIN") && through.startsWith("-ERR "),
  },
  {
    reason:
      "WATCH of another slot than that of what is watched already: each node watches its own, and a transaction is of one slot",
    ends: true,
    is: (command, direct, through) =>
      nameOf(command) === "WATCH" && /^(\+OK|-TRYAGAIN)/.test(direct) && through.startsWith("-CROSSSLOT"),
  },
  {
    reason:
      "WATCH of keys that are on their way: said to be done, and EXEC answers as if one had been touched",
    ends: true,
    is: (command, direct, through) =>
      nameOf(command) === "WATCH" && direct.startsWith("-TRYAGAIN") && through === "+OK\r\n",
  },
];

/** What may differ in a transaction, from MULTI to EXEC: of the last replies. */
const LISTED_TRANSACTIONS: readonly Listed[] = [
  {
    reason: "WATCH of keys that are on their way, or are before EXEC: it answers as if one had been touched",
    ends: true,
    watching: true,
    is: (command, _, through) => nameOf(command) === "EXEC" && /^(_|\*-1)\r\n$/.test(through),
  },
  {
    reason: "a transaction that is refused: by which of its replies, and with which text",
    is: (_, direct, through) => isError(direct) && isError(through) && !isRedirect(through),
  },
  {
    reason: "a transaction that is discarded: what was said to its commands, which have not been done",
    is: (command, direct, through) => nameOf(command) === "DISCARD" && direct === through,
  },
  {
    reason: "a transaction with a command that cannot be right is refused when it is queued, and aborts",
    ends: true,
    is: (_, direct, through) => !isError(direct) && through.startsWith("-EXECABORT") && !isRedirect(through),
  },
];

export interface Sides {
  readonly a: Cluster;
  readonly b: Cluster;
  readonly through: Target;
  /** Families of commands that are left out. */
  readonly without: readonly string[];
  /** Slots have moved in this round, or in the one before. */
  moved?: boolean;
}

export interface Difference {
  readonly seed: number;
  readonly round: number;
  readonly command: string;
  readonly direct: string;
  readonly through: string;
  readonly before: readonly string[];
}

export interface Outcome {
  /** Told of each difference at once. */
  readonly tell: (difference: Difference) => void;
  /** Told of all commands of a round, and what they were answered. */
  readonly show: ((lines: readonly string[]) => void) | null;
  commands: number;
  rounds: number;
  moves: number;
  listed: Map<string, number>;
  differences: Difference[];
}

/** Of the grammar, and what makes one slot of them. */
const KEYS = ["a", "b", "c", "d", "e", "f", "g", "{t}1", "k\x00\r\n\xff", ""];
const TAGS = ["{t}", "{1}", "{abc}"];

const MAX_DIFFERENCES = Number(Deno.env.get("FUZZ_MAX") ?? 25);
/** Nodes that still do not agree so long after all slots were claimed are told once more. */
const CLAIM_AGAIN_MS = 3000;

const SHOWN_BEFORE = Number(Deno.env.get("FUZZ_BEFORE") ?? 12);

export async function compare(
  sides: Sides,
  seed: number,
  enough: (outcome: Outcome) => boolean,
  tell: Outcome["tell"],
  firstRound = 0,
  show: Outcome["show"] = null,
): Promise<Outcome> {
  const outcome: Outcome = {
    tell,
    show,
    commands: 0,
    rounds: firstRound,
    moves: 0,
    listed: new Map(),
    differences: [],
  };
  while (!enough(outcome) && outcome.differences.length < MAX_DIFFERENCES) {
    const round = outcome.rounds++;
    for (const { nodes } of [sides.a, sides.b]) {
      for (const node of nodes) {
        await node.askAll(["FLUSHALL"], ["SCRIPT", "FLUSH"], ["FUNCTION", "FLUSH"]);
      }
    }
    // The proxy would tell nodes again what it has been told.
    const proxy = await RawClient.connect(sides.through);
    for (const what of ["SCRIPT", "FUNCTION"]) await proxy.command(what, "FLUSH");
    proxy.close();
    const run = new Round(sides, seed, round, outcome);
    await run.play().then(async (same) => same && await run.compareData(), async (error: Error) => {
      // A step of a slot's move has been refused.
      if (!await run.areApart()) throw error;
      count(outcome, APART);
    });
    sides.moved = run.hasMoved;
    await run.goHome();
  }
  return outcome;
}

/** Nodes give no reason to take a message for old but its epoch, and two of them may have the same. */
const APART = "the nodes of one of the clusters do not agree on who has a slot, since a message came late";

function count({ listed }: Outcome, reason: string): void {
  listed.set(reason, (listed.get(reason) ?? 0) + 1);
}

/** One client on each side. */
interface Pair {
  readonly reference: Reference;
  readonly through: RawClient;
  readonly log: string[];
  /** It has said WATCH, and nothing has ended that. */
  watching: boolean;
}

/** A slot that is on its way, in both clusters. */
interface Open {
  readonly slot: number;
  readonly from: number;
  readonly to: number;
}

class Round {
  private readonly random: Random;
  private readonly grammar: Grammar;
  private readonly transactional: boolean;
  private readonly families: string[];
  private readonly favourite: string;
  /** Keys of the grammar as keys of this round: all of one slot, or as they come. */
  private readonly tag: string | null;
  /** How often slots move. */
  private readonly moving: boolean;
  private open: Open | null = null;
  hasMoved = false;
  /** Slots that are not where they belong: slot → place of the owner. */
  private readonly away = new Map<number, number>();
  private readonly home: readonly number[];

  constructor(
    private readonly sides: Sides,
    private readonly seed: number,
    private readonly round: number,
    private readonly outcome: Outcome,
  ) {
    const random = this.random = new Random((seed * 1_000_003 + round) >>> 0);
    this.grammar = new Grammar(random);
    const all = Object.keys(FORMS);
    this.families = all.filter((family) => random.below(2) === 0 && !sides.without.includes(family));
    this.transactional = this.families.includes("transaction");
    // What the proxy answers itself cannot be part of a transaction.
    const connection = this.families.indexOf("connection");
    if (this.transactional && connection >= 0) this.families.splice(connection, 1);
    if (this.families.length === 0) this.families.push("string");
    this.favourite = random.pick(this.families);
    this.tag = this.transactional || random.below(2) === 0 ? random.pick(TAGS) : null;
    this.moving = random.below(3) > 0;
    this.home = sides.a.nodes.map((_, i) => i);
  }

  /** @returns false if it ended with a difference */
  async play(): Promise<boolean> {
    const { random } = this;
    const pairs: Pair[] = [];
    // Of both clients: what one has written the other reads.
    const log: string[] = [];
    try {
      for (let i = 0; i < 2; i++) {
        const opening: Command[] = random.below(2) === 0 ? [["HELLO", "3"]] : [];
        const through = await RawClient.connect(this.sides.through);
        for (const words of opening) {
          await through.send(encode(words));
          await through.readReply();
        }
        pairs.push({
          reference: new Reference(this.sides.a, opening),
          through,
          log,
          watching: false,
        });
      }
      for (let batch = random.between(3, 25); batch > 0; batch--) {
        const pair = random.below(3) === 0 ? pairs[1]! : pairs[0]!;
        if (this.moving && random.below(3) === 0) {
          const what = await this.shift();
          log.push(what);
        }
        const commands = this.batch();
        const scan = commands.find((command) => nameOf(command) === "SCAN");
        // A walk is many commands on one side: nothing else goes with it.
        if (!await this.runBatch(pair, scan === undefined ? commands : [scan])) return false;
      }
      return true;
    } finally {
      this.outcome.show?.(log);
      for (const { reference, through } of pairs) {
        reference.close();
        through.close();
      }
    }
  }

  private batch(): Command[] {
    const { random } = this;
    const commands: Command[] = [];
    let queueing = false;
    for (let n = random.pick([1, 1, 2, 5, 20]); n > 0; n--) {
      const family = random.below(4) === 0 ? this.favourite : random.pick(this.families);
      let command = this.rewrite(this.grammar.command(family));
      const name = nameOf(command);
      if (excluded(command)) command = ["PING"];
      if (queueing && (isOfAll(command) || dependsOnSeed(command) || name === "WATCH" || name === "MULTI")) {
        command = ["PING"];
      }
      if (name === "MULTI" && command.length === 1) queueing = true;
      if (/^(EXEC|DISCARD)$/.test(name) && command.length === 1) queueing = false;
      // One that is wrong ends it on one side only.
      if (/^(EXEC|DISCARD|MULTI)$/.test(name) && command.length > 1) command = ["PING"];
      commands.push(command);
    }
    if (queueing) commands.push([random.pick(["EXEC", "EXEC", "DISCARD"])]);
    return commands;
  }

  /** Keys get the round's tag, wherever they are: what is a key, and what a value, is for the servers to say. */
  private rewrite(command: Command): Command {
    if (this.tag === null) return command.map(withoutOwnKey);
    return command.map((word, i) =>
      i > 0 && KEYS.includes(word) ? `${this.tag}${word}` : withoutOwnKey(word)
    );
  }

  // ---- slots

  /** The next step of a slot's move, in both clusters. */
  private async shift(): Promise<string> {
    const { random } = this;
    this.outcome.moves++;
    this.sides.moved = this.hasMoved = true;
    if (this.open === null) {
      const slot = slotOf(this.tag ?? random.pick(["a", "b", "c", "d", "e", "f", "g", "{t}1"]));
      const from = this.away.get(slot) ?? this.homeOf(slot);
      const to = (from + random.between(1, this.home.length - 1)) % this.home.length;
      this.open = { slot, from, to };
      await this.both((cluster) => cluster.openSlot(slot, cluster.nodes[from]!, cluster.nodes[to]!));
      return `---- slot ${slot} begins to move`;
    }
    const { slot, from, to } = this.open;
    const moved = await this.moveSome(random.below(3) === 0 ? Infinity : random.between(1, 3));
    if (random.below(3) > 0) return `---- ${moved} keys of slot ${slot} have moved`;
    await this.moveSome(Infinity);
    await this.both((cluster) => cluster.closeSlot(slot, cluster.nodes[from]!, cluster.nodes[to]!));
    this.open = null;
    if (to === this.homeOf(slot)) this.away.delete(slot);
    else this.away.set(slot, to);
    return `---- slot ${slot} has moved`;
  }

  /** The same keys in both clusters. */
  private async moveSome(count: number): Promise<number> {
    const { slot, from, to } = this.open!;
    const lists: string[][] = [];
    await this.both(async (cluster) => {
      const keys = await cluster.nodes[from]!.tell("CLUSTER", "GETKEYSINSLOT", slot, 1000) as string[];
      lists.push(keys.sort());
    });
    const [one, other] = lists as [string[], string[]];
    const common = one.filter((key) => other.includes(key)).slice(0, count);
    if (common.length === 0) return 0;
    await this.both((cluster) =>
      cluster.migrate(common.map(latin1), cluster.nodes[from]!, cluster.nodes[to]!)
    );
    return common.length;
  }

  private homeOf(slot: number): number {
    return Math.floor(slot * this.home.length / 16_384);
  }

  private async both(step: (cluster: Cluster) => Promise<void>): Promise<void> {
    await step(this.sides.a);
    await step(this.sides.b);
  }

  /** Everything is where it was before the round, and all nodes say so. */
  async goHome(): Promise<void> {
    const slots = new Set(this.away.keys());
    if (this.open !== null) slots.add(this.open.slot);
    await this.both(async ({ nodes }) => {
      for (const node of nodes) await node.ask("FLUSHALL");
      await this.bring(slots, nodes);
    });
    const all = new Set([...KEYS, ...TAGS].map(slotOf));
    let broughtMs = performance.now();
    await poll(async () => {
      if (!await this.areApart(true)) return true;
      // They tell each other in their own time, and with each claim they have more to tell.
      if (performance.now() - broughtMs > CLAIM_AGAIN_MS) {
        await this.both(({ nodes }) => this.bring(all, nodes));
        broughtMs = performance.now();
      }
      return false;
    }, "the nodes to agree");
  }

  private async bring(slots: ReadonlySet<number>, nodes: readonly ClusterNode[]): Promise<void> {
    // Whatever anybody has said of them before is old from then on, as far as their owners know.
    if (slots.size > 0) { for (const node of nodes) await node.tell("CLUSTER", "BUMPEPOCH"); }
    for (const slot of slots) {
      const home = nodes[this.homeOf(slot)]!;
      for (const node of nodes) await node.tell("CLUSTER", "SETSLOT", slot, "STABLE");
      for (const node of [home, ...nodes]) await node.tell("CLUSTER", "SETSLOT", slot, "NODE", home.id);
    }
  }

  /** Do nodes of one cluster say different things of who has which slots? @param epochs since which epoch, too */
  async areApart(epochs = false): Promise<boolean> {
    for (const { nodes } of [this.sides.a, this.sides.b]) {
      const views = new Set<string>();
      for (const node of nodes) {
        const lines = await node.view();
        views.add(
          lines.map(({ id, epoch, ranges }) => `${id} ${epochs ? epoch : ""} ${ranges.join(" ")}`).sort()
            .join("\n"),
        );
      }
      if (views.size > 1) return true;
    }
    return false;
  }

  async compareData(): Promise<void> {
    const { a, b } = this.sides;
    const digests: string[][] = [];
    for (const { nodes } of [a, b]) {
      digests.push(await Promise.all(nodes.map(async (node) => String(await node.tell("DEBUG", "DIGEST")))));
    }
    const [direct, through] = digests.map((each) => each.join(" ")) as [string, string];
    if (direct !== through) this.differ("DEBUG DIGEST after the round", direct, through, []);
  }

  // ---- batches

  private async runBatch(pair: Pair, commands: readonly Command[]): Promise<boolean> {
    const inline = this.random.below(10) === 0;
    await pair.through.send(concat(commands.map((command) => encodeCommand(command, inline))));
    const sent = commands.filter((command) => command.length > 0);
    const expected = await pair.reference.run(sent);
    const found: Uint8Array[] = [];
    for (const command of sent) {
      let through = await readOne(pair.through);
      if (nameOf(command) === "SCAN" && textOf(through).startsWith("*2")) {
        through = await walk(pair.through, command, through);
      }
      found.push(through);
    }
    for (let i = 0; i < sent.length; i++) {
      const multi = nameOf(sent[i]!) === "MULTI";
      const end = multi ? sent.findIndex((each, at) => at > i && /^(EXEC|DISCARD)$/.test(nameOf(each))) : i;
      const different = sent.findIndex((command, at) =>
        at >= i && at <= end && !this.equal(command, expected[at]!, found[at]!)
      );
      this.outcome.commands += end - i + 1;
      if (different >= 0) {
        const [direct, through] = [textOf(expected[end]!), textOf(found[end]!)];
        const rows = multi ? LISTED_TRANSACTIONS : LISTED;
        const listed = rows.find(({ is, watching, pipelined }) =>
          (!watching || pair.watching && this.sides.moved) && (!pipelined || end < sent.length - 1) &&
          is(sent[end]!, direct, through)
        );
        if (listed === undefined && (isRedirect(direct) || isRedirect(through)) && await this.areApart()) {
          count(this.outcome, APART);
          return false;
        }
        if (listed === undefined) {
          for (let at = i; at < different; at++) pair.log.push(line(sent[at]!, expected[at]!));
          const more = multi ? ` … ${line(sent[end]!, expected[end]!)} | ${show(found[end]!, 200)}` : "";
          this.differ(
            shown(sent[different]!) + more,
            show(expected[different]!, 600),
            show(found[different]!, 600),
            [...pair.log.slice(-SHOWN_BEFORE), ...sent.slice(end + 1).map((each) => `  then ${shown(each)}`)],
          );
          return false;
        }
        count(this.outcome, listed.reason);
        if (listed.ends) return false;
      }
      const name = nameOf(sent[i]!);
      if (name === "WATCH") pair.watching = true;
      else if (multi || name === "UNWATCH" && sent[i]!.length === 1) pair.watching = false;
      for (; i < end; i++) pair.log.push(line(sent[i]!, expected[i]!));
      pair.log.push(line(sent[end]!, expected[end]!));
    }
    return true;
  }

  private equal(command: Command, expected: Uint8Array, found: Uint8Array): boolean {
    const through = latin1(inVersion(this.sides.a.version, command, textOf(found)));
    return normal(command, expected) === normal(command, through);
  }

  private differ(command: string, direct: string, through: string, log: readonly string[]): void {
    const { seed, round } = this;
    const difference = { seed, round, command, direct, through, before: log };
    this.outcome.differences.push(difference);
    this.outcome.tell(difference);
  }
}

/** What the grammar's function reads if it is told no key. */
function withoutOwnKey(word: string): string {
  return word.replace("k[1] or 'a'", "k[1]");
}

/** Two replies of SCRIPT EXISTS: is whatever `direct` has also in `through`? */
function existsMore(direct: string, through: string): boolean {
  const [one, other] = [direct, through].map((reply) => [...reply.matchAll(/^:([01])\r$/gm)]);
  return one!.length > 0 && one!.length === other!.length &&
    one!.every(([, exists], i) => exists! <= other![i]![1]!);
}

/** See EXCLUDED, and there for FUNCTION LIST. */
function excluded(command: Command): boolean {
  if (/^FUNCTION LIST\b/i.test(command.join(" ")) && /[\r\n]/.test(command.join(" "))) return true;
  return command.length > 0 &&
    /^(HELLO|RESET|AUTH|CLIENT|ASKING|CLUSTER|COMMAND|SELECT|SWAPDB|MOVE|WAIT)$/.test(nameOf(command));
}

/** All of SCAN, as one reply. */
async function walk(client: RawClient, command: Command, first: Uint8Array): Promise<Uint8Array> {
  const keys: string[] = [];
  let text = textOf(first);
  for (;;) {
    const cursor = /^\*2\r\n\$\d+\r\n(\d+)\r\n/.exec(text)![1]!;
    const list = text.slice(text.indexOf("*", 1));
    keys.push(...bulks(list));
    if (cursor === "0") break;
    await client.send(encode([command[0]!, cursor, ...command.slice(2)]));
    text = textOf(await readOne(client));
    if (!text.startsWith("*2")) return latin1(text);
  }
  return concat([latin1("*2\r\n$1\r\n0\r\n"), encode(keys)]);
}

function bulks(list: string): string[] {
  const found: string[] = [];
  let at = list.indexOf("\n") + 1;
  while (at < list.length) {
    const line = list.indexOf("\n", at) + 1;
    const size = Number(list.slice(at + 1, line - 2));
    found.push(list.slice(line, line + size));
    at = line + size + 2;
  }
  return found;
}

async function readOne(client: RawClient): Promise<Uint8Array> {
  try {
    return (await client.readReply()).raw;
  } catch (error) {
    return new TextEncoder().encode(`!! ${(error as Error).message}`);
  }
}

function line(command: Command, reply: Uint8Array): string {
  return `${shown(command)}  =>  ${show(reply, 80)}`;
}

function shown(command: Command): string {
  return command.map((word) =>
    word.length > 60 ? `${JSON.stringify(word.slice(0, 20))}…(${word.length})` : JSON.stringify(word)
  ).join(" ");
}
