/**
 * The life of a socket, the same in both adapters. Comparisons use the order.
 *
 *   CONNECTING ─► OPEN ─► ENDING ─► CLOSED
 *        │          └─► BROKEN ───────▲
 *        └────────────────────────────┘
 */

export const CONNECTING = 0;
export const OPEN = 1;
/** A write failed. What the peer said before it went ("-ERR max number of clients reached") can still be read. */
export const BROKEN = 2;
/** `end` was called: the queue leaves, then FIN; what arrives is thrown away. */
export const ENDING = 3;
/** `close` has been or will be called at the end of the turn; nothing else will. */
export const CLOSED = 4;
