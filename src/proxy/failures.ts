/**
 * Everything that can go wrong between us and a server, by code: what the client is told and what is counted.
 *
 * Texts begin as twemproxy's do, so that programs which look for them go on working; what follows the
 * beginning is ours. Where twemproxy says only "unknown" (the server closed the connection) we name it,
 * since clients take a text with "unknown" in it for a missing command.
 */
import { SERVER_EOF, SERVER_ERR, SERVER_TIMEDOUT } from "../stats/metrics.ts";

export interface Failure {
  readonly code: string;
  /** What the client reads after `-ERR ` or `SERVER_ERROR `. */
  readonly text: string;
  /** Place in SERVER_METRICS that a connection closed for this reason adds to. */
  readonly counter: number;
}

function failure(code: string, text: string, counter = SERVER_ERR): [string, Failure] {
  return [code, { code, text, counter }];
}

export const FAILURES: ReadonlyMap<string, Failure> = new Map([
  failure("ECONNREFUSED", "Connection refused"),
  failure("ETIMEDOUT", "Connection timed out", SERVER_TIMEDOUT),
  failure("ECONNRESET", "Connection reset by peer"),
  failure("EPIPE", "Broken pipe"),
  failure("EOF", "Connection reset by peer: closed by the server", SERVER_EOF),
  failure("EPROTO", "Invalid argument: the server sent something that is not a reply"),
  failure("ESTRAY", "Invalid argument: the server sent a reply that nobody asked for"),
  failure("EHOSTDOWN", "Host is down: its name does not resolve"),
  failure("ENOENT", "No such file or directory"),
  failure("EACCES", "Permission denied"),
  failure("EHOSTUNREACH", "No route to host"),
  failure("ENETUNREACH", "Network is unreachable"),
  failure("EMFILE", "Too many open files"),
  failure("EFULL", "max number of clients reached"),
  failure("EDENIED", "DENIED: the server is in protected mode and serves its own machine only"),
  failure("ELOADING", "LOADING: the server is loading its data"),
  failure("EMASTERDOWN", "MASTERDOWN: the server's master is down"),
  failure("EILL", "The server says that it cannot serve"),
  failure("EAUTH", "NOAUTH: the server refuses the proxy's own login"),
  failure("ESELECT", "The server refused to select the pool's database"),
  failure("EHELLO", "The server refused RESP3 (HELLO 3)"),
  failure("ETRACKING", "The server refused CLIENT TRACKING"),
  failure("EMEMORY", "Cannot allocate memory: the connection held too much for the proxy's max_memory"),
  failure("ENOPRIMARY", "Connection refused: no primary is known"),
  failure("ESWITCHED", "The server was replaced while this was under way: what became of it is unknown"),
  failure("EROLE", "The server's primary is none at the moment: it says that it is a replica"),
  failure("ENOROLE", "It is not known whether the server is a primary or a replica: it does not answer ROLE"),
  failure("ENOCLUSTER", "The server is no node of a cluster: it has cluster support disabled"),
  failure("ENOLINK", "The replica cannot be read from: it has no link to its primary"),
  failure("EREPLICA", "The replica is not to be read from any more"),
  failure("EREADONLY", "The server's primary is none any more: it takes no writes"),
  failure("ESHUTDOWN", "The proxy is stopping"),
]);

/** The row for a code; codes without one count as errors and speak for themselves. */
export function failureOf(code: string, message = code): Failure {
  return FAILURES.get(code) ?? { code, text: message, counter: SERVER_ERR };
}

/** No server of the pool is on the ring: nothing was tried. */
export const NO_LIVE_SERVER_TEXT = "Connection refused: no live server in the pool";
