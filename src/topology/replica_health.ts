/**
 * Whether a replica may be read from, by what it says of itself; how far it is behind, by what its primary said before.
 *
 *   INFO of the replica ──readInfo──► ServerSaid ─┐
 *   INFO of its primary ──► PrimaryTrace ─────────┴─judge──► null (well), or what is wrong with it
 *
 * Never by what the primary says of it: that is "online" with "lag=0" of a replica that answers nothing but -LOADING. And a link is
 * "up" for a minute after the primary has frozen, so time is measured by offsets: a replica is behind since the first offset of the
 * primary's that it has not reached was seen.
 */
import type { LagMax } from "../config/config.ts";

/** What a server says of its part in replication. */
export interface ServerSaid {
  readonly master: boolean;
  /** Its link to its primary is up. */
  readonly linked: boolean;
  /** All of its primary's data is on its way to it. */
  readonly syncing: boolean;
  /** Some of that has come: what it had may be gone. Not while it waits for it, or is refused it for as long as it asks. */
  readonly receiving: boolean;
  readonly loading: boolean;
  /** Since it has heard of its primary; -1 = never, or not now. */
  readonly ioAgeMs: number;
  /** Since its link is down; -1 = it is up, or never was since the process started. */
  readonly downMs: number;
  /** Up to where it has applied, or written, the stream; -1 = not said. */
  readonly offset: number;
  /** The history that the offset belongs to; "" = not said. */
  readonly history: string;
  /** Of a primary: its replicas as it sees them, HOST:PORT; not a word on how they are. */
  readonly replicas: readonly string[];
}

/** The lines `name:value` of INFO's answer. */
export function fieldsIn(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}

/** @param text of INFO replication, and of INFO persistence if it was asked for; null if it is neither */
export function readInfo(text: string): ServerSaid | null {
  return saidIn(fieldsIn(text));
}

/** As readInfo, of its lines. */
export function saidIn(fields: ReadonlyMap<string, string>): ServerSaid | null {
  const role = fields.get("role");
  if (role === undefined) return null;
  const number = (name: string) => {
    const value = Number(fields.get(name) ?? "");
    return fields.get(name) !== undefined && Number.isFinite(value) ? value : -1;
  };
  const ms = (name: string) => number(name) < 0 ? -1 : number(name) * 1000;
  const master = role === "master";
  const syncing = fields.get("master_sync_in_progress") === "1";
  // Before the first line of its primary's data, size and progress say so.
  const waiting = fields.get("master_sync_total_bytes") === "-1" &&
    fields.get("master_sync_read_bytes") === "0";
  const replicas: string[] = [];
  for (const [name, value] of fields) {
    if (!/^(slave|replica)\d+$/.test(name)) continue;
    const parts = new Map(
      value.split(",").map((part) => [part.split("=")[0], part.slice(part.indexOf("=") + 1)]),
    );
    const host = parts.get("ip") ?? "";
    if (host !== "") replicas.push(`${host.includes(":") ? `[${host}]` : host}:${parts.get("port")}`);
  }
  return {
    master,
    linked: fields.get("master_link_status") === "up",
    syncing,
    receiving: syncing && !waiting,
    loading: fields.get("loading") === "1" || fields.get("async_loading") === "1",
    ioAgeMs: ms("master_last_io_seconds_ago"),
    downMs: ms("master_link_down_since_seconds"),
    // A replica that its primary has refused, or that waits for all of its data, says 1 for the first of the two; the other stays.
    offset: master
      ? number("master_repl_offset")
      : Math.max(number("slave_repl_offset"), number("master_repl_offset")),
    history: fields.get("master_replid") ?? "",
    replicas,
  };
}

/** A healthy idle link is silent for up to this long (repl-ping-replica-period is 10 s). */
const SILENT_MS = 15_000;
/** What a lag in bytes allows where only time can be told: the primary does not answer. */
const UNTOLD_MS = 10_000;
/** So many offsets are remembered; of more, every other one is forgotten. */
const SAMPLES_MAX = 512;

/** What a primary has said, oldest first. */
export class PrimaryTrace {
  private samples: { readonly atMs: number; readonly offset: number }[] = [];
  private history = "";
  /** It has answered the last question. */
  answers = false;

  /** It has answered. @param askedMs when it was asked */
  said({ offset, history }: ServerSaid, askedMs: number): void {
    const last = this.samples.at(-1);
    if (history !== this.history || (last !== undefined && offset < last.offset)) this.samples = [];
    this.history = history;
    this.answers = true;
    if (offset >= 0 && offset !== this.samples.at(-1)?.offset) this.samples.push({ atMs: askedMs, offset });
    if (this.samples.length > SAMPLES_MAX) this.samples = this.samples.filter((_, i) => i % 2 === 0);
  }

  silent(): void {
    this.answers = false;
  }

  /** Of another server, of which nothing is known yet. */
  clear(): void {
    this.samples = [];
    this.answers = false;
    this.history = "";
  }

  /** Can a replica be of its data? */
  isOf(history: string): boolean {
    return this.history === "" || history === this.history;
  }

  /** Has it said how far it is? */
  get known(): boolean {
    return this.samples.length > 0;
  }

  /** For how long a replica that has come to `offset` has been lacking something, ms; 0 = it has all that is known of. */
  behindMs(offset: number, nowMs: number): number {
    const missed = this.samples.find((sample) => sample.offset > offset);
    return missed === undefined ? 0 : nowMs - missed.atMs;
  }

  behindBytes(offset: number): number {
    const last = this.samples.at(-1);
    return last === undefined ? 0 : Math.max(0, last.offset - offset);
  }
}

/**
 * What is wrong with a replica, so that it is not to be read from; null if nothing is.
 * @param said null: it does not answer
 */
export function judge(
  said: ServerSaid | null,
  primary: PrimaryTrace,
  maxLag: LagMax,
  nowMs: number,
): string | null {
  if (said === null) return "does not answer";
  if (said.loading) return "is loading its data";
  if (said.master) return "is no replica";
  if (said.syncing) return "is being synchronised";
  const maxMs = "ms" in maxLag ? maxLag.ms : UNTOLD_MS;
  // While nobody can say what it lacks, what it had a moment ago is the best there is. -1: it has never had a link.
  const orphan = !said.linked && !primary.answers && said.downMs >= 0 && said.downMs <= maxMs;
  if (!said.linked && !orphan) return "has no link to its primary";
  if (!primary.isOf(said.history)) return "has the data of another primary";
  if (said.linked && said.ioAgeMs > Math.max(maxMs, SILENT_MS)) {
    return `has not heard of its primary for ${said.ioAgeMs / 1000} s`;
  }
  if ("bytes" in maxLag && primary.behindBytes(said.offset) > maxLag.bytes) {
    return `lags ${primary.behindBytes(said.offset)} bytes`;
  }
  if ("bytes" in maxLag && primary.answers) return null;
  // What a primary that does not answer may have written since, it has not told the replica either.
  const untoldMs = primary.answers ? 0 : said.linked ? said.ioAgeMs : said.downMs;
  const behindMs = Math.max(primary.behindMs(said.offset, nowMs), untoldMs);
  return behindMs > maxMs ? `lags ${Math.round(behindMs / 100) / 10} s` : null;
}
