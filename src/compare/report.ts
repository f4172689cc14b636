/** What came of it, for an operator and for programs. */
import { hexOf } from "../bytes/hex.ts";
import type { Cause } from "./cause.ts";
import type { PlacingFault } from "./comparison.ts";
import { keyShown, type Kind, KINDS, type Tally } from "./tally.ts";

/** What to do about it: 0, 1 and 2 as exit codes. */
export type Verdict = "no difference" | "differences" | "could not compare";

export interface Load {
  readonly seconds: number;
  /** Keys a second, at most, as asked for. */
  readonly rate: number;
  /** Keys that were read, again or not. */
  readonly keysRead: number;
  /** Requests sent to each: a proxy, or the servers directly. */
  readonly sent: readonly {
    readonly to: string;
    readonly requests: number;
    readonly answeredBytes: number;
  }[];
  /** Requests that have come to each server, through proxies (by where the files place their keys) or directly. */
  readonly servers: readonly { readonly address: string; readonly requests: number }[];
  /** Seconds of processor time that servers have taken meanwhile, for whomever; of those that say so. */
  readonly cpu: readonly { readonly address: string; readonly seconds: number }[];
}

export interface PoolReport {
  readonly pool: string;
  /** "127.0.0.1:22121", or "the servers themselves". */
  readonly old: string;
  readonly young: string;
  readonly tally: Tally;
  /** What the files say otherwise of where keys go. */
  readonly settings: readonly string[];
  readonly causes: readonly PlacingFault[];
  readonly load: Load | null;
  /** null: it was compared to its end. */
  readonly stopped: string | null;
}

/** @param alone pools that cannot be paired: sentences */
export function verdictOf(reports: readonly PoolReport[], alone: readonly string[]): Verdict {
  if (alone.length > 0 || reports.some(({ tally }) => tally.different)) return "differences";
  const whole = reports.length > 0 &&
    reports.every(({ tally, stopped }) => stopped === null && !tally.incomplete);
  // Keys that nobody has, or that change all the time, say nothing of any server.
  return whole && reports.some(({ tally }) => tally.same > 0) ? "no difference" : "could not compare";
}

const number = (value: number): string => Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, ",");
const causeText = ({ text, explains, before, of }: Cause): string =>
  `${text}, ${number(explains)} of ${number(of)} keys are where they should be (as the file is: ${
    number(before)
  })`;

export function reportText(reports: readonly PoolReport[], alone: readonly string[]): string {
  const lines = reports.flatMap((report) => [...poolLines(report), ""]);
  if (alone.length > 0) lines.push(...alone.map((line) => `DIFFERENT: ${line}`), "");
  const verdict = verdictOf(reports, alone);
  lines.push(`Verdict: ${verdict}. ${ADVICE[verdict](reports)}`);
  return lines.join("\n") + "\n";
}

const ADVICE: Readonly<Record<Verdict, (reports: readonly PoolReport[]) => string>> = {
  "no difference": (reports) => {
    const keys = reports.reduce((sum, { tally }) => sum + tally.same + tally.gone, 0);
    return `Of ${number(keys)} keys clients read the same from both.`;
  },
  "differences": (reports) => {
    const placed = reports.some(({ tally }) => tally.differences.placement + tally.differences.misplaced > 0);
    return placed
      ? "Do not move clients: NEW would look for keys elsewhere. Mend what is named above, and compare again."
      : "Do not move clients before you know where these come from.";
  },
  "could not compare": () => "What is named above kept some keys, or all, from being compared.",
};

function poolLines({ pool, old, young, tally, settings, causes, load, stopped }: PoolReport): string[] {
  const lines = [`Pool ${pool}: OLD ${old}, NEW ${young}`];
  const count = (value: number, what: string) => {
    if (value > 0) lines.push(`  ${number(value).padStart(11)}  ${what}`);
  };
  lines.push(`  ${number(tally.keys).padStart(11)}  keys looked at`);
  count(tally.same, "the same on both sides");
  count(tally.gone, "on neither side: gone meanwhile, or nobody has them");
  count(tally.parts, "of them large: their length was compared, and the beginning");
  count(tally.changing, "changed each time they were read: not compared");
  count(tally.strays, "leftovers: copies on servers that nobody asks for them");
  count(tally.unread, "not read:");
  for (const [why, keys] of tally.reasons) lines.push(`               ${number(keys)}: ${why}`);
  for (const line of tally.unscanned) lines.push(`  not scanned: ${line}`);
  const kinds = (Object.keys(KINDS) as Kind[]).filter((kind) => tally.differences[kind] > 0);
  for (const kind of kinds) {
    lines.push(`  DIFFERENT: ${number(tally.differences[kind])} ${KINDS[kind]}`);
    for (const example of tally.examples) {
      if (example.kind === kind) lines.push(`    ${keyShown(example.key)}: ${example.text}`);
    }
  }
  for (const line of settings) lines.push(`  The files differ: ${line}`);
  for (const { label, running, misplaced, cause } of causes) {
    lines.push(
      running && cause !== null
        ? `  ${label} does not look where its file says, as if it ran with another one: ${causeText(cause)}`
        : cause === null
        ? `  ${label}: no single setting explains where ${number(misplaced)} keys are`
        : `  ${label}: the likely cause is the ${causeText(cause)}`,
    );
  }
  for (const note of tally.notes) lines.push(`  Note: ${note}`);
  if (load !== null) lines.push(...loadLines(load, tally));
  if (stopped !== null) lines.push(`  STOPPED: ${stopped}`);
  return lines;
}

