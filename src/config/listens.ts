/**
 * Which listeners would be on one address, however it is written.
 *
 *   address ──► spots: the IP addresses it stands for, in one spelling each; or the path of a unix socket ──► first there | clash
 *
 * Two pools on one address would not always be refused by the kernel: workers listen with SO_REUSEPORT, and the clients of both
 * would land in either. 0.0.0.0 is every IPv4 address, [::] every address of both kinds, localhost both loopback addresses. Other
 * names stand for themselves until somebody has looked them up.
 */
import { realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import type { Address } from "../net/net.ts";

/** What host names stand for, by name; a name that is not in it is known by its spelling alone. */
export type HostNames = ReadonlyMap<string, readonly string[]>;

const LOCALHOST: readonly string[] = ["127.0.0.1", "::1"];
const NO_NAMES: HostNames = new Map();

/** Pairs of the given listeners that are on one address: each that is not the first there, with the first. */
export function findClashes<Listener>(
  listeners: readonly Listener[],
  addressOf: (listener: Listener) => Address,
  names: HostNames = NO_NAMES,
): { readonly first: Listener; readonly second: Listener }[] {
  const clashes: { first: Listener; second: Listener }[] = [];
  const paths = new Map<string, Listener>();
  const ports = new Map<number, Port<Listener>>();
  for (const second of listeners) {
    const address = addressOf(second);
    let first: Listener | undefined;
    if ("path" in address) {
      const path = realPath(address.path);
      first = paths.get(path);
      if (first === undefined) paths.set(path, second);
    } else {
      let port = ports.get(address.port);
      if (port === undefined) ports.set(address.port, port = new Port());
      first = port.take(spotsOf(address.host, names), second);
    }
    if (first !== undefined) clashes.push({ first, second });
  }
  return clashes;
}

/** The names among the hosts of listeners that share a port with another: what has to be looked up to know whether they clash. */
export function namesToResolve(addresses: readonly Address[]): string[] {
  const counts = new Map<number, number>();
  for (const each of addresses) {
    if ("port" in each) counts.set(each.port, (counts.get(each.port) ?? 0) + 1);
  }
  const names = new Set<string>();
  for (const each of addresses) {
    if (!("port" in each) || counts.get(each.port)! < 2) continue;
    for (const { kind } of spotsOf(each.host, NO_NAMES)) if (kind === NAME) names.add(plainName(each.host));
  }
  return [...names];
}

const NAME = 0;
const IPV4 = 4;
const IPV6 = 6;

/** One address; `text` in its only spelling. */
interface Spot {
  readonly kind: typeof NAME | typeof IPV4 | typeof IPV6;
  readonly text: string;
}

const ANY_IPV4 = "0.0.0.0";
const ANY = "::";

/** The listeners of one port. */
class Port<Listener> {
  private readonly bySpot = new Map<string, Listener>();
  private firstIpv4: Listener | undefined;
  private first: Listener | undefined;

  /** Who is at one of the spots already; if nobody is, `listener` takes them. */
  take(spots: readonly Spot[], listener: Listener): Listener | undefined {
    for (const spot of spots) {
      const other = this.at(spot);
      if (other !== undefined) return other;
    }
    for (const { kind, text } of spots) {
      this.bySpot.set(text, listener);
      if (kind === IPV4) this.firstIpv4 ??= listener;
      if (kind !== NAME) this.first ??= listener;
    }
    return undefined;
  }

  private at({ kind, text }: Spot): Listener | undefined {
    const { bySpot } = this;
    if (text === ANY) return this.first;
    if (text === ANY_IPV4) return this.firstIpv4 ?? bySpot.get(ANY);
    return bySpot.get(text) ?? (kind === IPV4 ? bySpot.get(ANY_IPV4) : undefined) ??
      (kind === NAME ? undefined : bySpot.get(ANY));
  }
}

function spotsOf(host: string, names: HostNames): Spot[] {
  const spot = literal(host);
  if (spot !== null) return [spot];
  const name = plainName(host);
  const hosts = name === "localhost" ? LOCALHOST : names.get(name) ?? [];
  const spots = hosts.map((each) => literal(each) ?? { kind: NAME, text: each } as const);
  return spots.length > 0 ? spots : [{ kind: NAME, text: name }];
}

/** The address in its only spelling, as far as that can be told without asking anybody: H:1 is h:1, and [0:0::1]:1 is [::1]:1. */
export function spelling(address: Address): string {
  if ("path" in address) return address.path;
  const spot = literal(address.host);
  return `${spot?.text ?? plainName(address.host)} ${address.port}`;
}

/** The host as everybody writes it who writes it so: in small letters, an IP address in its only spelling. */
export function spelledHost(host: string): string {
  return literal(host)?.text ?? host.toLowerCase();
}

function plainName(host: string): string {
  const name = host.toLowerCase();
  return name.endsWith(".") ? name.slice(0, -1) : name;
}

/** The host as an IP address, or null. URL knows every spelling that the C library takes (127.1, 0x7f000001, ::0:1). */
function literal(host: string): Spot | null {
  const zone = host.indexOf("%");
  const bare = zone < 0 ? host : host.slice(0, zone);
  const ipv6 = bare.includes(":");
  if (!ipv6 && !/^[0-9a-fx.]+$/i.test(bare)) return null;
  let text: string;
  try {
    text = new URL(ipv6 ? `http://[${bare}]` : `http://${bare}`).hostname;
  } catch {
    return null;
  }
  if (!ipv6) return /^[0-9.]+$/.test(text) ? { kind: IPV4, text } : null;
  text = text.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(text);
  if (mapped === null) return { kind: IPV6, text: zone < 0 ? text : text + host.slice(zone) };
  const [high, low] = [parseInt(mapped[1]!, 16), parseInt(mapped[2]!, 16)];
  return { kind: IPV4, text: `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}` };
}

/** The path without links and dots; its last part need not exist. */
function realPath(path: string): string {
  const plain = resolve(path);
  try {
    return join(realpathSync(dirname(plain)), basename(plain));
  } catch {
    return plain;
  }
}
