/** /api/clients: who is connected, a page at a time. */
import { quoted } from "../config/config_error.ts";
import { CLIENTS_MAX, type ClientSeen } from "../service/seen.ts";
import { type Answer, type Asked, Refused } from "./answer.ts";
import type { Around } from "./around.ts";
import { each, longJson } from "./long_json.ts";
import { countOf, poolOf } from "./parameters.ts";

const COUNT = 100;

export async function clients(around: Around, { query }: Asked): Promise<Answer> {
  const { clock, turns, service, config } = around;
  const pool = poolOf(config, query.pool!);
  const count = countOf(query.count!, COUNT, CLIENTS_MAX);
  const after = afterOf(query.cursor!);
  const answers = await service.gather("clients", { pool, after, count });
  const places = new Map(config.pools.map(({ name }, i) => [name, i]));
  const place = (client: ClientSeen) => places.get(client.pool) ?? places.size;
  const all = merged(answers.map(({ answer }) => answer), (a, b) => place(a) - place(b) || a.id - b.id);
  const page = all.slice(0, count);
  const last = page.at(-1);
  const cursor = page.length < count || last === undefined ? null : `${last.id}@${last.pool}`;
  return await longJson(turns, {
    at: clock.wallMs(),
    clients: each(page, 1, (client) => client),
    cursor,
  });
}

/** Each of the lists is in order; most often all of one come before all of the next. */
function merged<T>(lists: readonly (readonly T[])[], compare: (a: T, b: T) => number): T[] {
  return lists.length === 1 ? [...lists[0]!] : lists.flat().sort(compare);
}

/** "17@alpha": behind client 17 of pool alpha. */
function afterOf(text: string): { pool: string; id: number } | null {
  if (text === "") return null;
  const match = /^([0-9]{1,16})@([^]*)$/.exec(text);
  if (match === null) {
    throw new Refused(400, `cursor: found ${quoted(text)}, expected one from a page before`);
  }
  return { pool: match[2]!, id: Number(match[1]) };
}
