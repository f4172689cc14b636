/**
 * Scripts and functions for a server that returns to the ring: it may have restarted, and was not asked meanwhile, so it is told
 * before clients see it.
 *
 *   SCRIPT LOAD, EVAL ──────────────────────────► remembered, the latest ──► SCRIPT LOAD, each
 *   SCRIPT FLUSH, FUNCTION FLUSH and DELETE ────► missed, by server ───────► the same, before
 *   a server on the ring: FUNCTION DUMP ───────────────────────────────────► FUNCTION RESTORE … REPLACE
 *   FUNCTION LOAD ──────────────────────────────► remembered ──────────────► the same, if there is no such server
 *
 * No server tells its scripts, so they are remembered; functions are asked for, since another client, or another proxy, may have
 * loaded them; if nobody can be asked the remembered ones are loaded. What the server has by itself stays, but for libraries of the same
 * name, which are replaced. Error replies keep nobody away: an older server may not know functions, a replica takes none.
 *
 * A node that joins a cluster is told the same, but that its own libraries stay: it may be a replica that has taken over.
 *
 * Each worker tells a server before it sends its own clients there. What one has sent to every server the others know too; the texts
 * of EVAL, which may be many, each remembers for itself.
 *
 * In a cluster nobody can be kept away from a node until it has heard all that: others send requests there. So who says that it lacks a
 * script or function is told that one then, and asked once more (`lacking`, redis/redirect.ts). A library only if another node has it: it
 * may have been deleted through another proxy. A transaction cannot be asked once more: what it names is said before it (`named`).
 */
import { builtin } from "../bytes/builtin.ts";
import { concat, encode, equals, equalsFolded, latin1 } from "../bytes/ascii.ts";
import { fnv1a_32 } from "../hash/fnv1a_32.ts";
import { Args } from "../protocol/redis/args.ts";
import { CATEGORY, type Command } from "../protocol/redis/command.ts";
import { resolve } from "../protocol/redis/commands.ts";
import { bulk, command, commandHead } from "../protocol/redis/encode.ts";
import { lacksFunction, lacksScript } from "../protocol/redis/redirect_reply.ts";
import { RequestResume, scanRequest } from "../protocol/redis/request.ts";
import type { Visit } from "../proxy/ejection.ts";
import type { Pool } from "../proxy/pool.ts";
import type { Internal } from "../proxy/request.ts";
import type { Server } from "../proxy/server.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";

const crypto = builtin<typeof import("node:crypto")>("node:crypto");

/** Texts of SCRIPT LOAD: a client that has loaded one relies on it. */
const LOADED_MAX = 1000;
const LOADED_BYTES_MAX = 1024 * 1024;
/** Texts of EVAL, of which there may be a new one each time; servers themselves keep 500 since 7.4. */
const EVALUATED_MAX = 500;
const EVALUATED_BYTES_MAX = 512 * 1024;
const LIBRARIES_MAX = 100;
const LIBRARIES_BYTES_MAX = 1024 * 1024;
/** What is kept beside a text, about. */
const TEXT_BYTES = 100;
/** Libraries whose deletion a server has missed; beyond that it keeps the others. */
const DELETED_MAX = 1000;
export const NAME_MAX = 256;
/** While a server is told more may come; so often it is told that too. */
const ROUNDS_MAX = 8;
const DOLLAR = 36;
const MINUS = 45;
/** A dump without functions: version and checksum. */
const EMPTY_DUMP = encode("$10\r\n");

const SCRIPT_FLUSH = command("SCRIPT", "FLUSH");
const FUNCTION_FLUSH = command("FUNCTION", "FLUSH");
const FUNCTION_DUMP = command("FUNCTION", "DUMP");
const FUNCTION_RESTORE_HEAD = commandHead(4, "FUNCTION", "RESTORE");
/** A node that joins a cluster and has libraries of its own has those of its shard, which may be newer: it refuses the dump. */
const FUNCTION_RESTORE_NEW_HEAD = commandHead(3, "FUNCTION", "RESTORE");
const REPLACE = bulk("REPLACE");
const FLUSH = encode("FLUSH");
/** What a node has been told because it lacked it, it is not told again for so long, ms: it has not helped, or is on its way. */
const TOLD_MS = 1000;
/** What a function's name is made of. */
const WORDS = /[A-Za-z0-9_]+/g;
const ANY_SIZE = { requestSizeMax: Infinity, argumentsMax: Infinity };
const NOTHING: readonly Uint8Array[] = [];
const BY_DIGEST = [encode("EVALSHA"), encode("EVALSHA_RO")];
/** Of SHA1, in hex. */
const DIGEST_SIZE = 40;
/** SCRIPT FLUSH with any other word is an error. */
const SYNC_WORDS = [encode("ASYNC"), encode("SYNC")];

