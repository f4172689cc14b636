/**
 * The replies Ringmaster gives itself: connection set-up, what clients ask before they trust a server, and what no
 * single server could answer for the pool.
 *
 *   command ──▶ HANDLERS[command.id] ──▶ whole reply, in the client's protocol
 *
 * Texts and shapes are those of Redis 7 (compared with a real server in tests/real/redis_commands_test.ts), except
 * where twemproxy's differ and configurations rely on them: AUTH with one argument.
 */
import { encode, latin1 } from "../../bytes/ascii.ts";
import {
  type Announced,
  type Announcer,
  clusterAnswer,
  hiddenAnswer,
  modeOf,
  withoutSlots,
} from "./announced.ts";
import type { Args } from "./args.ts";
import type { Command } from "./command.ts";
import { documented, ownDocs } from "./command_docs.ts";
import { findByName } from "./commands.ts";
import {
  CLUSTER_DISABLED,
  errorReply,
  isRefused,
  NOT_AN_INTEGER,
  refusal,
  shown,
  SYNTAX_ERROR,
  unknownError,
} from "./errors.ts";
import { globMatches } from "./glob.ts";
import type { Identity } from "./identity.ts";
import { infoText } from "./info.ts";
import { commandCount, commandGetkeys, commandInfo, commandList } from "./introspection.ts";
import { OK, ReplyWriter } from "./reply_writer.ts";
import { redirectOf, trackingInfo, type TrackingState } from "./tracking_options.ts";

/** What the answers need to know of, and change in, one client's connection. */
export interface Session {
  /** Positive, unique in the process's life. */
  readonly id: number;
  /** Owned by the session; empty if not set. */
  name: Uint8Array;
  libName: Uint8Array;
  libVersion: Uint8Array;
  /** The protocol the client speaks. HELLO changes it; the answer to HELLO is already in the new one. */
  resp: 2 | 3;
  /** 0 ≤ db < host.databases; SELECT changes it. */
  db: number;
  /** True from the start where the pool has no password. */
  authenticated: boolean;
  /** Of a pool with users: whether the HELLO AUTH at hand has been found right; null or absent: its password is `Host.password`. */
  readonly login?: { readonly right: boolean } | null;
  /** CLIENT CAPA redirect. */
  canRedirect: boolean;
  /** CLIENT TRACKING; null = off. */
  readonly tracking: TrackingState | null;
  /** When it connected, ms on the clock of `Host.wallMs`. */
  readonly sinceMs: number;
  /** "127.0.0.1:54321", or "/path:0" for a unix socket: the peer's. */
  address(): string;
  /** The same of our end. */
  localAddress(): string;
}

/** Which configuration is in force (how many changes there have been, what the last one was, when in ms), and what has happened. */
export interface Topology {
  readonly epoch: number;
  readonly cause: string;
  readonly atMs: number;
  /** Events so far; see topology/events.ts. */
  readonly count: number;
  readonly last: { readonly atMs: number; readonly durationMs: number; readonly text: string } | null;
}

/** What the answers need to know of the pool and the process. */
/** A replica that may be read from, and how many reads it has answered to this thread. */
export interface ReplicaSeen {
  readonly server: string;
  readonly address: string;
  readonly zone: string | null;
  readonly reads: number;
}

export interface Host {
  topology(): Topology;
  readonly poolName: string;
  /** Where this proxy runs; null or absent = not said. */
  readonly zone?: string | null;
  /** Those that are read from; absent = none. */
  replicas?(): readonly ReplicaSeen[];
  /** What clients in cluster mode are told; null or absent: the pool is no cluster to them. */
  readonly announced?: Announced | null;
  /** The servers are nodes of a cluster, and know slots. Absent = no. */
  readonly cluster?: boolean;
  /** redis_auth, or null if clients need none. */
  readonly password: Uint8Array | null;
  /** ≥ 1. */
  readonly databases: number;
  /** What the servers call the clients' database 0. */
  readonly redisDb: number;
  /** May clients speak RESP3? */
  readonly resp3: boolean;
  /** What the servers are, as far as it is known now: clients switch features by it. */
  readonly identity: Identity;
  /** Ringmaster's own version. */
  readonly ringmasterVersion: string;
  /** The port clients connect to; 0 for a unix socket. */
  readonly port: number;
  readonly processId: number;
  /** "Linux 6.1.0 x86_64" or the like. */
  readonly os: string;
  /** 0 = no limit. */
  readonly clientsMax: number;
  /** Bytes. */
  readonly bulkSizeMax: number;
  /** 0 = never. */
  readonly idleTimeoutSeconds: number;
  /** ms since 1970. */
  wallMs(): number;
  uptimeSeconds(): number;
  /** Bytes. */
  memoryBytes(): number;
  connectedClients(): number;
  connectionsTotal(): number;
  requestsTotal(): number;
  serverCount(): number;
  liveServerCount(): number;
  /** One of POOL_METRICS, by its place. */
  poolTotal(metric: number): number;
}

