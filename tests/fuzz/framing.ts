/**
 * A differential of framing: lines that one memcached may read otherwise than we do, each with a data block behind it that is
 * itself a command, while somebody else reads through the same server connection.
 *
 *   client A: set a 0 0 +8\r\nmg own v\r\n   ─┐
 *   client B: mg secret3 v, get secret4, …   ─┴─► one connection to memcached ─► B must read its own values
 *
 * If a server takes more or fewer replies out of a line than the proxy thinks, B reads what A's block says.
 */
import { latin1, show } from "../lib/bytes.ts";
import { RawClient, type Target } from "../lib/client.ts";
import { Random } from "../lib/random.ts";

/** What A's data block asks for, as a command. */
const OWN = "mg own v";
const OWN_VALUE = "MINE!";
const SECRETS = 16;
/** Reads of B with each line: some before it, some after. */
const READS = 6;

/** What one run has seen. */
export interface Framing {
  lines: number;
  /** Lines after which B read what was not for it, or A read what is B's: must be none. */
  shifted: string[];
  /** Lines after which the connection was given up, as out of step: B was told so, and read nothing wrong. */
  noticed: string[];
}

/** Sends `count` lines through the proxy at `target`, whose memcached nobody else uses. */
export async function compareFraming(target: Target, seed: number, count: number): Promise<Framing> {
  const seen: Framing = { lines: 0, shifted: [], noticed: [] };
  let reader = await RawClient.connect(target);
  try {
    await reader.send(`set own 0 0 ${OWN_VALUE.length}\r\n${OWN_VALUE}\r\n`);
    await reader.readLine();
    for (let i = 0; i < SECRETS; i++) {
      await reader.send(`set secret${i} 0 0 ${secret(i).length}\r\n${secret(i)}\r\n`);
      await reader.readLine();
    }
    for (; seen.lines < count; seen.lines++) {
      const random = new Random(seed + seen.lines);
      const candidate = line(random);
      const verdict = await ask(target, reader, candidate, random);
      if (verdict === "fine") continue;
      seen[verdict].push(`seed ${seed + seen.lines}: ${show(latin1(candidate))}`);
      reader.close();
      reader = await RawClient.connect(target);
    }
  } finally {
    reader.close();
  }
  return seen;
}

function secret(i: number): string {
  return `SECRET-${i}-${"s".repeat(i)}`;
}

async function ask(
  target: Target,
  reader: RawClient,
  candidate: string,
  random: Random,
): Promise<"fine" | "shifted" | "noticed"> {
  await using writer = await RawClient.connect(target);
  const reads = Array.from({ length: READS }, () => read(random));
  const before = random.below(READS);
  // Its own block may have been told to be longer than it is: these lines are no part of another's request.
  await Promise.all([
    reader.send(reads.slice(0, before).map(([request]) => request).join("")),
    writer.send(candidate),
    reader.send(reads.slice(before).map(([request]) => request).join("")),
  ]);
  for (const [, expected] of reads) {
    let said = "";
    while (said.length < expected.length && expected.startsWith(said)) {
      said += `${await reader.readLine()}\r\n`;
      if (said.startsWith("SERVER_ERROR")) return "noticed";
    }
    if (said !== expected) return "shifted";
  }
  return writer.unread.includes("SECRET") ? "shifted" : "fine";
}

/** A read of B's, and what it must be told. */
function read(random: Random): [request: string, reply: string] {
  const i = random.below(SECRETS);
  const value = secret(i);
  return random.pick<() => [string, string]>([
    () => [`mg secret${i} v\r\n`, `VA ${value.length}\r\n${value}\r\n`],
    () => [`mg secret${i} v k\r\n`, `VA ${value.length} ksecret${i}\r\n${value}\r\n`],
    () => [`get secret${i}\r\n`, `VALUE secret${i} 0 ${value.length}\r\n${value}\r\nEND\r\n`],
    () => [`add secret${i} 0 0 1\r\nx\r\n`, "NOT_STORED\r\n"],
  ])();
}

// ---- lines

