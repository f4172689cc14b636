/**
 * `ringmaster compare --record FILE`: what a tap tells, into a file; `--replay FILE OLD [NEW]`: asked again of one target or two.
 *
 *   proxy's /api/tap ──► record ──► FILE ──► replay ──► OLD, NEW ──► are their answers the same?
 */
import { notWritten } from "../bytes/os_error.ts";
import { closeSync, openSync, writeSync } from "node:fs";
import { streamAdmin } from "../admin/client.ts";
import { CannotCompare } from "../compare/comparison.ts";
import { Pace } from "../compare/pace.ts";
import { headLine, recorded } from "../compare/recording.ts";
import { Replay, type ReplayTally } from "../compare/replay.ts";
import { ConfigError } from "../config/parse.ts";
import type { Clock } from "../net/net.ts";
import { random } from "../service/proxy_options.ts";
import { RATE_DEFAULT, RATE_MAX } from "../stats/tapped.ts";
import { SourceError } from "../topology/source.ts";
import { type SourceAround, Sources } from "../topology/sources.ts";
import { NoPeer, peerOf } from "./admin_peer.ts";
import { type Named, named, type Pair, pairsOf, Peers, samePlace } from "./compare_sides.ts";
import type { CompareOptions } from "./flags.ts";
import { EXIT_FAILURE, EXIT_OK, EXIT_USAGE, type Io } from "./io.ts";
import { FileError, linesOf } from "./key_lines.ts";
import { Progress } from "./progress.ts";
import { UsageError } from "./usage_error.ts";

const ANSWER_MAX_MS = 5000;

