/**
 * Access control rules in Redis's syntax: read, compiled, and asked about requests.
 *
 *   "+@read ~app:* &news (+set ~tmp:*)" ──parseRules──► AclRules ──decide──► DECISION.ALLOWED, COMMAND, KEY or CHANNEL
 *
 * A request is allowed if one selector allows all of it: command, keys and channels. What rules mean is what redis-server 7.0 makes of them
 * (tests/real/users_test.ts compares with its ACL DRYRUN); its words for what is wrong with one are used too. Pure: no IO, no state.
 *
 * The hot way is `free`: a byte a command, 1 if no key or channel could make a difference.
 */
import { encode, equalsFolded, startsWith } from "../../bytes/ascii.ts";
import { ACCESS, accessOf, aclCommand, CHANNELS_OF, channelsOf, hasKeys, mostAccess } from "./acl_table.ts";
import type { Args } from "./args.ts";
import { CATEGORY_NAMES, type Command, FLAG } from "./command.ts";
import { COMMANDS, findByName, TOP_COMMANDS } from "./commands.ts";
import { Glob } from "./glob.ts";
import type { KeyList } from "./keys.ts";

/** What rules say of a request. In the order in which Redis prefers one reason to another. */
export const DECISION = { ALLOWED: 0, COMMAND: 1, KEY: 2, CHANNEL: 4 } as const;

/** A key pattern, and for which access it stands: bits of ACCESS. */
interface KeyRule {
  readonly glob: Glob;
  access: number;
}

/** A rule that is none. `why` is what Redis says of it. */
export class RuleError extends Error {
  override readonly name = "RuleError";
  constructor(readonly rule: string, readonly why: string) {
    super(`'${rule}': ${why}`);
  }
}

const SYNTAX = "Syntax error";
const UNKNOWN = "Unknown command or category name in ACL";
const FIRST_ARG = "Allowing first-arg of a subcommand is not supported";
const AFTER_ALL_KEYS =
  "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any " +
  "effect. Try 'resetkeys' to start with an empty list of patterns";
const AFTER_ALL_CHANNELS =
  "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try " +
  "'resetchannels' to start with an empty list of channels";
/** Ours: what has a place of its own in the configuration, or belongs to servers. */
const PASSWORD_ELSEWHERE =
  "Passwords do not stand in rules: password, password_file, password_sha256, password_hash or nopass of the user";
const PAYLOAD = "Whether RESTORE checks what it is given is a setting of the servers";

/** Rules of one user, in all. */
export const RULES_MAX = 1000;

const ALL_ACCESS = ACCESS.BOTH;

/** What one list of rules allows. */
export class Selector {
  /** By id of the command. */
  readonly bits = new Uint8Array(COMMANDS.length);
  allKeys = false;
  allChannels = false;
  /** Commands that are not in the table too (`+@all`). */
  others = false;
  keys: KeyRule[] = [];
  channels: Glob[] = [];
  /** Command id → first arguments with which alone it may be called, in upper case: `+select|0`. */
  readonly firstArgs = new Map<number, Uint8Array[]>();
  /** Commands that are not in the table, by name in lower case. */
  readonly named = new Map<string, boolean>();
  /** Categories that have been taken away since `+@all`, of commands that are not in the table. */
  private without = 0;
  /** As ACL LIST shows it, without its first word. */
  private shown: string[] = [];

  /** All commands, those to come included. */
  private setAll(allow: boolean): void {
    this.bits.fill(allow ? 1 : 0);
    this.others = allow;
    this.without = 0;
    this.firstArgs.clear();
    this.named.clear();
    this.shown = [];
  }

  /** May everything be done with it? */
  get unrestricted(): boolean {
    return this.allKeys && this.allChannels && this.others && this.without === 0 &&
      [...this.named.values()].every((allow) => allow) && this.bits.every((bit) => bit === 1);
  }

  /** @throws RuleError */
  apply(rule: string): void {
    const lower = rule.toLowerCase();
    switch (lower) {
      case "allkeys":
      case "~*":
        this.allKeys = true;
        this.keys = [];
        return;
      case "resetkeys":
        this.allKeys = false;
        this.keys = [];
        return;
      case "allchannels":
      case "&*":
        this.allChannels = true;
        this.channels = [];
        return;
      case "resetchannels":
        this.allChannels = false;
        this.channels = [];
        return;
      case "allcommands":
      case "+@all":
        return this.setAll(true);
      case "nocommands":
      case "-@all":
        return this.setAll(false);
    }
    switch (rule[0]) {
      case "~":
      case "%":
        return this.addKeys(rule);
      case "&":
        return this.addChannels(rule);
      case "+":
      case "-":
        return this.change(rule, lower.slice(1), rule[0] === "+");
      default:
        throw new RuleError(rule, SYNTAX);
    }
  }

