/** Packets of memcached's binary protocol, for tests: requests are made, replies taken apart. Bytes as latin-1 text. */

export interface Ask {
  opcode: number;
  key?: string;
  extras?: string;
  value?: string;
  opaque?: number;
  cas?: bigint;
  /** What the header says, if not what is true. */
  lies?: { magic?: number; keySize?: number; extrasSize?: number; bodySize?: number };
  dataType?: number;
  vbucket?: number;
}

export interface Said {
  opcode: number;
  status: number;
  opaque: number;
  cas: bigint;
  extras: string;
  key: string;
  value: string;
}

export const HEADER = 24;

/** `size` bytes, big-endian. */
export function number(value: number | bigint, size: number): string {
  let text = "";
  if (typeof value === "number") {
    for (let i = size - 1; i >= 0; i--) text += String.fromCharCode(Math.floor(value / 256 ** i) % 256);
    return text;
  }
  for (let i = BigInt(size) - 1n; i >= 0n; i--) {
    text += String.fromCharCode(Number((BigInt(value) >> (8n * i)) & 255n));
  }
  return text;
}

export function numberOf(text: string): bigint {
  let value = 0n;
  for (let i = 0; i < text.length; i++) value = value << 8n | BigInt(text.charCodeAt(i));
  return value;
}

export function packet(ask: Ask): string {
  const { opcode, key = "", extras = "", value = "", opaque = 0, cas = 0n, lies = {} } = ask;
  return number(lies.magic ?? 0x80, 1) + number(opcode, 1) + number(lies.keySize ?? key.length, 2) +
    number(lies.extrasSize ?? extras.length, 1) + number(ask.dataType ?? 0, 1) +
    number(ask.vbucket ?? 0, 2) +
    number(lies.bodySize ?? key.length + extras.length + value.length, 4) + number(opaque, 4) +
    number(cas, 8) + extras + key + value;
}

/** Extras of set, add, replace. */
export function storeExtras(flags = 0, expiry = 0): string {
  return number(flags, 4) + number(expiry, 4);
}

/** Extras of incr and decr. */
export function addExtras(delta: bigint | number, initial: bigint | number = 0, expiry = 0): string {
  return number(delta, 8) + number(initial, 8) + number(expiry, 4);
}

/** The reply at `at` of `text`, and where it ends; null if it is not all there. */
export function saidAt(text: string, at: number): { said: Said; end: number } | null {
  if (text.length - at < HEADER) return null;
  const field = (from: number, size: number) => {
    let value = 0;
    for (let i = at + from; i < at + from + size; i++) value = value * 256 + text.charCodeAt(i);
    return value;
  };
  if (field(0, 1) !== 0x81) throw new Error(`no reply: ${JSON.stringify(text.slice(at, at + 60))}`);
  const end = at + HEADER + field(8, 4);
  if (end > text.length) return null;
  const extrasEnd = at + HEADER + field(4, 1);
  const keyEnd = extrasEnd + field(2, 2);
  const said = {
    opcode: field(1, 1),
    status: field(6, 2),
    opaque: field(12, 4),
    cas: numberOf(text.slice(at + 16, at + 24)),
    extras: text.slice(at + HEADER, extrasEnd),
    key: text.slice(extrasEnd, keyEnd),
    value: text.slice(keyEnd, end),
  };
  return { said, end };
}

/** All replies in `text`, and what is left over. */
export function allSaid(text: string): { said: Said[]; rest: string } {
  const said: Said[] = [];
  let at = 0;
  for (let next = saidAt(text, at); next !== null; next = saidAt(text, at)) {
    said.push(next.said);
    at = next.end;
  }
  return { said, rest: text.slice(at) };
}

/** For messages. */
export function shown(said: Said): string {
  const text = (part: string) =>
    JSON.stringify(part.length > 60 ? `${part.slice(0, 60)}… ${part.length}` : part);
  return `op ${said.opcode.toString(16)} status ${
    said.status.toString(16)
  } opaque ${said.opaque} cas ${said.cas} ${text(said.extras)} ${text(said.key)} ${text(said.value)}`;
}
