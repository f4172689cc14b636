/**
 * What `route` is given and prints, whoever knows where keys live: the ring of a file (route.ts) or a running proxy (route_asked.ts).
 *
 *   keys (arguments, or lines of standard input in place of "-") ──► key ⇥ pool ⇥ server ⇥ address (⇥ slot, of a cluster)
 */
import { encode, latin1 } from "../bytes/ascii.ts";
import { unhex } from "../bytes/hex.ts";
import { quoted } from "../config/config_error.ts";
import type { RouteOptions } from "./flags.ts";
import type { Io } from "./io.ts";
import { UsageError } from "./usage_error.ts";

const NEWLINE = 10;

/** A key, and the argument or line it is, or with --hex is spelled by. */
export class GivenKey {
  bytes: Uint8Array = new Uint8Array();
  start = 0;
  end = 0;

  /** @param given borrowed, as are `bytes` */
  constructor(public given: Uint8Array, public givenStart: number, public givenEnd: number) {}

  /** @throws UsageError */
  read(hex: boolean, place: () => string): void {
    const { given, givenStart, givenEnd } = this;
    const bytes = hex ? unhex(given, givenStart, givenEnd) : given;
    if (bytes === null) {
      const found = quoted(latin1(given, givenStart, givenEnd));
      throw new UsageError(`${place()}: found ${found}, expected pairs of hex digits`);
    }
    this.bytes = bytes;
    this.start = hex ? 0 : givenStart;
    this.end = hex ? bytes.length : givenEnd;
  }
}

/** All of them, in order; lines of standard input in one object, one after the other. Throws UsageError. */
export function* givenKeys({ keys, hex }: RouteOptions, io: Io): Generator<GivenKey, void> {
  for (const text of keys) {
    if (text === "-") {
      yield* lineKeys(io.stdin(), hex);
      continue;
    }
    const given = encode(text);
    const key = new GivenKey(given, 0, given.length);
    key.read(hex, () => "KEY");
    yield key;
  }
}

function* lineKeys(all: Uint8Array, hex: boolean): Generator<GivenKey, void> {
  let line = 0;
  const place = () => `line ${line} of standard input`;
  const key = new GivenKey(all, 0, 0);
  for (let start = 0; start < all.length;) {
    let end = all.indexOf(NEWLINE, start);
    if (end === -1) end = all.length;
    line++;
    key.givenStart = start;
    key.givenEnd = end;
    key.read(hex, place);
    yield key;
    start = end + 1;
  }
}

/** What follows the key on its line, without the line's end. @param nobody stands for who is null */
export function textOf(pool: string, server: string | null, address: string | null, nobody: string): string {
  return `\t${pool}\t${server ?? nobody}\t${address ?? nobody}`;
}

/** Of a key that nobody has: any server may get it, or there is none. */
export const nobodyOf = (anyone: boolean): string => anyone ? "*" : "-";
