/**
 * What one seed's world is made of: the pool's configuration, its servers, clients, and what will go wrong. Swarm style:
 * each feature and each fault is off in many seeds, so that what only shows when one is frequent and another absent is
 * seen.
 */
import type { Config, PoolConfig } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import {
  alphaOf,
  type Change,
  changesOf,
  DISTRIBUTIONS,
  type Draft,
  type DraftServer,
  HASHES,
  OF_TRACKING,
  SPARES,
  TAGS,
  textOf,
  usersWith,
} from "./changes.ts";
import { limitsIn } from "./allowances.ts";
import { OLDEST } from "../../src/memcached/versions.ts";
import { usersIn } from "./rules.ts";
import { CALM, type Faults, swarm } from "./faults.ts";
import { Random } from "./random.ts";
import { GOOD, type Habits } from "./sim_server.ts";

export interface Plan {
  readonly config: Config;
  readonly pool: PoolConfig;
  /** What the pool becomes while it runs, in this order. */
  readonly changes: readonly Change[];
  /** The changes are to meet clients in the middle of something: these go on asking, in pieces, for few keys, and servers take their time. */
  readonly meets: boolean;
  /** All that the pool is at some time. */
  readonly pools: readonly PoolConfig[];
  readonly text: string;
  readonly redis: boolean;
  /** Nothing at all goes wrong: no client may see any error of the proxy's. */
  readonly calm: boolean;
  readonly serverFaults: Faults;
  readonly clientFaults: Faults;
  /** A connection of a client may be lost through no fault of its own. */
  readonly clientsLoseConnections: boolean;
  /** One a machine that servers are on. */
  readonly habits: readonly Habits[];
  /** A server of the pool has its other address from then on; empty but with `failover`. */
  readonly switches: readonly { readonly atMs: number; readonly server: number }[];
  /** What happens to servers, and when. */
  readonly events: readonly ServerEvent[];
  readonly clients: number;
  /** Clients come within so many ms. */
  readonly arrivalsMs: number;
  readonly chaosMs: number;
  readonly requestsMax: number;
  /** Some clients speak RESP3. */
  readonly resp3: number;
  /** How many of the clients subscribe to channels. */
  readonly subscribers: number;
  /** How many of the clients keep a cache (CLIENT TRACKING). */
  readonly trackers: number;
  readonly bigValues: boolean;
  /** Values of megabytes, which fill kernels and outboxes. */
  readonly hugeValues: boolean;
  /** The proxy drains at the end; else it stops at once. */
  readonly drains: boolean;
  /** Requests with more arguments go out in slices; few in half of the worlds, so that there are such requests. */
  readonly sliceArguments: number;
  /** Some turns take their time: timers become due in the middle of them. */
  readonly longTurns: boolean;
  /** How often a server is full when somebody connects. */
  readonly turnsAway: number;
  /** Commands of a transaction. */
  readonly transactionsMax: number;
  /** In transactions there are commands that their server does not get. */
  readonly asides: boolean;
  /** Every turn takes a moment: something comes between the slices of a request. */
  readonly slowTurns: boolean;
  /** Clients load scripts and run them. */
  readonly scripts: boolean;
  /** The proxy's process is stopped for a while; if it has requests under way, or soon. Not in worlds of long turns. */
  readonly stops: readonly { readonly atMs: number; readonly forMs: number }[];
  /** A reply of so many bytes goes on in parts; few in half of the worlds, so that there are such replies. */
  readonly passMin: number;
  /** Worker threads that the clients are spread over. */
  readonly workers: number;
  /** Of a memcached world: what each machine's server answers to `version`. */
  readonly versions: readonly string[];
  /** A client loads libraries of functions, and takes them away again. */
  readonly libraries: boolean;
  /** The pool has `per_address`, at some time, or `per_user`. */
  readonly limited: boolean;
  /** … and a user with rules, who all clients are. */
  readonly ruled: boolean;
  /** What is sent arrives at its multiples, ms, so that many sockets have something to read in the same turn; 0: at any time. */
  readonly gridMs: number;
  /** Who watches a key watches another. */
  readonly rewatches: boolean;
}

