/**
 * Clients at work on four failing servers, and what has to be true all the same.
 *
 *   callers ──► proxy ─┬─► server 0            kill -9 and restart
 *                      ├─► server 1            SIGSTOP and SIGCONT, with its listen backlog full
 *                      ├─► relay ─► server 2   resets, silence
 *                      └─► relay ─► server 3   garbage in its replies, resets
 *
 * A redis-server appends to a file before it answers, so that kill -9 loses nothing that was acknowledged; a memcached that
 * was killed has forgotten its keys, and no others. Checked by each caller: see caller.ts. Checked here at the end, on the servers themselves: each counter is at least what was acknowledged
 * and at most what was sent, also if its key has moved and the count is spread over servers; and everything works again.
 */
import { parseConfig } from "../../src/config/parse.ts";
import { HASHES } from "../../src/hash/hash.ts";
import { Placement } from "../../src/ring/placement.ts";
import { latin1 } from "../lib/bytes.ts";
import { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { delay, poll } from "../lib/poll.ts";
import { Random } from "../lib/random.ts";
import { poolYml, type Runtime, type Server } from "../lib/servers.ts";
import { Caller, sumOf } from "./caller.ts";
import { Connection } from "./connection.ts";
import { type Dialect, MEMCACHED, REDIS } from "./dialect.ts";
import { HABITS } from "./habits.ts";
import { residentBytes } from "./memory.ts";
import { Relay } from "./relay.ts";

export interface FaultOptions {
  seconds: number;
  clients: number;
  seed: number;
  runtime: Runtime;
  /** auto_eject_hosts */
  eject: boolean;
  /** memcached servers; the one that is killed forgets. */
  memcached?: boolean;
  /** Called about once a second. */
  progress?: (text: string) => void;
}

const TIMEOUT_MS = 300;
/** What the proxy may grow by: far below what its clients could make it hold. */
const GROWTH_MAX_BYTES = 200e6;

/** What happened, and in `wrong` all that must not. */
export async function faultRun(options: FaultOptions) {
  await using f = new Fixture();
  const servers: Server[] = [];
  for (let i = 0; i < 4; i++) servers.push(await startServer(f, i, options.memcached ?? false));
  const relays: Relay[] = [];
  for (const server of servers.slice(2)) relays.push(f.add(await Relay.start(server.port)));
  const ports = [servers[0]!.port, servers[1]!.port, relays[0]!.port, relays[1]!.port];
  const yml = poolYml({
    alpha: {
      servers: ports.map((port, i) => `127.0.0.1:${port}:1 s${i}`),
      redis: !options.memcached,
      timeout: TIMEOUT_MS,
      connect_timeout: TIMEOUT_MS,
      auto_eject_hosts: options.eject,
      server_retry_timeout: 500,
      server_failure_limit: 2,
    },
  }) + "ringmaster:\n  admin: off\n";
  const dialect = options.memcached ? MEMCACHED : REDIS;
  // With ejections any key may have been on the server that is killed.
  const forgets = (key: string) => options.memcached === true && (options.eject || ownerOf(yml, key) === 0);
  const proxy = await f.proxy(options.runtime, yml);
  const callers = Array.from({ length: options.clients }, (_, i) => {
    const habit = { ...HABITS[i % HABITS.length]!, moving: options.eject, forgets };
    return new Caller(`c${i}`, proxy.target, new Random(options.seed * 1000 + i), habit, dialect);
  });
  const faults: Record<string, number> = {};
  const startedBytes = residentBytes(proxy.pid);
  let peakBytes = 0;
  let over = false;
  let healing = false;
  const endMs = performance.now() + options.seconds * 1000;
  const gremlins = [
    killer(servers[0]!),
    stopper(servers[1]!),
    breaker(relays[0]!, false),
    breaker(relays[1]!, true),
  ]
    .map((deeds, i) => gremlin(deeds, new Random(options.seed + i), () => healing, faults));
  const running = callers.map((caller) => caller.run(() => over));
  try {
    for (let s = 0; performance.now() < endMs; s++) {
      await delay(200);
      if (proxy.status !== null) throw new Error(`the proxy ended:\n${proxy.log.slice(-2000)}`);
      peakBytes = Math.max(peakBytes, residentBytes(proxy.pid));
      if (s % 25 === 0) {
        const { requests, wrong } = sumOf(callers);
        options.progress?.(
          `${requests} requests, ${Math.round(peakBytes / 1e6)} MB at most, ${wrong.length} wrong`,
        );
      }
    }
    healing = true;
    await Promise.all(gremlins);
    await allWell(callers, options.progress);
  } finally {
    healing = over = true;
    await Promise.allSettled([...gremlins, ...running]);
  }
  const wrong = await countWrong(servers, callers, dialect, forgets);
  if (peakBytes - startedBytes > GROWTH_MAX_BYTES) {
    wrong.push(`the proxy grew from ${startedBytes} to ${peakBytes} bytes`);
  }
  const sum = sumOf(callers);
  return {
    ...sum,
    faults,
    memory: {
      startMb: Math.round(startedBytes / 1e6),
      peakMb: Math.round(peakBytes / 1e6),
      endMb: Math.round(residentBytes(proxy.pid) / 1e6),
    },
    wrong: [...sum.wrong, ...wrong],
  };
}

function startServer(f: Fixture, i: number, memcached: boolean): Promise<Server> {
  const backlog = i === 1 ? "1" : "511";
  if (memcached) return f.memcached({ port: 0, args: ["-b", backlog, "-c", "2000"] });
  const args = ["--appendonly", "yes", "--appenddirname", `aof${i}`];
  // With "everysec" Redis answers before it has written when a sync is slow: then kill -9 loses what was acknowledged.
  args.push("--appendfsync", "no", "--tcp-backlog", backlog);
  return f.redis({ port: 0, args });
}

const placements = new Map<string, Placement>();

/** The place of the server that owns a key while all are on the ring. */
function ownerOf(yml: string, key: string): number {
  let placement = placements.get(yml);
  if (placement === undefined) {
    const [pool] = parseConfig(yml, "faults.yml").pools;
    placement = new Placement({ ...pool!, hash: HASHES[pool!.hash], random: Math.random });
    placements.set(yml, placement);
  }
  return placement.serverOf(latin1(key), 0, key.length);
}

/** One way to hurt a server, and how to heal it. */
interface Deed {
  readonly name: string;
  hurt(random: Random): Promise<void> | void;
  heal(): Promise<void> | void;
}

/** Hurts and heals until it is time to heal for good. */
async function gremlin(
  deeds: readonly Deed[],
  random: Random,
  over: () => boolean,
  counts: Record<string, number>,
): Promise<void> {
  while (!over()) {
    await delay(random.between(200, 2000));
    if (over()) return;
    const deed = random.pick(deeds);
    counts[deed.name] = (counts[deed.name] ?? 0) + 1;
    await deed.hurt(random);
    await delay(random.between(10, 1500));
    await deed.heal();
  }
}

function killer(server: Server): Deed[] {
  return [{ name: "kill -9, restart", hurt: () => server.crash(), heal: () => server.start() }];
}

function stopper(server: Server): Deed[] {
  const fillers: RawClient[] = [];
  const stop = { hurt: () => server.kill("SIGSTOP") };
  return [
    { name: "SIGSTOP, SIGCONT", ...stop, heal: () => server.kill("SIGCONT") },
    {
      name: "full listen backlog",
      hurt: async () => {
        stop.hurt();
        // Nobody accepts: two of them fit, and the others wait in vain.
        for (let i = 0; i < 4; i++) RawClient.connect(server.target).then((c) => fillers.push(c), () => {});
        // So that the proxy has to connect again.
        await delay(3 * TIMEOUT_MS);
      },
      heal: () => {
        server.kill("SIGCONT");
        for (const filler of fillers.splice(0)) filler.close();
      },
    },
  ];
}

function breaker(relay: Relay, garbage: boolean): Deed[] {
  const deeds: Deed[] = [
    { name: "reset", hurt: () => relay.reset(), heal: () => {} },
    { name: "silence", hurt: () => relay.hold(), heal: () => relay.release() },
  ];
  if (garbage) deeds.push({ name: "garbage", hurt: (random) => relay.garbage(random), heal: () => {} });
  return deeds;
}

/** All servers are healed: soon nobody reads an error any more. */
async function allWell(callers: readonly Caller[], progress?: (text: string) => void): Promise<void> {
  progress?.("all servers are well: waiting for errors to end");
  const errors = () => callers.reduce((sum, c) => [...c.errors.values()].reduce((a, b) => a + b, sum), 0);
  const replies = () => callers.reduce((sum, c) => sum + c.replies, 0);
  await poll(
    async () => {
      const [before, answered] = [errors(), replies()];
      await poll(() => replies() > answered + 20 * callers.length, "more replies");
      return errors() === before;
    },
    "errors to end",
    60_000,
  );
}

/** Asks the servers themselves about every counter. */
async function countWrong(
  servers: readonly Server[],
  callers: readonly Caller[],
  dialect: Dialect,
  forgets: (key: string) => boolean,
): Promise<string[]> {
  const wrong: string[] = [];
  const connections = await Promise.all(servers.map((server) => Connection.open(server.target, dialect)));
  for (const caller of callers) {
    const keys = caller.counted.map((_, i) => caller.counterKey(i));
    const sums: number[] = keys.map(() => 0);
    for (const connection of connections) {
      const [reply] = await connection.ask(dialect.get(...keys), 1);
      const values = dialect.valuesOf(keys, reply!);
      if (values === null) throw new Error(`a server says ${Deno.inspect(reply)}`);
      values.forEach((count, i) => sums[i]! += Number(count ?? 0));
    }
    sums.forEach((sum, i) => {
      const least = forgets(keys[i]!) ? 0 : caller.counted[i]!;
      if (sum >= least && sum <= caller.sent[i]!) return;
      wrong.push(`${keys[i]} is ${sum}: acknowledged ${caller.counted[i]}, sent ${caller.sent[i]}`);
    });
  }
  for (const connection of connections) connection.close();
  return wrong;
}
