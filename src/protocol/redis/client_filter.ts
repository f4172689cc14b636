/**
 * Which clients CLIENT LIST and CLIENT KILL mean: the options of Valkey 9.1, which are all of Redis's and more.
 *
 *   CLIENT LIST [TYPE t] [ID id …] [USER u] [ADDR a] … [NOT-TYPE t] [NOT-ID id …] …
 *   CLIENT KILL ip:port | the same options
 *
 * Arguments are taken one by one, so that a request of very many can be walked some a turn. An option that comes twice counts as it
 * was given last, ids add up: what is kept is bounded by OPTIONS, but for the ids.
 */
import { latin1 } from "../../bytes/ascii.ts";
import { type ClientView, FLAGS_KNOWN, isSubscriber } from "./client_view.ts";
import { errorReply, shown, SYNTAX_ERROR } from "./errors.ts";

/** What can be told to another thread: no id, no SKIPME, those are the asker's. */
export type Conditions = readonly (readonly [option: string, negated: boolean, value: string | number])[];

interface Option {
  /** The value to compare with, or the error that the text deserves. */
  read(text: string, databases: number, users: ReadonlySet<string>): string | number | Uint8Array;
  test(view: ClientView, value: string | number): boolean;
  /** There is a NOT- of it. */
  readonly negatable: boolean;
}

/** Longer texts are equal to nothing that a client can have said of itself. */
const TEXT_MAX = 8192;
const INTEGER_MAX = 2 ** 53;

const LIST_ID_ERROR = errorReply("ERR Invalid client ID");
const KILL_ID_ERROR = errorReply("ERR client-id should be greater than 0");

function sameText(of: (view: ClientView) => string): Option {
  // What a client has not said is equal to nothing, not even to "".
  return {
    read: (text) => text,
    test: (view, value) => value !== "" && of(view) === value,
    negatable: true,
  };
}

function atLeast(name: string, of: (view: ClientView) => number): Option {
  return {
    read: (text) => {
      const seconds = integerIn(text);
      if (seconds === null) return errorReply(`ERR ${name} is not an integer or out of range`);
      return seconds > 0 ? seconds : errorReply(`ERR ${name} should be greater than 0`);
    },
    test: (view, value) => of(view) >= (value as number),
    negatable: false,
  };
}

const TYPES: ReadonlySet<string> = new Set(["NORMAL", "MASTER", "PRIMARY", "SLAVE", "REPLICA", "PUBSUB"]);

const OPTIONS: ReadonlyMap<string, Option> = new Map<string, Option>([
  ["TYPE", {
    read: (text) =>
      TYPES.has(text.toUpperCase())
        ? text.toUpperCase()
        : errorReply(`ERR Unknown client type '${cut(text)}'`),
    test: (view, type) => type === (isSubscriber(view) ? "PUBSUB" : "NORMAL"),
    negatable: true,
  }],
  ["USER", {
    read: (text, _databases, users) => users.has(text) ? text : errorReply(`ERR No such user '${cut(text)}'`),
    test: (view, user) => view.user === user,
    negatable: true,
  }],
  ["ADDR", sameText((view) => view.address)],
  ["LADDR", sameText((view) => view.localAddress)],
  ["IP", sameText((view) => ipOf(view.address))],
  ["NAME", sameText((view) => view.name)],
  ["LIB-NAME", sameText((view) => view.libName)],
  ["LIB-VER", sameText((view) => view.libVersion)],
  ["FLAGS", {
    read: (text) =>
      [...text].every((letter) => FLAGS_KNOWN.includes(letter))
        ? [...new Set(text)].join("")
        : errorReply(`ERR Unknown flags found in the provided filter: ${cut(text)}`),
    test: (view, flags) => [...flags as string].every((letter) => view.flags.includes(letter)),
    negatable: true,
  }],
  ["CAPA", {
    read: (text) =>
      /^r*$/.test(text)
        ? text.slice(0, 1)
        : errorReply(`ERR Unknown capa found in the provided filter: ${cut(text)}`),
    test: (view, capabilities) => view.capabilities.includes(capabilities as string),
    negatable: true,
  }],
  ["DB", {
    read: (text, databases) => {
      const db = integerIn(text);
      if (db === null) return errorReply("ERR DB is not an integer or out of range");
      return db >= 0 && db < databases
        ? db
        : errorReply(`ERR DB number should be between 0 and ${databases - 1}`);
    },
    test: (view, db) => view.db === db,
    negatable: true,
  }],
  ["MAXAGE", atLeast("maxage", (view) => view.ageSeconds)],
  ["IDLE", atLeast("idle", (view) => view.idleSeconds)],
]);

const NOT = "NOT-";
const DEFAULT_ALONE: ReadonlySet<string> = new Set(["default"]);

/** Do all conditions hold? */
export function meets(view: ClientView, conditions: Conditions): boolean {
  return conditions.every(([option, negated, value]) => OPTIONS.get(option)!.test(view, value) !== negated);
}