/** The latest texts, each once, bounded by number and bytes. */
class Texts {
  /** By hash and size; the oldest first. */
  private readonly texts = new Map<number, Uint8Array>();
  private latest: Uint8Array | null = null;
  bytes = 0;

  constructor(private readonly countMax: number, private readonly bytesMax: number) {}

  /** Keeps `bytes[start, end)`, borrowed. True if it is new. */
  note(bytes: Uint8Array, start: number, end: number): boolean {
    if (this.latest !== null && equals(bytes, start, end, this.latest)) return false;
    const size = end - start;
    if (size + TEXT_BYTES > this.bytesMax) return false;
    const hash = fnv1a_32(bytes, start, end) + size * 2 ** 32;
    const present = this.texts.get(hash);
    if (present !== undefined) this.drop(hash, present);
    const known = present !== undefined && equals(bytes, start, end, present);
    this.latest = known ? present : bytes.slice(start, end);
    this.texts.set(hash, this.latest);
    this.bytes += size + TEXT_BYTES;
    for (const [oldest, text] of this.texts) {
      if (this.texts.size <= this.countMax && this.bytes <= this.bytesMax) break;
      this.drop(oldest, text);
    }
    return !known;
  }

  private drop(hash: number, text: Uint8Array): void {
    this.texts.delete(hash);
    this.bytes -= text.length + TEXT_BYTES;
  }

  /** Forgets those of which this is true. */
  forget(which: (text: Uint8Array) => boolean): void {
    this.latest = null;
    for (const [hash, text] of this.texts) if (which(text)) this.drop(hash, text);
  }

  all(): readonly Uint8Array[] {
    return [...this.texts.values()];
  }

  get size(): number {
    return this.texts.size;
  }
}

/** What has been done everywhere else while a server was ejected: taken away; or, if libraries have come, nobody knows which are new to it. */
class Missed {
  scripts = false;
  libraryCame = false;
  /** All libraries. */
  functions = false;
  readonly libraries = new Set<string>();

  get anyFunctions(): boolean {
    return this.functions || this.libraryCame || this.libraries.size > 0;
  }

  add({ scripts, functions, libraries, libraryCame }: Missed): void {
    this.scripts ||= scripts;
    this.functions ||= functions;
    this.libraryCame ||= libraryCame;
    for (const name of libraries) this.libraries.add(name);
  }
}

/** A library that a node may lack. */
export interface Library {
  readonly name: string;
  readonly load: Uint8Array;
  /** It is there, or nobody has it. */
  seen(): void;
}

/** What a node has to be told. */
export interface Missing {
  /** Of a function: the names of the libraries that may have it. Of a script none. */
  readonly libraries: readonly string[];
  /** Has it been said on this connection just now? Then it is on its way, or has not helped. */
  saidOn(connection: ServerConnection): boolean;
  /**
   * From here on it has been said on this connection, or nobody has it.
   * @param wanted absent: all of the libraries are
   * @returns the requests that say what has not been said there just now
   */
  say(connection: ServerConnection, wanted?: readonly boolean[]): readonly Uint8Array[];
}

