/**
 * Values of keys from their text. Nothing here knows of YAML: a value is the text that stands in the file,
 * as in twemproxy, which compares text and nothing else (`redis: "true"` is true, `redis: yes` is an error).
 *
 * The grammars of addresses and servers are twemproxy 0.5.0's, parsed from the right:
 *
 *   HOST:PORT:WEIGHT[ NAME]     /PATH:WEIGHT[ NAME]      servers
 *   HOST:PORT                   /PATH[ PERMISSIONS]      listen
 *
 * Checked against nutcracker itself by tests/vectors/config/nutcracker.json.
 */
import type { Address } from "../net/net.ts";
import { encode } from "../bytes/ascii.ts";
import type { LagMax, ServerConfig } from "./config.ts";
import { expectation, GIB, INTEGER_MAX, type Key, KIB, LOG_LEVELS, MIB, type ValueTypes } from "./schema.ts";

/** A value, or what should have stood there in its place. */
export type Read<T> = { readonly value: T } | { readonly expected: string };

/** Longest path of a unix socket, in bytes: sun_path has 108 with its closing zero. */
export const UNIX_PATH_MAX = 107;

/** An address and how it was written; `text` is what people and statistics see. */
export interface WrittenAddress {
  readonly address: Address;
  readonly text: string;
}

/** The value of a key that is a scalar, as its field wants it (see `normalise`); every KeyType but the lists, servers_from and log. */
export function readValue(key: Key, text: string): Read<unknown> {
  const expected = expectation(key);
  switch (key.type) {
    case "integer":
    case "ms": {
      const number = readInteger(text);
      if (number < key.min || number > key.max) return { expected };
      return { value: key.normalise === null ? number : key.normalise(number) };
    }
    case "size": {
      const size = readSize(text);
      return size < key.min || size > key.max ? { expected } : { value: size };
    }
    case "bool":
      return text === "true" || text === "false" ? { value: text === "true" } : { expected };
    case "enum":
      if (!key.values.includes(text)) return { expected };
      return { value: key.normalise === null ? text : key.normalise(text) };
    case "path":
      return text === "" || text.includes("\0") ? { expected } : { value: text };
    case "text":
      if (text === "") return { expected };
      return { value: key.normalise === null ? text : key.normalise(text) };
    case "hash_tag": {
      const tag = encode(text);
      return tag.length === 2 ? { value: tag } : { expected };
    }
    case "listen":
      return readListen(text);
    case "address":
      return readAddress(text, expected);
    case "workers": {
      if (text === "auto") return { value: 0 };
      const number = readInteger(text);
      return number < key.min || number > key.max ? { expected } : { value: number };
    }
    case "log_level": {
      const number = LOG_LEVELS.includes(text) ? LOG_LEVELS.indexOf(text) : readInteger(text);
      return number < key.min || number > key.max ? { expected } : { value: number };
    }
    case "percent": {
      const match = /^([0-9]+(?:\.[0-9]+)?) ?%$/.exec(text);
      const share = match === null ? NaN : Number(match[1]) / 100;
      return share >= 0 && share <= 1 ? { value: share } : { expected };
    }
    case "admin":
      return readAdmin(text, expected);
    case "url":
      return readUrl(text, expected);
    case "headers":
      return readHeaders(text, expected);
    case "server_name":
      return isServerName(text) ? { value: text } : { expected };
    case "dns_name":
      return readDnsName(text, expected);
    case "nameserver": {
      const read = readAddress(text, expected);
      if (!("value" in read) || "path" in read.value.address) return { expected };
      const { host, port } = read.value.address;
      if (host.includes(":")) return { value: `[${host}]:${port}` };
      return /^[0-9]+(\.[0-9]+){3}$/.test(host) ? { value: `${host}:${port}` } : { expected };
    }
    case "credentials": {
      const colon = text.indexOf(":");
      const password = text.slice(colon + 1);
      if (password === "") return { expected };
      return { value: { user: colon > 0 ? text.slice(0, colon) : null, password } };
    }
    case "lag":
      return readLag(text, expected);
    case "servers":
    case "sentinels":
    case "announced":
    case "ranges":
    case "zones":
    case "replicas":
    case "servers_from":
    case "tls":
    case "server_tls":
    case "sni":
    case "limits":
    case "users":
    case "rules":
    case "server_auth":
    case "admin_tls":
    case "log":
      return { expected };
  }
}

/**
 * Decimal digits, leading zeros allowed, at most 2147483647.
 * @returns -1 for anything else. (twemproxy lets larger numbers wrap around, so that 4294967297 is 1.)
 */
export function readInteger(text: string): number {
  if (!/^[0-9]+$/.test(text)) return -1;
  const number = Number(text);
  return number <= INTEGER_MAX ? number : -1;
}

const UNITS: Readonly<Record<string, number>> = { "": 1, b: 1, kb: KIB, mb: MIB, gb: GIB, tb: 1024 * GIB };

