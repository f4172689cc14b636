/**
 * What a cluster says to commands when a small client follows its redirects, one command after the other, and does by hand what no node
 * alone can: the oracle of `deno task fuzz:cluster`.
 */
import { concat, latin1 } from "../lib/bytes.ts";
import type { Reply } from "../lib/client.ts";
import { type Cluster, slotOf } from "../lib/cluster.ts";
import { ClusterClient, encode, type Words } from "../lib/cluster_client.ts";
import type { Command } from "./grammar.ts";

/** Commands whose keys go apart by slot, and how far it is from one key to the next. */
const SPLIT: Readonly<Record<string, number>> = { DEL: 1, UNLINK: 1, EXISTS: 1, TOUCH: 1, MGET: 1, MSET: 2 };

/** Asked of all primaries: the first reply stands for all, since they have to be equal. */
const ALIKE = /^(FLUSHALL|FLUSHDB|SCRIPT LOAD|SCRIPT FLUSH|FUNCTION (LOAD|DELETE|FLUSH|LIST|DUMP|RESTORE))\b/;

export function nameOf(command: Command): string {
  return command[0]!.toUpperCase();
}

/** Does it go to all nodes? Its reply depends on all of them then. */
export function isOfAll(command: Command): boolean {
  const line = command.slice(0, 2).join(" ").toUpperCase();
  return ALIKE.test(line) || /^(DBSIZE|KEYS|SCAN|SCRIPT EXISTS)\b/.test(line);
}

/** The keys of a command that is split, with what belongs to each; null if it is not one, or all of it is of one slot. */
function fragments(command: Command): Map<number, number[]> | null {
  const step = SPLIT[nameOf(command)];
  if (step === undefined || command.length < 2 || (command.length - 1) % step !== 0) return null;
  const bySlot = new Map<number, number[]>();
  for (let i = 1; i < command.length; i += step) {
    const slot = slotOf(command[i]!);
    bySlot.set(slot, [...bySlot.get(slot) ?? [], i]);
  }
  return bySlot.size > 1 ? bySlot : null;
}

export class Reference implements AsyncDisposable {
  private readonly client: ClusterClient;
  private readonly ports: readonly number[];

  constructor(cluster: Cluster, opening: readonly Words[]) {
    this.ports = cluster.nodes.map(({ port }) => port);
    this.client = new ClusterClient(this.ports, { opening });
  }

  /** Replies to a batch, in order. What is between MULTI and EXEC or DISCARD is one. An error of a fragment comes with those of the others. */
  async run(commands: readonly Command[]): Promise<Uint8Array[]> {
    const replies: Uint8Array[] = [];
    for (let i = 0; i < commands.length; i++) {
      if (nameOf(commands[i]!) !== "MULTI" || commands[i]!.length > 1) {
        replies.push(await this.one(commands[i]!));
        continue;
      }
      const end = commands.findIndex((each, at) =>
        at > i && /^(EXEC|DISCARD)$/i.test(each[0]!) && each.length === 1
      );
      const all = commands.slice(i, end + 1);
      for (const { raw } of await this.client.transaction(all, all[1]?.[1])) replies.push(raw);
      await this.unwatch();
      i = end;
    }
    return replies;
  }

  /** What is watched may be on several nodes, since its slot has moved, and no node knows of the others. */
  private async unwatch(): Promise<Uint8Array> {
    let raw: Uint8Array = new Uint8Array();
    for (const port of this.ports) {
      raw = (await this.client.at(port, ["UNWATCH"])).raw;
    }
    return raw;
  }

  private async one(command: Command): Promise<Uint8Array> {
    if (nameOf(command) === "UNWATCH" && command.length === 1) return await this.unwatch();
    const parts = fragments(command);
    if (parts !== null) return await this.split(command, parts);
    if (!isOfAll(command)) return (await this.client.call(...command)).raw;
    const replies: Reply[] = [];
    for (const port of this.ports) replies.push(await this.client.at(port, command));
    const wrong = replies.find(({ text }) => text.startsWith("-"));
    if (wrong !== undefined) return wrong.raw;
    switch (nameOf(command)) {
      case "DBSIZE":
        return latin1(`:${replies.reduce((sum, { value }) => sum + Number(value), 0)}\r\n`);
      case "KEYS":
        return encode(replies.flatMap(({ value }) => value as string[]));
      case "SCAN":
        return concat([
          latin1("*2\r\n$1\r\n0\r\n"),
          encode(replies.flatMap(({ value }) => (value as [string, string[]])[1])),
        ]);
    }
    // SCRIPT EXISTS: everywhere, or not.
    if (/^exists$/i.test(command[1] ?? "")) {
      const all = replies.map(({ value }) => value as number[]);
      const each = all[0]!.map((_, i) => `:${Math.min(...all.map((list) => list[i]!))}\r\n`);
      return latin1(`*${each.length}\r\n${each.join("")}`);
    }
    return replies[0]!.raw;
  }

  private async split(command: Command, parts: Map<number, number[]>): Promise<Uint8Array> {
    const name = nameOf(command);
    const step = SPLIT[name]!;
    const values: Uint8Array[] = [];
    const errors: Uint8Array[] = [];
    let sum = 0;
    for (const places of parts.values()) {
      const words = [command[0]!, ...places.flatMap((at) => command.slice(at, at + step))];
      const { raw, text, value } = await this.client.call(...words);
      if (text.startsWith("-")) errors.push(raw);
      else if (name === "MGET") places.forEach((at, i) => values[at - 1] = nth(raw, i));
      else sum += Number(value);
    }
    if (errors.length > 0) return concat(errors);
    if (name === "MGET") return concat([latin1(`*${values.length}\r\n`), ...values]);
    return latin1(name === "MSET" ? "+OK\r\n" : `:${sum}\r\n`);
  }

  close(): void {
    this.client.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }
}

/** The bytes of one bulk string, or null, of an array of such. */
function nth(raw: Uint8Array, index: number): Uint8Array {
  let at = raw.indexOf(10) + 1;
  for (let i = 0;; i++) {
    const line = raw.indexOf(10, at) + 1;
    const size = Number(String.fromCharCode(...raw.subarray(at + 1, line - 2)));
    // "$-1" and "_" have nothing behind their line.
    const end = raw[at] === 36 && size >= 0 ? line + size + 2 : line;
    if (i === index) return raw.subarray(at, end);
    at = end;
  }
}
