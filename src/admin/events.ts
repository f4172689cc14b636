/** /api/events: what has happened to servers and configuration. */
import type { TopologyEvent } from "../topology/events.ts";
import { type Answer, type Asked, Refused } from "./answer.ts";
import type { Around } from "./around.ts";
import { each, longJson } from "./long_json.ts";

export function events({ clock, turns, director }: Around, { query }: Asked): Promise<Answer> {
  const after = query.after === "" ? 0 : Number(query.after);
  if (!Number.isSafeInteger(after) || after < 0) {
    throw new Refused(400, `after: found ${JSON.stringify(query.after)}, expected an event's id`);
  }
  const { events } = director;
  return longJson(turns, {
    at: clock.wallMs(),
    last: events.seen.count,
    events: each(events.latest().filter(({ id }) => id > after), 1, eventShape),
  });
}

/** An event as all answers show it. */
export function eventShape({ id, atMs, pool, server, kind, cause, durationMs }: TopologyEvent) {
  return { id, at: atMs, pool, server, kind, cause, duration_ms: durationMs };
}
