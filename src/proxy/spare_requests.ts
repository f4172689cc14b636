/**
 * Records of requests that have been answered and serve the next ones: of those that are taken in runs (redis/request_run.ts).
 *
 *   take ──► Request ──► answered in a run, as it was queued (ReplyQueue.deliverRun) ──► spare ──► take
 *                   └──► anything else becomes of it ──► the collector's, as ever
 *
 * Who may be known to somebody else is never spare: one that is followed, held, timed out, redirected or left behind by its client has
 * been touched (Request.isUntouched), and goes the other way.
 */
import type { Client } from "./client.ts";
import { pin } from "./pins.ts";
import { Request } from "./request.ts";
import type { Stamp } from "./turn.ts";
import { NO_STAMP } from "./turn.ts";

/** As many as are under way in a turn without pipelines; in long pipelines new ones, which lie in a row, are as cheap. */
export const SPARES_MAX = 512;

const spares: Request[] = [];
let count = 0;

/** One that has entered: see Request.enter. @param counts 1 + its class */
export function takeRequest(client: Client, stamp: Stamp, counts: number): Request {
  let request: Request;
  if (count > 0) request = spares[--count]!;
  else {
    request = new Request(null);
    pin(1);
  }
  request.serve(client, stamp, counts);
  return request;
}

/** It has been answered, is in no queue, and was untouched. */
export function giveRequest(request: Request): void {
  request.client = null;
  request.stamp = NO_STAMP;
  if (count < SPARES_MAX) spares[count++] = request;
}
