/** A tar archive of files that belong to root (POSIX ustar): what a layer of an image is. The same entries give the same bytes. */

export interface Entry {
  /** Relative, without a dot in front; at most 100 bytes. */
  readonly path: string;
  readonly mode: number;
  readonly bytes: Uint8Array;
}

const BLOCK = 512;

/** @param seconds when each of them was changed, since the epoch */
export function tarOf(entries: readonly Entry[], seconds: number): Uint8Array {
  const padded = (bytes: number) => Math.ceil(bytes / BLOCK) * BLOCK;
  const total = entries.reduce((sum, { bytes }) => sum + BLOCK + padded(bytes.length), 0);
  // Two empty blocks end it.
  const tar = new Uint8Array(total + 2 * BLOCK);
  let at = 0;
  for (const entry of entries) {
    tar.set(headerOf(entry, seconds), at);
    tar.set(entry.bytes, at + BLOCK);
    at += BLOCK + padded(entry.bytes.length);
  }
  return tar;
}

function headerOf({ path, mode, bytes }: Entry, seconds: number): Uint8Array {
  const header = new Uint8Array(BLOCK);
  const put = (text: string, at: number, room: number) => {
    const encoded = new TextEncoder().encode(text);
    if (encoded.length > room) throw new Error(`${path}: ${text} is longer than ${room} bytes`);
    header.set(encoded, at);
  };
  const octal = (value: number, at: number, room: number) =>
    put(value.toString(8).padStart(room - 1, "0"), at, room - 1);
  put(path, 0, 100);
  octal(mode, 100, 8);
  octal(0, 108, 8); // user
  octal(0, 116, 8); // group
  octal(bytes.length, 124, 12);
  octal(seconds, 136, 12);
  put("        ", 148, 8); // the sum is taken over this
  put("0", 156, 1); // a file
  put("ustar\x0000", 257, 8);
  const sum = header.reduce((total, byte) => total + byte, 0);
  put(`${sum.toString(8).padStart(6, "0")}\0 `, 148, 8);
  return header;
}
