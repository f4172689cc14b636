/**
 * What Deno and Bun throw or report, as the NetError of the seam: an errno name and one sentence, the same on both.
 *
 * Bun gives errors with `code` and a vague message ("Failed to connect"); Deno gives classes, mostly with `code`,
 * and for a name that does not resolve a plain Error with text only. Seen on Deno 2.9.6 and Bun 1.4.5.
 */
import type { Address, NetError } from "../net/net.ts";

/** errno name → what the C library calls it. */
const ERRNO_TEXT: Record<string, string> = {
  EACCES: "Permission denied",
  EADDRINUSE: "Address already in use",
  EAFNOSUPPORT: "Address family not supported by protocol",
  EADDRNOTAVAIL: "Cannot assign requested address",
  EAGAIN: "Resource temporarily unavailable",
  ECONNABORTED: "Software caused connection abort",
  ECONNREFUSED: "Connection refused",
  ECONNRESET: "Connection reset by peer",
  EHOSTDOWN: "Host name does not resolve",
  EHOSTUNREACH: "No route to host",
  EINVAL: "Invalid argument",
  EIO: "Input/output error",
  EMFILE: "Too many open files",
  ENAMETOOLONG: "File name too long",
  ENETUNREACH: "Network is unreachable",
  ENFILE: "Too many open files in system",
  ENOBUFS: "No buffer space available",
  ENOENT: "No such file or directory",
  ENOMEM: "Cannot allocate memory",
  ENOTSOCK: "Not a socket",
  EPERM: "Operation not permitted",
  EPIPE: "Broken pipe",
  EPROTOTYPE: "Protocol wrong type for socket",
  ETIMEDOUT: "Connection timed out",
};

/** Deno's class names, for errors that come without a code. */
const CLASS_CODE: Record<string, string> = {
  AddrInUse: "EADDRINUSE",
  AddrNotAvailable: "EADDRNOTAVAIL",
  BrokenPipe: "EPIPE",
  ConnectionAborted: "ECONNABORTED",
  ConnectionRefused: "ECONNREFUSED",
  ConnectionReset: "ECONNRESET",
  NotFound: "ENOENT",
  PermissionDenied: "EACCES",
  NotCapable: "EACCES",
  TimedOut: "ETIMEDOUT",
};

export class SocketError extends Error implements NetError {
  override readonly name = "SocketError";
  constructor(readonly code: string, message: string) {
    super(message);
  }
}

/** "127.0.0.1:6379", "[::1]:6379" or the path. */
export function addressText(address: Address): string {
  return "path" in address ? address.path : hostPort(address.host, address.port);
}

export function hostPort(host: string, port: number): string {
  return host.includes(":") && host[0] !== "[" ? `[${host}]:${port}` : `${host}:${port}`;
}

/** A SocketError with the code of `error` (EIO if it has none); its message is "`doing`: text", e.g. "connect 10.0.0.1:6379: Connection refused". */
export function socketError(error: unknown, doing: string): SocketError {
  const code = errnoOf(error);
  return new SocketError(
    code,
    `${doing}: ${ERRNO_TEXT[code] ?? code}${code === "EIO" ? ` (${textOf(error)})` : ""}`,
  );
}

/** The SocketError of a system call that failed; its message as in `socketError`. */
export function systemError(code: string, doing: string): SocketError {
  return new SocketError(code, `${doing}: ${ERRNO_TEXT[code] ?? code}`);
}

/** "::1" of "[::1]". */
export function bare(host: string): string {
  return host.startsWith("[") ? host.slice(1, -1) : host;
}

/** The errno name of what a runtime threw. */
export function errnoOf(error: unknown): string {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown };
  const text = textOf(error);
  if (typeof code === "string") {
    if (/NOTFOUND|NODATA|^EAI_|^DNS_/.test(code)) return "EHOSTDOWN";
    if (/^E[A-Z0-9]+$/.test(code)) return code;
  }
  if (text.includes("failed to lookup address") || text.includes("No address")) return "EHOSTDOWN";
  if (typeof name === "string" && CLASS_CODE[name] !== undefined) return CLASS_CODE[name];
  return text.match(/\bE[A-Z]{3,}\b/)?.[0] ?? "EIO";
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
