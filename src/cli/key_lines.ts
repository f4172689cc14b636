/** A file of keys, one a line, any bytes but the line's end; "-" is standard input. It is read in pieces, however large it is. */
import { notRead } from "../bytes/os_error.ts";
import { closeSync, openSync, readSync } from "node:fs";

const NEWLINE = 10;
const PIECE_SIZE = 64 * 1024;
/** Longest line; what is longer is no list of keys. */
const LINE_MAX = 1024 * 1024;
/** How long to wait when standard input has nothing for the moment, ms. */
const NOTHING_YET_MS = 10;

/** A file that is not configuration cannot be read or written, or is not what it should be. The message is for people. */
export class FileError extends Error {
  override readonly name = "FileError";
}

/**
 * The lines of a piece at a time, as offsets into its bytes, which are the caller's until the next piece: start, end, start, end, …
 *
 * @param flag that named the file: "--keys"
 * @throws FileError
 */
export function* linesOf(path: string, flag: string): Generator<{ bytes: Uint8Array; ends: number[] }> {
  let line = 0;
  // The beginning of a line whose end has not been read yet, then the piece just read.
  let held = new Uint8Array(2 * PIECE_SIZE);
  let length = 0;
  for (const piece of piecesOf(path, flag)) {
    if (held.length < length + piece.length) {
      const larger = new Uint8Array(2 * (length + piece.length));
      larger.set(held.subarray(0, length));
      held = larger;
    }
    held.set(piece, length);
    const end = length + piece.length;
    let start = 0;
    const ends: number[] = [];
    for (let at = held.indexOf(NEWLINE, length); at >= 0 && at < end; at = held.indexOf(NEWLINE, start)) {
      line++;
      ends.push(start, at);
      start = at + 1;
    }
    if (ends.length > 0) yield { bytes: held, ends };
    held.copyWithin(0, start, end);
    length = end - start;
    if (length > LINE_MAX) {
      throw new FileError(
        `${path}:${line + 1}: found a line of more than ${LINE_MAX} bytes, expected a key a line`,
      );
    }
  }
  if (length > 0) yield { bytes: held, ends: [0, length] };
}

/** A file's bytes, or those of standard input ("-"), in order; each piece is the caller's until the next one. */
function* piecesOf(path: string, flag: string): Generator<Uint8Array> {
  const piece = new Uint8Array(PIECE_SIZE);
  const fd = path === "-" ? 0 : open(path, flag);
  try {
    for (;;) {
      const count = read(fd, piece, path, flag);
      if (count === 0) return;
      if (count > 0) yield piece.subarray(0, count);
    }
  } finally {
    if (fd !== 0) closeSync(fd);
  }
}

function open(path: string, flag: string): number {
  try {
    return openSync(path, "r");
  } catch (error) {
    throw new FileError(`option ${flag}: ${notRead(path, error)}`);
  }
}

/** @returns how many bytes; 0 at the end, -1 if there are none for the moment */
function read(fd: number, piece: Uint8Array, path: string, flag: string): number {
  try {
    return readSync(fd, piece, 0, piece.length, null);
  } catch (error) {
    const code = (error as { code?: string }).code;
    if (code === "EOF") return 0;
    if (code !== "EAGAIN") throw new FileError(`option ${flag}: ${notRead(path, error)}`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, NOTHING_YET_MS);
    return -1;
  }
}
