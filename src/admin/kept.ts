/** What the answers of a process leave for those that come after them, which are made of it faster, or are it. */
import { Exposition } from "../stats/exposition.ts";
import { Protobuf } from "../stats/protobuf.ts";
import type { Panels } from "./panels.ts";
import type { PoolsMade } from "./pools.ts";

export class Kept {
  /** Documents of /metrics, one a format. */
  readonly text: Exposition = new Exposition("text");
  readonly openmetrics: Exposition = new Exposition("openmetrics");
  readonly protobuf: Protobuf = new Protobuf();
  /** /api/pools; null: nobody has asked. */
  pools: PoolsMade | null = null;
  /** What open pages are told; null: there has been none. */
  panels: Panels | null = null;
}
