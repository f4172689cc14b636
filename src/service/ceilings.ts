/** How much of a machine's files and memory a process may take for what, by its configuration; and the board of its counters. */
import type { Config } from "../config/config.ts";
import { ENGINE_BYTES } from "../proxy/memory.ts";
import { Board } from "../stats/board.ts";

/** Files kept back from clients: log, listeners, statistics, clients being refused, what the runtime opens (Bun 8, Deno 22). */
const FILES_RESERVED = 48;
/** Fewer clients than redis-server has from the usual 1,024 files on deserve a word at the start. */
const CLIENTS_FEW = 900;
/** The most for the admin side: as many as a dozen scrapers and pages want, and a crowd may take. */
const VISITS_MAX = 256;
/** TLS handshakes of a worker, if files (this share of all) and max_memory (this share) suffice. */
const HANDSHAKES_MAX = 1024;
const HANDSHAKES_MIN = 16;
const HANDSHAKES_SHARE = 1 / 8;
/** Files for each of them. */
const HANDSHAKE_FILES = 5 / 4;
/** And for each worker thread's own loop. */
const FILES_WORKER = 16;

/** Connections of the admin side at a time, which take no file from clients. @param filesMax 0 = unknown */
export function visitsMax(filesMax: number): number {
  return filesMax === 0 ? VISITS_MAX : Math.min(VISITS_MAX, Math.max(Math.floor(filesMax / 8), 8));
}

/**
 * TLS handshakes with clients that a worker has at a time: they are nobody's clients yet, and take files and memory from those.
 * @param filesMax 0 = unknown @param memoryMax Infinity = unknown
 */
export function handshakesMax(filesMax: number, memoryMax: number, workers: number): number {
  const files = filesMax === 0 ? Infinity : filesMax * HANDSHAKES_SHARE;
  const engines = memoryMax * HANDSHAKES_SHARE / ENGINE_BYTES;
  return Math.min(HANDSHAKES_MAX, Math.max(HANDSHAKES_MIN, Math.floor(Math.min(files, engines) / workers)));
}

/** What the file limit leaves for clients, as twemproxy counts it. */
export function clientsMax(config: Config, filesMax: number, processMax: number, workers: number): number {
  if (filesMax === 0) return Infinity;
  let reserved = FILES_RESERVED + (workers > 1 ? workers * FILES_WORKER : 0);
  if (config.process.admin !== null) reserved += visitsMax(filesMax);
  // Those that have failed and are to read why take files as well.
  if (config.pools.some(({ tls }) => tls !== null)) {
    reserved += Math.ceil(handshakesMax(filesMax, processMax, workers) * HANDSHAKE_FILES) * workers;
  }
  for (const pool of config.pools) reserved += (pool.serverConnections * pool.servers.length + 1) * workers;
  return Math.max(1, filesMax - reserved);
}

/**
 * A line for the log if the limit of open files leaves few clients, or fewer than the pools may have; else null.
 * @param filesMax 0 = unknown @param memoryTotal bytes, 0 = unknown
 */
export function fewFiles(
  config: Config,
  filesMax: number,
  memoryTotal: number,
  workers: number,
): string | null {
  const clients = clientsMax(config, filesMax, memoryMax(config, memoryTotal), workers);
  const wanted = config.pools.reduce((sum, { clientConnectionsMax }) => sum + clientConnectionsMax, 0);
  if (clients >= Math.max(wanted, CLIENTS_FEW)) return null;
  return `open files: a limit of ${filesMax} leaves ${clients} clients of all pools; raise it (ulimit -n; LimitNOFILE of a service)`;
}

/** max_memory in bytes; 0 is half of what there is. */
export function memoryMax(config: Config, total: number): number {
  return config.process.memoryMax || (total === 0 ? Infinity : total / 2);
}

/** A board for what this configuration has. */
export function makeBoard(config: Config, workers: number): Board {
  return Board.make(workers, config.pools.map((pool) => pool.servers.length));
}
