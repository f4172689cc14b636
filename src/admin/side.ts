/** The admin side of a process: at the address of the configuration in force, or at none; and who is told without asking. */
import { isLoopback } from "../config/values.ts";
import type { Config, ProcessConfig } from "../config/config.ts";
import type { Address } from "../net/net.ts";
import { visitsMax } from "../service/proxy.ts";
import { ERR, NOTICE } from "../net/log.ts";
import { filesMax, random } from "../service/proxy_options.ts";
import type { Around } from "./around.ts";
import { takeSnapshot } from "./metrics.ts";
import { Otlp } from "./otlp.ts";
import { AdminServer } from "./server.ts";

/** Where it listens, as written; address null: nowhere. */
export interface AdminAddress {
  readonly address: Address | null;
  readonly text: string;
}

/** Where it is to listen. @param given by a flag, which wins; null = not given */
export function adminAddress({ admin, adminText }: ProcessConfig, given: AdminAddress | null): AdminAddress {
  return given ?? { address: admin, text: adminText };
}

/** Why it may not listen there, which only a flag can ask for; null = it may. */
export function adminRefusal({ process }: Config, given: AdminAddress | null): string | null {
  const { address, text } = adminAddress(process, given);
  if (address === null || isLoopback(address) || process.adminToken !== null) return null;
  return `admin ${text} without a token: expected an address of this machine alone, or admin_token_file in the configuration`;
}

export class AdminSide {
  private server: AdminServer | null = null;
  private text = "off";
  private readonly otlp: Otlp;

  /** @param given by a flag, which wins; null = not given */
  constructor(private readonly around: Around, private readonly given: AdminAddress | null) {
    const { clock, log, machine } = around;
    this.otlp = new Otlp({
      clock,
      log,
      random,
      resource: machine.facts,
      snapshot: () => takeSnapshot(around),
      listen: (rate, told) => {
        const all = { pool: null, key: null, command: null, client: null, rate };
        return around.tapping.listen(all, (samples) => told(samples));
      },
    });
  }

  /** Rejects if it cannot listen where `config` says. */
  async start(config: Config): Promise<void> {
    this.otlp.adopt(config);
    await this.listen(config);
  }

  private async listen({ process }: Config): Promise<void> {
    const { address, text } = adminAddress(process, this.given);
    if (address === null || "path" in address) return;
    const server = new AdminServer(this.around, process.adminToken, visitsMax(filesMax()));
    try {
      await server.listen(address);
    } catch (error) {
      throw new Error(`admin ${text}: ${(error as Error).message}`);
    }
    this.server = server;
    this.around.live.start();
    this.text = text;
    this.around.log.write(NOTICE, `admin on http://${text}`);
  }

  /** This is in force. Where it cannot listen at another address it stays where it was, and the log says so. */
  adopt(config: Config): void {
    this.otlp.adopt(config);
    const { address, text } = adminAddress(config.process, this.given);
    this.server?.adopt(config.process.adminToken);
    if (text === this.text) return;
    const before = this.server;
    if (address === null) {
      before?.close();
      this.server = null;
      this.around.live.stop();
      this.text = text;
      return;
    }
    this.listen(config).then(
      () => before?.close(),
      (error: Error) => this.around.log.write(ERR, `${error.message}; it stays where it was`),
    );
  }

  stop(): void {
    this.otlp.stop();
    this.around.live.stop();
    this.server?.close();
    this.server = null;
  }
}
