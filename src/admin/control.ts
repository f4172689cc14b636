/** What changes the whole process: /api/reload, /api/log-level; and /api/plan and /api/schema, of what it could be. */
import { LOG_KEYS, LOG_LEVELS } from "../config/schema.ts";
import { expectation } from "../config/schema.ts";
import { readValue } from "../config/values.ts";
import { ErrandError } from "../service/errands.ts";
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

/** Threads for plans at a time: each takes a core. */
const PLANS_MAX = 1;
let planning = 0;

export async function plan({ control }: Around, { body }: Asked): Promise<Answer> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw new Refused(400, "found bytes that are not UTF-8, expected the text of a configuration");
  }
  if (planning >= PLANS_MAX) throw new Refused(503, "another plan is being made");
  planning++;
  try {
    return { ...json(null), body: await control.plan(text) + "\n" };
  } catch (error) {
    if (error instanceof ErrandError) throw new Refused(400, error.message);
    throw error;
  } finally {
    planning--;
  }
}

export function schema({ control }: Around): Answer {
  return json(control.schema());
}
