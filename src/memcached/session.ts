/** Where the scan of a memcached client's half-received request stands. The protocol keeps little other state of a client. */
import { RequestScan } from "../protocol/memcached/request.ts";
import type { SlicedGet } from "./slices.ts";

/** `MemcachedSession.skipBytes`, for good, of a client whose first byte was 0x80. */
export const BINARY = -1;

export class BinarySession {
  /** As `MemcachedSession.skipBytes`. */
  skipBytes = 0;
  /** The answer to the request that is taken next: whether its server speaks meta commands could not be learned. */
  verdict: Uint8Array | null = null;
}

export class MemcachedSession {
  readonly scan = new RequestScan();
  /** Bytes still to come of a value that has been refused: dropped as they come. BINARY: the client speaks the binary protocol. */
  skipBytes = 0;
  /** What it has then. */
  binary: BinarySession | null = null;
  /** A get that goes out in slices. */
  sliced: SlicedGet | null = null;
}
