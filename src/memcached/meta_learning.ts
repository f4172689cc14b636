/**
 * Learns whether the server at the other end of a connection speaks meta commands, and how large an item may be there. Asked once, however
 * many clients wait for it: after a reconnection that may be all of them.
 *
 *   mn             ──► MN: it does    ERROR: it does not     anything else: not learned, and to be asked again
 *   stats settings ──► STAT item_size_max 1048576
 */
import { encode, latin1 } from "../bytes/ascii.ts";
import { ROW_MN, ROW_STATS } from "../protocol/memcached/commands.ts";
import type { ServerConnection } from "../proxy/server_connection.ts";
import { checkOf } from "./split.ts";

/**
 * `ServerConnection.reached`, of a connection whose server has been asked for meta commands: it has none. Else so many bytes may an item
 * have.
 */
export const LACKS_META = 0;

const MN = encode("mn\r\n");
const STATS_SETTINGS = encode("stats settings\r\n");
const ITEM_SIZE_MAX = /^STAT item_size_max (\d{1,15})\r$/m;
const M = 77;
const E = 69;

/** Called when `reached` says it, or with the error because of which it does not; owned. */
export type Learned = (error: Uint8Array | null) => void;

/** Who waits for what is being asked. */
const waiting = new WeakMap<ServerConnection, Learned[]>();

/** @param connection of which it is not known yet */
export function learnMeta(connection: ServerConnection, learned: Learned): void {
  const others = waiting.get(connection);
  if (others !== undefined) {
    others.push(learned);
    return;
  }
  const all = [learned];
  waiting.set(connection, all);
  let speaks = false;
  let error: Uint8Array | null = null;
  connection.ask(MN, (bytes, start, end) => {
    speaks = bytes[start] === M;
    if (!speaks && bytes[start] !== E) error = bytes.slice(start, end);
  });
  connection.tail!.check = checkOf(ROW_MN, 0);
  connection.ask(STATS_SETTINGS, (bytes, start, end, failed) => {
    waiting.delete(connection);
    if (failed) error = bytes.slice(start, end);
    else if (speaks) {
      connection.reached = Number(ITEM_SIZE_MAX.exec(latin1(bytes, start, end))?.[1] ?? Infinity);
    } else if (error === null) connection.reached = LACKS_META;
    for (const each of all) each(error);
  });
  connection.tail!.check = checkOf(ROW_STATS, 0);
}
