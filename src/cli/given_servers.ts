/**
 * A pool from the command line, without a file: what its words stand for, written as the configuration that it is.
 *
 *   ringmaster redis://a redis://b:6380 --listen=:6379 ──► the text of a configuration ──► parseConfig, like any other
 *
 * Placement goes by address, as in a file whose servers have no names: neither the order of the words nor who reads them
 * matters. What a word cannot say (names, passwords, a second pool) is for a file; `-t` prints the text to go on from.
 */
import { quoted } from "../config/config_error.ts";
import { UsageError } from "./usage_error.ts";

export const LISTEN_DEFAULT = "127.0.0.1:22121";
/** Where the health check of the image asks too (conf/Dockerfile), and subcommands where there is no file. */
export const ADMIN_DEFAULT = { host: "127.0.0.1", port: 22280 } as const;
export const WEIGHT_MAX = 1000;

interface Scheme {
  /** The pool's name. */
  readonly pool: string;
  readonly port: number;
  /** Lines of the pool. */
  readonly lines: readonly string[];
}

/** What stands before :// and what it means. */
export const SCHEMES: Readonly<Record<string, Scheme>> = {
  redis: { pool: "redis", port: 6379, lines: ["redis: true"] },
  rediss: { pool: "redis", port: 6379, lines: ["redis: true", "server_tls: {}"] },
  memcached: { pool: "memcached", port: 11211, lines: [] },
};

const EXPECTED = "redis://HOST[:PORT], rediss://… (TLS) or memcached://…, each with ?weight=N if it is not 1";

/** Whether a word of the command line is meant to be a server. */
export function isServerWord(word: string): boolean {
  return word.includes("://");
}

/**
 * The text of a configuration of one pool.
 * @param words at least one
 * @param listen HOST:PORT, :PORT (all addresses) or /PATH; null: LISTEN_DEFAULT
 * @throws UsageError
 */
export function givenConfig(words: readonly string[], listen: string | null): string {
  const servers = words.map(serverOf);
  const { scheme, word } = servers[0]!;
  const other = servers.find((each) => each.scheme !== scheme);
  if (other !== undefined) {
    throw new UsageError(
      `servers ${quoted(word)} and ${
        quoted(other.word)
      }: expected one kind; several pools need a configuration file`,
    );
  }
  const seen = new Map<string, string>();
  for (const { word, address } of servers) {
    const before = seen.get(address);
    if (before !== undefined) {
      throw new UsageError(
        `servers ${quoted(before)} and ${
          quoted(word)
        } are one: expected each once; ?weight=2 gives it a larger share`,
      );
    }
    seen.set(address, word);
  }
  const { pool, lines } = SCHEMES[scheme]!;
  return [
    "ringmaster:",
    `  admin: ${ADMIN_DEFAULT.host}:${ADMIN_DEFAULT.port}`,
    `${pool}:`,
    `  listen: ${listenOf(listen ?? LISTEN_DEFAULT)}`,
    ...lines.map((line) => `  ${line}`),
    "  servers:",
    ...servers.map(({ line }) => `    - ${line}`),
    "",
  ].join("\n");
}

interface GivenServer {
  readonly word: string;
  readonly scheme: string;
  /** HOST:PORT. */
  readonly address: string;
  /** As in a configuration: HOST:PORT:WEIGHT. */
  readonly line: string;
}

/** Only what cannot be mistaken: a host is letters, digits, dots, dashes and underscores, or an IPv6 address in brackets. */
const WORD =
  /^([a-z]+):\/\/([^@/?#]*@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?(\/[^?#]*)?(?:\?weight=([0-9]{1,4}))?$/;

function serverOf(word: string): GivenServer {
  const [, scheme, user, host, port, path, weight] = WORD.exec(word) ?? [];
  const row = scheme === undefined || !Object.hasOwn(SCHEMES, scheme) ? undefined : SCHEMES[scheme];
  // A password is not shown again.
  if (user !== undefined) {
    throw new UsageError(
      `server ${scheme}://…@${host}: a password belongs into a configuration file, redis_auth`,
    );
  }
  if (row === undefined || host === undefined) {
    throw new UsageError(`server ${quoted(hidden(word))}: expected ${EXPECTED}`);
  }
  if (path !== undefined && path !== "/" && path !== "/0") {
    throw new UsageError(
      `server ${quoted(word)}: found ${
        quoted(path)
      } behind the address, expected nothing; redis_db is for a configuration file`,
    );
  }
  const number = Number(port ?? row.port);
  if (number < 1 || number > 65535) {
    throw new UsageError(`server ${quoted(word)}: port ${number}, expected 1 to 65535`);
  }
  const share = Number(weight ?? 1);
  if (share < 1 || share > WEIGHT_MAX) {
    throw new UsageError(`server ${quoted(word)}: weight ${share}, expected 1 to ${WEIGHT_MAX}`);
  }
  const address = `${host}:${number}`;
  return { word, scheme: scheme!, address, line: quotedIfNeeded(`${address}:${share}`) };
}

/** A word that is not understood may have a password in it all the same. */
function hidden(word: string): string {
  return word.replace(/:\/\/.*@/, "://…@");
}

/** YAML takes a bracket at the start of a text for a list. */
function quotedIfNeeded(text: string): string {
  return text.startsWith("[") ? `"${text}"` : text;
}

/** A port alone, as many write it: of all of this machine's addresses. */
const PORT_ALONE = /^(?:\*?:)?([0-9]+)$/;
/** What YAML takes for nothing else, and is a path or may be an address: which of them is for the configuration to say. */
const LISTEN = /^(?:\/[\x21-\x7e]*|\[[0-9A-Fa-f:.]+\]:[0-9]+|[A-Za-z0-9._-]+(?::[0-9]+)?)$/;

/** As in a configuration; without a host it is all of this machine's addresses. */
function listenOf(text: string): string {
  const [, port] = PORT_ALONE.exec(text) ?? [];
  if (port !== undefined) return `0.0.0.0:${port}`;
  if (LISTEN.test(text) && !/["\\#]/.test(text)) return quotedIfNeeded(text);
  throw new UsageError(`option --listen requires HOST:PORT, :PORT or a path, found ${quoted(text)}`);
}
