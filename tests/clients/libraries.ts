/** The client libraries under test, in the order of the table. */
import type { Library } from "./driver.ts";
import { IOREDIS } from "./ioredis.ts";
import { NODE_REDIS } from "./node_redis.ts";
import { REDIS_CLI } from "./redis_cli.ts";
import { pythonLibrary } from "./python.ts";

export const LIBRARIES: readonly Library[] = [...IOREDIS, ...NODE_REDIS, pythonLibrary(), ...REDIS_CLI];

/** "ioredis 6.0.0 RESP3", with a star where that is what it speaks by default. */
export function title(library: Library): string {
  return `${library.name} RESP${library.resp}${library.isDefault ? "" : " (asked for)"}`;
}
