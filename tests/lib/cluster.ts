/**
 * A real cluster on free ports of 127.0.0.1, ready in about as long as its servers take to trust themselves (2 s):
 *
 *   await using f = new Fixture();
 *   const cluster = await startCluster(f, { primaries: 3, replicas: 1 });
 *   await cluster.moveSlots([slotOf("a")], cluster.nodes[1]!);
 *
 * Each server finds the whole cluster in its nodes file when it starts: nobody has to meet anybody. It runs with `redis-server` as it is on
 * PATH, or another program (valkey-server). All of it stops with the fixture.
 */
import { type Argument, latin1 } from "./bytes.ts";
import { RawClient } from "./client.ts";
import type { Fixture } from "./fixture.ts";
import { poll } from "./poll.ts";
import { freePort } from "./ports.ts";
import { Process, run } from "./process.ts";
import { need } from "./repo.ts";
import { ReplyError, type Value } from "./resp.ts";
import { Server } from "./servers.ts";
import { slotOf, SLOTS } from "./slots.ts";
import { type Version, versionOf } from "./versions.ts";

export { slotOf, SLOTS };

/** By slot, the first number that is of it; filled as far as somebody has asked. */
const tags = new Map<number, number>();
let numbersTried = 0;

/** A key of this slot: `{n}name`. */
export function keyOf(slot: number, name = ""): string {
  while (!tags.has(slot)) {
    const of = slotOf(String(numbersTried));
    if (!tags.has(of)) tags.set(of, numbersTried);
    numbersTried++;
  }
  return `{${tags.get(slot)}}${name}`;
}

export interface ClusterOptions {
  /** 3 if absent. */
  readonly primaries?: number;
  /** Of each primary; 1 if absent. */
  readonly replicas?: number;
  /** cluster-node-timeout; 2000 if absent. A killed primary's replica has its slots some 1.5 times of that later. */
  readonly nodeTimeoutMs?: number;
  /** redis-server or valkey-server; that on PATH if absent. */
  readonly program?: string;
  /** More arguments of each server. */
  readonly args?: readonly string[];
  /** What they want in AUTH, if `args` let them want it. */
  readonly auth?: readonly string[];
  /** What each primary owns, as [first, last] pairs; equal shares if absent. */
  readonly slots?: readonly (readonly (readonly [number, number])[])[];
}

/** What CLUSTER NODES says in one line. */
export interface NodeLine {
  readonly id: string;
  readonly port: number;
  readonly flags: readonly string[];
  /** "" of a primary. */
  readonly primary: string;
  /** Of its claims; a replica's is its primary's. */
  readonly epoch: number;
  readonly linked: boolean;
  /** First and last slot of each range. */
  readonly ranges: readonly (readonly [number, number])[];
}

/** One server of a cluster, whatever it is at the moment. */
export class ClusterNode implements AsyncDisposable {
  private readonly free: RawClient[] = [];

  /** @param auth what AUTH is told on connections of this harness: nothing, a password, or a user and a password */
  constructor(readonly server: Server, readonly id: string, readonly auth: readonly string[] = []) {}

  get port(): number {
    return this.server.port;
  }

  /** "127.0.0.1:7000": a line of `servers:`. */
  get address(): string {
    return this.server.address;
  }

  get runs(): boolean {
    return this.server.status === null;
  }

  /** One command on a connection that nobody else has meanwhile. An error reply is a value. Rejects if the server is gone. */
  async ask(...words: Argument[]): Promise<Value> {
    return (await this.askAll(words))[0]!;
  }