/** Until so many requests have come (`count`), the proxy ends, or a signal comes. @returns the exit code */
export async function record(options: CompareOptions, path: string, clock: Clock, io: Io): Promise<number> {
  let fd = -1;
  const tally = { requests: 0, lost: 0 };
  const progress = new Progress(() => clock.nowMs(), io);
  try {
    const query = new URLSearchParams({
      rate: String(Math.min(RATE_MAX, Math.max(RATE_DEFAULT, options.perSecond))),
    });
    if (options.pool !== null) query.set("pool", options.pool);
    const stream = await streamAdmin(peerOf(options), `/api/tap?${query}`, ANSWER_MAX_MS);
    const stop = () => stream.end();
    process.once("SIGINT", stop);
    process.once("SIGTERM", stop);
    let event = "";
    for await (const line of stream.lines) {
      if (stream.status !== 200) {
        if (line !== "") io.err(`ringmaster compare: ${line}\n`);
        continue;
      }
      if (fd < 0) {
        fd = openFor(path);
        writeAll(fd, headLine(clock.wallMs()));
      }
      if (line.startsWith("event: ")) event = line.slice(7);
      else if (line === "") event = "";
      if (!line.startsWith("data: ")) continue;
      const data = line.slice(6);
      if (event === "refused") throw new NoPeer(JSON.parse(data).error);
      if (event === "lost") tally.lost += JSON.parse(data).count;
      else {
        writeAll(fd, data + "\n");
        progress.tell(() => `ringmaster compare: ${tally.requests} requests recorded`);
        if (++tally.requests >= options.count) {
          stream.end();
          break;
        }
      }
    }
    progress.end();
    if (stream.status !== 200) return EXIT_USAGE;
    io.err(`ringmaster compare: ${tally.requests} requests recorded in ${path}, ${tally.lost} not told\n`);
    return EXIT_OK;
  } catch (error) {
    progress.end();
    if (!(error instanceof Error)) throw error;
    io.err(`ringmaster compare: ${error.message}\n`);
    return EXIT_USAGE;
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

function openFor(path: string): number {
  try {
    // What clients ask for is nobody else's business.
    return openSync(path, "w", 0o600);
  } catch (error) {
    throw new FileError(`option --record: ${notWritten(path, error)}`);
  }
}

function writeAll(fd: number, text: string): void {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
}

/** @returns 0: the same answers, 1: others, 2: not to be told */
export async function replay(
  options: CompareOptions,
  path: string,
  around: Omit<SourceAround, "random">,
  io: Io,
): Promise<number> {
  const sources = new Sources({ ...around, random });
  const progress = new Progress(() => around.clock.nowMs(), io);
  let peers: Peers | null = null;
  try {
    if (options.direct) throw new UsageError("--direct is not for --replay: requests are asked of proxies");
    if (options.keys !== null) throw new UsageError("found --keys and --replay, expected one of them");
    const sides: Named[] = [];
    for (const text of options.sides) sides.push(await named(text, sources));
    peers = new Peers(options, around);
    const { pairs, alone } = pairsOf([sides[0]!, sides[1] ?? sides[0]!], options.pool);
    if (alone.length > 0) throw new UsageError(alone.join("; "));
    if (path === "-" && pairs.length > 1) throw new UsageError("--replay - is read once: expected --pool");
    const results: Result[] = [];
    for (const pair of pairs) results.push(await replayed(pair, path, options, peers, around, progress));
    progress.end();
    const verdict = verdictOf(results);
    // One target is compared with nobody.
    const text = (sides[1] === undefined ? OUTCOMES : VERDICTS)[verdict];
    io.out(
      options.json
        ? JSON.stringify({ verdict: text, pools: results.map(plain) }, null, 2) + "\n"
        : results.map(textOf).join("") + `\nVerdict: ${text}.\n`,
    );
    return verdict;
  } catch (error) {
    progress.end();
    if (error instanceof ConfigError || error instanceof SourceError) io.err(error.message + "\n");
    else if (error instanceof FileError || error instanceof UsageError || error instanceof NoPeer) {
      io.err(`ringmaster compare: ${error.message}\n`);
    } else throw error;
    return EXIT_USAGE;
  } finally {
    progress.end();
    peers?.close();
    sources.stop();
  }
}

interface Result {
  readonly pool: string;
  readonly old: string;
  readonly young: string | null;
  readonly seconds: number;
  readonly tally: ReplayTally;
  /** null: all of the recording was asked. */
  readonly stopped: string | null;
}

/** By exit code. */
const VERDICTS = ["no difference", "differences", "could not compare"] as const;
const OUTCOMES = ["answered", "differences", "not answered"] as const;

function verdictOf(results: readonly Result[]): 0 | 1 | 2 {
  if (results.some(({ tally }) => tally.different > 0)) return EXIT_FAILURE;
  const whole = results.every(({ tally, stopped }) =>
    stopped === null && tally.lost === 0 && tally.unserved === 0
  );
  // Where errors are all that there was, nothing has been compared.
  return whole && results.some(({ tally }) => tally.same > 0) ? EXIT_OK : EXIT_USAGE;
}

/** @throws NoPeer, UsageError, FileError */
async function replayed(
  pair: Pair,
  path: string,
  options: CompareOptions,
  peers: Peers,
  { clock }: Omit<SourceAround, "random">,
  progress: Progress,
): Promise<Result> {
  const old = peers.proxy(pair.sides[0], pair.redis);
  const young = options.sides.length === 1 ? null : peers.proxy(pair.sides[1], pair.redis);
  if (young !== null && samePlace(old, young)) {
    throw new UsageError(`OLD and NEW are both at ${old.place.text}: name one target, or another one`);
  }
  for (const [label, peer] of [["OLD", old], ["NEW", young]] as const) {
    const why = peer === null ? null : await peer.greet();
    if (why !== null) throw new NoPeer(`pool ${pair.name}: ${label} at ${peer!.place.text}: ${why}`);
  }
  const one = new Replay(old, young, new Pace(clock, options.perSecond), options.show);
  const startMs = clock.nowMs();
  const anyPool = pair.sides.every(({ pool }) => pool === null);
  const decoder = new TextDecoder();
  let line = 0;
  const ask = async () => {
    for (const { bytes, ends } of linesOf(path, "--replay")) {
      // The bytes are another piece's when anything has been waited for.
      const lines: string[] = [];
      for (let i = 0; i < ends.length; i += 2) {
        lines.push(decoder.decode(bytes.subarray(ends[i], ends[i + 1])));
      }
      for (const text of lines) {
        line++;
        const request = readLine(text, `${path}:${line}`, pair.redis, options.writes);
        if (request === null || !anyPool && request.pool !== pair.name) continue;
        if (one.tally.requests >= options.count) return;
        await one.take(request);
        progress.tell(() => `ringmaster compare: pool ${pair.name}: ${one.tally.requests} requests`);
      }
    }
  };
  let stopped: string | null = null;
  try {
    await ask();
    await one.flush();
  } catch (error) {
    if (!(error instanceof CannotCompare)) throw error;
    stopped = error.message;
  }
  return {
    pool: pair.name,
    old: old.place.text,
    young: young?.place.text ?? null,
    seconds: (clock.nowMs() - startMs) / 1000,
    tally: one.tally,
    stopped,
  };
}

function readLine(text: string, place: string, redis: boolean, writes: boolean) {
  try {
    return recorded(text, redis, writes);
  } catch (error) {
    throw new FileError(`${place}: ${(error as Error).message}`);
  }
}

function textOf({ pool, old, young, seconds, tally, stopped }: Result): string {
  const lines = [`Pool ${pool}: replayed on ${old}${young === null ? "" : ` (OLD) and ${young} (NEW)`}`];
  const count = (value: number, what: string) => {
    if (value > 0) lines.push(`  ${String(value).padStart(9)}  ${what}`);
  };
  count(tally.requests, "requests recorded");
  count(tally.skipped.writes, "of them not asked: they write (--writes)");
  count(tally.skipped.shortened, "of them not asked: the tap has shortened or hidden them");
  count(tally.skipped.others, "of them not asked: they are about no key, or cannot be compared");
  lines.push(
    `  ${String(tally.asked).padStart(9)}  asked, ${
      Math.round(tally.asked / Math.max(seconds, 0.001))
    } a second`,
  );
  count(tally.same, young === null ? "answered" : "answered the same");
  count(tally.errors, young === null ? "answered with an error" : "answered with an error by both");
  count(tally.unserved, "of these because no server answers: not compared");
  count(tally.changing, "changed meanwhile: not compared");
  count(tally.lost, "not answered");
  count(tally.different, "DIFFERENT");
  for (const line of tally.examples) lines.push(`    ${line}`);
  if (stopped !== null) lines.push(`  STOPPED: ${stopped}`);
  return lines.join("\n") + "\n";
}

const plain = ({ pool, old, young, seconds, tally, stopped }: Result) => ({
  pool,
  old,
  new: young,
  seconds,
  ...tally,
  stopped,
});
