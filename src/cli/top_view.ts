/**
 * What `ringmaster top` shows, as lines of text: tables of pools, servers, keys, clients and events, sorted, filtered, and cut to the screen.
 *
 *   Seen (answers of the admin side) ──► rows of a view ──► sorted, filtered ──► lines of `columns` characters
 *
 * Nothing is told by colour alone.
 */
import type { EventShape, LiveShape, PoolsShape, ServerShape } from "../admin/page/shapes.ts";

/** What has been answered last; null: not asked for, or not yet. */
export interface Seen {
  readonly peer: string;
  readonly live: LiveShape | null;
  readonly pools: PoolsShape | null;
  /** A second or so before `pools`. */
  readonly before: PoolsShape | null;
  readonly hot:
    | { readonly pools: readonly { readonly name: string; readonly keys: readonly KeyRow[] }[] }
    | null;
  readonly big:
    | { readonly pools: readonly { readonly name: string; readonly keys: readonly KeyRow[] }[] }
    | null;
  readonly clients: { readonly clients: readonly ClientRow[] } | null;
  /** The last ones, oldest first. */
  readonly events: readonly EventShape[];
  /** What is wrong, "" = nothing: the rest is old then. */
  readonly trouble: string;
}

interface KeyRow {
  readonly key: string;
  readonly count?: number;
  readonly requests_per_s?: number;
  readonly share?: number;
  readonly error?: number;
  readonly bytes?: number;
  readonly at?: number;
  readonly command?: string;
}

interface ClientRow {
  readonly pool: string;
  readonly address: string;
  readonly name: string | null;
  readonly command: string | null;
  readonly idle_seconds: number;
  readonly in_flight: number;
  readonly held_bytes: number;
}

export const VIEWS = ["pools", "servers", "hot", "big", "clients", "events"] as const;
export type View = typeof VIEWS[number];

/** What the user has chosen. */
export interface Chosen {
  readonly view: View;
  /** A column of the view; the first one that is a number if there is no such. */
  readonly sort: string;
  readonly reversed: boolean;
  /** Rows have this in one of their texts; "" = all. */
  readonly filter: string;
  /** The filter is being typed. */
  readonly typing: boolean;
  /** Only this pool; null = all. */
  readonly pool: string | null;
  /** Rows that are above the screen. */
  readonly scrolled: number;
}

type Cell = string | number | null;

interface Column {
  readonly name: string;
  /** Characters. Numbers stand at the right; the first text takes what is left. */
  readonly width: number;
  readonly number: boolean;
  readonly show: (cell: Cell) => string;
}

interface Table {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Cell[])[];
}

const word = (name: string, width: number): Column => ({
  name,
  width,
  number: false,
  show: (cell) => shown(`${cell ?? "-"}`),
});
const figure = (name: string, width: number, show: (value: number) => string): Column => ({
  name,
  width,
  number: true,
  show: (cell) => cell === null ? "-" : show(cell as number),
});

const POOLS: readonly Column[] = [
  word("POOL", 14),
  figure("REQ/S", 9, decimal),
  figure("ERR/S", 8, decimal),
  figure("P50", 8, time),
  figure("P99", 8, time),
  figure("IN FLIGHT", 9, whole),
  figure("CLIENTS", 8, whole),
  figure("MEMORY", 8, bytes),
];

const SERVERS: readonly Column[] = [
  word("SERVER", 14),
  word("POOL", 10),
  word("STATE", 8),
  figure("SHARE", 6, percent),
  figure("REQ/S", 9, decimal),
  figure("ERR/S", 7, decimal),
  figure("P50", 7, time),
  figure("P99", 7, time),
  figure("QUEUED", 6, whole),
];

const HOT: readonly Column[] = [
  word("KEY", 24),
  word("POOL", 12),
  figure("REQ/S", 10, decimal),
  figure("SHARE", 7, percent),
  figure("± AT MOST", 9, percent),
];

const BIG: readonly Column[] = [
  word("KEY", 24),
  word("POOL", 12),
  figure("SIZE", 9, bytes),
  word("COMMAND", 12),
  figure("AGO", 8, (ms) => ago(ms)),
];

const CLIENTS: readonly Column[] = [
  word("CLIENT", 21),
  word("POOL", 10),
  word("NAME", 12),
  word("COMMAND", 12),
  figure("IDLE", 7, (seconds) => ago(seconds * 1000)),
  figure("IN FLIGHT", 9, whole),
  figure("HELD", 8, bytes),
];

/** The newest first, by their number. */
const EVENTS: readonly Column[] = [
  word("EVENT", 24),
  word("POOL", 12),
  word("SERVER", 16),
  figure("AGO", 5, (ms) => ago(ms)),
  figure("#", 5, whole),
];

