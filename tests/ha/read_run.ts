/**
 * Clients that write, and check that no read ever brings less than they have written (read_your_writes), while replicas stand still for
 * moments, are killed and come back with what they once had on their disk.
 *
 *   client: writes its own keys (values count up) ──► reads them at once, pipelined, after a moment ──► the last value, or it is stale
 *   trouble: a replica applies nothing for 20 to 200 ms (CLIENT PAUSE) │ kill -9, and started with its old dump
 */
import { RawClient } from "../lib/client.ts";
import type { Fixture } from "../lib/fixture.ts";
import { delay, poll } from "../lib/poll.ts";
import { Random } from "../lib/random.ts";
import { ReplyError, type Value } from "../lib/resp.ts";
import { poolYml, type Runtime, type Server } from "../lib/servers.ts";

export interface ReadRun {
  readonly runtime: Runtime;
  /** Checked reads, at least. */
  readonly reads: number;
  readonly clients: number;
  readonly readYourWrites: boolean;
  readonly readFrom: string;
  readonly workers: number;
  readonly seed: number;
  /** Replicas are killed too. */
  readonly kills: boolean;
}

export interface ReadOutcome {
  reads: number;
  writes: number;
  /** Reads that brought less than the client had written, in words. */
  readonly stale: string[];
  readonly errors: string[];
  /** Of the servers' own counts: GET, MGET, HGET and EXISTS. */
  atPrimaries: number;
  atReplicas: number;
  pauses: number;
  kills: number;
}

const KEYS = 6;
const READS = ["get", "mget", "hget", "exists"];

interface Step {
  readonly words: string[];
  /** What is wrong with the answer; null = nothing. Absent: a write, whose answer is only no error. */
  readonly check?: (value: Value) => string | null;
}

/** One client's view: the last value of each key of its own, which nobody else writes. */
class Writer {
  private readonly values: number[] = Array(KEYS).fill(0);
  private readonly hashes: number[] = Array(KEYS).fill(0);
  private last = 0;

  constructor(private readonly id: number, private readonly random: Random) {}

  batch(): Step[] {
    const steps: Step[] = [];
    const { random } = this;
    // Most clients read most of the time: only so do they come to replicas at all.
    if (random.next() < 0.3) { for (let i = random.between(1, 3); i > 0; i--) steps.push(...this.write()); }
    for (let i = random.between(1, 40); i > 0; i--) steps.push(this.read());
    return steps;
  }

  private write(): Step[] {
    const { random } = this;
    const key = random.below(KEYS);
    const value = ++this.last;
    switch (random.below(7)) {
      case 0: {
        const other = (key + 1) % KEYS;
        this.values[key] = this.values[other] = value;
        return [{ words: ["MSET", this.key(key), String(value), this.key(other), String(value)] }];
      }
      case 1:
        this.hashes[key] = value;
        return [{ words: ["HSET", this.hash(key), "f", String(value)] }];
      case 2:
        this.values[key] = value;
        return [{ words: ["MULTI"] }, { words: ["SET", this.key(key), String(value)] }, { words: ["EXEC"] }];
      case 3:
        this.values[key] = value;
        return [{
          words: ["EVAL", "return redis.call('set', KEYS[1], ARGV[1])", "1", this.key(key), String(value)],
        }];
      case 4:
        this.values[key] = 0;
        return [{ words: ["DEL", this.key(key)] }];
      default:
        this.values[key] = value;
        return [{ words: ["SET", this.key(key), String(value)] }];
    }
  }

  private read(): Step {
    const { random } = this;
    const key = random.below(KEYS);
    const wants = (name: string, wanted: number, value: Value) =>
      Number(value ?? 0) === wanted
        ? null
        : `client ${this.id}: ${name} is ${value}, it has written ${wanted}`;
    const wanted = this.values[key]!;
    switch (random.below(4)) {
      case 0: {
        const all = [...this.values];
        return {
          words: ["MGET", ...all.map((_, i) => this.key(i))],
          check: (value) => {
            const wrong = all.map((each, i) => wants(`${this.key(i)} (MGET)`, each, (value as Value[])[i]!));
            return wrong.find((each) => each !== null) ?? null;
          },
        };
      }
      case 1: {
        const last = this.hashes[key]!;
        return { words: ["HGET", this.hash(key), "f"], check: (value) => wants(this.hash(key), last, value) };
      }
      case 2:
        return {
          words: ["EXISTS", this.key(key)],
          check: (value) => wants(`EXISTS ${this.key(key)}`, wanted === 0 ? 0 : 1, value),
        };
      default:
        return { words: ["GET", this.key(key)], check: (value) => wants(this.key(key), wanted, value) };
    }
  }

