/**
 * Simulated worlds of one kind, seed after seed, in several processes, and what they find:
 *
 *   deno task sim:hunt --kind=ordinary --minutes=10             from a seed that the clock gives
 *   deno task sim:hunt --kind=ha --seeds=50000 --first=1        so many, however long it takes
 *   deno task sim:hunt --kind=cluster --seeds=1 --first=17      one, with its log if it finds something
 *
 * A seed that finds something belongs into seeds.txt (those of other kinds into their tests) with a line on what it found.
 */
import { parseArgs } from "node:util";
import { ROOT } from "../lib/repo.ts";

interface Kind {
  readonly what: string;
  /** @returns what runs a seed: throws if it finds something, else tells how many requests (writes) there were */
  load(): Promise<(seed: number) => Promise<number>>;
  /** Seeds of another kind are passed over, and not counted. */
  readonly has?: () => Promise<(seed: number) => boolean>;
}

const ordinary = async () => {
  const { runSeed } = await import("./world.ts");
  return async (seed: number) => (await runSeed(seed)).requests;
};
const KINDS: Readonly<Record<string, Kind>> = {
  ordinary: { what: "pools of both protocols, and all that can happen to them", load: ordinary },
  memcached: {
    what: "those of the ordinary ones that have a memcached pool",
    load: ordinary,
    has: async () => {
      const { isRedisWorld } = await import("./plan.ts");
      return (seed) => !isRedisWorld(seed);
    },
  },
  cluster: {
    what: "a cluster behind the proxy",
    load: async () => {
      const { runClusterSeed } = await import("./cluster_world.ts");
      return async (seed) => (await runClusterSeed(seed)).requests;
    },
  },
  ha: {
    what: "primaries, replicas and sentinels",
    load: async () => {
      const { runHaSeed } = await import("./ha_world.ts");
      return async (seed) => (await runHaSeed(seed)).requests;
    },
  },
  promote: {
    what: "proxies that promote replicas themselves",
    load: async () => {
      const { PromoteWorld } = await import("./promote_world.ts");
      return async (seed) => (await PromoteWorld.run(seed)).writes;
    },
  },
  served: {
    what: "the same, with their workers and clients that write",
    load: async () => {
      const { PromoteWorld } = await import("./promote_world.ts");
      return async (seed) => (await PromoteWorld.run(seed, true)).writes;
    },
  },
};

const TELL_EVERY_MS = 15_000;
const WORKER_TELLS_EVERY_MS = 5_000;
const SHOWN_MAX = 3;
/** Most worlds take less than a tenth of a second, a few with values of megabytes half a minute: on a busy machine many. */
const ENDLESS_MS = 900_000;
/** A process that has run thousands of worlds holds gigabytes (buffers that its collector does not see): then comes another. */
const WORLDS_A_PROCESS = 2000;

const { values } = parseArgs({
  args: Deno.args,
  options: {
    kind: { type: "string", default: "ordinary" },
    minutes: { type: "string" },
    seeds: { type: "string" },
    first: { type: "string" },
    workers: { type: "string", default: "2" },
    /** For the processes that it starts: every so manieth seed. */
    step: { type: "string" },
  },
});

const kind = KINDS[values.kind];
if (kind === undefined) {
  const list = Object.entries(KINDS).map(([name, { what }]) => `  ${name}: ${what}`);
  console.error(`--kind=${values.kind}: expected one of\n${list.join("\n")}`);
  Deno.exit(2);
}
const first = values.first === undefined ? Math.floor(Date.now() / 1000) * 1000 : Number(values.first);
const seedsMax = values.seeds === undefined ? Infinity : Number(values.seeds);
const minutes = values.minutes === undefined
  ? (seedsMax === Infinity ? 1 : Infinity)
  : Number(values.minutes);
const endMs = Date.now() + minutes * 60_000;
if (values.step !== undefined) await work(Number(values.step));
else Deno.exit(await lead(Math.min(Number(values.workers), seedsMax)));

interface Line {
  /** A seed that is run from now on: if nothing more is heard, that is the one that does not end. */
  readonly begins?: number;
  readonly seeds?: number;
  readonly requests?: number;
  readonly found?: { readonly seed: number; readonly why: string; readonly message: string };
}

