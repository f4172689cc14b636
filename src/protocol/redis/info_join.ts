/**
 * INFO of a pool made of what its servers say: one text that looks like one server's.
 *
 *   server 1: used_memory:900  expired_keys:3  db0:keys=5,expires=1 ┐
 *   server 2: used_memory:100  expired_keys:4  db0:keys=7,expires=0 ┴► used_memory:1000  expired_keys:7  db0:keys=12,expires=1
 *
 * What becomes of a field is written in info_fields.ts; what clients see of the pool itself (port, uptime, connected_clients) is
 * ours. With one server everything but ours passes as it is.
 */
import { modeOf } from "./announced.ts";
import type { Host } from "./answers.ts";
import { leastOf } from "./identity.ts";
import { infoText } from "./info.ts";
import { GOOD, type PairRule, pairRulesOf, RULE, ruleOf } from "./info_fields.ts";

/** Fields that are the pool's own; their values are those of `infoText`. */
const OURS: ReadonlySet<string> = new Set([
  "redis_mode",
  "process_id",
  "tcp_port",
  "uptime_in_seconds",
  "uptime_in_days",
  "connected_clients",
  "cluster_connections",
  "cluster_enabled",
  "maxclients",
  "total_connections_received",
  "total_commands_processed",
  "availability_zone",
]);

/** A section's fields; a field's values are several where it has several lines (module). */
type Section = Map<string, readonly string[]>;
type Sections = Map<string, Section>;

/**
 * @param texts what the servers that answered said to the same INFO, in the order of the servers; may be empty
 * @param wanted section names in lower case, as the client asked
 */
export function joinInfoTexts(texts: readonly string[], wanted: ReadonlySet<string>, host: Host): string {
  if (texts.length === 0) return infoText(wanted, host);
  const own = parse(infoText(wanted, host));
  const parts = texts.map(parse);
  const speaker = parts[leastOf(parts.map(versionsOf))]!;
  const joined: Sections = new Map();
  for (const name of new Set(parts.flatMap((part) => [...part.keys()]))) {
    const sections = parts.map((part) => part.get(name)).filter((s) => s !== undefined);
    const section = joinSection(sections, speaker.get(name));
    joined.set(name, section);
    for (const [field, values] of own.get(name) ?? []) if (OURS.has(field)) section.set(field, values);
  }
  for (const name of ["Keyspace", "Keysizes"]) {
    const section = joined.get(name);
    if (section !== undefined) joined.set(name, ownDatabases(section, host));
  }
  // Valkey's name for redis_mode.
  if (joined.get("Server")?.has("server_mode")) {
    joined.get("Server")!.set("server_mode", [modeOf(host.announced)]);
  }
  // A pool is one primary to its clients, whatever its servers are to each other.
  if (parts.length > 1) joined.get("Replication")?.set("role", ["master"]);
  const ringmaster = own.get("Ringmaster");
  const pieces: string[] = [];
  for (const [name, fields] of joined) {
    pieces.push(sectionText(name, fields));
    if (name === "Server" && ringmaster !== undefined) pieces.push(sectionText("Ringmaster", ringmaster));
  }
  if (!joined.has("Server") && ringmaster !== undefined) pieces.push(sectionText("Ringmaster", ringmaster));
  return pieces.join("\r\n");
}

function versionsOf(part: Sections): { redis: string; own: string } | null {
  const server = part.get("Server");
  const redis = server?.get("redis_version")?.[0];
  return redis === undefined ? null : { redis, own: server?.get("valkey_version")?.[0] ?? redis };
}

/** `db5:…` and `db5_distrib_…:…` of the databases that are the pool's, by the numbers its clients know. */
function ownDatabases(section: Section, host: Host): Section {
  const own: Section = new Map();
  for (const [field, values] of section) {
    const found = /^db(\d+)(.*)$/.exec(field);
    const db = found === null ? -1 : Number(found[1]) - host.redisDb;
    if (found === null) own.set(field, values);
    else if (db >= 0 && db < host.databases) own.set(`db${db}${found[2]}`, values);
  }
  return own;
}

function parse(text: string): Sections {
  const sections: Sections = new Map();
  let fields: Section | null = null;
  for (const line of text.split("\r\n")) {
    if (line.startsWith("# ")) {
      fields = new Map();
      sections.set(line.slice(2), fields);
    } else if (line !== "" && fields !== null) {
      const colon = line.indexOf(":");
      if (colon <= 0) continue;
      const field = line.slice(0, colon);
      fields.set(field, [...fields.get(field) ?? [], line.slice(colon + 1)]);
    }
  }
  return sections;
}

function sectionText(name: string, fields: Section): string {
  let text = `# ${name}\r\n`;
  for (const [field, values] of fields) for (const value of values) text += `${field}:${value}\r\n`;
  return text;
}

