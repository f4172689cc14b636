/**
 * What is said of TLS, and the nets that speak it: a `Net` that can has them (`tls`).
 *
 *   net.tls.listening(…) ─► a Net to listen with, and how its settings change      towards(net, …) ─► a Net whose connects speak TLS
 */
import type { Log } from "./log.ts";
import type { Net } from "./net.ts";

/** A certificate and its key: absolute paths of PEM files. */
export interface TlsPair {
  readonly certificate: string;
  readonly key: string;
}

/** Whether clients are asked for a certificate, and may be without one. */
export type ClientCertificates = "none" | "optional" | "required";

/** Which of a client's names in his certificate is his user's; "off": none. */
export type UserFrom = "off" | "CN" | "URI" | "DNS";

export type TlsVersion = "1.2" | "1.3";

/** How clients are spoken to. Paths are absolute. */
export interface TlsConfig extends TlsPair {
  /** Who signs clients' certificates; null where none are asked for. */
  readonly ca: string | null;
  readonly clientCertificates: ClientCertificates;
  readonly userFrom: UserFrom;
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** For clients that ask for names of theirs. */
  readonly sni: readonly TlsPair[];
  readonly handshakeMs: number;
}

/** What of a server's certificate is looked at: the signature and the name, the signature alone, or nothing. */
export type TlsVerify = "full" | "signature" | "none";

/** How servers, their sentinels and cluster nodes are spoken to. Paths are absolute. */
export interface ServerTlsConfig {
  /** Who signs servers' certificates; null: the public authorities. */
  readonly ca: string | null;
  /** The name that certificates have to have; null: the host of the address. */
  readonly name: string | null;
  /** What we show; null: nothing. */
  readonly certificate: string | null;
  readonly key: string | null;
  readonly verify: TlsVerify;
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
}

/** A file of certificates that is in use. */
export interface CertificateSeen {
  /** Absolute. */
  readonly file: string;
  /** When the first that matters ends, ms since the epoch of Unix. */
  readonly endsAtMs: number;
}

/** Where handshakes with clients are counted. */
export interface TlsTally {
  shook(): void;
  failed(): void;
}

/** A listener's side of TLS: others of the same pool, before and after it, have their own. */
export interface TlsListening {
  /** To listen with. */
  readonly net: Net;
  /**
   * Reads the files of other settings.
   * @returns what makes them count for all handshakes to come; until it is called nothing has changed
   * @throws TlsFileError if the files are not what they were when the configuration was read
   */
  prepare(config: TlsConfig): () => void;
  /** Takes files that have changed, now, and not when somebody connects. @returns those in use, the authorities as well */
  look(): readonly CertificateSeen[];
}

export interface TlsNets {
  /** Accepted connections that have not shaken hands. */
  readonly handshakes: number;
  /** @param log who is told of handshakes that fail, and of files that have changed */
  listening(pool: string, config: TlsConfig, tally: TlsTally, log: Log): TlsListening;
  /** The net to connect with. */
  connecting(config: ServerTlsConfig, log: Log): Net;
  /** As TlsListening.look, of a net to connect with; nothing if there is none yet. */
  look(config: ServerTlsConfig): readonly CertificateSeen[];
}

/** `net`, or the one that speaks TLS as `config` says. */
export function towards(net: Net, config: ServerTlsConfig | null, log: Log): Net {
  return config === null ? net : tlsOf(net).connecting(config, log);
}

/** @throws if it has none: whoever starts looks first */
export function tlsOf(net: Net): TlsNets {
  if (net.tls === undefined) throw new Error(`the sockets (${net.name}) have no TLS`);
  return net.tls;
}
