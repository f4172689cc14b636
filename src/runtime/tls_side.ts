/**
 * The nets that speak TLS as a configuration says: contexts of certificates for the engine, and who is let in.
 *
 *   TlsConfig ──► files (config/certificates.ts) ──► a context for each certificate ──► engines
 *      └── looked at when somebody connects, once a second at most: what has changed counts for him
 *
 * Files that have become wrong change nothing: what was read before is used on. A context is never changed, so connections keep theirs,
 * and tickets of a session end with it. With client certificates there are no tickets: who holds one would not have to show any.
 */
import { constants } from "node:crypto";
import { statSync } from "node:fs";
import { isIP } from "node:net";
import { checkServerIdentity, createSecureContext, type PeerCertificate, type SecureContext } from "node:tls";
import { hasName, type Pair, readTlsFiles, tlsFileNames, type TlsFiles } from "../config/certificates.ts";
import { ERR, type Log, NOTICE, WARN } from "../net/log.ts";
import type { Address, Clock, Net, NetError } from "../net/net.ts";
import type { ServerTlsConfig, TlsConfig, TlsNets } from "../net/tls.ts";
import { bare } from "./errors.ts";
import { Engine, type EngineEvents } from "./tls_engine.ts";
import { type Accepting, type Connecting, TlsNet } from "./tls_net.ts";

const LOOK_MS = 1000;
const DAY_MS = 86_400_000;
/** How long before its end a certificate is warned of, once a day. */
const WARN_DAYS = 14;
/** Failed handshakes that are logged one by one in a second. */
const LINES_MAX = 10;

export class TlsSide implements TlsNets {
  /** By pool. */
  private readonly accepting = new Map<string, { readonly guard: Guard; readonly net: Net }>();
  /** By settings. */
  private readonly connecting_ = new Map<string, Net>();

  constructor(private readonly net: Net, private readonly clock: Clock) {}

  listening(pool: string, config: TlsConfig, log: Log): Net {
    const present = this.accepting.get(pool);
    if (present !== undefined) {
      present.guard.adopt(config);
      return present.net;
    }
    const guard = new Guard(pool, config, this.clock, log);
    const net = new TlsNet(this.net, this.clock, guard, null);
    this.accepting.set(pool, { guard, net });
    return net;
  }

  connecting(config: ServerTlsConfig, log: Log): Net {
    const key = JSON.stringify(config);
    let net = this.connecting_.get(key);
    if (net === undefined) {
      net = new TlsNet(this.net, this.clock, null, new Caller(config, this.clock, log));
      this.connecting_.set(key, net);
    }
    return net;
  }
}

/** Files as they were read last, and contexts of them. */
class Identity<C extends TlsConfig | ServerTlsConfig> {
  contexts: readonly Chosen[] = [];
  private failure = "";
  private signature = "";
  /** The files are wrong since then, and that has been said. */
  private refused = "";
  private lookedMs = -Infinity;
  private warnedMs = -Infinity;

  /** @param what for people: "pool 'alpha': tls" */
  constructor(
    private what: string,
    private config: C,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly make: (config: C, files: TlsFiles) => readonly Chosen[],
  ) {
    try {
      this.adopt(config);
    } catch (error) {
      // They were good when the configuration was read, and may be again: until then handshakes fail, and nothing else.
      this.failure = (error as Error).message;
      log.write(ERR, `${what}: ${this.failure}`);
    }
  }

  /** @throws as long as none could be read */
  get first(): Chosen {
    const [first] = this.contexts;
    if (first === undefined) throw new Error(this.failure);
    return first;
  }

  /** @throws TlsFileError, and everything stays as it was */
  adopt(config: C): void {
    const signature = signatureOf(config);
    const files = readTlsFiles(config, this.clock.wallMs());
    this.contexts = this.make(config, files);
    this.config = config;
    this.signature = signature;
    this.warn(files);
  }

  /** Takes files that have changed. */
  look(): void {
    const nowMs = this.clock.nowMs();
    if (nowMs - this.lookedMs < LOOK_MS) return;
    this.lookedMs = nowMs;
    const signature = signatureOf(this.config);
    if (signature === this.signature) {
      if (nowMs - this.warnedMs >= DAY_MS) this.warn(null);
      return;
    }
    try {
      this.adopt(this.config);
      this.log.write(NOTICE, `${this.what}: the files have changed, new connections use them`);
    } catch (error) {
      // A certificate and its key are not written in one go: who sees one of them only looks again.
      if (this.refused === signature) {
        this.log.write(
          ERR,
          `${this.what}: the files have changed, refused, those before stay: ${(error as Error).message}`,
        );
        this.signature = signature;
      }
      this.refused = signature;
    }
  }

  /** Says which certificates end soon. @param files null: as they were */
  private warn(files: TlsFiles | null): void {
    this.warnedMs = this.clock.nowMs();
    const wallMs = this.clock.wallMs();
    for (const { file, endsAtMs } of files?.pairs ?? []) this.ends.set(file, endsAtMs);
    for (const [file, endsAtMs] of this.ends) {
      const days = (endsAtMs - wallMs) / DAY_MS;
      if (days >= WARN_DAYS) continue;
      const when = days < 0 ? "has expired" : `expires in ${Math.floor(days)} days`;
      this.log.write(
        WARN,
        `${this.what}: the certificate ${file} ${when}, on ${new Date(endsAtMs).toISOString()}`,
      );
    }
  }
  private readonly ends = new Map<string, number>();
}

