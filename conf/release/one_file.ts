/**
 * Makes an executable for Linux that needs no file beside it: the loader and the libraries that it was linked with are carried inside.
 *
 *   ┌───────────────────────────┐
 *   │ the executable as it was  │  PT_INTERP becomes the segment CODE, PT_NOTE the segment TEXT, the entry is the loader's
 *   ├───────────────────────────┤
 *   │ CODE: head │ loader.c     │  read and executed
 *   │ ld.so │ libc │ libm │ …   │
 *   ├───────────────────────────┤
 *   │ TEXT: the string table,   │  read and written: the loader writes there where each library is
 *   │ a path a library, and the │
 *   │ segments as ld.so may see │  it insists on a PT_INTERP, which the kernel must not see
 *   └───────────────────────────┘
 *
 * What the program does, its own segments, and the libraries are not touched; only the names it asks for are paths now. It runs in an
 * empty root, and on distributions with another C library. docs/decisions has what else was tried.
 */
import {
  DT_NEEDED,
  DT_STRSZ,
  DT_STRTAB,
  Elf,
  PHDR_SIZE,
  PT_INTERP,
  PT_LOAD,
  PT_NOTE,
  PT_PHDR,
} from "./elf.ts";

/** Pages are at most so long on the machines that this is for. */
const PAGE_BYTES = 65536;
/** As in loader.c. */
const HEAD_BYTES = 4096;
const LIBRARIES_MAX = 16;
const PATH = "/proc/self/fd/";
const PATH_BYTES = PATH.length + 5;

const READ = 4;
const WRITE = 2;
const EXECUTE = 1;

export interface Parts {
  readonly executable: Uint8Array;
  /** loader.c, linked by loader.ld: the head's page, then the code. */
  readonly loader: Uint8Array;
  /** A file that is asked for by this name: ld.so (of PT_INTERP, by its last part) or a library. Throws if there is none. */
  readonly library: (name: string) => Uint8Array;
}

/** The executable with all of it inside; a new array. Throws if it is no dynamically linked executable, or has no room for that. */
export function oneFile({ executable, loader, library }: Parts): Uint8Array {
  const elf = new Elf(executable.slice(), "the executable");
  const interpreter = elf.find(PT_INTERP);
  const note = elf.find(PT_NOTE);
  if (interpreter === undefined || note === undefined) {
    throw new Error(
      "the executable names no interpreter, or has no note to give up: it cannot take segments",
    );
  }
  const textOf = (from: number) => ascii(elf.bytes.subarray(from, elf.bytes.indexOf(0, from)));
  const interpreterName = textOf(interpreter.offset).split("/").at(-1)!;
  const rows = elf.dynamic();
  const strings = rows.find(({ tag }) => tag === DT_STRTAB)!;
  const stringsSize = rows.find(({ tag }) => tag === DT_STRSZ)!;
  const stringsAt = elf.offsetOf(strings.value);
  const needed = rows.filter(({ tag }) => tag === DT_NEEDED)
    .map(({ row, value }) => ({ row, name: textOf(stringsAt + value) }))
    // It is there before any library, and found by its name.
    .filter(({ name }) => name !== interpreterName);
  if (needed.length > LIBRARIES_MAX) throw new Error(`more than ${LIBRARIES_MAX} libraries`);

  const end = Math.max(...elf.segments.map(({ address, memorySize }) => address + memorySize));
  const codeOffset = up(elf.bytes.length, PAGE_BYTES);
  const codeAddress = up(end, PAGE_BYTES) + PAGE_BYTES;
  const code = new Pieces();
  code.add(loader, 16);
  const interpreterBytes = library(interpreterName);
  const interpreterAt = code.add(interpreterBytes, 4096);
  const libraries = needed.map(({ name }) => {
    const bytes = library(name);
    return { at: code.add(bytes, 4096), size: bytes.length };
  });

  const text = new Pieces();
  text.add(elf.bytes.subarray(stringsAt, stringsAt + stringsSize.value), 16);
  const paths = needed.map(() => text.add(latin(PATH.padEnd(PATH_BYTES, "\0")), 1));
  const seen = text.add(new Uint8Array((elf.segments.length + 2) * PHDR_SIZE), 16);
  const textOffset = up(codeOffset + code.size, PAGE_BYTES);
  const textAddress = up(codeAddress + code.size, PAGE_BYTES) + PAGE_BYTES;

  const bytes = new Uint8Array(textOffset + text.size);
  bytes.set(elf.bytes);
  code.write(bytes, codeOffset);
  text.write(bytes, textOffset);
  const made = new Elf(bytes, "what is made");
  const head = [
    made.entry,
    code.size,
    interpreterAt,
    interpreterBytes.length,
    textAddress + seen - codeAddress,
    elf.segments.length + 2,
    needed.length,
    ...libraries.flatMap(({ at, size }, i) => [at, size, textAddress + paths[i]! - codeAddress]),
  ];
  bytes.set(latin("RINGONE1"), codeOffset);
  head.forEach((value, i) => made.put(codeOffset + 8 + 8 * i, value));

  const segment = (flags: number, offset: number, address: number, size: number) => ({
    type: PT_LOAD,
    flags,
    offset,
    address,
    fileSize: size,
    memorySize: size,
    align: PAGE_BYTES,
  });
  const added = [
    segment(READ | EXECUTE, codeOffset, codeAddress, code.size),
    segment(READ | WRITE, textOffset, textAddress, text.size),
  ];
  made.write(interpreter.row, added[0]!);
  made.write(note.row, added[1]!);
  [...elf.segments, ...added].forEach((segment, i) => {
    const isTable = segment.type === PT_PHDR;
    const size = (elf.segments.length + 2) * PHDR_SIZE;
    const table = {
      offset: textOffset + seen,
      address: textAddress + seen,
      fileSize: size,
      memorySize: size,
    };
    made.write(textOffset + seen + i * PHDR_SIZE, isTable ? { ...segment, ...table } : segment);
  });
  made.put(strings.row + 8, textAddress);
  made.put(stringsSize.row + 8, text.size);
  needed.forEach(({ row }, i) => made.put(row + 8, paths[i]!));
  for (const at of elf.versionNames()) {
    const i = needed.findIndex(({ name }) => name === textOf(stringsAt + elf.view.getUint32(at, true)));
    if (i >= 0) made.view.setUint32(at, paths[i]!, true);
  }
  made.entry = codeAddress + HEAD_BYTES;
  return bytes;
}

/** Bytes one after another, each from an even place on. */
class Pieces {
  size = 0;
  private readonly pieces: { readonly at: number; readonly bytes: Uint8Array }[] = [];

  /** Returns where it is. */
  add(bytes: Uint8Array, align: number): number {
    const at = up(this.size, align);
    this.pieces.push({ at, bytes });
    this.size = at + bytes.length;
    return at;
  }

  write(to: Uint8Array, from: number): void {
    for (const { at, bytes } of this.pieces) to.set(bytes, from + at);
  }
}

const up = (size: number, align: number): number => Math.ceil(size / align) * align;
const ascii = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
const latin = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));
