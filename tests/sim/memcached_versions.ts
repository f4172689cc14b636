/**
 * What the memcacheds of a world make of the lines that the proxy answers itself: it answers as the oldest that it knows of.
 *
 * Where nothing goes wrong it knows all that the pool has at some moment since the client came. Elsewhere it may know some of them, or what
 * there was before.
 */
import type { PoolConfig } from "../../src/config/config.ts";
import { OLDEST } from "../../src/memcached/versions.ts";
import type { Judge } from "./expect.ts";
import type { Plan } from "./plan.ts";

const NEWER_FROM = 40;

function isNewer(version: string): boolean {
  return minorOf(version) >= NEWER_FROM;
}

function minorOf(version: string): number {
  return Number(version.split(".")[2]);
}

/** What a pool of such servers says it is. */
function saidBy(versions: readonly string[]): string {
  const oldest = versions.reduce((a, b) => minorOf(b) < minorOf(a) ? b : a);
  return isNewer(oldest) ? oldest : OLDEST;
}

export class Versions {
  /** All that may be said. */
  readonly possible: ReadonlySet<string>;
  /** Lines are read as the newer ones do, or not, all the time; null: nobody knows beforehand. */
  readonly newer: boolean | null;
  private readonly certain: boolean;

  constructor(private readonly plan: Plan, private readonly judge: Judge) {
    const { versions } = plan;
    this.possible = new Set([OLDEST, ...versions.filter(isNewer)]);
    this.certain = plan.calm && !plan.longTurns && plan.stops.length === 0;
    const said = new Set(plan.pools.map((config) => isNewer(this.of(config))));
    const [first] = said;
    this.newer = this.possible.size === 1 ? false : this.certain && said.size === 1 ? first! : null;
  }

  /** Some are of the newer line: what is answered hangs on it. */
  get matter(): boolean {
    return this.possible.size > 1;
  }

  /** May `version` be answered to the request of this tag? */
  maySay(version: string, tag: string): boolean {
    if (!this.certain) return this.possible.has(version);
    return this.judge.hadSinceItCame(tag, (config) => this.of(config) === version);
  }

  mayRead(newer: boolean, tag: string): boolean {
    return [...this.possible].some((version) => isNewer(version) === newer && this.maySay(version, tag));
  }

  private of({ servers }: PoolConfig): string {
    return saidBy(
      servers.map(({ address }) => this.plan.versions[machineAt((address as { host: string }).host)]!),
    );
  }
}

/** See machineAddress. */
function machineAt(host: string): number {
  return Number(host.split(".")[3]) - 1;
}
