/**
 * One primary fails, or is told to make way, while clients write through the proxy and, beside it, by a library's own Sentinel client.
 *
 *   settled ──► trouble ──► first +switch-master of any sentinel (moment 0) ──► trouble ends ──► settled ──► what is missing?
 */
import { RawClient } from "../lib/client.ts";
import { delay, poll } from "../lib/poll.ts";
import type { Member, SentinelSet } from "../lib/sentinels.ts";
import { Monitor, type Switches } from "./watchers.ts";
import type { Writers } from "./writers.ts";

export const KINDS = ["kill", "failover", "stop", "cut"] as const;
/** Planned failovers as docs/high-availability.md has them: with writes paused first, and Valkey 9's own. */
export type Kind = typeof KINDS[number] | "paused" | "coordinated";

export interface Outcome {
  readonly kind: Kind;
  readonly master: string;
  /** How many failovers it was in the end: sentinels of a busy machine may not be content with one. */
  readonly moves: number;
  /** From moment 0 until the new primary has executed the proxy's first write, ms; below 0: it was before. */
  readonly firstWriteMs: number;
  /** The same until the proxy has gone over, by its log; NaN: it does not say so. */
  readonly movedMs: number;
  /** The proxy's writes that the old primary has executed after moment 0, and those of them that were sent after it too. */
  readonly oldExecuted: number;
  readonly oldSentAfter: number;
  /** Of the last error that a client of the proxy was told, after moment 0, ms; null: none after it. */
  readonly lastErrorMs: number | null;
  readonly errors: number;
  readonly mixed: readonly string[];
  /** Appends, by whose clients: "proxy", "ioredis", …; and how many of them the new primary does not have. */
  readonly acknowledged: Readonly<Record<string, number>>;
  readonly lost: Readonly<Record<string, number>>;
  /** Texts of the errors, by how often they came. */
  readonly texts: Readonly<Record<string, number>>;
}

export interface Stage {
  readonly set: SentinelSet;
  /** What the proxy has logged so far. */
  readonly log: () => string;
  readonly switches: Switches;
  readonly proxy: Writers;
  /** Clients of libraries, by their names. */
  readonly beside: ReadonlyMap<string, Writers>;
  /** The keys of each master's clients. */
  readonly keys: ReadonlyMap<string, readonly string[]>;
}

/** How long there is load before the trouble, and how long the trouble lasts beyond moment 0, ms. */
const BEFORE_MS = 1000;
const BEYOND_MS = 2000;

export async function failoverRun(stage: Stage, kind: Kind, master: string): Promise<Outcome> {
  const { set, proxy, switches } = stage;
  const old = await set.settled(master);
  const startedMs = Date.now();
  const members = set.members.get(master)!;
  const ports = new Set(members.flatMap(({ port, server }) => [String(port), String(server.port)]));
  const monitors = new Map(members.map((member) => [member, new Monitor(member, ports)]));
  for (const each of monitors.values()) await each.start();
  await delay(BEFORE_MS);

  let zeroMs = -1;
  let sent: number[] = [];
  const moves: string[] = [];
  switches.listen(master, (address) => {
    if (address !== moves.at(-1)) moves.push(address);
    if (zeroMs >= 0) return;
    zeroMs = performance.now();
    sent = [...proxy.sent];
  });
  await begin(set, kind, master, old);
  await poll(() => zeroMs >= 0, `+switch-master of ${master}`, 60_000);
  await delay(BEYOND_MS);
  await end(kind, old);
  const now = await set.settled(master, 90_000);
  // What is under way comes to its end.
  await delay(500);

  const mine = new Set(stage.keys.get(master)!.filter((key) => proxy.keys.includes(key)));
  // By the sentinels' own clocks: we may have heard of it late.
  const zeroWallMs = Math.min(performance.timeOrigin + zeroMs, set.switchedAtMs(master, startedMs));
  zeroMs = zeroWallMs - performance.timeOrigin;
  const first = monitors.get(now)!.executed.find(({ key }) => mine.has(key));
  const late = monitors.get(old)!.executed.filter(({ key, wallMs }) => mine.has(key) && wallMs > zeroWallMs);
  const after = late.filter(({ key, n }) => n > sent[proxy.keys.indexOf(key)]!);
  for (const each of monitors.values()) each.stop();
  const lost: Record<string, number> = {};
  const acknowledged: Record<string, number> = {};
  for (const [name, writers] of [["proxy", proxy] as const, ...stage.beside]) {
    acknowledged[name] = acknowledgedOf(writers, stage, master);
    lost[name] = await lostOf(now, writers, stage, master);
  }
  const errors = proxy.errors.filter(({ key }) => mine.has(key));
  const texts: Record<string, number> = {};
  for (const { text } of errors) texts[text] = (texts[text] ?? 0) + 1;
  const last = errors.reduce((most, { atMs }) => Math.max(most, atMs - zeroMs), 0);
  return {
    kind,
    master,
    moves: moves.length,
    firstWriteMs: first === undefined ? NaN : first.wallMs - zeroWallMs,
    movedMs: movedAtMs(stage.log(), master, startedMs) - zeroWallMs,
    oldExecuted: late.length,
    oldSentAfter: after.length,
    lastErrorMs: last === 0 ? null : last,
    errors: errors.length,
    mixed: proxy.mixed.filter((text) => mine.has(text.split(" ")[0]!)),
    acknowledged,
    lost,
    texts,
  };
}

