/**
 * What a simulated client of memcached's binary protocol asks for, and what may come back. Its servers know nothing of packets: what is
 * true of a request is the line that a server executed for its key, so the packet that it should have become is made here once more.
 */
import type { PoolConfig } from "../../src/config/config.ts";
import { addExtras, type Ask, number, packet, saidAt, storeExtras } from "../lib/binary.ts";
import { exactly, type Expect, type Judge, matching, silence } from "./expect.ts";
import { binaryLogin } from "./memcached_auth.ts";
import { Versions } from "./memcached_versions.ts";
import type { Plan } from "./plan.ts";
import type { Random } from "./random.ts";
import type { Workload } from "./sim_client.ts";
import { type Step, together } from "./step.ts";

const KINDS = [
  "get",
  "gets",
  "store",
  "stores",
  "append",
  "number",
  "delete",
  "touch",
  "gat",
  "local",
  "bad",
] as const;
type Kind = typeof KINDS[number];

const UNKNOWN = "Unknown command";
const TOO_LARGE = 3;
const FAILED = 0x84;
const QUIET_GETS = [0x09, 0x0d];
/** A quiet opcode and its loud one. */
const LOUD = new Map([
  [0x09, 0x00],
  [0x0d, 0x0c],
  [0x11, 0x01],
  [0x12, 0x02],
  [0x13, 0x03],
  [0x14, 0x04],
  [0x15, 0x05],
  [0x16, 0x06],
  [0x19, 0x0e],
  [0x1a, 0x0f],
  [0x1e, 0x1d],
  [0x24, 0x23],
]);
const GETS = new Set([0x00, 0x0c, 0x1d, 0x23]);

export class BinaryWorkload implements Workload {
  readonly blocks = false;
  private readonly weights = new Map<Kind, number>();
  private readonly pool: PoolConfig;
  private request = 0;
  private opaque = 0;
  private limited = 0;
  private modest = false;
  private readonly versions: Versions;

  constructor(
    private readonly plan: Plan,
    private readonly judge: Judge,
    private readonly client: number,
    private readonly random: Random,
    private readonly sentAtMs: (tag: string) => void,
  ) {
    this.pool = plan.pool;
    this.versions = new Versions(plan, judge);
    for (const kind of KINDS) if (random.chance(0.5)) this.weights.set(kind, random.magnitude(1, 30));
    if (this.weights.size === 0) this.weights.set("gets", 1);
  }

  /** Before its first packet it may read a refusal, which is a line. */
  replyEnd(bytes: Uint8Array, start: number, end: number): number {
    if (bytes[start] !== 0x81) {
      const lf = bytes.indexOf(10, start);
      return lf < 0 || lf >= end ? -1 : lf + 1;
    }
    if (end - start < 24) return -1;
    const size =
      (bytes[start + 8]! << 24 | bytes[start + 9]! << 16 | bytes[start + 10]! << 8 | bytes[start + 11]!) >>>
      0;
    return start + 24 + size <= end ? start + 24 + size : -1;
  }

  /** An error is the line that text has for it. */
  asLine(text: string): string {
    const said = isStatus(text, FAILED) ? saidAt(text, 0)?.said : undefined;
    return said === undefined ? text : `SERVER_ERROR ${said.value}\r\n`;
  }

  hello(): Step {
    const { judge, random } = this;
    const tag = `${this.client}.hello`;
    this.sentAtMs(tag);
    return binaryLogin({ judge, random, tag, guesses: this.client <= this.plan.clients });
  }

  epilogue(): Step {
    this.modest = true;
    return together(
      Array.from(
        { length: 12 },
        (_, i) => i % 2 === 0 ? this.store(false) : together([this.gets(), this.noop()]),
      ),
    );
  }

  goodbye(): Step {
    const opaque = ++this.opaque;
    const quits = packet({ opcode: 0x07, opaque });
    return this.random.pick<() => Step>([
      () => ({ bytes: quits, expects: [exactly("quit", reply(0x07, opaque, 0, ""), true)], last: true }),
      () => ({ bytes: packet({ opcode: 0x17 }), expects: [{ ...silence("quitq"), last: true }], last: true }),
    ])();
  }

  /** Behind what may be silent comes a noop: else a patient client would not know when to go on. */
  next(): Step {
    const step = this.draft();
    return LOUD.has(step.bytes.charCodeAt(1)) ? together([step, this.noop()]) : step;
  }

