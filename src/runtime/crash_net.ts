/**
 * A Net for tests: throws from inside the handler when a client sends a certain text, as a mistake of ours would.
 *
 * Whether a worker that throws takes anybody with it can only be seen if one throws, and where mistakes happen:
 * under the runtime's callback, with traffic around it. It wraps the Net, so without it the data path has nothing of it.
 */
import { Buffer } from "node:buffer";
import type { Address, Handler, Listener, ListenOptions, Net, Socket } from "../net/net.ts";

export class CrashNet implements Net {
  readonly name: string;

  constructor(private readonly net: Net, private readonly magic: string) {
    this.name = net.name;
  }

  listen(address: Address, handler: Handler, options: ListenOptions): Promise<Listener> {
    const data = (socket: Socket, bytes: Uint8Array) => {
      if (Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes(this.magic)) {
        throw new Error("RINGMASTER_TEST_CRASH was received");
      }
      handler.data(socket, bytes);
    };
    return this.net.listen(address, { ...handler, data }, options);
  }

  connect(address: Address, handler: Handler, owner: unknown): Socket {
    return this.net.connect(address, handler, owner);
  }
}
