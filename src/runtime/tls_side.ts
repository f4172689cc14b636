/**
 * The nets that speak TLS as a configuration says: contexts of certificates for the engine, and who is let in.
 *
 *   TlsConfig ──► files (config/certificates.ts) ──► a context for each certificate ──► engines
 *      └── looked at when somebody connects, once a second at most: what has changed counts for him
 *
 * Files that have become wrong change nothing: what was read before is used on. A context is never changed, so connections keep theirs,
 * and tickets of a session end with it. With client certificates there are no tickets: who holds one would not have to show any.
 */
import { statSync } from "node:fs";
import type { PeerCertificate, SecureContext } from "node:tls";
import { builtin } from "../bytes/builtin.ts";
import { hasName, type Pair, readTlsFiles, tlsFileNames, type TlsFiles } from "../config/certificates.ts";
import { ERR, type Log, NOTICE, WARN } from "../net/log.ts";
import type { Address, Clock, Net, NetError } from "../net/net.ts";
import type {
  CertificateSeen,
  ServerTlsConfig,
  TlsConfig,
  TlsListening,
  TlsNets,
  TlsTally,
} from "../net/tls.ts";
import { namesIn } from "./certificate_names.ts";
import type { Group } from "./client_hello.ts";
import { addressText, bare } from "./errors.ts";
import { isIP } from "./ip_text.ts";
import { Engine, type EngineEvents } from "./tls_engine.ts";
import { type Accepting, type Connecting, TlsNet, Waiting } from "./tls_net.ts";

const crypto = builtin<typeof import("node:crypto")>("node:crypto");
const tls = builtin<typeof import("node:tls")>("node:tls");

const LOOK_MS = 1000;
const DAY_MS = 86_400_000;
/** How long before its end a certificate is warned of, once a day. */
const WARN_DAYS = 14;
/** Failed handshakes that are logged one by one in a second. */
const LINES_MAX = 10;
/** How long the failure of one server is not said again. */
const SAID_AGAIN_MS = 60_000;
/** Servers of which it is known. */
const SAID_MAX = 1024;

export class TlsSide implements TlsNets {
  /** By settings, and by who is told: some that ask in vain say so themselves, and are silent here. */
  private readonly callers = new Map<string, Map<Log, { readonly caller: Caller; readonly net: Net }>>();
  private readonly waiting: Waiting;

  constructor(private readonly net: Net, private readonly clock: Clock) {
    this.waiting = new Waiting(clock);
  }

  get handshakes(): number {
    return this.waiting.size;
  }

  listening(pool: string, config: TlsConfig, tally: TlsTally, log: Log): TlsListening {
    const guard = new Guard(pool, config, tally, this.clock, log);
    const net = new TlsNet(this.net, this.clock, this.waiting, guard, null);
    return { net, prepare: (next) => guard.prepare(next), look: () => guard.look() };
  }

  connecting(config: ServerTlsConfig, log: Log): Net {
    const key = JSON.stringify(config);
    let alike = this.callers.get(key);
    if (alike === undefined) this.callers.set(key, alike = new Map());
    let present = alike.get(log);
    if (present === undefined) {
      const caller = new Caller(config, this.clock, log);
      present = { caller, net: new TlsNet(this.net, this.clock, this.waiting, null, caller) };
      alike.set(log, present);
    }
    return present.net;
  }

  look(config: ServerTlsConfig): readonly CertificateSeen[] {
    let seen: readonly CertificateSeen[] = [];
    for (const { caller } of this.callers.get(JSON.stringify(config))?.values() ?? []) seen = caller.look();
    return seen;
  }
}

/** Files as they were read last, and contexts of them, or whatever else is made of them. */
export class Identity<C extends TlsConfig | ServerTlsConfig, M = Chosen> {
  contexts: readonly M[] = [];
  /** Those of certificates that are in use. */
  files: readonly CertificateSeen[] = [];
  private failure = "";
  private signature = "";
  /** The files are wrong since then, and that has been said. */
  private refused = "";
  private lookedMs = -Infinity;
  private warnedMs = -Infinity;

  /** @param what for people: "pool 'alpha': tls" */
  constructor(
    private readonly what: string,
    private config: C,
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly make: (config: C, files: TlsFiles) => readonly M[],
  ) {
    try {
      this.prepare(config)();
    } catch (error) {
      // They were good when the configuration was read, and may be again: until then handshakes fail, and nothing else.
      this.failure = (error as Error).message;
      log.write(ERR, `${what}: ${this.failure}`);
    }
  }

  /** @throws as long as none could be read */
  get first(): M {
    const [first] = this.contexts;
    if (first === undefined) throw new Error(this.failure);
    return first;
  }

  /** @returns what makes it count @throws TlsFileError */
  prepare(config: C): () => void {
    const signature = signatureOf(config);
    const files = readTlsFiles(config, this.clock.wallMs());
    const contexts = this.make(config, files);
    return () => {
      this.contexts = contexts;
      this.config = config;
      this.signature = signature;
      this.files = files.pairs.map(({ file, endsAtMs }) => ({ file, endsAtMs }));
      if (config.ca !== null) this.files = [...this.files, { file: config.ca, endsAtMs: files.caEndsAtMs }];
      this.warn();
    };
  }

