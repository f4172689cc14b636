/**
 * Real servers and proxies for tests: started in a folder of their own, ready when the promise resolves, stopped by
 * `stop()` (or `await using`). They listen on unix sockets in their folder unless a port is asked for.
 *
 *   client ──► startRingmaster / startNutcracker ──► startRedis, startMemcached
 *
 * A file that starts several things does it with a Fixture (fixture.ts), which stops all of them.
 */
import { type Target } from "./client.ts";
import { freePort } from "./ports.ts";
import { poll } from "./poll.ts";
import { Process } from "./process.ts";
import { BUN, compiled, DENO, need, ROOT } from "./repo.ts";

/** How Ringmaster is run. */
export type Runtime = "deno" | "bun" | "compiled";
/** What can be tested or measured as "the proxy". */
export type Subject = Runtime | "nutcracker";
export const RUNTIMES: readonly Runtime[] = ["deno", "bun", "compiled"];

export interface ServerOptions {
  /** A folder for its files; a fresh one under the system's temporary folder if absent (removed by `stop`). */
  dir?: string;
  /** Where it listens if it has a port: 127.0.0.1 if absent. Of redis-server alone. */
  host?: string;
  /** A TCP port on `host`; 0 takes a free one. Absent: a unix socket. */
  port?: number;
  /** Path of the unix socket; default `<dir>/<name>.sock`. */
  path?: string;
  /** More arguments for the server. */
  args?: string[];
  /** Another version of it than the one on PATH. */
  program?: string;
}

/** How long a process may take to start, in ms. */
export const START_MS = 90_000;

let serial = 0;

abstract class Spawned implements AsyncDisposable {
  protected process: Process;
  readonly #ownDir: boolean;

  constructor(readonly dir: string, ownDir: boolean, protected readonly spawn: () => Process) {
    this.#ownDir = ownDir;
    this.process = spawn();
  }

  get pid(): number {
    return this.process.pid;
  }

  /** What it has written to stdout and stderr so far. */
  get stderr(): string {
    return this.process.stderr;
  }

  /** What it has logged, and anything else it printed. */
  get log(): string {
    return this.stderr;
  }

  /** Null while it runs. */
  get status(): Deno.CommandStatus | null {
    return this.process.status;
  }

  /** Resolves when it has ended. */
  get exit(): Promise<Deno.CommandStatus> {
    return this.process.exit;
  }

  /** SIGSTOP, SIGCONT, SIGHUP, …; for SIGKILL and SIGTERM `stop` is better, because it waits. */
  kill(signal: Deno.Signal): void {
    this.process.kill(signal);
  }

