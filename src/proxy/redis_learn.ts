/**
 * Commands that the table does not know are asked of a server: `COMMAND INFO name`. What it knows is learned for
 * all pools of the process; what it does not know either is remembered for a while, so that a client that
 * keeps sending nonsense costs a server nothing.
 */
import { encode, latin1 } from "../bytes/ascii.ts";
import { NOTICE } from "../net/log.ts";
import { commandFromInfo } from "../protocol/redis/learn.ts";
import { findByName, learnCommand, NAME_MAX } from "../protocol/redis/commands.ts";
import { type Client, LEARNING } from "./client.ts";
import type { Pool } from "./pool.ts";

/** Remembered unknown names; all are forgotten when there are more. */
const UNKNOWN_MAX = 1000;
const BAR = 124;
/** A module may be loaded any time: an unknown name is asked again after this. */
const UNKNOWN_FOR_MS = 60_000;

export class CommandLearner {
  /** Name → until when it counts as unknown. */
  private readonly unknown = new Map<string, number>();
  /** Name → clients that wait for the answer. */
  private readonly asking = new Map<string, Client[]>();

  constructor(private readonly pool: Pool) {}

  /**
   * The name `bytes[start, end)` is not in the table.
   * @returns false if no server knows it; true if the client now waits, and has to offer its request again
   */
  ask(client: Client, bytes: Uint8Array, start: number, end: number): boolean {
    // A bar is how servers and our table write subcommands: "config|get" is no command's name.
    if (end === start || end - start > NAME_MAX || bytes.subarray(start, end).includes(BAR)) return false;
    const name = latin1(bytes, start, end).toLowerCase();
    const until = this.unknown.get(name);
    if (until !== undefined && until > this.pool.turn.now()) return false;
    const waiting = this.asking.get(name);
    if (waiting !== undefined) waiting.push(client);
    else if (!this.send(client, name, bytes.slice(start, end))) return false;
    client.block(LEARNING);
    return true;
  }

  private send(client: Client, name: string, word: Uint8Array): boolean {
    const live = this.pool.servers.filter((s) => !s.ejected);
    for (const server of live) {
      const connection = server.connection(0, 0);
      if (connection === null) continue;
      this.asking.set(name, [client]);
      connection.ask(infoRequest(word), (bytes, start, end, failed) => {
        this.answered(name, failed ? null : bytes.slice(start, end));
      });
      return true;
    }
    return false;
  }

  private answered(name: string, reply: Uint8Array | null): void {
    const learned = reply === null ? null : commandFromInfo(reply);
    // What cannot be found afterwards must not be asked for again and again.
    if (learned !== null && learnCommand(learned) && findByName(name) !== undefined) {
      this.pool.log.write(
        NOTICE,
        `learned command '${name}' from a server of pool '${this.pool.config.name}'`,
      );
    } else {
      if (this.unknown.size >= UNKNOWN_MAX) this.unknown.clear();
      // A server that failed to answer is asked again by the next client.
      const forMs = reply === null ? 0 : UNKNOWN_FOR_MS;
      this.unknown.set(name, this.pool.turn.now() + Math.max(forMs, 1000));
    }
    const waiting = this.asking.get(name) ?? [];
    this.asking.delete(name);
    for (const client of waiting) client.unblock(LEARNING);
  }
}

function infoRequest(word: Uint8Array): Uint8Array {
  const head = encode(`*3\r\n$7\r\nCOMMAND\r\n$4\r\nINFO\r\n$${word.length}\r\n`);
  const request = new Uint8Array(head.length + word.length + 2);
  request.set(head);
  request.set(word, head.length);
  request[request.length - 2] = 13;
  request[request.length - 1] = 10;
  return request;
}
