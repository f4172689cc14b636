/**
 * Records of requests that have been answered and serve the next ones, as most do: of those that are taken in runs
 * (redis/request_run.ts), and of those that are split (redis/split.ts) with their fragments.
 *
 *   take ──► Request ──► answered, and nothing else has become of it ──► spare ──► take
 *                   └──► anything else ──► the collector's, as ever
 *
 * Who may be known to somebody else is never spare: one that is followed, has failed, was redirected or left behind by its client. Who
 * gives one back knows that it is in no queue any more.
 */
import type { Client } from "./client.ts";
import { pin } from "./pins.ts";
import { Request } from "./request.ts";
import { NO_STAMP } from "./turn.ts";

/**
 * Some 660 KB: what 50 clients have under way in pipelines of 16 that ask several servers, and more. With half as many their MGETs took up to
 * 1.36 times the CPU: what is used again then points to what is new. With twice as many pipelines of 128 took up to 1.2 times as much: so
 * many records are not in the nearer caches any more.
 */
export const SPARES_MAX = 4096;

let spares: Request[] = [];
let count = 0;

/** As a new one, which may be given back (Request.isUsedAgain). */
export function takeRequest(client: Client | null): Request {
  let request: Request;
  if (count > 0) request = spares[--count]!;
  else {
    request = new Request(null);
    pin(1);
  }
  request.serve(client);
  return request;
}

/** It has been answered, is in no queue, and was untouched until then (Request.isUntouched). */
export function giveRequest(request: Request): void {
  request.client = null;
  request.stamp = NO_STAMP;
  if (count < SPARES_MAX) spares[count++] = request;
}

/** As `giveRequest`, for one that was split (all fragments are answered), is a fragment, or has been answered by itself. */
export function giveTimedRequest(request: Request): void {
  request.split = null;
  request.fragment = 0;
  request.writtenMs = -1;
  giveRequest(request);
}

/** For a lull: what only a load needs goes with the next collection. */
export function forgetRequests(): void {
  spares = [];
  count = 0;
}