  private addKeys(rule: string): void {
    if (this.allKeys) throw new RuleError(rule, AFTER_ALL_KEYS);
    let access = ALL_ACCESS as number;
    let at = 1;
    if (rule[0] === "%") {
      const tilde = rule.indexOf("~");
      const letters = tilde === -1 ? "" : rule.slice(1, tilde).toUpperCase();
      if (!/^(R|W|RW|WR)$/.test(letters)) throw new RuleError(rule, SYNTAX);
      access = (letters.includes("R") ? ACCESS.READ : 0) | (letters.includes("W") ? ACCESS.WRITE : 0);
      at = tilde + 1;
    }
    const pattern = bytesOf(rule, at);
    // Both, for the same keys, are as good as ~.
    const same = this.keys.find(({ glob }) => glob.is(pattern, 0, pattern.length));
    if (same === undefined) this.keys.push({ glob: new Glob(pattern), access });
    else same.access |= access;
  }

  private addChannels(rule: string): void {
    if (this.allChannels) throw new RuleError(rule, AFTER_ALL_CHANNELS);
    const pattern = bytesOf(rule, 1);
    if (!this.channels.some((glob) => glob.is(pattern, 0, pattern.length))) {
      this.channels.push(new Glob(pattern));
    }
  }

  /** @param name in lower case, without its sign */
  private change(rule: string, name: string, allow: boolean): void {
    if (name[0] === "@") {
      const bit = CATEGORY_NAMES.indexOf(name.slice(1));
      if (bit === -1) throw new RuleError(rule, UNKNOWN);
      this.changeCategory(1 << bit, allow);
    } else if (!name.includes("|")) this.changeNamed(rule, name, allow);
    else {
      const bar = name.lastIndexOf("|");
      const container = commandOf(name.slice(0, bar));
      if (!allow) {
        const command = commandOf(name);
        if (command === undefined) throw new RuleError(rule, UNKNOWN);
        this.setCommand(command, false);
      } else if (container === undefined) throw new RuleError(rule, UNKNOWN);
      else if (container.container !== null) throw new RuleError(rule, FIRST_ARG);
      else if (bar === name.length - 1) throw new RuleError(rule, SYNTAX);
      else if (isContainer(container)) {
        const command = commandOf(name);
        if (command === undefined) throw new RuleError(rule, UNKNOWN);
        this.setCommand(command, true);
      } else {
        const words = this.firstArgs.get(container.id) ?? [];
        words.push(encode(name.slice(bar + 1).toUpperCase()));
        this.firstArgs.set(container.id, words);
      }
    }
    this.note(name, allow);
  }

  private changeNamed(rule: string, name: string, allow: boolean): void {
    const command = commandOf(name);
    if (command !== undefined) return this.setCommand(command, allow);
    // A module's commands have a dot in their names; anything else is a slip of the pen.
    if (!MODULE_COMMAND.test(name)) throw new RuleError(rule, UNKNOWN);
    this.named.set(name, allow);
  }

  /** The command, and its subcommands. */
  private setCommand(command: Command, allow: boolean): void {
    this.bits[command.id] = allow ? 1 : 0;
    this.firstArgs.delete(command.id);
    for (const subcommand of command.subcommands ?? []) this.setCommand(subcommand, allow);
  }

  private changeCategory(bit: number, allow: boolean): void {
    for (const command of TOP_COMMANDS) {
      if ((command.categories & bit) !== 0) this.setCommand(command, allow);
      if (!isContainer(command)) continue;
      for (const subcommand of command.subcommands!) {
        if ((subcommand.categories & bit) !== 0) this.setCommand(subcommand, allow);
      }
    }
    // Of commands that only servers know a category takes away, and gives nothing.
    if (!allow) this.without |= bit;
  }

  /** For ACL LIST: what the new rule overrides is not shown any more. */
  private note(name: string, allow: boolean): void {
    this.shown = this.shown.filter((old) => {
      const word = old.slice(1);
      return word !== name && !word.startsWith(`${name}|`);
    });
    this.shown.push((allow ? "+" : "-") + name);
  }