  /** TERM (or `signal`), KILL after a while; returns how it ended. Idempotent. The folder goes if it is its own. */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<Deno.CommandStatus> {
    const status = await this.process.stop(signal);
    if (this.#ownDir) await Deno.remove(this.dir, { recursive: true }).catch(() => {});
    return status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Resolves when `probe` answers; rejects with its output if the process ends first. */
  protected async ready(name: string, probe: () => Promise<boolean>): Promise<void> {
    try {
      await poll(async () => this.process.status !== null || await probe(), `${name} to answer`, START_MS);
    } catch (error) {
      await this.stop("SIGKILL");
      throw new Error(`${(error as Error).message}\n${this.log.slice(-2000)}`);
    }
    if (this.process.status !== null) {
      throw new Error(
        `${name} ended with ${this.process.status.code} instead of starting:\n${this.log.slice(-2000)}`,
      );
    }
  }
}

/** A redis-server or memcached. */
export class Server extends Spawned {
  constructor(
    dir: string,
    ownDir: boolean,
    spawn: () => Process,
    readonly kind: "redis" | "memcached",
    /** Where raw clients connect. */
    readonly target: Target,
  ) {
    super(dir, ownDir, spawn);
  }

  /** "127.0.0.1:6379" or the socket's path: what a `servers:` line has before `:weight`. */
  get address(): string {
    return "path" in this.target
      ? this.target.path
      : `${this.target.host ?? "127.0.0.1"}:${this.target.port}`;
  }

  get port(): number {
    return "path" in this.target ? 0 : this.target.port;
  }

  get path(): string {
    return "path" in this.target ? this.target.path : "";
  }

  /** KILL at once: it has nothing to save, and memcached takes a second to end on TERM. */
  override async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGKILL");
  }

  async waitReady(): Promise<void> {
    const probe = this.kind === "redis" ? "*1\r\n$4\r\nPING\r\n" : "version\r\n";
    await this.ready(
      `${this.kind} at ${this.address}`,
      async () =>
        /^(\+PONG|-NOAUTH|VERSION|CLIENT_ERROR unauthenticated)/.test(await ask(this.target, probe)),
    );
  }

  /** Kills it (KILL by default; nothing is saved), and resolves when it has ended; `start` brings it back. */
  async crash(signal: Deno.Signal = "SIGKILL"): Promise<void> {
    await this.process.stop(signal);
  }

  /** Starts it again at the same address, empty, after `crash`. */
  async start(): Promise<void> {
    if (this.process.status === null) throw new Error(`${this.kind} at ${this.address} still runs`);
    if ("path" in this.target) await Deno.remove(this.target.path).catch(() => {});
    this.process = this.spawn();
    await this.waitReady();
  }
}

/** One connection, one question, the first bytes of the answer. */
async function ask(target: Target, question: string): Promise<string> {
  using conn = "path" in target
    ? await Deno.connect({ transport: "unix", path: target.path })
    : await Deno.connect({ hostname: target.host ?? "127.0.0.1", port: target.port });
  await conn.write(new TextEncoder().encode(question));
  const answer = new Uint8Array(256);
  const count = await conn.read(answer);
  return new TextDecoder().decode(answer.subarray(0, count ?? 0));
}

export function tempDir(prefix = "ringmaster-"): string {
  return Deno.makeTempDirSync({ prefix });
}

function place(
  options: ServerOptions,
  kind: string,
): { dir: string; ownDir: boolean; name: string; target: Target } {
  const ownDir = options.dir === undefined;
  const dir = options.dir ?? tempDir();
  const name = `${kind}${++serial}`;
  const target: Target = options.port === undefined
    ? { path: options.path ?? `${dir}/${name}.sock` }
    : { host: options.host, port: options.port === 0 ? freePort() : options.port };
  return { dir, ownDir, name, target };
}

export async function startRedis(options: ServerOptions = {}): Promise<Server> {
  const { dir, ownDir, name, target } = place(options, "redis");
  const where = "path" in target
    ? ["--port", "0", "--unixsocket", target.path]
    : ["--port", String(target.port), "--bind", target.host ?? "127.0.0.1"];
  const args = [...where, "--save", "", "--appendonly", "no", "--dir", dir, ...options.args ?? []];
  const program = options.program ?? need("redis-server");
  const spawn = () => new Process(program, args, { output: `${dir}/${name}.log` });
  const server = new Server(dir, ownDir, spawn, "redis", target);
  await server.waitReady();
  return server;
}

export async function startMemcached(options: ServerOptions = {}): Promise<Server> {
  const { dir, ownDir, name, target } = place(options, "memcached");
  const where = "path" in target
    ? ["-s", target.path]
    : ["-l", "127.0.0.1", "-p", String(target.port), "-U", "0"];
  // memcached refuses to run as root unless told as whom.
  const user = Deno.uid() === 0 ? ["-u", "root"] : [];
  const args = [...where, ...user, "-m", "64", ...options.args ?? []];
  const program = options.program ?? need("memcached");
  const spawn = () => new Process(program, args, { output: `${dir}/${name}.log` });
  const server = new Server(dir, ownDir, spawn, "memcached", target);
  await server.waitReady();
  return server;
}

export interface ProxyOptions {
  dir?: string;
  /** More flags. */
  args?: string[];
  env?: Record<string, string>;
  /** Default: resolve when all listeners of the configuration accept. False: resolve at once. */
  wait?: boolean;
  /** What is put before its command line: a program that becomes it, with arguments. */
  prefix?: string[];
}

/** A running Ringmaster or nutcracker. */
export class Proxy extends Spawned {
  constructor(
    dir: string,
    ownDir: boolean,
    spawn: () => Process,
    readonly subject: Subject,
    /** The configuration file. Rewrite it before HUP. */
    readonly file: string,
    readonly statsPort: number,
    /** The `listen:` addresses of the configuration, in its order. */
    readonly targets: readonly Target[],
    readonly logFile: string,
  ) {
    super(dir, ownDir, spawn);
  }

  /** Where clients of the first pool connect. */
  get target(): Target {
    return this.targets[0];
  }

  get port(): number {
    return "path" in this.target ? 0 : this.target.port;
  }

  get path(): string {
    return "path" in this.target ? this.target.path : "";
  }

  override get log(): string {
    let log = "";
    try {
      log = Deno.readTextFileSync(this.logFile);
    } catch {
      // not made yet
    }
    return log + this.stderr;
  }

  async waitReady(): Promise<void> {
    if (this.targets.length === 0) throw new Error(`no listen: address found in ${this.file}`);
    for (const target of this.targets) {
      await this.ready(`${this.subject} at ${JSON.stringify(target)}`, async () => {
        (await connectOnce(target)).close();
        return true;
      });
    }
  }