/** Runs every `step`th of the next `seedsMax` seeds, and prints a line of JSON for each failure and now and then. */
async function work(step: number): Promise<void> {
  const say = (line: Line) => console.log(JSON.stringify(line));
  const [run, has] = [await kind!.load(), await kind!.has?.()];
  let tellMs = Date.now() + WORKER_TELLS_EVERY_MS;
  let [seeds, requests] = [0, 0];
  const tell = () => {
    say({ seeds, requests });
    [seeds, requests] = [0, 0];
  };
  for (let i = 0; i < seedsMax && Date.now() < endMs; i++) {
    const seed = first + i * step;
    if (has?.(seed) === false) continue;
    seeds++;
    say({ begins: seed });
    try {
      requests += await run(seed);
    } catch (error) {
      const { why, message } = error as Error & { why?: string };
      say({ found: { seed, why: why ?? message, message } });
    }
    if (Date.now() < tellMs) continue;
    tellMs = Date.now() + WORKER_TELLS_EVERY_MS;
    tell();
  }
  tell();
}

/** @returns the exit code: 1 if any seed has found something */
async function lead(workers: number): Promise<number> {
  const startMs = Date.now();
  let [seeds, requests, tellMs] = [0, 0, startMs + TELL_EVERY_MS];
  const found = new Map<string, number[]>();
  const span = `${
    seedsMax === Infinity ? "" : `${seedsMax} seeds, `
  }${workers} processes, ${minutes} minutes`;
  console.log(`commit ${commit()}, ${values.kind} worlds from seed ${first}: ${span}`);
  const summary = () => {
    const minutesGone = (Date.now() - startMs) / 60_000;
    const bad = [...found.values()].reduce((sum, list) => sum + list.length, 0);
    return `${seeds} seeds, ${requests} requests, ${Math.round(seeds / minutesGone)} seeds per minute, ` +
      `${bad} seeds found something`;
  };
  const take = (line: Line) => {
    seeds += line.seeds ?? 0;
    requests += line.requests ?? 0;
    if (line.found !== undefined) {
      const { seed, why, message } = line.found;
      const what = why.split("\n").slice(0, 2).join(" ").replace(/\d+/g, "#").slice(0, 160);
      const list = found.get(what) ?? [];
      found.set(what, [...list, seed]);
      console.log(list.length === 0 && found.size <= SHOWN_MAX ? `\n${message}\n` : `seed ${seed}: ${what}`);
    }
    if (Date.now() < tellMs) return;
    tellMs = Date.now() + TELL_EVERY_MS;
    console.log(summary());
  };
  await Promise.all(Array.from({ length: workers }, (_, i) => follow(i, workers, take)));
  console.log(summary());
  for (const [what, list] of found) {
    console.log(`${list.length} × ${what}: seeds ${list.slice(0, 12).join(" ")}`);
  }
  return found.size === 0 ? 0 : 1;
}

/** Has every `step`th seed run, by one process after the other; a seed that does not end is left behind. */
async function follow(worker: number, step: number, take: (line: Line) => void): Promise<void> {
  const mine = Math.ceil((seedsMax - worker) / step);
  for (let at = 0; at < mine && Date.now() < endMs;) {
    const count = Math.min(WORLDS_A_PROCESS, mine - at);
    const from = first + worker + at * step;
    const endless = await run(from, count, step, take);
    at += endless === null ? count : (endless - from) / step + 1;
  }
}

/** @returns the seed that did not end, or null */
async function run(
  from: number,
  count: number,
  step: number,
  take: (line: Line) => void,
): Promise<number | null> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--no-check", new URL(import.meta.url).pathname, `--kind=${values.kind}`],
      ...[
        `--minutes=${(endMs - Date.now()) / 60_000}`,
        `--first=${from}`,
        `--seeds=${count}`,
        `--step=${step}`,
      ],
    ],
    cwd: ROOT,
    stdout: "piped",
  }).spawn();
  let held = "";
  let seed = from;
  let endless = false;
  const giveUp = () => {
    endless = true;
    child.kill("SIGKILL");
    take({ seeds: 1, found: { seed, why: "does not end", message: `seed ${seed} does not end` } });
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
  if (code !== 0 && !endless) throw new Error(`the process for seeds from ${from} ended with code ${code}`);
  return endless ? seed : null;
}

function commit(): string {
  const { stdout } = new Deno.Command("git", { args: ["rev-parse", "--short", "HEAD"], cwd: ROOT })
    .outputSync();
  return new TextDecoder().decode(stdout).trim();
}
