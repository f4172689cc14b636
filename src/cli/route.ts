/**
 * `ringmaster route`: which server owns a key, without running a proxy; or beside one (route_asked.ts).
 *
 *   keys (arguments, or lines of standard input) ──► each pool's placement ──► key ⇥ pool ⇥ server ⇥ address (⇥ slot, of a cluster)
 *                                                    └─ with --explain: each step (topology/explain.ts)
 *
 * Keys are bytes throughout; what follows the key on a line is made once for each server. The ring is the proxy's own
 * (ring/placement.ts). Checked against tests/vectors/placement.json.
 */
import { copy, encode } from "../bytes/ascii.ts";
import { hexOf } from "../bytes/hex.ts";
import type { PoolConfig, ProcessConfig } from "../config/config.ts";
import { quoted } from "../config/config_error.ts";
import { ConfigError, loadConfig } from "../config/parse.ts";
import { zoneOf } from "../net/zones.ts";
import type { Placement } from "../ring/placement.ts";
import { NOBODY, ownersOf } from "../ring/slots.ts";
import { explain, explanationText } from "../topology/explain.ts";
import { placementOf } from "../topology/placement.ts";
import { random } from "../service/proxy_options.ts";
import { SourceError } from "../topology/source.ts";
import { type SourceAround, Sources } from "../topology/sources.ts";
import { NoPeer, peerOf } from "./admin_peer.ts";
import { findConfFile, hasConfFile } from "./conf_file.ts";
import type { RouteOptions } from "./flags.ts";
import { routeAsked } from "./route_asked.ts";
import { type GivenKey, givenKeys, nobodyOf, textOf } from "./route_lines.ts";
import { UsageError } from "./usage_error.ts";
import { EXIT_FAILURE, EXIT_OK, EXIT_USAGE, type Io } from "./io.ts";

/** Output is handed over in pieces of about this many bytes. */
const PIECE_SIZE = 64 * 1024;

/** Prints the lines; sources of servers are asked once. @returns the exit code; what is wrong with arguments or file has been printed to io.err */
export async function route(
  options: RouteOptions,
  around: Omit<SourceAround, "random">,
  io: Io,
): Promise<number> {
  const sources = new Sources({ ...around, random });
  try {
    if (asksProxy(options)) return await routeAsked(peerOf(options), options, io);
    const config = await sources.fill(loadConfig(findConfFile(options.confFile)));
    for (const line of sources.silent()) io.err(`ringmaster route: ${line}\n`);
    const targets = targetsOf(config.pools, options, config.process);
    const writer = new Writer(io);
    for (const key of givenKeys(options, io)) routeKey(key, targets, options, writer);
    writer.flush();
    return EXIT_OK;
  } catch (error) {
    if (error instanceof ConfigError || error instanceof SourceError) {
      io.err(error.message + "\n");
      return EXIT_FAILURE;
    }
    if (error instanceof UsageError) {
      io.err(`ringmaster route: ${error.message}\n`);
      return EXIT_USAGE;
    }
    if (error instanceof NoPeer) {
      io.err(`ringmaster route: ${error.message}\n`);
      return EXIT_FAILURE;
    }
    throw error;
  } finally {
    sources.stop();
  }
}

/** Where there is no file a proxy has its servers from its command line. */
function asksProxy({ confFile, admin, tokenFile, caFile, certFile }: RouteOptions): boolean {
  const named = admin !== null || tokenFile !== null || caFile !== null || certFile !== null;
  return named || confFile === null && !hasConfFile();
}

/** A pool and the ends of its lines, by server index; the last is for no server. */
interface Target {
  /** With --explain: what is written in place of a line. @param key borrowed */
  readonly told: ((key: Uint8Array) => Uint8Array) | null;
  readonly placement: Placement;
  /** One line end for whatever key, if no ring is asked: distribution random. */
  readonly anyone: boolean;
  readonly ends: readonly Uint8Array[];
  /** Of a cluster: the owner of each slot, NOBODY for one that nobody owns as far as is known; the line ends with the slot. */
  readonly owners: Uint16Array | null;
}

function targetsOf(pools: readonly PoolConfig[], options: RouteOptions, process: ProcessConfig): Target[] {
  const chosen = options.pool === null ? pools : pools.filter((pool) => pool.name === options.pool);
  if (chosen.length === 0) {
    const names = pools.map((pool) => pool.name).join(", ");
    throw new UsageError(`option --pool: found ${quoted(options.pool ?? "")}, expected one of ${names}`);
  }
  for (const name of options.ejected) {
    if (chosen.some((pool) => pool.servers.some((server) => server.name === name))) continue;
    const names = chosen.flatMap((pool) => pool.servers.map((server) => server.name)).join(", ");
    throw new UsageError(`option --ejected: found ${quoted(name)}, expected names of servers: ${names}`);
  }
  return chosen.map((pool) => targetOf(pool, options, process));
}

