/**
 * The stand: the servers behind, and in front of them each subject with the same configuration, all on free loopback ports.
 *
 *   load ──► ringmaster ─┐
 *   load ──► nutcracker ─┼─► the same 2 or 8 redis-servers, or 2 memcacheds
 *   load ──► deno, bun  ─┘
 *   load ──► base, predixy, memcached-proxy ─┘   other programs, given by their paths (peers.ts)
 *   load ──► haproxy ────► one redis-server or memcached of its own ◄──── direct
 *   load ──► floor              answers by itself, with nothing behind it
 */
import { RawClient, type Target } from "../lib/client.ts";
import { startCluster } from "../lib/cluster.ts";
import { type Fixture } from "../lib/fixture.ts";
import { pollProcess } from "../lib/poll.ts";
import { Process } from "../lib/process.ts";
import { need } from "../lib/repo.ts";
import { poolYml, type Server, type Subject as ProxySubject } from "../lib/servers.ts";
import { type Case, type Topology } from "./cases.ts";
import { buildC } from "./compiler.ts";
import { pin } from "./cores.ts";
import { startHaproxy } from "./haproxy.ts";
import { type Peer, PEERS, startPeer } from "./peers.ts";

/**
 * What can be measured; "ringmaster" is the compiled executable, "floor" a program that has no servers (floor.c), "hashed" the
 * executable in front of as many plain servers where the others have a cluster, "two-workers" the executable with two workers.
 */
export const SUBJECTS = [
  "ringmaster",
  "nutcracker",
  "deno",
  "bun",
  "direct",
  "haproxy",
  "floor",
  "hashed",
  "two-workers",
  ...PEERS,
] as const;
export type SubjectName = typeof SUBJECTS[number];

export interface Subject {
  name: SubjectName;
  /** Whose CPU time and memory are measured. For direct: the server's. */
  pid: number;
  port: number;
  /** The servers that hold its keys. */
  servers: readonly Server[];
}

/** Full paths. */
export type Programs = Partial<Record<Peer | "haproxy", string>>;

const COUNTS: Record<Topology, number> = { redis2: 2, redis8: 8, memcached2: 2, cluster3: 3 };

export class Stand {
  readonly #servers = new Map<string, Promise<Server[]>>();
  readonly #subjects = new Map<string, Promise<Subject>>();

  /**
   * @param core a core that the subjects have to themselves; null: wherever the system puts them
   * @param programs paths of the subjects that are not found by name
   */
  constructor(
    private readonly fixture: Fixture,
    private readonly core: string | null,
    private readonly programs: Programs = {},
  ) {}

  /** What the case is measured on; cases share it, unless a figure or an answer is the case's own. */
  subject(name: SubjectName, test: Case): Promise<Subject> {
    // Memory is to tell of this case alone; the floor has one answer.
    const own = name === "floor" || test.kind === "idle" ? test.name : "";
    const key = `${name} ${test.topology} ${own}`;
    let subject = this.#subjects.get(key);
    if (subject === undefined) this.#subjects.set(key, subject = this.#startPinned(name, test));
    return subject;
  }

