/**
 * Servers that DNS names.
 *
 *   NAME:PORT             ──A, AAAA──► a server an address; its name is the address, as in a list of servers
 *   _redis._tcp.NAME      ──SRV──────► a server a record; its name is HOST:PORT, wherever the host is just now
 *
 * Names are made by twemproxy's rule (config/values.ts), so a list that is replaced by its like moves no key.
 */
import type { DnsFrom, ServerConfig } from "../config/config.ts";
import { makeServer } from "../config/values.ts";
import { sortServers } from "../ring/server_order.ts";
import type { Servers } from "./source.ts";

/** One SRV record. */
export interface Service {
  readonly host: string;
  readonly port: number;
  /** The lowest counts. */
  readonly priority: number;
  readonly weight: number;
}

/**
 * Questions to DNS; runtime/dns.ts answers them. Empty: there is no such name, or it has none. Rejects if nobody can tell.
 * @param nameserver "ip:port"; null: as the system is set up
 */
export interface Dns {
  addresses(name: string, nameserver: string | null): Promise<readonly string[]>;
  services(name: string, nameserver: string | null): Promise<readonly Service[]>;
}

/** The servers now; none if the name has none. */
export async function askDns({ dns: name, port, nameserver }: DnsFrom, dns: Dns): Promise<Servers> {
  if (port !== null) {
    const addresses = await dns.addresses(name, nameserver);
    return sortServers([...new Set(addresses.map(literal))].map((each) => serverOf(each, port, 1)));
  }
  const services = chosen(await dns.services(name, nameserver));
  const servers = services.map(({ host, port, weight }) => serverOf(host, port, weight));
  if (nameserver === null) return sortServers(servers);
  // Whoever is told of its own server may not know these hosts otherwise.
  const placed = await Promise.all(services.map(async ({ host, port }, i) => {
    const [address] = (await dns.addresses(host, nameserver)).map(literal).sort(ipv4First);
    const server = servers[i]!;
    if (address === undefined) return server;
    return { ...serverOf(address, port, server.weight), name: server.name };
  }));
  return sortServers(placed);
}

/** The records of the lowest priority, one a host and port, with weights that have no common divisor. */
function chosen(services: readonly Service[]): Service[] {
  const lowest = Math.min(...services.map((each) => each.priority));
  const byPlace = new Map<string, Service>();
  for (const { host, port, priority, weight } of services) {
    const plain = host.toLowerCase().replace(/\.$/, "");
    // The root as host says that there is no such service.
    if (priority !== lowest || plain === "") continue;
    const place = `${plain}:${port}`;
    const heaviest = Math.max(weight, byPlace.get(place)?.weight ?? 0, 1);
    byPlace.set(place, { host: plain, port, priority, weight: heaviest });
  }
  // Kubernetes gives each of n servers 100/n: all the same, however many there are.
  const divisor = [...byPlace.values()].reduce((most, { weight }) => commonDivisor(most, weight), 0);
  return [...byPlace.values()].map((each) => ({ ...each, weight: each.weight / divisor }));
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}

function serverOf(host: string, port: number, weight: number): ServerConfig {
  const read = makeServer(`${host}:${port}`, null, weight);
  if ("value" in read) return read.value;
  throw new Error(`found a server at ${JSON.stringify(`${host}:${port}`)}, expected ${read.expected}`);
}

/** An address in its one spelling; IPv6 in brackets. */
function literal(address: string): string {
  return address.includes(":") ? new URL(`http://[${address}]`).hostname : address;
}

function ipv4First(a: string, b: string): number {
  const [first, second] = [a.startsWith("["), b.startsWith("[")];
  return first === second ? (a < b ? -1 : 1) : first ? 1 : -1;
}
