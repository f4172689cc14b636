/**
 * What a pool with announce_cluster answers to CLUSTER …, as one node of a cluster whose nodes are the proxies.
 *
 *   announce: none        ──► one node, at the address that the client is connected to:      0-16383
 *   announce: [ a, b, c ] ──► three, in the order of their names, the same on every proxy:   0-5460  5461-10922  10923-16383
 *
 * Every proxy serves every slot, whoever is said to own it, so nobody is ever sent to another one. A node's id is made of its
 * address: the same on all proxies and after every restart.
 * Shapes are those of Redis 7.0, 8.6 and Valkey 9.1 (compared in tests/real/announce_test.ts); which one's, is what the servers are.
 */
import { builtin } from "../../bytes/builtin.ts";
import { tagEnd, tagStart } from "../../ring/hash_tag.ts";
import { slotHash, SLOTS } from "../../ring/slots.ts";
import type { Args } from "./args.ts";
import { type Command, FLAG } from "./command.ts";
import { CLUSTER_DISABLED, errorReply, NOT_AN_INTEGER, shown } from "./errors.ts";
import type { Identity } from "./identity.ts";
import { ReplyWriter } from "./reply_writer.ts";

const crypto = builtin<typeof import("node:crypto")>("node:crypto");

export interface NodeAddress {
  readonly host: string;
  readonly port: number;
}

/** A pool with announce_cluster. */
export interface Announced {
  /** Where clients reach the proxies; empty: where they are connected to. */
  readonly nodes: readonly NodeAddress[];
  /** Of this machine. */
  readonly hostName: string;
}

/** What HELLO and INFO call the mode. @param announced null or absent: the pool is no cluster to its clients */
export function modeOf(announced: Announced | null | undefined): string {
  return announced == null ? "standalone" : "cluster";
}

/** What the answers have to know of the cluster and of who asks. */
export interface Announcer {
  /** `announce`; empty: the address that the client is connected to. */
  readonly announce: readonly NodeAddress[];
  /** The name of this machine, and the port that the pool listens on. */
  readonly hostName: string;
  readonly port: number;
  /** Our end of the client's connection, "127.0.0.1:22121" or "[::1]:22121". */
  readonly localAddress: string;
  readonly identity: Identity;
  /** What the client speaks. */
  readonly resp: 2 | 3;
  /** ms since 1970. */
  readonly nowMs: number;
}

interface Node extends NodeAddress {
  readonly id: string;
  readonly shard: string;
  /** First and last slot. */
  readonly first: number;
  readonly last: number;
  /** From 1, each its own, as after `redis-cli --cluster create`. */
  readonly epoch: number;
}

/** The nodes in their order, and which of them answers. */
interface Nodes {
  readonly all: readonly Node[];
  readonly me: number;
}

type Handler = (announcer: Announcer, bytes: Uint8Array, args: Args) => Uint8Array;

/** By subcommand. Of what is not here there is nothing to tell. */
const HANDLERS: Readonly<Record<string, Handler>> = {
  "INFO": (announcer) => new ReplyWriter(announcer.resp).text(clusterInfo(announcer)).take(),
  "NODES": (announcer) => new ReplyWriter(announcer.resp).text(nodeLines(announcer)).take(),
  "SLOTS": slots,
  "SHARDS": shards,
  "MYID": (announcer) => new ReplyWriter(announcer.resp).bulk(self(announcer).id).take(),
  "MYSHARDID": (announcer) => new ReplyWriter(announcer.resp).bulk(self(announcer).shard).take(),
  "KEYSLOT": ({ resp }, bytes, args) => {
    return new ReplyWriter(resp).integer(slotOf(bytes, args.starts[2]!, args.ends[2]!)).take();
  },
  // The proxies have no links to each other, nobody has failed, and nothing migrates.
  "LINKS": ({ resp }) => new ReplyWriter(resp).array(0).take(),
  "GETSLOTMIGRATIONS": ({ resp }) => new ReplyWriter(resp).array(0).take(),
  "REPLICAS": ofNode((reply) => reply.array(0)),
  "SLAVES": ofNode((reply) => reply.array(0)),
  "COUNT-FAILURE-REPORTS": ofNode((reply) => reply.integer(0)),
  "COUNTKEYSINSLOT": keysInSlot,
  "GETKEYSINSLOT": keysInSlot,
};

/** The whole reply to a subcommand of CLUSTER, whose arity is right; HELP is not one of them. */
export function clusterAnswer(
  command: Command,
  announcer: Announcer,
  bytes: Uint8Array,
  args: Args,
): Uint8Array {
  const handler = HANDLERS[command.name.slice("CLUSTER|".length)];
  if (handler !== undefined) return handler(announcer, bytes, args);
  const name = command.name.replace("|", " ");
  return errorReply(
    `ERR '${name}' is not for a cluster that Ringmaster announces: its nodes and slots are as the configuration says`,
  );
}

