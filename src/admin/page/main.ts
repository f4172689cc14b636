/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/**
 * The page: what the proxy sees, second by second, and what an operator may do about it.
 *
 *   /api/live?panels ──┬─► plots, table of pools, and the pulse: without it the page says that it is stale
 *                      └─► panels, which are drawn while they are in sight
 *
 * Nothing else is asked for but by a click. While nobody sees the page (document.hidden) there is no stream.
 *
 * Built into one file by tests/repo/write_page.ts (`deno task page`); nothing is loaded from anywhere else.
 */
import { act } from "./actions.ts";
import { get, Stream } from "./api.ts";
import { showCertificates } from "./certificates.ts";
import { button, byId, el, setAttribute, setText } from "./dom.ts";
import { bytes, count, lasting, rate, span, time, UNKNOWN } from "./format.ts";
import { keyBox } from "./key_box.ts";
import { KeySpace } from "./key_space.ts";
import { planBox } from "./plan_box.ts";
import { Plots, toneOf } from "./plots.ts";
import { failuresOf, type ServerRow, Servers } from "./servers.ts";
import type {
  EventShape,
  KeysShape,
  LatencyShape,
  PoolShape,
  PoolsShape,
  Sample,
  SlowEntry,
  Spread,
} from "./shapes.ts";
import { Table } from "./table.ts";

const EVENTS_KEPT = 500;
/** The stream speaks once a second; after so long without a word what is shown is old. */
const STALE_MS = 3500;
/** Rates are taken over at least this long. */
const RATE_MS = 900;

// ---- what is known

let pools: readonly PoolShape[] = [];
let samples: readonly Sample[] = [];
let events: readonly EventShape[] = [];
let chosen: string | null = new URLSearchParams(location.hash.slice(1)).get("pool");
/** When the proxy has last spoken: by its clock, and by ours (performance.now). */
let heardAt = 0;
let heardMs = performance.now();
let broken = "";
let stale = false;

const chosenPool = (): PoolShape | undefined => pools.find(({ name }) => name === chosen);

// ---- the table of pools

interface PoolRow {
  readonly pool: PoolShape;
  readonly sample: Sample | undefined;
}

const poolTable = new Table<PoolRow>(
  "Pools",
  [
    {
      id: "name",
      title: "Pool",
      looks: "mono",
      order: ({ pool }) => pool.name,
      fill: (cell, { pool }) => {
        if (cell.firstChild === null) {
          cell.append(button(pool.name, () => choose(pool.name), { class: "link" }));
        }
        setAttribute(cell.firstElementChild!, "aria-pressed", String(pool.name === chosen));
      },
    },
    {
      id: "servers",
      title: "Servers",
      hint: "Live of all",
      order: ({ pool }) => liveOf(pool) - pool.servers.length,
      fill: (cell, { pool }) => {
        const [live, all] = [liveOf(pool), pool.servers.length];
        setText(cell, live === all ? `${all} live` : `${live} of ${all} live`);
        cell.classList.toggle("trouble", live < all);
      },
    },
    number("requests", "Req/s", (row) => row.sample?.requests_per_s ?? null, rate, undefined, ""),
    number("errors", "Err/s", (row) => row.sample?.errors_per_s ?? null, rate, undefined, ""),
    number("p50", "p50", (row) => row.sample?.p50_us ?? null, span),
    number("p99", "p99", (row) => row.sample?.p99_us ?? null, span, undefined, ""),
    number("flight", "In flight", (row) => row.sample?.in_flight ?? row.pool.in_flight, count),
    number("clients", "Clients", (row) => row.pool.clients, count),
    number("total", "Requests", (row) => row.pool.counters.requests_total ?? null, count, "since the start"),
    { id: "protocol", title: "Protocol", looks: "minor", text: ({ pool }) => pool.protocol },
    { id: "listen", title: "Listens on", looks: "mono minor wide", text: ({ pool }) => pool.listen },
  ],
  ({ pool }) => pool.name,
  (row, { pool }) => {
    setAttribute(row, "data-chosen", pool.name === chosen ? "" : null);
    setAttribute(row, "data-pool", pool.name);
  },
);