  private draft(): Step {
    const { random } = this;
    switch (this.draw()) {
      case "get":
        return this.single({ opcode: random.pick([0x00, 0x0c]) });
      case "gets":
        return this.gets();
      case "store":
        return this.store(random.chance(0.3));
      case "stores":
        return together(Array.from({ length: random.int(1, 6) }, () => this.store(true)));
      case "append":
        return this.stored({ opcode: random.pick([0x0e, 0x0f, 0x19, 0x1a]) });
      case "number":
        return this.single({
          opcode: random.pick([0x05, 0x06, 0x15, 0x16]),
          extras: addExtras(1, random.int(0, 9), random.pick([0, 100, 0xffffffff])),
        });
      case "delete":
        return this.single({ opcode: random.pick([0x04, 0x14]), cas: random.chance(0.3) ? 7n : 0n });
      case "touch":
        return this.single({ opcode: 0x1c, extras: number(100, 4) });
      case "gat":
        return this.single({ opcode: random.pick([0x1d, 0x1e, 0x23, 0x24]), extras: number(100, 4) });
      case "local":
        return random.chance(0.5) ? this.noop() : this.version();
      case "bad":
        return this.local(random.pick([0x1b, 0x30, 0xff]), 0x81, UNKNOWN, random.chance(0.5) ? "body" : "");
    }
  }

  // ---- kinds

  private gets(): Step {
    const { random } = this;
    const count = random.magnitude(1, 30);
    return together(Array.from({ length: count }, () => this.single({ opcode: random.pick(QUIET_GETS) })));
  }

  private store(quiet: boolean): Step {
    const { random } = this;
    const opcode = random.pick(quiet ? [0x11, 0x11, 0x12, 0x13] : [0x01, 0x01, 0x02, 0x03]);
    return this.stored({ opcode, extras: storeExtras(5), cas: random.chance(0.2) ? 7n : 0n });
  }

  private version(): Step {
    const tag = this.newTag();
    const opaque = ++this.opaque;
    const expect = matching(
      "version",
      (text) =>
        [...this.versions.possible].some((version) =>
          text === reply(0x0b, opaque, 0, version) && this.versions.maySay(version, tag)
        ),
    );
    return { bytes: packet({ opcode: 0x0b, opaque }), expects: [expect], last: false };
  }

  private noop(): Step {
    return this.local(0x0a, 0, "");
  }

  private local(opcode: number, status: number, value: string, body = ""): Step {
    const opaque = ++this.opaque;
    return {
      bytes: packet({ opcode, opaque, value: body }),
      expects: [exactly(`op ${opcode.toString(16)}`, reply(opcode, opaque, status, value))],
      last: false,
    };
  }

  /** A packet with a value, which may be over max_request_size. */
  private stored(of: Ask): Step {
    const tag = this.newTag();
    const value = this.value(tag);
    const step = this.single({ ...of, value }, tag);
    const over = ({ requestSizeMax }: PoolConfig) => value.length > requestSizeMax;
    if (!this.plan.pools.some(over)) return step;
    const limit = `${this.client}.limit.${++this.limited}`;
    this.sentAtMs(limit);
    const had = (refused: boolean) => this.judge.had(limit, (config) => over(config) === refused);
    const expect = step.expects[0]!;
    const limited = {
      ...expect,
      accepts: (text: string) =>
        isStatus(text, TOO_LARGE) ? had(true) : had(false) && expect.accepts(text) || this.badly(text),
    };
    return { ...step, expects: [limited] };
  }

  /** A packet with a key, and what a server's line says it should be answered. */
  private single(of: Ask, tag = this.newTag()): Step {
    const opaque = ++this.opaque;
    const key = this.key(tag);
    const ask: Ask = { ...of, key, opaque };
    const shown = `op ${of.opcode.toString(16)} ${key}`;
    const { executions, extras } = this.judge.truth;
    const line = (): string | undefined => {
      const found = executions.get(tag);
      return found?.parts?.[found.tags.indexOf(tag)] ?? found?.reply;
    };
    // A line too many that came while this was under way reads as the answer to it; one END, as if a server had none of the keys.
    const isExtra = (text: string) =>
      [...extras].some((extra) =>
        (extra !== "END\r\n" || GETS.has(loud(of.opcode))) && text === answer(ask, extra)
      );
    const expect: Expect = {
      ...matching(shown, (text) => {
        const said = line();
        if (said !== undefined && text === answer(ask, said)) {
          this.judge.truth.answered([tag]);
          return true;
        }
        return this.badly(text) || isExtra(text);
      }),
      maybeSilent: () => {
        const said = line();
        return said !== undefined && answer(ask, said) === "" || isExtra("");
      },
      executed: () => executions.has(tag),
    };
    return { bytes: packet(ask), expects: [expect], last: false };
  }

