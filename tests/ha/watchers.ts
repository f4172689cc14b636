/** Who watches from beside: what sentinels publish, and what servers execute. */
import { RawClient } from "../lib/client.ts";
import { delay } from "../lib/poll.ts";
import type { Member } from "../lib/sentinels.ts";
import type { Server } from "../lib/servers.ts";

const FOR_EVER_MS = 2 ** 31 - 1;

/** +switch-master of all sentinels, by its own connections. */
export class Switches {
  private readonly heard = new Map<string, (address: string) => void>();
  private readonly clients: RawClient[] = [];

  async watch(sentinels: readonly Server[]): Promise<void> {
    for (const { target } of sentinels) {
      const client = await RawClient.connect(target);
      client.patienceMs = FOR_EVER_MS;
      this.clients.push(client);
      await client.send("*2\r\n$9\r\nSUBSCRIBE\r\n$14\r\n+switch-master\r\n");
      void this.read(client);
    }
  }

  private async read(client: RawClient): Promise<void> {
    for (;;) {
      const reply = await client.readReply().catch(() => null);
      if (reply === null) return;
      const [kind, , text] = reply.value as unknown[];
      if (kind !== "message") continue;
      const [master, , , host, port] = String(text).split(" ") as [string, string, string, string, string];
      this.heard.get(master)?.(`${host}:${port}`);
    }
  }

  /** @param told called with the new address at each one of this master, from now on */
  listen(master: string, told: (address: string) => void): void {
    this.heard.set(master, told);
  }

  close(): void {
    for (const each of this.clients) each.close();
  }
}

/** An append that a server has executed. */
export interface Executed {
  /** The server's own clock, ms since the epoch of Unix. */
  readonly wallMs: number;
  readonly key: string;
  readonly n: number;
}

const LINE = /^\+([0-9.]+) \[[0-9]+ ([^\]]+)\] "RPUSH" "([^"]+)" "[^"]+\/([0-9]+)"/i;

/** MONITOR of one server: appends of clients, and not those that it has from its own primary. Begins anew when it is thrown out, as at each promotion. */
export class Monitor {
  readonly executed: Executed[] = [];
  private client: RawClient | null = null;
  private stopped = false;

  /** @param ports of servers: who comes from there is a primary */
  constructor(readonly member: Member, private readonly ports: ReadonlySet<string>) {}

  /** Resolves when it listens. */
  async start(): Promise<void> {
    await this.listen();
    void (async () => {
      while (!this.stopped) {
        await this.read(this.client!);
        this.client!.close();
        while (!this.stopped && !await this.listen().then(() => true, () => false)) await delay(20);
      }
    })();
  }

  private async listen(): Promise<void> {
    const client = await RawClient.connect(this.member.server.target);
    client.patienceMs = FOR_EVER_MS;
    this.client = client;
    await client.send("*1\r\n$7\r\nMONITOR\r\n");
    await client.readLine();
  }

  private async read(client: RawClient): Promise<void> {
    for (;;) {
      const line = await client.readLine().catch(() => null);
      if (line === null) return;
      const match = LINE.exec(line);
      if (match === null || this.ports.has(match[2]!.split(":").at(-1)!)) continue;
      this.executed.push({ wallMs: Number(match[1]) * 1000, key: match[3]!, n: Number(match[4]) });
    }
  }

  stop(): void {
    this.stopped = true;
    this.client?.close();
  }
}