function number(
  id: string,
  title: string,
  of: (row: PoolRow) => number | null,
  say: (value: number | null) => string,
  hint?: string,
  minor = "minor",
) {
  return {
    id,
    title,
    ...(hint === undefined ? {} : { hint }),
    looks: `number ${minor}`,
    order: (row: PoolRow) => of(row) ?? -1,
    text: (row: PoolRow) => say(of(row)),
  };
}

const liveOf = (pool: PoolShape): number => pool.servers.filter(({ state }) => state === "live").length;

// ---- parts of the page

const plots = new Plots(byId("plots"));
const servers = new Servers(
  byId("servers"),
  byId("server-count"),
  (action, server) => void act(action, chosen ?? "", server, () => void refreshPools()),
);
const keySpace = new KeySpace(byId("strip"), byId("strip-note"), (name) => servers.open(name));

const eventTable = new Table<EventShape>(
  "Events",
  [
    { id: "at", title: "When", looks: "number", text: ({ at }) => time(at) },
    {
      id: "kind",
      title: "What",
      fill: (cell, { kind }) => {
        setText(cell, kind);
        setAttribute(cell, "data-tone", toneOf(kind));
      },
    },
    { id: "pool", title: "Pool", looks: "mono minor", text: ({ pool }) => pool || "all" },
    { id: "server", title: "Server", looks: "mono", text: ({ server }) => server || UNKNOWN },
    {
      id: "lasted",
      title: "After",
      looks: "number minor",
      text: (e) => e.duration_ms > 0 ? lasting(e.duration_ms) : "",
    },
    { id: "cause", title: "Why", looks: "wide", text: ({ cause }) => cause },
  ],
  ({ id }) => String(id),
);
byId("events").append(eventTable.element);

// ---- the stream

const stream = new Stream({
  history(shape) {
    // Another proxy, perhaps, with a clock of its own.
    poolsAt = 0;
    events = shape.events.slice(-EVENTS_KEPT);
    if (chosen !== null) plots.history(shape, chosen);
    heard(shape.at.at(-1) ?? Date.now());
    showEvents();
  },
  second({ at, pools: now, events: more }) {
    samples = now;
    if (more.length > 0) {
      const last = events.at(-1)?.id ?? 0;
      events = [...events, ...more.filter(({ id }) => id > last)].slice(-EVENTS_KEPT);
      showEvents();
    }
    heard(at);
    plots.second(at, now.find(({ name }) => name === chosen));
    showPools();
  },
  panel(name, shape) {
    if (name === "pools") return takePools(shape as PoolsShape);
    const panel = panels.find(({ id }) => id === name);
    if (panel === undefined) return;
    panel.told = shape;
    draw(panel);
  },
  broken(why) {
    broken = why;
    pulse();
  },
});

function heard(at: number): void {
  heardAt = at;
  heardMs = performance.now();
  broken = "";
  pulse();
}

/** Is what is shown of now? */
function pulse(): void {
  const silentMs = performance.now() - heardMs;
  const isStale = broken !== "" || silentMs > STALE_MS;
  if (isStale) {
    const since = heardAt === 0
      ? "Nothing has been heard yet"
      : `The numbers are of ${time(heardAt)}, ${lasting(silentMs)} ago`;
    setText(byId("stale-since"), `${since}. Trying again.`);
  }
  if (!isStale && heardAt > 0) setText(byId("clock"), time(heardAt));
  if (isStale === stale) return;
  stale = isStale;
  document.documentElement.toggleAttribute("data-stale", stale);
  setText(byId("status"), stale ? "Stale" : "Live");
  const banner = byId("stale");
  banner.hidden = !stale;
  if (stale) setText(byId("stale-why"), broken || "The proxy has fallen silent.");
}

