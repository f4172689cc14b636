/**
 * What a certificate calls its owner, read off the certificate's own bytes: runtimes give names as text in which one name can be made to
 * look like several. That it is a certificate, and whose signature it has, has been judged before.
 *
 *   SEQUENCE ─ TBSCertificate ─┬─ version [0], serial, algorithm, issuer, validity
 *                              ├─ subject: SET OF (2.5.4.3, text)           CN
 *                              └─ key, …, extensions [3]: 2.5.29.17 ─ [2] DNS, [6] URI
 *
 * RFC 5280, 4.1 and 4.2.1.6. Whatever is not as it says has no names.
 */
import { latin1 } from "../bytes/ascii.ts";

/** More are not looked at. */
const NAMES_MAX = 64;

const SEQUENCE = 0x30;
const SET = 0x31;
const OCTETS = 0x04;
const OBJECT = 0x06;
const VERSION = 0xa0;
const EXTENSIONS = 0xa3;
const DNS_NAME = 0x82;
const URI_NAME = 0x86;
/** UTF8String, PrintableString, IA5String: those whose bytes are the text. */
const TEXTS: readonly number[] = [0x0c, 0x13, 0x16];
const COMMON_NAME = [0x55, 0x04, 0x03];
const ALT_NAME = [0x55, 0x1d, 0x11];

interface Part {
  readonly tag: number;
  readonly bytes: Uint8Array;
}

/**
 * The names of one kind, as they stand there, each byte a character. Of several CNs nobody knows which is meant: there is none then.
 * @param der the whole certificate
 */
export function namesIn(der: Uint8Array, kind: "CN" | "URI" | "DNS"): readonly string[] {
  const [certificate] = partsOf(der);
  if (certificate?.tag !== SEQUENCE) return [];
  const [signed] = partsOf(certificate.bytes);
  if (signed?.tag !== SEQUENCE) return [];
  const parts = partsOf(signed.bytes);
  const first = parts[0]?.tag === VERSION ? 1 : 0;
  if (kind !== "CN") {
    const extensions = parts.slice(first).find(({ tag }) => tag === EXTENSIONS);
    return extensions === undefined ? [] : altNames(extensions.bytes, kind === "URI" ? URI_NAME : DNS_NAME);
  }
  const subject = parts[first + 4];
  const names = subject?.tag === SEQUENCE ? commonNames(subject.bytes) : [];
  return names.length === 1 ? names : [];
}

function commonNames(subject: Uint8Array): string[] {
  const names: string[] = [];
  for (const set of partsOf(subject)) {
    if (set.tag !== SET) continue;
    for (const pair of partsOf(set.bytes)) {
      const [object, value] = partsOf(pair.bytes);
      if (object?.tag !== OBJECT || value === undefined || !isSame(object.bytes, COMMON_NAME)) continue;
      // One in another alphabet counts as one, and is nobody's.
      names.push(TEXTS.includes(value.tag) ? latin1(value.bytes) : "");
    }
  }
  return names;
}

function altNames(extensions: Uint8Array, wanted: number): string[] {
  const [list] = partsOf(extensions);
  if (list?.tag !== SEQUENCE) return [];
  for (const extension of partsOf(list.bytes)) {
    const parts = partsOf(extension.bytes);
    const value = parts.at(-1);
    if (parts[0]?.tag !== OBJECT || !isSame(parts[0].bytes, ALT_NAME) || value?.tag !== OCTETS) continue;
    const [names] = partsOf(value.bytes);
    if (names?.tag !== SEQUENCE) return [];
    return partsOf(names.bytes).filter(({ tag }) => tag === wanted).map(({ bytes }) => latin1(bytes));
  }
  return [];
}

/** What is in there, one after the other; nothing if it does not fit. */
function partsOf(bytes: Uint8Array): readonly Part[] {
  const parts: Part[] = [];
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at]!;
    let length = bytes[at + 1] ?? Infinity;
    at += 2;
    if (length >= 0x80) {
      let size = length === Infinity ? 0 : length - 0x80;
      if (size < 1 || size > 3) return [];
      for (length = 0; size > 0; size--) length = length * 256 + (bytes[at++] ?? Infinity);
    }
    if (!(at + length <= bytes.length)) return [];
    if (parts.length < NAMES_MAX) parts.push({ tag, bytes: bytes.subarray(at, at + length) });
    at += length;
  }
  return parts;
}

function isSame(bytes: Uint8Array, wanted: readonly number[]): boolean {
  return bytes.length === wanted.length && wanted.every((byte, i) => bytes[i] === byte);
}
