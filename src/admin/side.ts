/** The admin side of a process: at the address of the configuration in force, or at none; and who is told without asking. */
import { isLoopback } from "../config/values.ts";
import type { Config, ProcessConfig } from "../config/config.ts";
import type { Address } from "../net/net.ts";
import { visitsMax } from "../service/ceilings.ts";
import { ERR, NOTICE, WARN } from "../net/log.ts";
import type { CertificateSeen } from "../net/tls.ts";
import { filesMax, random } from "../service/proxy_options.ts";
import type { Around } from "./around.ts";
import { takeSnapshot } from "./metrics.ts";
import { Otlp } from "./otlp.ts";
import type { AdminServer } from "./server.ts";

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
  if (address === null || isLoopback(address) || isGuarded(process)) return null;
  return `admin ${text} without a token: expected an address of this machine alone, or admin_token_file in the configuration`;
}

/** Only who knows, or has, something is let in. */
function isGuarded({ adminToken, adminTls }: ProcessConfig): boolean {
  return adminToken !== null || adminTls?.clientCertificates === "required";
}

/** What a listener is made with: where something else is wanted it listens anew. Files alone are read anew. */
function kindOf({ adminTls }: ProcessConfig): string {
  return adminTls === null ? "plain" : `tls ${adminTls.clientCertificates === "required"}`;
}

export class AdminSide {
  private server: AdminServer | null = null;
  private text = "off";
  private kind = "plain";
  /** Nobody but this machine can connect there. */
  private isLocal = true;
  private stopped = false;
  /** One after the other: two reloads may follow each other at once. Never rejects. */
  private moves: Promise<void> = Promise.resolve();
  private readonly otlp: Otlp;

  /** @param given by a flag, which wins; null = not given */
  constructor(private readonly around: Around, private readonly given: AdminAddress | null) {
    const { clock, log, turns, machine } = around;
    this.otlp = new Otlp({
      clock,
      log,
      turns,
      random,
      resource: machine.facts,
      snapshot: () => takeSnapshot(around),
      listen: (rate, told) => {
        const all = { pool: null, key: null, command: null, client: null, rate };
        return around.tapping.listen(all, (samples) => told(samples));
      },
    });
  }

  /** Those of its own that are in use; none without TLS. */
  certificates(): readonly CertificateSeen[] {
    return this.server?.certificates?.look() ?? [];
  }

  /** Rejects if it cannot listen where `config` says. */
  async start(config: Config): Promise<void> {
    this.stopped = false;
    this.otlp.adopt(config);
    await this.listen(config);
  }

  private async listen({ process }: Config): Promise<void> {
    const { address, text } = adminAddress(process, this.given);
    if (address === null || "path" in address) return;
    // The page and all answers: most processes have no admin side (docs/decisions/53-first-request.md).
    const { AdminServer } = await import("./server.ts");
    const server = new AdminServer(this.around, process.adminToken, visitsMax(filesMax()));
    try {
      await server.listen(address, process.adminTls);
    } catch (error) {
      throw new Error(`admin ${text}: ${(error as Error).message}`);
    }
    if (this.stopped) return server.close();
    this.server = server;
    this.around.live.start();
    this.text = text;
    this.kind = kindOf(process);
    this.isLocal = isLoopback(address);
    const { log } = this.around;
    log.write(NOTICE, `admin on http${process.adminTls === null ? "" : "s"}://${text}`);
    if (!this.isLocal && process.adminTls === null) {
      log.write(
        WARN,
        `admin on http://${text}: its token can be read on the way; admin_tls has it speak TLS`,
      );
    }
  }

  /** This is in force. Where it cannot listen at another address it stays where it was, and the log says so. */
  adopt(config: Config): void {
    this.otlp.adopt(config);
    this.moves = this.moves.then(() => this.move(config));
  }

  private async move(config: Config): Promise<void> {
    if (this.stopped) return;
    const { address, text } = adminAddress(config.process, this.given);
    const { server: before } = this;
    const { adminToken } = config.process;
    // Where others can connect it goes on asking for the token it had: it may have to stay there.
    if (isGuarded(config.process) || this.isLocal) before?.adopt(adminToken);
    if (text === this.text) {
      if (this.kind === kindOf(config.process)) return this.readCertificates(config.process);
      // At the same address: for a moment nobody is there.
      before?.close();
      this.server = null;
      await this.listen(config).catch((error: Error) => {
        this.around.log.write(ERR, `${error.message}; nobody listens there until the next reload`);
        this.text = "off";
      });
      return;
    }
    if (address === null) {
      before?.close();
      this.server = null;
      this.around.live.stop();
      this.text = text;
      return;
    }
    try {
      await this.listen(config);
      before?.close();
    } catch (error) {
      this.around.log.write(ERR, `${(error as Error).message}; it stays where it was`);
    }
  }

  private readCertificates({ adminTls }: ProcessConfig): void {
    try {
      if (adminTls !== null) this.server?.certificates?.prepare(adminTls)();
    } catch (error) {
      this.around.log.write(ERR, `admin_tls: ${(error as Error).message}; those before stay`);
    }
  }

  stop(): void {
    this.stopped = true;
    this.otlp.stop();
    this.around.live.stop();
    this.server?.close();
    this.server = null;
  }
}
