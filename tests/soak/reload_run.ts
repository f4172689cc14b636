/**
 * Clients at work while the configuration changes, again and again, and what has to be true all the same.
 *
 *   callers ──► alpha ──► some of the servers, under names, weights, distributions that change
 *   others ───► beta, which comes, goes and listens elsewhere
 *   director ─► files, good and broken ──HUP──► PIDFILE.reload
 *
 * All servers are well all the time, so no request of alpha may fail, and no client of it may lose its connection; a client of
 * beta may when beta is removed, but owed nothing. Replies are checked by each caller (caller.ts); counters at the end, summed over
 * the servers, are what was acknowledged: nothing was lost, nothing was done twice. After each change some keys are written through
 * the proxy and read from the servers: they are where the ring of the file says, and have moved only as `plan` says.
 */
import { parseConfig } from "../../src/config/parse.ts";
import { HASHES } from "../../src/hash/hash.ts";
import { Placement } from "../../src/ring/placement.ts";
import { changesOf } from "../../src/topology/plan.ts";
import { latin1 } from "../lib/bytes.ts";
import { Fixture } from "../lib/fixture.ts";
import { delay, poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { Random } from "../lib/random.ts";
import { exists } from "../lib/repo.ts";
import { poolYml, type Proxy, type Runtime, type Server } from "../lib/servers.ts";
import { Caller, sumOf } from "./caller.ts";
import { Connection } from "./connection.ts";
import { type Dialect, MEMCACHED, REDIS } from "./dialect.ts";
import { HABITS } from "./habits.ts";

export interface ReloadOptions {
  readonly changes: number;
  readonly broken: number;
  readonly clients: number;
  readonly seed: number;
  readonly runtime: Runtime;
  readonly workers: number;
  readonly memcached: boolean;
  /** So many seconds with a reload in them are measured, and as many without. */
  readonly seconds: number;
  progress?(text: string): void;
}

const SERVERS = 6;
/** Keys that are looked for after each change, through so many connections. */
const LOOKED_FOR = 24;
const LOOKERS = 4;
const SECOND_MS = 1000;

interface Entry {
  name: string;
  server: Server;
  weight: number;
}

/** A configuration as the director thinks of it. */
interface State {
  readonly entries: Entry[];
  distribution: string;
  hash: string;
  listen: string;
  timeout: number;
  serverConnections: number;
  eject: boolean;
  /** Where beta listens; null: there is none. */
  beta: string | null;
}

/** What happened, and in `wrong` all that must not. */
export async function reloadRun(options: ReloadOptions) {
  await using f = new Fixture();
  const random = new Random(options.seed);
  const dialect = options.memcached ? MEMCACHED : REDIS;
  const servers: Server[] = [];
  for (let i = 0; i < SERVERS; i++) servers.push(options.memcached ? await f.memcached() : await f.redis());
  const places = Array.from({ length: 5 }, () => `127.0.0.1:${freePort()}`);
  const state: State = {
    entries: servers.slice(0, 3).map((server, i) => ({ name: `s${i}`, server, weight: 1 })),
    distribution: "ketama",
    hash: "fnv1a_64",
    listen: places[0]!,
    timeout: 10_000,
    serverConnections: 1,
    eject: false,
    beta: places[3]!,
  };
  const director = await Director.start(f, options, state, servers, places, random);
  const { proxy } = director;
  const make = (i: number, port: number) => {
    const habit = { ...HABITS[i % HABITS.length]!, moving: true };
    return new Caller(`c${i}`, { port }, new Random(options.seed * 1000 + i), habit, dialect);
  };
  const portOf = (place: string) => Number(place.split(":")[1]);
  const callers = Array.from({ length: options.clients }, (_, i) => make(i, portOf(places[0]!)));
  const others = Array.from({ length: 8 }, (_, i) => make(options.clients + i, portOf(places[3]!)));
  const lookers = await Promise.all(
    Array.from({ length: LOOKERS }, () => Connection.open({ port: portOf(places[0]!) }, dialect)),
  );
  const direct = new Map<Server, Connection>();
  for (const server of servers) direct.set(server, await Connection.open(server.target, dialect));
  const wrong: string[] = [];
  let over = false;
  const running = [...callers, ...others].map((caller) => caller.run(() => over));
  const took = { quiet: [] as number[], reload: [] as number[] };
  /** One second's bursts. */
  const second = async (into: number[], meanwhile: () => Promise<void>) => {
    for (const caller of callers) caller.tookMs = [];
    await Promise.all([delay(SECOND_MS), meanwhile()]);
    for (const caller of callers) into.push(...caller.tookMs!);
    for (const caller of callers) caller.tookMs = null;
  };
  const kinds = shuffled(
    [...new Array(options.changes).fill("change"), ...new Array(options.broken).fill("broken")] as const,
    random,
  );
  try {
    await poll(() => sumOf(callers).replies > 20 * callers.length, "traffic");
    for (const [i, kind] of kinds.entries()) {
      if (proxy.status !== null) throw new Error(`the proxy ended:\n${proxy.log.slice(-2000)}`);
      const step = () => kind === "change" ? director.change() : director.spoil();
      if (i < options.seconds) {
        await second(took.quiet, () => Promise.resolve());
        await second(took.reload, async () => {
          await delay(SECOND_MS / 4);
          await step();
        });
      } else await step();
      wrong.push(...await misplaced(director, lookers, direct, dialect, i));
      if (i % 20 === 19) {
        const { requests, lost } = sumOf(callers);
        options.progress?.(`${i + 1} files, ${requests} requests, ${lost} lost, ${wrong.length} wrong`);
      }
    }
  } finally {
    over = true;
    await Promise.allSettled(running);
    for (const looker of lookers) looker.close();
  }
  wrong.push(...director.wrong, ...await miscounted([...direct.values()], [...callers, ...others], dialect));
  for (const connection of direct.values()) connection.close();
  const sum = sumOf(callers);
  const sumOthers = sumOf(others);
  if (sum.connects !== callers.length) {
    wrong.push(`${callers.length} clients have connected ${sum.connects} times`);
  }
  wrong.push(...sum.wrong, ...sumOthers.wrong, ...sum.losses, ...sumOthers.losses);
  for (const errors of [sum.errors, sumOthers.errors]) {
    for (const [text, count] of Object.entries(errors)) wrong.push(`${count} times: ${text}`);
  }
  const [quiet, reload] = [p99(took.quiet), p99(took.reload)];
  return {
    requests: sum.requests + sumOthers.requests,
    connects: { alpha: sum.connects, beta: sumOthers.connects },
    files: director.files,
    reloadMs: { median: median(director.tookMs), max: Math.round(Math.max(...director.tookMs)) },
    p99Ms: { quiet, reload, times: Math.round(100 * reload / quiet) / 100 },
    bursts: { quiet: took.quiet.length, reload: took.reload.length },
    wrong,
  };
}

/** Writes files and sees what becomes of them. */
class Director {
  readonly wrong: string[] = [];
  readonly files: Record<string, number> = {};
  readonly tookMs: number[] = [];
  yml: string;
  /** The one before. */
  oldYml: string;
  private rows: Record<string, Record<string, number>> = {};
  private serial = 0;
  /** What the last file was. */
  last = "";

  private constructor(
    readonly proxy: Proxy,
    private readonly statusFile: string,
    readonly state: State,
    private readonly options: ReloadOptions,
    private readonly servers: readonly Server[],
    private readonly places: readonly string[],
    private readonly random: Random,
  ) {
    this.yml = this.oldYml = ymlOf(state, options);
  }

  static async start(
    f: Fixture,
    options: ReloadOptions,
    state: State,
    servers: readonly Server[],
    places: readonly string[],
    random: Random,
  ): Promise<Director> {
    const pidFile = `${f.dir}/proxy.pid`;
    const proxy = await f.proxy(options.runtime, ymlOf(state, options), { args: ["-p", pidFile] });
    await poll(() => exists(pidFile), "the pid file");
    return new Director(proxy, `${pidFile}.reload`, state, options, servers, places, random);
  }

  /** One to three things become other. */
  async change(): Promise<void> {
    const what = new Set<string>();
    for (let n = this.random.between(1, 3); n > 0; n--) what.add(this.alter());
    this.last = [...what].join();
    for (const each of what) this.files[each] = (this.files[each] ?? 0) + 1;
    this.oldYml = this.yml;
    this.yml = ymlOf(this.state, this.options);
    const { ok, text } = await this.reload(this.yml);
    if (!ok) this.wrong.push(`refused: ${text}\n${this.yml}`);
    if (ok && /nothing is different/.test(text)) this.files.same = (this.files.same ?? 0) + 1;
    await this.compareRows();
  }

  private alter(): string {
    const { state, random, servers } = this;
    const { entries } = state;
    const free = servers.filter((server) => !entries.some((entry) => entry.server === server));
    const entry = random.pick(entries);
    const name = () => `s${random.between(0, 99)}`;
    const unused = () => {
      for (;;) {
        const found = name();
        if (!entries.some((each) => each.name === found)) return found;
      }
    };
    switch (random.below(11)) {
      case 0:
      case 1:
        if (free.length === 0) return this.alter();
        entries.push({ name: unused(), server: random.pick(free), weight: random.between(1, 4) });
        return "added";
      case 2:
      case 3:
        if (entries.length === 1) return this.alter();
        entries.splice(entries.indexOf(entry), 1);
        return "removed";
      case 4:
        entry.weight = random.between(1, 9);
        return "reweighted";
      case 5:
        entry.name = unused();
        return "renamed";
      case 6:
        if (free.length === 0) return this.alter();
        entry.server = random.pick(free);
        return "moved";
      case 7:
        state.distribution = random.pick(["ketama", "modula"]);
        state.hash = random.pick(["fnv1a_64", "md5"]);
        return "ring";
      case 8:
        state.listen = random.pick(this.places.slice(0, 3));
        return "listen";
      case 9:
        state.timeout = random.between(5000, 20_000);
        state.serverConnections = random.between(1, 3);
        state.eject = random.below(2) === 0;
        return "settings";
      default:
        state.beta = random.pick([null, this.places[3]!, this.places[4]!]);
        return "beta";
    }
  }

  /** A file that has to be refused. */
  async spoil(): Promise<void> {
    const { random, yml } = this;
    const [name, spoilt] = random.pick(
      [
        ["unknown key", yml + "  colour: red\n"],
        ["half a file", yml.slice(0, yml.indexOf("servers:") + 4)],
        ["no YAML", yml + "  [\n"],
        ["protocol", yml.replaceAll(/redis: (true|false)/g, (_, is) => `redis: ${is === "false"}`)],
        ["number", yml.replace(/timeout: \d+/, "timeout: soon")],
      ] as const,
    );
    this.last = name;
    this.files[name] = (this.files[name] ?? 0) + 1;
    const { ok } = await this.reload(spoilt);
    if (ok) this.wrong.push(`taken, though it is broken (${name}): ${spoilt}`);
    await this.compareRows();
  }

  private async reload(yml: string): Promise<{ ok: boolean; text: string }> {
    Deno.writeTextFileSync(`${this.proxy.file}.new`, yml);
    Deno.renameSync(`${this.proxy.file}.new`, this.proxy.file);
    const startMs = performance.now();
    this.proxy.kill("SIGHUP");
    const outcome = await poll(() => {
      const found = JSON.parse(Deno.readTextFileSync(this.statusFile));
      return found.serial > this.serial ? found : null;
    }, "the reload to end");
    this.tookMs.push(performance.now() - startMs);
    if (outcome.serial !== this.serial + 1) {
      this.wrong.push(`serial ${outcome.serial} after ${this.serial}: ${outcome.text}`);
    }
    this.serial = outcome.serial;
    return outcome;
  }

  /** The servers of the file, and no counter that goes backwards. */
  private async compareRows(): Promise<void> {
    const all = (await this.proxy.stats()).alpha as Record<string, Record<string, number>>;
    const rows = Object.fromEntries(Object.entries(all).filter(([, row]) => typeof row === "object"));
    const names = this.state.entries.map(({ name }) => name).sort().join();
    const found = Object.keys(rows).sort().join();
    if (found !== names) this.wrong.push(`statistics of ${found}, expected ${names}`);
    for (const [name, row] of Object.entries(rows)) {
      for (const counter of ["requests", "responses", "request_bytes", "response_bytes"]) {
        if (row[counter]! < (this.rows[name]?.[counter] ?? 0)) this.wrong.push(`${counter} of ${name} fell`);
      }
      if (row.server_err! + row.server_timedout! > 0) this.wrong.push(`${name} has failed`);
    }
    this.rows = rows;
  }
}

function ymlOf(state: State, { workers, memcached }: ReloadOptions): string {
  const keys = {
    redis: !memcached,
    hash: state.hash,
    timeout: state.timeout,
    server_connections: state.serverConnections,
    auto_eject_hosts: state.eject,
  };
  const servers = state.entries.map(({ name, server, weight }) => `${server.address}:${weight} ${name}`);
  const alpha = { ...keys, listen: state.listen, distribution: state.distribution, servers };
  const beta = { ...keys, listen: state.beta ?? "", distribution: "ketama", servers };
  return `ringmaster: { workers: ${workers}, shutdown_timeout: 5000 }\n` +
    poolYml(state.beta === null ? { alpha } : { alpha, beta });
}

/** Keys that are not where the file says, or have moved otherwise than the plan says. */
async function misplaced(
  director: Director,
  lookers: readonly Connection[],
  direct: ReadonlyMap<Server, Connection>,
  dialect: Dialect,
  round: number,
): Promise<string[]> {
  const wrong: string[] = [];
  const [before, after] = [director.oldYml, director.yml].map((yml) => parseConfig(yml, "x.yml").pools);
  const alpha = (pools: typeof before) => pools!.find((pool) => pool.name === "alpha")!;
  const [from, to] = [ownersOf(alpha(before)), ownersOf(alpha(after))];
  const plan = changesOf(before!, after!).find((change) => change.name === "alpha")!.plan(false);
  const heirs = new Map(plan.servers.map(({ formerly, name }) => [formerly, name]));
  const moves = new Set(plan.moves.map((move) => `${move.from} ${move.to}`));
  const keys = Array.from({ length: LOOKED_FOR }, (_, i) => `looked:${round}:${i}`);
  for (const [i, key] of keys.entries()) {
    const value = `v${round}`;
    const looker = lookers[i % lookers.length]!;
    const owner = director.state.entries.find(({ name }) => name === to(key))!;
    const isThere = async () => {
      const [stored] = await looker.ask(dialect.set(key, value), 1);
      if (stored !== dialect.stored) wrong.push(`${key}: ${Deno.inspect(stored)}`);
      const [reply] = await direct.get(owner.server)!.ask(dialect.get(key), 1);
      return dialect.valuesOf([key], reply!)?.[0] === value;
    };
    // With auto_eject_hosts a new server is told of scripts first, and is on the ring a little later.
    const there = director.state.eject ? await poll(isThere, key, 2000).catch(() => false) : await isThere();
    if (!there) wrong.push(`${key} is not on ${owner.name} (${director.last})`);
    const [was, is] = [from(key), to(key)];
    if (plan.moved !== null && heirs.get(was) !== is && !moves.has(`${was} ${is}`)) {
      wrong.push(`${key} has moved from ${was} to ${is}, which plan does not say`);
    }
  }
  return wrong;
}

/** By key, the name of its server. */
function ownersOf({ hash, distribution, hashTag, servers }: ReturnType<typeof parseConfig>["pools"][number]) {
  const placement = new Placement({ hash: HASHES[hash], distribution, hashTag, servers, random: () => 0 });
  return (key: string) => {
    const bytes = latin1(key);
    return servers[placement.serverOf(bytes, 0, bytes.length)]!.name;
  };
}

/** Counters whose sum over all servers is not what was acknowledged. */
async function miscounted(
  connections: readonly Connection[],
  callers: readonly Caller[],
  dialect: Dialect,
): Promise<string[]> {
  const wrong: string[] = [];
  for (const caller of callers) {
    for (const [i, counted] of caller.counted.entries()) {
      const key = caller.counterKey(i);
      let sum = 0;
      for (const connection of connections) {
        const [reply] = await connection.ask(dialect.get(key), 1);
        sum += Number(dialect.valuesOf([key], reply!)?.[0] ?? 0);
      }
      if (sum < counted || sum > caller.sent[i]!) {
        wrong.push(`${key} is ${sum}: acknowledged ${counted}, sent ${caller.sent[i]}`);
      }
    }
  }
  return wrong;
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const rest = [...items];
  return items.map(() => rest.splice(random.below(rest.length), 1)[0]!);
}

function p99(values: readonly number[]): number {
  if (values.length === 0) return 0;
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round(100 * sorted[Math.floor(sorted.length * 0.99)]!) / 100;
}

const median = (values: readonly number[]) =>
  Math.round([...values].sort((a, b) => a - b)[values.length >> 1]!);
