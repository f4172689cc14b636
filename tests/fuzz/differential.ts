/**
 * The same random commands to a redis-server and to a pool of one, byte for byte.
 *
 *   seed ──► Grammar ──► batch of commands ──┬─► redis-server A                 ──► replies ┐
 *                                            └─► Ringmaster ──► redis-server B ──► replies ┴► equal?
 *
 * A round is two clients on each side, RESP2 or RESP3, that take turns with pipelined batches, so WATCH has conflicts and
 * order across clients is certain. After each round DEBUG DIGEST of both servers must be equal too: replies alone do not
 * show a write that went missing. What may differ is listed in normal.ts, and for newer servers in lib/versions.ts; what is not compared at all, in EXCLUDED.
 */
import { concat, latin1, show, textOf } from "../lib/bytes.ts";
import { RawClient, type Target } from "../lib/client.ts";
import { Random } from "../lib/random.ts";
import { abortsNested, inVersion, losesWrongAuth, type Version } from "../lib/versions.ts";
import { type Command, encodeCommand, FORMS, Grammar } from "./grammar.ts";
import { dependsOnSeed, normal } from "./normal.ts";

/** What is never generated, and why. */
export const EXCLUDED: Readonly<Record<string, string>> = {
  "TIME, RANDOMKEY, SPOP and SRANDMEMBER with a count, XADD with *":
    "random or the clock: no two servers agree",
  "INFO, CONFIG, CLIENT ID|LIST|INFO|KILL|PAUSE, COMMAND, MEMORY DOCTOR, SLOWLOG, LATENCY, x HELP":
    "about the server itself, or the proxy's own; redis_commands_test.ts",
  "MONITOR, SYNC, REPLICAOF, CLUSTER x, DEBUG, SHUTDOWN, SAVE, MIGRATE, ACL, MODULE": "refused or harmful",
  "MOVE to a database that is out of range, inside MULTI":
    "refused at once here, and EXEC aborts and says why; redis-server queues it, and it alone fails",
  "MULTI and WATCH inside MULTI, with Valkey 9":
    "it aborts the transaction; here, as with Redis, only the command is refused",
  "FUNCTION LIST with an argument of several lines, with Valkey 9":
    "it repeats the argument as it is, and what follows is one reply more (9.1.2); the proxy refuses it, whole_pool_test.ts",
  "AUTH and HELLO with a wrong user, with Redis 8.6":
    "it does not answer them where some requests before them came with them (8.6.3); the proxy answers them itself",
  "SUBSCRIBE and kin, CLIENT REPLY, CLIENT TRACKING":
    "not one reply a command: pubsub_test.ts, tracking_test.ts",
};

export interface Difference {
  readonly seed: number;
  readonly round: number;
  readonly command: string;
  readonly direct: string;
  readonly through: string;
  /** The last commands of that client, oldest first. */
  readonly before: readonly string[];
}

export interface Outcome {
  commands: number;
  rounds: number;
  families: Map<string, number>;
  differences: Difference[];
}

export interface Sides {
  /** Of redis-server A. */
  readonly direct: Target;
  readonly through: Target;
  /** redis-server B itself, to look at its data. */
  readonly behind: Target;
  /** Of both servers. */
  readonly version: Version;
}

/** Commands shown with a difference. */
const SHOWN_BEFORE = Number(Deno.env.get("FUZZ_BEFORE") ?? 12);

/** Runs rounds until `enough` says so, or MAX_DIFFERENCES have been found. */
const MAX_DIFFERENCES = 25;

export async function compare(
  sides: Sides,
  seed: number,
  enough: (outcome: Outcome) => boolean,
  firstRound = 0,
): Promise<Outcome> {
  const outcome: Outcome = { commands: 0, rounds: firstRound, families: new Map(), differences: [] };
  await using directAdmin = await RawClient.connect(sides.direct);
  await using behindAdmin = await RawClient.connect(sides.behind);
  while (!enough(outcome) && outcome.differences.length < MAX_DIFFERENCES) {
    const round = outcome.rounds++;
    for (const admin of [directAdmin, behindAdmin]) {
      await admin.pipeline(["FLUSHALL"], ["SCRIPT", "FLUSH"], ["FUNCTION", "FLUSH"]);
    }
    const same = await runRound(sides, seed, round, outcome);
    if (!same) continue;
    const digests = [
      await directAdmin.command("DEBUG", "DIGEST"),
      await behindAdmin.command("DEBUG", "DIGEST"),
    ];
    if (digests[0] !== digests[1]) {
      outcome.differences.push({
        seed,
        round,
        command: "DEBUG DIGEST after the round",
        direct: String(digests[0]),
        through: String(digests[1]),
        before: [],
      });
    }
  }
  return outcome;
}

/** One client on each side. */
class Pair implements AsyncDisposable {
  readonly log: string[] = [];
  /** MULTI has been sent, and no EXEC or DISCARD. */
  queueing = false;

  private constructor(readonly direct: RawClient, readonly through: RawClient) {}

  static async connect(sides: Sides): Promise<Pair> {
    return new Pair(await RawClient.connect(sides.direct), await RawClient.connect(sides.through));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.direct[Symbol.asyncDispose]();
    await this.through[Symbol.asyncDispose]();
  }
}

