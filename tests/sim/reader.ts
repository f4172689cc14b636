/** One end of a connection that writes down what it reads; what it says is up to who makes it. */
import type { Address, Handler, Net, Socket } from "../../src/net/net.ts";
import { request, textOf } from "../lib/bytes.ts";

/** What a proxy is told of the system it runs on. */
export const SYSTEM = { hostName: "sim", processId: 1, os: "sim", filesMax: 0, memoryBytes: () => 0 };

export class Reader implements Handler {
  read = "";
  closed = false;
  /** Set by whoever connects it, or when it is accepted. */
  socket!: Socket;

  send(bytes: Uint8Array): void {
    this.socket.send(bytes, 0, bytes.length);
    this.socket.flush();
  }

  /** What has been read since the last time. */
  take(): string {
    const { read } = this;
    this.read = "";
    return read;
  }

  open(socket: Socket): void {
    this.socket = socket;
  }
  data(_socket: Socket, view: Uint8Array): void {
    this.read += textOf(view);
  }
  eof(socket: Socket): void {
    socket.end();
  }
  drain(): void {}
  close(): void {
    this.closed = true;
  }
}

/** A Redis client that says one request after the other. */
export class Talker extends Reader {
  constructor(net: Net, address: Address) {
    super();
    this.socket = net.connect(address, this, null);
  }

  say(...words: string[]): this {
    this.send(request(...words));
    return this;
  }
}
