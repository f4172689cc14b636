/** Servers in memory that answer requests of very many arguments with as many elements, and know nothing. */
import { findCommand, resolve } from "../../src/protocol/redis/commands.ts";
import { Args } from "../../src/protocol/redis/args.ts";
import { type Command, FLAG, JOIN, ROUTE } from "../../src/protocol/redis/command.ts";
import { concat, latin1, textOf } from "./bytes.ts";
import type { Peer } from "./turn_net.ts";

/** A command that only these servers know: all of its arguments are keys. */
export const UNHEARD_OF = "UNHEARDOF";

const args = new Args();

/** Notes the arguments of the request that `bytes` begins with; its end, or -1 if it is not all here. Not the proxy's own way. */
function argumentsOf(bytes: Uint8Array): number {
  let at = 1;
  const number = () => {
    let value = 0;
    for (; bytes[at] !== 13; at++) {
      if (at >= bytes.length) return -1;
      value = value * 10 + bytes[at]! - 48;
    }
    at += 2;
    return value;
  };
  const count = number();
  if (count < 0) return -1;
  args.reserve(count);
  args.count = count;
  for (let i = 0; i < count; i++) {
    at++;
    const length = number();
    if (length < 0 || at + length + 2 > bytes.length) return -1;
    args.starts[i] = at;
    args.ends[i] = at + length;
    at += length + 2;
  }
  return at;
}

/** Collects bytes until a request is whole, and then gives them to `take`; what it says is the answer. */
function whole(end: (bytes: Uint8Array) => number, take: (bytes: Uint8Array) => string): Peer {
  let pieces: Uint8Array[] = [];
  return (bytes) => {
    pieces.push(bytes);
    let all = concat(pieces);
    let said = "";
    for (;;) {
      const size = end(all);
      if (size < 0) break;
      said += take(all.subarray(0, size));
      all = all.slice(size);
    }
    pieces = all.length > 0 ? [all] : [];
    return said === "" ? null : latin1(said);
  };
}

/** One connection to a Redis. */
export function wideRedisServer(): Peer {
  let queued = -1;
  let subscribed = 0;
  return whole(
    argumentsOf,
    (bytes) => {
      const name = textOf(bytes, args.starts[0]!, args.ends[0]!).toUpperCase();
      if (name === "MULTI") return queued = 0, "+OK\r\n";
      if (name === "EXEC") {
        const reply = `*${queued}\r\n` + "+OK\r\n".repeat(queued);
        queued = -1;
        return reply;
      }
      if (queued >= 0) return queued++, "+QUEUED\r\n";
      if (/^[PS]?(UN)?SUBSCRIBE$/.test(name)) {
        const names = Array.from(
          { length: args.count - 1 },
          (_, i) => textOf(bytes, args.starts[i + 1]!, args.ends[i + 1]!),
        );
        const word = name.toLowerCase();
        const step = name.includes("UNS") ? -1 : 1;
        return names.map((topic) =>
          `*3\r\n$${word.length}\r\n${word}\r\n$${topic.length}\r\n${topic}\r\n:${subscribed += step}\r\n`
        ).join("");
      }
      return answer(bytes);
    },
  );
}

function answer(bytes: Uint8Array): string {
  const command = resolve(bytes, args) ?? findCommand(bytes, args.starts[0]!, args.ends[0]!);
  const n = args.count;
  const elements = (count: number) => `*${count}\r\n` + "$8\r\nabcdefgh\r\n".repeat(count);
  switch (command?.name) {
    case "PUBSUB|NUMSUB":
    case "PUBSUB|SHARDNUMSUB":
      return `*${2 * (n - 2)}\r\n` + Array.from({ length: n - 2 }, (_, i) => {
        const name = textOf(bytes, args.starts[i + 2]!, args.ends[i + 2]!);
        return `$${name.length}\r\n${name}\r\n:0\r\n`;
      }).join("");
    case "PUBSUB|NUMPAT":
    case "PUBLISH":
    case "SPUBLISH":
    case "CLIENT|ID":
      return ":1\r\n";
    case "SCAN":
      return "*2\r\n$1\r\n0\r\n*0\r\n";
    case "INFO":
      return "$20\r\n# Server\r\nport:6379\r\n\r\n";
    case "CONFIG|GET":
      return "*2\r\n$4\r\nsave\r\n$0\r\n\r\n";
    case "COMMAND|DOCS":
    case "PUBSUB|CHANNELS":
    case "PUBSUB|SHARDCHANNELS":
      return "*0\r\n";
    case "COMMAND|INFO":
      return textOf(bytes, args.starts[2]!, args.ends[2]!) === UNHEARD_OF
        ? `*1\r\n*7\r\n$${UNHEARD_OF.length}\r\n${UNHEARD_OF.toLowerCase()}\r\n:-2\r\n*0\r\n:1\r\n:-1\r\n:1\r\n*0\r\n`
        : "*1\r\n*-1\r\n";
    case "RANDOMKEY":
      return "$1\r\nk\r\n";
    case "HELLO":
      return "%1\r\n$5\r\nproto\r\n:3\r\n";
    case undefined:
    case "SELECT":
    case "AUTH":
    case "UNWATCH":
    case "WATCH":
    case "CLIENT|TRACKING":
      return "+OK\r\n";
  }
  const { route, join, flags } = command as Command;
  if (route === ROUTE.SPLIT_VALUES) return elements(n - 1);
  if (route === ROUTE.SPLIT_SUM) return `:${n - 1}\r\n`;
  if (route === ROUTE.EVERY_SERVER) {
    if (join === JOIN.AND) return `*${n - 2}\r\n` + ":1\r\n".repeat(n - 2);
    if (join === JOIN.SUM || join === JOIN.MIN) return ":1\r\n";
    return join === JOIN.CONCAT ? elements(3) : "+OK\r\n";
  }
  return (flags & FLAG.WRITE) !== 0 ? "+OK\r\n" : elements(n - 1);
}

/** One connection to a memcached. Every key is there. */
export function wideMemcachedServer(): Peer {
  return whole(
    (bytes) => bytes.indexOf(10) + 1 || -1,
    (bytes) => {
      const words = textOf(bytes).trimEnd().split(" ");
      const at = { get: 1, gets: 1, bget: 1, gat: 2, gats: 2 }[words[0]!];
      if (at === undefined) return words[0] === "stats" ? "END\r\n" : "ERROR\r\n";
      const cas = words[0]!.endsWith("ts") ? " 1" : "";
      return words.slice(at).map((key) => `VALUE ${key} 0 1${cas}\r\nv\r\n`).join("") + "END\r\n";
    },
  );
}