const PONG = encode("+PONG\r\n");
const RESET = encode("+RESET\r\n");
const EMPTY = new Uint8Array(0);
/** What a client may have us remember of it, for each of name, library and version; in bytes. */
export const CLIENT_ATTRIBUTE_MAX = 4096;

type Handler = (bytes: Uint8Array, args: Args, session: Session, host: Host, command: Command) => Uint8Array;
const HANDLERS: (Handler | undefined)[] = [];

/** Is there an answer for the command? For the test that every ROUTE.LOCAL row has one. */
export function canAnswer(command: Command): boolean {
  return HANDLERS[command.id] !== undefined;
}

/**
 * The whole reply to a ROUTE.LOCAL request whose arity is right and, where the pool has a password, whose client
 * has given it (`needsAuth`). May change the session. The array is a constant or the caller's, and is never changed
 * later. QUIT's reply is +OK; closing is the caller's.
 */
export function answer(
  command: Command,
  bytes: Uint8Array,
  args: Args,
  session: Session,
  host: Host,
): Uint8Array {
  const handler = HANDLERS[command.id];
  // A learned container with a word too few, or a command that is not local: an error keeps the order of replies.
  if (handler === undefined) {
    return isRefused(command, true) ? refusal(command) : unknownError(bytes, args);
  }
  return handler(bytes, args, session, host, command);
}

function on(names: string, handler: Handler): void {
  for (const name of names.split(" ")) {
    const command = findByName(name);
    if (command === undefined) throw new Error(`answers.ts: no row in command_rows.ts for ${name}`);
    HANDLERS[command.id] = handler;
  }
}

// The connection itself.

on("PING", (bytes, args, session) => {
  if (args.count === 1) return PONG;
  if (args.count > 2) return errorReply("ERR wrong number of arguments for 'ping' command");
  return new ReplyWriter(session.resp).bulkBytes(bytes, args.starts[1]!, args.ends[1]!).take();
});

on("ECHO", (bytes, args, session) => {
  return new ReplyWriter(session.resp).bulkBytes(bytes, args.starts[1]!, args.ends[1]!).take();
});

on("QUIT", () => OK);

on("RESET", (_bytes, _args, session, host) => {
  session.name = EMPTY;
  session.resp = 2;
  session.db = 0;
  session.authenticated = host.password === null;
  session.canRedirect = false;
  return RESET;
});

on("SELECT", (bytes, args, session, host) => {
  const db = databaseIn(bytes, args, 1, host.databases);
  if (typeof db !== "number") return db;
  session.db = db;
  return OK;
});

export const WRONGPASS = "WRONGPASS invalid username-password pair or user is disabled.";

on("AUTH", (bytes, args, session, host) => {
  if (args.count > 3) return SYNTAX_ERROR;
  if (args.count === 3) {
    if (!userIsRight(bytes, args, 1, host)) return errorReply(WRONGPASS);
    session.authenticated = true;
    return OK;
  }
  if (host.password === null) {
    return errorReply("ERR Client sent AUTH, but no password is set");
  }
  // As twemproxy: a wrong password also takes back an earlier right one.
  session.authenticated = sameBytes(bytes, args.starts[1]!, args.ends[1]!, host.password);
  return session.authenticated ? OK : errorReply("ERR invalid password");
});

/** Arguments `at` and `at + 1`: a user we have ("default" alone), and its password. */
function userIsRight(bytes: Uint8Array, args: Args, at: number, host: Host): boolean {
  if (latin1(bytes, args.starts[at]!, Math.min(args.ends[at]!, args.starts[at]! + 8)) !== "default") {
    return false;
  }
  return host.password === null || sameBytes(bytes, args.starts[at + 1]!, args.ends[at + 1]!, host.password);
}

/** Equal? Takes as long for a nearly right password as for a wrong one. */
function sameBytes(bytes: Uint8Array, start: number, end: number, expected: Uint8Array): boolean {
  let difference = (end - start) ^ expected.length;
  for (let i = start; i < end; i++) difference |= bytes[i]! ^ (expected[(i - start) % expected.length] ?? 1);
  return difference === 0;
}

