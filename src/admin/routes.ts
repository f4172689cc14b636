/**
 * Every route of the admin side, once: method, path, parameters, one line of what it is, and who answers.
 *
 *   ROUTES ──► server.ts (what is asked, what is refused) ──► /api, docs/admin.md
 *
 * To add one: a function in a file of its family, and a row here; `deno task docs`.
 */
import type { Answer, Asked } from "./answer.ts";
import { json } from "./answer.ts";
import type { Around } from "./around.ts";
import { clients } from "./clients.ts";
import { config } from "./config.ts";
import { logLevel, plan, reload, schema } from "./control.ts";
import { events } from "./events.ts";
import { healthz, readyz } from "./health.ts";
import { bigKeys, hotKeys } from "./keys.ts";
import { latency } from "./latency.ts";
import { PAGE } from "./page/built.ts";
import { metrics } from "./metrics.ts";
import { panelsOf } from "./panels.ts";
import { pools } from "./pools.ts";
import { route } from "./route.ts";
import { drain, eject, restore } from "./servers.ts";
import { slowLog } from "./slow_log.ts";
import { stats } from "./stats.ts";
import { tap } from "./tap.ts";
import { topology } from "./topology.ts";

export interface Parameter {
  readonly name: string;
  readonly about: string;
  /** Without it the request is refused. */
  readonly required?: boolean;
  /** It has no value. */
  readonly flag?: boolean;
}

export interface Route {
  /** Nothing changes but by POST. HEAD is answered like GET, without the body. */
  readonly method: "GET" | "POST";
  /** A part in capitals stands for any one part: its name in Asked.names. */
  readonly path: string;
  /** Of the query; any other is refused. */
  readonly parameters?: readonly Parameter[];
  /** A sentence without a full stop. */
  readonly about: string;
  /** True: asked for without a token too. Says nothing that a stranger may not know. */
  readonly open?: boolean;
  /** May throw Refused. It runs on a thread that may carry traffic: what takes more than some hundred µs does so in steps (service/turns.ts). */
  readonly answer: (around: Around, asked: Asked) => Answer | Promise<Answer>;
}

const POOL: Parameter = { name: "pool", about: "of this pool only" };
const COUNT: Parameter = { name: "count", about: "at most so many" };

const SERVER_POOL: Parameter = {
  name: "pool",
  about: "the server's; needed where several have one of its name",
};
const FORCE: Parameter = { name: "force", about: "also the last one that is on the ring", flag: true };