/** When the proxy has gone over to another primary of it, the first time since then; NaN: not. */
function movedAtMs(log: string, master: string, sinceMs: number): number {
  const lines = log.split("\n").filter((line) => line.includes(`server '${master}' switched`));
  return lines.map((line) => Date.parse(/^\[(.*?)\]/.exec(line)![1]!)).find((ms) => ms >= sinceMs) ?? NaN;
}

/** How long writes are paused: until after the switch. */
const PAUSE_MS = 3000;
/** A sentinel votes in one epoch at a time, whichever master it is for: of two failovers begun at one moment one may not be elected. */
let elections: Promise<void> = Promise.resolve();

async function begin(set: SentinelSet, kind: Kind, master: string, old: Member): Promise<void> {
  if (kind === "failover" || kind === "paused" || kind === "coordinated") {
    if (kind === "paused") await pause(set, master, old);
    elections = elections.then(() => elect(set, master, kind === "coordinated" ? ["COORDINATED"] : []));
    await elections;
  }
  if (kind === "kill") await old.server.crash();
  else if (kind === "stop") old.server.kill("SIGSTOP");
  else if (kind === "cut") old.cable!.cut();
}

async function elect(set: SentinelSet, master: string, words: readonly string[]): Promise<void> {
  const elected = () => set.sentinels[0]!.log.split(`+elected-leader master ${master} `).length;
  const before = elected();
  await set.failover(master, 0, ...words);
  await poll(() => elected() > before, `a sentinel to be elected for ${master}`);
}

/** No writes at the old primary, and all that it has at its replicas. */
async function pause(set: SentinelSet, master: string, old: Member): Promise<void> {
  const offset = async ({ server }: Member) => {
    await using client = await RawClient.connect(server.target);
    const info = String(await client.command("INFO", "replication"));
    return Number(/^(?:slave|master)_repl_offset:(\d+)/m.exec(info)![1]);
  };
  await using client = await RawClient.connect(old.server.target);
  await client.command("CLIENT", "PAUSE", String(PAUSE_MS), "WRITE");
  const most = await offset(old);
  await poll(
    async () => (await Promise.all(set.members.get(master)!.map(offset))).every((each) => each >= most),
    `the replicas of ${master} to have all`,
  );
}

async function end(kind: Kind, old: Member): Promise<void> {
  if (kind === "kill") await old.server.start();
  else if (kind === "stop") old.server.kill("SIGCONT");
  else if (kind === "cut") old.cable!.heal();
}

function placesOf(writers: Writers, { keys }: Stage, master: string): number[] {
  const mine = keys.get(master)!;
  return writers.keys.flatMap((key, i) => mine.includes(key) ? [i] : []);
}

function acknowledgedOf(writers: Writers, stage: Stage, master: string): number {
  return placesOf(writers, stage, master).reduce((sum, i) => sum + writers.acknowledged[i]!.size, 0);
}

/** How many acknowledged appends the server does not have. */
async function lostOf({ server }: Member, writers: Writers, stage: Stage, master: string): Promise<number> {
  await using client = await RawClient.connect(server.target);
  let lost = 0;
  for (const i of placesOf(writers, stage, master)) {
    const acknowledged = [...writers.acknowledged[i]!];
    const list = await client.command("LRANGE", writers.keys[i]!, "0", "-1") as string[];
    const present = new Set(list.map((each) => Number(each.split("/")[1])));
    lost += acknowledged.filter((n) => !present.has(n)).length;
  }
  return lost;
}
