/**
 * Which server owns a key, computed the slow way: from the rules of twemproxy in words, with node's MD5 and a linear
 * search, so that it shares nothing with src/ring but the hash functions (which tests/vectors pins).
 */
import { createHash } from "node:crypto";
import type { PoolConfig } from "../../src/config/config.ts";
import { HASHES } from "../../src/hash/hash.ts";
import { latin1 } from "../lib/bytes.ts";

interface Point {
  readonly value: number;
  readonly server: number;
}

export class SlowRing {
  private readonly points = new Map<number, readonly Point[]>();

  constructor(private readonly config: PoolConfig) {}

  /**
   * @param live bit i = server i is on the ring
   * @returns true if the server with this index may own the key
   */
  owns(server: number, key: string, live: number): boolean {
    const { config } = this;
    if (config.servers.length === 1) return live !== 0;
    if ((live >> server & 1) === 0) return false;
    if (config.distribution === "random") return true;
    return this.owner(key, live) === server;
  }

  private owner(key: string, live: number): number {
    const { config } = this;
    const bytes = latin1(this.hashed(key));
    const hash = bytes.length === 0 ? 0 : HASHES[config.hash](bytes, 0, bytes.length) >>> 0;
    if (config.distribution === "modula") {
      const list: number[] = [];
      config.servers.forEach((server, i) => {
        if (live >> i & 1) { for (let w = 0; w < server.weight; w++) list.push(i); }
      });
      return list[hash % list.length]!;
    }
    const points = this.ketama(live);
    return (points.find((point) => point.value >= hash) ?? points[0]!).server;
  }

  private hashed(key: string): string {
    const tag = this.config.hashTag;
    if (tag === null) return key;
    const open = key.indexOf(String.fromCharCode(tag[0]!));
    const close = open < 0 ? -1 : key.indexOf(String.fromCharCode(tag[1]!), open + 1);
    return close > open + 1 ? key.slice(open + 1, close) : key;
  }

  private ketama(live: number): readonly Point[] {
    const known = this.points.get(live);
    if (known !== undefined) return known;
    const { servers } = this.config;
    const present = servers.map((_, i) => i).filter((i) => live >> i & 1);
    const total = present.reduce((sum, i) => sum + servers[i]!.weight, 0);
    const f = Math.fround;
    const points: Point[] = [];
    for (const i of present) {
      const share = f(f(servers[i]!.weight) / f(total));
      const labels = Math.floor(f(f(f(f(share * 160) / 4) * f(present.length)) + 1e-10));
      for (let n = 0; n < labels; n++) {
        const digest = createHash("md5").update(`${servers[i]!.name}-${n}`).digest();
        for (let w = 0; w < 16; w += 4) points.push({ value: digest.readUInt32LE(w), server: i });
      }
    }
    points.sort((a, b) => a.value - b.value || a.server - b.server);
    this.points.set(live, points);
    return points;
  }
}
