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
/** Valkey 9's planned failover is one more that can be asked for. */
export type Kind = typeof KINDS[number] | "coordinated";

export interface Outcome {
  readonly kind: Kind;
  readonly master: string;
  /** How many failovers it was in the end: sentinels of a busy machine may not be content with one. */
  readonly moves: number;
  /** From moment 0 until the new primary has executed the proxy's first write, ms; below 0: it was before. */
  readonly firstWriteMs: number;
  /** The proxy's writes that the old primary has executed after moment 0, and those of them that were sent after it too. */
  readonly oldExecuted: number;
  readonly oldSentAfter: number;
  /** Of the last error that a client of the proxy was told, after moment 0, ms; null: none after it. */
  readonly lastErrorMs: number | null;
  readonly errors: number;
  readonly mixed: readonly string[];
  readonly acknowledged: { readonly proxy: number; readonly beside: number };
  readonly lost: { readonly proxy: number; readonly beside: number };
  /** Texts of the errors, by how often they came. */
  readonly texts: Readonly<Record<string, number>>;
}

export interface Stage {
  readonly set: SentinelSet;
  readonly switches: Switches;
  readonly proxy: Writers;
  readonly beside: Writers;
  /** The keys of each master's clients. */
  readonly keys: ReadonlyMap<string, readonly string[]>;
}

/** How long there is load before the trouble, and how long the trouble lasts beyond moment 0, ms. */
const BEFORE_MS = 1000;
const BEYOND_MS = 2000;

export async function failoverRun(stage: Stage, kind: Kind, master: string): Promise<Outcome> {
  const { set, proxy, beside, switches } = stage;
  const old = await set.settled(master);
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
  const zeroWallMs = performance.timeOrigin + zeroMs;
  const first = monitors.get(now)!.executed.find(({ key }) => mine.has(key));
  const late = monitors.get(old)!.executed.filter(({ key, wallMs }) => mine.has(key) && wallMs > zeroWallMs);
  const after = late.filter(({ key, n }) => n > sent[proxy.keys.indexOf(key)]!);
  for (const each of monitors.values()) each.stop();
  const lost = {
    proxy: await lostOf(now, proxy, stage, master),
    beside: await lostOf(now, beside, stage, master),
  };
  const errors = proxy.errors.filter(({ key }) => mine.has(key));
  const texts: Record<string, number> = {};
  for (const { text } of errors) texts[text] = (texts[text] ?? 0) + 1;
  const last = errors.reduce((most, { atMs }) => Math.max(most, atMs - zeroMs), 0);
  return {
    kind,
    master,
    moves: moves.length,
    firstWriteMs: first === undefined ? NaN : first.wallMs - zeroWallMs,
    oldExecuted: late.length,
    oldSentAfter: after.length,
    lastErrorMs: last === 0 ? null : last,
    errors: errors.length,
    mixed: proxy.mixed.filter((text) => mine.has(text.split(" ")[0]!)),
    acknowledged: {
      proxy: acknowledged(proxy, stage, master),
      beside: acknowledged(beside, stage, master),
    },
    lost,
    texts,
  };
}

async function begin(set: SentinelSet, kind: Kind, master: string, old: Member): Promise<void> {
  if (kind === "failover") await set.failover(master);
  else if (kind === "coordinated") await set.failover(master, 0, "COORDINATED");
  else if (kind === "kill") await old.server.crash();
  else if (kind === "stop") old.server.kill("SIGSTOP");
  else old.cable!.cut();
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

function acknowledged(writers: Writers, stage: Stage, master: string): number {
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
