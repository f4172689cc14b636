/**
 * crc32a: the CRC-32 of zlib, PNG and Ethernet.
 *
 *   width 32 bits · polynomial 0x04c11db7 (reflected 0xedb88320) · init 0xffffffff · input and output reflected ·
 *   xor out 0xffffffff
 *   check "123456789": 0xcbf43926
 *
 * Source: twemproxy 0.5.0, nc_crc32.c (hash_crc32a).
 */
const TABLE = /* @__PURE__ */ makeTable();

export function crc32a(bytes: Uint8Array, start: number, end: number): number {
  let crc = -1;
  for (let i = start; i < end; i++) crc = (crc >>> 8) ^ TABLE[(crc ^ bytes[i]!) & 0xff]!;
  return ~crc >>> 0;
}

function makeTable(): Int32Array {
  const table = new Int32Array(256);
  for (let i = 0; i < 256; i++) {
    let crc = i;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    table[i] = crc;
  }
  return table;
}