  /** The statistics document of the stats port, as JSON. */
  async stats(): Promise<Record<string, unknown>> {
    using conn = await Deno.connect({ hostname: "127.0.0.1", port: this.statsPort });
    return JSON.parse(await new Response(conn.readable).text());
  }
}

function connectOnce(target: Target): Promise<Deno.Conn> {
  return "path" in target
    ? Deno.connect({ transport: "unix", path: target.path })
    : Deno.connect({ hostname: target.host ?? "127.0.0.1", port: target.port });
}

/** The `listen:` addresses of a configuration in block style, in order. */
export function listenTargets(yml: string): Target[] {
  const targets: Target[] = [];
  for (const match of yml.matchAll(/^\s*listen:\s*["']?([^\s"'#]+)/gm)) {
    const address = match[1];
    const colon = address.lastIndexOf(":");
    if (address.startsWith("/")) targets.push({ path: address });
    else targets.push({ host: address.slice(0, colon), port: Number(address.slice(colon + 1)) });
  }
  return targets;
}

/** What a pool of `poolYml` has. Any key of the configuration file may be given; `servers` as Server or as text. */
export interface PoolKeys {
  /** A free port on 127.0.0.1 if absent. */
  listen?: string;
  /** A Server gets weight 1 and no name; text is written as it is: "127.0.0.1:6379:1 name". */
  servers: readonly (Server | string)[];
  [key: string]: unknown;
}

/** Writes a configuration that nutcracker and Ringmaster both read. redis: true unless a server is a memcached. */
export function poolYml(pools: Record<string, PoolKeys>): string {
  let yml = "";
  for (const [name, { listen, servers, ...keys }] of Object.entries(pools)) {
    const redis = !servers.some((server) => server instanceof Server && server.kind === "memcached");
    const all: Record<string, unknown> = {
      listen: listen ?? `127.0.0.1:${freePort()}`,
      hash: "fnv1a_64",
      distribution: "ketama",
      redis,
      ...keys,
    };
    yml += `${name}:\n`;
    for (const [key, value] of Object.entries(all)) if (value !== undefined) yml += `  ${key}: ${value}\n`;
    yml += "  servers:\n";
    for (const server of servers) {
      yml += `    - ${server instanceof Server ? `${server.address}:1` : server}\n`;
    }
  }
  return yml;
}

export function startNutcracker(yml: string, options: ProxyOptions = {}): Promise<Proxy> {
  return startProxy("nutcracker", yml, options);
}

export function startRingmaster(
  yml: string,
  { runtime = "compiled", ...options }: ProxyOptions & { runtime?: Runtime } = {},
): Promise<Proxy> {
  return startProxy(runtime, yml, options);
}

/** Starts the proxy with `yml` as its configuration, a log file and a free statistics port. */
export async function startProxy(subject: Subject, yml: string, options: ProxyOptions = {}): Promise<Proxy> {
  const ownDir = options.dir === undefined;
  const dir = options.dir ?? tempDir();
  const name = `${subject}${++serial}`;
  const file = `${dir}/${name}.yml`;
  const logFile = `${dir}/${name}.log`;
  const statsPort = freePort();
  await Deno.writeTextFile(file, yml);
  const [program, ...before] = [...options.prefix ?? [], ...await command(subject)];
  const args = [...before, "-c", file, "-o", logFile, "-s", String(statsPort), "-a", "127.0.0.1"];
  if (subject === "nutcracker") args.push("-p", `${dir}/${name}.pid`);
  args.push(...options.args ?? []);
  const spawn = () =>
    new Process(program, args, { output: `${dir}/${name}.out`, cwd: ROOT, env: options.env });
  const proxy = new Proxy(dir, ownDir, spawn, subject, file, statsPort, listenTargets(yml), logFile);
  if (options.wait !== false) await proxy.waitReady();
  return proxy;
}

/** The command line of a subject, before its flags. */
export async function command(subject: Subject): Promise<string[]> {
  switch (subject) {
    case "nutcracker":
      return [need("nutcracker")];
    case "deno":
      return [DENO, "run", "-A", "--no-check", `${ROOT}/main.ts`];
    case "bun":
      return [BUN, `${ROOT}/main.ts`];
    case "compiled":
      return [await compiled()];
  }
}

/** Stops a server's process (SIGSTOP) and waits until all its threads have stopped: until then it may still answer. */
export async function freeze(server: Server): Promise<void> {
  server.kill("SIGSTOP");
  const folder = `/proc/${server.pid}/task`;
  await poll(() => {
    for (const { name } of Deno.readDirSync(folder)) {
      if (!/\) [Tt] /.test(Deno.readTextFileSync(`${folder}/${name}/stat`))) return false;
    }
    return true;
  }, "the server to stop");
}