export class Scripts {
  readonly loaded: Texts = new Texts(LOADED_MAX, LOADED_BYTES_MAX);
  readonly evaluated: Texts = new Texts(EVALUATED_MAX, EVALUATED_BYTES_MAX);
  readonly libraries: Texts = new Texts(LIBRARIES_MAX, LIBRARIES_BYTES_MAX);
  private readonly missed = new WeakMap<Server, Missed>();
  /** SHA1, in hex, of texts that have been asked for. */
  private readonly digests = new WeakMap<Uint8Array, string>();
  /** Of libraries: the words in their text. */
  private readonly words = new WeakMap<Uint8Array, ReadonlySet<string>>();
  /** What has been said lately. By connection: what is said on one may come behind what is asked on another. */
  private readonly toldOn = new WeakMap<
    ServerConnection,
    { readonly sinceMs: number; readonly texts: Set<Uint8Array> }
  >();
  /** Libraries that whoever is at the other end was seen to have, since there were so many changes. */
  private readonly seenOn = new WeakMap<
    ServerConnection,
    { readonly changes: number; readonly texts: Set<Uint8Array> }
  >();
  /** All texts by digest, as they were after so many changes. */
  private byDigest: ReadonlyMap<string, Uint8Array> = new Map();
  private byDigestOf = -1;
  /** Grow with each change: what is told to a server that returns may be old by the time it has heard it. */
  scriptChanges = 0;
  functionChanges = 0;

  constructor(readonly pool: Pool) {}

  get bytes(): number {
    return this.loaded.bytes + this.evaluated.bytes + this.libraries.bytes;
  }

  /**
   * A command is about to be sent, whose arguments are `args` and lie in `bytes`; borrowed.
   * @param queueing it may yet be discarded
   */
  note(command: Command, bytes: Uint8Array, args: Args, queueing: boolean): void {
    if ((command.categories & CATEGORY.SCRIPTING) === 0) return;
    if (!this.take(command.name, bytes, args, queueing)) return;
    const words = [];
    for (let i = 0; i < args.count; i++) {
      const [start, end] = [args.starts[i]!, args.ends[i]!];
      // Of what is too large to be kept (or is a dump) it is enough that there was something.
      words.push(end - start > LIBRARIES_BYTES_MAX ? "" : latin1(bytes, start, end));
    }
    this.pool.tellOthers(words);
  }

  /** Another worker has noted this. */
  knows(words: readonly string[]): void {
    const args = new Args();
    args.reserve(words.length);
    args.count = words.length;
    let at = 0;
    words.forEach((word, i) => {
      args.starts[i] = at;
      args.ends[i] = at += word.length;
    });
    const bytes = bytesOf(words.join(""));
    const command = resolve(bytes, args);
    if (command !== undefined) this.take(command.name, bytes, args, false);
  }

  /** True if the other workers should know. */
  private take(name: string, bytes: Uint8Array, args: Args, queueing: boolean): boolean {
    const { starts, ends, count } = args;
    switch (name) {
      case "EVAL":
      case "EVAL_RO":
        if (this.evaluated.note(bytes, starts[1]!, ends[1]!)) this.scriptChanges++;
        return false;
      case "SCRIPT|LOAD": {
        const isNew = this.loaded.note(bytes, starts[2]!, ends[2]!);
        if (isNew) this.scriptChanges++;
        return isNew;
      }
      case "FUNCTION|LOAD":
        this.libraries.note(bytes, starts[count - 1]!, ends[count - 1]!);
        this.noteLibraryCame();
        return true;
      default:
        return !queueing && this.takeLoss(name, bytes, args);
    }
  }

  private takeLoss(name: string, bytes: Uint8Array, args: Args): boolean {
    const { starts, ends, count } = args;
    switch (name) {
      case "SCRIPT|FLUSH":
        if (count > 2 && !isOneOf(SYNC_WORDS, bytes, starts[2]!, ends[2]!)) return false;
        this.loaded.forget(() => true);
        this.evaluated.forget(() => true);
        this.scriptChanges++;
        this.miss((missed) => missed.scripts = true);
        return true;
      case "FUNCTION|DELETE":
        this.noteDeleted(latin1(bytes, starts[2]!, Math.min(ends[2]!, starts[2]! + NAME_MAX)));
        return true;
      case "FUNCTION|FLUSH":
        if (count > 2 && !isOneOf(SYNC_WORDS, bytes, starts[2]!, ends[2]!)) return false;
        this.noteAllDeleted();
        return true;
      case "FUNCTION|RESTORE":
        if (count === 4 && equalsFolded(bytes, starts[3]!, ends[3]!, FLUSH)) this.noteAllDeleted();
        else this.noteLibraryCame();
        return true;
      default:
        return false;
    }
  }

