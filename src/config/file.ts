/**
 * The bytes of a configuration file: at most FILE_SIZE_MAX of them, whatever the file is, and within PIPE_WAIT_MS.
 *
 *   file: read to its end or the limit      pipe, as of <(…): as it comes, if it comes      device, socket, folder: refused
 *
 * What `stat` says of a size is not believed: it is 0 for /proc, and a file may grow while it is read.
 */
import { closeSync, constants, existsSync, fstatSync, openSync, readSync, type Stats } from "node:fs";
import { dirname, resolve } from "node:path";
import { ConfigError, problem } from "./config_error.ts";

/** A larger file is refused, in bytes (of a text: UTF-16 units). */
export const FILE_SIZE_MAX = 16 * 1024 * 1024;

/** How long writers of a pipe may take in all, and how long a pipe may have none before it counts as empty. */
const PIPE_WAIT_MS = 10_000;
const WRITER_WAIT_MS = 1000;
const WAIT_MS = 10;
const CHUNK_MIN = 64 * 1024;

const REASONS: Readonly<Record<string, string>> = {
  EACCES: "a file without permission to read it",
  EISDIR: "a directory",
};

/** @throws ConfigError */
export function readConfigFile(file: string): Uint8Array {
  let fd = -1;
  try {
    // A pipe that nobody writes to must not hold up the open.
    fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = fstatSync(fd);
    if (!stats.isFile() && !stats.isFIFO()) throw unreadable(file, kindOf(stats));
    return readAll(fd, file, stats.size);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    const code = (error as { code?: string }).code ?? "";
    const reason = REASONS[code] ?? (error instanceof Error ? error.message : "an error");
    throw unreadable(file, code === "ENOENT" ? missing(file) : reason);
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

/** The first line of a password file; null if it is not UTF-8, of which nobody could say what the password is. */
export function firstLine(bytes: Uint8Array): string | null {
  const end = bytes.indexOf(0x0a);
  try {
    const line = new TextDecoder("utf-8", { fatal: true }).decode(end < 0 ? bytes : bytes.subarray(0, end));
    return line.replace(/\r$/, "");
  } catch {
    return null;
  }
}

export function tooLarge(file: string): ConfigError {
  const limit = `at most ${FILE_SIZE_MAX / 1024 / 1024} MiB`;
  return new ConfigError([problem(file, 0, 0, "", "a file too large for a configuration", limit)]);
}

function unreadable(file: string, found: string): ConfigError {
  return new ConfigError([problem(file, 0, 0, "", found, "a configuration file that can be read")]);
}

/** Where it has been looked for, if the name does not say it, and whether there is a folder to have it. */
function missing(file: string): string {
  const path = resolve(file);
  const folder = dirname(path);
  if (!existsSync(folder)) return `no such file, nor a folder ${folder}`;
  return path === file ? "no such file" : `no such file in ${folder}`;
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return "a directory";
  return stats.isSocket() ? "a socket" : "a device";
}

/** @param sizeLikely how much there probably is */
function readAll(fd: number, file: string, sizeLikely: number): Uint8Array {
  if (sizeLikely > FILE_SIZE_MAX) throw tooLarge(file);
  let bytes = new Uint8Array(Math.max(sizeLikely + 1, CHUNK_MIN));
  let size = 0;
  let waitedMs = 0;
  for (;;) {
    if (size === bytes.length) {
      const larger = new Uint8Array(Math.min(2 * size, FILE_SIZE_MAX + 1));
      larger.set(bytes);
      bytes = larger;
    }
    const count = readSome(fd, bytes, size);
    if (count > 0) {
      size += count;
      if (size > FILE_SIZE_MAX) throw tooLarge(file);
      continue;
    }
    const pipe = count === NOT_YET || (size === 0 && fstatSync(fd).isFIFO());
    if (!pipe || (count === 0 && waitedMs >= WRITER_WAIT_MS)) return bytes.subarray(0, size);
    if (waitedMs >= PIPE_WAIT_MS) throw unreadable(file, "a pipe whose writer does not end");
    Atomics.wait(waiting, 0, 0, WAIT_MS);
    waitedMs += WAIT_MS;
  }
}

/** There are writers, but nothing to read. */
const NOT_YET = -1;
const waiting = new Int32Array(new SharedArrayBuffer(4));

function readSome(fd: number, bytes: Uint8Array, at: number): number {
  try {
    return readSync(fd, bytes, at, bytes.length - at, null);
  } catch (error) {
    if ((error as { code?: string }).code === "EAGAIN") return NOT_YET;
    throw error;
  }
}