// ---- pools and their servers

let asking = false;
let again = false;
let poolsAt = 0;
/** Of each server: its counters when they were last looked at, and the rates since then. */
const counted = new Map<
  string,
  { at: number; requests: number; errors: number; rates: [number, number] | null }
>();

/** Asks for them: something has been done here, and nobody wants to wait for the next second. */
async function refreshPools(): Promise<void> {
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  try {
    takePools(await get<PoolsShape>("/api/pools"));
    showNote("pools-note", "");
  } catch (error) {
    showNote("pools-note", (error as Error).message);
  } finally {
    asking = false;
    if (again) {
      again = false;
      void refreshPools();
    }
  }
}

function takePools(answer: PoolsShape): void {
  // One that was made before what is shown already.
  if (answer.at < poolsAt) return;
  poolsAt = answer.at;
  pools = answer.pools;
  if (chosenPool() === undefined && pools.length > 0) choose(pools[0]!.name);
  showPools();
  showPool(answer.at);
  showCertificates(answer);
}

function showPools(): void {
  poolTable.set(pools.map((pool) => ({ pool, sample: samples.find(({ name }) => name === pool.name) })));
}

function showPool(at: number): void {
  const pool = chosenPool();
  if (pool === undefined) return;
  setText(byId("pool-name"), pool.name);
  const what = pool.cluster ? "cluster" : `${pool.distribution}, ${pool.hash}`;
  setText(byId("pool-facts"), `${pool.protocol} on ${pool.listen}, ${what}`);
  keySpace.set(pool);
  const last = new Map<string, EventShape>();
  for (const event of events) if (event.pool === pool.name) last.set(event.server, event);
  servers.set(pool.servers.map((server): ServerRow => {
    const [requests, errors] = ratesOf(
      pool.name,
      server.name,
      at,
      server.counters.requests ?? 0,
      failuresOf(server),
    );
    return { server, requests, errors, last: last.get(server.name) ?? null };
  }));
  const list = byId("pool-counters");
  const all = Object.entries(pool.counters);
  if (list.children.length !== 2 * all.length) {
    list.replaceChildren(
      ...all.flatMap(([name]) => [el("dt", { class: "mono" }, name), el("dd", { "data-counter": name })]),
    );
  }
  all.forEach(([, value], k) => setText(list.children[2 * k + 1]!, count(value)));
}

function ratesOf(
  pool: string,
  server: string,
  at: number,
  requests: number,
  errors: number,
): [number | null, number | null] {
  const key = `${pool}\0${server}`;
  const before = counted.get(key);
  if (before === undefined || requests < before.requests) {
    counted.set(key, { at, requests, errors, rates: null });
    return [null, null];
  }
  const tookMs = at - before.at;
  if (tookMs < RATE_MS) return before.rates ?? [null, null];
  const rates: [number, number] = [
    (requests - before.requests) / tookMs * 1000,
    Math.max(0, errors - before.errors) / tookMs * 1000,
  ];
  counted.set(key, { at, requests, errors, rates });
  return rates;
}

function choose(name: string): void {
  if (name === chosen && heardAt > 0) return;
  chosen = name;
  counted.clear();
  history.replaceState(null, "", `#${new URLSearchParams({ pool: name })}`);
  stream.open(name);
  showPools();
  showEvents();
  showPool(heardAt);
  for (const panel of panels) panel.told = null;
}

function showEvents(): void {
  const wanted = events.filter(({ pool }) => pool === "" || pool === chosen);
  plots.mark(wanted);
  eventTable.set([...wanted].reverse());
  showNote("events-note", wanted.length === 0 ? "Nothing has happened since the start." : "");
}

// ---- panels that are told of the chosen pool

interface Panel {
  /** Of its section, and of the event. */
  readonly id: string;
  /** Shows what has been told; a note, or "". */
  readonly show: (pool: string, told: any) => string;
  /** What has been told and not been shown yet; null = nothing. */
  told: unknown;
}

