/**
 * The pages of the executable itself that a process has in memory.
 *
 *   start: parser, linker, bundled code … ──► 45 MB of them are mapped      (Bun 1.4.5, x86-64)
 *   after `letGoOfProgram`                ──► only those that are used again come back, some 15 MB under load
 *
 * They stay in the kernel's page cache, so one that is needed again costs a page fault and no read. What is gained is that
 * the others count for nobody: resident memory says what the proxy needs, and a container that is short of memory need not look
 * for pages of ours to unmap.
 *
 * Our own code, as text and as bytecode, is a section of its own in the executable, `.bun`. It lies in memory that could be written to,
 * behind the variables; nothing does, and before it is let go of the kernel is asked whether something has.
 */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import type { Libc } from "./libc.ts";

const MADV_DONTNEED = 4;

/** Unmaps the executable's code and constants, which nothing ever writes to; takes 1 to 3 ms. Does nothing where /proc is missing. */
export function letGoOfProgram(libc: Libc): void {
  try {
    const smaps = readFileSync("/proc/self/smaps", "latin1");
    const parts = constantOf(smaps, process.execPath);
    const bundle = bundlePart(smaps);
    if (bundle !== null) parts.push(bundle);
    for (const { at, size } of parts) libc.calls.madvise(at, size, MADV_DONTNEED);
  } catch {
    // No /proc.
  }
}

/** A piece of this process's memory, in whole pages. */
export interface Part {
  readonly at: number;
  readonly size: number;
}

const MAPPING = /^([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) \S+ \d+ *(.*)$/;

/**
 * Where what cannot change of the program at `path` is mapped, from the text of /proc/self/smaps. Bytes. What has pages of this process's
 * own has been written to before it was made constant, and would be as it is in the file.
 */
export function constantOf(smaps: string, path: string): Part[] {
  const found = [];
  let candidate: Part | null = null;
  for (const line of smaps.split("\n")) {
    const head = MAPPING.exec(line);
    if (head !== null) {
      const [, from, to, rights, , name] = head as unknown as string[];
      const at = parseInt(from!, 16);
      const isConstant = name === path && (rights === "r-xp" || rights === "r--p");
      candidate = isConstant ? { at, size: parseInt(to!, 16) - at } : null;
    } else if (candidate !== null && /^Anonymous: +0 kB$/.test(line)) {
      found.push(candidate);
      candidate = null;
    }
  }
  return found;
}

/** Where the bundle is mapped, if nothing of it has been written to; null if it has, or there is none. */
function bundlePart(smaps: string): Part | null {
  const section = ofFile(process.execPath, (read) => sectionOf(read, ".bun"));
  const part = section === null ? null : mappedAt(smaps, process.execPath, section);
  if (part === null) return null;
  const pages = ofFile("/proc/self/pagemap", (read) => read(part.at / PAGE * 8, part.size / PAGE * 8));
  return isUnwritten(pages) ? part : null;
}

/** Of pages of another size nothing is let go: the pagemap would have to be read otherwise. */
const PAGE = 4096;

/**
 * The whole pages that bytes `[at, at + size)` of the file at `path` are mapped to, for reading and writing; null if they are not, or
 * pages have another size.
 */
export function mappedAt(smaps: string, path: string, { at, size }: Part): Part | null {
  let part: Part | null = null;
  for (const line of smaps.split("\n")) {
    const head = MAPPING.exec(line);
    if (head !== null) {
      const [, from, to, rights, offset, name] = head as unknown as string[];
      const [start, end, fileStart] = [from, to, offset].map((each) => parseInt(each!, 16)) as [
        number,
        number,
        number,
      ];
      part = null;
      if (name !== path || rights !== "rw-p" || at < fileStart || at + size > fileStart + end - start) {
        continue;
      }
      const first = Math.ceil((start + at - fileStart) / PAGE) * PAGE;
      const last = Math.floor((start + at + size - fileStart) / PAGE) * PAGE;
      part = last > first ? { at: first, size: last - first } : null;
    } else if (part !== null && line.startsWith("KernelPageSize:")) {
      return /^KernelPageSize: +4 kB$/.test(line) ? part : null;
    }
  }
  return null;
}

/** Of each page 8 bytes: the highest bit says that it is present, bit 61 that it is the file's. Source: proc(5). */
export function isUnwritten(pages: Uint8Array): boolean {
  for (let i = 7; i < pages.length; i += 8) {
    if ((pages[i]! & 0x80) !== 0 && (pages[i]! & 0x20) === 0) return false;
    // In swap: it has been written to.
    if ((pages[i]! & 0x40) !== 0) return false;
  }
  return true;
}

/** So many bytes from there on; throws if there are fewer. */
export type ReadAt = (at: number, size: number) => Uint8Array;

/** Which bytes of a 64-bit ELF file are the section of this name; null if it has none such, or is no such file. */
export function sectionOf(read: ReadAt, name: string): Part | null {
  const header = viewOf(read(0, 64));
  // \x7fELF, 64 bits, little-endian.
  if (header.getUint32(0) !== 0x7f454c46 || header.getUint16(4) !== 0x0201) return null;
  const [tableAt, rowSize, count, namesRow] = [
    uint64(header, 40),
    header.getUint16(58, true),
    header.getUint16(60, true),
    header.getUint16(62, true),
  ];
  if (rowSize < 64 || namesRow >= count) return null;
  const table = viewOf(read(tableAt, rowSize * count));
  const placeOf = (row: number): Part => ({
    at: uint64(table, row * rowSize + 24),
    size: uint64(table, row * rowSize + 32),
  });
  const namesAt = placeOf(namesRow);
  const names = String.fromCharCode(...read(namesAt.at, Math.min(namesAt.size, NAMES_MAX)));
  for (let row = 0; row < count; row++) {
    const start = table.getUint32(row * rowSize, true);
    if (names.slice(start, names.indexOf("\0", start)) === name) return placeOf(row);
  }
  return null;
}

/** The names of all sections take some hundred bytes. */
const NAMES_MAX = 8192;

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function uint64(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}

function ofFile<T>(path: string, look: (read: ReadAt) => T): T {
  const fd = openSync(path, "r");
  try {
    return look((at, size) => {
      const bytes = new Uint8Array(size);
      if (readSync(fd, bytes, 0, size, at) < size) throw new Error(`${path} ends before byte ${at + size}`);
      return bytes;
    });
  } finally {
    closeSync(fd);
  }
}
