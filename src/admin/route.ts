/** /api/route: where a key lives and why, with the servers as they are now. */
import { encode } from "../bytes/ascii.ts";
import { unhex } from "../bytes/hex.ts";
import type { PoolConfig } from "../config/config.ts";
import { explainSteps, type ReadCandidate } from "../topology/explain.ts";
import { type Answer, type Asked, json, Refused } from "./answer.ts";
import type { Around } from "./around.ts";
import { replicasOf, whyOff } from "./pools.ts";

/** Longest key, in bytes of its text. */
const KEY_MAX = 4096;

export async function route(around: Around, { query }: Asked): Promise<Answer> {
  const { service, director, turns } = around;
  const { pools, process } = service.config;
  const pool = poolOf(pools, query.pool!);
  const key = keyOf(query.key!, query.hex === "yes");
  const cells = service.board.pools[pools.indexOf(pool)]?.servers;
  const states = director.states().get(pool.name) ?? [];
  const stateOf = (server: number) => states.find((state) => state.server === pool.servers[server]!.name);
  const steps = explainSteps(pool, key, {
    zone: process.zone,
    offRing: (server) => whyOff(cells?.[server]),
    addressOf: (server) => stateOf(server)?.primary?.text ?? pool.servers[server]!.addressText,
    replicasOf: (server): ReadCandidate[] => {
      const name = pool.servers[server]!.name;
      const health = director.replicas(pool.name, name);
      return replicasOf(pool.servers[server]!, stateOf(server), health, pool.readFrom !== "primary").map(
        ({ address, zone, well, why }) => ({ address, zone, well: well === true, why }),
      );
    },
  });
  return json(await turns.all(steps));
}

function poolOf(pools: readonly PoolConfig[], name: string): PoolConfig {
  const found = name === "" && pools.length === 1 ? pools[0] : pools.find((pool) => pool.name === name);
  if (found !== undefined) return found;
  const names = pools.map((pool) => pool.name).join(", ");
  throw new Refused(404, `pool: found ${JSON.stringify(name.slice(0, 100))}, expected one of ${names}`);
}

function keyOf(text: string, hex: boolean): Uint8Array {
  if (!hex) {
    const key = encode(text);
    if (key.length <= KEY_MAX) return key;
  } else if (text.length <= 2 * KEY_MAX) {
    const key = unhex(encode(text));
    if (key !== null) return key;
  }
  throw new Refused(400, `key: expected at most ${KEY_MAX} bytes${hex ? " in pairs of hex digits" : ""}`);
}
