/**
 * One TLS connection without a socket: ciphertext and plaintext go in, plaintext and ciphertext come out, at once.
 *
 *   ciphertext ─feed─► engine ─► plain         plaintext ─write─► engine ─► cipher
 *
 * On Bun (1.4.5) it is what Bun makes for a node:tls TLSSocket over a stream of somebody else's: BoringSSL with two memory buffers.
 * The stream we give it is none (`Wire`), and what Bun tells is heard by us in place of node:tls (`reload`): neither stream
 * machinery nor its queues, which hold nothing back there, have a part in it. A record each way costs 3 µs together; OpenSSL by ffi costs
 * as much, and would have to be installed (docs/decisions/48-tls-of-the-runtime.md).
 *
 * What Bun does, and what is done about it here:
 *  - after a close_notify it writes nothing more: it gets to see none (tls_records.ts).
 *  - `end` closes without a close_notify, `shutdown` says one and closes.
 *  - it holds nothing against a peer whose certificate is wrong, unless told to; we look at what it found in any case.
 */
import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import type { PeerCertificate, SecureContext, TLSSocket } from "node:tls";
import { builtin } from "../bytes/builtin.ts";
import type { NetError } from "../net/net.ts";
import type { PeerKey } from "./tls_records.ts";

/** What an engine tells. May come from inside `feed`, `write` and `shutdown`. */
export interface EngineEvents {
  /** To be sent to the peer; the array is never written to again. */
  cipher(bytes: Uint8Array): void;
  /** From the peer; the array is never written to again. */
  plain(bytes: Uint8Array): void;
  /** The handshake is over. @param flaw of the peer's certificate, or that there is none; the owner decides */
  shook(flaw: NetError | null): void;
  /** Nothing goes on. Comes once at most. */
  broke(error: NetError | null): void;
}

/** What Bun calls a TLSSocket's handle: its own socket. */
interface Handle {
  write(bytes: Uint8Array, start: number, length: number): number;
  shutdown(): void;
  terminate(): void;
  reload(options: { socket: Record<string, unknown> }): void;
  getCipher(): { readonly name: string } | undefined;
  getTLSVersion(): string;
  getPeerCertificate(abbreviated: boolean): PeerCertificate | undefined;
}

/** The stream below the engine, as far as Bun looks at it. */
interface Wire extends Duplex {
  feed(bytes: Uint8Array): void;
  cipher(bytes: Uint8Array): void;
}

const events = builtin<typeof import("node:events")>("node:events");
const stream = builtin<typeof import("node:stream")>("node:stream");
const tls = builtin<typeof import("node:tls")>("node:tls");

let wireClass: (new () => Wire) | null = null;

/** Made with the first engine: most processes have none, and Duplex takes some ms. */
function makeWireClass(): new () => Wire {
  return class extends stream().Duplex {
    feed: (bytes: Uint8Array) => void = () => {};
    cipher: (bytes: Uint8Array) => void = () => {};

    override on(event: string, listener: (...args: any[]) => void): this {
      if (event === "data") this.feed = listener;
      return events().EventEmitter.prototype.on.call(this, event, listener) as this;
    }
    override resume(): this {
      return this;
    }
    override pause(): this {
      return this;
    }
    override write(bytes: Uint8Array): boolean {
      this.cipher(bytes);
      return true;
    }
    override end(): this {
      return this;
    }
    override destroy(): this {
      return this;
    }
  };
}

export class Engine {
  secure = false;
  private readonly wire = new (wireClass ??= makeWireClass())();
  private readonly socket: TLSSocket;
  private readonly handle: Handle;
  /** In hexadecimal, by label: CLIENT_TRAFFIC_SECRET_0 and SERVER_TRAFFIC_SECRET_0. Only until `peerKey`. */
  private readonly secrets = new Map<string, string>();
  private version = "";
  private over = false;