  /** As `ask`, many at once. */
  async askAll(...commands: Argument[][]): Promise<Value[]> {
    // It is out of the others' way until it has been answered: replies do not get mixed up.
    const client = this.free.pop() ?? await this.connect();
    try {
      const replies = await client.pipeline(...commands);
      this.free.push(client);
      return replies;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** As `askAll`, on so many connections; an error reply is thrown. */
  async tellAll(commands: readonly Argument[][], lanes: number): Promise<void> {
    await Promise.all(Array.from({ length: lanes }, async (_, lane) => {
      const own = commands.filter((_, i) => i % lanes === lane);
      if (own.length === 0) return;
      const replies = await this.askAll(...own);
      replies.forEach((reply, i) => must(reply, this, own[i]!.map(String).join(" ")));
    }));
  }

  private async connect(): Promise<RawClient> {
    const client = await RawClient.connect(this.server.target);
    if (this.auth.length > 0) must(await client.command("AUTH", ...this.auth), this, "AUTH");
    return client;
  }

  /** As `ask`; an error reply is thrown. */
  async tell(...words: Argument[]): Promise<Value> {
    return must(await this.ask(...words), this, words.map(String).join(" "));
  }

  /** CLUSTER NODES as this one sees it. */
  async view(): Promise<NodeLine[]> {
    return String(await this.tell("CLUSTER", "NODES")).trim().split("\n").map(readLine);
  }

  /** "ok" or "fail". */
  async state(): Promise<string> {
    return /cluster_state:(\w+)/.exec(String(await this.tell("CLUSTER", "INFO")))![1]!;
  }

  async isPrimary(): Promise<boolean> {
    return (await this.tell("ROLE") as Value[])[0] === "master";
  }

  /** KILL; nothing is saved. Resolves when it has ended. */
  async crash(): Promise<void> {
    await this[Symbol.asyncDispose]();
    await this.server.crash();
  }

  /** Starts it again at its address with the nodes file that it had. */
  async restart(): Promise<void> {
    await this.server.start();
  }

  [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.free.splice(0)) client.close();
    return Promise.resolve();
  }
}

function must(reply: Value, node: ClusterNode, what: string): Value {
  if (reply instanceof ReplyError) throw new Error(`${node.address} answers ${what}: ${reply.message}`);
  return reply;
}

function readLine(line: string): NodeLine {
  const [id, address, flags, primary, , , epoch, link, ...ranges] = line.split(" ");
  return {
    id: id!,
    port: Number(/:(\d+)/.exec(address!)![1]),
    flags: flags!.split(","),
    primary: primary === "-" ? "" : primary!,
    epoch: Number(epoch),
    linked: link === "connected",
    // What begins with a bracket is on its way.
    ranges: ranges.filter((each) => !each.startsWith("[")).map((each) => {
      const [first, last] = each.split("-").map(Number);
      return [first!, last ?? first!];
    }),
  };
}

/** A node as another one sees it, for messages. */
function described({ port, flags, primary, epoch, linked, ranges }: NodeLine): string {
  const owns = primary === "" ? ranges.map(([first, last]) => `${first}-${last}`).join(" ") : "a replica";
  return `${port} ${flags} epoch ${epoch} ${linked ? "" : "not linked "}${owns || "no slots"}`;
}

/** How many slots have a step of their move in one write, so that not each of them takes seven round trips. */
const MOVE_BATCH = 50;

/** A failover that has been asked for is over by then, or will not be. */
const FAILOVER_MS = 6000;

export class Cluster {
  /** Valkey answers a SETSLOT only when its replicas have it, which takes milliseconds, however many come at once. */
  private get lanes(): number {
    return this.version === "valkey 9.1" ? MOVE_BATCH : 1;
  }

  constructor(readonly nodes: readonly ClusterNode[], readonly version: Version) {}

  /** Lines of `servers:` for all that there were at first; `count` of them if given. */
  seeds(count = this.nodes.length): string[] {
    return this.nodes.slice(0, count).map(({ address }) => address);
  }

  node(id: string): ClusterNode {
    const found = this.nodes.find((each) => each.id === id);
    if (found === undefined) throw new Error(`no node of this cluster has the id ${id}`);
    return found;
  }

  running(): ClusterNode[] {
    return this.nodes.filter((each) => each.runs);
  }

  async primaries(): Promise<ClusterNode[]> {
    const found: ClusterNode[] = [];
    for (const each of this.running()) if (await each.isPrimary()) found.push(each);
    return found;
  }

  /** Those that follow `primary`, in its own view. */
  async replicasOf(primary: ClusterNode): Promise<ClusterNode[]> {
    const lines = await primary.view();
    return lines.filter((line) => line.primary === primary.id).map((line) => this.node(line.id));
  }

  /** The owner of each slot in the view of one node; null: nobody. */
  async owners(of: ClusterNode = this.running()[0]!): Promise<(ClusterNode | null)[]> {
    const owners: (ClusterNode | null)[] = new Array(SLOTS).fill(null);
    for (const { id, ranges } of await of.view()) {
      for (const [first, last] of ranges) owners.fill(this.node(id), first, last + 1);
    }
    return owners;
  }

