/** Commands about the connection, transactions and the server itself. */
import type { Call, Command, CommandTable, Session } from "./command.ts";
import { CommandError, SYNTAX, wrongArguments } from "./errors.ts";
import { index } from "./numbers.ts";

/** The version whose replies are imitated. */
export const REDIS_VERSION = "7.0.15";

const CLIENT: CommandTable = {
  setname: [3, ({ args, reply, session }) => {
    session.name = checkedName(args[2]!);
    reply.ok();
  }],
  getname: [2, ({ reply, session }) => reply.bulk(session.name === "" ? null : session.name)],
  // Not in 7.0; newer clients send it and take an error for an answer, but a demo should be quiet.
  setinfo: [4, ({ reply }) => reply.ok()],
  id: [2, ({ reply, session }) => reply.integer(session.id)],
  info: [2, (call) => call.reply.verbatim(clientLine(call))],
  list: [-2, (call) => call.reply.verbatim(clientLine(call))],
};

const COMMAND: CommandTable = {
  count: [2, ({ reply, server }) => reply.integer(server.commands.size)],
  docs: [-2, ({ reply }) => reply.map(0)],
  info: [-2, (call) => {
    const { args, reply, server } = call;
    reply.array(args.length - 2);
    for (const name of args.slice(2)) {
      const command = server.commands.get(name.toLowerCase());
      if (command === undefined) reply.nullArray();
      else describe(call, command);
    }
  }],
};

const CONFIG: CommandTable = {
  get: [-3, ({ reply }) => reply.map(0)],
  resetstat: [2, ({ reply }) => reply.ok()],
};

export const CONNECTION: CommandTable = {
  ping: [-1, ({ args, name, reply }) => {
    if (args.length > 2) throw new CommandError(wrongArguments(name));
    if (args.length === 2) reply.bulk(args[1]);
    else reply.status("PONG");
  }],
  echo: [2, ({ args, reply }) => reply.bulk(args[1])],
  select: [2, ({ args, reply, session, server }) => {
    const selected = index(args[1]!);
    if (selected < -(2 ** 31) || selected >= 2 ** 31) {
      throw new CommandError("ERR value is out of range, value must between -2147483648 and 2147483647");
    }
    if (selected < 0 || selected >= server.databases.length) {
      throw new CommandError("ERR DB index is out of range");
    }
    session.selected = selected;
    reply.ok();
  }],
  auth: [-2, (call) => {
    const { args, reply } = call;
    if (args.length > 3) throw new CommandError(SYNTAX);
    authenticate(call, args.length === 3 ? args[1]! : null, args.at(-1)!);
    reply.ok();
  }],
  hello: [-1, hello],
  quit: [-1, ({ reply, session }) => {
    reply.ok();
    session.ended = true;
  }],
  reset: [1, ({ reply, session }) => {
    endTransaction(session);
    session.selected = 0;
    session.name = "";
    reply.protocol = 2;
    session.authenticated = session.server.password === null;
    reply.status("RESET");
  }],
  client: [-2, () => {}, CLIENT],
  command: [-1, (call) => {
    call.reply.array(call.server.commands.size);
    for (const command of call.server.commands.values()) describe(call, command);
  }, COMMAND],
  config: [-2, () => {}, CONFIG],
  info: [-1, info],
  time: [1, ({ reply, server }) => {
    const now = server.nowMs();
    reply.array(2);
    reply.bulk(String(Math.floor(now / 1000)));
    reply.bulk(String(Math.floor(now * 1000) % 1_000_000));
  }],
  multi: [1, ({ reply, session }) => {
    if (session.queued !== null) throw new CommandError("ERR MULTI calls can not be nested");
    session.queued = [];
    session.aborted = false;
    reply.ok();
  }],
  exec: [1, exec],
  discard: [1, ({ reply, session }) => {
    if (session.queued === null) throw new CommandError("ERR DISCARD without MULTI");
    endTransaction(session);
    reply.ok();
  }],
  watch: [-2, ({ args, db, reply, session }) => {
    if (session.queued !== null) throw new CommandError("ERR WATCH inside MULTI is not allowed");
    for (const key of args.slice(1)) {
      db.find(key);
      if (session.watched.some((one) => one.db === db && one.key === key)) continue;
      session.watched.push({ db, key });
      db.watch(key, session);
    }
    reply.ok();
  }],
  unwatch: [1, ({ reply, session }) => {
    unwatch(session);
    reply.ok();
  }],
};

