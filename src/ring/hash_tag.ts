/**
 * Hash tags: two delimiters that mark the part of a key that is hashed, so that related keys share a server.
 *
 *   tag "{}"    user:{1000}:cart   →  hashed: 1000          a{}b, a{b, }a{   →  hashed: the whole key
 *                     ▲    ▲
 *       after the first open   the first close after it, with at least one byte between
 *
 * Only the first opening byte counts: "{}{a}" is hashed whole, "{{a}}" as "{a". The two delimiters may be the
 * same byte: with "$$", "$a$b" is hashed as "a".
 * Source: twemproxy 0.5.0, nc_server.c (server_pool_idx). Checked against tests/vectors/placement.json.
 *
 * Two functions that return one offset each, because a pair would be an object per key:
 *   const from = tagStart(bytes, start, end, open);
 *   const to = from < 0 ? -1 : tagEnd(bytes, from, end, close);   // to ≥ 0: hash [from, to), else [start, end)
 */

/** Offset just past the first `open` in `bytes[start, end)`; -1 if there is none. Bytes are borrowed. */
export function tagStart(bytes: Uint8Array, start: number, end: number, open: number): number {
  // A loop, not indexOf: that would search on to the end of a 64 KiB view for a key without a tag.
  for (let i = start; i < end; i++) if (bytes[i] === open) return i + 1;
  return -1;
}

/** Offset of the first `close` in `bytes[from, end)`; -1 if there is none or nothing lies before it. Bytes are borrowed. */
export function tagEnd(bytes: Uint8Array, from: number, end: number, close: number): number {
  for (let i = from; i < end; i++) if (bytes[i] === close) return i > from ? i : -1;
  return -1;
}