  async #startPinned(name: SubjectName, test: Case): Promise<Subject> {
    const subject = name === "floor" ? await this.#floor(test) : await this.#start(name, test.topology);
    if (this.core !== null) await pin(subject.pid, this.core);
    return subject;
  }

  async #start(name: Exclude<SubjectName, "floor">, topology: Topology): Promise<Subject> {
    if (name === "direct" || name === "haproxy") {
      const servers = await this.#serversOf(topology === "memcached2" ? "memcached" : "redis", 1, "alone");
      if (name === "direct") return { name, pid: servers[0].pid, port: servers[0].port, servers };
      return await this.#haproxy(servers);
    }
    const cluster = topology === "cluster3" && name !== "hashed";
    const servers = await this.#serversOf(
      cluster ? "cluster" : topology === "memcached2" ? "memcached" : "redis",
      COUNTS[topology],
      topology,
    );
    const keys = { preconnect: true, backlog: 1024, timeout: 20000 };
    const yml = poolYml({
      bench: cluster
        ? { servers, ...keys, cluster: true, hash: undefined, distribution: undefined }
        : { servers, ...keys, auto_eject_hosts: false },
    });
    if (isPeer(name)) {
      const program = this.programs[name];
      if (program === undefined) throw new Error(`where is ${name}? --${name}=PATH says it`);
      const { pid, port } = await startPeer(this.fixture, name, program, { servers, yml, cluster });
      return { name, pid, port, servers };
    }
    const runtime: ProxySubject = name === "ringmaster" || name === "hashed" || name === "two-workers"
      ? "compiled"
      : name;
    const args = name === "two-workers" ? ["--workers=2"] : [];
    const proxy = await this.fixture.proxy(runtime, yml, { args });
    return { name, pid: proxy.pid, port: proxy.port, servers };
  }

  #serversOf(kind: "redis" | "memcached" | "cluster", count: number, key: string): Promise<Server[]> {
    const full = `${kind} ${key}`;
    let servers = this.#servers.get(full);
    if (servers === undefined) {
      const start = () =>
        kind === "redis"
          ? this.fixture.redis({ port: 0 })
          : this.fixture.memcached({ port: 0, args: ["-m", "512", "-I", "2m", "-c", "4096", "-t", "1"] });
      servers = kind === "cluster"
        ? startCluster(this.fixture, { primaries: count, replicas: 0 }).then(({ nodes }) =>
          nodes.map(({ server }) => server)
        )
        : Promise.all(Array.from({ length: count }, start));
      this.#servers.set(full, servers);
    }
    return servers;
  }

  async #floor(test: Case): Promise<Subject> {
    const program = await buildC("floor", this.fixture.dir);
    const output = `${this.fixture.dir}/floor.${test.name}.log`;
    const process = this.fixture.add(new Process(program, ["0", String(test.size)], { output }));
    const listening = () => /listening (\d+)/.exec(process.stderr)?.[1];
    await pollProcess(process, () => listening() !== undefined, "floor to listen");
    return { name: "floor", pid: process.pid, port: Number(listening()), servers: [] };
  }

  async #haproxy(servers: Server[]): Promise<Subject> {
    const program = this.programs.haproxy ?? need("haproxy");
    return { name: "haproxy", ...await startHaproxy(this.fixture, program, servers[0].port), servers };
  }
}

const isPeer = (name: SubjectName): name is Peer => (PEERS as readonly string[]).includes(name);

/** What the servers have counted so far; memcached's get_hits and get_misses stand for the keyspace ones. */
export interface ServerCounts {
  hits: number;
  misses: number;
  /** Calls of each command, by its lower-case name. */
  calls: Record<string, number>;
}

export async function countsOf(servers: readonly Server[]): Promise<ServerCounts> {
  const sum: ServerCounts = { hits: 0, misses: 0, calls: {} };
  for (const server of servers) {
    await using client = await RawClient.connect(server.target as Target);
    if (server.kind === "memcached") {
      await client.send("stats\r\n");
      const text = await client.readUntil("END\r\n");
      const stat = (name: string) => Number(new RegExp(`STAT ${name} (\\d+)`).exec(text)?.[1] ?? 0);
      sum.hits += stat("get_hits");
      sum.misses += stat("get_misses");
      sum.calls["get"] = (sum.calls["get"] ?? 0) + stat("cmd_get");
      sum.calls["set"] = (sum.calls["set"] ?? 0) + stat("cmd_set");
      continue;
    }
    const text = String(await client.command("INFO", "all"));
    sum.hits += Number(/keyspace_hits:(\d+)/.exec(text)?.[1] ?? 0);
    sum.misses += Number(/keyspace_misses:(\d+)/.exec(text)?.[1] ?? 0);
    for (const [, name, calls] of text.matchAll(/cmdstat_(\w+):calls=(\d+)/g)) {
      sum.calls[name] = (sum.calls[name] ?? 0) + Number(calls);
    }
  }
  return sum;
}