export const ROUTES: readonly Route[] = [
  {
    method: "GET",
    path: "/",
    about: "the page: one document, for a browser",
    answer: () => ({ status: 200, type: "text/html; charset=utf-8", body: PAGE }),
  },
  {
    method: "GET",
    path: "/healthz",
    about: "whether the process is alive: 200",
    open: true,
    answer: healthz,
  },
  {
    method: "GET",
    path: "/readyz",
    about:
      "whether to send clients: 200 if it listens, does not stop, and every pool has a live server; else 503",
    open: true,
    answer: readyz,
  },
  {
    method: "GET",
    path: "/metrics",
    about:
      "what Prometheus reads (docs/metrics.md): OpenMetrics or protobuf for whoever prefers it, else the text format 0.0.4",
    answer: metrics,
  },
  { method: "GET", path: "/api", about: "this list", answer: () => json({ routes: listed() }) },
  {
    method: "GET",
    path: "/api/stats",
    about: "what the statistics port says, and the counters that twemproxy does not have",
    answer: stats,
  },
  {
    method: "GET",
    path: "/api/pools",
    parameters: [{
      name: "max_age_ms",
      about: "an answer that is so old will do, if nothing has happened since; absent: a fresh one",
    }],
    about: "every pool with its servers: state, share of the keys, replicas, counters",
    answer: pools,
  },
  {
    method: "GET",
    path: "/api/live",
    parameters: [{
      name: "pool",
      about: "whose last 15 minutes come first; absent: those of the first 8 pools",
    }, {
      name: "panels",
      about:
        "what the page shows besides: `pools` (as /api/pools) each second, and of that pool `commands`, `slow`, `hot`, `big` when they change",
      flag: true,
    }],
    about:
      "a stream of server-sent events: `history`, then each second what every pool does, and what has happened",
    answer: (around, { query }) => (query.panels ? panelsOf(around) : around.live).stream(query.pool!),
  },
  {
    method: "GET",
    path: "/api/latency",
    parameters: [POOL],
    about:
      "how long requests waited here and how long servers took, by class of command: counts, sums, percentiles since the start",
    answer: latency,
  },
  {
    method: "GET",
    path: "/api/slowlog",
    parameters: [POOL, COUNT],
    about: "requests that took slowlog_threshold or longer, newest first, of all workers",
    answer: slowLog,
  },
  {
    method: "GET",
    path: "/api/keys/hot",
    parameters: [POOL, COUNT],
    about: "the keys that are asked for most now, each with how wrong its count may be",
    answer: hotKeys,
  },
  {
    method: "GET",
    path: "/api/keys/big",
    parameters: [POOL, COUNT],
    about: "the keys with the largest values that have passed in the last hour",
    answer: bigKeys,
  },
  {
    method: "GET",
    path: "/api/tap",
    parameters: [
      POOL,
      { name: "key", about: "with a key like this: `*` is any bytes, `?` one" },
      { name: "command", about: "this command only" },
      { name: "client", about: "of clients whose address begins so" },
      { name: "rate", about: "at most so many a second (100)" },
    ],
    about:
      "a stream of server-sent events: some of the requests as they are answered; `lost`: how many could not be told",
    answer: tap,
  },
  {
    method: "GET",
    path: "/api/clients",
    parameters: [POOL, { name: "cursor", about: "of the page before" }, COUNT],
    about: "who is connected, a page at a time",
    answer: clients,
  },
  {
    method: "GET",
    path: "/api/topology",
    about:
      "which configuration is in force since when, and where each server is: primary, term, replicas, slots",
    answer: topology,
  },
  {
    method: "GET",
    path: "/api/route",
    parameters: [
      { name: "pool", about: "needed where there are several" },
      { name: "key", about: "the key", required: true },
      { name: "hex", about: "the key is given in hex", flag: true },
    ],
    about:
      "where a key lives and why, as `ringmaster route --explain` tells it, with who is off the ring now",
    answer: route,
  },
  {
    method: "GET",
    path: "/api/events",
    parameters: [{ name: "after", about: "only those with a higher id" }],
    about: "what has happened to servers and configuration, the last 1,000, oldest first",
    answer: events,
  },
  {
    method: "GET",
    path: "/api/config",
    about: "the configuration in force, by the file's own keys; passwords are masked",
    answer: config,
  },
  {
    method: "GET",
    path: "/api/schema",
    about: "the JSON Schema of the configuration",
    answer: schema,
  },
  {
    method: "POST",
    path: "/api/servers/NAME/eject",
    parameters: [SERVER_POOL, FORCE],
    about:
      "takes a server off the ring until it is restored; its keys go to the others, as with auto_eject_hosts",
    answer: eject,
  },
  {
    method: "POST",
    path: "/api/servers/NAME/drain",
    parameters: [SERVER_POOL, FORCE],
    about:
      "as eject; and its connections close when they have answered what is in flight, so that it can be stopped",
    answer: drain,
  },
  {
    method: "POST",
    path: "/api/servers/NAME/restore",
    parameters: [SERVER_POOL],
    about: "brings a server back to the ring, whoever has taken it off",
    answer: restore,
  },
  {
    method: "POST",
    path: "/api/plan",
    about:
      "what would move if the configuration in the body took the place of the one in force, as `ringmaster plan --json` tells it; nothing changes",
    answer: plan,
  },
  {
    method: "POST",
    path: "/api/reload",
    about: "reads the configuration file again, as SIGHUP does; 409 if it is refused",
    answer: reload,
  },
  {
    method: "POST",
    path: "/api/log-level",
    parameters: [{ name: "level", about: "debug, notice, … or 0 to 11", required: true }],
    about: "how much is logged from now on",
    answer: logLevel,
  },
];

/** The table without its functions. */
function listed() {
  return ROUTES.map(({ method, path, parameters = [], about }) => ({
    method,
    path,
    parameters: parameters.map(({ name, about, required = false }) => ({ name, about, required })),
    about,
  }));
}

/** What a request's method and path lead to. */
export type Found =
  | { readonly route: Route; readonly names: Readonly<Record<string, string>> }
  /** The path is known, with other methods: these. */
  | { readonly allow: readonly string[] }
  | null;

/** @param path as it was sent, without the query */
export function findRoute(method: string, path: string): Found {
  const parts = path.split("/");
  const allow: string[] = [];
  for (const route of ROUTES) {
    const names = namesIn(route.path.split("/"), parts);
    if (names === null) continue;
    if (route.method === method || (route.method === "GET" && method === "HEAD")) return { route, names };
    allow.push(route.method, ...route.method === "GET" ? ["HEAD"] : []);
  }
  return allow.length === 0 ? null : { allow };
}

function namesIn(pattern: readonly string[], parts: readonly string[]): Record<string, string> | null {
  if (pattern.length !== parts.length) return null;
  const names: Record<string, string> = {};
  for (const [i, expected] of pattern.entries()) {
    const part = parts[i]!;
    if (!/^[A-Z]+$/.test(expected)) {
      if (part !== expected) return null;
      continue;
    }
    const name = decoded(part);
    if (name === null || name === "") return null;
    names[expected] = name;
  }
  return names;
}

/** Null if it is no text. */
function decoded(part: string): string | null {
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}

/** A Markdown table for docs/admin.md. */
export function routesMarkdown(): string {
  const rows = ROUTES.map(({ method, path, parameters = [], about }) => {
    const asked = parameters.map(({ name, about, required }) =>
      `\`${name}\`${required ? " (required)" : ""}: ${about}`
    );
    return `| ${method} | \`${path}\` | ${about}${asked.length === 0 ? "" : `; ${asked.join("; ")}`} |`;
  });
  return ["| method | path | what |", "|---|---|---|", ...rows].join("\n") + "\n";
}
