/** Where the scan of a memcached client's half-received request stands. The protocol keeps no other state of a client. */
import { RequestScan } from "../protocol/memcached/request.ts";

export class MemcachedSession {
  readonly scan = new RequestScan();
  /** Bytes still to come of a value that has been refused: dropped as they come. */
  skipBytes = 0;
}
