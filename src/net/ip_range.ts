/**
 * Addresses of IPv4 and IPv6 and ranges of them, from text and compared.
 *
 * An IPv4 address that is mapped into IPv6 (::ffff:10.0.0.1) is that IPv4 address, everywhere. Apart from that the two families
 * have nothing in common: ::/0 has no IPv4 address.
 */

/** 4 bytes of IPv4 or 16 of IPv6, none of which is a mapped one. */
export type Ip = readonly number[];

/** All addresses of a family whose first `bits` bits are those of `ip`. */
export interface IpRange {
  readonly ip: Ip;
  readonly bits: number;
  /** As it was written. */
  readonly text: string;
}

const MAPPED: readonly number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
const MAPPED_BITS = 96;

/** "10.0.0.1" or "2001:db8::1", without brackets, port or zone; null if it is neither. */
export function readIp(text: string): Ip | null {
  const ip = text.includes(":") ? readV6(text) : readV4(text);
  return ip === null ? null : unmapped(ip);
}

/** The address in "10.0.0.1:6379" or "[::1]:6379", as sockets tell their peer's; null for what has none, such as "unix". */
export function ipOfPeer(peer: string): Ip | null {
  const colon = peer.lastIndexOf(":");
  if (colon < 0) return null;
  // A link's zone says where the address is known, not which it is.
  return readIp(peer.slice(0, colon).replace(/^\[|\]$/g, "").replace(/%.*$/, ""));
}

/** An IPv4 address that is mapped into IPv6, as IPv4; others as they are. */
export function unmapped(ip: Ip): Ip {
  return ip.length === 16 && MAPPED.every((byte, i) => ip[i] === byte) ? ip.slice(12) : ip;
}

/** As RFC 5952 wants it: the longest run of zero groups is "::". */
export function ipText(ip: Ip): string {
  if (ip.length === 4) return ip.join(".");
  const groups = Array.from({ length: 8 }, (_, i) => (ip[2 * i]! * 256 + ip[2 * i + 1]!).toString(16));
  const text = groups.join(":");
  const runs = text.match(/(?:^|:)0(?::0)+(?![0-9a-f])/g);
  if (runs === null) return text;
  const longest = runs.reduce((a, b) => b.length > a.length ? b : a);
  const at = text.indexOf(longest);
  return `${text.slice(0, at)}::${text.slice(at + longest.length + 1)}`;
}

export const RANGE_EXPECTED = "an address or a range of them, such as 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7";

/** ADDRESS/BITS, or an address alone. @returns what is expected instead, if it is none */
export function readIpRange(text: string): IpRange | string {
  const slash = text.indexOf("/");
  const written = slash < 0 ? text : text.slice(0, slash);
  const raw = written.includes(":") ? readV6(written) : readV4(written);
  if (raw === null) return RANGE_EXPECTED;
  const all = raw.length * 8;
  const digits = text.slice(slash + 1);
  const said = slash < 0 ? all : /^(0|[1-9][0-9]{0,2})$/.test(digits) ? Number(digits) : Infinity;
  if (said > all) return `0 to ${all} bits after the slash (${RANGE_EXPECTED})`;
  const base = raw.map((byte, i) => byte & mask(said, i));
  // A bit that does not count is a slip: 10.1.2.3/8 may have meant /32.
  if (base.some((byte, i) => byte !== raw[i])) {
    return `${ipText(base)}/${said}, or ${written} alone: bits beyond the first ${said} do not count`;
  }
  const ip = said >= MAPPED_BITS ? unmapped(raw) : raw;
  return { ip, bits: ip.length < raw.length ? said - MAPPED_BITS : said, text };
}

export function contains(range: IpRange, ip: Ip): boolean {
  if (range.ip.length !== ip.length) return false;
  for (let i = 0; i < ip.length; i++) {
    if (((range.ip[i]! ^ ip[i]!) & mask(range.bits, i)) !== 0) return false;
  }
  return true;
}

/** The bits of byte `i` that are among the first `bits` of an address. */
function mask(bits: number, i: number): number {
  const here = Math.min(8, Math.max(0, bits - 8 * i));
  return (0xff00 >> here) & 0xff;
}

function readV4(text: string): number[] | null {
  const parts = text.split(".");
  // Leading zeros are octal to some.
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part))) return null;
  const bytes = parts.map(Number);
  return bytes.every((byte) => byte <= 255) ? bytes : null;
}

function readV6(text: string): number[] | null {
  // The longest has 45 characters.
  if (text.length > 45) return null;
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const [head, tail] = halves.map((half, i) => groupsOf(half, i === halves.length - 1));
  if (head === null || tail === null) return null;
  if (tail === undefined) return head!.length === 16 ? head! : null;
  // "::" stands for one group of zeros or more.
  const zeros = 16 - head!.length - tail.length;
  return zeros >= 2 ? [...head!, ...Array.from({ length: zeros }, () => 0), ...tail] : null;
}

/** The bytes of "2001:db8" or, at the end of an address, "ffff:10.0.0.1"; null if it is not that. */
function groupsOf(text: string, last: boolean): number[] | null {
  const bytes: number[] = [];
  if (text === "") return bytes;
  const groups = text.split(":");
  for (const [i, group] of groups.entries()) {
    if (last && i === groups.length - 1 && group.includes(".")) {
      const v4 = readV4(group);
      if (v4 === null) return null;
      bytes.push(...v4);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(group)) {
      const value = parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
    } else return null;
  }
  return bytes;
}
