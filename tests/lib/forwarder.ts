/**
 * A port of 127.0.0.1 that leads to another one, until the cable is cut: then nothing moves on it any more, in neither direction, and
 * nobody is told. Connecting still works, as to a stopped process. Healed, what was under way goes on.
 */
import { freePort } from "./ports.ts";

export class Forwarder implements AsyncDisposable {
  readonly port = freePort();
  private readonly listener = Deno.listen({ hostname: "127.0.0.1", port: this.port });
  private readonly conns = new Set<Deno.Conn>();
  private gate: Promise<void> | null = null;
  private openGate = () => {};
  private closed = false;

  constructor(private readonly to: number) {
    void this.accept();
  }

  cut(): void {
    this.gate ??= new Promise((resolve) => this.openGate = resolve);
  }

  heal(): void {
    this.gate = null;
    this.openGate();
  }

  private async accept(): Promise<void> {
    while (!this.closed) {
      // Fails for one that has gone again before it was accepted, and when the listener is closed.
      const near = await this.listener.accept().catch(() => null);
      if (near !== null) void this.carry(near);
    }
  }

  private async carry(near: Deno.TcpConn): Promise<void> {
    this.conns.add(near);
    let far: Deno.TcpConn | null = null;
    try {
      if (this.gate !== null) await this.gate;
      far = await Deno.connect({ hostname: "127.0.0.1", port: this.to });
      this.conns.add(far);
      for (const conn of [near, far]) conn.setNoDelay(true);
      await Promise.race([this.pump(near, far), this.pump(far, near)]);
    } catch {
      // Refused or reset: the near end is to see the same.
    }
    for (const conn of [near, far]) if (conn !== null) this.close(conn);
  }

  private async pump(from: Deno.Conn, to: Deno.Conn): Promise<void> {
    const chunk = new Uint8Array(64 * 1024);
    for (;;) {
      const count = await from.read(chunk);
      // An end does not pass a cut cable either.
      if (this.gate !== null) await this.gate;
      if (count === null) return;
      for (let at = 0; at < count;) at += await to.write(chunk.subarray(at, count));
    }
  }

  private close(conn: Deno.Conn): void {
    this.conns.delete(conn);
    try {
      conn.close();
    } catch {
      // closed already
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.closed = true;
    this.listener.close();
    for (const conn of [...this.conns]) this.close(conn);
    this.heal();
    return Promise.resolve();
  }
}