function targetOf(pool: PoolConfig, options: RouteOptions, process: ProcessConfig): Target {
  const live = Uint8Array.from(pool.servers, (server) => options.ejected.includes(server.name) ? 0 : 1);
  const placement = placementOf(pool, () => 0, live);
  const anyone = pool.distribution === "random" && pool.servers.length > 1 && live.includes(1);
  const owners = pool.cluster ? ownersOf(pool.servers) : null;
  // Of a cluster the slot comes behind it.
  const end = (name: string, server: string | null, address: string | null): Uint8Array => {
    const text = options.json
      ? jsonOf(name, server, address)
      : textOf(name, server, address, nobodyOf(anyone));
    return encode(owners === null ? `${text}${options.json ? "}" : ""}\n` : text);
  };
  return {
    told: options.explain ? (key) => encode(explained(pool, key, options, process)) : null,
    placement,
    anyone,
    owners,
    ends: [
      ...pool.servers.map((server) => end(pool.name, server.name, server.addressText)),
      end(pool.name, null, null),
    ],
  };
}

/** What the file says: nobody has looked at the servers. */
function explained(
  pool: PoolConfig,
  key: Uint8Array,
  { ejected, json }: RouteOptions,
  { zone, zones }: ProcessConfig,
): string {
  const told = explain(pool, key, {
    zone,
    offRing: (server) => ejected.includes(pool.servers[server]!.name) ? "--ejected" : null,
    addressOf: (server) => pool.servers[server]!.addressText,
    replicasOf: (server) =>
      pool.servers[server]!.replicas.map(({ address, text, zone }) => ({
        address: text,
        zone: zone ?? zoneOf(zones ?? [], address),
        well: false,
        why: "",
      })),
  });
  return json ? JSON.stringify(told) + "\n" : explanationText(told) + "\n";
}

/** As `textOf`, without the brace at the end. */
function jsonOf(pool: string, server: string | null, address: string | null): string {
  return `,${JSON.stringify({ pool, server, address }).slice(1, -1)}`;
}

/** Writes a line for each target. */
function routeKey(key: GivenKey, targets: readonly Target[], options: RouteOptions, writer: Writer): void {
  const { bytes, start, end, given, givenStart, givenEnd } = key;
  const head = options.json ? jsonHead(bytes.subarray(start, end)) : null;
  for (const target of targets) {
    const { placement, owners, ends } = target;
    if (target.told !== null) {
      const told = target.told(bytes.subarray(start, end));
      writer.write(told, 0, told.length);
      continue;
    }
    const slot = owners === null ? -1 : placement.slotOf(bytes, start, end);
    const known = !target.anyone && (owners === null || owners[slot] !== NOBODY);
    const server = known ? placement.serverOf(bytes, start, end) : -1;
    if (head === null) writer.write(given, givenStart, givenEnd);
    else writer.write(head, 0, head.length);
    const tail = ends[server === -1 ? ends.length - 1 : server]!;
    writer.write(tail, 0, tail.length);
    if (owners === null) continue;
    const last = encode(options.json ? `,"slot":${slot}}\n` : `\t${slot}\n`);
    writer.write(last, 0, last.length);
  }
}

const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function jsonHead(key: Uint8Array): Uint8Array {
  let text: string | null = null;
  try {
    text = strictDecoder.decode(key);
  } catch {
    // Not UTF-8: key_hex alone says what it is.
  }
  return encode(`{"key":${JSON.stringify(text)},"key_hex":"${hexOf(key)}"`);
}

/** Gathers output in pieces, so that a million lines are not a million writes. */
class Writer {
  readonly #io: Io;
  #piece = new Uint8Array(PIECE_SIZE);
  #length = 0;

  constructor(io: Io) {
    this.#io = io;
  }

  /** Bytes are borrowed. */
  write(bytes: Uint8Array, start: number, end: number): void {
    if (this.#length + end - start > this.#piece.length) {
      this.flush();
      if (end - start > PIECE_SIZE) {
        this.#io.out(bytes.slice(start, end));
        return;
      }
    }
    this.#length = copy(this.#piece, this.#length, bytes, start, end);
  }

  flush(): void {
    if (this.#length === 0) return;
    this.#io.out(this.#piece.subarray(0, this.#length));
    this.#piece = new Uint8Array(PIECE_SIZE);
    this.#length = 0;
  }
}