/** Where HELLO names a user: that argument, with the password behind it. 0: it does not, or is not right. */
export function helloUserAt(bytes: Uint8Array, args: Args): number {
  let userAt = 0;
  for (let i = 2; i < args.count; i++) {
    const option = word(bytes, args, i);
    const more = args.count - 1 - i;
    if (option === "AUTH" && more >= 2) {
      userAt = i + 1;
      i += 2;
    } else if (option === "SETNAME" && more >= 1) i++;
    else return 0;
  }
  return userAt;
}

on("HELLO", (bytes, args, session, host) => {
  let version = 0;
  if (args.count > 1) {
    const asked = parseInteger(bytes, args.starts[1]!, args.ends[1]!);
    if (asked === null) return errorReply("ERR Protocol version is not an integer or out of range");
    if (asked !== 2 && (asked !== 3 || !host.resp3)) {
      return errorReply("NOPROTO unsupported protocol version");
    }
    version = asked;
  }
  let userAt = 0;
  let nameAt = 0;
  for (let i = 2; i < args.count; i++) {
    const option = word(bytes, args, i);
    const more = args.count - 1 - i;
    if (option === "AUTH" && more >= 2) {
      userAt = i + 1;
      i += 2;
    } else if (option === "SETNAME" && more >= 1) {
      nameAt = ++i;
      const wrong = nameError(bytes, args, i, "Client names");
      if (wrong !== null) return wrong;
    } else {
      return errorReply(`ERR Syntax error in HELLO option '${shown(bytes, args.starts[i]!, args.ends[i]!)}'`);
    }
  }
  if (userAt > 0) {
    const right = session.login == null ? userIsRight(bytes, args, userAt, host) : session.login.right;
    if (!right) return errorReply(WRONGPASS);
    session.authenticated = true;
  }
  if (!session.authenticated) {
    return errorReply(
      "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> " +
        "<pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
    );
  }
  if (nameAt > 0) session.name = bytes.slice(args.starts[nameAt]!, args.ends[nameAt]!);
  if (version === 2 || version === 3) session.resp = version;
  const { identity, zone } = host;
  const reply = new ReplyWriter(session.resp).map(zone == null ? 7 : 8)
    .bulk("server").bulkLatin1(identity.server)
    .bulk("version").bulkLatin1(identity.version)
    .bulk("proto").integer(session.resp)
    .bulk("id").integer(session.id)
    .bulk("mode").bulk(modeOf(host.announced))
    .bulk("role").bulkLatin1(identity.role);
  // Where Valkey says it.
  if (zone != null) reply.bulk("availability_zone").bulkLatin1(latin1(encode(zone)));
  reply.bulk("modules").array(identity.modules.length);
  for (const { name, version, path, args } of identity.modules) {
    reply.map(path === null ? 2 : 4).bulk("name").bulkLatin1(name).bulk("ver").integer(version);
    if (path === null) continue;
    reply.bulk("path").bulkLatin1(path).bulk("args").array(args.length);
    for (const arg of args) reply.bulkLatin1(arg);
  }
  return reply.take();
});

/** A node of an announced cluster serves every slot, reads and writes, whatever the client thinks of it. */
on("READONLY READWRITE ASKING", (_bytes, _args, _session, host) => isCluster(host) ? OK : CLUSTER_DISABLED);
on("CLUSTERSCAN TRIMSLOTS", (_bytes, _args, _session, host, command) => {
  return isCluster(host) ? withoutSlots(command) : CLUSTER_DISABLED;
});

// CLIENT.

on("CLIENT|ID", (_bytes, _args, session) => new ReplyWriter(session.resp).integer(session.id).take());

on("CLIENT|SETNAME", (bytes, args, session) => {
  const wrong = nameError(bytes, args, 2, "Client names");
  if (wrong !== null) return wrong;
  session.name = bytes.slice(args.starts[2]!, args.ends[2]!);
  return OK;
});

on("CLIENT|GETNAME", (_bytes, _args, session) => {
  const reply = new ReplyWriter(session.resp);
  if (session.name.length === 0) return reply.null().take();
  return reply.bulkBytes(session.name, 0, session.name.length).take();
});

