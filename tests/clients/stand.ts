/**
 * One library, every scenario, twice:
 *
 *   library ──► redis-server               the truth
 *   library ──► Ringmaster ──► 3 redis-servers   must be the same
 *   library ──► Ringmaster ──► a cluster of 6    must be the same, too
 */
import { deepStrictEqual } from "node:assert/strict";
import { RawClient } from "../lib/client.ts";
import { type Cluster, startCluster } from "../lib/cluster.ts";
import { Fixture } from "../lib/fixture.ts";
import { within } from "../lib/poll.ts";
import {
  poolYml,
  type Proxy,
  type Runtime,
  type Server,
  startRedis,
  startRingmaster,
} from "../lib/servers.ts";
import type { Connection, Library } from "./driver.ts";
import type { Plain } from "./plain.ts";
import type { Scenario, Stage } from "./scenarios.ts";

/** How long one scenario may take on one side, in ms. */
const SCENARIO_MS = 60_000;

class Side implements Stage, AsyncDisposable {
  readonly #connections: Connection[] = [];

  private constructor(
    private readonly library: Library,
    private readonly servers: readonly Server[],
    private readonly yml: string | null,
    private readonly runtime: Runtime,
    private proxy: Proxy | null,
    /** Whose servers those are, if they are, and what stops them. */
    private readonly cluster: Cluster | null = null,
    private readonly fixture: Fixture | null = null,
  ) {}

  /** @param program another redis-server or valkey-server than the one on PATH */
  static async direct(library: Library, program?: string): Promise<Side> {
    return new Side(library, [await startRedis({ port: 0, program })], null, "compiled", null);
  }

  /** In front of a cluster of three primaries and their replicas. */
  static async clustered(library: Library, runtime: Runtime, program?: string): Promise<Side> {
    const fixture = new Fixture();
    try {
      const cluster = await startCluster(fixture, { program });
      const keys = { hash: undefined, distribution: undefined, cluster: true };
      const yml = poolYml({ alpha: { servers: cluster.seeds(2), ...keys } });
      const proxy = await startRingmaster(yml, { runtime });
      const servers = cluster.nodes.map(({ server }) => server);
      return new Side(library, servers, yml, runtime, proxy, cluster, fixture);
    } catch (error) {
      await fixture[Symbol.asyncDispose]();
      throw error;
    }
  }

  static async proxied(library: Library, runtime: Runtime): Promise<Side> {
    const servers = await Promise.all([startRedis(), startRedis(), startRedis()]);
    const yml = poolYml({ alpha: { servers, hash_tag: '"{}"' } });
    return new Side(library, servers, yml, runtime, await startRingmaster(yml, { runtime }));
  }

  get port(): number {
    return this.proxy?.port ?? this.servers[0].port;
  }

  /** The scenario's result, from empty servers, with all its connections closed again. */
  async play(scenario: Scenario): Promise<Plain> {
    for (const server of this.servers) {
      await using client = await RawClient.connect(server.target);
      await client.pipeline(["FLUSHALL"], ["SCRIPT", "FLUSH"], ["FUNCTION", "FLUSH"]);
    }
    try {
      return await within(scenario.run(this), scenario.name, SCENARIO_MS);
    } finally {
      await Promise.all(
        this.#connections.splice(0).map((connection) => connection.disconnect().catch(() => {})),
      );
    }
  }

  async connect(): Promise<Connection> {
    const connection = await within(this.library.connect(this.port), `${this.library.name} to connect`);
    this.#connections.push(connection);
    return connection;
  }

  async blockedClients(): Promise<number> {
    let blocked = 0;
    for (const server of this.servers) {
      await using client = await RawClient.connect(server.target);
      blocked += Number(/blocked_clients:(\d+)/.exec(String(await client.command("INFO", "clients")))![1]);
    }
    return blocked;
  }

  async restartServers(): Promise<void> {
    for (const server of this.servers) await server.crash();
    for (const server of this.servers) await server.start();
    await this.cluster?.settled();
  }

  async restartPeer(): Promise<void> {
    if (this.proxy === null) return await this.restartServers();
    await this.proxy.stop("SIGKILL");
    this.proxy = await startRingmaster(this.yml!, { runtime: this.runtime });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy?.stop();
    for (const server of this.servers) await server[Symbol.asyncDispose]();
    await this.fixture?.[Symbol.asyncDispose]();
  }
}

/** What is behind the proxy: three servers, if absent. */
export interface Behind {
  readonly cluster: boolean;
  /** Of all servers; redis-server on PATH if absent. */
  readonly program?: string;
}

export interface Outcome {
  readonly scenario: string;
  /** Null if the results are equal, or if the library has no means for it. */
  readonly failure: Error | null;
  readonly isLacking: boolean;
}

/** What the proxy adds to an error of Redis: what to set. */
const HINTS = /: this pool has only database 0, set databases: N for more$/m;

/** Results whose errors are told as Redis tells them. */
function withoutHints(result: unknown): unknown {
  if (Array.isArray(result)) return result.map(withoutHints);
  // redis-cli shows errors as text.
  if (typeof result === "string") return result.replace(HINTS, "");
  const error = (result as { error?: unknown } | null)?.error;
  return typeof error === "string" ? { ...result as object, error: error.replace(HINTS, "") } : result;
}

/** Plays `scenarios` one after the other and tells each outcome to `report` at once. */
export async function compare(
  library: Library,
  scenarios: readonly Scenario[],
  runtime: Runtime,
  report: (outcome: Outcome) => void | Promise<void>,
  { cluster, program }: Behind = { cluster: false },
): Promise<void> {
  try {
    await using direct = await Side.direct(library, program);
    await using proxied = cluster
      ? await Side.clustered(library, runtime, program)
      : await Side.proxied(library, runtime);
    for (const scenario of scenarios) {
      if (library.lacks?.has(scenario.name)) {
        await report({ scenario: scenario.name, failure: null, isLacking: true });
        continue;
      }
      let failure: Error | null = null;
      try {
        const expected = await direct.play(scenario);
        const found = withoutHints(await proxied.play(scenario));
        deepStrictEqual(found, expected, `${scenario.name}: not the same as directly`);
      } catch (error) {
        failure = error as Error;
      }
      await report({ scenario: scenario.name, failure, isLacking: false });
    }
  } finally {
    await library.dispose?.();
  }
}
