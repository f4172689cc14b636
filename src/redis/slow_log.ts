/** SLOWLOG of a pool that keeps a slow log of its own: what the proxy has seen, of all servers and workers. */
import { latin1 } from "../bytes/ascii.ts";
import type { PoolConfig } from "../config/config.ts";
import type { Args } from "../protocol/redis/args.ts";
import { errorReply } from "../protocol/redis/errors.ts";
import { ReplyWriter } from "../protocol/redis/reply_writer.ts";
import type { SlowLog } from "../stats/slow_log.ts";

/** SLOWLOG GET without a number. */
const COUNT = 10;
const BAD_COUNT = errorReply("ERR count should be greater than or equal to -1");

/** Those that are answered by it. */
export const SLOWLOG_COMMANDS: ReadonlySet<string> = new Set(["SLOWLOG|GET", "SLOWLOG|LEN", "SLOWLOG|RESET"]);

/** @param name one of SLOWLOG_COMMANDS, whose number of arguments is right */
export function answerSlowLog(
  name: string,
  log: SlowLog,
  { slowlogMaxLen }: PoolConfig,
  bytes: Uint8Array,
  args: Args,
  resp: 2 | 3,
): Uint8Array {
  const reply = new ReplyWriter(resp);
  if (name === "SLOWLOG|LEN") return reply.integer(log.count(slowlogMaxLen)).take();
  if (name === "SLOWLOG|RESET") {
    log.clear();
    return reply.status("OK").take();
  }
  const text = args.count > 2 ? latin1(bytes, args.starts[2]!, args.ends[2]!) : `${COUNT}`;
  if (!/^(-1|[0-9]{1,15})$/.test(text)) return BAD_COUNT;
  const most = text === "-1" ? Infinity : Number(text);
  const entries = log.newest(Math.min(most, slowlogMaxLen));
  reply.array(entries.length);
  for (const { id, atMs, client, clientName, words, waitedUs, servedUs } of entries) {
    reply.array(6).integer(id).integer(Math.floor(atMs / 1000)).integer(waitedUs + servedUs);
    reply.array(words.length);
    for (const word of words) reply.bulkLatin1(word);
    reply.bulkLatin1(client).bulkLatin1(clientName);
  }
  return reply.take();
}