  // ---- parts

  /** An error of the proxy's, as a text client would have read it. */
  private badly(text: string): boolean {
    return isStatus(text, FAILED) && this.judge.isFailure(this.asLine(text));
  }

  private draw(): Kind {
    let total = 0;
    for (const weight of this.weights.values()) total += weight;
    let at = this.random.next() * total;
    for (const [kind, weight] of this.weights) if ((at -= weight) < 0) return kind;
    return "gets";
  }

  private newTag(): string {
    const tag = `${this.client}.${++this.request}.0`;
    this.sentAtMs(tag);
    return tag;
  }

  /** Some that a line cannot carry. */
  private key(tag: string): string {
    const { random } = this;
    const name = `k${this.modest || random.chance(0.6) ? this.client : "s"}.${random.int(0, 3)}${
      random.chance(0.2) ? random.pick([" x", "\r\nEND\r\n", "\0"]) : ""
    }`;
    if (this.pool.hashTag === null) return `${name}~${tag}`;
    const [open, close] = this.pool.hashTag;
    return `${String.fromCharCode(open!)}${name}${String.fromCharCode(close!)}~${tag}`;
  }

  private value(tag: string): string {
    const { random } = this;
    if (random.chance(0.2)) return String(random.int(0, 99));
    const size = this.modest
      ? 10
      : this.plan.hugeValues && random.chance(0.15)
      ? random.int(800_000, 2_500_000)
      : random.chance(0.8)
      ? random.int(0, 20)
      : random.magnitude(20, this.plan.bigValues && random.chance(0.2) ? 300_000 : 5000);
    return `=${tag};${random.chance(0.1) ? "\r\nEND\r\n" : ""}${"x".repeat(size)}`;
  }
}

function isStatus(text: string, status: number): boolean {
  return text.charCodeAt(6) === 0 && text.charCodeAt(7) === status;
}

function loud(opcode: number): number {
  return LOUD.get(opcode) ?? opcode;
}

function reply(
  opcode: number,
  opaque: number,
  status: number,
  value: string,
  more: Partial<Ask> = {},
): string {
  return packet({ opcode, opaque, value, vbucket: status, lies: { magic: 0x81 }, ...more });
}

const TEXTS: Readonly<Record<number, string>> = {
  1: "Not found",
  2: "Data exists for key.",
  5: "Not stored.",
  6: "Non-numeric server-side value for incr or decr",
};

/** The packet for a server's `line`, the reply to what `ask` became; "" if nothing is said. */
function answer(ask: Ask, line: string): string {
  const { opcode, opaque = 0, key = "" } = ask;
  const base = loud(opcode);
  const quiet = base !== opcode;
  const gets = GETS.has(base);
  const withKey = base === 0x0c || base === 0x23;
  const error = (status: number) => reply(opcode, opaque, status, TEXTS[status]!);
  const cas = BigInt(/^(?:HD|VA)[^\r]* c(\d+)/.exec(line)?.[1] ?? 0);
  const flags = Number(/^(?:HD|VA)[^\r]* f(\d+)/.exec(line)?.[1] ?? 0);
  if (/^(VALUE|VA) /.test(line)) {
    const head = line.slice(0, line.indexOf("\r\n"));
    const words = line.startsWith("VALUE")
      ? head.split(" ").slice(-3).map(Number)
      : [flags, Number(head.split(" ")[1]), Number(cas)];
    const value = line.substr(head.length + 2, words[1]!);
    if (gets) {
      const extras = number(words[0]!, 4);
      return reply(opcode, opaque, 0, value, { extras, cas: BigInt(words[2]!), ...(withKey ? { key } : {}) });
    }
    return quiet ? "" : reply(opcode, opaque, 0, number(BigInt(value), 8), { cas });
  }
  if (gets && (line === "" || /^(END|EN)/.test(line))) {
    if (quiet) return "";
    return withKey ? reply(opcode, opaque, 1, "", { key }) : error(1);
  }
  if (line.startsWith("HD")) {
    if (base === 0x1c) return reply(opcode, opaque, 0, "", { extras: number(flags, 4), cas });
    return quiet ? "" : reply(opcode, opaque, 0, "", { cas });
  }
  if (/^(NF|EN)/.test(line)) return error(1);
  if (line.startsWith("EX")) return error(2);
  if (line.startsWith("NS")) return error(base === 0x02 ? 2 : base === 0x03 ? 1 : 5);
  if (line.startsWith("CLIENT_ERROR cannot increment")) return error(6);
  return `no answer to ${line}`;
}