const LENGTH = String(OWN.length);
const NUMBERS = [
  ...[
    "+8",
    "8\t",
    "\t8",
    "8\r",
    "8\0",
    "8\x0b",
    "08",
    "0000000000008",
    "8x",
    "8.0",
    "0x8",
    "-0",
    "-8",
    "",
    "9",
    "7",
  ],
  ...[
    "4294967304",
    "-4294967288",
    "2147483648",
    "18446744073709551624",
    "9223372036854775816",
    "8\0 noreply",
  ],
];
const OTHER_NUMBERS = [
  "0",
  "0",
  "0",
  "1",
  "-1",
  "4294967295",
  "4294967296",
  "+0",
  "-0",
  "0\t",
  "x",
  "",
  "00",
  "0\0",
];
const KEYS = ["a", "a", "a", "own", "YQ==", "noreply", "a\tb", "\xff\xfe", "a\rb", "a\0b", "k".repeat(250)];
const LONG_KEY = "k".repeat(251);
const STORES = ["set", "add", "replace", "append", "prepend", "cas"];
const OTHERS = [
  ...["get", "gets", "bget", "gat", "gats", "delete", "incr", "decr", "touch", "mg", "md", "ma", "me", "mn"],
  ...["SET", "sets", "m", "mx", "verbosity", "version", "stats", "get_", "\x01"],
];
const FLAGS = [
  ...[
    "!",
    "q",
    "k",
    "c",
    "s",
    "b",
    "b",
    "O1",
    "Oxx",
    `O${"x".repeat(32)}`,
    "T0",
    "T",
    "T+1",
    "F+1",
    "F0",
    "F99999999999",
  ],
  ...[
    "I",
    "S8",
    "E1",
    "E",
    "x",
    "MA",
    "MSX",
    "M",
    "C1",
    "C+1",
    "N0",
    "J1",
    "D1",
    "v",
    "t",
    "[",
    "_",
    "`",
    "{",
    "\x7f",
    "\xff",
  ],
  ...["7", "-", "\t", "\x01", "noreply"],
];

/** A line that may be odd, what may be its data block, and enough behind it that no length up to some more than that waits. */
function line(random: Random): string {
  const odd = (often: number) => random.next() < often;
  const key = odd(0.03) ? LONG_KEY : random.pick(odd(0.2) ? KEYS : ["a"]);
  const length = odd(0.5) ? random.pick(NUMBERS) : LENGTH;
  const number = () => odd(0.1) ? random.pick(OTHER_NUMBERS) : "0";
  const flags = () =>
    Array.from({ length: odd(0.02) ? 20 : random.below(4) }, () => ` ${random.pick(FLAGS)}`).join("");
  const kind = random.next();
  const name = random.pick(STORES);
  let text = kind < 0.4
    ? `${name} ${key} ${number()} ${number()} ${length}${
      name === "cas" ? ` ${odd(0.3) ? random.pick(OTHER_NUMBERS) : "1"}` : ""
    }`
    : kind < 0.8
    ? `ms ${key} ${length}${flags()}`
    : `${random.pick(OTHERS)} ${odd(0.3) ? number() : key}${odd(0.3) ? ` ${key}` : ""}${
      odd(0.4) ? ` ${number()}` : ""
    }${odd(0.4) ? flags() : ""}`;
  if (odd(0.2)) {
    text += random.pick([
      " noreply",
      " q",
      " noreply ",
      " noreply\0",
      " x",
      " noreply noreply",
      "\t",
      "\0",
      " ",
    ]);
  }
  if (odd(0.1)) text = random.pick([" ", "  ", "\t", "\r", "\0", "\x80"].slice(0, 5)) + text;
  if (odd(0.1)) text = text.replaceAll(" ", "  ");
  for (let i = odd(0.3) ? random.between(1, 3) : 0; i > 0; i--) text = mutated(text, random);
  const block = random.pick([OWN, OWN, OWN, `${OWN}\r\n${OWN}`, `${OWN} \r\nget own`]);
  return `${text}${odd(0.1) ? "\n" : "\r\n"}${block}\r\n${odd(0.5) ? `${OWN}\r\n` : ""}`;
}

/** One byte more, less, or another. */
function mutated(text: string, random: Random): string {
  const at = random.below(text.length + 1);
  const byte = String.fromCharCode(
    random.pick([32, 9, 13, 0, 11, 43, 45, 48, 56, 113, 127, random.below(256)]),
  );
  if (byte === "\n") return text;
  return random.pick([
    () => text.slice(0, at) + byte + text.slice(at),
    () => text.slice(0, at) + byte + text.slice(at + 1),
    () => text.slice(0, at) + text.slice(at + 1),
  ])();
}
