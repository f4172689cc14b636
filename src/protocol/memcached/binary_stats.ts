/**
 * STAT of the binary protocol: which statistics a packet asks for, and the packets that are made of `STAT name value` lines.
 *
 *   STAT pid 7 ⏎ STAT version 1.6.18 ⏎ END ⏎   ──►   81 10 pid │ 7    81 10 version │ 1.6.18    81 10 with neither: the end
 */
import { HEADER, STATUS_OK, writeHeader } from "./binary.ts";
import {
  STATS_GENERAL,
  STATS_ITEMS,
  STATS_PROXY,
  STATS_RESET,
  STATS_SETTINGS,
  STATS_SIZES,
  STATS_SLABS,
} from "./request.ts";

const GROUPS: ReadonlyMap<string, number> = new Map([
  ["", STATS_GENERAL],
  ["items", STATS_ITEMS],
  ["slabs", STATS_SLABS],
  ["sizes", STATS_SIZES],
  ["settings", STATS_SETTINGS],
  ["reset", STATS_RESET],
  ["proxy", STATS_PROXY],
]);
/** Endless, or of one connection, as in text: asked for through a proxy they cannot be answered. Arguments may follow. */
const REFUSED = /^(conns|detail|cachedump|extstore|sizes_enable|sizes_disable)( |$)/;

/** Of `statsNamed`: known to memcached, and not answered here; and known to nobody. */
export const STATS_REFUSED = -1;
export const STATS_UNKNOWN = -2;

/** STATS_… of the group that a packet names; STATS_REFUSED or STATS_UNKNOWN. */
export function statsNamed(name: string): number {
  return GROUPS.get(name) ?? (REFUSED.test(name) ? STATS_REFUSED : STATS_UNKNOWN);
}

/**
 * The packets for the lines `text[start, end)`, CRLF behind each, up to END (or RESET) or to where they end.
 * @returns owned by the caller
 */
export function statPackets(
  text: Uint8Array,
  start: number,
  end: number,
  opcode: number,
  opaque: number,
): Uint8Array {
  let lines = 1;
  for (let i = start; i < end; i++) if (text[i] === 10) lines++;
  const packets = new Uint8Array(end - start + lines * HEADER);
  let to = 0;
  let at = start;
  while (at < end) {
    let lf = at;
    while (lf < end && text[lf] !== 10) lf++;
    // STAT, its blank, and a name: a packet without one is the end.
    if (text[at] === 83 && text[at + 4] === 32 && text[at + 5]! > 32) {
      to = writeStat(text, at + 5, lf - 1, packets, to, opcode, opaque);
    }
    at = lf + 1;
  }
  to = writeHeader(packets, to, opcode, STATUS_OK, opaque, 0, 0, 0, 0, 0);
  return packets.subarray(0, to);
}

/** The packet for "name value", `text[start, stop)`. */
function writeStat(
  text: Uint8Array,
  start: number,
  stop: number,
  to: Uint8Array,
  at: number,
  opcode: number,
  opaque: number,
): number {
  let nameEnd = start;
  while (nameEnd < stop && text[nameEnd] !== 32) nameEnd++;
  const value = Math.min(nameEnd + 1, stop);
  const body = nameEnd - start + stop - value;
  at = writeHeader(to, at, opcode, STATUS_OK, opaque, nameEnd - start, 0, body, 0, 0);
  to.set(text.subarray(start, nameEnd), at);
  to.set(text.subarray(value, stop), at + nameEnd - start);
  return at + body;
}
