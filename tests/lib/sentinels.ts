/**
 * Real sentinels around real primaries and replicas, on free ports of 127.0.0.1:
 *
 *   await using f = new Fixture();
 *   const set = await startSentinels(f, { masters: ["m1", "m2"], replicas: 2 });
 *   await set.failover("m1");
 *
 * Everything runs with `redis-server` as it is on PATH, or another program (valkey-server), as a sentinel with --sentinel. Times are short: a
 * death is noticed after a second.
 */
import { RawClient } from "./client.ts";
import type { Fixture } from "./fixture.ts";
import { Forwarder } from "./forwarder.ts";
import { poll } from "./poll.ts";
import { freePort } from "./ports.ts";
import { Process } from "./process.ts";
import { need } from "./repo.ts";
import { Server } from "./servers.ts";

export interface SentinelsOptions {
  /** How many sentinels; 3 if absent. A majority decides. */
  readonly sentinels?: number;
  /** Names of masters; one, "m1", if absent. */
  readonly masters?: readonly string[];
  /** Of each master; 1 if absent. */
  readonly replicas?: number;
  readonly downAfterMs?: number;
  readonly failoverTimeoutMs?: number;
  /** redis-server or valkey-server; that on PATH if absent. */
  readonly program?: string;
  /** More lines of each sentinel's configuration. */
  readonly lines?: readonly string[];
  /** More arguments of each server. */
  readonly args?: readonly string[];
  /** Reach every server through a cable that can be cut. */
  readonly forwarded?: boolean;
}

/** One server of a set, whatever it is at the moment. */
export interface Member {
  readonly server: Server;
  /** Where it is known: its own port or its forwarder's. */
  readonly port: number;
  /** "127.0.0.1:port" of that. */
  readonly address: string;
  readonly cable: Forwarder | null;
}

export class SentinelSet {
  constructor(
    readonly sentinels: readonly Server[],
    readonly members: ReadonlyMap<string, readonly Member[]>,
  ) {}

  /** A flow list for `sentinels:` of a pool. */
  get addresses(): string {
    return `[ ${this.sentinels.map((each) => each.address).join(", ")} ]`;
  }

  member(address: string): Member {
    for (const members of this.members.values()) {
      for (const each of members) if (each.address === address) return each;
    }
    throw new Error(`no server is known at ${address}`);
  }

  /** Where a sentinel says that the master is. */
  async primaryOf(master: string, sentinel = 0): Promise<Member> {
    const answer = await this.ask(sentinel, "GET-MASTER-ADDR-BY-NAME", master);
    const [host, port] = answer as [string, string];
    return this.member(`${host}:${port}`);
  }

  /** One question after SENTINEL, on a connection of its own. */
  async ask(sentinel: number, ...words: string[]): Promise<unknown> {
    await using client = await RawClient.connect(this.sentinels[sentinel]!.target);
    return await client.command("SENTINEL", ...words);
  }

