/**
 * Listening sockets that a process gives to the one that takes its place: nothing is refused and nobody is forgotten in between, since
 * there is one socket with one queue all along.
 *
 *   old: RINGMASTER_HEIRLOOMS={"127.0.0.1:22121":[3,4]}, descriptors 3 and 4 ──► new: whoever listens there takes its own
 *
 * Each thread reads the environment for itself, and takes what has its place (ListenOptions.place); what nobody takes is closed.
 */
import { closeSync } from "node:fs";
import type { Address } from "../net/net.ts";
import { addressText } from "./errors.ts";

const VARIABLE = "RINGMASTER_HEIRLOOMS";

type Heirlooms = Record<string, (number | null)[]>;

/** By address; -1 in it: taken. Read once a thread. */
let left: Heirlooms | null = null;

function heirlooms(): Heirlooms {
  if (left !== null) return left;
  try {
    left = JSON.parse(process.env[VARIABLE] ?? "{}") as Heirlooms;
  } catch {
    left = {};
  }
  return left;
}

/** A socket that listens at this address already, for this listener alone; null if none has been inherited. */
export function inherited(address: Address, place: number): number | null {
  const fds = heirlooms()[addressText(address)];
  const fd = fds?.[place] ?? null;
  if (fd !== null) fds![place] = null;
  return fd;
}

/** Somebody listens there for us until we do. */
export function isInherited(address: Address): boolean {
  return heirlooms()[addressText(address)] !== undefined;
}

/**
 * All listen now, those of other threads too: what is left of places that there are not is closed, and with it who has connected to it.
 * @param taken address and places in use
 */
export function closeOthers(taken: ReadonlyMap<string, number>): void {
  for (const [at, fds] of Object.entries(heirlooms())) {
    const places = taken.get(at) ?? 0;
    fds.forEach((fd, place) => {
      if (place >= places && fd !== null) closeSync(fd);
    });
  }
  left = {};
}

/** What the successor is told. @param sockets by address, each with its place */
export function heirloomsFor(
  sockets: readonly { readonly at: Address; readonly place: number }[],
  firstFd: number,
): Record<string, string> {
  const all: Heirlooms = {};
  sockets.forEach(({ at, place }, i) => {
    const fds = all[addressText(at)] ??= [];
    while (fds.length < place) fds.push(null);
    fds[place] = firstFd + i;
  });
  return { [VARIABLE]: JSON.stringify(all) };
}

/** Not for what this process starts later. */
export function forgetVariable(): void {
  delete process.env[VARIABLE];
}