interface CommandRow {
  readonly name: string;
  readonly served: Spread;
  readonly waited: Spread;
  readonly rate: number | null;
  readonly part: number;
}

const commandTable = new Table<CommandRow>(
  "Commands",
  [
    { id: "class", title: "Class", looks: "mono", order: (row) => row.name, text: (row) => row.name },
    {
      id: "rate",
      title: "Req/s",
      looks: "number",
      order: (row) => row.rate ?? 0,
      text: (row) => rate(row.rate),
    },
    {
      id: "count",
      title: "Requests",
      looks: "number minor",
      order: (row) => row.served.count,
      text: (row) => count(row.served.count),
    },
    {
      id: "part",
      title: "Time",
      hint: "Part of all time that servers took for this pool",
      looks: "number",
      order: (row) => row.part,
      text: (row) => `${(100 * row.part).toFixed(1)} %`,
    },
    {
      id: "p50",
      title: "p50",
      looks: "number",
      order: (row) => row.served.p50_us ?? 0,
      text: (row) => span(row.served.p50_us),
    },
    {
      id: "p99",
      title: "p99",
      looks: "number",
      order: (row) => row.served.p99_us ?? 0,
      text: (row) => span(row.served.p99_us),
    },
    {
      id: "p999",
      title: "p99.9",
      looks: "number minor",
      order: (row) => row.served.p999_us ?? 0,
      text: (row) => span(row.served.p999_us),
    },
    {
      id: "max",
      title: "Max",
      looks: "number minor",
      order: (row) => row.served.max_us ?? 0,
      text: (row) => span(row.served.max_us),
    },
    {
      id: "waited",
      title: "Waited p99",
      hint: "Time in the proxy before it was sent",
      looks: "number",
      order: (row) => row.waited.p99_us ?? 0,
      text: (row) => span(row.waited.p99_us),
    },
  ],
  ({ name }) => name,
);
byId("commands").append(commandTable.element);
const classes = new Map<string, { at: number; count: number; rate: number | null }>();

function showCommands(name: string, answer: LatencyShape): string {
  const pool = answer.pools.find((one) => one.name === name);
  if (pool === undefined || pool.classes.every(({ served }) => served.count === 0)) {
    commandTable.set([]);
    return "No request has been answered yet.";
  }
  const total = pool.classes.reduce((sum, { served }) => sum + served.sum_us, 0);
  const rows = pool.classes.filter(({ served }) => served.count > 0).map((one): CommandRow => {
    const key = `${name}\0${one.class}`;
    const before = classes.get(key);
    const tookMs = answer.at - (before?.at ?? answer.at);
    const now = before === undefined || tookMs < RATE_MS || one.served.count < before.count
      ? null
      : (one.served.count - before.count) / tookMs * 1000;
    classes.set(key, { at: answer.at, count: one.served.count, rate: now });
    return { name: one.class, ...one, rate: now, part: total === 0 ? 0 : one.served.sum_us / total };
  });
  commandTable.set(rows.sort((a, b) => b.part - a.part));
  return "";
}

const slowTable = new Table<SlowEntry>(
  "Slow log",
  [
    { id: "at", title: "When", looks: "number", order: (row) => row.at, text: ({ at }) => time(at) },
    {
      id: "command",
      title: "Command",
      looks: "mono wide",
      text: (row) => [row.command, ...row.arguments].join(" "),
    },
    {
      id: "server",
      title: "Server",
      looks: "mono",
      order: (row) => row.server ?? "",
      text: ({ server }) => server ?? UNKNOWN,
    },
    { id: "client", title: "Client", looks: "mono minor", text: ({ client }) => client },
    {
      id: "waited",
      title: "Waited",
      looks: "number",
      order: (row) => row.waited_us,
      text: (row) => span(row.waited_us),
    },
    {
      id: "served",
      title: "Served",
      looks: "number",
      order: (row) => row.served_us,
      text: (row) => span(row.served_us),
    },
  ],
  ({ id, at }) => `${id} ${at}`,
);
byId("slow").append(slowTable.element);

