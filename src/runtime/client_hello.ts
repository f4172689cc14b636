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

/** The name asked for, in lower case; null: none. */
export interface ClientHello {
  readonly serverName: string | null;
}

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const RECORD_HEAD = 5;
const RECORD_MAX = 16 * 1024;

/** What the first bytes of a connection are. */
export function readClientHello(bytes: Uint8Array): ClientHello | typeof NEED_MORE | typeof NOT_TLS {
  if (bytes.length === 0) return NEED_MORE;
  if (bytes[0] !== HANDSHAKE || (bytes.length > 1 && bytes[1] !== 3)) return NOT_TLS;
  const message = handshakeMessage(bytes);
  return typeof message === "string" ? message : { serverName: serverNameOf(message) };
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

/** Null where there is none, or nothing that makes sense: the engine judges what is wrong with the rest. */
function serverNameOf(hello: Uint8Array): string | null {
  const read16 = (at: number) => hello[at]! << 8 | hello[at + 1]!;
  // Version and random; then the session, the ciphers and the compression methods, each with its length.
  let at = 2 + 32;
  if (at >= hello.length) return null;
  at += 1 + hello[at]!;
  if (at + 2 > hello.length) return null;
  at += 2 + read16(at);
  if (at >= hello.length) return null;
  at += 1 + hello[at]!;
  if (at + 2 > hello.length) return null;
  const end = Math.min(at + 2 + read16(at), hello.length);
  at += 2;
  while (at + 4 <= end) {
    const type = read16(at);
    const size = read16(at + 2);
    at += 4;
    if (type === SERVER_NAME && at + size <= end && size >= 5) {
      const length = read16(at + 3);
      if (hello[at + 2] !== 0 || length + 5 > size) return null;
      return String.fromCharCode(...hello.subarray(at + 5, at + 5 + length)).toLowerCase();
    }
    at += size;
  }
  return null;
}
