/** The statistics port: one document to whoever connects, as twemproxy does; what the reader sends is not waited for. */
import { encode } from "../bytes/ascii.ts";
import type { Address, Handler, Listener, Net, Socket } from "../net/net.ts";
import { type ProcessStats, statsDocument } from "../stats/document.ts";

export class StatsPort {
  private listener: Listener | null = null;
  private readonly sockets = new Set<Socket>();

  private constructor(private readonly stats: () => Promise<ProcessStats>) {}

  /** Rejects as Net.listen does. `stats` must not reject. */
  static async listen(net: Net, address: Address, stats: () => Promise<ProcessStats>): Promise<StatsPort> {
    const port = new StatsPort(stats);
    const options = { backlog: 128, reusePort: true, keepAlive: false };
    port.listener = await net.listen(address, port.handler, options);
    return port;
  }

  get port(): number {
    return this.listener?.port ?? 0;
  }

  close(): void {
    this.listener?.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private readonly handler: Handler = {
    open: (socket) => {
      this.sockets.add(socket);
      void this.answer(socket);
    },
    data: () => {},
    eof: () => {},
    drain: () => {},
    close: (socket) => this.sockets.delete(socket),
  };

  private async answer(socket: Socket): Promise<void> {
    const document = encode(statsDocument(await this.stats()) + "\n");
    socket.send(document, 0, document.length);
    socket.flush();
    socket.end();
  }
}
