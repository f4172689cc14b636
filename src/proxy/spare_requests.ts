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

/** Some 330 KB: what 128 clients have under way in pipelines of 16. With 512 the others were as dear as if there were none. */
export const SPARES_MAX = 2048;

const spares: Request[] = [];
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

/** As `giveRequest`, for one that was split, or is a fragment; all are answered. */
export function giveSplitRequest(request: Request): void {
  request.split = null;
  request.fragment = 0;
  request.writtenMs = -1;
  giveRequest(request);
}
