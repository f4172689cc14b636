/** What TLS looks like to somebody who reads commands: the first bytes of a ClientHello. */

const HANDSHAKE = 22;
const VERSION = 3;
const MINOR_MAX = 4;

/** Does `bytes[start, end)` begin as a client does that speaks TLS? No command of either protocol does. */
export function isClientHello(bytes: Uint8Array, start: number, end: number): boolean {
  return bytes[start] === HANDSHAKE && end - start >= 3 && bytes[start + 1] === VERSION &&
    bytes[start + 2]! <= MINOR_MAX;
}
