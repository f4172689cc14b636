/**
 * Certificates and keys that the configuration names: read, and checked as far as one can without a peer.
 *
 *   TlsConfig, ServerTlsConfig ──► files ──► PEM texts, names, when they end; or what is wrong with which file
 *
 * Whoever makes TLS of them has to trust in this: runtimes take a key that belongs to another certificate, and garbage for a CA,
 * without a word (seen on Deno 2.9.6 and Node 20). Keys are in memory of whoever asked, and in no error.
 */
import type { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { builtin } from "../bytes/builtin.ts";
import type { ServerTlsConfig, TlsConfig, TlsPair } from "./config.ts";

const crypto = builtin<typeof import("node:crypto")>("node:crypto");

/** A certificate with its key. */
export interface Pair {
  /** PEM: the certificate, then those that have signed it. */
  readonly certificate: string;
  /** PEM. */
  readonly key: string;
  /** In lower case, as the certificate has them: "example.com", "*.example.com". */
  readonly names: readonly string[];
  /** The first of the chain that ends; ms since the epoch. */
  readonly endsAtMs: number;
  /** The file of the certificate. */
  readonly file: string;
}

/** What a pool's `tls` or `server_tls` names. */
export interface TlsFiles {
  /** The first is the one for whoever asks for none. Empty: none is shown. */
  readonly pairs: readonly Pair[];
  /** PEM; null: none is named. */
  readonly ca: string | null;
  /** The same of `ca`; Infinity if there is none. */
  readonly caEndsAtMs: number;
}

/** Something is wrong with a file. */
export class TlsFileError extends Error {
  override readonly name = "TlsFileError";
  /** @param key the configuration key that names the file @param found for "found …, expected …" */
  constructor(readonly key: string, readonly found: string, readonly expected: string) {
    super(`${key}: found ${found}, expected ${expected}`);
  }
}

/** Larger files are not certificates: the bundles of all public authorities have 250 kB. */
const FILE_MAX = 4 * 1024 * 1024;

/**
 * Reads and checks all of it.
 * @param nowMs ms since the epoch
 * @throws TlsFileError
 */
export function readTlsFiles(config: TlsConfig | ServerTlsConfig, nowMs: number): TlsFiles {
  const { certificate, key } = config;
  const pairs: Pair[] = [];
  if (certificate !== null && key !== null) pairs.push(readPair({ certificate, key }, nowMs));
  if ("sni" in config) { for (const pair of config.sni) pairs.push(readPair(pair, nowMs)); }
  if (config.ca === null) return { pairs, ca: null, caEndsAtMs: Infinity };
  const ca = read("ca", config.ca);
  const authorities = certificatesOf("ca", config.ca, ca);
  return { pairs, ca, caEndsAtMs: endOf("ca", config.ca, authorities, nowMs) };
}

/** The files it names, each once. */
export function tlsFileNames(config: TlsConfig | ServerTlsConfig): string[] {
  const { certificate, key, ca } = config;
  const more = "sni" in config ? config.sni.flatMap((pair) => [pair.certificate, pair.key]) : [];
  return [...new Set([certificate, key, ca, ...more].filter((file) => file !== null))];
}

function readPair(pair: TlsPair, nowMs: number): Pair {
  const certificate = read("certificate", pair.certificate);
  const chain = certificatesOf("certificate", pair.certificate, certificate);
  const key = read("key", pair.key);
  let privateKey;
  try {
    privateKey = crypto().createPrivateKey(key);
  } catch {
    const found = /ENCRYPTED/.test(key)
      ? `an encrypted key in ${pair.key}`
      : `no private key that can be read in ${pair.key}${butWhat("key", key)}`;
    throw new TlsFileError("key", found, "a private key in PEM, without a passphrase");
  }
  const [leaf] = chain;
  if (!leaf!.checkPrivateKey(privateKey)) {
    const at = chain.findIndex((each) => each.checkPrivateKey(privateKey));
    if (at > 0) {
      const found = `the certificate of ${pair.key} as number ${at + 1} in ${pair.certificate}`;
      throw new TlsFileError("certificate", found, "it first, then those that have signed it");
    }
    const found = `the key of another certificate in ${pair.key}`;
    throw new TlsFileError("key", found, `the one that belongs to ${pair.certificate}`);
  }
  const endsAtMs = endOf("certificate", pair.certificate, chain, nowMs);
  return { certificate, key, names: namesOf(leaf!), endsAtMs, file: pair.certificate };
}

function read(key: string, file: string): string {
  try {
    const bytes = readFileSync(file);
    if (bytes.length <= FILE_MAX) return new TextDecoder().decode(bytes);
  } catch (error) {
    const { code } = error as { code?: string };
    const why = code === "ENOENT"
      ? "no such file"
      : code === "EACCES"
      ? "permission denied"
      : code === "EISDIR"
      ? "a directory"
      : code ?? "unreadable";
    throw new TlsFileError(key, `${file}, which cannot be read (${why})`, "a file in PEM");
  }
  throw new TlsFileError(key, `${file} with more than ${FILE_MAX} bytes`, "a file in PEM");
}

const PEM =
  /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[\s\S]*?-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g;

function certificatesOf(key: string, file: string, text: string): X509Certificate[] {
  const blocks = text.match(PEM);
  if (blocks === null) {
    throw new TlsFileError(key, `no certificate in ${file}${butWhat(key, text)}`, "certificates in PEM");
  }
  return blocks.map((block, i) => {
    try {
      return new (crypto().X509Certificate)(block);
    } catch {
      throw new TlsFileError(
        key,
        `something else than a certificate (number ${i + 1}) in ${file}`,
        "certificates in PEM",
      );
    }
  });
}

/** What a file has instead, as far as that can be told without showing any of it. */
function butWhat(of: string, text: string): string {
  if (text.trim() === "") return ", but nothing at all";
  const label = /-----BEGIN ([A-Z0-9 ]{1,40})-----/.exec(text)?.[1];
  if (label !== undefined) {
    const whole = text.includes(`-----END ${label}-----`);
    if (whole && /^(?:EC |RSA )?PRIVATE KEY$/.test(label) && of === "key") return ", but a damaged one";
    return `, but '${label.toLowerCase()}'${whole ? "" : ", cut off"}`;
  }
  return text.includes("\uFFFD") ? ", but binary data, as PKCS #12 and DER are" : "";
}

/** @throws if one has ended or not begun: nobody would take it. Of authorities one that has not ended is enough. */
function endOf(key: string, file: string, chain: readonly X509Certificate[], nowMs: number): number {
  const ends = chain.map((each) => Date.parse(each.validTo));
  const last = key === "ca" ? Math.max(...ends) : Math.min(...ends);
  if (last <= nowMs) {
    const found = `a certificate that expired on ${new Date(last).toISOString()} in ${file}`;
    throw new TlsFileError(key, found, "one that has not expired");
  }
  const begins = Date.parse(chain[0]!.validFrom);
  if (key !== "ca" && begins > nowMs) {
    const found = `a certificate that begins on ${new Date(begins).toISOString()} in ${file}`;
    throw new TlsFileError(key, found, "one that has begun");
  }
  return last;
}

/** DNS names and addresses; the common name if there are none. */
function namesOf(leaf: X509Certificate): string[] {
  const said = (leaf.subjectAltName ?? "").split(", ").flatMap((each) => {
    const name = /^(?:DNS|IP Address):(.+)$/.exec(each)?.[1];
    return name === undefined ? [] : [name.toLowerCase()];
  });
  if (said.length > 0) return said;
  const common = /(?:^|\n)CN=([^\n]+)/.exec(leaf.subject)?.[1];
  return common === undefined ? [] : [common.toLowerCase()];
}

/** Is `name` one of the certificate's? A star stands for one label. */
export function hasName({ names }: Pair, name: string): boolean {
  const dot = name.indexOf(".");
  const wild = dot < 0 ? "" : `*${name.slice(dot)}`;
  return names.some((each) => each === name || each === wild);
}
