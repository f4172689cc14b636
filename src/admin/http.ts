/**
 * HTTP/1.1 as far as the admin side speaks it: heads of requests, read strictly, and heads of answers. Pure.
 *
 *   bytes ──► endOfHead ──► readHead ──► Head: what is asked, how long its body is, whether more may follow │ Refused, and nothing may
 *
 * What two readers could understand differently is refused (RFC 9112): lines that do not end with CR LF, folded ones, a space before a
 * colon, two Content-Lengths, a Transfer-Encoding. So nothing that follows a request can be taken for another one. Bodies have a
 * Content-Length. Held to node:http, which costs up to five times as much, in decision 57.
 */
import { encode, latin1 } from "../bytes/ascii.ts";
import { Refused } from "./answer.ts";

/** Bytes of a request's head, and of its target. */
export const HEAD_MAX = 16 * 1024;
export const TARGET_MAX = 8 * 1024;

export interface Head {
  readonly method: string;
  /** As sent. */
  readonly target: string;
  /** Names and values in turn, as sent, a character a byte; without the white space around values. */
  readonly rawHeaders: readonly string[];
  /** Of the body, bytes. */
  readonly bodySize: number;
  /** Another request may follow in the same connection. */
  readonly stays: boolean;
  /** It sends its body only when it is told to go on. */
  readonly waits: boolean;
}

const LF = 10;
const CR = 13;

/**
 * Where the head ends: just past the empty line, which is one that ends with LF alone too: readHead refuses that. -1 = not here yet.
 * @param from what is before it is known to have no end
 */
export function endOfHead(bytes: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(LF, Math.max(0, from - 3)); at >= 0; at = bytes.indexOf(LF, at + 1)) {
    const next = bytes[at + 1] === CR ? at + 2 : at + 1;
    if (bytes[next] === LF) return next + 1;
  }
  return -1;
}

const REQUEST_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}) ([\x21-\x7e]+) HTTP\/(\d)\.(\d)$/;
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** @param bytes the whole head, its empty line with it @throws Refused: nothing that comes behind it can be understood */
export function readHead(bytes: Uint8Array): Head {
  const lines = latin1(bytes).split("\r\n");
  const [, method, target, major, minor] = REQUEST_LINE.exec(lines[0]!) ?? [];
  if (target === undefined) {
    const bare = /^\S+ \S*[\x80-\xff]\S* HTTP\//.test(lines[0]!);
    throw new Refused(
      400,
      bare
        ? "found bytes beyond ASCII in the path or query, expected each as %XX"
        : "expected a request of HTTP/1.1",
    );
  }
  if (major !== "1") throw new Refused(505, "expected HTTP/1.1");
  if (target.length > TARGET_MAX) throw new Refused(414, `found a target of more than ${TARGET_MAX} bytes`);
  const rawHeaders: string[] = [];
  // Two empty ones are at the end.
  for (const line of lines.slice(1, -2)) {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon));
    const value = trimmed(line, colon + 1);
    if (!NAME.test(name) || !VALUE.test(value)) throw new Refused(400, "a header is none");
    rawHeaders.push(name, value);
  }
  if (lines.length < 3 || lines.at(-1) !== "" || lines.at(-2) !== "") {
    throw new Refused(400, "expected lines that end with CR LF");
  }
  if (valuesOf(rawHeaders, "transfer-encoding").length > 0) {
    throw new Refused(411, "found Transfer-Encoding, expected a body with Content-Length");
  }
  const connection = valuesOf(rawHeaders, "connection").join(",").toLowerCase();
  return {
    method: method!,
    target,
    rawHeaders,
    bodySize: bodySizeOf(rawHeaders),
    stays: minor !== "0" && !connection.split(",").some((word) => word.trim() === "close"),
    waits: minor !== "0" &&
      valuesOf(rawHeaders, "expect").some((word) => word.toLowerCase() === "100-continue"),
  };
}

/** What is left of a line from `start` on without blanks and tabs at both ends; `trim` would take other characters too. */
function trimmed(line: string, start: number): string {
  let end = line.length;
  while (start < end && isBlank(line.charCodeAt(start))) start++;
  while (end > start && isBlank(line.charCodeAt(end - 1))) end--;
  return line.slice(start, end);
}

const isBlank = (code: number): boolean => code === 32 || code === 9;

function bodySizeOf(rawHeaders: readonly string[]): number {
  const sizes = valuesOf(rawHeaders, "content-length");
  if (sizes.length === 0) return 0;
  if (sizes.length > 1 || !/^[0-9]{1,15}$/.test(sizes[0]!)) {
    throw new Refused(400, "Content-Length: expected one number");
  }
  return Number(sizes[0]);
}

/** The values of a header, in their order. @param name in lower case */
export function valuesOf(rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const each = rawHeaders[i]!;
    if (each.length === name.length && each.toLowerCase() === name) values.push(rawHeaders[i + 1]!);
  }
  return values;
}

// ---- answers

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  411: "Length Required",
  413: "Content Too Large",
  414: "URI Too Long",
  422: "Unprocessable Content",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  503: "Service Unavailable",
  505: "HTTP Version Not Supported",
};

/** No page may be framed, guessed at, kept, or given more than what comes from here. */
const ALWAYS = [
  "Cache-Control: no-store",
  "X-Content-Type-Options: nosniff",
  "X-Frame-Options: DENY",
  "Referrer-Policy: no-referrer",
  "Cross-Origin-Resource-Policy: same-origin",
  "Content-Security-Policy: default-src 'self' 'unsafe-inline' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  "",
].join("\r\n");

/** The head of an answer. @param size of its body; null: it goes on until the connection closes @param stays see Head */
export function headOf(
  status: number,
  type: string,
  size: number | null,
  stays: boolean,
  date: string,
): Uint8Array {
  let text = `HTTP/1.1 ${status} ${
    REASONS[status] ?? ""
  }\r\nDate: ${date}\r\n${ALWAYS}Content-Type: ${type}\r\n`;
  if (size !== null) text += `Content-Length: ${size}\r\n`;
  if (!stays || size === null) text += "Connection: close\r\n";
  if (status === 401) text += 'WWW-Authenticate: Basic realm="ringmaster", charset="UTF-8"\r\n';
  if (status === 503) text += "Retry-After: 1\r\n";
  return encode(text + "\r\n");
}

/** Whoever has asked for it may send the body. */
export const GO_ON: Uint8Array = encode("HTTP/1.1 100 Continue\r\n\r\n");