function tableOf(view: View, seen: Seen): Table {
  switch (view) {
    case "pools":
      return {
        columns: POOLS,
        rows: (seen.live?.pools ?? []).map((pool) => [
          pool.name,
          pool.requests_per_s,
          pool.errors_per_s,
          pool.p50_us,
          pool.p99_us,
          pool.in_flight,
          pool.clients,
          pool.memory_bytes,
        ]),
      };
    case "servers":
      return { columns: SERVERS, rows: serverRows(seen) };
    case "hot":
      return {
        columns: HOT,
        rows: (seen.hot?.pools ?? []).flatMap(({ name, keys }) =>
          keys.map((key) => [key.key, name, key.requests_per_s ?? null, key.share ?? null, key.error ?? null])
        ),
      };
    case "big": {
      const now = seen.live?.at ?? 0;
      return {
        columns: BIG,
        rows: (seen.big?.pools ?? []).flatMap(({ name, keys }) =>
          keys.map((
            key,
          ) => [key.key, name, key.bytes ?? null, key.command ?? null, Math.max(0, now - (key.at ?? now))])
        ),
      };
    }
    case "clients":
      return {
        columns: CLIENTS,
        rows: (seen.clients?.clients ?? []).map((client) => [
          client.address,
          client.pool,
          client.name,
          client.command,
          client.idle_seconds,
          client.in_flight,
          client.held_bytes,
        ]),
      };
    case "events": {
      const now = seen.live?.at ?? 0;
      return {
        columns: EVENTS,
        rows: seen.events.map(({ id, at, pool, server, kind, cause }) => [
          cause === "" ? kind : `${kind}: ${cause}`,
          // Of none in particular: of all.
          pool || null,
          server || null,
          Math.max(0, now - at),
          id,
        ]),
      };
    }
  }
}

/** One row a server, with what it did since the answer before. */
export function serverRows({ pools, before }: Pick<Seen, "pools" | "before">): Cell[][] {
  const seconds = pools === null || before === null ? 0 : (pools.at - before.at) / 1000;
  return (pools?.pools ?? []).flatMap((pool) =>
    pool.servers.map((server) => {
      const then = before?.pools.find(({ name }) => name === pool.name)?.servers.find(({ name }) =>
        name === server.name
      );
      const rate = (of: (server: ServerShape) => number) =>
        then === undefined || seconds <= 0 || of(server) < of(then)
          ? null
          : (of(server) - of(then)) / seconds;
      return [
        server.name,
        pool.name,
        server.state,
        server.share,
        rate(({ counters }) => counters.requests ?? 0),
        rate(({ counters }) =>
          (counters.server_err ?? 0) + (counters.server_timedout ?? 0) + (counters.server_eof ?? 0)
        ),
        server.latency?.p50_us ?? null,
        server.latency?.p99_us ?? null,
        (server.counters.in_queue ?? 0) + (server.counters.out_queue ?? 0),
      ];
    })
  );
}

/** The names of a view's columns, in their order. */
export function columnsOf(view: View): string[] {
  return tableOf(view, NOTHING).columns.map(({ name }) => name);
}

/** The column that a view is sorted by if no other is chosen. */
export function sortOf(view: View): string {
  const { columns } = tableOf(view, NOTHING);
  return (columns.find(({ name }) => ["REQ/S", "SIZE", "HELD", "#"].includes(name)) ?? columns[0]!)
    .name;
}

/** Rows of a report; absent: all. */
const REPORTED: Readonly<Partial<Record<View, number>>> = { hot: 10, events: 10 };

const NOTHING: Seen = {
  peer: "",
  live: null,
  pools: null,
  before: null,
  hot: null,
  big: null,
  clients: null,
  events: [],
  trouble: "",
};

// ---- lines

/** The whole screen: `rows` lines of at most `columns` characters. */
export function screen(
  seen: Seen,
  chosen: Chosen,
  columns: number,
  rows: number,
  colours: boolean,
): string[] {
  const table = tableOf(chosen.view, seen);
  const { lines, matching } = tableLines(table, chosen, columns, colours);
  const room = Math.max(1, rows - 4);
  const first = Math.max(0, Math.min(chosen.scrolled, matching - (room - 1)));
  const body = [lines[0]!, ...lines.slice(1 + first, first + room)];
  while (body.length < room) body.push("");
  const hidden = matching - Math.min(matching - first, room - 1);
  const state = chosen.typing
    ? `filter: ${chosen.filter}_`
    : `sort: ${chosen.sort}${chosen.reversed ? " reversed" : ""}` +
      (chosen.filter === "" ? "" : `   filter: ${chosen.filter}`) +
      (hidden > 0 ? `   ${hidden} more: arrows` : "");
  return [
    cut(titleOf(seen), columns),
    cut(tabs(chosen.view), columns),
    ...body,
    cut(seen.trouble === "" ? state : `! ${seen.trouble}; this is what was last seen`, columns),
    cut("1-6 view   s,S sort   r reverse   / filter   arrows scroll   q quit", columns),
  ].slice(0, Math.max(1, rows));
}

/** For output that is no screen: every table that has something to say, with nothing cut off below. */
export function report(seen: Seen, chosen: Chosen, columns: number): string {
  const parts = [titleOf(seen)];
  for (const view of ["pools", "servers", "hot", "events"] as const) {
    const { lines } = tableLines(tableOf(view, seen), { ...chosen, sort: sortOf(view) }, columns, false);
    if (lines.length > 1) parts.push(lines.slice(0, 1 + (REPORTED[view] ?? lines.length)).join("\n"));
  }
  if (seen.trouble !== "") parts.push(`! ${seen.trouble}`);
  return parts.join("\n\n") + "\n";
}

