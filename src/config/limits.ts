/**
 * The limits, as a table for people: the key that sets each, its default, what happens beyond it, and the counter that tells.
 * Names are checked against schema.ts and metrics.ts when the table is made.
 */
import { POOL_METRICS } from "../stats/metrics.ts";
import { KEYS } from "./schema.ts";

interface Limit {
  /** A key of schema.ts, or null for a limit that cannot be set. */
  readonly key: string | null;
  /** What is limited, if there is no key. */
  readonly what?: string;
  readonly beyond: string;
  /** A row of POOL_METRICS; null if nothing is counted, since nobody is refused. */
  readonly counter: string | null;
}

const LIMITS: readonly Limit[] = [
  {
    key: "client_connections",
    beyond: "`-ERR max number of clients reached`, then closed",
    counter: "limit_connections",
  },
  {
    key: "per_address",
    beyond:
      "max_requests_per_s, max_bytes_per_s: `-TRYAGAIN …` (`SERVER_ERROR …`); max_connections: `-ERR max number of clients reached`, then closed",
    counter: "limit_requests_per_s",
  },
  {
    key: "per_user",
    beyond:
      "as of per_address; a login beyond max_connections reads `-ERR max number of clients reached: …`, and is none",
    counter: "limit_requests_per_s",
  },
  { key: "allow", beyond: "closed, with a line in the log", counter: "clients_denied" },
  { key: "deny", beyond: "closed, with a line in the log", counter: "clients_denied" },
  {
    key: null,
    what: "a PROXY header: 16 KiB, 10 s (with `tls`: `handshake_timeout`), from `proxy_from` only",
    beyond: "closed, with a line in the log",
    counter: "proxy_header_errors",
  },
  {
    key: "idle_timeout",
    beyond: "closed; subscribers and clients that are owed something are not",
    counter: "limit_idle",
  },
  {
    key: "max_request_size",
    beyond: "`-ERR Protocol error: request too large …`, then closed",
    counter: "limit_request",
  },
  {
    key: "max_arguments",
    beyond: "`-ERR Protocol error: too many arguments …`, then closed",
    counter: "limit_request",
  },
  {
    key: "max_in_flight",
    beyond: "not read from until half of its replies have come",
    counter: "limit_in_flight",
  },
  { key: "client_output_limit", beyond: "closed, with a line in the log", counter: "limit_output" },
  {
    key: "max_memory",
    beyond:
      "the clients that hold most are closed, with a line in the log; new requests and clients get an error",
    counter: "limit_memory",
  },
  { key: "timeout", beyond: "`-ERR Connection timed out`; the late reply reaches nobody", counter: null },
  { key: "connect_timeout", beyond: "`-ERR Connection timed out`", counter: null },
  { key: "shutdown_timeout", beyond: "clients that are still owed something are cut off", counter: null },
  {
    key: null,
    what: "before AUTH: 10 arguments, 16 KiB a request, 30 s of silence",
    beyond: "`-ERR Protocol error: unauthenticated …`, then closed",
    counter: "limit_request",
  },
  {
    key: null,
    what: "16 MiB of replies expected by one client, by the size of its last ones",
    beyond: "not read from meanwhile",
    counter: null,
  },
  {
    key: null,
    what: "1 MiB of replies that one client has not read",
    beyond:
      "not read from until they have left; one that takes none of them is read on, up to `client_output_limit`",
    counter: null,
  },
];

/** Markdown. Throws if a key or counter does not exist. */
export function limitsMarkdown(): string {
  const rows = LIMITS.map(({ key, what, beyond, counter }) => {
    const row = key === null ? null : KEYS.find((each) => each.name === key);
    if (row === undefined) throw new Error(`limits: no key ${key} in the schema`);
    if (counter !== null && !POOL_METRICS.some((metric) => metric.name === counter)) {
      throw new Error(`limits: no metric ${counter}`);
    }
    const standard = row === null
      ? "fixed"
      : row.default === null
      ? row.absent ?? ""
      : `\`${row.default}\` ${row.unit}`;
    return `| ${key === null ? what : `\`${key}\``} | ${standard.trim()} | ${beyond} | ${
      counter === null ? "" : `\`${counter}\``
    } |`;
  });
  return ["| limit | default | beyond it | counted in |", "|---|---|---|---|", ...rows].join("\n") + "\n";
}