/**
 * The same where there is a cluster that nobody is told of. Whoever asks for nodes is on the way to become a cluster client, which would go
 * past the proxy, or nowhere: for them it is a standalone server.
 */
export function hiddenAnswer(command: Command, bytes: Uint8Array, args: Args, resp: 2 | 3): Uint8Array {
  if (command.name === "CLUSTER|KEYSLOT") {
    return new ReplyWriter(resp).integer(slotOf(bytes, args.starts[2]!, args.ends[2]!)).take();
  }
  if ((command.flags & FLAG.ADMIN) === 0) return CLUSTER_DISABLED;
  const name = command.name.replace("|", " ");
  return errorReply(
    `ERR '${name}' concerns the cluster's own nodes; send it to one of them, not through Ringmaster`,
  );
}

/** CLUSTERSCAN and TRIMSLOTS. */
export function withoutSlots(command: Command): Uint8Array {
  return errorReply(
    `ERR '${command.name}' is not for a cluster that Ringmaster announces: its servers know of no slots; ` +
      "SCAN walks all keys, on any node",
  );
}

/** The slot of a key. Bytes are borrowed. */
export function slotOf(bytes: Uint8Array, start: number, end: number): number {
  const from = tagStart(bytes, start, end, OPEN_BRACE);
  const to = from < 0 ? -1 : tagEnd(bytes, from, end, CLOSE_BRACE);
  return to < 0 ? slotHash(bytes, start, end) : slotHash(bytes, from, to);
}

const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;

// ---- the nodes

/** By their list, as long as a configuration has it. */
const named = new WeakMap<readonly NodeAddress[], readonly Node[]>();

function nodesOf({ announce, hostName, port, localAddress }: Announcer): Nodes {
  const local = addressOf(localAddress);
  if (announce.length === 0) return { all: [nodeOf(local, 0, 1)], me: 0 };
  let all = named.get(announce);
  if (all === undefined) {
    // Not in the order of the list: proxies with the same names in another order have to agree.
    const sorted = [...announce].sort((a, b) => compare(a.host, b.host) || a.port - b.port);
    all = sorted.map((address, i) => nodeOf(address, i, sorted.length));
    named.set(announce, all);
  }
  const nodes = all;
  const is = (rule: (node: NodeAddress) => boolean) => {
    const found = nodes.findIndex(rule);
    return found >= 0 && nodes.findLastIndex(rule) === found ? found : -1;
  };
  // Who it is matters for "myself" alone. Behind a NAT nothing but the name of the machine, or the port, may be telling.
  const places = [
    is(({ host, port }) => host === local.host && port === local.port),
    is(({ host }) => host === hostName || host.startsWith(`${hostName}.`)),
    is((node) => node.port === port),
  ];
  return { all, me: places.find((place) => place >= 0) ?? 0 };
}

function self(announcer: Announcer): Node {
  const { all, me } = nodesOf(announcer);
  return all[me]!;
}

/** The i-th of `count`, with its share of the slots: as redis-cli shares them. */
function nodeOf({ host, port }: NodeAddress, i: number, count: number): Node {
  const share = SLOTS / count;
  const name = `${host}:${port}`;
  return {
    host,
    port,
    id: sha1(name),
    shard: sha1(`shard ${name}`),
    first: Math.round(i * share),
    last: Math.round((i + 1) * share) - 1,
    epoch: i + 1,
  };
}

function sha1(text: string): string {
  return crypto().createHash("sha1").update(text).digest("hex");
}