on("CLIENT|SETINFO", (bytes, args, session) => {
  const attribute = word(bytes, args, 2);
  if (attribute !== "LIB-NAME" && attribute !== "LIB-VER") {
    return errorReply(`ERR Unrecognized option '${shown(bytes, args.starts[2]!, args.ends[2]!)}'`);
  }
  const wrong = nameError(bytes, args, 3, attribute.toLowerCase());
  if (wrong !== null) return wrong;
  const value = bytes.slice(args.starts[3]!, args.ends[3]!);
  if (attribute === "LIB-NAME") session.libName = value;
  else session.libVersion = value;
  return OK;
});

/** The error for an attribute that may not be kept; null if it may. */
function nameError(bytes: Uint8Array, args: Args, at: number, what: string): Uint8Array | null {
  if (args.ends[at]! - args.starts[at]! > CLIENT_ATTRIBUTE_MAX) {
    return errorReply(`ERR ${what} cannot be longer than ${CLIENT_ATTRIBUTE_MAX} bytes`);
  }
  for (let i = args.starts[at]!; i < args.ends[at]!; i++) {
    if (bytes[i]! < 33 || bytes[i]! > 126) {
      return errorReply(`ERR ${what} cannot contain spaces, newlines or special characters.`);
    }
  }
  return null;
}

/** What cannot be kept is refused: a promise that is not kept would mislead. */
function refusedWhenOn(why: string): Handler {
  return (bytes, args, _session, _host, command) => {
    const value = onOrOff(bytes, args, 2);
    if (value === null) return SYNTAX_ERROR;
    return value ? errorReply(`ERR '${command.name.replace("|", " ")} ON' cannot be kept: ${why}`) : OK;
  };
}

on(
  "CLIENT|NO-EVICT",
  refusedWhenOn(
    "max_memory of the proxy closes whoever holds most, and servers see connections of many clients",
  ),
);
on(
  "CLIENT|NO-TOUCH",
  refusedWhenOn("the proxy's connections to servers are shared by many clients, whose reads have to count"),
);

on("CLIENT|CAPA", (bytes, args, session) => {
  // As Valkey: others may come to be known, and are passed over.
  for (let i = 2; i < args.count; i++) if (word(bytes, args, i) === "REDIRECT") session.canRedirect = true;
  return OK;
});
on("CLIENT|IMPORT-SOURCE", (bytes, args) => {
  const off = latin1(bytes, args.starts[2]!, Math.min(args.ends[2]!, args.starts[2]! + 4));
  return off.toLowerCase() === "off" ? OK : errorReply("ERR Server is not in import mode");
});
on("CLIENT|GETREDIR", (_bytes, _args, session) => {
  return new ReplyWriter(session.resp).integer(redirectOf(session.tracking)).take();
});
on("CLIENT|TRACKINGINFO", (_bytes, _args, session) => trackingInfo(session.tracking, session.resp));

// What clients ask about the server.

on("TIME", (_bytes, _args, session, host) => {
  const ms = Math.floor(host.wallMs());
  const seconds = Math.floor(ms / 1000);
  return new ReplyWriter(session.resp).array(2).bulk(`${seconds}`).bulk(`${(ms - seconds * 1000) * 1000}`)
    .take();
});

on("ROLE", (_bytes, _args, session) => {
  return new ReplyWriter(session.resp).array(3).bulk("master").integer(0).array(0).take();
});

on("INFO", (bytes, args, session, host) => {
  const wanted = new Set<string>();
  for (let i = 1; i < args.count; i++) wanted.add(word(bytes, args, i).toLowerCase());
  return new ReplyWriter(session.resp).text(infoText(wanted, host)).take();
});

on("ACL|WHOAMI", (_bytes, _args, session) => new ReplyWriter(session.resp).bulk("default").take());

/** Those of the pool's own settings (POOL_SETTINGS of settings.ts) that CONFIG GET asks for. */
export function ownSettings(bytes: Uint8Array, args: Args, host: Host): Map<string, string> {
  const own: readonly (readonly [name: string, value: string])[] = [
    ["cluster-enabled", isCluster(host) ? "yes" : "no"],
    ["databases", `${host.databases}`],
    ["maxclients", `${host.clientsMax}`],
    ["port", `${host.port}`],
    ["proto-max-bulk-len", `${host.bulkSizeMax}`],
    ["timeout", `${host.idleTimeoutSeconds}`],
  ];
  const patterns: string[] = [];
  for (let i = 2; i < args.count; i++) patterns.push(shown(bytes, args.starts[i]!, args.ends[i]!));
  return new Map(own.filter(([name]) => patterns.some((pattern) => globMatches(pattern, name, true))));
}

/** Of the servers' settings nothing is known here: RedisModes.configGet. */
on("CONFIG|GET", (bytes, args, session, host) => settingsReply(ownSettings(bytes, args, host), session.resp));