  /** Rejects if nobody owns it. */
  async ownerOf(slot: number): Promise<ClusterNode> {
    const owner = (await this.owners())[slot] ?? null;
    if (owner === null) throw new Error(`slot ${slot} has no owner`);
    return owner;
  }

  /** Resolves when all that run say that all is well, agree on who owns what since which epoch, and replicas have their primary's data. */
  async settled(patienceMs = 60_000): Promise<void> {
    let seen = "";
    let logOf = "";
    await poll(
      async () => {
        const views = new Set<string>();
        for (const node of this.running()) {
          const state = await node.state();
          const lines = await node.view();
          if (state !== "ok") {
            seen = `${node.address}: ${state}, and sees ${lines.map(described).join("; ")}`;
            logOf = node.server.log;
            return false;
          }
          seen = `${node.address}: ok`;
          logOf = "";
          views.add(
            lines.flatMap(({ id, ranges, epoch }) =>
              ranges.map(([first, last]) => `${first}-${last} ${id} ${epoch}`)
            ).sort().join(),
          );
          const [role, , , link] = await node.tell("ROLE") as Value[];
          const own = lines.find(({ flags }) => flags.includes("myself"))!;
          seen += ` ${role} ${link ?? ""} ${own.flags}`;
          if (role === "slave" && link !== "connected") return false;
        }
        seen = `${views.size} views`;
        return views.size === 1;
      },
      () => `the cluster to agree (${seen}${logOf && `; its log ends: ${logOf.slice(-3000)}`})`,
      patienceMs,
    );
  }

  // ---- slots by hand, as redis-cli moves them

  /**
   * A slot that goes to a node which has not heard yet of its source's epoch is lost to it again, keys and all, when that word comes: SETSLOT
   * NODE makes no new epoch where a node takes its own for the highest. So whoever moves a slot back at once waits here.
   */
  private async hasHeard(target: ClusterNode, source: ClusterNode): Promise<void> {
    await poll(
      () => this.agree(target, source, source.id, ({ epoch }) => epoch),
      `${target.address} to hear of the epoch of ${source.address}`,
    );
  }

  /** Do two nodes say the same of one? */
  private async agree(
    one: ClusterNode,
    other: ClusterNode,
    id: string,
    what: (line: NodeLine) => unknown,
  ): Promise<boolean> {
    const views = await Promise.all([one.view(), other.view()]);
    const [first, second] = views.map((lines) => String(lines.filter((line) => line.id === id).map(what)));
    return first === second;
  }

