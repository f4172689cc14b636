/**
 * A TCP relay in front of a server, through which connections can be reset, held up, or filled with garbage.
 *
 *   proxy ◄──────► relay ◄──────► server
 *
 * node:net, because Deno's own sockets cannot send a reset.
 */
import * as net from "node:net";
import { freePort } from "../lib/ports.ts";
import type { Random } from "../lib/random.ts";

interface Pair {
  readonly near: net.Socket;
  readonly far: net.Socket;
}

export class Relay implements AsyncDisposable {
  private readonly pairs = new Set<Pair>();
  private readonly server: net.Server;
  private held = false;

  private constructor(private readonly to: number, readonly port: number) {
    this.server = net.createServer((near) => this.accept(near));
  }

  /** @param to the server's port on 127.0.0.1 */
  static start(to: number): Promise<Relay> {
    const relay = new Relay(to, freePort());
    return new Promise((resolve) => relay.server.listen(relay.port, "127.0.0.1", () => resolve(relay)));
  }

  private accept(near: net.Socket): void {
    const far = net.connect(this.to, "127.0.0.1");
    const pair = { near, far };
    this.pairs.add(pair);
    near.setNoDelay(true);
    far.setNoDelay(true);
    near.on("data", (bytes) => far.write(bytes));
    far.on("data", (bytes) => near.write(bytes));
    for (const socket of [near, far]) {
      socket.on("error", () => {});
      socket.on("close", () => {
        this.pairs.delete(pair);
        near.destroy();
        far.destroy();
      });
    }
    if (this.held) far.pause();
  }

  /** Resets every connection towards the proxy. */
  reset(): void {
    for (const { near, far } of [...this.pairs]) {
      near.resetAndDestroy();
      far.destroy();
    }
  }

  /** Puts bytes that are no reply into what the server says, wherever it is at the moment. */
  garbage(random: Random): void {
    const kinds = [
      () => new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n"),
      () => new Uint8Array(64).fill(0),
      () => new TextEncoder().encode("$-5\r\n"),
      () => new TextEncoder().encode("*99999999999999999999\r\n"),
      // A first byte that no reply has, and then whatever.
      () => {
        const bytes = random.bytes(200);
        bytes[0] = 0x80;
        return bytes;
      },
    ];
    for (const { near } of this.pairs) near.write(random.pick(kinds)());
  }

  /** Nothing of what the server says gets through until `release`. */
  hold(): void {
    this.held = true;
    for (const { far } of this.pairs) far.pause();
  }

  release(): void {
    this.held = false;
    for (const { far } of this.pairs) far.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { near, far } of this.pairs) {
      near.destroy();
      far.destroy();
    }
    await new Promise((resolve) => this.server.close(resolve));
  }
}
