/** Headers of the PROXY protocol, version 2, good and bad. */
const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];

/** @param command version and command in one byte @param family and transport in one byte */
export function header2(command: number, family: number, body: readonly number[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([...SIGNATURE, command, family, body.length >> 8, body.length & 255, ...body]);
}