/** @param speaker of the sections, that of the server whose identity is the pool's */
function joinSection(sections: readonly Section[], speaker: Section | undefined): Section {
  const joined: Section = new Map(sections[0]);
  for (const field of new Set(sections.flatMap((section) => [...section.keys()]))) {
    const rule = ruleOf(field);
    const values = sections.map((section) => section.get(field)).filter((value) => value !== undefined);
    if (rule === RULE.HIDE || (rule === RULE.DROP && sections.length > 1)) joined.delete(field);
    else if (sections.length === 1) continue;
    else if (rule === RULE.IDENTITY) {
      const said = speaker?.get(field);
      if (said === undefined) joined.delete(field);
      else joined.set(field, said);
    } else if (rule === RULE.COMMON) joined.set(field, common(values, sections.length));
    else joined.set(field, [joinValue(field, rule, values.map((lines) => lines[0]!))]);
  }
  for (const field of joined.keys()) {
    if (sections.length === 1 || ruleOf(field) !== RULE.HUMAN) continue;
    const bytes = joined.get(field.slice(0, -"_human".length));
    if (bytes !== undefined) joined.set(field, [human(Number(bytes[0]))]);
  }
  return joined;
}

function joinValue(field: string, rule: number | undefined, values: readonly string[]): string {
  const pairRules = pairRulesOf(field);
  if (pairRules !== undefined) return joinPairs(values, (key) => pairRules[key] ?? pairRules["*"]);
  return joinNumbers(rule ?? RULE.FIRST, values);
}

function joinNumbers(rule: number, values: readonly string[]): string {
  const first = values[0]!;
  if (rule === RULE.WORST) return values.find((value) => !GOOD.has(value)) ?? first;
  if (rule !== RULE.SUM && rule !== RULE.MAX && rule !== RULE.MIN && rule !== RULE.LIMIT) return first;
  const numbers = values.map((value) => Number.parseFloat(value));
  if (numbers.some(Number.isNaN)) return first;
  if (rule === RULE.MAX) return values[numbers.indexOf(Math.max(...numbers))]!;
  if (rule === RULE.MIN) return values[numbers.indexOf(Math.min(...numbers))]!;
  if (rule === RULE.LIMIT && numbers.includes(0)) return "0";
  return shown(numbers.reduce((a, b) => a + b), first);
}

/** The lines of a field, by the names in them, that all of `servers` have: what each can do. The first server's words. */
function common(values: readonly (readonly string[])[], servers: number): readonly string[] {
  const nameOf = (line: string) => /(?:^|,)name=([^,]*)/.exec(line)?.[1] ?? line;
  if (values.length < servers) return [];
  return values[0]!.filter((line) =>
    values.every((lines) => lines.some((other) => nameOf(other) === nameOf(line)))
  );
}

type Row = ReadonlyMap<string, string>;

/** `calls=3,usec=12,usec_per_call=4.00`, `keys=5,expires=0,avg_ttl=0`. */
function joinPairs(values: readonly string[], ruleFor: (key: string) => PairRule | undefined): string {
  const rows: Row[] = values.map((value) => {
    return new Map(
      value.split(",").map((pair) => {
        const equals = pair.indexOf("=");
        return [pair.slice(0, equals), pair.slice(equals + 1)];
      }),
    );
  });
  const keys = [...new Set(rows.flatMap((row) => [...row.keys()]))];
  return keys.map((key) => {
    const said = rows.map((row) => row.get(key)).filter((value) => value !== undefined);
    const rule = ruleFor(key);
    if (typeof rule !== "object") return `${key}=${joinNumbers(rule ?? RULE.FIRST, said)}`;
    if ("mean" in rule) return `${key}=${Math.round(meanOf(rows, key, rule.by))}`;
    const [over, under] = rule.quotient;
    return `${key}=${(total(rows, over) / Math.max(1, total(rows, under))).toFixed(2)}`;
  }).join(",");
}

function total(rows: readonly Row[], key: string): number {
  return rows.reduce((sum, row) => sum + Number(row.get(key) ?? 0), 0);
}

/** Over the keys that expire, wherever they are. */
function meanOf(rows: readonly Row[], key: string, by: string): number {
  const weights = total(rows, by);
  const sum = rows.reduce((sum, row) => sum + Number(row.get(by) ?? 0) * Number(row.get(key) ?? 0), 0);
  return weights === 0 ? 0 : sum / weights;
}

/** With as many decimals as the servers show. */
function shown(value: number, sample: string): string {
  const dot = sample.indexOf(".");
  return dot < 0 ? String(value) : value.toFixed(sample.length - dot - 1);
}

function human(bytes: number): string {
  if (bytes < 1024) return `${bytes}B`;
  const power = Math.min(5, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(2)}${"BKMGTP"[power]}`;
}