/** Bytes: digits, then b, kb, mb, gb or tb (of 1024) in either case. @returns -1 for anything else */
export function readSize(text: string): number {
  const match = /^([0-9]+)(b|kb|mb|gb|tb)?$/i.exec(text);
  if (match === null) return -1;
  const size = Number(match[1]) * UNITS[(match[2] ?? "").toLowerCase()]!;
  return Number.isSafeInteger(size) ? size : -1;
}

/** Digits with a unit: ms or s is a time, any unit of `readSize` is bytes. */
function readLag(text: string, expected: string): Read<LagMax> {
  const time = /^([0-9]+)(ms|s)$/i.exec(text);
  if (time !== null) {
    const ms = Number(time[1]) * (time[2]!.toLowerCase() === "s" ? 1000 : 1);
    return ms > 0 && ms <= INTEGER_MAX ? { value: { ms } } : { expected };
  }
  const bytes = /^[0-9]+$/.test(text) ? -1 : readSize(text);
  return bytes > 0 ? { value: { bytes } } : { expected };
}

/** A URL to which a path can be added. A password would be shown wherever the URL is. */
function readUrl(text: string, expected: string): Read<string> {
  const url = /^https?:\/\/[^\s/]/i.test(text) && URL.canParse(text) ? new URL(text) : null;
  if (url === null || url.username !== "" || url.password !== "" || /[?#@]/.test(text)) return { expected };
  return { value: url.href.replace(/\/+$/, "") };
}

/** What a sender of its own accord puts into every request. */
const OWN_HEADERS: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "content-type",
  "expect",
  "host",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** As the variable OTEL_EXPORTER_OTLP_HEADERS has them: values percent-encoded, spaces around names and values are nothing. */
function readHeaders(text: string, expected: string): Read<ValueTypes["headers"]> {
  const headers = new Map<string, string>();
  for (const part of text.split(",")) {
    const [, name, encoded] = /^\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(.*?)\s*$/.exec(part) ?? [];
    const value = encoded === undefined ? null : percentDecoded(encoded);
    if (name === undefined || value === null || !/^[\x20-\x7e]+$/.test(value)) return { expected };
    const key = name.toLowerCase();
    if (OWN_HEADERS.has(key) || headers.has(key)) return { expected };
    headers.set(key, value);
  }
  return { value: [...headers] };
}

function percentDecoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** HOST:PORT split at the last colon, host `0` being 0.0.0.0 and brackets around IPv6 welcome; or /PATH. */
export function readAddress(text: string, expected: string): Read<WrittenAddress> {
  if (text.startsWith("/")) {
    return isUnixPath(text) ? { value: { address: { path: text }, text } } : { expected: UNIX_PATH_EXPECTED };
  }
  const colon = text.lastIndexOf(":");
  const host = hostOf(text.slice(0, Math.max(colon, 0)));
  const port = readInteger(text.slice(colon + 1));
  if (colon === -1 || host === null || port < 1 || port > 65535) return { expected };
  return { value: { address: { host: host === "0" ? "0.0.0.0" : host, port }, text } };
}

/** Where the HTTP side listens: "off" is nowhere, `address: null`. */
export function readAdmin(text: string, expected: string): Read<ValueTypes["admin"]> {
  if (text === "off") return { value: { address: null, text } };
  const read = readAddress(text, expected);
  return "value" in read && "host" in read.value.address ? read : { expected };
}

/** Can only this machine connect to it? Of a name only localhost is known. */
export function isLoopback(address: Address): boolean {
  if ("path" in address) return true;
  const host = address.host.toLowerCase();
  return host === "localhost" || host === "::1" || /^127(\.[0-9]{1,3}){3}$/.test(host);
}

/** Does it stand for every address of the machine, where one listens, so that nobody can connect to it from elsewhere? */
export function isAnyHost(address: Address): boolean {
  return "host" in address && (address.host === "0.0.0.0" || address.host === "::");
}

const SRV_NAME = /^_[^.\s:]+\._[^.\s:]+\.[^\s:]+$/;

/** What `dns` names; the port is null for SRV records, which have their own. */
function readDnsName(text: string, expected: string): Read<{ name: string; port: number | null }> {
  const plain = (name: string) => name.toLowerCase().replace(/\.$/, "");
  if (SRV_NAME.test(text)) return { value: { name: plain(text), port: null } };
  const read = text.startsWith("_") ? { expected } : readAddress(text, expected);
  if (!("value" in read) || "path" in read.value.address) return { expected };
  return { value: { name: plain(read.value.address.host), port: read.value.address.port } };
}

const LISTEN_EXPECTED = "HOST:PORT with a port of 1 to 65535, or /PATH and perhaps its octal permissions";
const UNIX_PATH_EXPECTED = `a path of 2 to ${UNIX_PATH_MAX} bytes, what a unix socket can have`;

/**
 * A pool's `listen`. The permissions of a unix socket are read as C's strtol reads them, since twemproxy does:
 * what is no octal number counts as 0, and 0 is "leave them alone" (no `mode` in the address).
 */
export function readListen(text: string): Read<WrittenAddress> {
  if (!text.startsWith("/")) return readAddress(text, LISTEN_EXPECTED);
  const space = text.lastIndexOf(" ");
  const path = space === -1 ? text : text.slice(0, space);
  if (!isUnixPath(path)) return { expected: UNIX_PATH_EXPECTED };
  const octal = space === -1 ? null : /^([+-]?)([0-7]+)/.exec(text.slice(space + 1));
  const mode = octal === null ? 0 : parseInt(octal[2]!, 8);
  if (mode > 0o777 || (octal !== null && octal[1] === "-" && mode !== 0)) {
    return { expected: "octal permissions of at most 0777" };
  }
  return { value: { address: mode === 0 ? { path } : { path, mode }, text } };
}

const SERVER_EXPECTED = "HOST:PORT:WEIGHT [NAME] or /PATH:WEIGHT [NAME]";

/** A server in twemproxy's form. */
export function readServer(text: string): Read<ServerConfig> {
  const space = text.lastIndexOf(" ");
  const name = space === -1 ? null : text.slice(space + 1);
  const place = space === -1 ? text : text.slice(0, space);
  const colon = place.lastIndexOf(":");
  if (colon === -1) return { expected: SERVER_EXPECTED };
  // twemproxy takes an empty name, and hashes it; nobody can have meant that.
  if (name === "") return { expected: "a name after the space, or no space" };
  const address = place.slice(0, colon);
  if (!address.startsWith("/") && !address.includes(":")) return { expected: SERVER_EXPECTED };
  if (address.startsWith("[") && !/\]:[^\]]*$/.test(address)) {
    return { expected: `[HOST]:PORT:WEIGHT of an IPv6 address (${SERVER_EXPECTED})` };
  }
  const weight = readInteger(place.slice(colon + 1));
  if (weight < 1 && /:[0-9]+\s/.test(place)) {
    return { expected: `one space after the weight, and a name without blanks (${SERVER_EXPECTED})` };
  }
  if (weight < 1) {
    return { expected: `a weight of 1 to ${INTEGER_MAX} after the last colon (${SERVER_EXPECTED})` };
  }
  return makeServer(address, name, weight);
}

