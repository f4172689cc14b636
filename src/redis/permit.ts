/**
 * May this client's user send this request? Asked once for each, in the one place where all of them pass (RedisFront.take, and its short
 * ways), before anything of it reaches a server.
 *
 * The refusals are Redis 7.0's, word for word.
 */
import { encode, equalsFoldedAsC, latin1 } from "../bytes/ascii.ts";
import { type AclRules, Asking, DECISION } from "../protocol/redis/acl_rules.ts";
import { hasKeys } from "../protocol/redis/acl_table.ts";
import type { Args } from "../protocol/redis/args.ts";
import { type Command, FINDER } from "../protocol/redis/command.ts";
import { errorReply } from "../protocol/redis/errors.ts";
import { findKeys, KeyList, keysError } from "../protocol/redis/keys.ts";
import type { PoolUsers } from "../proxy/users.ts";
import type { Preparation } from "./preparation.ts";
import type { RedisSession } from "./session.ts";

const NO_KEY = errorReply("NOPERM this user has no permissions to access one of the keys used as arguments");
const NO_CHANNEL = errorReply(
  "NOPERM this user has no permissions to access one of the channels used as arguments",
);

const keyList = new KeyList();
const STAR = 42;
const BY = encode("BY");
const GET = encode("GET");
const LIMIT = encode("LIMIT");
const STORE = encode("STORE");

/**
 * The error reply for a request whose arity is right, all of whose arguments are in `args`; null if it is allowed. What is refused is noted
 * for ACL LOG. Of a command whose keys only a server can tell, keys are looked at when `args.told` has them.
 */
export function forbidden(
  users: PoolUsers,
  session: RedisSession,
  rights: AclRules,
  command: Command,
  bytes: Uint8Array,
  args: Args,
  prepared: Preparation | null,
): Uint8Array | null {
  if (rights.free[command.id] === 1) return null;
  const asks = command.finder === FINDER.ASKED;
  let asking = asks ? null : prepared?.askingOf(command, rights) ?? null;
  let unfound = asking === null ? 0 : Math.min(0, prepared!.keysOf(command)!.count);
  if (asking === null) {
    const count = !hasKeys(command) || asks && args.told === null
      ? 0
      : findKeys(command, bytes, args, keyList);
    if (count <= 0) keyList.count = 0;
    unfound = Math.min(0, count);
    asking = new Asking(rights, command, keyList, bytes, args);
    asking.look(bytes, args, Infinity);
  }
  const { decision } = asking;
  // Nobody knows which keys a server would make of it.
  if (decision === DECISION.ALLOWED) return unfound < 0 ? keysError(command, unfound) : null;
  const context = session.transaction?.queueing ? "multi" : "toplevel";
  if (decision === DECISION.COMMAND) {
    users.note("command", context, command.lower, session.user, session);
    const text = `NOPERM this user has no permissions to run the '${command.lower}' command`;
    if (command.name === "EXEC") return errorReply(`EXECABORT Transaction discarded because of: ${text}`);
    return errorReply(
      rights.withholds(command)
        ? `${text}, since scripts can do what its rules forbid; see scripts: true of the user`
        : text,
    );
  }
  const object = latin1(bytes, args.starts[asking.at]!, args.ends[asking.at]!);
  users.note(decision === DECISION.KEY ? "key" : "channel", context, object, session.user, session);
  return decision === DECISION.KEY ? NO_KEY : NO_CHANNEL;
}

/** SORT reads whatever keys its patterns name: only who may read all of them may use patterns. Redis's words; null if it is allowed. */
export function sortForbidden(
  rights: AclRules,
  command: Command,
  bytes: Uint8Array,
  args: Args,
): Uint8Array | null {
  if (rights.readsAll(command, bytes, args)) return null;
  const is = (i: number, word: Uint8Array) => equalsFoldedAsC(bytes, args.starts[i]!, args.ends[i]!, word);
  for (let i = 2; i < args.count; i++) {
    if (is(i, LIMIT)) i += 2;
    else if (is(i, STORE)) i++;
    else if ((is(i, BY) || is(i, GET)) && i + 1 < args.count) {
      const by = is(i, BY);
      const pattern = bytes.subarray(args.starts[i + 1]!, args.ends[i + 1]!);
      i++;
      if (by && !pattern.includes(STAR)) continue;
      return errorReply(
        `ERR ${by ? "BY" : "GET"} option of SORT denied due to insufficient ACL permissions.`,
      );
    }
  }
  return null;
}