  private key(i: number): string {
    return `s:${this.id}:${i}`;
  }

  private hash(i: number): string {
    return `h:${this.id}:${i}`;
  }
}

/** Two primaries with two replicas each. */
interface Set {
  readonly primaries: readonly Server[];
  readonly replicas: readonly Server[];
  readonly yml: string;
}

async function start(f: Fixture, run: ReadRun): Promise<Set> {
  const primaries: Server[] = [];
  const replicas: Server[] = [];
  const servers: string[] = [];
  for (const name of ["a", "b"]) {
    const primary = await f.redis({ port: 0 });
    const own: Server[] = [];
    for (let i = 0; i < 2; i++) {
      const args = ["--replicaof", "127.0.0.1", String(primary.port), "--dbfilename", `${name}${i}.rdb`];
      own.push(await f.redis({ port: 0, args }));
    }
    primaries.push(primary);
    replicas.push(...own);
    servers.push(
      `{ address: ${primary.address}, name: ${name}, replicas: [${
        own.map((each) => each.address).join(", ")
      }] }`,
    );
  }
  const yml = `ringmaster:\n  workers: ${run.workers}\n  zone: here\n` +
    poolYml({ alpha: { servers, read_from: run.readFrom, read_your_writes: run.readYourWrites } });
  return { primaries, replicas, yml };
}

async function readsAt(servers: readonly Server[]): Promise<number> {
  let sum = 0;
  for (const server of servers) {
    await using client = await RawClient.connect(server.target);
    const info = String(await client.command("INFO", "commandstats"));
    for (const read of READS) sum += Number(new RegExp(`cmdstat_${read}:calls=(\\d+)`).exec(info)?.[1] ?? 0);
  }
  return sum;
}

export async function readRun(f: Fixture, run: ReadRun): Promise<ReadOutcome> {
  const { primaries, replicas, yml } = await start(f, run);
  const proxy = await f.proxy(run.runtime, yml);
  const outcome: ReadOutcome = {
    reads: 0,
    writes: 0,
    stale: [],
    errors: [],
    atPrimaries: 0,
    atReplicas: 0,
    pauses: 0,
    kills: 0,
  };
  await poll(async () => {
    // Another one each time: with read_from any a client may stay with the primaries.
    await using probe = await f.client(proxy);
    for (let i = 0; i < 20; i++) await probe.command("GET", `probe${i}`);
    return await readsAt(replicas) > 0;
  }, "reads to go to replicas");
  const over = () => outcome.reads >= run.reads || outcome.errors.length > 0 || outcome.stale.length >= 100;
  const trouble = makeTrouble(run, replicas, outcome, over);
  const clients: RawClient[] = [];
  for (let i = 0; i < run.clients; i++) clients.push(await f.client(proxy));
  await Promise.all(clients.map((client, i) => use(client, i, run, outcome, over)));
  await trouble;
  outcome.atPrimaries = await readsAt(primaries);
  outcome.atReplicas += await readsAt(replicas);
  return outcome;
}

async function use(
  client: RawClient,
  id: number,
  { seed }: ReadRun,
  outcome: ReadOutcome,
  over: () => boolean,
): Promise<void> {
  const random = new Random(seed * 1000 + id);
  const writer = new Writer(id, random);
  while (!over()) {
    const steps = writer.batch();
    const values = await client.pipeline(...steps.map(({ words }) => words));
    steps.forEach(({ words, check }, i) => {
      const value = values[i]!;
      if (value instanceof ReplyError) return outcome.errors.push(`${words.join(" ")}: ${value.message}`);
      if (check === undefined) return outcome.writes++;
      outcome.reads++;
      const wrong = check(value);
      if (wrong !== null) outcome.stale.push(wrong);
    });
    if (random.next() < 0.1) await delay(random.below(40));
  }
}

/** Until it is over: replicas stand still for a moment, now and then one dies and comes back. */
async function makeTrouble(
  run: ReadRun,
  replicas: readonly Server[],
  outcome: ReadOutcome,
  over: () => boolean,
): Promise<void> {
  const random = new Random(run.seed);
  for (let round = 1; !over(); round++) {
    const replica = random.pick(replicas);
    if (run.kills && round % 20 === 0) {
      outcome.atReplicas += await readsAt([replica]);
      await replica.crash();
      await replica.start();
      outcome.kills++;
    } else {
      await using client = await RawClient.connect(replica.target);
      await client.command("CLIENT", "PAUSE", String(random.between(20, 200)), "WRITE");
      outcome.pauses++;
    }
    await delay(random.between(10, 60));
  }
}
