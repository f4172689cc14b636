/**
 * One of the two that are compared: a pool of a configuration, its proxy, or none, and its servers.
 *
 *   key ──► ownerOf: the server that the file says ──► read: of the proxy, or of that server itself
 */
import type { PoolConfig } from "../config/config.ts";
import { placementOf } from "../topology/placement.ts";
import type { Placement } from "../ring/placement.ts";
import { NOBODY, ownersOf } from "../ring/slots.ts";
import type { Peer } from "./peer.ts";
import type { Reading } from "./reading.ts";

export const NO_OWNER = -1;

export class Side {
  /** null: keys have no server of their own, or nobody has said which servers there are. */
  readonly placement: Placement | null;
  private readonly slotOwners: Uint16Array | null;

  /**
   * @param label "OLD" or "NEW"
   * @param pool null: only an address is known
   * @param proxy null: the servers are read
   * @param servers in the order of the pool's; null: it has no address of its own, or it is not to be asked
   * @param arrived told how many requests this has brought to a server of the pool, by its index
   */
  constructor(
    readonly label: string,
    readonly pool: PoolConfig | null,
    readonly proxy: Peer | null,
    readonly servers: readonly (Peer | null)[],
    private readonly arrived: (server: string, requests: number) => void,
  ) {
    const drawn = pool?.distribution === "random" && pool.servers.length > 1;
    this.placement = pool === null || drawn ? null : placementOf(pool, () => 0);
    this.slotOwners = pool?.cluster ? ownersOf(pool.servers) : null;
  }

  /** The index of the server that has the key; NO_OWNER if that cannot be said. */
  ownerOf(key: Uint8Array): number {
    const { placement, slotOwners } = this;
    if (placement === null) return NO_OWNER;
    if (slotOwners !== null && slotOwners[placement.slotOf(key, 0, key.length)] === NOBODY) return NO_OWNER;
    return placement.serverOf(key, 0, key.length);
  }

  /** The index of the server at this address; NO_OWNER: it has none there. */
  serverAt(address: string): number {
    return this.pool?.servers.findIndex((server) => server.addressText === address) ?? NO_OWNER;
  }

  /** "s17 (127.0.0.1:6379)". */
  serverText(server: number): string {
    const { name, addressText } = this.pool!.servers[server]!;
    return name === addressText ? name : `${name} (${addressText})`;
  }

  /** A reading for each key, in their order. Never rejects. */
  async read(keys: readonly Uint8Array[]): Promise<Reading[]> {
    const owners = keys.map((key) => this.ownerOf(key));
    const { proxy } = this;
    if (proxy !== null) {
      const before = proxy.asked;
      const readings = await proxy.read(keys);
      for (const owner of owners) this.count(owner, (proxy.asked - before) / keys.length);
      return readings;
    }
    const readings: Reading[] = keys.map(() => ({ kind: "error", text: "no server is known that has it" }));
    await this.each(owners, async (peer, own, owner) => {
      const before = peer.asked;
      const told = await peer.read(own.map((at) => keys[at]!));
      own.forEach((at, i) => readings[at] = told[i]!);
      this.count(owner, peer.asked - before);
    });
    return readings;
  }

  /** Whether the server that the file says has each of them; null: not told. */
  async areHome(keys: readonly Uint8Array[]): Promise<(boolean | null)[]> {
    const answers: (boolean | null)[] = keys.map(() => null);
    await this.each(keys.map((key) => this.ownerOf(key)), async (peer, own, owner) => {
      const told = await peer.has(own.map((at) => keys[at]!));
      own.forEach((at, i) => answers[at] = told[i]!);
      this.count(owner, own.length);
    });
    return answers;
  }

  /** Looks for the keys on all servers. @returns the index of the first that has each; NO_OWNER: none has it, or none says so */
  async locate(keys: readonly Uint8Array[]): Promise<number[]> {
    const found = keys.map(() => NO_OWNER);
    await Promise.all(this.servers.map(async (peer, server) => {
      if (peer === null) return;
      const told = await peer.has(keys);
      this.count(server, keys.length);
      told.forEach((has, at) => {
        if (has === true && (found[at] === NO_OWNER || found[at]! > server)) found[at] = server;
      });
    }));
    return found;
  }

  /** Calls `ask` for each server that can be asked, with which of the owners it is. */
  private async each(
    owners: readonly number[],
    ask: (peer: Peer, own: readonly number[], owner: number) => Promise<void>,
  ): Promise<void> {
    const groups = new Map<number, number[]>();
    owners.forEach((owner, at) => groups.set(owner, [...groups.get(owner) ?? [], at]));
    await Promise.all([...groups].map(([owner, own]) => {
      const peer = owner === NO_OWNER ? null : this.servers[owner] ?? null;
      return peer === null ? Promise.resolve() : ask(peer, own, owner);
    }));
  }

  private count(server: number, requests: number): void {
    if (server !== NO_OWNER) this.arrived(this.pool!.servers[server]!.addressText, requests);
  }
}