  // ---- asked

  /** May the command be called, whatever its keys and channels? */
  allowsCommand(command: Command, bytes: Uint8Array, args: Args): boolean {
    if ((command.flags & FLAG.NO_AUTH) !== 0) return true;
    if (command.id < 0) return this.allowsOther(command);
    const { id } = aclCommand(command);
    if (this.bits[id] === 1) return true;
    if (this.firstArgs.size === 0 || args.count < 2) return false;
    const words = this.firstArgs.get(id);
    if (words === undefined) return false;
    return words.some((word) => equalsFolded(bytes, args.starts[1]!, args.ends[1]!, word));
  }

  /** A command that a server has told of: `+@all` or its own name gives it, a category can take it away. */
  private allowsOther({ lower, categories, container }: Command): boolean {
    const named = this.named.get(lower) ?? (container === null ? undefined : this.named.get(container.lower));
    return named ?? (this.others && (categories & this.without) === 0);
  }

  allowsKey(bytes: Uint8Array, start: number, end: number, access: number): boolean {
    if (this.allKeys) return true;
    for (let i = 0; i < this.keys.length; i++) {
      const rule = this.keys[i]!;
      if ((rule.access & access) === access && rule.glob.matches(bytes, start, end)) return true;
    }
    return false;
  }

  allowsChannel(bytes: Uint8Array, start: number, end: number, isPattern: boolean): boolean {
    if (this.allChannels) return true;
    for (const glob of this.channels) {
      if (isPattern ? glob.is(bytes, start, end) : glob.matches(bytes, start, end)) return true;
    }
    return false;
  }

  /** May all keys there are be read? */
  get readsAll(): boolean {
    return this.allKeys ||
      this.keys.some(({ glob, access }) =>
        (access & ACCESS.READ) !== 0 && glob.pattern.length === 1 && glob.pattern[0] === 42
      );
  }

  // ---- shown

  get commandsText(): string {
    return [this.others ? "+@all" : "-@all", ...this.shown].join(" ");
  }

  get keysText(): string {
    if (this.allKeys) return "~*";
    return this.keys.map(({ glob, access }) => {
      const sign = access === ACCESS.READ ? "%R~" : access === ACCESS.WRITE ? "%W~" : "~";
      return sign + textOf(glob);
    }).join(" ");
  }

  get channelsText(): string {
    return this.allChannels ? "&*" : this.channels.map((glob) => `&${textOf(glob)}`).join(" ");
  }

  /** As ACL LIST shows it. */
  get text(): string {
    const channels = this.allChannels ? "&*" : `resetchannels ${this.channelsText}`.trimEnd();
    return [this.keysText, channels, this.commandsText].filter((part) => part !== "").join(" ");
  }
}

/** What a user may do. */
export class AclRules {
  /** `on`; `off`: nobody can log in. */
  enabled = true;
  /** The first is what stands outside parentheses. */
  readonly selectors: Selector[] = [new Selector()];
  /** By id of the command: 1 if it is allowed whatever its keys and channels are. */
  readonly free = new Uint8Array(COMMANDS.length);
  /**
   * By id of the command: a key that begins so is allowed, if it is the only one, whatever the options are. Of most users and commands that
   * is all there is to ask; null: it is not.
   */
  private readonly prefixes: (Uint8Array | null)[] = new Array(COMMANDS.length).fill(null);
  /** Nothing is forbidden: nobody has to ask. */
  unrestricted = false;

  /** @param runsScripts may a user that is restricted in any way call scripts, whose commands nobody asks about? */
  constructor(readonly runsScripts: boolean) {}

  compile(): this {
    this.unrestricted = this.selectors.some((selector) => selector.unrestricted);
    for (const command of COMMANDS) {
      const { id } = aclCommand(command);
      const keys = hasKeys(command);
      const channels = channelsOf(command) !== CHANNELS_OF.NONE;
      const free = (command.flags & FLAG.NO_AUTH) !== 0 ||
        this.selectors.some((selector) =>
          selector.bits[id] === 1 && (!keys || selector.allKeys) && (!channels || selector.allChannels)
        );
      this.free[command.id] = free && !this.withholds(command) ? 1 : 0;
      if (!this.withholds(command)) this.prefixes[command.id] = this.prefixOf(command, id);
    }
    return this;
  }

