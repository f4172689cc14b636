/**
 * `ringmaster demo`: something to play with after one command and without any configuration.
 *
 *   3 Redis servers ◄── pool "redis" on 22121 ◄─┐
 *   3 memcacheds    ◄── pool "cache" on 22122 ◄─┴── you, and a little traffic of our own
 *
 * The servers are redis-server and memcached from PATH where they are, in-memory ones of our own where not. Everything
 * listens on loopback, on the usual ports if they are free, and ends with this process. The proxy is that of `ringmaster -c`, with the
 * admin page.
 */
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { builtin } from "../bytes/builtin.ts";
import { encode } from "../bytes/ascii.ts";
import { MemoryMemcached } from "../demo/memory_memcached.ts";
import { MemoryRedis } from "../demo/memory_redis.ts";
import { serveMemory } from "../demo/serve.ts";
import { WARN } from "../net/log.ts";
import type { Handler, Socket } from "../net/net.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ConfSource } from "./conf_file.ts";
import type { RunOptions } from "./flags.ts";
import { ADMIN_DEFAULT } from "./given_servers.ts";
import { EXIT_FAILURE, type Io } from "./io.ts";
import { run } from "./run.ts";
import { random } from "../service/proxy_options.ts";

const processes = builtin<typeof import("node:child_process")>("node:child_process");

const SERVERS = 3;
const TRAFFIC_EVERY_MS = 100;
const HOST = "127.0.0.1";

/** What is running, for people and (as JSON) for programs. */
interface Facts {
  /** "redis-server" or "embedded". */
  redisServers: string;
  redis: number;
  redisPorts: number[];
  memcachedServers: string;
  memcached: number;
  memcachedPorts: number[];
  stats: number;
  /** The port of the page. */
  admin: number;
  conf: string;
}

/**
 * Resolves with the exit code when the user has had enough (INT or TERM).
 * @param program URL of the module that starts the program
 */
export async function demo(
  options: { json: boolean },
  runtime: Runtime,
  program: string,
  io: Io,
): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "ringmaster-demo-"));
  const stops: (() => void)[] = [() => rmSync(folder, { recursive: true, force: true })];
  const stopAll = () => stops.splice(0).reverse().forEach((stop) => stop());
  process.once("exit", stopAll);
  try {
    const facts = await start(folder, runtime, stops);
    const started = () => {
      runtime.started?.();
      makeTraffic(runtime, facts.redis);
      io.out(options.json ? JSON.stringify(facts) + "\n" : welcome(facts));
    };
    const source = ConfSource.file(facts.conf);
    return await run(source, runOptions(facts), [], { ...runtime, started }, program, io);
  } catch (error) {
    io.err(`ringmaster: cannot start the demo: ${(error as Error).message}\n`);
    return EXIT_FAILURE;
  } finally {
    stopAll();
  }
}

/** As on a command line. */
function runOptions({ conf, stats }: Facts): RunOptions {
  return {
    confFile: conf,
    config: null,
    daemonize: false,
    verbose: WARN,
    output: null,
    statsPort: stats,
    statsAddress: HOST,
    pidFile: null,
    workers: 1,
    logFormat: null,
    admin: null,
  };
}

/** Everything but the proxy. */
async function start(folder: string, runtime: Runtime, stops: (() => void)[]): Promise<Facts> {
  const redisProgram = findProgram("redis-server");
  const memcachedProgram = findProgram("memcached");
  const redisPorts: number[] = [];
  const memcachedPorts: number[] = [];
  for (let i = 0; i < SERVERS; i++) {
    redisPorts.push(await startServer("redis", redisProgram, folder, runtime, stops));
    memcachedPorts.push(await startServer("memcached", memcachedProgram, folder, runtime, stops));
  }
  const facts: Facts = {
    redisServers: redisProgram === null ? "embedded" : "redis-server",
    redis: await portNear(runtime, 22121),
    redisPorts,
    memcachedServers: memcachedProgram === null ? "embedded" : "memcached",
    memcached: await portNear(runtime, 22122),
    memcachedPorts,
    stats: await portNear(runtime, 22222),
    admin: await portNear(runtime, ADMIN_DEFAULT.port),
    conf: join(folder, "demo.yml"),
  };
  writeFileSync(facts.conf, configText(facts));
  return facts;
}

/** The path of a program, or null. */
function findProgram(name: string): string | null {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder.
    }
  }
  return null;
}