export interface ServerEvent {
  readonly atMs: number;
  /** The machine. */
  readonly server: number;
  readonly kind: "crash" | "vanish" | "freeze" | "stall" | "restart";
  readonly forMs: number;
  readonly losesMemory: boolean;
  readonly loadingMs: number;
}

/** Commands of a transaction, where it is a usual one. */
export const FEW = 5;
export const PASS_USUAL = 1024 * 1024;

/** Has the world of this seed a Redis pool, and not one of memcached? Known without making the rest of its plan. */
export function isRedisWorld(seed: number): boolean {
  return drawRedis(new Random(seed).fork());
}

function drawRedis(random: Random): boolean {
  return random.chance(0.6);
}

/**
 * @param meeting it is to be a world of changes that meet clients in the middle of something
 * @param plain without what worlds had no part of at first
 */
export function planOf(random: Random, meeting = false, plain = false): Plan {
  const aside = random.aside();
  const redis = drawRedis(random);
  const ofLimits = random.aside();
  const limited = !plain && ofLimits.chance(0.25);
  const servers = random.chance(0.15) ? 1 : random.int(2, 6);
  const calm = random.chance(0.1);
  const chaosMs = random.magnitude(200, 10_000);
  const password = redis && random.chance(0.1) ? "secret" : null;
  const ruled = !plain && redis && password === null && ofLimits.chance(0.25);
  let draft = draftOf(random, redis, servers, password);
  const versions = redis ? [] : versionsOf(aside, servers + SPARES);
  if (!redis && aside.chance(0.3)) {
    const keys = new Map(draft.keys).set("users", usersWith("secret"));
    draft = { ...draft, keys, hasUsers: true };
  }
  const withLimits = (draft: Draft): Draft => {
    const keys = new Map(draft.keys);
    const limits = limitsIn(ofLimits);
    if (limits === null) keys.delete("per_address");
    else keys.set("per_address", limits);
    const ofUsers = ruled ? limitsIn(ofLimits, false) : null;
    if (ofUsers === null) keys.delete("per_user");
    else keys.set("per_user", ofUsers);
    return { ...draft, keys };
  };
  const withRules = (draft: Draft): Draft => {
    const keys = new Map(draft.keys).set("users", usersIn(ofLimits));
    keys.delete("redis_auth");
    return { ...draft, keys };
  };
  if (limited) draft = withLimits(draft);
  if (ruled) draft = withRules(draft);
  const text = textOf(draft);
  const config = parseConfig(text, "sim.yml");
  const serverFaults = calm ? CALM : random.chance(0.3) ? CALM : swarm(random);
  let clientFaults = calm ? CALM : random.chance(0.4) ? CALM : swarm(random);
  // A client that is never let in has nothing to tell.
  clientFaults = { ...clientFaults, refuse: 0, blackHole: 0 };
  const events: ServerEvent[] = [];
  if (!calm && random.chance(0.6)) {
    const count = random.int(1, 6);
    for (let i = 0; i < count; i++) {
      events.push({
        atMs: random.next() * chaosMs,
        server: random.int(0, servers - 1),
        kind: random.pick(["crash", "crash", "vanish", "freeze", "stall", "restart"] as const),
        forMs: random.magnitude(1, 3000),
        losesMemory: random.chance(0.5),
        loadingMs: redis && random.chance(0.3) ? random.magnitude(1, 500) : 0,
      });
    }
  }
  const drawn = {
    config,
    pool: config.pools[0]!,
    text,
    redis,
    calm,
    serverFaults,
    clientFaults,
    clientsLoseConnections: clientFaults.reset > 0 || clientFaults.vanish > 0,
    habits: Array.from({ length: servers }, () => calm ? GOOD : habitsOf(random)),
    switches: [] as { atMs: number; server: number }[],
    events,
    clients: random.int(1, 8),
    // Half of the worlds are crowded: requests of many clients meet on one connection.
    arrivalsMs: random.chance(0.5) ? 20 : chaosMs * 0.7,
    chaosMs,
    requestsMax: random.magnitude(5, 120),
    resp3: redis ? random.pick([0, 0.5, 1]) : 0,
    subscribers: random.chance(0.3) ? 0.5 : 0,
    // What is owed for them would have to be waited for.
    bigValues: random.chance(0.15) && !limited,
    hugeValues: !calm && random.chance(0.05) && !limited,
    drains: random.chance(0.5),
    sliceArguments: random.pick([4096, 4096, 4096, 1, 3, 5]),
    passMin: random.pick([PASS_USUAL, PASS_USUAL, PASS_USUAL, 1, 1, 30]),
    // Drawn last, each behind what was there before: worlds without are as they were.
    trackers:
      redis && config.pools[0]!.argumentsMax >= OF_TRACKING && random.chance(0.3) && !limited && !ruled
        ? 0.7
        : 0,
    longTurns: !calm && random.chance(0.15),
    turnsAway: !calm && random.chance(0.15) ? 0.5 * random.next() : 0,
    transactionsMax: redis && random.chance(0.3) ? 60 : FEW,
    asides: redis && random.chance(0.3),
    slowTurns: redis && random.chance(0.5),
    // One that has lost its memory and may not leave the ring is not told again.
    scripts: redis && config.pools[0]!.autoEjectHosts && random.chance(0.4) &&
      config.pools[0]!.maxEjected === 1,
    stops: stopsOf(random, calm ? 0.5 : 0.15, chaosMs),
    versions,
    limited,
    ruled,
    libraries: false,
    gridMs: !plain && !meeting && aside.chance(0.4) ? aside.pick([0.3, 1, 3]) : 0,
    rewatches: !plain && !meeting,
  };
  const { autoEjectHosts, maxEjected } = config.pools[0]!;
  const libraries = redis && !plain && autoEjectHosts && maxEjected === 1 && !drawn.scripts && !limited &&
    ofLimits.chance(0.6);
  const plan = libraries ? { ...drawn, ...unhaltedOf(drawn), libraries } : drawn;
  if (!random.chance(calm ? 0.6 : 0.25) && !meeting) {
    const still = { ...plan, changes: [], meets: false, pools: [plan.pool], workers: 1 };
    return redis && !calm && random.chance(0.3) ? replaced(random, still) : still;
  }
  const meets = random.chance(0.3) || meeting;
  const shortMs = meets ? Math.min(chaosMs, random.magnitude(100, 400)) : chaosMs;
  const others = (next: Draft) => {
    const changed = limited && ofLimits.chance(0.5) ? withLimits(next) : next;
    return ruled && ofLimits.chance(0.6) ? withRules(changed) : changed;
  };
  const changes = changesOf(random, draft, shortMs, meets, others);
  const spread = random.chance(0.4);
  const machines = 1 + Math.max(...changes.map((change) => change.machines));
  while (plan.habits.length < machines) plan.habits.push(calm ? GOOD : habitsOf(random));
  const slow = { busy: 0.9, busyMaxMs: random.magnitude(2, 20) };
  return {
    ...plan,
    changes,
    meets,
    ...(meets ? { chaosMs: shortMs, arrivalsMs: 20 } : {}),
    // Where one is slow and another is not, a key that moves to the quick one is there before what is still at the slow one.
    habits: plan.habits.map((habits) =>
      meets && !calm && random.chance(0.5) ? { ...habits, ...slow } : habits
    ),
    pools: [plan.pool, ...changes.map((change) => alphaOf(change.config))],
    // The invalidations of one client go to another one of the same worker only.
    workers: spread && plan.trackers === 0 && !plan.scripts ? 2 : 1,
  };
}

