/**
 * Addresses as the kernel wants them, struct sockaddr_in, _in6 and _un, and back.
 *
 *   _in   family(2) port(2, big endian) address(4)
 *   _in6  family(2) port(2, big endian) flow(4) address(16) scope(4)
 *   _un   family(2) path, ended by 0
 */
import { Buffer } from "node:buffer";
import { isIP } from "./ip_text.ts";
import { ipText } from "../net/ip_range.ts";
import { AF_INET, AF_INET6, AF_UNIX, type Libc, type Pointer } from "./libc.ts";

const SIZE_MAX = 112;
const V4_SIZE = 16;
const V6_SIZE = 28;

export class SockAddr {
  readonly bytes: Uint8Array = new Uint8Array(SIZE_MAX);
  readonly at: Pointer;
  size = 0;
  private readonly view = new DataView(this.bytes.buffer);

  constructor(private readonly libc: Libc) {
    this.at = libc.addressOf(this.bytes);
  }

  get family(): number {
    return this.view.getUint16(0, true);
  }

  get port(): number {
    return this.view.getUint16(2);
  }

  /** @param host an IPv4 or IPv6 address as text, without brackets. False if it is none. */
  setHost(host: string, port: number): boolean {
    const v4 = isIP(host) === 4;
    const family = v4 ? AF_INET : AF_INET6;
    this.bytes.fill(0);
    this.view.setUint16(0, family, true);
    this.view.setUint16(2, port);
    this.size = v4 ? V4_SIZE : V6_SIZE;
    const text = Buffer.from(`${host}\0`);
    const to = this.at + (v4 ? 4 : 8);
    return this.libc.calls.inet_pton(family, this.libc.addressOf(text), to) === 1;
  }

  setPath(path: string): void {
    const text = Buffer.from(path);
    this.bytes.fill(0);
    this.view.setUint16(0, AF_UNIX, true);
    this.bytes.set(text.subarray(0, SIZE_MAX - 3), 2);
    this.size = 2 + text.length + 1;
  }

  /** "10.0.0.1", "::1", or "" for a unix socket. IPv4 that came to an IPv6 listener is shown as IPv4. */
  hostText(): string {
    const { bytes, family } = this;
    if (family === AF_INET) return bytes.subarray(4, 8).join(".");
    if (family !== AF_INET6) return "";
    if (this.view.getUint32(16) === 0xffff && this.view.getBigUint64(8) === 0n) {
      return bytes.subarray(20, 24).join(".");
    }
    return v6Text(this.view);
  }
}

/** The IPv6 address in a sockaddr_in6. */
export function v6Text(view: DataView): string {
  return ipText(Array.from({ length: 16 }, (_, i) => view.getUint8(8 + i)));
}
