/**
 * As much of an ELF file for 64-bit little-endian machines as one_file.ts reads and changes: its segments, what it says to its loader,
 * and which versions of which libraries it asks for. Offsets are of the file unless they are called addresses. See elf(5).
 */

export const PT_NULL = 0;
export const PT_LOAD = 1;
export const PT_DYNAMIC = 2;
export const PT_INTERP = 3;
export const PT_NOTE = 4;
export const PT_PHDR = 6;

export const DT_NEEDED = 1;
export const DT_STRTAB = 5;
export const DT_STRSZ = 10;
export const DT_VERNEED = 0x6ffffffe;
export const DT_VERNEEDNUM = 0x6fffffff;

/** Machines, by what stands in the file. */
export const MACHINES: Readonly<Record<number, string>> = { 62: "x64", 183: "arm64" };

/** A row of the table of segments, in bytes. */
export const PHDR_SIZE = 56;

export interface Segment {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly address: number;
  readonly fileSize: number;
  readonly memorySize: number;
  readonly align: number;
}

/** A segment of a table, and where its row is. */
export interface Row extends Segment {
  readonly row: number;
}

export class Elf {
  readonly view: DataView;
  readonly segments: readonly Row[];

  /** @param bytes changed in place by `write` and `entry`. Throws if they are no such file. */
  constructor(readonly bytes: Uint8Array, what: string) {
    const { buffer, byteOffset, byteLength } = bytes;
    this.view = new DataView(buffer, byteOffset, byteLength);
    if (byteLength < 64 || this.view.getUint32(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1) {
      throw new Error(`${what}: not an ELF file of a 64-bit little-endian machine`);
    }
    const table = this.u64(32);
    const count = this.view.getUint16(56, true);
    this.segments = Array.from({ length: count }, (_, i) => this.segment(table + i * PHDR_SIZE));
  }

  get machine(): string {
    const machine = this.view.getUint16(18, true);
    return MACHINES[machine] ?? `machine ${machine}`;
  }

  get entry(): number {
    return this.u64(24);
  }

  set entry(address: number) {
    this.put(24, address);
  }

  u64(at: number): number {
    return Number(this.view.getBigUint64(at, true));
  }

  put(at: number, value: number): void {
    this.view.setBigUint64(at, BigInt(value), true);
  }

  find(type: number): Row | undefined {
    return this.segments.find((segment) => segment.type === type);
  }

  /** Where in the file the byte at this address is. */
  offsetOf(address: number): number {
    const segment = this.segments.find(({ type, address: from, fileSize }) =>
      type === PT_LOAD && address >= from && address < from + fileSize
    );
    if (segment === undefined) throw new Error(`address 0x${address.toString(16)} is in no segment`);
    return address - segment.address + segment.offset;
  }

  /** @param row where it goes to */
  write(row: number, { type, flags, offset, address, fileSize, memorySize, align }: Segment): void {
    this.view.setUint32(row, type, true);
    this.view.setUint32(row + 4, flags, true);
    [offset, address, address, fileSize, memorySize, align].forEach((value, i) =>
      this.put(row + 8 + 8 * i, value)
    );
  }

  /** What is in memory of a program that is linked at address 0, from there on. */
  image(): Uint8Array {
    const loads = this.segments.filter(({ type }) => type === PT_LOAD);
    const bytes = new Uint8Array(Math.max(...loads.map(({ address, fileSize }) => address + fileSize)));
    for (const { address, offset, fileSize } of loads) {
      bytes.set(this.bytes.subarray(offset, offset + fileSize), address);
    }
    return bytes;
  }

  /** What it says to its loader: where each row is, by tag, in order. */
  dynamic(): { readonly row: number; readonly tag: number; readonly value: number }[] {
    const segment = this.find(PT_DYNAMIC);
    if (segment === undefined) return [];
    const rows = [];
    for (let row = segment.offset; row < segment.offset + segment.fileSize; row += 16) {
      const tag = this.u64(row);
      if (tag === 0) break;
      rows.push({ row, tag, value: this.u64(row + 8) });
    }
    return rows;
  }

  /** Where the offsets of the names of libraries stand of which versions are asked for. */
  versionNames(): number[] {
    const rows = this.dynamic();
    const value = (tag: number) => rows.find((row) => row.tag === tag)?.value;
    const address = value(DT_VERNEED);
    if (address === undefined) return [];
    const names = [];
    let at = this.offsetOf(address);
    for (let i = 0; i < value(DT_VERNEEDNUM)!; i++) {
      names.push(at + 4);
      at += this.view.getUint32(at + 12, true);
    }
    return names;
  }

  private segment(row: number): Row {
    const [offset, address, , fileSize, memorySize, align] = [8, 16, 24, 32, 40, 48].map((at) =>
      this.u64(row + at)
    ) as [number, number, number, number, number, number];
    const type = this.view.getUint32(row, true);
    return {
      row,
      type,
      flags: this.view.getUint32(row + 4, true),
      offset,
      address,
      fileSize,
      memorySize,
      align,
    };
  }
}
