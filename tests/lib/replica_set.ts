/**
 * A real replica set and proxies that promote in it, each proxy with lines of its own to every member, which can be cut.
 *
 *   proxy i ──► cables[i][j] ──► members[j] ◄──replication──► the other members
 */
import { type RawClient } from "./client.ts";
import { Fixture } from "./fixture.ts";
import { Forwarder } from "./forwarder.ts";
import { poll } from "./poll.ts";
import { freePort } from "./ports.ts";
import { Process } from "./process.ts";
import { need } from "./repo.ts";
import { type Proxy, type Runtime, Server } from "./servers.ts";

export interface ReplicaSetOptions {
  readonly members?: number;
  readonly proxies?: number;
  readonly runtime: Runtime;
  readonly workers?: number;
  /** Another server than the one on PATH. */
  readonly program?: string;
  /** More keys of the pool, a line each. */
  readonly keys?: string;
  /** More lines of each member's file. */
  readonly lines?: readonly string[];
}

export class ReplicaSet {
  private constructor(
    readonly f: Fixture,
    readonly members: readonly Server[],
    readonly cables: readonly (readonly Forwarder[])[],
    readonly proxies: readonly Proxy[],
  ) {}

  /** Resolves when all proxies take writes. */
  static async start(f: Fixture, options: ReplicaSetOptions): Promise<ReplicaSet> {
    const members: Server[] = [];
    for (let i = 0; i < (options.members ?? 3); i++) {
      const port = freePort();
      const file = `${f.dir}/member${i}.conf`;
      const lines = [
        `port ${port}`,
        "bind 127.0.0.1",
        `dir ${f.dir}`,
        "repl-diskless-sync-delay 0",
        "repl-ping-replica-period 1",
        "appendonly yes",
        "appendfsync no",
        `appenddirname aof${i}`,
        `dbfilename dump${i}.rdb`,
        'save ""',
        ...options.lines ?? [],
      ];
      if (i > 0) lines.push(`replicaof 127.0.0.1 ${portOf(members[0]!)}`);
      Deno.writeTextFileSync(file, lines.join("\n") + "\n");
      const spawn = () =>
        new Process(options.program ?? need("redis-server"), [file], { output: `${f.dir}/member${i}.log` });
      const member = f.add(new Server(f.dir, false, spawn, "redis", { host: "127.0.0.1", port }));
      await member.waitReady();
      members.push(member);
    }
    const cables = Array.from(
      { length: options.proxies ?? 1 },
      () => members.map((member) => f.add(new Forwarder(portOf(member)))),
    );
    const proxies: Proxy[] = [];
    for (const row of cables) {
      const [first, ...others] = row.map(({ port }) => `127.0.0.1:${port}`);
      proxies.push(
        await f.proxy(
          options.runtime,
          `ringmaster: { workers: ${options.workers ?? 1} }\nalpha:\n  listen: 127.0.0.1:${freePort()}\n` +
            `  redis: true\n  timeout: 2000\n  failover: promote\n${options.keys ?? ""}` +
            `  servers:\n    - {name: m, address: "${first}", replicas: [${others}]}\n`,
        ),
      );
    }
    const set = new ReplicaSet(f, members, cables, proxies);
    for (const proxy of proxies) await set.written(await f.client(proxy), "start");
    return set;
  }

  /** Waits until this is written. */
  async written(client: RawClient, value: string): Promise<void> {
    await poll(async () => await client.command("SET", "probe", value) === "OK", `a SET of ${value}`, 60_000);
  }

  /** "master", or the port that it follows. */
  async roleOf(member: Server): Promise<string> {
    const client = await this.f.client(member);
    const role = await client.command("ROLE") as (string | number)[];
    client.close();
    return role[0] === "master" ? "master" : String(role[2]);
  }

  /** Waits until all members follow this one. */
  async follow(primary: Server): Promise<void> {
    const expected = this.members.map((member) => member === primary ? "master" : String(portOf(primary)));
    let roles: string[] = [];
    await poll(
      async () => {
        roles = await Promise.all(this.members.map((member) => this.roleOf(member)));
        return roles.join() === expected.join();
      },
      () => `all to follow ${portOf(primary)}: ${roles}`,
      60_000,
    );
  }

  /** Those that say that they are primaries, of these. */
  async primaries(members: readonly Server[] = this.members): Promise<Server[]> {
    const roles = await Promise.all(members.map((member) => this.roleOf(member)));
    return members.filter((_, i) => roles[i] === "master");
  }

  cut(proxy: number, member: number): void {
    this.cables[proxy]![member]!.cut();
  }

  heal(proxy: number, member: number): void {
    this.cables[proxy]![member]!.heal();
  }
}

export function portOf({ target }: Server): number {
  return (target as { port: number }).port;
}