function titleOf({ peer, live, pools }: Seen): string {
  const time = live === null ? "--:--:--" : new Date(live.at).toISOString().slice(11, 19);
  const servers = (pools?.pools ?? []).flatMap((pool) => pool.servers);
  const off = servers.filter(({ state }) => state !== "live").length;
  return `ringmaster ${peer}  ${time} UTC  ${servers.length} servers${off === 0 ? "" : `, ${off} NOT LIVE`}`;
}

const tabs = (view: View): string =>
  VIEWS.map((each, i) => each === view ? `[${i + 1} ${each}]` : `${i + 1} ${each}`).join(" ");

function tableLines(
  table: Table,
  { sort, reversed, filter, pool }: Chosen,
  columns: number,
  colours: boolean,
): { readonly lines: string[]; readonly matching: number } {
  const by = Math.max(0, table.columns.findIndex(({ name }) => name === sort));
  const inPool = table.columns.findIndex(({ name }) => name === "POOL");
  const wanted = filter.toLowerCase();
  const rows = table.rows.filter((row) =>
    (pool === null || row[inPool] === pool || row[inPool] === null) &&
    row.some((cell) => typeof cell === "string" && cell.toLowerCase().includes(wanted))
  );
  const { number } = table.columns[by]!;
  rows.sort((a, b) => (number ? compare(b[by]!, a[by]!) : compare(a[by]!, b[by]!)) * (reversed ? -1 : 1));
  const widths = widthsOf(table.columns, columns);
  const line = (cells: readonly string[]) =>
    cut(table.columns.map(({ number }, i) => fit(cells[i]!, widths[i]!, number)).join(" "), columns);
  const head = line(
    table.columns.map(({ name }, i) => i === by ? `${name}${name.length < widths[i]! ? "*" : ""}` : name),
  );
  return {
    lines: [
      colours ? `\x1b[1m${head}\x1b[0m` : head,
      ...rows.map((row) => {
        const text = line(table.columns.map(({ show }, i) => show(row[i]!)));
        return colours && isTrouble(table, row) ? `\x1b[31m${text}\x1b[0m` : text;
      }),
    ],
    matching: rows.length,
  };
}

function isTrouble({ columns }: Table, row: readonly Cell[]): boolean {
  return columns.some(({ name }, i) => name === "STATE" && row[i] !== "live");
}

/** The first column takes what is left, or gives what is lacking. */
function widthsOf(columns: readonly Column[], total: number): number[] {
  const others = columns.slice(1).reduce((sum, { width }) => sum + width + 1, 0);
  return columns.map(({ width }, i) => i === 0 ? Math.max(8, total - others) : width);
}

function compare(a: Cell, b: Cell): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

// ---- text

// deno-lint-ignore no-control-regex
const ORDERS = /[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g;

/** Keys and names are whatever clients like: nothing of it is to reach the terminal as an order. */
export function shown(text: string): string {
  return text.replace(ORDERS, (letter) => `\\x${letter.codePointAt(0)!.toString(16).padStart(2, "0")}`);
}

/** Letters that take two places of a terminal, about. */
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;
const widthOf = (letter: string): number => WIDE.test(letter) ? 2 : 1;

function fit(text: string, width: number, atRight: boolean): string {
  const short = cut(text, width);
  const blanks = " ".repeat(width - [...short].reduce((sum, letter) => sum + widthOf(letter), 0));
  return atRight ? blanks + short : short + blanks;
}

/** At most `width` places; what was longer ends in ~. */
function cut(text: string, width: number): string {
  let taken = 0;
  let kept = "";
  for (const letter of text) {
    taken += widthOf(letter);
    if (taken > width) {
      const letters = [...kept];
      while (letters.length > 0 && letters.reduce((sum, each) => sum + widthOf(each), 0) > width - 1) {
        letters.pop();
      }
      return letters.join("") + "~".slice(0, width);
    }
    kept += letter;
  }
  return kept;
}

function whole(value: number): string {
  return String(Math.round(value));
}

function decimal(value: number): string {
  return value >= 100 || value === 0 ? whole(value) : value.toFixed(1);
}

function percent(value: number): string {
  return `${(value * 100).toFixed(value < 0.1 ? 2 : 1)}%`;
}

function time(us: number): string {
  if (us < 1000) return `${Math.round(us)}us`;
  return us < 1_000_000 ? `${(us / 1000).toFixed(us < 10_000 ? 2 : 1)}ms` : `${(us / 1_000_000).toFixed(1)}s`;
}

function bytes(value: number): string {
  if (value < 1024) return `${Math.round(value)}`;
  const power = Math.min(4, Math.floor(Math.log2(value) / 10));
  return `${(value / 1024 ** power).toFixed(1)}${"KMGT"[power - 1]}`;
}

function ago(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 120) return `${seconds}s`;
  return seconds < 7200 ? `${Math.floor(seconds / 60)}m` : `${Math.floor(seconds / 3600)}h`;
}
