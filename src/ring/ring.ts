/** The placement of keys on servers: what every distribution provides. */

/** What a ring needs to know of a server. Rings get the pool's servers in twemproxy's order (name length, then bytes). */
export interface RingServer {
  /** The string that ketama hashes: the configured name, or host:port (host alone for port 11211), or path + ":". */
  readonly name: string;
  /** Integer ≥ 1. */
  readonly weight: number;
}

export interface Ring {
  /** The index (into the servers the ring was built from) that owns a key of this hash; hash is a uint32. */
  lookup(hash: number): number;
}
