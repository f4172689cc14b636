/** Where the scan of a memcached client's half-received request stands. The protocol keeps little other state of a client. */
import { RequestScan } from "../protocol/memcached/request.ts";
import type { Client } from "../proxy/client.ts";
import type { Login, User } from "../proxy/users.ts";
import type { SlicedGet } from "./slices.ts";

/** `MemcachedSession.skipBytes`, for good, of a client whose first byte was 0x80. */
export const BINARY = -1;
/** `skipBytes` of either, of a client that has to log in first (login.ts). */
export const LOCKED = -2;
/** `skipBytes` of a text client that had to log in, and need not any more: it has begun a request, which may be its login. */
export const LATE = -3;

export class BinarySession {
  /** SASL has begun, and its next step may bring the secret. */
  begun = false;
  /** Of the last packet that was taken. */
  opcode = 0;
  /** Bytes of keys that requests under way have of their own. */
  keyBytes = 0;

  /** @param skipBytes as `MemcachedSession.skipBytes` */
  constructor(public skipBytes: number) {}

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
  /** Who has logged in. */
  user: User | null = null;
  /** What has become of the login that the client offers again (proxy/users.ts); null if none waits. */
  login: Login | null = null;

  /** @param client whose it is */
  constructor(private readonly client: Client) {}

  get isLocked(): boolean {
    return (this.binary?.skipBytes ?? this.skipBytes) === LOCKED;
  }

  /** For people: as CLIENT LIST of a Redis pool begins. */
  line(): string {
    return `addr=${this.client.peer()}`;
  }
}
