/**
 * The memcached of the simulator: src/demo's behind a reader that takes requests apart, so that each can be noted under
 * the tag of its key. What the store sees has no tags; what the client reads has them again.
 *
 *   get a~3.1.0 b~3.1.1   is executed as  get a, get b   and answered  VALUE a~3.1.0 … VALUE b~3.1.1 … END
 */
import { type MemoryMemcached, type MemoryMemcachedSession } from "../../src/demo/memory_memcached.ts";
import { Inbox } from "../../src/bytes/inbox.ts";
import { toBytes, toText } from "../../src/demo/redis/resp.ts";
import type { Truth } from "./truth.ts";

const STORES = new Set(["set", "add", "replace", "append", "prepend", "cas"]);
const GETS = new Set(["get", "gets"]);
const GATS = new Set(["gat", "gats"]);

export class ModelMemcachedSession {
  ended = false;
  private readonly inbox = new Inbox();
  /** Bytes without which there is no use in looking again. */
  private needed = 0;
  private readonly inner: MemoryMemcachedSession;

  constructor(
    server: MemoryMemcached,
    private readonly index: number,
    private readonly connection: number,
    private readonly truth: Truth,
    private readonly clockMs: () => number,
    private readonly version: string,
  ) {
    this.inner = server.session();
  }

  feed(bytes: Uint8Array): Uint8Array {
    const { inbox } = this;
    inbox.append(bytes, 0, bytes.length);
    let replies = "";
    while (!this.ended && inbox.size > 0 && inbox.size >= this.needed) {
      this.needed = 0;
      const lineEnd = inbox.bytes.indexOf(10, inbox.start);
      if (lineEnd < 0 || lineEnd >= inbox.end) break;
      const line = toText(inbox.bytes, inbox.start, lineEnd).replace(/\r$/, "");
      const words = line.split(" ").filter((word) => word !== "");
      const size = blockSize(words);
      if (size < 0 && (STORES.has(words[0] ?? "") || words[0] === "ms")) {
        // As memcached 1.6.40 and later: the data block of a line that it refuses is run as commands.
        inbox.consumeTo(lineEnd + 1);
        replies += "CLIENT_ERROR bad command line format\r\n";
        continue;
      }
      const end = lineEnd + 1 + (size >= 0 ? size + 2 : 0);
      if (end > inbox.end) {
        this.needed = end - inbox.start;
        break;
      }
      const block = toText(inbox.bytes, lineEnd + 1, end);
      inbox.consumeTo(end);
      replies += this.run(words, block);
      this.ended = this.inner.ended;
    }
    return toBytes(replies);
  }

  close(): void {
    this.ended = true;
    this.inner.close();
  }

  private run(words: string[], block: string): string {
    const name = words[0] ?? "";
    if (name === "version") return `VERSION ${this.version}\r\n`;
    const isGet = GETS.has(name);
    if (isGet || GATS.has(name)) return this.runGet(words, isGet ? 1 : 2);
    // A key in base64 has its tag inside.
    const base64 = /^m[gsda]$/.test(name) && words.indexOf("b", 2) > 0;
    const [key, tag] = apart(base64 ? atob(words[1]!) : words[1] ?? "");
    if (tag !== "") words[1] = base64 ? btoa(key) : key;
    let reply = this.execute(words.join(" ") + "\r\n" + block);
    if (tag === "") return reply;
    if (name.startsWith("m")) reply = reply.replace(` k${key}`, ` k${key}~${tag}`);
    this.note([tag], [`${key}~${tag}`], reply, null);
    return reply;
  }

  private runGet(words: string[], first: number): string {
    const tags: string[] = [];
    const keys = words.slice(first);
    const parts: string[] = [];
    for (let i = first; i < words.length; i++) {
      const [key, tag] = apart(words[i]!);
      tags.push(tag);
      let reply = this.execute([...words.slice(0, first), key].join(" ") + "\r\n");
      if (!reply.startsWith("VALUE") && reply !== "END\r\n") return reply;
      reply = reply.slice(0, -"END\r\n".length);
      parts.push(reply === "" || tag === "" ? reply : `VALUE ${key}~${tag}${reply.slice(6 + key.length)}`);
    }
    const reply = parts.join("") + "END\r\n";
    const known = tags.filter((tag) => tag !== "");
    if (known.length > 0) this.note(known, keys, reply, parts);
    return reply;
  }

  private execute(request: string): string {
    const reply = this.inner.feed(toBytes(request));
    return toText(reply, 0, reply.length);
  }

  private note(
    tags: readonly string[],
    keys: readonly string[],
    reply: string,
    parts: readonly string[] | null,
  ): void {
    this.truth.record({
      server: this.index,
      connection: this.connection,
      atMs: this.clockMs(),
      tags,
      keys,
      reply,
      parts,
    });
  }
}

/** A key without its tag, and the tag; "" if it has none. */
function apart(word: string): [key: string, tag: string] {
  const mark = word.lastIndexOf("~");
  return mark < 0 ? [word, ""] : [word.slice(0, mark), word.slice(mark + 1)];
}

/** Bytes of the data block that follows the line; -1 if none does. */
function blockSize(words: readonly string[]): number {
  const text = STORES.has(words[0] ?? "") ? words[4] : words[0] === "ms" ? words[2] : undefined;
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : -1;
}
