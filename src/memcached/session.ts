/** Where the scan of a memcached client's half-received request stands. The protocol keeps little other state of a client. */
import { RequestScan } from "../protocol/memcached/request.ts";
import type { SlicedGet } from "./slices.ts";

export class MemcachedSession {
  readonly scan = new RequestScan();
  /** Bytes still to come of a value that has been refused: dropped as they come. */
  skipBytes = 0;
  /** A get that goes out in slices. */
  sliced: SlicedGet | null = null;
}