  /** @param id that rules know the command by */
  private prefixOf(command: Command, id: number): Uint8Array | null {
    const access = mostAccess(command);
    for (const selector of this.selectors) {
      if (selector.bits[id] !== 1) continue;
      for (const { glob, access: given } of selector.keys) {
        if (glob.prefix !== null && (given & access) === access) return glob.prefix;
      }
    }
    return null;
  }

  /** Is it about scripts that this user may neither call nor put in others' place, whatever the rules say? */
  withholds(command: Command): boolean {
    return SCRIPTS.has(command.name) && !this.runsScripts && !this.unrestricted;
  }

  /** Is the command in the hands of rules that look at its keys? Of all others they need not be found. */
  asksKeys(command: Command): boolean {
    return this.free[command.id] !== 1 && hasKeys(command);
  }

  /** As `decide`, for a command with one key, which is argument `at`, and no channels. */
  allowsOne(command: Command, at: number, bytes: Uint8Array, args: Args): boolean {
    const start = args.starts[at]!;
    const end = args.ends[at]!;
    const prefix = command.id >= 0 ? this.prefixes[command.id]! : null;
    if (prefix !== null && startsWith(bytes, start, end, prefix)) return true;
    const access = accessOf(command, 0, bytes, args);
    const { selectors } = this;
    for (let i = 0; i < selectors.length; i++) {
      const selector = selectors[i]!;
      if (selector.allowsCommand(command, bytes, args) && selector.allowsKey(bytes, start, end, access)) {
        return true;
      }
    }
    return false;
  }

  /** SORT with BY or GET patterns reads keys of any name: may it? */
  readsAll(command: Command, bytes: Uint8Array, args: Args): boolean {
    return this.selectors.some((each) => each.readsAll && each.allowsCommand(command, bytes, args));
  }

  /**
   * Are the channel's messages for this user?
   * @param kind one of TOPIC's CHANNEL, PATTERN and SHARD as `isPattern` says
   */
  allowsChannel(bytes: Uint8Array, start: number, end: number, isPattern: boolean): boolean {
    return this.selectors.some((each) => each.allowsChannel(bytes, start, end, isPattern));
  }

  /** Its selectors but the first, as ACL LIST shows them. */
  get text(): string {
    return this.selectors.map((each, i) => i === 0 ? each.text : `(${each.text})`).join(" ");
  }
}

/** Asks rules about one request, all at once or some keys at a time. */
export class Asking {
  private readonly keyed: boolean;
  private readonly channels: number;
  /** What each selector says so far. */
  private readonly decisions: number[];
  private readonly places: number[];
  /** Keys and channels that have been looked at. */
  private done = 0;
  /** The argument that is in the way; 0 is the command itself. */
  at = 0;

  /** @param keys those of the request, if the command has any: found */
  constructor(
    private readonly rules: AclRules,
    private readonly command: Command,
    private readonly keys: KeyList,
    bytes: Uint8Array,
    args: Args,
  ) {
    this.keyed = hasKeys(command);
    this.channels = channelsOf(command);
    const withheld = rules.withholds(command);
    this.decisions = rules.selectors.map((selector) =>
      !withheld && selector.allowsCommand(command, bytes, args) ? DECISION.ALLOWED : DECISION.COMMAND
    );
    this.places = rules.selectors.map(() => 0);
  }

  /** Looks at so many keys or channels more. True if that is all. */
  look(bytes: Uint8Array, args: Args, most: number): boolean {
    const count = this.keyed ? this.keys.count : this.channels === CHANNELS_OF.NONE ? 0 : args.count - 1;
    const to = Math.min(count, this.done + most);
    const { selectors } = this.rules;
    for (let s = 0; s < selectors.length; s++) {
      if (this.decisions[s] !== DECISION.ALLOWED) continue;
      const place = this.keyed
        ? this.deniedKey(selectors[s]!, bytes, args, to)
        : this.deniedChannel(selectors[s]!, bytes, args, to);
      if (place === 0) continue;
      this.decisions[s] = this.keyed ? DECISION.KEY : DECISION.CHANNEL;
      this.places[s] = place;
    }
    this.done = to;
    return to === count || !this.decisions.includes(DECISION.ALLOWED);
  }

  private deniedKey(selector: Selector, bytes: Uint8Array, args: Args, to: number): number {
    if (selector.allKeys) return 0;
    for (let k = this.done; k < to; k++) {
      const at = this.keys.at[k]!;
      const access = accessOf(this.command, k, bytes, args);
      if (!selector.allowsKey(bytes, args.starts[at]!, args.ends[at]!, access)) return at;
    }
    return 0;
  }

