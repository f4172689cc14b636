/** What the admin routes answer, as far as the page shows it. Units are in the names; what is null is not known. */

export type State = "live" | "ejected" | "drained" | "down";

export interface Replica {
  readonly address: string;
  /** null: nobody asks it, since nothing is read from it. */
  readonly well: boolean | null;
  readonly why: string;
  readonly lag_bytes: number | null;
  readonly lag_ms: number | null;
}

export interface ServerShape {
  readonly name: string;
  readonly address: string;
  readonly weight: number;
  /** Part of the key space, 0 to 1; null where keys have no server of their own. */
  readonly share: number | null;
  readonly state: State;
  readonly why: string;
  readonly term?: number | null;
  /** Of a cluster: "0-5460 7000". */
  readonly slots?: string | readonly string[] | null;
  readonly replicas?: readonly Replica[];
  readonly counters: Readonly<Record<string, number>>;
  readonly latency?: { readonly p50_us: number | null; readonly p99_us: number | null } | null;
}

export interface CertificateShape {
  /** The key of the configuration that names it. */
  readonly key: string;
  readonly file: string;
  /** ms since the epoch. */
  readonly expires_at: number;
}

export interface PoolShape {
  readonly name: string;
  readonly protocol: string;
  readonly listen: string;
  readonly distribution: string;
  readonly hash: string;
  readonly cluster: boolean;
  readonly clients: number;
  readonly in_flight: number;
  readonly memory_bytes: number | null;
  readonly certificates: readonly CertificateShape[];
  readonly counters: Readonly<Record<string, number>>;
  readonly servers: readonly ServerShape[];
}

export interface PoolsShape {
  readonly at: number;
  /** Of the admin side itself. */
  readonly certificates: readonly CertificateShape[];
  readonly pools: readonly PoolShape[];
}

export interface EventShape {
  /** Counts up. */
  readonly id: number;
  readonly at: number;
  readonly pool: string;
  readonly server: string;
  readonly kind: string;
  readonly cause: string;
  readonly duration_ms: number;
}

/** The numbers of a second that are plotted, in the order of the plots. */
export const SERIES = [
  "requests_per_s",
  "errors_per_s",
  "p50_us",
  "p99_us",
  "in_flight",
  "clients",
  "memory_bytes",
] as const;
export type SeriesName = typeof SERIES[number];

export type Sample = { readonly name: string } & Readonly<Record<SeriesName, number | null>>;

export interface LiveShape {
  readonly at: number;
  readonly pools: readonly Sample[];
  readonly events: readonly EventShape[];
}

export interface HistoryShape {
  readonly at: readonly number[];
  readonly pools: readonly (
    & { readonly name: string }
    & Readonly<Record<SeriesName, readonly (number | null)[]>>
  )[];
  readonly events: readonly EventShape[];
}

export interface Spread {
  readonly count: number;
  readonly sum_us: number;
  readonly p50_us: number | null;
  readonly p90_us: number | null;
  readonly p99_us: number | null;
  readonly p999_us: number | null;
  readonly max_us: number | null;
}

export interface LatencyShape {
  readonly at: number;
  readonly pools: readonly {
    readonly name: string;
    readonly classes: readonly { readonly class: string; readonly waited: Spread; readonly served: Spread }[];
  }[];
}

export interface SlowEntry {
  readonly id: number;
  readonly at: number;
  readonly pool: string;
  readonly server: string | null;
  readonly client: string;
  readonly command: string;
  readonly arguments: readonly string[];
  readonly waited_us: number;
  readonly served_us: number;
}

export interface KeysShape {
  readonly at: number;
  readonly pools: readonly {
    readonly name: string;
    readonly sampled?: number;
    readonly error?: number;
    readonly keys: readonly {
      readonly key: string;
      readonly count?: number;
      readonly share?: number;
      readonly error?: number;
      readonly bytes?: number;
    }[];
  }[];
}