export class ClientFilter {
  /** Null = any. In the order given, each once; some of them may be in `notIds` too. */
  ids: Set<number> | null = null;
  readonly notIds: Set<number> = new Set();
  /** Null = not said. */
  skipMe: boolean | null = null;
  private readonly given = new Map<string, Conditions[number]>();
  /** What the next argument belongs to; "" = it is an option. */
  private option = "";
  /** An id has come since ID or NOT-ID. */
  private idSeen = false;

  /**
   * @param kills CLIENT KILL's, which words one error otherwise
   * @param databases how many there are
   * @param users their names, each byte a character
   */
  constructor(
    private readonly kills: boolean,
    private readonly databases: number,
    private readonly users: ReadonlySet<string> = DEFAULT_ALONE,
  ) {}

  get conditions(): Conditions {
    return [...this.given.values()];
  }

  /** Bytes of memory that it takes, about. */
  get holdsBytes(): number {
    return 40 * ((this.ids?.size ?? 0) + this.notIds.size);
  }

  /** CLIENT KILL ip:port. */
  setAddress(bytes: Uint8Array, start: number, end: number): void {
    this.given.set("ADDR", ["ADDR", false, textOf(bytes, start, end)]);
  }

  /** Takes the next argument; borrowed. Returns the error that the request deserves, or null. */
  take(bytes: Uint8Array, start: number, end: number): Uint8Array | null {
    const { option } = this;
    if (option === "ID" || option === NOT + "ID") {
      const id = idIn(bytes, start, end);
      if (id !== null) return this.takeId(option, id);
      if (!this.idSeen) return this.kills ? KILL_ID_ERROR : LIST_ID_ERROR;
    } else if (option !== "") return this.takeValue(option, bytes, start, end);
    const name = latin1(bytes, start, Math.min(end, start + 64)).toUpperCase();
    const negated = name.startsWith(NOT);
    const known = OPTIONS.get(negated ? name.slice(NOT.length) : name);
    if (name === "ID" || name === NOT + "ID") {
      this.idSeen = false;
      if (name === "ID") this.ids ??= new Set();
    } else if (name !== "SKIPME" && (known === undefined || (negated && !known.negatable))) {
      // As Redis: what is no id behind an id is no option either.
      return option !== "" && !this.kills ? LIST_ID_ERROR : SYNTAX_ERROR;
    }
    this.option = name;
    return null;
  }

  /** No more arguments. Returns the error that the request deserves, or null. */
  finish(): Uint8Array | null {
    const complete = this.option === "" || (this.option.endsWith("ID") && this.idSeen);
    return complete ? null : SYNTAX_ERROR;
  }

  private takeId(option: string, id: number): Uint8Array | null {
    this.idSeen = true;
    if (id <= 0 && this.kills) return KILL_ID_ERROR;
    if (option === "ID") this.ids!.add(id);
    else this.notIds.add(id);
    return null;
  }

  private takeValue(option: string, bytes: Uint8Array, start: number, end: number): Uint8Array | null {
    this.option = "";
    const text = textOf(bytes, start, end);
    if (option === "SKIPME") {
      const word = text.toUpperCase();
      if (word !== "YES" && word !== "NO") return SYNTAX_ERROR;
      this.skipMe = word === "YES";
      return null;
    }
    const negated = option.startsWith(NOT);
    const name = negated ? option.slice(NOT.length) : option;
    const value = OPTIONS.get(name)!.read(text, this.databases, this.users);
    if (value instanceof Uint8Array) return value;
    // FLAGS and CAPA of no letters mean all clients.
    const anything = value === "" && (name === "FLAGS" || name === "CAPA");
    if (anything) this.given.delete(option);
    else this.given.set(option, [name, negated, value]);
    return null;
  }
}

function textOf(bytes: Uint8Array, start: number, end: number): string {
  return latin1(bytes, start, Math.min(end, start + TEXT_MAX));
}

/** As errors show it. */
function cut(text: string): string {
  const bytes = Uint8Array.from(text.slice(0, 256), (letter) => letter.charCodeAt(0));
  return shown(bytes, 0, bytes.length);
}

function integerIn(text: string): number | null {
  if (!/^(0|-?[1-9][0-9]{0,18})$/.test(text)) return null;
  const value = Number(text);
  return Math.abs(value) < INTEGER_MAX ? value : null;
}

/** As `integerIn`, but cheap enough for very many; of more than 2^53 only that it is nobody's. */
function idIn(bytes: Uint8Array, start: number, end: number): number | null {
  const negative = bytes[start] === 45;
  const first = negative ? start + 1 : start;
  const digits = end - first;
  if (digits < 1 || digits > 19 || (bytes[first] === 48 && end - start > 1)) return null;
  let value = 0;
  for (let i = first; i < end; i++) {
    const digit = bytes[i]! - 48;
    if (digit < 0 || digit > 9) return null;
    value = value * 10 + digit;
  }
  return negative ? -value : value;
}

/** The address without its port, and an IPv6 one without its brackets. */
function ipOf(address: string): string {
  const host = address.slice(0, Math.max(0, address.lastIndexOf(":")));
  return host.startsWith("[") ? host.slice(1, -1) : host;
}