export function settingsReply(settings: ReadonlyMap<string, string>, resp: 2 | 3): Uint8Array {
  const reply = new ReplyWriter(resp).map(settings.size);
  for (const [name, value] of settings) reply.bulkLatin1(name).bulkLatin1(value);
  return reply.take();
}

on("COMMAND", (_bytes, args, session) => {
  return commandInfo(EMPTY, args, -1, session.resp);
});
on("COMMAND|COUNT", (_bytes, _args, session) => commandCount(session.resp));
on("COMMAND|DOCS", (bytes, args, session) => ownDocs(documented(bytes, args), session.resp));
on("COMMAND|INFO", (bytes, args, session) => {
  return commandInfo(bytes, args, args.count === 2 ? -1 : 2, session.resp);
});
on("COMMAND|LIST", (bytes, args, session) => commandList(bytes, args, session.resp));
on("COMMAND|GETKEYS", (bytes, args, session) => commandGetkeys(bytes, args, false, session.resp));
on("COMMAND|GETKEYSANDFLAGS", (bytes, args, session) => commandGetkeys(bytes, args, true, session.resp));

findByName("CLUSTER")!.subcommands!.forEach((subcommand) => {
  HANDLERS[subcommand.id] = (bytes, args, session, host, command) => {
    if (host.announced == null) {
      return host.cluster ? hiddenAnswer(command, bytes, args, session.resp) : CLUSTER_DISABLED;
    }
    if (command.name === "CLUSTER|HELP") return help(bytes, args, session, host, command);
    const announcer: Announcer = {
      announce: host.announced.nodes,
      hostName: host.announced.hostName,
      port: host.port,
      localAddress: session.localAddress(),
      identity: host.identity,
      resp: session.resp,
      nowMs: host.wallMs(),
    };
    return clusterAnswer(command, announcer, bytes, args);
  };
});

function isCluster({ announced }: Host): boolean {
  return announced != null;
}

/** x HELP: the subcommands there are. */
function help(_bytes: Uint8Array, _args: Args, session: Session, _host: Host, command: Command): Uint8Array {
  const container = command.container!;
  const reply = new ReplyWriter(session.resp).array(container.subcommands!.length + 1);
  reply.status(`${container.name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:`);
  for (const subcommand of container.subcommands!) {
    reply.status(subcommand.name.slice(container.name.length + 1));
  }
  return reply.take();
}
on(
  "ACL|HELP CLIENT|HELP COMMAND|HELP COMMANDLOG|HELP CONFIG|HELP FUNCTION|HELP HOTKEYS|HELP LATENCY|HELP MEMORY|HELP " +
    "MODULE|HELP OBJECT|HELP PUBSUB|HELP SCRIPT|HELP SLOWLOG|HELP XGROUP|HELP XINFO|HELP",
  help,
);

/** Argument `at` in upper case; for options, so cut where no option is that long. */
function word(bytes: Uint8Array, args: Args, at: number): string {
  const start = args.starts[at]!;
  return latin1(bytes, start, Math.min(args.ends[at]!, start + 64)).toUpperCase();
}

function onOrOff(bytes: Uint8Array, args: Args, at: number): boolean | null {
  const value = word(bytes, args, at);
  return value === "ON" ? true : value === "OFF" ? false : null;
}

/** The database that argument `index` names, of `databases` there are; else the error reply for it. */
export function databaseIn(
  bytes: Uint8Array,
  args: Args,
  index: number,
  databases: number,
): number | Uint8Array {
  const db = parseInteger(bytes, args.starts[index]!, args.ends[index]!);
  if (db === null) return NOT_AN_INTEGER;
  if (db < -2147483648 || db > 2147483647) {
    return errorReply("ERR value is out of range, value must between -2147483648 and 2147483647");
  }
  if (db >= 0 && db < databases) return db;
  const hint = databases === 1 && db > 0 ? ": this pool has only database 0, set databases: N for more" : "";
  return errorReply(`ERR DB index is out of range${hint}`);
}

/** An integer as Redis reads one: no plus, no leading zero, 64 bits. Beyond 2^53 it is only nearly right. */
function parseInteger(bytes: Uint8Array, start: number, end: number): number | null {
  if (end - start > 20) return null;
  const text = latin1(bytes, start, end);
  if (!/^(0|-?[1-9][0-9]{0,18})$/.test(text)) return null;
  return BigInt.asIntN(64, BigInt(text)) === BigInt(text) ? Number(text) : null;
}
