/** A socket that listens as systemd's NOTIFY_SOCKET does, and what it has been sent. */
import { poll } from "./poll.ts";

export class ServiceManager {
  readonly datagrams: string[] = [];
  private readonly socket: Deno.DatagramConn;

  constructor(path: string) {
    this.socket = Deno.listenDatagram({ path, transport: "unixpacket" });
    void this.read();
  }

  close(): void {
    this.socket.close();
  }

  private async read(): Promise<void> {
    try {
      for (;;) this.datagrams.push(new TextDecoder().decode((await this.socket.receive())[0]));
    } catch {
      // closed
    }
  }

  /** Waits for one more that has this line, and returns it. */
  async next(line: string, from: number): Promise<string> {
    const find = () => this.datagrams.slice(from).find((each) => each.split("\n").includes(line));
    await poll(() => find() !== undefined, `${line} after ${JSON.stringify(this.datagrams)}`);
    return find()!;
  }
}
