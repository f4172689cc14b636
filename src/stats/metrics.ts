/**
 * What is counted: one table per scope, in the order in which twemproxy prints them. The statistics document,
 * `-D`, Prometheus names and docs/statistics.md are derived from these rows; the counters themselves are Float64Arrays
 * indexed by a row's place.
 */

export interface Metric {
  readonly name: string;
  readonly kind: "counter" | "gauge" | "timestamp";
  readonly description: string;
  /** How Prometheus knows it (see families.ts): without "ringmaster_" and "_total"; ends with its unit if it has one. */
  readonly family: string;
  /** What tells rows of one family apart: the value of its label `limit`; "" = the family is this row. */
  readonly limit: string;
  /** False for what twemproxy does not know: shown only where its readers cannot stumble over it. */
  readonly classic: boolean;
}

function metric(kind: Metric["kind"], name: string, description: string, family: string): Metric {
  return { name, kind, description, family, limit: "", classic: true };
}

/** What twemproxy does not know. */
function own(kind: Metric["kind"], name: string, description: string, family: string, limit = ""): Metric {
  return { name, kind, description, family, limit, classic: false };
}

/** How often a limit of the configuration, of this name, has been met. */
const limitHit = (key: string, name: string, description: string): Metric =>
  own("counter", name, description, "limit_hits", key);

/** Order matters: the constants below are places in this table. */
export const POOL_METRICS: readonly Metric[] = [
  metric("counter", "client_eof", "# eof on client connections", "client_eofs"),
  metric("counter", "client_err", "# errors on client connections", "client_errors"),
  metric("gauge", "client_connections", "# active client connections", "client_connections"),
  metric("counter", "server_ejects", "# times backend server was ejected", "ejections"),
  metric("counter", "forward_error", "# times we encountered a forwarding error", "forward_errors"),
  metric("counter", "fragments", "# fragments created from a multi-vector request", "fragments"),
  own("counter", "requests_total", "# requests of clients, those answered here included", "requests"),
  limitHit("client_connections", "limit_connections", "# clients refused by client_connections"),
  limitHit("idle_timeout", "limit_idle", "# clients closed by idle_timeout"),
  limitHit("client_output_limit", "limit_output", "# clients closed by client_output_limit"),
  limitHit("max_request_size", "limit_request", "# requests refused by max_request_size or max_arguments"),
  limitHit("max_in_flight", "limit_in_flight", "# times a client was paused by max_in_flight"),
  limitHit("max_memory", "limit_memory", "# clients refused or closed by max_memory"),
  own("counter", "protocol_error", "# malformed requests", "protocol_errors"),
  own("counter", "replica_reads", "# reads answered by replicas", "replica_reads"),
  own(
    "counter",
    "reads_elsewhere",
    "# reads asked again elsewhere, since who was asked first could not answer",
    "reads_elsewhere",
  ),
  own("gauge", "memory_bytes", "bytes held for requests and replies, when last looked at", "memory_bytes"),
  own("counter", "tls_handshakes", "# TLS handshakes of clients that were let in", "tls_handshakes"),
  own("counter", "tls_failures", "# TLS handshakes of clients that failed", "tls_failures"),
  own("counter", "clients_denied", "# connections refused by allow and deny", "denied_clients"),
  own(
    "counter",
    "proxy_header_errors",
    "# connections refused by proxy_protocol: not in proxy_from, or without a good header",
    "proxy_header_errors",
  ),
  limitHit("max_requests_per_s", "limit_requests_per_s", "# requests refused by max_requests_per_s"),
  limitHit("max_bytes_per_s", "limit_bytes_per_s", "# requests refused by max_bytes_per_s"),
  limitHit("max_connections", "limit_max_connections", "# clients refused by max_connections"),
  own("counter", "auth_failures", "# failed logins of a pool with users", "auth_failures"),
  own(
    "counter",
    "requests_forbidden",
    "# requests that the rules of their user forbid",
    "forbidden_requests",
  ),
];

export const CLIENT_EOF = 0;
export const CLIENT_ERR = 1;
export const CLIENT_CONNECTIONS = 2;
export const SERVER_EJECTS = 3;
export const FORWARD_ERROR = 4;
export const FRAGMENTS = 5;
export const REQUESTS_TOTAL = 6;
export const LIMIT_CONNECTIONS = 7;
export const LIMIT_IDLE = 8;
export const LIMIT_OUTPUT = 9;
export const LIMIT_REQUEST = 10;
export const LIMIT_IN_FLIGHT = 11;
export const LIMIT_MEMORY = 12;
export const PROTOCOL_ERROR = 13;
export const REPLICA_READS = 14;
export const READS_ELSEWHERE = 15;
export const MEMORY_BYTES = 16;
export const TLS_HANDSHAKES = 17;
export const TLS_FAILURES = 18;
export const CLIENTS_DENIED = 19;
export const PROXY_HEADER_ERRORS = 20;
export const LIMIT_REQUESTS_PER_S = 21;
export const LIMIT_BYTES_PER_S = 22;
export const LIMIT_MAX_CONNECTIONS = 23;
export const AUTH_FAILURES = 24;
export const REQUESTS_FORBIDDEN = 25;

export const SERVER_METRICS: readonly Metric[] = [
  metric("counter", "server_eof", "# eof on server connections", "server_eofs"),
  metric("counter", "server_err", "# errors on server connections", "server_errors"),
  metric("counter", "server_timedout", "# timeouts on server connections", "server_timeouts"),
  metric("gauge", "server_connections", "# active server connections", "server_connections"),
  metric(
    "timestamp",
    "server_ejected_at",
    "timestamp when server was ejected in usec since epoch",
    "server_ejected_timestamp_seconds",
  ),
  metric("counter", "requests", "# requests", "server_requests"),
  metric("counter", "request_bytes", "total request bytes", "server_request_bytes"),
  metric("counter", "responses", "# responses", "server_responses"),
  metric("counter", "response_bytes", "total response bytes", "server_response_bytes"),
  metric("gauge", "in_queue", "# requests in incoming queue", "server_unsent_requests"),
  metric("gauge", "in_queue_bytes", "current request bytes in incoming queue", "server_unsent_bytes"),
  metric("gauge", "out_queue", "# requests in outgoing queue", "server_in_flight_requests"),
  metric("gauge", "out_queue_bytes", "current request bytes in outgoing queue", "server_in_flight_bytes"),
];

export const SERVER_EOF = 0;
export const SERVER_ERR = 1;
export const SERVER_TIMEDOUT = 2;
export const SERVER_CONNECTIONS = 3;
export const SERVER_EJECTED_AT = 4;
export const REQUESTS = 5;
export const REQUEST_BYTES = 6;
export const RESPONSES = 7;
export const RESPONSE_BYTES = 8;
export const IN_QUEUE = 9;
export const IN_QUEUE_BYTES = 10;
export const OUT_QUEUE = 11;
export const OUT_QUEUE_BYTES = 12;
