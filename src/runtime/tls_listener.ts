/**
 * Listens with the runtime's own TLS for whoever serves node's sockets, as the admin side does: works on Deno too.
 *
 *   connection ──► came: may it stay? ──► handshake ──► shook: the socket that speaks ──► admin/server.ts
 *
 * Files are looked at when somebody connects, as those of a pool are (tls_side.ts). Seen on Bun 1.4.5 and Deno 2.9.6: the socket that has
 * shaken hands is that of `connection` on Bun and another one on Deno, so the two are known by the client's address; `setSecureContext` counts for the
 * handshakes to come on both.
 */
import type { Server as NetServer, Socket } from "node:net";
import type { TlsOptions, TLSSocket } from "node:tls";
import { builtin } from "../bytes/builtin.ts";
import type { TlsFiles } from "../config/certificates.ts";
import { type Log, WARN } from "../net/log.ts";
import type { Clock } from "../net/net.ts";
import type { CertificateSeen, TlsConfig } from "../net/tls.ts";
import { reasonOf } from "./tls_net.ts";
import { Identity } from "./tls_side.ts";

const tls = builtin<typeof import("node:tls")>("node:tls");

/** Failed handshakes that are told of one by one in a second. */
const LINES_MAX = 10;

export interface TlsVisitors {
  /** Somebody has connected, and shakes hands, unless he is refused. */
  came(socket: Socket): void;
  /** He has: this is his socket from now on. @param before that of `came` */
  shook(socket: Socket, before: Socket): void;
}

export class TlsListener {
  readonly server: NetServer;
  private readonly identity: Identity<TlsConfig, TlsOptions>;
  /** What the server uses. */
  private inUse: TlsOptions | null = null;
  /** Who shakes hands, by "address port". */
  private readonly shaking = new Map<string, Socket>();
  private lines = 0;
  private unsaid = 0;
  private secondMs = -Infinity;

  /** @param what for people: "admin_tls" @throws TlsFileError */
  constructor(
    private readonly what: string,
    config: TlsConfig,
    visitors: TlsVisitors,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {
    this.identity = new Identity(what, config, clock, log, (config, files) => [optionsOf(config, files)]);
    const required = config.clientCertificates === "required";
    this.inUse = this.identity.first;
    this.server = tls().createServer(
      { ...this.inUse, requestCert: required, rejectUnauthorized: required },
      (socket) => this.shook(socket, visitors),
    );
    this.server.on("connection", (socket: Socket) => {
      this.refresh();
      const key = keyOf(socket);
      this.shaking.set(key, socket);
      socket.on("close", () => this.shaking.get(key) === socket && this.shaking.delete(key));
      visitors.came(socket);
    });
    this.server.on("tlsClientError", (error: Error & { code?: string }, socket?: TLSSocket) => {
      // On Deno who failed is not told.
      const who = socket?.remoteAddress === undefined ? "a visitor" : keyOf(socket).replace(" ", ":");
      const flaw = { code: error.code ?? "EPROTO", message: error.message };
      const name = socket?.getPeerCertificate?.()?.subject?.CN;
      this.failed(
        who,
        name === undefined ? reasonOf(flaw) : `the client's certificate '${name}': ${reasonOf(flaw)}`,
      );
      socket?.destroy();
    });
  }

  /** Reads the files of other settings. @returns what makes them count for the handshakes to come @throws TlsFileError */
  prepare(config: TlsConfig): () => void {
    const take = this.identity.prepare(config);
    return () => {
      take();
      this.use();
    };
  }

  /** Those in use, taken anew if they have changed. */
  look(): readonly CertificateSeen[] {
    this.identity.look(0);
    this.use();
    return this.identity.files;
  }

  private refresh(): void {
    this.identity.look();
    this.use();
  }

  private use(): void {
    const { first } = this.identity;
    if (first === this.inUse) return;
    this.inUse = first;
    (this.server as NetServer & { setSecureContext(options: TlsOptions): void }).setSecureContext(first);
  }

  private shook(socket: TLSSocket, visitors: TlsVisitors): void {
    const key = keyOf(socket);
    const before = this.shaking.get(key);
    this.shaking.delete(key);
    if (before === undefined) socket.destroy();
    else visitors.shook(socket, before);
  }

  private failed(who: string, why: string): void {
    const nowMs = this.clock.nowMs();
    if (nowMs - this.secondMs >= 1000) {
      const { unsaid } = this;
      this.secondMs = nowMs;
      this.lines = this.unsaid = 0;
      if (unsaid > 0) this.log.write(WARN, `${this.what}: ${unsaid} more handshakes have failed`);
    }
    if (this.lines++ < LINES_MAX) {
      this.log.write(WARN, `${this.what}: handshake with client ${who} failed: ${why}`);
    } else this.unsaid++;
  }
}

function keyOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

function optionsOf({ minVersion, maxVersion }: TlsConfig, { pairs, ca }: TlsFiles): TlsOptions {
  const [pair] = pairs;
  return {
    cert: pair!.certificate,
    key: pair!.key,
    ...ca === null ? {} : { ca },
    minVersion: `TLSv${minVersion}`,
    maxVersion: `TLSv${maxVersion}`,
  };
}