interface Chosen {
  readonly context: SecureContext;
  /** Null: nothing is shown. */
  readonly pair: Pair | null;
}

/** Changes when a file does; "" of one that is not there. */
function signatureOf(config: TlsConfig | ServerTlsConfig): string {
  return tlsFileNames(config).map((file) => {
    try {
      const { ino, size, mtimeMs, ctimeMs } = statSync(file);
      return `${ino} ${size} ${mtimeMs} ${ctimeMs}`;
    } catch {
      return "";
    }
  }).join("\n");
}

function versionsOf({ minVersion, maxVersion }: TlsConfig | ServerTlsConfig) {
  return { minVersion: `TLSv${minVersion}`, maxVersion: `TLSv${maxVersion}` } as const;
}

/** Lets clients in. */
class Guard implements Accepting {
  private readonly identity: Identity<TlsConfig>;
  private config: TlsConfig;
  private lines = 0;
  private unsaid = 0;
  private secondMs = -Infinity;

  constructor(
    private readonly pool: string,
    config: TlsConfig,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    this.config = config;
    this.identity = new Identity(
      `pool '${pool}': tls`,
      config,
      clock,
      log,
      (config, { pairs, ca }) =>
        pairs.map((pair) => ({
          pair,
          context: createSecureContext({
            cert: pair.certificate,
            key: pair.key,
            ...ca === null ? {} : { ca },
            ...versionsOf(config),
            secureOptions: config.clientCertificates === "none" ? 0 : constants.SSL_OP_NO_TICKET,
          }),
        })),
    );
  }

  adopt(config: TlsConfig): void {
    this.identity.adopt(config);
    this.config = config;
  }

  get handshakeMs(): number {
    return this.config.handshakeMs;
  }

  engine(serverName: string | null, events: EngineEvents): Engine {
    this.identity.look();
    const { contexts } = this.identity;
    const chosen = serverName === null ? undefined : contexts.find(({ pair }) => hasName(pair!, serverName));
    return Engine.accept((chosen ?? this.identity.first).context, this.config.clientCertificates, events);
  }

  refusal(engine: Engine, flaw: NetError | null): string | null {
    const { clientCertificates } = this.config;
    if (clientCertificates === "none") return null;
    const { certificate } = engine;
    if (certificate === null && clientCertificates === "optional") return null;
    if (certificate !== null && flaw === null) return null;
    return flaw === null
      ? "the client shows no certificate"
      : `the client's certificate${subject(certificate)}: ${flawText(flaw)}`;
  }

  failed(peer: string, why: string): void {
    const nowMs = this.clock.nowMs();
    if (nowMs - this.secondMs >= 1000) {
      this.secondMs = nowMs;
      const { unsaid } = this;
      this.lines = this.unsaid = 0;
      if (unsaid > 0) this.write(`${unsaid} more handshakes have failed`);
    }
    if (this.lines++ < LINES_MAX) this.write(`handshake with client ${peer} failed: ${why}`);
    else this.unsaid++;
  }

  private write(text: string): void {
    this.log.write(WARN, `pool '${this.pool}': tls: ${text}`);
  }
}

/** Looks at whom we connect to. */
class Caller implements Connecting {
  private readonly identity: Identity<ServerTlsConfig>;

  constructor(private readonly config: ServerTlsConfig, clock: Clock, log: Log) {
    this.identity = new Identity("server_tls", config, clock, log, (config, { pairs: [pair], ca }) => [{
      pair: pair ?? null,
      context: createSecureContext({
        ...pair === undefined ? {} : { cert: pair.certificate, key: pair.key },
        ...ca === null ? {} : { ca },
        ...versionsOf(config),
      }),
    }]);
  }

  engine(address: Address, events: EngineEvents): Engine {
    this.identity.look();
    const name = this.nameOf(address);
    return Engine.connect(this.identity.first.context, isIP(name) === 0 ? name : "", events);
  }

  refusal(engine: Engine, flaw: NetError | null, address: Address): string | null {
    const { verify } = this.config;
    if (verify === "none") return null;
    const { certificate } = engine;
    if (certificate === null) return "the server shows no certificate";
    if (flaw !== null) return `the server's certificate${subject(certificate)}: ${flawText(flaw)}`;
    const name = this.nameOf(address);
    if (verify !== "full" || name === "") return null;
    if (checkServerIdentity(name, certificate) === undefined) return null;
    const names = certificate.subjectaltname ?? "no name";
    return `the server's certificate${
      subject(certificate)
    } is not for ${name}, but for ${names} (ERR_TLS_CERT_ALTNAME_INVALID)`;
  }

  /** "" of a unix socket, unless a name is configured. */
  private nameOf(address: Address): string {
    return this.config.name ?? ("host" in address ? bare(address.host) : "");
  }
}

function subject(certificate: PeerCertificate | null): string {
  const name = certificate?.subject?.CN;
  return name === undefined ? "" : ` '${name}'`;
}

function flawText({ code, message }: NetError): string {
  return message.includes(code) || code === "EPROTO" ? message : `${message} (${code})`;
}