/** @returns false if it ended with a difference */
async function runRound(sides: Sides, seed: number, round: number, outcome: Outcome): Promise<boolean> {
  const random = new Random((seed * 1_000_003 + round) >>> 0);
  const grammar = new Grammar(random);
  // Swarm: each round knows only some families, and one of them well.
  const all = Object.keys(FORMS);
  const families = all.filter(() => random.below(2) === 0);
  // What the proxy answers itself cannot be part of a transaction.
  if (families.includes("transaction")) remove(families, "connection");
  if (families.length === 0) families.push("string");
  const favourite = random.pick(families);
  const transactional = families.includes("transaction");
  await using first = await Pair.connect(sides);
  await using second = await Pair.connect(sides);
  for (const pair of [first, second]) {
    const hello: Command[] = [];
    if (random.below(2) === 0) hello.push(["HELLO", "3"]);
    if (random.below(4) === 0) hello.push(["SELECT", String(random.below(4))]);
    if (!await runBatch(sides, pair, hello, false, seed, round, outcome)) return false;
  }
  for (let batch = random.between(3, 25); batch > 0; batch--) {
    const pair = random.below(3) === 0 ? second : first;
    const commands: Command[] = [];
    for (let n = random.pick([1, 1, 2, 5, 20]); n > 0; n--) {
      const family = random.below(4) === 0 ? favourite : random.pick(families);
      let command = grammar.command(family);
      // Inside EXEC's reply their parts cannot be told apart.
      if (transactional && (dependsOnSeed(command) || movesOutside(command))) command = ["PING"];
      if (losesWrongAuth(sides.version) && wrongUser(command)) command = ["PING"];
      if (abortsNested(sides.version) && nested(pair, command)) command = ["PING"];
      if (sides.version === "valkey 9.1" && repeatsLines(command)) command = ["PING"];
      commands.push(command);
      outcome.families.set(family, (outcome.families.get(family) ?? 0) + 1);
    }
    // A transaction ends with its batch: the other client's commands would otherwise be queued between.
    if (transactional && random.below(2) === 0) {
      commands.push([random.pick(["EXEC", "DISCARD"])]);
      pair.queueing = false;
    }
    if (!await runBatch(sides, pair, commands, random.below(10) === 0, seed, round, outcome)) return false;
  }
  return true;
}

function remove(list: string[], item: string): void {
  const at = list.indexOf(item);
  if (at >= 0) list.splice(at, 1);
}

/** See EXCLUDED. */
function movesOutside([name, , db]: Command): boolean {
  return /^move$/i.test(name!) && !/^(\d|1[0-5])$/.test(db ?? "0");
}

/** See EXCLUDED. */
function repeatsLines([name, sub, ...words]: Command): boolean {
  return /^function$/i.test(name!) && /^list$/i.test(sub ?? "") && words.some((word) => /[\r\n]/.test(word));
}

/** See EXCLUDED. */
function wrongUser(command: Command): boolean {
  const at = command.findIndex((word) => /^auth$/i.test(word));
  return (at === 0 && command.length === 3 && command[1] !== "default") ||
    (at > 0 && /^hello$/i.test(command[0]!) && command[at + 1] !== "default");
}

/** Follows what is sent to a pair: is this a MULTI or WATCH inside MULTI? */
function nested(pair: Pair, command: Command): boolean {
  const name = command[0]!.toUpperCase();
  // A wrong EXEC ends it, too; a wrong DISCARD or RESET does not.
  if (name === "EXEC" || ((name === "DISCARD" || name === "RESET") && command.length === 1)) {
    pair.queueing = false;
  }
  if (name !== "MULTI" && name !== "WATCH") return false;
  if (pair.queueing) return true;
  pair.queueing = name === "MULTI" && command.length === 1;
  return false;
}

async function runBatch(
  sides: Sides,
  pair: Pair,
  commands: readonly Command[],
  inline: boolean,
  seed: number,
  round: number,
  outcome: Outcome,
): Promise<boolean> {
  const bytes = concat(commands.map((args) => encodeCommand(args, inline)));
  await Promise.all([pair.direct.send(bytes), pair.through.send(bytes)]);
  for (const args of commands) {
    const text = shownCommand(args);
    // An empty inline line, or an array of nothing, has no reply.
    if (args.length === 0) continue;
    const [direct, through] = await Promise.all([readOne(pair.direct), readOne(pair.through)]);
    outcome.commands++;
    const expected = latin1(inVersion(sides.version, args, textOf(through)));
    if (normal(args, direct) !== normal(args, expected)) {
      outcome.differences.push({
        seed,
        round,
        command: text,
        direct: show(direct, 600),
        through: show(through, 600),
        before: pair.log.slice(-SHOWN_BEFORE),
      });
      return false;
    }
    pair.log.push(`${text}  =>  ${show(direct, 80)}`);
  }
  return true;
}

async function readOne(client: RawClient): Promise<Uint8Array> {
  try {
    return (await client.readReply()).raw;
  } catch (error) {
    return new TextEncoder().encode(`!! ${(error as Error).message}`);
  }
}

function shownCommand(args: Command): string {
  return args.map((arg) =>
    arg.length > 60 ? `${JSON.stringify(arg.slice(0, 20))}…(${arg.length})` : JSON.stringify(arg)
  )
    .join(" ");
}
