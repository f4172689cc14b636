/**
 * The header with which a load balancer begins a connection, to say whose it is: PROXY protocol, versions 1 and 2.
 *
 *   1   PROXY TCP4 192.0.2.7 192.0.2.1 51000 6379\r\n      TCP6 likewise; UNKNOWN and anything up to the line's end
 *   2   signature(12) version and command(1) family(1) length(2, big endian) addresses TLVs
 *
 * UNKNOWN, and LOCAL of version 2, say nothing of a client: the connection is the load balancer's own (a health check), or
 * that of somebody who has no address of IP. It goes on like any other.
 * What is not exactly a header is none. HAProxy takes ports out of range, and with leading zeros, in version 1: these are refused here.
 */
import { type Ip, ipText, readIp, unmapped } from "../net/ip_range.ts";

/** Nothing longer is a header; a line of version 1 has at most LINE_MAX bytes with its end. */
export const HEADER_MAX = 16 * 1024;
const LINE_MAX = 107;

/** What there is may be the beginning of a header. */
export const NEED_MORE = null;

export interface ProxyHeader {
  /** Bytes of the header: what follows is the client's. */
  readonly size: number;
  /** The client; null: not said. */
  readonly ip: Ip | null;
  /** "ip:port" of the client, "" if it is not said. */
  readonly client: string;
}

/** Why it is no header, for the log: completes "…: ". What was sent is not told, it may be a password. */
export type ProxyHeaderFault = string;

const SIGNATURE: readonly number[] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const WORD: readonly number[] = Array.from("PROXY ", (letter) => letter.charCodeAt(0));
const CR = 0x0d;
const LF = 0x0a;

const V2_HEAD = 16;
const LOCAL = 0x20;
const PROXY = 0x21;
/** Bytes of an address by the family and transport that may be: TCP over IPv4 and over IPv6. */
const FAMILIES: Readonly<Record<number, number>> = { 0x11: 4, 0x21: 16 };

/** Reads the header at the beginning of `bytes`, which are borrowed. */
export function readProxyHeader(bytes: Uint8Array): ProxyHeader | ProxyHeaderFault | typeof NEED_MORE {
  if (bytes.length === 0) return NEED_MORE;
  return bytes[0] === SIGNATURE[0] ? readV2(bytes) : readV1(bytes);
}

/** Are the first bytes these, as far as there are any? */
function begins(bytes: Uint8Array, wanted: readonly number[]): boolean {
  for (let i = 0; i < wanted.length && i < bytes.length; i++) if (bytes[i] !== wanted[i]) return false;
  return true;
}

const NONE = "it does not begin with a PROXY header";

function readV1(bytes: Uint8Array): ProxyHeader | string | null {
  if (!begins(bytes, WORD)) return NONE;
  const last = Math.min(bytes.length, LINE_MAX);
  let end = WORD.length;
  while (end < last && bytes[end] !== CR && bytes[end] !== LF) end++;
  if (bytes[end] === LF && end < last) return "the header's line ends without a carriage return";
  // Both bytes of the line's end have to be among the first LINE_MAX.
  if (end >= LINE_MAX - 1) return `the header's line is longer than ${LINE_MAX} bytes`;
  if (end + 1 >= bytes.length) return NEED_MORE;
  if (bytes[end + 1] !== LF) return "a carriage return within the header's line";
  const size = end + 2;
  const line = String.fromCharCode(...bytes.subarray(WORD.length, end));
  if (line === "UNKNOWN" || line.startsWith("UNKNOWN ")) return { size, ip: null, client: "" };
  const [family, source, destination, sourcePort, destinationPort, ...more] = line.split(" ");
  if (family !== "TCP4" && family !== "TCP6") return "a family that is none of TCP4, TCP6 and UNKNOWN";
  if (destinationPort === undefined || more.length > 0) {
    return "the header has not two addresses and two ports, one space between each";
  }
  if (!isPort(sourcePort!) || !isPort(destinationPort)) {
    return "a port that is not 1 to 65535, without leading zeros";
  }
  const [ip, to] = [source!, destination!].map((text) =>
    (family === "TCP6") === text.includes(":") ? readIp(text) : null
  );
  if (!ip || !to) return `an address that is none of ${family === "TCP4" ? "IPv4" : "IPv6"}`;
  return { size, ip, client: clientText(ip, Number(sourcePort)) };
}

function isPort(text: string): boolean {
  return /^[1-9][0-9]{0,4}$/.test(text) && Number(text) <= 65535;
}

function readV2(bytes: Uint8Array): ProxyHeader | string | null {
  if (!begins(bytes, SIGNATURE)) return NONE;
  const [command, family] = [bytes[12], bytes[13]];
  if (command === undefined) return NEED_MORE;
  if (command !== LOCAL && command !== PROXY) {
    return command >> 4 === 2 ? "a command that is none of LOCAL and PROXY" : "a version that is not 2";
  }
  if (family === undefined) return NEED_MORE;
  const addressSize = command === LOCAL ? 0 : FAMILIES[family];
  if (addressSize === undefined) return "a family that is none of TCP over IPv4 and over IPv6";
  if (bytes.length < V2_HEAD) return NEED_MORE;
  const length = bytes[14]! * 256 + bytes[15]!;
  const size = V2_HEAD + length;
  if (size > HEADER_MAX) return `a header of ${size} bytes: at most ${HEADER_MAX} are taken`;
  // Addresses, two of them and two ports.
  const block = command === LOCAL ? 0 : 2 * addressSize + 4;
  if (length < block) return "a header too short for its addresses";
  if (bytes.length < size) return NEED_MORE;
  // What LOCAL is followed by is nobody's business.
  if (command === LOCAL) return { size, ip: null, client: "" };
  for (let at = V2_HEAD + block; at < size;) {
    const next = at + 3 + (at + 3 > size ? 0 : bytes[at + 1]! * 256 + bytes[at + 2]!);
    if (next > size) return "a TLV longer than the header";
    at = next;
  }
  const ip = unmapped([...bytes.subarray(V2_HEAD, V2_HEAD + addressSize)]);
  const port = V2_HEAD + 2 * addressSize;
  return { size, ip, client: clientText(ip, bytes[port]! * 256 + bytes[port + 1]!) };
}

/** As sockets tell their peer's. */
function clientText(ip: Ip, port: number): string {
  return ip.length === 4 ? `${ipText(ip)}:${port}` : `[${ipText(ip)}]:${port}`;
}
