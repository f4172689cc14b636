/**
 * ACL and its subcommands, in a pool that has users: answered here, of the pool's own users. What would change them is refused, since the
 * configuration says who they are.
 */
import { builtin } from "../bytes/builtin.ts";
import { latin1 } from "../bytes/ascii.ts";
import type { UserSecret } from "../config/config.ts";
import { type AclRules, Asking, DECISION } from "../protocol/redis/acl_rules.ts";
import { aclCommand, hasKeys } from "../protocol/redis/acl_table.ts";
import { Args } from "../protocol/redis/args.ts";
import { CATEGORY_NAMES, checkArity, type Command } from "../protocol/redis/command.ts";
import { COMMANDS, resolve } from "../protocol/redis/commands.ts";
import { arityError, errorReply, NOT_AN_INTEGER, shown } from "../protocol/redis/errors.ts";
import { findKeys, KeyList } from "../protocol/redis/keys.ts";
import { OK, ReplyWriter } from "../protocol/redis/reply_writer.ts";
import type { PoolUsers, Refused, User } from "../proxy/users.ts";
import type { RedisSession } from "./session.ts";

const crypto = builtin<typeof import("node:crypto")>("node:crypto");

/** Entries of ACL LOG without a number. */
const LOG_SHOWN = 10;
const GENPASS_BITS = 256;
const BITS_MAX = 4096;
/** Nobody reads a password out of a hash. */
const HIDDEN = "(hidden)";

/** Is it a subcommand of ACL that is answered here? (ACL HELP is answered as every HELP.) */
export function isAcl({ container, name }: Command): boolean {
  return container !== null && container.name === "ACL" && name !== "ACL|HELP";
}

/** The reply to a request whose arity is right. */
export function answerAcl(
  users: PoolUsers,
  session: RedisSession,
  command: Command,
  bytes: Uint8Array,
  args: Args,
): Uint8Array {
  const reply = new ReplyWriter(session.resp);
  const text = (at: number) => latin1(bytes, args.starts[at]!, args.ends[at]!);
  switch (command.name) {
    case "ACL|WHOAMI":
      return reply.bulkLatin1(session.user).take();
    case "ACL|USERS": {
      const names = [...users.all].map(({ name }) => name).sort();
      reply.array(names.length);
      for (const name of names) reply.bulkLatin1(name);
      return reply.take();
    }
    case "ACL|LIST": {
      const all = [...users.all].sort((a, b) => a.name < b.name ? -1 : 1);
      reply.array(all.length);
      for (const user of all) reply.bulk(`user ${user.name} ${loginText(user)} ${user.rules.text}`);
      return reply.take();
    }
    case "ACL|GETUSER":
      return getUser(users.find(text(2)), reply);
    case "ACL|CAT":
      return args.count > 3 ? arityOf("acl|cat") : listCategories(args.count > 2 ? text(2) : null, reply);
    case "ACL|GENPASS":
      return args.count > 3
        ? arityOf("acl|genpass")
        : generate(args.count > 2 ? text(2) : `${GENPASS_BITS}`, reply);
    case "ACL|LOG": {
      const most = args.count > 2 ? text(2) : `${LOG_SHOWN}`;
      if (most.toLowerCase() === "reset") {
        users.clearLog();
        return OK;
      }
      if (!/^[0-9]{1,9}$/.test(most)) return NOT_AN_INTEGER;
      return listRefused(users.refused(Number(most)), session.client.pool.clock.wallMs(), reply);
    }
    case "ACL|DRYRUN": {
      const user = users.find(text(2));
      if (user === undefined) {
        return errorReply(`ERR User '${shown(bytes, args.starts[2]!, args.ends[2]!)}' not found`);
      }
      return dryRun(user, bytes, args, reply);
    }
    default:
      return errorReply(
        `ERR '${
          command.name.replace("|", " ")
        }' is refused: the configuration of the proxy says who the users of this pool are; ` +
          "change users there and reload",
      );
  }
}

function arityOf(name: string): Uint8Array {
  return errorReply(`ERR wrong number of arguments for '${name}' command`);
}

function isHashed({ kind }: UserSecret): boolean {
  return kind === "sha256" || kind === "scrypt";
}

function loginText({ rules, secret }: User): string {
  const login = secret.kind === "nopass" ? "nopass" : isHashed(secret) ? `#${HIDDEN}` : "";
  return `${rules.enabled ? "on" : "off"} ${login}`.trimEnd();
}

