/** Slots of keys as Redis counts them: bit by bit, unlike the proxy, which has a table; and nodes that own them. */
import type { Config } from "../../src/config/config.ts";

export const SLOTS = 16_384;

/** The slot of a key (text of one byte a character): CRC16/XMODEM of it, or of its tag. */
export function slotOf(key: string): number {
  const open = key.indexOf("{");
  const close = open < 0 ? -1 : key.indexOf("}", open);
  const hashed = close > open + 1 ? key.slice(open + 1, close) : key;
  let crc = 0;
  for (let i = 0; i < hashed.length; i++) {
    crc ^= hashed.charCodeAt(i) << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return crc % SLOTS;
}

/** `config` where its clusters have been heard: their servers have equal parts of the slots, in their order. */
export function owningSlots(config: Config): Config {
  const pools = config.pools.map((pool) => {
    if (!pool.cluster) return pool;
    const edge = (i: number) => Math.floor(i * SLOTS / pool.servers.length);
    const servers = pool.servers.map((server, i) => ({ ...server, slots: `${edge(i)}-${edge(i + 1) - 1}` }));
    return { ...pool, servers };
  });
  return { ...config, pools };
}
