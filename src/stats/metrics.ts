/**
 * What is counted: one table per scope, in the order in which twemproxy prints them. The statistics document,
 * `-D`, Prometheus names and docs/statistics.md are derived from these rows; the counters themselves are Float64Arrays
 * indexed by a row's place.
 */

export interface Metric {
  readonly name: string;
  readonly kind: "counter" | "gauge" | "timestamp";
  readonly description: string;
  /** False for what twemproxy does not know: shown only where its readers cannot stumble over it. */
  readonly classic: boolean;
}

function metric(kind: Metric["kind"], name: string, description: string, classic = true): Metric {
  return { name, kind, description, classic };
}

/** Order matters: the constants below are places in this table. */
export const POOL_METRICS: readonly Metric[] = [
  metric("counter", "client_eof", "# eof on client connections"),
  metric("counter", "client_err", "# errors on client connections"),
  metric("gauge", "client_connections", "# active client connections"),
  metric("counter", "server_ejects", "# times backend server was ejected"),
  metric("counter", "forward_error", "# times we encountered a forwarding error"),
  metric("counter", "fragments", "# fragments created from a multi-vector request"),
  metric("counter", "requests_total", "# requests of clients, those answered here included", false),
  metric("counter", "limit_connections", "# clients refused by client_connections", false),
  metric("counter", "limit_idle", "# clients closed by idle_timeout", false),
  metric("counter", "limit_output", "# clients closed by client_output_limit", false),
  metric("counter", "limit_request", "# requests refused by max_request_size or max_arguments", false),
  metric("counter", "limit_in_flight", "# times a client was paused by max_in_flight", false),
  metric("counter", "limit_memory", "# clients refused or closed by max_memory", false),
  metric("counter", "protocol_error", "# malformed requests", false),
  metric("counter", "replica_reads", "# reads answered by replicas", false),
  metric(
    "counter",
    "reads_elsewhere",
    "# reads asked again elsewhere, since who was asked first could not answer",
    false,
  ),
  metric("gauge", "memory_bytes", "bytes held for requests and replies, when last looked at", false),
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

export const SERVER_METRICS: readonly Metric[] = [
  metric("counter", "server_eof", "# eof on server connections"),
  metric("counter", "server_err", "# errors on server connections"),
  metric("counter", "server_timedout", "# timeouts on server connections"),
  metric("gauge", "server_connections", "# active server connections"),
  metric("timestamp", "server_ejected_at", "timestamp when server was ejected in usec since epoch"),
  metric("counter", "requests", "# requests"),
  metric("counter", "request_bytes", "total request bytes"),
  metric("counter", "responses", "# responses"),
  metric("counter", "response_bytes", "total response bytes"),
  metric("gauge", "in_queue", "# requests in incoming queue"),
  metric("gauge", "in_queue_bytes", "current request bytes in incoming queue"),
  metric("gauge", "out_queue", "# requests in outgoing queue"),
  metric("gauge", "out_queue_bytes", "current request bytes in outgoing queue"),
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