  /** Who has told the server all that there was may be another worker, and not have known this one yet. */
  private noteLibraryCame(): void {
    this.functionChanges++;
    this.miss((missed) => missed.libraryCame = true);
  }

  private noteDeleted(library: string): void {
    this.libraries.forget((text) => libraryOf(text) === library);
    this.functionChanges++;
    this.miss(({ libraries }) => {
      if (libraries.size < DELETED_MAX) libraries.add(library);
    });
  }

  private noteAllDeleted(): void {
    this.libraries.forget(() => true);
    this.functionChanges++;
    this.miss((missed) => missed.functions = true);
  }

  private miss(note: (missed: Missed) => void): void {
    for (const server of this.pool.servers) if (server.ejected) note(this.missedBy(server));
  }

  private missedBy(server: Server): Missed {
    let missed = this.missed.get(server);
    if (missed === undefined) this.missed.set(server, missed = new Missed());
    return missed;
  }

  takeMissed(server: Server): Missed {
    const missed = this.missedBy(server);
    this.missed.delete(server);
    return missed;
  }

  missAgain(server: Server, missed: Missed): void {
    this.missedBy(server).add(missed);
  }

  /**
   * What a node that has answered `reply[start, end)` to `request` has to be told before it is asked once more. A script that makes up just
   * such words is run twice.
   * @returns null if it is no word about a script or function that it lacks, or nobody has sent that through this proxy
   */
  lacking(reply: Uint8Array, start: number, end: number, request: Uint8Array): Missing | null {
    const isScript = lacksScript(reply, start, end);
    if (!isScript && !lacksFunction(reply, start, end)) return null;
    const args = new Args();
    const size = scanRequest(request, 0, request.length, args, ANY_SIZE, new RequestResume());
    if (size < 0 || args.count < 2) return null;
    const name = latin1(request, args.starts[1]!, Math.min(args.ends[1]!, args.starts[1]! + NAME_MAX));
    const texts = isScript ? this.textOf(name.toLowerCase()) : this.librariesWith(name);
    if (texts.length === 0) return null;
    return {
      libraries: isScript ? [] : texts.map(libraryOf),
      saidOn: (connection) => {
        const { texts: told } = this.toldTo(connection);
        return texts.every((text) => told.has(text));
      },
      say: (connection, wanted) =>
        this.newsFor(connection, texts).filter((text) => wanted?.[texts.indexOf(text)] !== false)
          .map((text) => command(isScript ? "SCRIPT" : "FUNCTION", "LOAD", text)),
    };
  }

  /**
   * What is said on a connection before these requests, a transaction's, some of which name scripts by their digests: what this proxy knows
   * of them, and has not said there just now. Another node may have joined or taken over.
   */
  named(on: ServerConnection, requests: Uint8Array): readonly Uint8Array[] {
    const texts = new Set<Uint8Array>();
    const args = new Args();
    for (let at = 0; at < requests.length;) {
      at = scanRequest(requests, at, requests.length, args, ANY_SIZE, new RequestResume());
      if (at < 0) break;
      const { starts, ends, count } = args;
      if (count < 2 || ends[1]! - starts[1]! !== DIGEST_SIZE) continue;
      if (!isOneOf(BY_DIGEST, requests, starts[0]!, ends[0]!)) continue;
      for (const text of this.textOf(latin1(requests, starts[1]!, ends[1]!).toLowerCase())) texts.add(text);
    }
    return this.newsFor(on, [...texts]).map((text) => command("SCRIPT", "LOAD", text));
  }

  /**
   * Libraries that these functions, which a transaction calls, may be of, and that nobody has seen at the other end of this connection:
   * whether they are there has to be asked, since one that has been deleted through another proxy is not to come back.
   */
  librariesOf(on: ServerConnection, functions: ReadonlySet<string>): readonly Library[] {
    if (this.libraries.size === 0) return [];
    const texts = new Set([...functions].flatMap((name) => this.librariesWith(name)));
    let seen = this.seenOn.get(on);
    if (seen === undefined || seen.changes !== this.functionChanges) {
      this.seenOn.set(on, seen = { changes: this.functionChanges, texts: new Set() });
    }
    const { texts: there } = seen;
    return [...texts].filter((text) => !there.has(text)).map((text) => ({
      name: libraryOf(text),
      load: command("FUNCTION", "LOAD", text),
      seen: () => there.add(text),
    }));
  }

