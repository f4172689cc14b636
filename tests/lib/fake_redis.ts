/** A Redis server or sentinel by script, on the simulator's network: it answers each request as it is told, or not at all. */
import type { Address, Listener, Net, Socket } from "../../src/net/net.ts";
import { latin1, textOf } from "./bytes.ts";
import { parseReply } from "./resp.ts";

/** The answer to a request as it goes over the wire; null: none. */
export type Script = (words: readonly string[], connection: FakeConnection) => string | null;

export class FakeConnection {
  read = "";
  /** What it has subscribed to. */
  readonly channels = new Set<string>();

  constructor(readonly socket: Socket) {}

  say(text: string): void {
    const bytes = latin1(text);
    this.socket.send(bytes, 0, bytes.length);
    this.socket.flush();
  }
}

export class FakeRedis {
  /** Requests, the words of each with blanks between. */
  readonly got: string[] = [];
  readonly connections = new Set<FakeConnection>();
  accepted = 0;
  private listener: Listener | null = null;

  /** @param script SUBSCRIBE is answered without it, in RESP2 */
  constructor(public script: Script) {}

  async listen(net: Net, address: Address): Promise<this> {
    this.listener = await net.listen(address, {
      open: (socket) => {
        this.accepted++;
        const connection = new FakeConnection(socket);
        socket.owner = connection;
        this.connections.add(connection);
      },
      data: (socket, bytes) => this.take(socket.owner as FakeConnection, textOf(bytes)),
      eof: (socket) => socket.end(),
      drain: () => {},
      close: (socket) => void this.connections.delete(socket.owner as FakeConnection),
    }, { backlog: 16, reusePort: false, keepAlive: false });
    return this;
  }

  private take(connection: FakeConnection, text: string): void {
    connection.read += text;
    for (;;) {
      const bytes = latin1(connection.read);
      const found = parseReply(bytes, 0, bytes.length);
      if (found === null) return;
      connection.read = connection.read.slice(found.end);
      const words = found.value as string[];
      this.got.push(words.join(" "));
      connection.say(
        words[0]!.toUpperCase() === "SUBSCRIBE"
          ? this.subscribed(connection, words)
          : this.script(words, connection) ?? "",
      );
    }
  }

  private subscribed(connection: FakeConnection, [, ...channels]: readonly string[]): string {
    return channels.map((channel) => {
      connection.channels.add(channel);
      return `*3\r\n${bulks("subscribe", channel)}:${connection.channels.size}\r\n`;
    }).join("");
  }

  /** To all subscribers, in RESP2. */
  publish(channel: string, text: string): void {
    for (const connection of this.connections) {
      if (connection.channels.has(channel)) connection.say(list("message", channel, text));
    }
  }

  /** Nobody is let in any more, and those who are in are thrown out. */
  stop(): void {
    this.listener?.close();
    for (const { socket } of this.connections) socket.destroy();
  }

  /** Requests since the last time. */
  takeGot(): string[] {
    return this.got.splice(0);
  }
}

function bulks(...words: readonly string[]): string {
  return words.map((word) => `$${word.length}\r\n${word}\r\n`).join("");
}

/** A list of bulks, as it goes over the wire. */
export function list(...words: readonly string[]): string {
  return `*${words.length}\r\n${bulks(...words)}`;
}