const SEED_EXPECTED = "HOST:PORT of a node of the cluster, without weight or name";

/** A node of a cluster to ask: an address; a weight of 1, as twemproxy's form has it, does no harm. */
export function readSeed(text: string): Read<ServerConfig> {
  const written = readServer(text);
  const given = "value" in written;
  if (given && (written.value.weight !== 1 || /\s/.test(text))) return { expected: SEED_EXPECTED };
  const read = given ? written : makeServer(text, null, 1);
  if (!("value" in read)) return { expected: SEED_EXPECTED };
  return seedOf(read.value);
}

/**
 * The server that a seed is until the cluster says who owns what: named as the cluster's nodes are, by its address. Nodes name each other
 * by host and port, so a node on a path would be none of those that are found.
 */
export function seedOf(server: ServerConfig): Read<ServerConfig> {
  if (server.address === null || !("host" in server.address)) {
    return { expected: `${SEED_EXPECTED}: nodes name each other by host and port, and none by a path` };
  }
  return { value: { ...server, name: server.addressText, slots: "" } };
}

/** A server of its parts. @param name null: the name is made of the address */
export function makeServer(addressText: string, name: string | null, weight: number): Read<ServerConfig> {
  if (addressText.startsWith("/")) {
    if (addressText.includes(":")) return { expected: "a path without colons" };
    if (!isUnixPath(addressText)) return { expected: UNIX_PATH_EXPECTED };
    return {
      value: {
        name: name ?? addressText + ":",
        address: { path: addressText },
        addressText,
        weight,
        ...ALONE,
      },
    };
  }
  const colon = addressText.lastIndexOf(":");
  const hostText = addressText.slice(0, colon);
  const host = hostOf(hostText);
  if (host === null) return { expected: "a host before the port" };
  const port = readInteger(addressText.slice(colon + 1));
  if (port < 1 || port > 65535) return { expected: "a port of 1 to 65535 after the host" };
  // libmemcached leaves its usual port out of what it hashes; twemproxy follows, in Redis pools too. The rest
  // is hashed as it was written, leading zeros of the port included.
  return {
    value: {
      name: name ?? (port === 11211 ? hostText : addressText),
      address: { host, port },
      addressText,
      weight,
      ...ALONE,
    },
  };
}

/** What a server has that is no more than an address. */
const ALONE = { master: null, replicas: [], zone: null, slots: null };

/** A server that sentinels know by this name. @param name null: the same */
export function makeMaster(master: string, name: string | null, weight: number): ServerConfig {
  const addressText = `master ${master}`;
  return { ...ALONE, name: name ?? master, address: null, addressText, weight, master };
}

/** True if the text can be a server's name in both forms of a server. */
export function isServerName(text: string): boolean {
  return text !== "" && !text.includes(" ");
}

function isUnixPath(text: string): boolean {
  return text.length > 1 && !text.includes("\0") && encode(text).length <= UNIX_PATH_MAX;
}

/** The host without the brackets of IPv6; null if there is none. */
function hostOf(text: string): string | null {
  const bare = text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text;
  return bare === "" || /[\s\0[\]]/.test(bare) ? null : bare;
}