/** Starts one server on a free port, which is returned when it accepts connections. */
async function startServer(
  kind: "redis" | "memcached",
  program: string | null,
  folder: string,
  runtime: Runtime,
  stops: (() => void)[],
): Promise<number> {
  if (program === null) {
    const times = { nowMs: () => runtime.clock.wallMs(), random };
    const server = kind === "redis" ? new MemoryRedis(times) : new MemoryMemcached(times);
    const listener = await serveMemory(runtime.net, { host: HOST, port: 0 }, server);
    stops.push(() => listener.close());
    return listener.port;
  }
  const port = await portNear(runtime, 0);
  const args = kind === "redis"
    ? ["--port", String(port), "--bind", HOST, "--save", "", "--appendonly", "no", "--dir", folder]
    : ["-l", HOST, "-p", String(port), "-U", "0", ...(process.getuid?.() === 0 ? ["-u", "root"] : [])];
  const child = processes().spawn(program, args, { stdio: "ignore" });
  stops.push(() => child.kill());
  let gone: Error | null = null;
  child.on("error", (error) => gone = error);
  child.on("exit", (code) => gone = new Error(`${program} ended with code ${code}`));
  for (let i = 0; i < 500; i++) {
    if (await accepts(runtime, port)) return port;
    if (gone !== null) throw gone;
  }
  throw new Error(`${program} does not accept connections on port ${port}`);
}

/** True if somebody listens; waits a little if not. */
function accepts(runtime: Runtime, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const handler: Handler = {
      open: (socket) => {
        socket.destroy();
        resolve(true);
      },
      data: () => {},
      eof: (socket) => socket.destroy(),
      drain: () => {},
      close: () => runtime.clock.setTimer(20, () => resolve(false)),
    };
    runtime.net.connect({ host: HOST, port }, handler, undefined);
  });
}

/** This port if it is free, else any free one. */
async function portNear({ net, clock }: Pick<Runtime, "net" | "clock">, port: number): Promise<number> {
  const nobody: Handler = {
    open: (s) => s.destroy(),
    data: () => {},
    eof: (s) => s.destroy(),
    drain: () => {},
    close: () => {},
  };
  try {
    const listener = await net.listen({ host: HOST, port }, nobody, {
      backlog: 1,
      reusePort: false,
      keepAlive: false,
    });
    listener.close();
    // The port is given back at the end of the turn.
    await new Promise<void>((resolve) => clock.setTimer(1, resolve));
    return listener.port;
  } catch (error) {
    if (port === 0) throw error;
    return portNear({ net, clock }, 0);
  }
}

function configText(facts: Facts): string {
  const pool = (name: string, port: number, redis: boolean, ports: readonly number[]) =>
    `${name}:
  listen: ${HOST}:${port}
  hash: fnv1a_64
  distribution: ketama
  redis: ${redis}
  servers:
${ports.map((p, i) => `    - ${HOST}:${p}:1 ${name}${i + 1}`).join("\n")}
`;
  return `ringmaster:\n  admin: ${HOST}:${facts.admin}\n` +
    pool("redis", facts.redis, true, facts.redisPorts) +
    pool("cache", facts.memcached, false, facts.memcachedPorts);
}

/** How the user starts this program. */
function programName(): string {
  return (process.argv[1] ?? "").startsWith("/$bunfs/") ? "ringmaster" : "npx -y deno@2.9.6 task start";
}

function welcome(facts: Facts): string {
  return `Ringmaster is running.

  Redis pool      127.0.0.1:${facts.redis}   ${SERVERS} x ${facts.redisServers} on ${
    facts.redisPorts.join(", ")
  }
  memcached pool  127.0.0.1:${facts.memcached}   ${SERVERS} x ${facts.memcachedServers} on ${
    facts.memcachedPorts.join(", ")
  }
  page            http://127.0.0.1:${facts.admin}   what it does, second by second
  statistics      127.0.0.1:${facts.stats}   one JSON document a connection
  configuration   ${facts.conf}

Type next, in another terminal:

  redis-cli -p ${facts.redis} set a 1
  redis-cli -p ${facts.redis} mget a b c
  redis-cli -p ${facts.redisPorts[0]} dbsize          # what one of the servers holds
  ${programName()} route -c ${facts.conf} --pool redis a b c   # which server owns a key

Ctrl-C ends everything.
`;
}

/** A few requests a second, so that the statistics have something to show. */
function makeTraffic(runtime: Runtime, port: number): void {
  let i = 0;
  let closed = false;
  const handler: Handler = {
    open: (socket) => again(socket),
    data: () => {},
    eof: (socket) => socket.destroy(),
    drain: () => {},
    close: () => closed = true,
  };
  const again = (socket: Socket) => {
    if (closed) return;
    const requests = encode(`SET demo:${i % 100} ${i}\r\nGET demo:${(i * 7) % 100}\r\n`);
    i++;
    socket.send(requests, 0, requests.length);
    socket.flush();
    runtime.clock.setTimer(TRAFFIC_EVERY_MS, () => again(socket));
  };
  runtime.net.connect({ host: HOST, port }, handler, undefined);
}
