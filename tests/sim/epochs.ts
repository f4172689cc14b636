/**
 * Which machine owned a key when, by slow rings: one for each configuration, over the servers that were live.
 *
 *   worker 0   ──┤ configuration 1, all live ├─┤ 1, without b ├─┤ configuration 2 ├──►  now
 *   worker 1   ──┤ …                                 its commit ▲ and what each client had been read of by then
 */
import type { PoolConfig } from "../../src/config/config.ts";
import { keyOf } from "./net.ts";
import { SlowRing } from "./slow_ring.ts";

/** A worker's ring between two moments. */
interface Period {
  readonly fromMs: number;
  readonly config: PoolConfig;
  readonly ring: SlowRing;
  /** Bit i = server i is on the ring. */
  readonly mask: number;
  /** Bytes that the proxy had read of each client when the configuration became this one; null if it was it before. */
  readonly read: ReadonlyMap<number, number> | null;
}

/** A request, as far as time is concerned. */
export interface Sent {
  readonly atMs: number;
  readonly client: number;
  /** Bytes that its client had sent before it, or somewhat less. */
  readonly offset: number;
}

export class Epochs {
  /** By worker, oldest first. */
  private readonly periods: Period[][];
  private readonly rings = new Map<PoolConfig, SlowRing>();

  constructor(workers: number, private readonly nowMs: () => number) {
    this.periods = Array.from({ length: workers }, () => []);
  }

  /** @param read see Period; not null at a commit */
  note(worker: number, config: PoolConfig, mask: number, read: ReadonlyMap<number, number> | null): void {
    const mine = this.periods[worker]!;
    const last = mine.at(-1);
    if (last?.mask === mask && last.config === config && read === null) return;
    mine.push({ fromMs: this.nowMs(), config, ring: this.ringOf(config), mask, read });
  }

  /** True if one of the workers has had such a configuration since the request was sent, or taken. */
  had(sent: Sent | undefined, is: (config: PoolConfig) => boolean): boolean {
    return this.some(sent, ({ config }) => is(config));
  }

  /** True if one of the workers has had such a configuration at some moment since then. */
  hadSince(fromMs: number, is: (config: PoolConfig) => boolean): boolean {
    return this.periods.some((mine) =>
      mine.some(({ config }, i) => (mine[i + 1]?.fromMs ?? Infinity) >= fromMs && is(config))
    );
  }

  /** True if by one of the workers' rings the machine may have owned the key since the request was sent, or taken. */
  owned(machine: string, key: string, sent: Sent | undefined): boolean {
    return this.some(sent, ({ config, ring, mask }) => {
      const server = placeOf(config, machine);
      return server >= 0 && ring.owns(server, key, mask);
    });
  }

  /** True if the server of this name has been on the ring since then, or nobody was. */
  onRing(name: string, sent: Sent | undefined): boolean {
    return this.some(sent, ({ config, mask }) => {
      const server = config.servers.findIndex((one) => one.name === name);
      return mask === 0 || server >= 0 && (mask >> server & 1) === 1;
    });
  }

  /** True if some worker has taken the machine onto its ring again at `fromMs` or later. */
  returned(machine: string, fromMs: number): boolean {
    const isLive = ({ config, mask }: Period) => (mask >> placeOf(config, machine) & 1) === 1;
    return this.periods.some((mine) =>
      mine.some((one, i) => one.fromMs >= fromMs && i > 0 && isLive(one) && !isLive(mine[i - 1]!))
    );
  }

  /** True if by some worker keys may have moved since the request was sent: another configuration, or another ring. */
  moved(sent: Sent | undefined): boolean {
    return this.periods.some((mine) => mine.length > 1 && mine.at(-1)!.fromMs >= (sent?.atMs ?? Infinity));
  }

  /** The machine that owns the key now if all servers are live. */
  ownerNow(key: string): string {
    const { config, ring } = this.periods[0]!.at(-1)!;
    const all = 2 ** config.servers.length - 1;
    return keyOf(config.servers.find((_, i) => ring.owns(i, key, all))!.address!);
  }

  private some(sent: Sent | undefined, is: (period: Period) => boolean): boolean {
    return this.periods.some((mine) => {
      for (let i = mine.length - 1; i >= 0; i--) {
        const { fromMs, read } = mine[i]!;
        if (is(mine[i]!)) return true;
        if (sent === undefined) continue;
        if (fromMs < sent.atMs) return false;
        // Not one byte of it had been taken when the configuration changed.
        if (read !== null && sent.offset >= (read.get(sent.client) ?? 0)) return false;
      }
      return false;
    });
  }

  private ringOf(config: PoolConfig): SlowRing {
    let ring = this.rings.get(config);
    if (ring === undefined) this.rings.set(config, ring = new SlowRing(config));
    return ring;
  }
}

function placeOf(config: PoolConfig, machine: string): number {
  return config.servers.findIndex(({ address }) => keyOf(address!) === machine);
}