function authenticate({ session, server }: Call, user: string | null, password: string): void {
  if (server.password === null && user === null) {
    throw new CommandError(
      "ERR AUTH <password> called without any password configured for the default user." +
        " Are you sure your configuration is correct?",
    );
  }
  if ((user ?? "default") !== "default" || server.password !== null && password !== server.password) {
    throw new CommandError("WRONGPASS invalid username-password pair or user is disabled.");
  }
  session.authenticated = true;
}

function hello(call: Call): void {
  const { args, reply, session } = call;
  const version = args.length > 1 ? args[1]! : null;
  if (version !== null && !/^-?\d+$/.test(version)) {
    throw new CommandError("ERR Protocol version is not an integer or out of range");
  }
  if (version !== null && version !== "2" && version !== "3") {
    throw new CommandError("NOPROTO unsupported protocol version");
  }
  let name: string | null = null;
  for (let i = 2; i < args.length; i++) {
    const word = args[i]!.toUpperCase();
    if (word === "AUTH" && i + 2 < args.length) {
      authenticate(call, args[i + 1]!, args[i + 2]!);
      i += 2;
    } else if (word === "SETNAME" && i + 1 < args.length) name = checkedName(args[++i]!);
    else throw new CommandError(`ERR Syntax error in HELLO option '${args[i]}'`);
  }
  if (!session.authenticated) {
    throw new CommandError(
      "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass>" +
        " option can be used to authenticate the client and select the RESP protocol version at the same time",
    );
  }
  if (name !== null) session.name = name;
  if (version !== null) reply.protocol = version === "3" ? 3 : 2;
  reply.map(7);
  reply.bulk("server");
  reply.bulk("redis");
  reply.bulk("version");
  reply.bulk(REDIS_VERSION);
  reply.bulk("proto");
  reply.integer(reply.protocol);
  reply.bulk("id");
  reply.integer(session.id);
  reply.bulk("mode");
  reply.bulk("standalone");
  reply.bulk("role");
  reply.bulk("master");
  reply.bulk("modules");
  reply.array(0);
}

function checkedName(name: string): string {
  if (/[^!-~]/.test(name)) {
    throw new CommandError("ERR Client names cannot contain spaces, newlines or special characters.");
  }
  return name;
}

function clientLine({ session, reply }: Call): string {
  return `id=${session.id} name=${session.name} db=${session.selected} resp=${reply.protocol}\n`;
}

/** Name and arity are true; flags and key positions are left empty. */
function describe({ reply }: Call, command: Command): void {
  reply.array(6);
  reply.bulk(command.name);
  reply.integer(command.arity);
  reply.array(0);
  for (let i = 0; i < 3; i++) reply.integer(0);
}

function info({ args, reply, server }: Call): void {
  const wanted = new Set(args.slice(1).map((word) => word.toLowerCase()));
  const all = wanted.size === 0 || wanted.has("all") || wanted.has("default") || wanted.has("everything");
  const sections: string[] = [];
  const uptime = Math.floor((server.nowMs() - server.startedAtMs) / 1000);
  if (all || wanted.has("server")) {
    sections.push(
      `# Server\r\nredis_version:${REDIS_VERSION}\r\nredis_mode:standalone\r\nuptime_in_seconds:${uptime}\r\n`,
    );
  }
  if (all || wanted.has("replication")) {
    sections.push("# Replication\r\nrole:master\r\nconnected_slaves:0\r\n");
  }
  if (all || wanted.has("keyspace")) {
    let text = "# Keyspace\r\n";
    server.databases.forEach((db, i) => {
      if (db.entries.size === 0) return;
      let expires = 0;
      for (const entry of db.entries.values()) if (entry.expiresAtMs !== Infinity) expires++;
      text += `db${i}:keys=${db.entries.size},expires=${expires},avg_ttl=0\r\n`;
    });
    sections.push(text);
  }
  reply.verbatim(sections.join("\r\n"));
}

function exec({ reply, session, server }: Call): void {
  const queued = session.queued;
  if (queued === null) throw new CommandError("ERR EXEC without MULTI");
  // A key that has died since WATCH counts as changed; looking makes it die.
  for (const { db, key } of session.watched) db.find(key);
  const { aborted, dirty } = session;
  endTransaction(session);
  if (aborted) throw new CommandError("EXECABORT Transaction discarded because of previous errors.");
  if (dirty) return reply.nullArray();
  reply.array(queued.length);
  for (const args of queued) server.execute(session, args);
}

function endTransaction(session: Session): void {
  session.queued = null;
  session.aborted = false;
  unwatch(session);
}

/** Forgets what the session watches. */
export function unwatch(session: Session): void {
  for (const { db, key } of session.watched) db.unwatch(key, session);
  session.watched.length = 0;
  session.dirty = false;
}
