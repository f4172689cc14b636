/**
 * crc16: a CRC whose accumulator is 32 bits wide and never cut to 16.
 *
 *   name CRC-16/XMODEM in the low 16 bits · polynomial 0x1021 · init 0 · input and output not reflected ·
 *   xor out 0 · the high 16 bits hold what a real CRC-16 would have masked away, and they take part in placement
 *   check "123456789": 0x869031c3 (low half 0x31c3, as for XMODEM)
 *
 * Redis Cluster's slots need the low 16 bits only; this is not that function.
 * Source: twemproxy 0.5.0, nc_crc16.c; the missing mask is kept, since masking would move keys.
 */
const TABLE = /* @__PURE__ */ makeTable();

export function crc16(bytes: Uint8Array, start: number, end: number): number {
  let crc = 0;
  for (let i = start; i < end; i++) crc = (crc << 8) ^ TABLE[((crc >>> 8) ^ bytes[i]!) & 0xff]!;
  return crc >>> 0;
}

function makeTable(): Int32Array {
  const table = new Int32Array(256);
  for (let i = 0; i < 256; i++) {
    let crc = i << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
    table[i] = crc & 0xffff;
  }
  return table;
}
