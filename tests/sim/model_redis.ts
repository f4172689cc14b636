/**
 * The Redis of the simulator: src/demo's, which notes what it executes under the tags it finds, and makes replies unique
 * by adding the tag to them. The proxy passes bytes through, so it cannot know.
 *
 *   GET user~3.17.0   is executed as  GET user   and answered  $n value|3.17.0
 *   SET user~3.18.0 =3.18;xxx                    and answered  +OK 3.18.0
 */
import { MemoryRedis } from "../../src/demo/memory_redis.ts";
import type { Session } from "../../src/demo/redis/command.ts";
import type { Truth } from "./truth.ts";

/** Marks a tag at the end of a key (or pattern). */
export const KEY_MARK = "~";
/** A value begins with this, its tag and VALUE_END. */
export const VALUE_MARK = "=";
export const VALUE_END = ";";

interface Tagged {
  readonly tags: string[];
  /** As they came. */
  readonly keys: string[];
}

const taggedArgs = new WeakMap<string[], Tagged>();

/** Takes the tags off the keys and reads those of values; once for each array. */
function takeTags(args: string[]): Tagged {
  const known = taggedArgs.get(args);
  if (known !== undefined) return known;
  const tags: string[] = [];
  const keys: string[] = [];
  for (let i = 1; i < args.length; i++) {
    const arg = args[i]!;
    if (arg.charCodeAt(0) === 61) {
      // A value's tag counts only where no key has one: the same request has one part for both.
      const end = arg.indexOf(VALUE_END);
      if (end > 0 && tags.length === 0) tags.push(arg.slice(1, end));
      continue;
    }
    const mark = arg.lastIndexOf(KEY_MARK);
    if (mark < 0) continue;
    tags.push(arg.slice(mark + 1));
    if (!arg.startsWith("*")) keys.push(arg);
    args[i] = arg.slice(0, mark);
  }
  const tagged = { tags, keys };
  taggedArgs.set(args, tagged);
  return tagged;
}

const PER_KEY = new Set(["mget"]);
/** As Redis' flag `loading`. */
const WHILE_LOADING = new Set(
  "multi exec discard watch unwatch hello auth select client command quit reset".split(" "),
);
const LOADING = "-LOADING Redis is loading the dataset in memory\r\n";

export class ModelRedis extends MemoryRedis {
  loadingUntilMs = 0;
  private readonly connections = new WeakMap<Session, number>();

  constructor(
    private readonly index: number,
    private readonly truth: Truth,
    private readonly clockMs: () => number,
    options: { nowMs: () => number; random: () => number; password?: string },
  ) {
    super(options);
  }

  /** Gives the session's connection a number that no other has. */
  name(session: Session, connection: number): void {
    this.connections.set(session, connection);
  }

  override execute(session: Session, args: string[]): void {
    const tagged = takeTags(args);
    const { tags } = tagged;
    const { reply } = session;
    const name = args[0]!.toLowerCase();
    if (this.loadingUntilMs > this.clockMs() && !WHILE_LOADING.has(name)) {
      if (session.queued !== null) session.aborted = true;
      reply.text += LOADING;
      if (tags.length > 0) this.note(session, tagged, LOADING, null);
      return;
    }
    const start = reply.text.length;
    super.execute(session, args);
    if (tags.length === 0) return;
    if (session.queued !== null && session.queued.at(-1) === args) return;
    let text = reply.text.slice(start);
    let parts: string[] | null = null;
    if (PER_KEY.has(name) && text.charCodeAt(0) === 42) {
      parts = bulksOf(text).map((part, i) => withTag(part, tags[i]!));
      text = `*${parts.length}\r\n${parts.join("")}`;
    } else if (name === "set" && text === "+OK\r\n") text = `+OK ${tags[0]}\r\n`;
    else text = withTag(text, tags[0]!);
    reply.text = reply.text.slice(0, start) + text;
    this.note(session, tagged, text, parts);
  }

  private note(
    session: Session,
    { tags, keys }: Tagged,
    reply: string,
    parts: readonly string[] | null,
  ): void {
    this.truth.record({
      server: this.index,
      connection: this.connections.get(session) ?? -1,
      atMs: this.clockMs(),
      tags,
      keys,
      reply,
      parts,
    });
  }
}

/** A bulk string with the tag at its end; anything else as it is. */
function withTag(text: string, tag: string): string {
  if (text.charCodeAt(0) !== 36 || text.charCodeAt(1) === 45) return text;
  const at = text.indexOf("\r\n") + 2;
  const value = text.slice(at, -2);
  return `$${value.length + 1 + tag.length}\r\n${value}|${tag}\r\n`;
}

/** The bulk strings (or nulls) of an array, each as it is on the wire. */
function bulksOf(text: string): string[] {
  const parts: string[] = [];
  let at = text.indexOf("\r\n") + 2;
  while (at < text.length) {
    const line = text.indexOf("\r\n", at);
    const length = text.charCodeAt(at) === 36 ? Number(text.slice(at + 1, line)) : -1;
    const end = length < 0 ? line + 2 : line + 2 + length + 2;
    parts.push(text.slice(at, end));
    at = end;
  }
  return parts;
}
