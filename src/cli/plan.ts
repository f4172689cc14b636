/**
 * `ringmaster plan OLD NEW`: which keys move if the configuration NEW takes the place of OLD, without running anything.
 *
 *   two files ──► changesOf (topology/plan.ts) ──► text, or one JSON document; a drawing with --svg
 *   --keys FILE ──► lines, in pieces of 64 KiB ──────┘ counted one by one
 */
import { closeSync, openSync, readSync, writeFileSync } from "node:fs";
import { quoted } from "../config/config_error.ts";
import { ConfigError, loadConfig } from "../config/parse.ts";
import { random } from "../service/proxy_options.ts";
import { SourceError } from "../topology/source.ts";
import { type SourceAround, Sources } from "../topology/sources.ts";
import { changesOf, type PoolChange, type PoolPlan } from "../topology/plan.ts";
import type { PlanOptions } from "./flags.ts";
import { UsageError } from "./usage_error.ts";
import { EXIT_FAILURE, EXIT_OK, EXIT_USAGE, type Io } from "./io.ts";
import { Progress } from "./progress.ts";
import { planSvg } from "../topology/plan_svg.ts";
import { planText } from "../topology/plan_text.ts";

const NEWLINE = 10;
const PIECE_SIZE = 64 * 1024;
/** Longest line of --keys; what is longer is no list of keys. */
const KEY_SIZE_MAX = 1024 * 1024;
/** How long to wait when standard input has nothing for the moment, ms. */
const NOTHING_YET_MS = 10;

/** Prints the plan. @returns the exit code; what is wrong with arguments or files has been printed to io.err */
export async function plan(
  options: PlanOptions,
  around: Omit<SourceAround, "random">,
  io: Io,
): Promise<number> {
  const sources = new Sources({ ...around, random });
  const progress = new Progress(() => around.clock.nowMs(), io);
  try {
    const files = [loadConfig(options.before), loadConfig(options.after)];
    // One answer for both files, if both ask the same.
    const [before, after] = [await sources.fill(files[0]!), await sources.fill(files[1]!)];
    for (const line of sources.silent()) io.err(`ringmaster plan: ${line}\n`);
    const changes = chosen(changesOf(before.pools, after.pools), options.pool);
    if (options.keys !== null) countKeys(options.keys, changes, progress);
    const plans = changes.map((change, i) => {
      progress.tell(() => `ringmaster plan: pool ${i + 1} of ${changes.length}`);
      return change.plan(options.keys !== null);
    });
    progress.end();
    io.out(options.json ? JSON.stringify({ pools: plans.map(plain) }, null, 2) + "\n" : textOf(plans));
    if (options.svg !== null) write(options.svg, planSvg(plans));
    return EXIT_OK;
  } catch (error) {
    if (error instanceof ConfigError || error instanceof SourceError || error instanceof FileError) {
      io.err(error.message + "\n");
      return EXIT_FAILURE;
    }
    if (error instanceof UsageError) {
      io.err(`ringmaster plan: ${error.message}\n`);
      return EXIT_USAGE;
    }
    throw error;
  } finally {
    progress.end();
    sources.stop();
  }
}

/** A file that is not configuration cannot be read or written, or is not what it should be. */
class FileError extends Error {}

function chosen(changes: PoolChange[], pool: string | null): PoolChange[] {
  if (pool === null) return changes;
  const found = changes.filter((change) => change.name === pool);
  if (found.length > 0) return found;
  const names = changes.map((change) => change.name).join(", ");
  throw new UsageError(`option --pool: found ${quoted(pool)}, expected one of ${names}`);
}

const textOf = (plans: readonly PoolPlan[]): string => plans.map((plan) => planText(plan)).join("\n");

/** JSON has no NaN, and needs no empty sentence. */
function plain({ why, ...rest }: PoolPlan): unknown {
  return why === "" ? rest : { ...rest, why };
}

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new FileError(`option --svg: ${(error as Error).message}`);
  }
}

function countKeys(path: string, changes: readonly PoolChange[], progress: Progress): void {
  let line = 0;
  // The beginning of a line whose end has not been read yet, then the piece just read.
  let held = new Uint8Array(2 * PIECE_SIZE);
  let length = 0;
  for (const piece of piecesOf(path)) {
    if (held.length < length + piece.length) {
      const larger = new Uint8Array(2 * (length + piece.length));
      larger.set(held.subarray(0, length));
      held = larger;
    }
    held.set(piece, length);
    const end = length + piece.length;
    let start = 0;
    for (let at = held.indexOf(NEWLINE, length); at >= 0 && at < end; at = held.indexOf(NEWLINE, start)) {
      line++;
      for (const change of changes) change.count(held, start, at);
      start = at + 1;
    }
    progress.tell(() => `ringmaster plan: ${line} keys`);
    held.copyWithin(0, start, end);
    length = end - start;
    if (length > KEY_SIZE_MAX) {
      throw new FileError(
        `${path}:${line + 1}: found a line of more than ${KEY_SIZE_MAX} bytes, expected a key a line`,
      );
    }
  }
  if (length > 0) { for (const change of changes) change.count(held, 0, length); }
}

/** A file's bytes, or those of standard input ("-"), in order; each piece is the caller's until the next one. */
function* piecesOf(path: string): Generator<Uint8Array> {
  const piece = new Uint8Array(PIECE_SIZE);
  const fd = path === "-" ? 0 : open(path);
  try {
    for (;;) {
      const count = read(fd, piece, path);
      if (count === 0) return;
      if (count > 0) yield piece.subarray(0, count);
    }
  } finally {
    if (fd !== 0) closeSync(fd);
  }
}

function open(path: string): number {
  try {
    return openSync(path, "r");
  } catch (error) {
    throw new FileError(`option --keys: ${(error as Error).message}`);
  }
}

/** @returns how many bytes; 0 at the end, -1 if there are none for the moment */
function read(fd: number, piece: Uint8Array, path: string): number {
  try {
    return readSync(fd, piece, 0, piece.length, null);
  } catch (error) {
    const code = (error as { code?: string }).code;
    if (code === "EOF") return 0;
    if (code !== "EAGAIN") throw new FileError(`option --keys: ${path}: ${(error as Error).message}`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, NOTHING_YET_MS);
    return -1;
  }
}
