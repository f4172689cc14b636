/**
 * Requests that go the short way (see RedisFront.dispatch) and that nobody looks at, as most do: they are taken in a loop of their own.
 *
 *   GET a GET b GET c GET d …     a and b to one server, c and d to another: a Request each, and two pieces are written
 */
import type { Args } from "../protocol/redis/args.ts";
import { checkArity, type Command } from "../protocol/redis/command.ts";
import { findCommand } from "../protocol/redis/commands.ts";
import { type RequestLimits, scanRequest } from "../protocol/redis/request.ts";
import type { Client } from "../proxy/client.ts";
import type { Front } from "../proxy/front.ts";
import type { Pool } from "../proxy/pool.ts";
import type { Request } from "../proxy/request.ts";
import type { Seen } from "../proxy/seen.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";
import { takeRequest } from "../proxy/spare_requests.ts";
import { NO_SERVER } from "../ring/placement.ts";
import { REQUESTS_TOTAL } from "../stats/metrics.ts";
import type { RedisSession } from "./session.ts";

/** Larger ones leave by themselves. */
const RUN_REQUEST_MAX = 4 * 1024;

export class RequestRuns {
  /** What the scan has said of the request behind the run, for the front; 0 = nothing yet. */
  scanned = 0;
  /** Its command, if it has been looked up here. */
  found: Command | undefined = undefined;
  private readonly seen: Seen;

  /** @param args where a request's arguments are noted; those of the one behind the run stay there */
  constructor(
    private readonly pool: Pool,
    private readonly args: Args,
    private readonly front: Front,
  ) {
    this.seen = pool.seen;
  }

  /**
   * Takes one request behind the other: each gets its Request, and those next to each other that go to the same server are written in
   * one piece.
   * @returns offset past the last one taken. What follows has been scanned then, if `scanned` is not 0
   */
  take(
    client: Client,
    session: RedisSession,
    bytes: Uint8Array,
    start: number,
    end: number,
    limits: RequestLimits,
  ): number {
    const { front, seen, pool: { servers, counters } } = this;
    const { stamp } = client;
    const most = Math.min(client.room, seen.drawAt - 1 - counters[REQUESTS_TOTAL]!);
    const sizeMax = Math.min(RUN_REQUEST_MAX, seen.bigFloor);
    let at = start;
    let count = 0;
    let command: Command | undefined;
    let first: Request | null = null;
    let last: Request | null = null;
    // The piece that is to be written: bytes[from, at), of so many requests.
    let owner = NO_SERVER;
    let connection: ServerConnection | null = null;
    let from = start;
    let pieces = 0;
    for (;;) {
      const index = count < most && at < end
        ? this.serverAt(session, bytes, at, end, limits, sizeMax)
        : NO_SERVER;
      if (index !== owner || index < 0) {
        // Written in one place only: engines put all of it in where it is called.
        if (connection !== null) connection.writeRun(bytes, from, at, pieces);
        if (index < 0) break;
        connection = front.connectionTo(client, servers[index]!);
        if (connection === null || !connection.takesRuns) break;
        owner = index;
        from = at;
        pieces = 0;
      }
      command = this.found!;
      const request = takeRequest(client);
      request.enter(stamp, false, 1 + command.latencyClass);
      connection!.queue(request, this.scanned - at);
      if (last === null) first = request;
      else last.next = request;
      last = request;
      at = this.scanned;
      count++;
      pieces++;
    }
    if (count === 0) return start;
    client.enqueueRun(first!, last!, count);
    counters[REQUESTS_TOTAL]! += count;
    session.command = command;
    return at;
  }

  /** @returns where the request at `at` goes, of which `scanned` and `found` tell; negative: it is not one for a run */
  private serverAt(
    { resume, rights }: RedisSession,
    bytes: Uint8Array,
    at: number,
    end: number,
    limits: RequestLimits,
    sizeMax: number,
  ): number {
    const { args } = this;
    const next = this.scanned = scanRequest(bytes, at, end, args, limits, resume);
    if (next < 0 || next - at > sizeMax || args.count === 0) return NO_SERVER;
    const found = this.found = findCommand(bytes, args.starts[0]!, args.ends[0]!);
    if (found === undefined || !found.direct || !checkArity(found, args.count)) return NO_SERVER;
    const key = found.firstKey;
    if (rights !== null && rights.free[found.id] !== 1 && !rights.allowsOne(found, key, bytes, args)) {
      return NO_SERVER;
    }
    return this.pool.placement.serverOf(bytes, args.starts[key]!, args.ends[key]!);
  }
}