  /** SETSLOT IMPORTING and MIGRATING: the target first. */
  async openSlot(slot: number, source: ClusterNode, target: ClusterNode): Promise<void> {
    await this.hasHeard(target, source);
    await target.tell("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id);
    await source.tell("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id);
  }

  /** Moves up to `count` of its keys that are with the source; gives how many it were. Keys are given as bytes or text of one byte a character. */
  async moveKeys(
    slot: number,
    source: ClusterNode,
    target: ClusterNode,
    count = 100,
    timeoutMs = 5000,
  ): Promise<number> {
    const keys = await source.tell("CLUSTER", "GETKEYSINSLOT", slot, count) as string[];
    if (keys.length === 0) return 0;
    await this.migrate(keys.map(latin1), source, target, timeoutMs);
    return keys.length;
  }

  /** MIGRATE of these keys. */
  async migrate(
    keys: readonly Uint8Array[],
    source: ClusterNode,
    target: ClusterNode,
    timeoutMs = 5000,
  ): Promise<void> {
    const auth = target.auth.length === 0
      ? []
      : [`AUTH${target.auth.length === 2 ? "2" : ""}`, ...target.auth];
    await source.tell("MIGRATE", "127.0.0.1", target.port, "", 0, timeoutMs, ...auth, "KEYS", ...keys);
  }

  /** SETSLOT NODE: the target first, so that it is not without an owner, then the source, then the other primaries. */
  async closeSlot(slot: number, source: ClusterNode, target: ClusterNode): Promise<void> {
    await this.closeSlots([slot], source, target);
  }

  private async closeSlots(
    slots: readonly number[],
    source: ClusterNode,
    target: ClusterNode,
  ): Promise<void> {
    const commands = slots.map((slot): Argument[] => ["CLUSTER", "SETSLOT", slot, "NODE", target.id]);
    const others = (await this.primaries()).filter((each) => each !== target && each !== source);
    for (const each of [target, source, ...others]) await each.tellAll(commands, this.lanes);
  }

  /** Calls it off: the keys that have moved stay where they are. */
  async abandonSlot(slot: number, source: ClusterNode, target: ClusterNode): Promise<void> {
    for (const each of [source, target]) await each.tell("CLUSTER", "SETSLOT", slot, "STABLE");
  }

  /** Moves slots whoever owns them, keys and all, a batch at a time; resolves when all primaries know. `stopped` ends it between two batches. */
  async moveSlots(
    slots: readonly number[],
    target: ClusterNode,
    stopped: () => boolean = () => false,
  ): Promise<void> {
    const owners = await this.owners(target);
    const bySource = new Map<ClusterNode, number[]>();
    for (const slot of slots) {
      const source = owners[slot] ?? null;
      if (source === null) throw new Error(`slot ${slot} has no owner`);
      if (source === target) continue;
      if (!bySource.has(source)) bySource.set(source, []);
      bySource.get(source)!.push(slot);
    }
    for (const [source, list] of bySource) {
      for (let i = 0; i < list.length && !stopped(); i += MOVE_BATCH) {
        await this.moveBatch(list.slice(i, i + MOVE_BATCH), source, target);
      }
    }
  }

  private async moveBatch(
    slots: readonly number[],
    source: ClusterNode,
    target: ClusterNode,
  ): Promise<void> {
    const set = (how: string, node: ClusterNode) =>
      slots.map((slot): Argument[] => ["CLUSTER", "SETSLOT", slot, how, node.id]);
    await this.hasHeard(target, source);
    await target.tellAll(set("IMPORTING", source), this.lanes);
    await source.tellAll(set("MIGRATING", target), this.lanes);
    for (const slot of slots) while (await this.moveKeys(slot, source, target) > 0);
    await this.closeSlots(slots, source, target);
  }

  // ---- at once, as Valkey 9 and Redis 8.4 can

  get hasAtomicMoves(): boolean {
    return this.version !== "redis 7.0";
  }

  /** Begins to move the slots from `first` to `last`, which have one owner, to `target`, and resolves when all nodes know that they have. */
  async moveAtomically(first: number, last: number, target: ClusterNode, patienceMs = 60_000): Promise<void> {
    const source = await this.ownerOf(first);
    if (this.version === "valkey 9.1") {
      await source.tell("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", first, last, "NODE", target.id);
    } else {
      await target.tell("CLUSTER", "MIGRATION", "IMPORT", first, last);
    }
    await poll(
      async () => {
        for (const each of this.running()) {
          const owners = await this.owners(each);
          if (owners[first] !== target || owners[last] !== target) return false;
        }
        return true;
      },
      `slots ${first} to ${last} to be at ${target.address}`,
      patienceMs,
    );
  }

  // ---- who is the primary

  /** CLUSTER FAILOVER (FORCE, TAKEOVER) to a replica; resolves when all that run know it as primary. */
  async failover(replica: ClusterNode, ...how: string[]): Promise<void> {
    if (how.length === 0) await this.knowsItsSlots(replica);
    let askedAtMs = -Infinity;
    await poll(
      async () => {
        const [role, , , link] = await replica.tell("ROLE") as Value[];
        if (role === "master") return true;
        // Whoever has just become a replica says OK and gives up in silence, 5 s later; who is asked again begins anew.
        const ready = how.length > 0 || link === "connected";
        if (ready && performance.now() - askedAtMs > FAILOVER_MS) {
          askedAtMs = performance.now();
          await replica.ask("CLUSTER", "FAILOVER", ...how);
        }
        return false;
      },
      `a failover to ${replica.address}`,
      60_000,
    );
    await this.knownAsPrimary(replica);
  }

  /** A slot that has just come to its primary, and that the replica has not heard of, is nobody's when it takes over (seen with Redis 7.0). */
  private async knowsItsSlots(replica: ClusterNode): Promise<void> {
    await poll(async () => {
      const { primary } = (await replica.view()).find(({ flags }) => flags.includes("myself"))!;
      return primary === "" || await this.agree(replica, this.node(primary), primary, ({ ranges }) => ranges);
    }, `${replica.address} to have heard which slots its primary has`);
  }

  /** Resolves when all that run say that it owns slots and is well. */
  async knownAsPrimary(node: ClusterNode, patienceMs = 30_000): Promise<void> {
    await poll(
      async () => {
        for (const each of this.running()) {
          const line = (await each.view()).find(({ id }) => id === node.id);
          if (line === undefined || !line.flags.includes("master") || line.ranges.length === 0) return false;
        }
        return true;
      },
      `all to know ${node.address} as a primary`,
      patienceMs,
    );
  }

  /** Resolves when all that run answer cluster_state:ok. */
  async ok(patienceMs = 30_000): Promise<void> {
    await poll(
      async () =>
        (await Promise.all(this.running().map((each) => each.state()))).every((all) => all === "ok"),
      "cluster_state:ok everywhere",
      patienceMs,
    );
  }
}

/** Equal shares, the first ones larger if it cannot be. */
function shares(count: number): [number, number][][] {
  return Array.from({ length: count }, (_, i) => {
    const from = (at: number) => Math.ceil(at * SLOTS / count);
    return [[from(i), from(i + 1) - 1]];
  });
}

/** As nodes and shards are called: 40 hexadecimal digits. */
function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(20));
  return Array.from(bytes, (n) => n.toString(16).padStart(2, "0")).join("");
}

/** Since 7.2 a shard has a name that all its nodes know: without it they do not agree on who is in which. */
async function knowsShards(program: string): Promise<boolean> {
  const { stdout } = await run(program, ["--version"]);
  const [, major, minor] = /v=(\d+)\.(\d+)/.exec(stdout)!.map(Number);
  return major! > 7 || major === 7 && minor! >= 2;
}

export async function startCluster(f: Fixture, options: ClusterOptions = {}): Promise<Cluster> {
  const primaries = options.primaries ?? 3;
  const count = primaries * (1 + (options.replicas ?? 1));
  const slots = options.slots ?? shares(primaries);
  const program = options.program ?? need("redis-server");
  const members = Array.from(
    { length: count },
    () => ({ port: freePort(), bus: freePort(), id: randomId() }),
  );
  const shards = await knowsShards(program) ? Array.from({ length: primaries }, randomId) : null;
  const nodes = members.map((own, at) => {
    const dir = `${f.dir}/node${own.port}`;
    Deno.mkdirSync(dir, { recursive: true });
    const lines = members.map(({ port, bus, id }, i) => {
      const flags = `${i === at ? "myself," : ""}${i < primaries ? "master" : "slave"}`;
      const primary = i < primaries ? "-" : members[i % primaries]!.id;
      const ranges = i < primaries ? slots[i]!.map(([first, last]) => ` ${first}-${last}`).join("") : "";
      // A primary's configuration epoch is its own, as after redis-cli --cluster create.
      const epoch = i % primaries + 1;
      const shard = shards === null ? "" : `,,shard-id=${shards[i % primaries]}`;
      return `${id} 127.0.0.1:${port}@${bus}${shard} ${flags} ${primary} 0 0 ${epoch} connected${ranges}`;
    });
    lines.push(`vars currentEpoch ${primaries} lastVoteEpoch 0`);
    Deno.writeTextFileSync(`${dir}/nodes.conf`, lines.join("\n") + "\n");
    const settings: Record<string, string> = {
      "port": String(own.port),
      "bind": "127.0.0.1",
      "cluster-enabled": "yes",
      "cluster-port": String(own.bus),
      "cluster-config-file": "nodes.conf",
      "cluster-node-timeout": String(options.nodeTimeoutMs ?? 2000),
      "dir": dir,
      "save": "",
      "appendonly": "no",
      "repl-diskless-sync-delay": "0",
      "repl-ping-replica-period": "1",
    };
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
    args.push(...options.args ?? []);
    const spawn = () => new Process(program, args, { output: `${dir}/log` });
    const server = f.add(new Server(dir, false, spawn, "redis", { host: "127.0.0.1", port: own.port }));
    return f.add(new ClusterNode(server, own.id, options.auth));
  });
  await Promise.all(nodes.map(({ server }) => server.waitReady()));
  await using client = await RawClient.connect(nodes[0]!.server.target);
  if (options.auth !== undefined) await client.command("AUTH", ...options.auth);
  const cluster = new Cluster(nodes, await versionOf(client));
  await cluster.settled();
  return cluster;
}