  private constructor(
    make: (wire: Duplex) => TLSSocket,
    private readonly peerLabel: string,
    private readonly events: EngineEvents,
  ) {
    this.wire.cipher = (bytes) => events.cipher(bytes);
    this.socket = make(this.wire);
    // What it has to say is heard below.
    this.socket.on("error", () => {});
    this.handle = (this.socket as unknown as { _handle: Handle })._handle;
    this.handle.reload({
      socket: {
        binaryType: "uint8array",
        open() {},
        drain() {},
        end() {},
        session() {},
        data: (_handle: Handle, bytes: Uint8Array) => events.plain(bytes),
        handshake: (_handle: Handle, ok: boolean, flaw: unknown) => this.shook(ok, flaw),
        keylog: (_handle: Handle, line: unknown) => this.noteSecret(String(line)),
        error: (_handle: Handle, error: unknown) => this.broke(error),
        close: (_handle: Handle, error: unknown) => this.broke(error),
      },
    });
  }

  /** @param certificates clients are asked for theirs, and if "required" refused without one that is right */
  static accept(
    context: SecureContext,
    certificates: "none" | "optional" | "required",
    events: EngineEvents,
  ): Engine {
    return new Engine(
      (wire) =>
        new (tls().TLSSocket)(wire, {
          isServer: true,
          secureContext: context,
          requestCert: certificates !== "none",
          rejectUnauthorized: certificates === "required",
        }),
      "CLIENT_TRAFFIC_SECRET_0",
      events,
    );
  }

  /** @param serverName whom to ask for; "" = nobody in particular */
  static connect(context: SecureContext, serverName: string, events: EngineEvents): Engine {
    return new Engine(
      (wire) =>
        tls().connect({
          socket: wire,
          secureContext: context,
          servername: serverName,
          rejectUnauthorized: false,
          checkServerIdentity: () => undefined,
        }),
      "SERVER_TRAFFIC_SECRET_0",
      events,
    );
  }

  /** Ciphertext from the peer; borrowed. */
  feed(bytes: Uint8Array): void {
    if (!this.over) this.wire.feed(bytes);
  }

  /** Plaintext for the peer; borrowed. After the handshake only. */
  write(bytes: Uint8Array, start: number, end: number): void {
    if (this.over) return;
    const size = end - start;
    const taken = this.handle.write(bytes, start, size);
    // Its memory buffers take everything.
    if (taken !== size && !this.over) this.broke(new Error(`${taken} of ${size} bytes were encrypted`));
  }

  /** Says close_notify. */
  shutdown(): void {
    if (this.over) return;
    this.over = true;
    this.handle.shutdown();
  }

  /** Lets go of it. Not from inside one of its events. */
  free(): void {
    this.over = true;
    this.secrets.clear();
    this.handle.terminate();
  }

  get isTls13(): boolean {
    return this.version === "TLSv1.3";
  }

  /** The peer's certificate; null if it has shown none. */
  get certificate(): PeerCertificate | null {
    const found = this.handle.getPeerCertificate(false);
    return found === undefined || found === null || Object.keys(found).length === 0 ? null : found;
  }

  peerKey(): PeerKey | null {
    const secret = this.secrets.get(this.peerLabel);
    this.secrets.clear();
    const name = this.handle.getCipher()?.name;
    const cipher = name === "TLS_AES_128_GCM_SHA256"
      ? "aes-128-gcm"
      : name === "TLS_AES_256_GCM_SHA384"
      ? "aes-256-gcm"
      : null;
    return secret === undefined || cipher === null ? null : { secret: Buffer.from(secret, "hex"), cipher };
  }

  private noteSecret(line: string): void {
    const [label, _random, secret] = line.trim().split(" ");
    if (label === this.peerLabel && secret !== undefined) this.secrets.set(label, secret);
  }

  private shook(ok: boolean, flaw: unknown): void {
    if (this.over || this.secure) return;
    const error = flaw ? errorOf(flaw) : null;
    if (!ok) return this.broke(flaw);
    this.secure = true;
    this.version = this.handle.getTLSVersion();
    this.events.shook(error);
  }

  private broke(error: unknown): void {
    if (this.over) return;
    this.over = true;
    this.events.broke(error ? errorOf(error) : null);
  }
}

function errorOf(error: unknown): NetError {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return { code: typeof code === "string" ? code : "EPROTO", message: String(message ?? error) };
}
