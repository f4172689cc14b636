/**
 * `deno task sim:hunt --minutes=N [--seed=S] [--workers=W] [--only=memcached]`: runs seeds S, S+1, … until the time is over, in W processes
 * (2), and prints what they find; with `--only=memcached` those whose worlds have a memcached pool. `--seed=S --minutes=0` runs that one seed and prints its log.
 *
 * A seed that finds something belongs into seeds.txt with a line on what it found.
 */
import { parseArgs } from "node:util";
import { ROOT } from "../lib/repo.ts";
import { isRedisWorld } from "./plan.ts";
import { runSeed, SimFailure } from "./world.ts";

const PROGRESS_EVERY_MS = 15_000;
const SHOWN_MAX = 3;
/** Most worlds take less than a tenth of a second, a few with values of megabytes some seconds: on a busy machine a minute. */
const ENDLESS_MS = 300_000;

const { values } = parseArgs({
  args: Deno.args,
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string" },
    workers: { type: "string", default: "2" },
    worker: { type: "string" },
    only: { type: "string" },
  },
});

const minutes = Number(values.minutes);
const first = values.seed === undefined ? Math.floor(Date.now() / 1000) * 1000 : Number(values.seed);
if (values.worker !== undefined) await work(Number(values.worker), Number(values.workers));
else if (minutes === 0) await one(first);
else Deno.exit(await lead(Number(values.workers)));

/** Runs every `step`th seed and prints a line of JSON for each failure and now and then. */
async function work(at: number, step: number): Promise<void> {
  const endMs = Date.now() + minutes * 60_000;
  let tellMs = Date.now() + PROGRESS_EVERY_MS / 3;
  let [seeds, requests] = [0, 0];
  const tell = () => {
    console.log(JSON.stringify({ seeds, requests }));
    [seeds, requests] = [0, 0];
  };
  for (let seed = first + at; Date.now() < endMs; seed += step) {
    if (values.only === "memcached" && isRedisWorld(seed)) continue;
    seeds++;
    console.log(JSON.stringify({ begins: seed }));
    try {
      requests += (await runSeed(seed)).requests;
    } catch (error) {
      const { why, message } = error as SimFailure;
      console.log(JSON.stringify({ seed, why, message }));
    }
    if (Date.now() < tellMs) continue;
    tellMs = Date.now() + PROGRESS_EVERY_MS / 3;
    tell();
  }
  tell();
}

async function one(seed: number): Promise<void> {
  try {
    const { requests, turns, hash } = await runSeed(seed);
    console.log(`seed ${seed}: ${requests} requests, ${turns} turns, hash ${hash >>> 0}: nothing found`);
  } catch (error) {
    console.error(`commit ${commit()}\n${(error as SimFailure).message}`);
    Deno.exit(1);
  }
}

function commit(): string {
  const { stdout } = new Deno.Command("git", { args: ["rev-parse", "--short", "HEAD"], cwd: ROOT })
    .outputSync();
  return new TextDecoder().decode(stdout).trim();
}

interface Line {
  /** A seed that is run from now on: if nothing more is heard, that is the one that does not end. */
  readonly begins?: number;
  readonly seeds?: number;
  readonly requests?: number;
  readonly seed?: number;
  readonly why?: string;
  readonly message?: string;
}

/** @returns the exit code */
async function lead(workers: number): Promise<number> {
  const startMs = Date.now();
  let [seeds, requests, tellMs] = [0, 0, startMs + PROGRESS_EVERY_MS];
  const found = new Map<string, number[]>();
  console.log(`commit ${commit()}, from seed ${first}, ${workers} processes, ${minutes} minutes`);
  const summary = () => {
    const minutesGone = (Date.now() - startMs) / 60_000;
    const bad = [...found.values()].reduce((sum, list) => sum + list.length, 0);
    return `${seeds} seeds, ${requests} requests, ${Math.round(seeds / minutesGone)} seeds per minute, ` +
      `${bad} seeds found something`;
  };
  const take = (line: Line) => {
    seeds += line.seeds ?? 0;
    requests += line.requests ?? 0;
    if (line.seed !== undefined) {
      const kind = line.why!.split("\n")[0]!.replace(/\d+/g, "#").slice(0, 90);
      const list = found.get(kind) ?? [];
      found.set(kind, [...list, line.seed]);
      if (list.length === 0 && found.size <= SHOWN_MAX) console.log(`\n${line.message}\n`);
    }
    if (Date.now() >= tellMs) {
      tellMs = Date.now() + PROGRESS_EVERY_MS;
      console.log(summary());
    }
  };
  await Promise.all(Array.from({ length: workers }, (_, i) => follow(i, workers, take)));
  console.log(summary());
  for (const [kind, list] of found) {
    console.log(`${list.length} × ${kind}: seeds ${list.slice(0, 10).join(" ")}`);
  }
  return found.size === 0 ? 0 : 1;
}

/** Has every `workers`th seed run until the time is over; one that does not end is left behind. */
async function follow(worker: number, workers: number, take: (line: Line) => void): Promise<void> {
  const endMs = Date.now() + minutes * 60_000;
  let seed = first + worker;
  for (;;) {
    const endless = await run(seed - worker, worker, workers, endMs - Date.now(), take);
    if (endless === null || Date.now() >= endMs) return;
    seed = endless + workers;
  }
}

/** @returns the seed that did not end, or null if the time was over */
async function run(
  from: number,
  worker: number,
  workers: number,
  forMs: number,
  take: (line: Line) => void,
): Promise<number | null> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--no-check", new URL(import.meta.url).pathname],
      ...[`--minutes=${forMs / 60_000}`, `--seed=${from}`, `--workers=${workers}`, `--worker=${worker}`],
      ...(values.only === undefined ? [] : [`--only=${values.only}`]),
    ],
    cwd: ROOT,
    stdout: "piped",
  }).spawn();
  let held = "";
  let seed = from + worker;
  let endless = false;
  const giveUp = () => {
    endless = true;
    child.kill("SIGKILL");
    take({ seed, why: "does not end", message: `seed ${seed} does not end` });
  };
  let timer = setTimeout(giveUp, ENDLESS_MS);
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    clearTimeout(timer);
    timer = setTimeout(giveUp, ENDLESS_MS);
    const lines = (held + text).split("\n");
    held = lines.pop()!;
    for (const each of lines) {
      const line = JSON.parse(each) as Line;
      seed = line.begins ?? seed;
      take(line);
    }
  }
  clearTimeout(timer);
  const { code } = await child.status;
  if (code !== 0 && !endless) throw new Error(`worker ${worker} ended with code ${code}`);
  return endless ? seed : null;
}