  /** What has been said there has not been taken. */
  untold(on: ServerConnection): void {
    this.toldOn.delete(on);
    this.seenOn.delete(on);
  }

  private toldTo(connection: ServerConnection): { readonly texts: Set<Uint8Array> } {
    const nowMs = this.pool.turn.now();
    let told = this.toldOn.get(connection);
    if (told === undefined || nowMs - told.sinceMs >= TOLD_MS) {
      this.toldOn.set(connection, told = { sinceMs: nowMs, texts: new Set() });
    }
    return told;
  }

  /** Those that who is at the other end has not been told just now: from here on it has been. */
  private newsFor(connection: ServerConnection, texts: readonly Uint8Array[]): readonly Uint8Array[] {
    const { texts: before } = this.toldTo(connection);
    const news = texts.filter((text) => !before.has(text));
    for (const text of news) before.add(text);
    return news;
  }

  /** Libraries that may have this function, the latest first: which it is in their text alone knows. */
  private librariesWith(name: string): readonly Uint8Array[] {
    return this.libraries.all().filter((text) => this.wordsOf(text).has(name)).reverse();
  }

  private wordsOf(text: Uint8Array): ReadonlySet<string> {
    let words = this.words.get(text);
    if (words === undefined) {
      words = new Set(latin1(text, 0, text.length).match(WORDS));
      this.words.set(text, words);
    }
    return words;
  }

  /** The text of this digest, if it is known. */
  private textOf(digest: string): readonly Uint8Array[] {
    if (this.byDigestOf !== this.scriptChanges) {
      const texts = [...this.loaded.all(), ...this.evaluated.all()];
      this.byDigest = new Map(texts.map((text) => [this.digestOf(text), text]));
      this.byDigestOf = this.scriptChanges;
    }
    const text = this.byDigest.get(digest);
    return text === undefined ? NOTHING : [text];
  }

  private digestOf(text: Uint8Array): string {
    let digest = this.digests.get(text);
    if (digest === undefined) {
      digest = crypto().createHash("sha1").update(text).digest("hex");
      this.digests.set(text, digest);
    }
    return digest;
  }

  /** Is there anything that this worker would tell the server? @param first no other worker has told it */
  tells(server: Server, first: boolean): boolean {
    const { scripts, anyFunctions } = this.missedBy(server);
    return first || scripts || anyFunctions || this.loaded.size + this.evaluated.size > 0;
  }

  /** Tells the server; the visit ends when it has heard all, or is lost. */
  tell(visit: Visit, first: boolean): void {
    new Telling(this, visit, first).round();
  }
}

/** One server that is being told. */
class Telling {
  private readonly server: Server;
  /** Taken from it here, and not yet known to have been heard. */
  private readonly missed = new Missed();
  private readonly told = new Set<Uint8Array>();
  private missing = 0;
  private rounds = 0;
  private scriptChanges = 0;
  private functionChanges: number;
  private over = false;

  constructor(private readonly scripts: Scripts, private readonly visit: Visit, private first: boolean) {
    this.server = visit.connection.server;
    this.functionChanges = scripts.functionChanges;
    visit.whenOver = (well) => {
      this.over = true;
      if (!well) scripts.missAgain(this.server, this.missed);
    };
  }

  round(): void {
    const { scripts } = this;
    this.rounds++;
    // Held until all has been sent.
    this.missing++;
    const missed = scripts.takeMissed(this.server);
    this.missed.add(missed);
    const functions = this.first || missed.anyFunctions || this.functionChanges !== scripts.functionChanges;
    this.first = false;
    this.scriptChanges = scripts.scriptChanges;
    this.functionChanges = scripts.functionChanges;
    if (missed.functions) this.ask(FUNCTION_FLUSH);
    for (const name of missed.libraries) this.ask(command("FUNCTION", "DELETE", name));
    if (functions) this.askDonor(scripts.pool.onRing().filter((server) => server !== this.server), 0);
    if (missed.scripts) {
      this.ask(SCRIPT_FLUSH);
      this.told.clear();
    }
    for (const texts of [scripts.loaded, scripts.evaluated]) {
      for (const text of texts.all()) {
        if (this.told.has(text)) continue;
        this.told.add(text);
        this.ask(command("SCRIPT", "LOAD", text));
      }
    }
    this.answered();
  }