/** An IPv4 address that an IPv6 socket shows is IPv4's. */
function addressOf(text: string): NodeAddress {
  const colon = text.lastIndexOf(":");
  const host = text.slice(0, colon).replace(/^\[(.*)\]$/, "$1").replace(/^::ffff:(?=\d+\.)/i, "");
  return { host, port: Number(text.slice(colon + 1)) };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A name, and not an address? */
function isName(host: string): boolean {
  return !host.includes(":") && !/^\d+\.\d+\.\d+\.\d+$/.test(host);
}

// ---- the answers

function slots(announcer: Announcer): Uint8Array {
  const { all } = nodesOf(announcer);
  const reply = new ReplyWriter(announcer.resp).array(all.length);
  for (const { first, last, host, port, id } of all) {
    reply.array(3).integer(first).integer(last).array(4).bulk(host).integer(port).bulk(id).map(0);
  }
  return reply.take();
}

/** A name stands for the address too, which is not known here: whoever connects to it has it resolved. */
function shards(announcer: Announcer): Uint8Array {
  const { all } = nodesOf(announcer);
  const withId = isSince(announcer.identity, "valkey", 9);
  const reply = new ReplyWriter(announcer.resp).array(all.length);
  for (const { first, last, host, port, id, shard } of all) {
    reply.map(withId ? 3 : 2).bulk("slots").array(2).integer(first).integer(last);
    reply.bulk("nodes").array(1).map(isName(host) ? 8 : 7)
      .bulk("id").bulk(id)
      .bulk("port").integer(port)
      .bulk("ip").bulk(host)
      .bulk("endpoint").bulk(host);
    if (isName(host)) reply.bulk("hostname").bulk(host);
    reply.bulk("role").bulk("master").bulk("replication-offset").integer(0).bulk("health").bulk("online");
    if (withId) reply.bulk("id").bulk(shard);
  }
  return reply.take();
}

/** There is no port of a cluster bus: 0. */
function nodeLines(announcer: Announcer): string {
  const { all, me } = nodesOf(announcer);
  return all.map(({ id, host, port, epoch, first, last }, i) => {
    const name = isName(host) ? `,${host}` : "";
    const flags = i === me ? "myself,master" : "master";
    const heard = i === me ? 0 : Math.floor(announcer.nowMs);
    const range = first === last ? `${first}` : `${first}-${last}`;
    return `${id} ${host}:${port}@0${name} ${flags} - 0 ${heard} ${epoch} connected ${range}\n`;
  }).join("");
}

function clusterInfo(announcer: Announcer): string {
  const { all, me } = nodesOf(announcer);
  const zeros = (names: string) => names.split(" ").map((name) => `${name}:0`);
  const isValkey = isSince(announcer.identity, "valkey", 9);
  const lines = [
    "cluster_state:ok",
    `cluster_slots_assigned:${SLOTS}`,
    `cluster_slots_ok:${SLOTS}`,
    ...zeros("cluster_slots_pfail cluster_slots_fail"),
    ...(isValkey ? zeros(VALKEY_NODES) : []),
    `cluster_known_nodes:${all.length}`,
    `cluster_size:${all.length}`,
    `cluster_current_epoch:${all.length}`,
    `cluster_my_epoch:${all[me]!.epoch}`,
    ...zeros("cluster_stats_messages_sent cluster_stats_messages_received"),
    ...(isValkey ? zeros(VALKEY_BYTES) : []),
    "total_cluster_links_buffer_limit_exceeded:0",
    ...(isSince(announcer.identity, "redis", 8, 4) ? zeros(REDIS_MIGRATION) : []),
  ];
  return lines.map((line) => `${line}\r\n`).join("");
}

const VALKEY_NODES =
  "cluster_nodes_pfail cluster_nodes_fail cluster_voting_nodes_pfail cluster_voting_nodes_fail";
const VALKEY_BYTES =
  "cluster_stats_bytes_sent cluster_stats_bytes_received cluster_stats_pubsub_bytes_sent " +
  "cluster_stats_pubsub_bytes_received cluster_stats_module_bytes_sent cluster_stats_module_bytes_received";

const REDIS_MIGRATION = [
  "active_tasks active_trim_running active_trim_current_job_keys active_trim_current_job_trimmed",
  "stats_active_trim_started stats_active_trim_completed stats_active_trim_cancelled",
].join(" ").replace(/(?<=^| )/g, "cluster_slot_migration_");

/** Are the servers this program, of this version or a later one? */
function isSince({ server, version }: Identity, program: string, major: number, minor = 0): boolean {
  const [ours = 0, below = 0] = version.split(".").map((part) => Number.parseInt(part));
  return server === program && (ours > major || (ours === major && below >= minor));
}

/** An answer about the node whose id is asked for. */
function ofNode(write: (reply: ReplyWriter) => ReplyWriter): Handler {
  return (announcer, bytes, args) => {
    const id = shown(bytes, args.starts[2]!, args.ends[2]!);
    if (!nodesOf(announcer).all.some((node) => node.id === id)) return errorReply(`ERR Unknown node ${id}`);
    return write(new ReplyWriter(announcer.resp)).take();
  };
}

/** The servers have no slots, so none of them counts by slot. */
function keysInSlot(_announcer: Announcer, bytes: Uint8Array, args: Args): Uint8Array {
  const isCount = args.count === 3;
  for (let i = 2; i < args.count; i++) {
    const text = shown(bytes, args.starts[i]!, args.ends[i]!);
    if (!/^(0|-?[1-9][0-9]{0,17})$/.test(text)) return NOT_AN_INTEGER;
    if (Number(text) < 0 || (i === 2 && Number(text) >= SLOTS)) {
      return errorReply(isCount ? "ERR Invalid slot" : "ERR Invalid slot or number of keys");
    }
  }
  const what = isCount ? "COUNTKEYSINSLOT" : "GETKEYSINSLOT";
  return errorReply(
    `ERR 'CLUSTER ${what}' is not for a cluster that Ringmaster announces: its servers know of no slots; ` +
      "use SCAN, and CLUSTER KEYSLOT of each key",
  );
}