function showSlow(_name: string, { entries }: { entries: SlowEntry[] }): string {
  slowTable.set(entries);
  return entries.length === 0 ? "No request has taken longer than slowlog_threshold." : "";
}

type KeyRow = KeysShape["pools"][number]["keys"][number];

const hotTable = new Table<KeyRow>(
  "Hot keys",
  [
    { id: "key", title: "Key", looks: "mono wide", text: ({ key }) => key },
    {
      id: "share",
      title: "Share",
      looks: "number",
      text: ({ share }) => share === undefined ? UNKNOWN : `${(100 * share).toFixed(2)} %`,
    },
    { id: "count", title: "Seen", hint: "In the sample", looks: "number", text: (row) => count(row.count) },
    {
      id: "error",
      title: "± at most",
      hint: "What the share may be wrong by",
      looks: "number minor",
      text: ({ error }) => error === undefined ? "" : `${(100 * error).toFixed(2)} %`,
    },
  ],
  ({ key }) => key,
);
byId("hot").append(hotTable.element);

const bigTable = new Table<KeyRow>(
  "Big keys",
  [
    { id: "key", title: "Key", looks: "mono wide", text: ({ key }) => key },
    { id: "bytes", title: "Size", looks: "number", text: (row) => bytes(row.bytes) },
  ],
  ({ key }) => key,
);
byId("big").append(bigTable.element);

function showKeys(table: Table<KeyRow>, name: string, { pools }: KeysShape): string {
  const keys = pools.find((one) => one.name === name)?.keys ?? [];
  table.set(keys);
  return keys.length === 0 ? "No keys have been seen yet." : "";
}

const panels: readonly Panel[] = [
  { id: "commands", show: showCommands, told: null },
  { id: "slow", show: showSlow, told: null },
  { id: "hot", show: (name, told) => showKeys(hotTable, name, told), told: null },
  { id: "big", show: (name, told) => showKeys(bigTable, name, told), told: null },
];
const inSight = new Set<Element>();
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) inSight.add(target);
    else inSight.delete(target);
  }
  for (const panel of panels) draw(panel);
}, { rootMargin: "200px" });
for (const { id } of panels) watcher.observe(byId(id));

/** If it is in sight, and there is something new. */
function draw(panel: Panel): void {
  if (panel.told === null || chosen === null || !inSight.has(byId(panel.id))) return;
  const { told } = panel;
  panel.told = null;
  showNote(`${panel.id}-note`, panel.show(chosen, told));
}

function showNote(id: string, text: string): void {
  const note = byId(id);
  setText(note, text);
  note.hidden = text === "";
}

// ---- theme

const THEMES = ["system", "light", "dark"] as const;
const themeButton = byId("theme");

function setTheme(theme: string): void {
  setAttribute(document.documentElement, "data-theme", theme === "system" ? null : theme);
  setText(themeButton, `Theme: ${theme}`);
  themeButton.dataset.theme = theme;
  localStorage.setItem("ringmaster-theme", theme);
  plots.redraw();
}

themeButton.addEventListener("click", () => {
  const at = THEMES.findIndex((theme) => theme === themeButton.dataset.theme);
  setTheme(THEMES[(at + 1) % THEMES.length]!);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.redraw());

// ---- begin

byId("pools").append(poolTable.element);
keyBox(() => chosen);
planBox();
setTheme(localStorage.getItem("ringmaster-theme") ?? "system");
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return stream.close();
  // What has happened meanwhile is in the history that comes first.
  heardMs = performance.now();
  pulse();
  stream.open(chosen);
});
setInterval(() => document.hidden || pulse(), 500);
if (!document.hidden) stream.open(chosen);