  /** Takes files that have changed. @param restMs so long after the last look this is none */
  look(restMs = LOOK_MS): void {
    const nowMs = this.clock.nowMs();
    if (nowMs - this.lookedMs < restMs) return;
    this.lookedMs = nowMs;
    const signature = signatureOf(this.config);
    if (signature === this.signature) {
      if (nowMs - this.warnedMs >= DAY_MS) this.warn();
      return;
    }
    try {
      this.prepare(this.config)();
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

  /** Says which certificates end soon. */
  private warn(): void {
    this.warnedMs = this.clock.nowMs();
    const wallMs = this.clock.wallMs();
    for (const { file, endsAtMs } of this.files) {
      const days = (endsAtMs - wallMs) / DAY_MS;
      if (days >= WARN_DAYS) continue;
      const when = days < 0 ? "has expired" : `expires in ${Math.floor(days)} days`;
      this.log.write(
        WARN,
        `${this.what}: the certificate ${file} ${when}, on ${new Date(endsAtMs).toISOString()}`,
      );
    }
  }
}

interface Chosen {
  readonly context: SecureContext;
  /** Null: nothing is shown. */
  readonly pair: Pair | null;
}

interface Shown extends Chosen {
  readonly pair: Pair;
  /** That agrees on this group alone. */
  contextOf(group: Group): SecureContext;
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
  private readonly identity: Identity<TlsConfig, Shown>;
  private config: TlsConfig;
  private lines = 0;
  private unsaid = 0;
  private secondMs = -Infinity;

  constructor(
    private readonly pool: string,
    config: TlsConfig,
    private readonly tally: TlsTally,
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
        pairs.map((pair) => {
          const make = (ecdhCurve?: Group) =>
            tls().createSecureContext({
              cert: pair.certificate,
              key: pair.key,
              ...ca === null ? {} : { ca },
              ...versionsOf(config),
              ...ecdhCurve === undefined ? {} : { ecdhCurve },
              secureOptions: config.clientCertificates === "none" ? 0 : crypto().constants.SSL_OP_NO_TICKET,
            });
          const made = new Map<Group, SecureContext>();
          const contextOf = (group: Group) => {
            let context = made.get(group);
            if (context === undefined) made.set(group, context = make(group));
            return context;
          };
          return { pair, context: make(), contextOf };
        }),
    );
  }

  prepare(config: TlsConfig): () => void {
    const take = this.identity.prepare(config);
    return () => {
      take();
      this.config = config;
    };
  }

  look(): readonly CertificateSeen[] {
    this.identity.look(0);
    return this.identity.files;
  }

  get handshakeMs(): number {
    return this.config.handshakeMs;
  }

  get asksAgain(): boolean {
    return this.config.maxVersion === "1.3";
  }

  engine(serverName: string | null, unshared: Group | null, events: EngineEvents): Engine {
    this.identity.look();
    const { contexts } = this.identity;
    const named = serverName === null ? undefined : contexts.find(({ pair }) => hasName(pair, serverName));
    const chosen = named ?? this.identity.first;
    const context = unshared === null ? chosen.context : chosen.contextOf(unshared);
    return Engine.accept(context, this.config.clientCertificates, events);
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

  shook(engine: Engine): readonly string[] | undefined {
    this.tally.shook();
    const { userFrom } = this.config;
    if (userFrom === "off") return undefined;
    // Whoever shows a wrong one has been refused.
    const raw = engine.certificate?.raw;
    return raw === undefined ? undefined : namesIn(raw, userFrom);
  }

  failed(peer: string, why: string): void {
    this.tally.failed();
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
  /** What has been said of whom, by address; since it is not over. */
  private readonly said = new Map<string, { readonly why: string; readonly atMs: number }>();

  constructor(
    private readonly config: ServerTlsConfig,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    this.identity = new Identity("server_tls", config, clock, log, (config, { pairs: [pair], ca }) => [{
      pair: pair ?? null,
      context: tls().createSecureContext({
        ...pair === undefined ? {} : { cert: pair.certificate, key: pair.key },
        ...ca === null ? {} : { ca },
        ...versionsOf(config),
      }),
    }]);
  }

  look(): readonly CertificateSeen[] {
    this.identity.look(0);
    return this.identity.files;
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
    if (tls().checkServerIdentity(name, certificate) === undefined) return null;
    const names = certificate.subjectaltname ?? "no name";
    return `the server's certificate${
      subject(certificate)
    } is not for ${name}, but for ${names} (ERR_TLS_CERT_ALTNAME_INVALID)`;
  }

  shook(address: Address): void {
    if (this.said.size > 0) this.said.delete(addressText(address));
  }

  /** Servers are tried again and again: the same is said once a minute. */
  failed(address: Address, why: string): void {
    const at = addressText(address);
    const nowMs = this.clock.nowMs();
    const last = this.said.get(at);
    if (last?.why === why && nowMs - last.atMs < SAID_AGAIN_MS) return;
    if (this.said.size >= SAID_MAX) this.said.clear();
    this.said.set(at, { why, atMs: nowMs });
    this.log.write(WARN, `server_tls: handshake with server ${at} failed: ${why}`);
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