  private ask(request: Uint8Array): void {
    this.missing++;
    const { connection } = this.visit;
    // Another may have taken the server's place between two turns.
    if (connection.closed) this.lost();
    else connection.ask(request, this.heard, true);
  }

  /** What a donor answers from now on is asked of nobody any more. */
  private lost(): void {
    if (this.over) return;
    this.over = true;
    // Not from inside a connection's reply loop.
    this.scripts.pool.turn.later({ resume: () => this.visit.end(false) });
  }

  private readonly heard: Internal = (_bytes, _start, _end, failed) => {
    if (this.over) return;
    this.visit.heard();
    if (failed) this.lost();
    else this.answered();
  };

  /**
   * Gets the functions from one of those on the ring; from what is remembered if none can be asked. Who has none although some are remembered
   * may have lost them: the next one is asked.
   * @param none one has said that it has none
   */
  private askDonor(donors: readonly Server[], i: number, none = false): void {
    const donor = donors[i];
    if (donor === undefined) return none ? undefined : this.loadLibraries();
    // One that has left meanwhile is asked nothing more.
    const connection = donor.gone ? null : donor.connection(0, 0);
    if (connection === null) return this.askDonor(donors, i + 1, none);
    this.missing++;
    connection.ask(FUNCTION_DUMP, (bytes, start, end, failed) => {
      if (this.over) return;
      this.visit.heard();
      if (failed) this.askDonor(donors, i + 1, none);
      else if (isDump(bytes, start, end)) {
        const dump = bytes.subarray(start, end);
        this.ask(
          this.scripts.pool.cluster
            ? concat(FUNCTION_RESTORE_NEW_HEAD, dump)
            : concat(concat(FUNCTION_RESTORE_HEAD, dump), REPLACE),
        );
      } else if (bytes[start] === DOLLAR && this.scripts.libraries.size > 0) {
        this.askDonor(donors, i + 1, true);
      }
      this.answered();
    });
  }

  /** The latest of each name; in a cluster the node's own stay. */
  private loadLibraries(): void {
    const { libraries, pool } = this.scripts;
    const latest = new Map(libraries.all().map((text) => [libraryOf(text), text]));
    for (const text of latest.values()) {
      this.ask(
        pool.cluster ? command("FUNCTION", "LOAD", text) : command("FUNCTION", "LOAD", "REPLACE", text),
      );
    }
  }

  private answered(): void {
    if (--this.missing > 0) return;
    this.scripts.pool.turn.later({ resume: () => this.roundOver() });
  }

  private roundOver(): void {
    if (this.over) return;
    const { scriptChanges, functionChanges } = this.scripts;
    const changed = scriptChanges !== this.scriptChanges || functionChanges !== this.functionChanges;
    if (changed && this.rounds < ROUNDS_MAX) this.round();
    else this.visit.end(true);
  }
}

/** A bulk string that holds functions. */
function isDump(bytes: Uint8Array, start: number, end: number): boolean {
  if (bytes[start] !== DOLLAR || bytes[start + 1] === MINUS) return false;
  return !EMPTY_DUMP.every((byte, i) => start + i < end && bytes[start + i] === byte);
}

function isOneOf(words: readonly Uint8Array[], bytes: Uint8Array, start: number, end: number): boolean {
  return words.some((word) => equalsFolded(bytes, start, end, word));
}

/** The name in `#!lua name=library`. */
function libraryOf(text: Uint8Array): string {
  const line = latin1(text, 0, Math.min(text.length, 2 * NAME_MAX)).split("\n")[0]!;
  return /\sname=(\S+)/.exec(line)?.[1] ?? "";
}

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}