  /** When the first of the sentinels has logged +switch-master of it since then, ms since the epoch of Unix; Infinity: none has. */
  switchedAtMs(master: string, sinceMs: number): number {
    const times = this.sentinels.flatMap((each) =>
      each.log.split("\n").filter((line) => line.includes(`# +switch-master ${master} `)).map((line) =>
        Date.parse(/^\S+ (.*?) #/.exec(line)![1]!)
      )
    );
    return Math.min(...times.filter((ms) => ms >= sinceMs));
  }

  /** As name and value of SENTINEL MASTER. */
  async fields(sentinel: number, master: string): Promise<Map<string, string>> {
    const list = await this.ask(sentinel, "MASTER", master) as string[];
    const fields = new Map<string, string>();
    for (let i = 0; i < list.length; i += 2) fields.set(list[i]!, list[i + 1]!);
    return fields;
  }

  /** SENTINEL FAILOVER (with COORDINATED, if it knows that); resolves when it has been accepted. */
  async failover(master: string, sentinel = 0, ...more: string[]): Promise<void> {
    await poll(
      async () => await this.ask(sentinel, "FAILOVER", master, ...more) === "OK",
      `a failover of ${master} to begin`,
    );
  }

  /** Resolves when all sentinels name the same primary, that is one, with all its replicas well, and nothing is under way. */
  async settled(master: string, patienceMs = 60_000): Promise<Member> {
    const count = this.members.get(master)!.length - 1;
    const others = String(this.sentinels.length - 1);
    let seen = "";
    return await poll(
      async () => {
        const ports = new Set<string>();
        for (let i = 0; i < this.sentinels.length; i++) {
          const fields = await this.fields(i, master);
          ports.add(fields.get("port")!);
          seen = `sentinel ${i}: ${fields.get("flags")}, ${fields.get("num-slaves")} replicas`;
          if (fields.get("flags") !== "master" || fields.get("num-slaves") !== String(count)) return null;
          if (fields.get("num-other-sentinels") !== others || fields.get("role-reported") !== "master") {
            return null;
          }
          const replicas = await this.ask(i, "REPLICAS", master) as string[][];
          for (const row of replicas) {
            const flags = row[row.indexOf("flags") + 1];
            const link = row[row.indexOf("master-link-status") + 1];
            seen += `; ${flags} ${link}`;
            if (flags !== "slave" || link !== "ok") return null;
          }
        }
        if (ports.size > 1) return null;
        const primary = this.member(`127.0.0.1:${[...ports][0]}`);
        await using client = await RawClient.connect(primary.server.target);
        const role = await client.command("ROLE") as [string, number, unknown[]];
        seen += `; ROLE ${role[0]} with ${role[2]?.length}`;
        return role[0] === "master" && role[2].length === count ? primary : null;
      },
      () => `sentinels and servers of ${master} to agree (${seen})`,
      patienceMs,
    );
  }
}

export async function startSentinels(f: Fixture, options: SentinelsOptions = {}): Promise<SentinelSet> {
  const program = options.program ?? need("redis-server");
  const masters = options.masters ?? ["m1"];
  const members = new Map<string, Member[]>();
  for (const master of masters) {
    const primary = await startMember(f, program, options, null);
    const replicas = Array.from(
      { length: options.replicas ?? 1 },
      () => startMember(f, program, options, primary),
    );
    members.set(master, [primary, ...await Promise.all(replicas)]);
    await linked(primary, replicas.length);
  }
  const count = options.sentinels ?? 3;
  const lines = (master: string) => [
    `sentinel monitor ${master} 127.0.0.1 ${members.get(master)![0]!.port} ${Math.floor(count / 2) + 1}`,
    `sentinel down-after-milliseconds ${master} ${options.downAfterMs ?? 1000}`,
    `sentinel failover-timeout ${master} ${options.failoverTimeoutMs ?? 3000}`,
  ];
  const sentinels: Server[] = [];
  for (let i = 0; i < count; i++) {
    const port = freePort();
    const file = `${f.dir}/sentinel${port}.conf`;
    const text = [
      `port ${port}`,
      "bind 127.0.0.1",
      `dir ${f.dir}`,
      ...masters.flatMap(lines),
      ...options.lines ?? [],
    ];
    Deno.writeTextFileSync(file, text.join("\n") + "\n");
    const spawn = () =>
      new Process(program, [file, "--sentinel"], { output: `${f.dir}/sentinel${port}.log` });
    sentinels.push(f.add(new Server(f.dir, false, spawn, "redis", { host: "127.0.0.1", port })));
  }
  await Promise.all(sentinels.map((each) => each.waitReady()));
  const set = new SentinelSet(sentinels, members);
  await Promise.all(masters.map((master) => set.settled(master)));
  return set;
}

async function startMember(
  f: Fixture,
  program: string,
  options: SentinelsOptions,
  primary: Member | null,
): Promise<Member> {
  const port = freePort();
  const cable = options.forwarded ? f.add(new Forwarder(port)) : null;
  const known = cable?.port ?? port;
  const args = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", ...options.args ?? []];
  if (cable !== null) {
    args.push("--replica-announce-port", String(known), "--replica-announce-ip", "127.0.0.1");
  }
  if (primary !== null) args.push("--replicaof", `127.0.0.1 ${primary.port}`);
  const server = await f.redis({ port, args, program });
  return { server, port: known, address: `127.0.0.1:${known}`, cable };
}

/** Resolves when so many replicas are online. */
async function linked({ server }: Member, count: number): Promise<void> {
  await using client = await RawClient.connect(server.target);
  await poll(
    async () =>
      String(await client.command("INFO", "replication")).split("state=online").length - 1 === count,
    `${count} replicas of ${server.address}`,
  );
}
