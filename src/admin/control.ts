/** What changes the whole process: /api/reload, /api/log-level; and /api/schema, of what it can be. */
import { LOG_KEYS, LOG_LEVELS } from "../config/schema.ts";
import { expectation } from "../config/schema.ts";
import { readValue } from "../config/values.ts";
import { type Answer, type Asked, json, Refused } from "./answer.ts";
import type { Around } from "./around.ts";

export async function reload({ control }: Around): Promise<Answer> {
  const { ok, text } = await control.reload();
  return ok ? json({ text }) : json({ error: text }, 409);
}

export function logLevel({ control }: Around, { query }: Asked): Answer {
  const key = LOG_KEYS.find(({ name }) => name === "level")!;
  const read = readValue(key, query.level!);
  if (!("value" in read)) {
    throw new Refused(
      400,
      `level: found ${JSON.stringify(query.level!.slice(0, 60))}, expected ${expectation(key)}`,
    );
  }
  const level = read.value as number;
  control.setLogLevel(level);
  return json({ level, name: LOG_LEVELS[level] });
}

export function schema({ control }: Around): Answer {
  return json(control.schema());
}
