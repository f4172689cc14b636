/**
 * One side of a comparison with memcached: the server itself, or a proxy in front of others like it.
 */
import {
  MemcachedRequest,
  NEED_MORE,
  RequestScan,
  scanRequest,
  SKIP,
} from "../../src/protocol/memcached/request.ts";
import { latin1 } from "../lib/bytes.ts";
import { RawClient, type Target } from "../lib/client.ts";

/** Stands at the end of what was said by a side that then closed the connection. */
export const CLOSED = "<closed>";

/**
 * For memcached's -o (with -t 1): nobody tidies up behind our back. What decr, binary keys and marks become hangs on whether
 * anything else, also a reply that has not left, holds the item when it is changed.
 */
export const STILL = "no_lru_maintainer,no_lru_crawler";

const LIMITS = { keysMax: 100_000, getLineMax: 1 << 24, valueSizeMax: 1 << 30, reading: 0 };

/**
 * True if a request in `text` is one that memcached 1.6.18 and 1.6.40 read differently: we answer it ourselves, with a refusal where
 * one of them does what is asked (tests/unit/memcached_request_test.ts has them one by one).
 */
export function isStrange(text: string): boolean {
  const bytes = latin1(text);
  const scan = new RequestScan();
  const out = new MemcachedRequest();
  for (let at = 0; at < bytes.length;) {
    out.strange = 0;
    const start = at;
    at = scanRequest(bytes, at, bytes.length, LIMITS, scan, out);
    if (out.strange === 1) return true;
    if (at === SKIP) at = start + out.needed;
    else if (at === NEED_MORE || at < 0) return false;
  }
  return false;
}

/** Whose words ours are. Newer ones say some errors otherwise, and read the data behind a refused line otherwise. */
export const OLD = "1.6.18";

/** "1.6.45" */
export async function memcachedVersion(server: { target: Target }): Promise<string> {
  await using client = await RawClient.connect(server.target);
  await client.send("version\r\n");
  return (await client.readLine()).replace("VERSION ", "");
}

let fences = 0;

/** One side's connection, renewed when the other end closes it. */
export class Side implements AsyncDisposable {
  #client: RawClient | null = null;

  constructor(private readonly target: Target) {}

  /**
   * What is said to `input`, up to a fence behind it.
   * @param pieces the input, as it is to be sent; must end with a whole line
   */
  async ask(pieces: readonly string[]): Promise<string> {
    const fence = `fence${++fences}`;
    const last = `EN k${fence}\r\n`;
    const client = this.#client ??= await RawClient.connect(this.target);
    // Not one after the other: who does not read is not read from either.
    const sending = send(client, [...pieces, `mg ${fence} k\r\n`]);
    try {
      const text = await client.readUntil(last);
      await sending;
      return text.slice(0, -last.length);
    } catch (error) {
      if (!/closed|Broken pipe|reset/i.test(String(error))) throw error;
      const text = await client.readToEnd().catch(() => "");
      client.close();
      this.#client = null;
      return text + CLOSED;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#client?.close();
    return Promise.resolve();
  }
}

/** Never rejects: that the other end has closed shows when reading. */
async function send(client: RawClient, pieces: readonly string[]): Promise<void> {
  try {
    for (const piece of pieces) await client.send(piece);
  } catch {
    // see above
  }
}

/** Ages, times and process numbers; what `me` says of how an item came to lie where it lies. */
export function steady(text: string): string {
  return text.replace(/ (exp=-|exp=|la=|l|t)\d+/g, " $1#").replace(/ fetch=\w+ cls=\d+ size=\d+/g, " #")
    .replace(/^STAT (\S*) .*$/gm, "STAT $1 #");
}