/** What had been sent to a server that stood still is done when it goes on, whatever it has been told since: none does. */
function unhaltedOf({ serverFaults, habits, events }: Pick<Plan, "serverFaults" | "habits" | "events">) {
  return {
    serverFaults: { ...serverFaults, stall: 0 },
    habits: habits.map((each) => ({ ...each, busy: 0 })),
    events: events.map((event) =>
      event.kind === "freeze" || event.kind === "stall" ? { ...event, kind: "crash" as const } : event
    ),
  };
}

/** The same world, in which others take the place of servers now and then. */
function replaced(random: Random, plan: Plan): Plan {
  // A file would have to name the replicas too: here the seed says where servers are.
  const pool: PoolConfig = { ...plan.pool, failover: "promote" };
  const config = { ...plan.config, pools: [pool] };
  const switches = Array.from({ length: random.int(1, 8) }, () => ({
    atMs: random.next() * plan.chaosMs,
    server: random.int(0, pool.servers.length - 1),
  }));
  return { ...plan, config, pool, pools: [pool], switches };
}

/** It may be off the ring at some time, so that its keys have another server for a while. */
export function ejects({ pools }: Plan): boolean {
  return pools.some((pool) => pool.autoEjectHosts);
}

/** At some time no key has a server of its own. */
export function isDrawn({ pools }: Plan): boolean {
  return pools.some((pool) => pool.distribution === "random");
}

