/** Where the configuration is: finding its file, and reading it. */
import { existsSync, readFileSync } from "node:fs";
import { ConfigError, loadSteps, parseSteps } from "../config/parse.ts";
import type { Config } from "../config/config.ts";
import { atOnce } from "../ring/steps.ts";
import type { Net } from "../net/net.ts";

/** Looked for in this order where -c names none. */
export const CONF_FILES: readonly string[] = ["conf/ringmaster.yml", "conf/nutcracker.yml"];

/** Is there a file where one is looked for? */
export function hasConfFile(): boolean {
  return CONF_FILES.some((file) => existsSync(file));
}

/** The file that -c names, or the first default that exists, or the first default: loading it then says what is wrong. */
export function findConfFile(given: string | null): string {
  return given ?? CONF_FILES.find((file) => existsSync(file)) ?? CONF_FILES[0]!;
}

/** A configuration that can be read again and again: a file, or a text that stands for one and never changes. */
export class ConfSource {
  /** What it is called where people read of it; of a file also where relative paths start. */
  readonly name: string;
  readonly #given: string | null;

  /** Nobody has named the file: it is the default. */
  readonly isDefault: boolean;

  private constructor(name: string, given: string | null, isDefault = false) {
    this.name = name;
    this.#given = given;
    this.isDefault = isDefault;
  }

  /** @param file null: see findConfFile */
  static file(file: string | null): ConfSource {
    return new ConfSource(findConfFile(file), null, file === null);
  }

  /** The servers were words of the command line (cli/given_servers.ts). */
  static commandLine(text: string): ConfSource {
    return new ConfSource("(command line)", text);
  }

  get isFile(): boolean {
    return this.#given === null;
  }

  /** As it is now, a letter a byte; "" if there is none to read, as between two renames. */
  text(): string {
    if (this.#given !== null) return this.#given;
    try {
      return readFileSync(this.name, "latin1");
    } catch {
      return "";
    }
  }

  /** @throws ConfigError */
  load(nowMs: number): Config {
    return atOnce(this.loadSteps(nowMs));
  }

  /** As `load`. */
  loadSteps(nowMs: number): Generator<number, Config> {
    return this.#given === null
      ? loadSteps(this.name, nowMs)
      : parseSteps(this.#given, this.name, true, nowMs);
  }
}

/** What the command line says: servers of its own, or a file. */
export function sourceOf(
  { confFile, config }: { readonly confFile: string | null; readonly config: string | null },
): ConfSource {
  return config === null ? ConfSource.file(confFile) : ConfSource.commandLine(config);
}

/** Tells of a configuration that cannot be used: every problem, then nutcracker's verdict or, where there is no file, what to do. */
export function complaint(error: ConfigError, source: ConfSource): string {
  return `${error.message}\nringmaster: ${verdictOn(error, source)}\n`;
}

function verdictOn({ problems }: ConfigError, { name, isFile, isDefault }: ConfSource): string {
  if (!isFile) return "these servers and this --listen make no pool";
  if (isDefault && !existsSync(name)) {
    const others = CONF_FILES.slice(1).map((file) => `no ${file} either`).join(", ");
    return `nothing to start from (there is ${others}): name a configuration file with -c, name servers as in ` +
      "'ringmaster redis://HOST', or try 'ringmaster demo'";
  }
  // Of none of its lines: it has not been read.
  if (problems[0]?.line === 0) return `configuration file '${name}' cannot be read`;
  return `configuration file '${name}' syntax is invalid`;
}

/** Why there can be no TLS here, if the configuration wants it; null = there can, or it does not. */
export function tlsRefusal({ pools }: Config, net: Net): string | null {
  const pool = pools.find(({ tls, serverTls }) => tls !== null || serverTls !== null);
  if (pool === undefined || net.tls !== undefined) return null;
  const key = pool.tls !== null ? "tls" : "server_tls";
  return `pool '${pool.name}': ${key}: this runtime's TLS is not sound enough under a proxy; use the executable, or Bun`;
}
