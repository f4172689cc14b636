/**
 * The peer's records on their way into the engine (tls_engine.ts), so that its close_notify never gets there.
 *
 *   type version length      type version length
 *   ┌──┬──────┬──────┬─────┐ ┌──┬──────┬──────┬──────┐
 *   │23│ 03 03│  n   │ …   │ │23│ 03 03│  19  │ alert│ ◄── TLS 1.3: encrypted like all others; TLS 1.2: type 21
 *   └──┴──────┴──────┴─────┘ └──┴──────┴──────┴──────┘
 *
 * A peer that has said close_notify may still be owed replies (`eof` of the seam), but Bun's engine closes when it meets one
 * and writes nothing more (seen on 1.4.5). So records are counted here, and one that is as long as an alert is looked into with the
 * peer's own key, which the engine tells as to a key log. What cannot be looked into goes into the engine: after a KeyUpdate, with
 * ChaCha20 or padding, replies that are still owed after a close_notify are lost, and nothing else.
 */
import { Buffer } from "node:buffer";
import { builtin } from "../bytes/builtin.ts";

const crypto = builtin<typeof import("node:crypto")>("node:crypto");

const HEAD = 5;
const ALERT = 21;
const APPLICATION = 23;
/** Level, description and the real type, and the tag of the cipher. */
const ALERT_SIZE = 19;
const TAG_SIZE = 16;
const CLOSE_NOTIFY = 0;

/** What the peer's records are encrypted with, in TLS 1.3. */
export interface PeerKey {
  /** CLIENT_TRAFFIC_SECRET_0 or SERVER_TRAFFIC_SECRET_0. */
  readonly secret: Uint8Array;
  readonly cipher: "aes-128-gcm" | "aes-256-gcm";
}

export interface Feedable {
  /** Borrowed. */
  feed(bytes: Uint8Array): void;
  /** True from the handshake's end on. */
  readonly secure: boolean;
  /** Null: TLS 1.2, or nothing to look into alerts with. Asked once, after the handshake. */
  peerKey(): PeerKey | null;
  /** Of the protocol agreed upon. */
  readonly isTls13: boolean;
}

export class Records {
  /** Bytes of a record that is under way still to come. */
  private left = 0;
  /** The beginning of a record of which too little has come. */
  private held: Uint8Array | null = null;
  /** Records since the handshake, all under the peer's first key. */
  private count = 0;
  /** The last that came in the clear, in the middle of the handshake: engines say less of it. -1: none. */
  alert = -1;
  private key: PeerKey | null | undefined = undefined;
  private derived: { readonly key: Uint8Array; readonly iv: Uint8Array } | null = null;

  constructor(private readonly engine: Feedable) {}

  /** @returns true when the peer has said close_notify: what comes after it is nothing */
  feed(bytes: Uint8Array): boolean {
    if (this.held !== null) {
      const joined = new Uint8Array(this.held.length + bytes.length);
      joined.set(this.held);
      joined.set(bytes, this.held.length);
      this.held = null;
      bytes = joined;
    }
    const { engine } = this;
    /** Given to the engine up to here. */
    let given = 0;
    let at = this.left;
    for (;;) {
      if (at >= bytes.length) {
        this.left = at - bytes.length;
        if (given < bytes.length) engine.feed(given === 0 ? bytes : bytes.subarray(given));
        return false;
      }
      // Where the handshake ends another count of records begins.
      if (!engine.secure && at > given) {
        engine.feed(bytes.subarray(given, at));
        given = at;
      }
      if (at + HEAD > bytes.length) break;
      const size = bytes[at + 3]! << 8 | bytes[at + 4]!;
      const next = at + HEAD + size;
      if (!engine.secure && bytes[at] === ALERT && size === 2 && next <= bytes.length) {
        this.alert = bytes[at + 6]!;
      }
      if (engine.secure) {
        const isAlert = this.maybeAlert(bytes[at]!, size);
        if (isAlert && next > bytes.length) break;
        if (isAlert && this.isCloseNotify(bytes, at, next)) {
          if (at > given) engine.feed(bytes.subarray(given, at));
          return true;
        }
        this.count++;
      }
      at = next;
    }
    this.left = 0;
    if (at > given) engine.feed(bytes.subarray(given, at));
    this.held = bytes.slice(at);
    return false;
  }

  private maybeAlert(type: number, size: number): boolean {
    return this.engine.isTls13 ? type === APPLICATION && size === ALERT_SIZE : type === ALERT;
  }

  private isCloseNotify(bytes: Uint8Array, at: number, end: number): boolean {
    // Of TLS 1.2's encrypted alerts all end the connection that come between two who do not renegotiate.
    if (!this.engine.isTls13) return true;
    if (this.key === undefined) this.key = this.engine.peerKey();
    if (this.key === null) return false;
    const { cipher, secret } = this.key;
    this.derived ??= derive(secret, cipher === "aes-128-gcm" ? 16 : 32);
    const nonce = new Uint8Array(this.derived.iv);
    for (let i = 11, n = this.count; n > 0; i--, n = Math.floor(n / 256)) nonce[i]! ^= n % 256;
    const opener = crypto().createDecipheriv(cipher, this.derived.key, nonce, { authTagLength: TAG_SIZE });
    opener.setAAD(bytes.subarray(at, at + HEAD));
    opener.setAuthTag(bytes.subarray(end - TAG_SIZE, end));
    try {
      const text = opener.update(bytes.subarray(at + HEAD, end - TAG_SIZE));
      opener.final();
      return text[2] === ALERT && text[1] === CLOSE_NOTIFY;
    } catch {
      // Under another key by now.
      this.key = null;
      return false;
    }
  }
}

/** RFC 8446, 7.3. */
function derive(secret: Uint8Array, keySize: number): { key: Uint8Array; iv: Uint8Array } {
  return { key: expandLabel(secret, "key", keySize), iv: expandLabel(secret, "iv", 12) };
}

/** HKDF-Expand-Label without a context, of one round: all we need is shorter than the hash. */
function expandLabel(secret: Uint8Array, label: string, size: number): Uint8Array {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.from([0, size, name.length]), name, Buffer.from([0, 1])]);
  const hash = secret.length === 48 ? "sha384" : "sha256";
  return crypto().createHmac(hash, secret).update(info).digest().subarray(0, size);
}
