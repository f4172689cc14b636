/**
 * The first thing a TLS client says, read before anything is made for it: whose certificate it wants, and that it is TLS at all.
 *
 *   record: 22, version, length │ handshake: 1, length │ version, random, session, ciphers, compression, extensions
 *
 * Until it is whole, a connection costs its bytes and nothing else. RFC 8446, 4.1.2; RFC 6066, 3.
 */

/** More is not read: those that are real have some hundred bytes, with post-quantum shares 2,000. */
export const HELLO_MAX = 16 * 1024;

export const NEED_MORE = "more";
export const NOT_TLS = "not TLS";

export interface ClientHello {
  /** The name asked for, in lower case; null: none. */
  readonly serverName: string | null;
  /** A group that the client takes and has sent no share of, so that it can be asked for one; null: none of GROUPS, or no TLS 1.3. */
  readonly unshared: Group | null;
}

/** Names are the engine's. The cheapest first. */
const GROUPS = { "P-256": 23, "P-384": 24 } as const;
export type Group = keyof typeof GROUPS;

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const CHANGE_CIPHER_SPEC = 20;
const SERVER_NAME = 0;
const SUPPORTED_GROUPS = 10;
const SUPPORTED_VERSIONS = 43;
const KEY_SHARE = 51;
const TLS_1_3 = 0x0304;
const RECORD_HEAD = 5;
const RECORD_MAX = 16 * 1024;

/** What the first bytes of a connection are. */
export function readClientHello(bytes: Uint8Array): ClientHello | typeof NEED_MORE | typeof NOT_TLS {
  if (bytes.length === 0) return NEED_MORE;
  if (bytes[0] !== HANDSHAKE || (bytes.length > 1 && bytes[1] !== 3)) return NOT_TLS;
  const message = handshakeMessage(bytes);
  return typeof message === "string"
    ? message
    : { serverName: serverNameOf(message), unshared: unsharedOf(message) };
}

/** The same of one that was asked to say it again: some say a change of cipher before it, which means nothing. RFC 8446, D.4. */
export function readSecondHello(bytes: Uint8Array): ClientHello | typeof NEED_MORE | typeof NOT_TLS {
  if (bytes[0] !== CHANGE_CIPHER_SPEC) return readClientHello(bytes);
  return bytes.length < RECORD_HEAD ? NEED_MORE : readClientHello(bytes.subarray(RECORD_HEAD + 1));
}

/** The ClientHello without its head, taken out of as many records as it fills. */
function handshakeMessage(bytes: Uint8Array): Uint8Array | typeof NEED_MORE | typeof NOT_TLS {
  const parts: Uint8Array[] = [];
  let got = 0;
  for (let at = 0; at + RECORD_HEAD <= bytes.length;) {
    const size = bytes[at + 3]! << 8 | bytes[at + 4]!;
    if (bytes[at] !== HANDSHAKE || bytes[at + 1] !== 3 || size === 0 || size > RECORD_MAX) return NOT_TLS;
    const part = bytes.subarray(at + RECORD_HEAD, at + RECORD_HEAD + size);
    parts.push(part);
    got += part.length;
    at += RECORD_HEAD + size;
  }
  const whole = new Uint8Array(got);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  if (got > 0 && whole[0] !== CLIENT_HELLO) return NOT_TLS;
  if (got < 4) return NEED_MORE;
  const size = whole[1]! << 16 | whole[2]! << 8 | whole[3]!;
  if (size > HELLO_MAX) return NOT_TLS;
  return got < 4 + size ? NEED_MORE : whole.subarray(4, 4 + size);
}

/** What an extension holds; null where there is none, or nothing that makes sense: the engine judges what is wrong with the rest. */
function extension(hello: Uint8Array, wanted: number): Uint8Array | null {
  // Version and random; then the session, the ciphers and the compression methods, each with its length.
  let at = 2 + 32;
  if (at >= hello.length) return null;
  at += 1 + hello[at]!;
  if (at + 2 > hello.length) return null;
  at += 2 + read16(hello, at);
  if (at >= hello.length) return null;
  at += 1 + hello[at]!;
  if (at + 2 > hello.length) return null;
  const end = Math.min(at + 2 + read16(hello, at), hello.length);
  at += 2;
  while (at + 4 <= end) {
    const type = read16(hello, at);
    const size = read16(hello, at + 2);
    at += 4;
    if (type === wanted && at + size <= end) return hello.subarray(at, at + size);
    at += size;
  }
  return null;
}

function read16(bytes: Uint8Array, at: number): number {
  return bytes[at]! << 8 | bytes[at + 1]!;
}

function serverNameOf(hello: Uint8Array): string | null {
  const names = extension(hello, SERVER_NAME);
  if (names === null || names.length < 5) return null;
  const length = read16(names, 3);
  if (names[2] !== 0 || length + 5 > names.length) return null;
  return String.fromCharCode(...names.subarray(5, 5 + length)).toLowerCase();
}

function unsharedOf(hello: Uint8Array): Group | null {
  const [versions, groups, shares] = [SUPPORTED_VERSIONS, SUPPORTED_GROUPS, KEY_SHARE].map((each) =>
    extension(hello, each)
  );
  if (!versions || !groups || !shares || !pairs(versions, 1).includes(TLS_1_3)) return null;
  const taken = pairs(groups, 2);
  const shared: number[] = [];
  for (let at = 2; at + 4 <= shares.length; at += 4 + read16(shares, at + 2)) shared.push(read16(shares, at));
  for (const [name, group] of Object.entries(GROUPS)) {
    if (taken.includes(group) && !shared.includes(group)) return name as Group;
  }
  return null;
}

/** Numbers of two bytes from `at` on. */
function pairs(bytes: Uint8Array, at: number): number[] {
  const found: number[] = [];
  for (; at + 2 <= bytes.length; at += 2) found.push(read16(bytes, at));
  return found;
}