function loadLines({ seconds, rate, keysRead, sent, servers, cpu }: Load, { again }: Tally): string[] {
  const perSecond = (count: number) => number(count / Math.max(seconds, 0.001));
  const requests = servers.reduce((sum, each) => sum + each.requests, 0);
  const lines = [
    `  Load: ${number(keysRead)} keys in ${seconds.toFixed(1)} s, ${perSecond(keysRead)} a second (at most ${
      number(rate)
    })` + (again > 0 ? `; ${number(again)} of them read again` : ""),
  ];
  for (const { to, requests, answeredBytes } of sent) {
    lines.push(
      `    ${to}: ${number(requests)} requests, ${perSecond(requests)} a second, ${
        number(answeredBytes)
      } bytes of answers`,
    );
  }
  const most = servers.toSorted((a, b) => b.requests - a.requests)[0];
  if (most !== undefined) {
    lines.push(
      `    on ${servers.length} servers: ${number(requests)} requests; most on ${most.address}: ${
        number(most.requests)
      }, ${perSecond(most.requests)} a second`,
    );
  }
  const busiest = cpu.toSorted((a, b) => b.seconds - a.seconds)[0];
  if (busiest !== undefined) {
    const all = cpu.reduce((sum, each) => sum + each.seconds, 0);
    const share = (value: number) => `${(value / Math.max(seconds, 0.001) * 100).toFixed(1)} %`;
    lines.push(
      `    processor time of ${cpu.length} servers meanwhile, for all their clients: ${
        all.toFixed(2)
      } s; most on ${busiest.address}: ${share(busiest.seconds)} of a core`,
    );
  }
  return lines;
}

export function reportJson(reports: readonly PoolReport[], alone: readonly string[]): string {
  return JSON.stringify({ verdict: verdictOf(reports, alone), alone, pools: reports.map(plain) }, null, 2) +
    "\n";
}

function plain({ pool, old, young, tally, settings, causes, load, stopped }: PoolReport): unknown {
  const rounded = (value: number) => Math.round(value * 1000) / 1000;
  return {
    pool,
    old,
    new: young,
    keys: tally.keys,
    same: tally.same,
    gone: tally.gone,
    parts: tally.parts,
    changing: tally.changing,
    strays: tally.strays,
    unread: tally.unread,
    reasons: Object.fromEntries(tally.reasons),
    unscanned: tally.unscanned,
    differences: tally.differences,
    examples: tally.examples.map(({ kind, key, text }) => ({
      kind,
      key: utf8(key),
      key_hex: hexOf(key),
      text,
    })),
    settings,
    causes: causes.map(({ label, running, misplaced, cause }) => ({
      side: label.toLowerCase(),
      running,
      misplaced,
      cause: cause?.text ?? null,
      explains: cause?.explains ?? null,
      as_it_is: cause?.before ?? null,
      of: cause?.of ?? null,
    })),
    notes: tally.notes,
    load: load === null ? null : {
      seconds: rounded(load.seconds),
      rate: load.rate,
      keys_read: load.keysRead,
      sent: load.sent.map(({ to, requests, answeredBytes }) => ({
        to,
        requests,
        answered_bytes: answeredBytes,
      })),
      servers: load.servers.map(({ address, requests }) => ({ address, requests: Math.round(requests) })),
      cpu: load.cpu.map(({ address, seconds }) => ({ address, seconds: rounded(seconds) })),
    },
    stopped,
  };
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** null: it is none. */
function utf8(key: Uint8Array): string | null {
  try {
    return strict.decode(key);
  } catch {
    return null;
  }
}
