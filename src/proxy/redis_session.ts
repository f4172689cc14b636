/** What a Redis client has said about itself, and where the scan of its half-received request stands. */
import type { Session } from "../protocol/redis/answers.ts";
import { RequestResume } from "../protocol/redis/request.ts";

const NONE = new Uint8Array(0);

export class RedisSession implements Session {
  name: Uint8Array = NONE;
  libName: Uint8Array = NONE;
  libVersion: Uint8Array = NONE;
  resp: 2 | 3 = 2;
  db = 0;
  noEvict = false;
  noTouch = false;
  readonly resume = new RequestResume();
  /** Offset, from the start of a half-received inline command, up to which there is no line end. */
  inlineAt = 0;

  constructor(
    readonly id: number,
    public authenticated: boolean,
    readonly sinceMs: number,
    readonly address: () => string,
    readonly localAddress: () => string,
  ) {}
}