  private deniedChannel(selector: Selector, bytes: Uint8Array, args: Args, to: number): number {
    if (selector.allChannels) return 0;
    const last = this.channels === CHANNELS_OF.FIRST ? Math.min(to, 1) : to;
    for (let i = this.done + 1; i <= last; i++) {
      const isPattern = this.channels === CHANNELS_OF.PATTERNS;
      if (!selector.allowsChannel(bytes, args.starts[i]!, args.ends[i]!, isPattern)) return i;
    }
    return 0;
  }

  /** One of DECISION, when all has been looked at: of several reasons the one that Redis would name. */
  get decision(): number {
    let worst: number = DECISION.COMMAND;
    this.at = 0;
    for (let s = 0; s < this.decisions.length; s++) {
      const decision = this.decisions[s]!;
      if (decision === DECISION.ALLOWED) return DECISION.ALLOWED;
      if (decision < worst || decision === worst && this.places[s]! <= this.at) continue;
      worst = decision;
      this.at = this.places[s]!;
    }
    return worst;
  }
}

/**
 * Reads rules.
 * @param rules one or more in each text, with blanks between them
 * @throws RuleError for the first that is none
 */
export function parseRules(rules: readonly string[], runsScripts: boolean): AclRules {
  const parsed = new AclRules(runsScripts);
  let count = 0;
  for (const rule of rules.flatMap(wordsOf)) {
    if (++count > RULES_MAX) throw new RuleError(rule, `more than ${RULES_MAX} rules`);
    const lower = rule.toLowerCase();
    if (lower === "on" || lower === "off") parsed.enabled = lower === "on";
    else if (lower === "clearselectors") parsed.selectors.splice(1);
    else if (/^(nopass|resetpass|reset)$/.test(lower) || /^[><#!]/.test(rule)) {
      throw new RuleError(/^[><#!]/.test(rule) ? `${rule[0]}…` : rule, PASSWORD_ELSEWHERE);
    } else if (/^(skip-)?sanitize-payload$/.test(lower)) throw new RuleError(rule, PAYLOAD);
    else if (rule[0] === "(") {
      const selector = new Selector();
      try {
        for (const inner of rule.slice(1, -1).split(/\s+/)) if (inner !== "") selector.apply(inner);
      } catch (error) {
        if (!(error instanceof RuleError)) throw error;
        throw new RuleError(`${rule}: ${error.rule}`, error.why);
      }
      parsed.selectors.push(selector);
    } else parsed.selectors[0]!.apply(rule);
  }
  return parsed.compile();
}

/** The rules of a text; those in parentheses are one. */
function wordsOf(text: string): string[] {
  const words: string[] = [];
  let open: string | null = null;
  for (const word of text.split(/\s+/)) {
    if (word === "") continue;
    if (open === null && word[0] === "(") open = word;
    else if (open !== null) open += ` ${word}`;
    else {
      words.push(word);
      continue;
    }
    if (word.at(-1) !== ")") continue;
    words.push(open!);
    open = null;
  }
  if (open !== null) throw new RuleError(open, "Unmatched parenthesis in acl selector");
  return words;
}

/** A module's command, which the table does not have. */
const MODULE_COMMAND = /^[a-z0-9_-]+\.[a-z0-9_.-]+$/;

/** "config|get" or "get", in lower case. */
function commandOf(name: string): Command | undefined {
  const command = findByName(name);
  // DEBUG's words are first arguments to Redis.
  return command === undefined || aclCommand(command) === command ? command : undefined;
}

function isContainer({ subcommands, flags }: Command): boolean {
  return subcommands !== null && (flags & FLAG.OPEN) === 0;
}

/**
 * They run commands that the proxy does not see, or say what a function is that somebody else calls, with all of the proxy's rights.
 * (SCRIPT LOAD does neither: a script is called by what it says.)
 */
const SCRIPTS: ReadonlySet<string> = new Set([
  "EVAL",
  "EVAL_RO",
  "EVALSHA",
  "EVALSHA_RO",
  "FCALL",
  "FCALL_RO",
  "FUNCTION|LOAD",
  "FUNCTION|RESTORE",
]);

function bytesOf(rule: string, from: number): Uint8Array {
  const text = rule.slice(from);
  return encode(text);
}

function textOf(glob: Glob): string {
  return new TextDecoder().decode(glob.pattern);
}
