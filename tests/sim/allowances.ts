/**
 * Worlds whose pool has `per_address`, or `per_user`: what its clients are refused, and whether that was right.
 *
 *   reply ──► isLater ──► a limit of just this number was in force since the request was sent, and nobody has executed it, ever
 *   at rest ──► each client has the share of its address and user, each of these as many connections as there are such clients, over all
 *               workers
 *   over all ──► servers have executed no more than the limit lets through
 */
import type { PoolConfig } from "../../src/config/config.ts";
import type { Pool } from "../../src/proxy/pool.ts";
import type { Quotas, Rates } from "../../src/stats/quotas.ts";
import type { Sent } from "./epochs.ts";
import type { Expect } from "./expect.ts";
import type { Random } from "./random.ts";
import { Violation } from "./truth.ts";

/** Clients come from so many addresses. */
export const HOSTS = 2;

const LATER =
  /^(?:-TRYAGAIN|SERVER_ERROR) (max_\w+) of (per_address|per_user) is reached: (\d+)\. Try again later\r\n$/;
/** What is answered by the proxy itself, or would leave whoever is refused in a state that he does not know of. */
const NEVER =
  /^(MULTI|EXEC|DISCARD|UNWATCH|[PS]?UNSUBSCRIBE|PING|ECHO|HELLO|AUTH|SELECT|QUIT|CLIENT|nosuch\w*|version|login|sasl|noop)\b/;

/** `per_address`, as the file has it; null: none. */
export function limitsIn(random: Random, connections = true): string | null {
  const limits: string[] = [];
  if (random.chance(0.6)) limits.push(`max_requests_per_s: ${random.magnitude(60, 3000)}`);
  if (random.chance(0.4)) limits.push(`max_bytes_per_s: ${random.magnitude(20_000, 300_000)}`);
  if (connections && random.chance(0.25)) limits.push(`max_connections: ${random.int(2, 8)}`);
  return limits.length === 0 ? null : `{ ${limits.join(", ")} }`;
}

/** What a client waits for, where it may be refused. */
export class LimitedExpect implements Expect {
  readonly unsure?: boolean;

  /** @param had since the request was sent there was such a configuration */
  constructor(
    private readonly inner: Expect,
    private readonly had: (is: (config: PoolConfig) => boolean) => boolean,
    private readonly all: LimitedExpect[],
    private readonly lineOf: (reply: string) => string,
  ) {
    if (inner.unsure !== undefined) this.unsure = inner.unsure;
  }

  accepts(reply: string): boolean {
    const { inner } = this;
    const [, name, key, number] = LATER.exec(this.lineOf(reply)) ?? [];
    if (name === undefined) return inner.accepts(reply);
    const isOf = (rates: Rates | null) =>
      String(name === "max_requests_per_s" ? rates?.requestsMax : rates?.bytesMax) === number;
    if (
      inner.isSilent || NEVER.test(inner.shown) ||
      !this.had(({ perAddress, perUser }) => isOf(key === "per_user" ? perUser : perAddress))
    ) return false;
    inner.refused?.();
    this.all.push(this);
    return inner.executed?.() !== true;
  }

  maybeSilent(): boolean {
    return this.inner.maybeSilent();
  }

  get shown(): string {
    return this.inner.shown;
  }

  get last(): boolean {
    return this.inner.last;
  }

  get counted(): boolean {
    return this.inner.counted;
  }

  gives(reply: string): boolean {
    return this.inner.gives?.(reply) === true;
  }

  executed(): boolean {
    return this.inner.executed?.() === true;
  }
}

export function newExpect(
  inner: Expect,
  sent: Sent,
  had: (sent: Sent, is: (config: PoolConfig) => boolean) => boolean,
  refused: LimitedExpect[],
  lineOf: (reply: string) => string,
): Expect {
  return new LimitedExpect(inner, (is) => had(sent, is), refused, lineOf);
}

interface Inside {
  readonly shares: readonly { readonly who: { readonly kind: number }; readonly slot: number }[];
}

/**
 * Of all workers' pools.
 * @param rests all have the same configuration, and for a while
 */
export function checkShares(pools: readonly Pool[], quotas: Quotas, rests: boolean): void {
  const counts = new Map<number, number>();
  for (const pool of pools) {
    for (const client of pool.clients) {
      const shares = (client.allowance as unknown as Inside | null)?.shares ?? [];
      const { config: { perAddress, perUser } } = pool;
      const isUser = perUser !== null &&
        (client.session as { readonly authenticated?: boolean }).authenticated;
      const due = (perAddress === null ? 0 : 1) + (isUser ? 1 : 0);
      if (
        new Set(shares.map(({ who }) => who.kind)).size < shares.length || rests && shares.length !== due
      ) {
        throw new Violation(`client ${client.peer()} has ${shares.length} shares, not ${due}`);
      }
      for (const { slot } of shares) counts.set(slot, (counts.get(slot) ?? 0) + 1);
    }
  }
  for (const slot of counts.keys()) known(quotas).add(slot);
  for (const slot of known(quotas)) {
    const [has, counted] = [counts.get(slot) ?? 0, quotas.connections(slot)];
    if (has !== counted) {
      throw new Violation(
        `an address or user has ${has} clients with a share of it, but ${counted} connections`,
      );
    }
  }
}

const slots = new WeakMap<Quotas, Set<number>>();

/** Slots that somebody has had a share of. */
function known(quotas: Quotas): Set<number> {
  let found = slots.get(quotas);
  if (found === undefined) slots.set(quotas, found = new Set());
  return found;
}