function getUser(user: User | undefined, reply: ReplyWriter): Uint8Array {
  if (user === undefined) return reply.null().take();
  const { rules, secret } = user;
  const flags = [rules.enabled ? "on" : "off", ...secret.kind === "nopass" ? ["nopass"] : []];
  reply.map(6).bulk("flags").set(flags.length);
  for (const flag of flags) reply.bulk(flag);
  const secrets = isHashed(secret) ? [HIDDEN] : [];
  reply.bulk("passwords").array(secrets.length);
  for (const each of secrets) reply.bulk(each);
  const [root, ...others] = rules.selectors;
  reply.bulk("commands").bulk(root!.commandsText).bulk("keys").bulk(root!.keysText);
  reply.bulk("channels").bulk(root!.channelsText).bulk("selectors").array(others.length);
  for (const each of others) {
    reply.map(3).bulk("commands").bulk(each.commandsText).bulk("keys").bulk(each.keysText);
    reply.bulk("channels").bulk(each.channelsText);
  }
  return reply.take();
}

function listRefused(refused: readonly Refused[], nowMs: number, reply: ReplyWriter): Uint8Array {
  reply.array(refused.length);
  for (const each of refused) {
    reply.map(10).bulk("count").integer(each.count).bulk("reason").bulk(each.reason)
      .bulk("context").bulk(each.context).bulk("object").bulkLatin1(each.object)
      .bulk("username").bulkLatin1(each.user)
      .bulk("age-seconds").double(Math.max(0, nowMs - each.atMs) / 1000)
      .bulk("client-info").bulkLatin1(each.client)
      .bulk("entry-id").integer(each.id)
      .bulk("timestamp-created").integer(Math.floor(each.firstMs))
      .bulk("timestamp-last-updated").integer(Math.floor(each.atMs));
  }
  return reply.take();
}

function listCategories(category: string | null, reply: ReplyWriter): Uint8Array {
  if (category === null) {
    reply.array(CATEGORY_NAMES.length);
    for (const name of CATEGORY_NAMES) reply.bulk(name);
    return reply.take();
  }
  const bit = CATEGORY_NAMES.indexOf(category.toLowerCase());
  if (bit === -1) return errorReply(`ERR Unknown category '${category.slice(0, 128)}'`);
  const names = COMMANDS.filter((command) =>
    (command.categories & (1 << bit)) !== 0 && aclCommand(command) === command
  );
  reply.array(names.length);
  for (const { lower } of names) reply.bulk(lower);
  return reply.take();
}

function generate(text: string, reply: ReplyWriter): Uint8Array {
  if (!/^-?[0-9]{1,9}$/.test(text)) return NOT_AN_INTEGER;
  const bits = Number(text);
  if (bits <= 0 || bits > BITS_MAX) {
    return errorReply(
      `ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to ${BITS_MAX}`,
    );
  }
  // Four bits a digit, rounded up.
  const digits = Math.ceil(bits / 4);
  return reply.bulk(crypto().randomBytes(Math.ceil(digits / 2)).toString("hex").slice(0, digits)).take();
}

/** ACL DRYRUN user command …: decided as the request would be, and told in more words. */
function dryRun({ rules }: User, bytes: Uint8Array, args: Args, reply: ReplyWriter): Uint8Array {
  const inner = new Args();
  inner.count = args.count - 3;
  inner.starts = args.starts.slice(3, args.count);
  inner.ends = args.ends.slice(3, args.count);
  const command = resolve(bytes, inner);
  const word = (at: number) => shown(bytes, inner.starts[at]!, inner.ends[at]!);
  if (command === undefined) return errorReply(`ERR Command '${word(0)}' not found`);
  if (!checkArity(command, inner.count)) return arityError(command);
  const { decision, at } = asked(rules, command, bytes, inner);
  switch (decision) {
    case DECISION.ALLOWED:
      return OK;
    case DECISION.COMMAND:
      return reply.bulkLatin1(`This user has no permissions to run the '${command.lower}' command`).take();
    case DECISION.KEY:
      return reply.bulkLatin1(`This user has no permissions to access the '${word(at)}' key`).take();
    default:
      return reply.bulkLatin1(`This user has no permissions to access the '${word(at)}' channel`).take();
  }
}

function asked(
  rules: AclRules,
  command: Command,
  bytes: Uint8Array,
  args: Args,
): { decision: number; at: number } {
  const keys = new KeyList();
  // As Redis: where no key is found none is in the way.
  if (hasKeys(command) && findKeys(command, bytes, args, keys) < 0) keys.count = 0;
  const asking = new Asking(rules, command, keys, bytes, args);
  asking.look(bytes, args, Infinity);
  return { decision: asking.decision, at: asking.at };
}
