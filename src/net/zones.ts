/**
 * Which zone an address stands in, by ranges of addresses and by names of hosts: the key `zones`.
 *
 * A name is compared as it is written, not by what it resolves to. Of several zones that have an address the first one counts.
 */
import { contains, type IpRange, readIp, readIpRange } from "./ip_range.ts";
import type { Address } from "./net.ts";

/** A host by its name, or all whose names end so. */
export interface HostPlace {
  /** In lower case: "redis1.example.com", or ".example.com" for all below that. */
  readonly host: string;
  /** As it was written. */
  readonly text: string;
}

export interface Zone {
  readonly name: string;
  readonly places: readonly (IpRange | HostPlace)[];
}

export const PLACE_EXPECTED =
  "an address, a range of them, the name of a host, or *.DOMAIN for all below it, such as 10.0.1.0/24 or *.a.example.com";

/** @returns what is expected instead, if it is none */
export function readPlace(text: string): IpRange | HostPlace | string {
  if (/^[0-9.]+(\/.*)?$/.test(text) || text.includes(":") || text.includes("/")) {
    const range = readIpRange(text);
    return typeof range === "string" ? PLACE_EXPECTED : range;
  }
  const host = text.toLowerCase();
  return /^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(host)
    ? { host: host.replace(/^\*/, ""), text }
    : PLACE_EXPECTED;
}

/** Null: nobody says where that is. */
export function zoneOf(zones: readonly Zone[], address: Address | null): string | null {
  if (zones.length === 0 || address === null || "path" in address) return null;
  const ip = readIp(address.host);
  const host = address.host.toLowerCase();
  const has = (place: IpRange | HostPlace) => {
    if ("bits" in place) return ip !== null && contains(place, ip);
    return place.host.startsWith(".") ? host.endsWith(place.host) : host === place.host;
  };
  return zones.find(({ places }) => places.some(has))?.name ?? null;
}
