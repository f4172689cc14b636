/** /api/events: what has happened to servers and configuration. */
import type { TopologyEvent } from "../topology/events.ts";
import { type Answer, type Asked, json, Refused } from "./answer.ts";
import type { Around } from "./around.ts";

export function events({ clock, director }: Around, { query }: Asked): Answer {
  const after = query.after === "" ? 0 : Number(query.after);
  if (!Number.isSafeInteger(after) || after < 0) {
    throw new Refused(400, `after: found ${JSON.stringify(query.after)}, expected an event's id`);
  }
  const { events } = director;
  return json({
    at: clock.wallMs(),
    last: events.seen.count,
    events: events.latest().filter(({ id }) => id > after).map(eventShape),
  });
}

/** An event as all answers show it. */
export function eventShape({ id, atMs, pool, server, kind, cause, durationMs }: TopologyEvent) {
  return { id, at: atMs, pool, server, kind, cause, duration_ms: durationMs };
}