/** A key, as it is called without its tag, is in one place at a time. */
export function isOrdered(plan: Plan): boolean {
  const { hashTag, databases } = plan.pool;
  const sameTags = plan.pools.every((pool) => String(pool.hashTag) === String(hashTag));
  return hashTag !== null && sameTags && databases === 1 && !ejects(plan) && !isDrawn(plan);
}

/** Of one line, old or new, or of both. */
function versionsOf(aside: Random, machines: number): string[] {
  const all = aside.pick([OLD, OLD, NEWER, NEWER, [...OLD, ...NEWER]]);
  return Array.from({ length: machines }, () => aside.pick(all));
}

const OLD = [OLDEST, "1.6.21"];
const NEWER = ["1.6.41", "1.6.45"];

function stopsOf(random: Random, chance: number, chaosMs: number): Plan["stops"] {
  if (!random.chance(chance)) return [];
  return Array.from({ length: random.int(1, 6) }, () => ({
    atMs: random.next() * chaosMs,
    forMs: random.magnitude(20, 5000),
  }));
}

function draftOf(random: Random, redis: boolean, count: number, password: string | null): Draft {
  const keys = new Map<string, string | number | boolean>([["redis", redis]]);
  const add = (key: string, value: string | number | boolean) => keys.set(key, value);
  add("hash", random.pick(HASHES));
  add("distribution", random.pick(DISTRIBUTIONS));
  if (random.chance(0.6)) add("hash_tag", `"${random.pick(TAGS)}"`);
  if (random.chance(0.7)) add("timeout", random.magnitude(20, 2000));
  add("connect_timeout", random.magnitude(10, 1000));
  add("server_connections", random.pick([1, 1, 2, 3]));
  if (random.chance(0.5)) {
    add("auto_eject_hosts", true);
    const limit = random.int(1, 4);
    add("server_failure_limit", limit);
    add("server_retry_timeout", random.magnitude(20, 2000));
    // Not drawn: worlds without are as they were.
    const cap = ["34%", "50%"][limit - 1];
    if (cap !== undefined) add("max_ejected", cap);
  }
  if (random.chance(0.3)) add("preconnect", true);
  if (random.chance(0.3)) add("max_in_flight", random.magnitude(1, 50));
  if (random.chance(0.3)) add("client_output_limit", random.magnitude(1024, 64 * 1024));
  if (random.chance(0.3)) add("max_request_size", random.magnitude(200, 64 * 1024));
  if (random.chance(0.2)) add("max_arguments", random.int(4, 12));
  if (random.chance(0.1)) add("idle_timeout", random.magnitude(500, 5000));
  if (random.chance(0.1)) add("client_connections", random.int(1, 4));
  if (redis && random.chance(0.2)) add("databases", random.int(2, 4));
  if (redis && random.chance(0.1)) add("redis_db", 1);
  if (password !== null) add("redis_auth", password);
  const named = random.chance(0.3);
  const servers: DraftServer[] = [];
  for (let machine = 0; machine < count; machine++) {
    const weight = random.chance(0.7) ? 1 : random.int(1, 5);
    servers.push({ machine, weight, name: named ? `shard${machine}` : null });
  }
  return { port: 0, keys, servers };
}

function habitsOf(random: Random): Habits {
  const rare = (most: number) => random.chance(0.7) ? 0 : most * 10 ** (-3 * random.next());
  return {
    busy: rare(0.5),
    busyMaxMs: random.magnitude(1, 3000),
    garbage: rare(0.03),
    extra: rare(0.03),
    hangUp: rare(0.05),
  };
}
