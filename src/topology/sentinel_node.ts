/**
 * One sentinel: what it answers of the masters a pool is about, and that it has something new to say.
 *
 *   link for questions ── every POLL_MS: SENTINEL GET-MASTER-ADDR-BY-NAME, at times MASTER, REPLICAS, SENTINELS ──► owner.saw …
 *   link for events ───── SUBSCRIBE ──► +switch-master, +slave, … ──► the same questions at once
 *
 * Address and epoch belong together, and no one question answers both: in a failover the leader's SENTINEL MASTER has the new
 * epoch beside the old address for a second, while GET-MASTER-ADDR-BY-NAME has the new address. So the address is asked before
 * and behind, and only if both are the same it counts.
 *
 * In RESP2 whoever subscribes can ask nothing else, hence two links. Both are dialled again when they are lost, later each time.
 */
import { encode, latin1 } from "../bytes/ascii.ts";
import type { Credentials } from "../config/config.ts";
import type { Address, Clock, Net, TimerId } from "../net/net.ts";
import { ReplyError, type Value } from "../protocol/redis/value.ts";
import { type Answer, LinkLost, RedisLink } from "./redis_link.ts";
import type { EndpointSpec } from "./state.ts";

/** What a sentinel says of a master. */
export interface View {
  /** null: it knows no master of this name. */
  readonly primary: EndpointSpec | null;
  /** Its config-epoch: how many failovers it has heard of, in the order of all sentinels of this master. */
  readonly epoch: number;
  /** What the named server has told the sentinel that it is: "master", "slave"; "" = unknown. */
  readonly role: string;
}

/** Another sentinel, as one knows it. */
export interface Other {
  readonly at: EndpointSpec;
  readonly id: string;
}

export interface NodeOwner {
  /** The masters that matter, by the sentinels' name. */
  readonly masters: readonly string[];
  /** An answer; called again with the same one while it stays so. */
  saw(node: SentinelNode, master: string, view: View, cause: string): void;
  sawReplicas(node: SentinelNode, master: string, replicas: readonly EndpointSpec[]): void;
  sawOthers(node: SentinelNode, others: readonly Other[]): void;
  /** It is about to promote `replica` in place of `primary`, both as "host:port". */
  replaces(node: SentinelNode, master: string, primary: string, replica: string): void;
  /** It has not, and does not try any more. */
  gaveUp(node: SentinelNode, master: string, why: string): void;
  /** It answers (null), or why it does not; once a change. */
  changed(node: SentinelNode, wrong: string | null): void;
}

export interface NodeAround {
  readonly net: Net;
  readonly clock: Clock;
  readonly random: () => number;
  readonly auth: Credentials | null;
}

/** Between two questions for the addresses. What has changed comes as an event; this is for what events have not told. */
const POLL_MS = 1000;
/** Of these polls every so many ask for more. */
const MASTER_EVERY = 10;
const REPLICAS_EVERY = 5;
const OTHERS_EVERY = 10;

const CONNECT_MS = 1000;
const ANSWER_MS = 1000;
/** Until a lost link is dialled again; doubles with each time, half of it drawn. */
const AGAIN_MIN_MS = 100;
const AGAIN_MAX_MS = 5000;
/** Address and epoch asked again since they did not belong together: so many times in a row. */
const UNLIKE_MAX = 5;
/** Longest name, address or id that is believed, in characters: a name of DNS has 253. */
const WORD_MAX = 300;
/** The most replicas of a master, and sentinels, that are looked at. */
const LISTED_MAX = 100;

/** The leader's alone: in the next ticks, 50 ms or more from now, this replica is told to be a primary. */
const SELECTED = "+selected-slave";
/** Its attempt has failed; the primary stays what it was. */
const GIVEN_UP: ReadonlySet<string> = new Set([
  "-failover-abort-not-elected",
  "-failover-abort-no-good-slave",
  "-failover-abort-slave-timeout",
]);
/** What is listened to. Most make it ask, and are not believed for what they say. */
const CHANNELS: readonly string[] = [
  SELECTED,
  ...GIVEN_UP,
  "+switch-master",
  "+promoted-slave",
  "+slave",
  "+sdown",
  "-sdown",
  "+reset-master",
  "+monitor",
  "-monitor",
  "+role-change",
  "+convert-to-slave",
  "+sentinel",
];
/** Those that may mean another primary. */
const ADDRESS_EVENTS: ReadonlySet<string> = new Set([
  "+switch-master",
  "+promoted-slave",
  "+monitor",
  "-monitor",
  "+role-change",
]);

export class SentinelNode {
  /** Its own id, once it has said it; "" before, and of those that know no SENTINEL MYID. */
  id = "";
  /** It has answered since it was last reached. */
  answers = false;
  /** It has answered, or failed, once at least. */
  tried = false;
  private questions: Line | null;
  private events: Line | null;
  private pollTimer: TimerId | null = null;
  private polls = 0;
  private readonly looks = new Map<string, { again: string | null; unlike: number }>();
  /** Masters whose replicas are being asked for, and whether once more is wanted. */
  private readonly listings = new Map<string, boolean>();
  /** The last answers: the address as it was said, and what has been made of it. */
  private readonly views = new Map<string, { readonly address: string; readonly view: View }>();
  /** Why it does not answer; null: it does, or has not been asked. */
  wrong: string | null = null;
  /** The last that its owner has been told; undefined: nothing yet. */
  private told: string | null | undefined = undefined;
  /** When another sentinel has named it last. */
  listedAtMs: number;

  /** @param learned another sentinel has named it; else the configuration */
  constructor(
    readonly at: { readonly address: Address; readonly text: string },
    readonly learned: boolean,
    private readonly owner: NodeOwner,
    private readonly around: NodeAround,
  ) {
    this.listedAtMs = around.clock.nowMs();
    this.questions = new Line(at.address, around, {
      begun: (link) => this.greet(link),
      ended: (why) => this.failed(why),
    });
    this.events = new Line(at.address, around, {
      begun: (link) => this.subscribe(link),
      ended: () => {},
    });
  }

  stop(): void {
    this.questions?.stop();
    this.events?.stop();
    this.questions = this.events = null;
    if (this.pollTimer !== null) this.around.clock.clearTimer(this.pollTimer);
    this.pollTimer = null;
  }

  /** Asks for address and epoch now. Of no effect if it cannot be reached. @param cause for people */
  look(master: string, cause: string): void {
    const link = this.questions?.link;
    if (!link?.ready) return;
    const look = this.looks.get(master);
    if (look !== undefined) {
      look.again = cause;
      return;
    }
    this.looks.set(master, { again: null, unlike: 0 });
    this.ask(link, master, cause);
  }

  lookForReplicas(master: string): void {
    const link = this.questions?.link;
    if (!link?.ready) return;
    if (this.listings.has(master)) return void this.listings.set(master, true);
    this.listings.set(master, false);
    link.ask(["SENTINEL", "REPLICAS", wireOf(master)], (answer) => {
      const again = this.listings.get(master);
      this.listings.delete(master);
      if (again) this.lookForReplicas(master);
      if (!Array.isArray(answer)) return;
      const rows = answer.slice(0, LISTED_MAX).map((row) => endpointOf(fieldsOf(row)));
      this.owner.sawReplicas(this, master, rows.filter((each) => each !== null));
    });
  }

  private ask(link: RedisLink, master: string, cause: string): void {
    const question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", wireOf(master)];
    let before: Answer = null;
    let fields: Answer = null;
    link.ask(question, (answer) => before = answer);
    link.ask(["SENTINEL", "MASTER", wireOf(master)], (answer) => fields = answer);
    link.ask(question, (after) => {
      const look = this.looks.get(master)!;
      const again = look.again;
      const unlike = String(before) !== String(after) && !(after instanceof LinkLost);
      if (unlike && ++look.unlike < UNLIKE_MAX) return this.ask(link, master, again ?? cause);
      this.looks.delete(master);
      this.judge(master, after, fields, cause);
      if (again !== null) this.look(master, again);
    });
  }

  private judge(master: string, address: Answer, fields: Answer, cause: string): void {
    if (address instanceof LinkLost || fields instanceof LinkLost) return;
    if (address instanceof ReplyError) return this.says(address.text);
    const told = fieldsOf(fields);
    const epoch = Number(told.get("config-epoch") ?? 0);
    const primary = addressOf(address);
    const role = told.get("role-reported") ?? "";
    const view = { primary, epoch: Number.isSafeInteger(epoch) ? epoch : 0, role };
    this.views.set(master, { address: String(address), view });
    // First what it says, then that it answers: nobody is to believe that it knows nothing.
    this.tried = this.answers = true;
    this.owner.saw(this, master, view, cause);
    this.says(null);
  }

  private greet(link: RedisLink): void {
    this.views.clear();
    link.ask(["SENTINEL", "MYID"], (answer) => {
      if (typeof answer === "string" && answer.length <= WORD_MAX) this.id = answer;
    });
    this.polls = 0;
    this.poll();
  }

  private poll(): void {
    const { clock, random } = this.around;
    if (this.pollTimer !== null) clock.clearTimer(this.pollTimer);
    this.pollTimer = clock.setTimer(POLL_MS * (0.75 + random() / 2), () => this.poll());
    this.events?.ping();
    const link = this.questions?.link;
    if (!link?.ready) return;
    const { polls } = this;
    this.polls++;
    for (const master of this.owner.masters) {
      if (polls % MASTER_EVERY === 0) this.look(master, `sentinel ${this.at.text} says so`);
      else this.compare(link, master);
      if (polls % REPLICAS_EVERY === 0) this.lookForReplicas(master);
      if (polls % OTHERS_EVERY === 0) this.lookForOthers(link, master);
    }
  }

  /** Asks only whether the address is the one that it has said before. */
  private compare(link: RedisLink, master: string): void {
    link.ask(["SENTINEL", "GET-MASTER-ADDR-BY-NAME", wireOf(master)], (answer) => {
      if (answer instanceof LinkLost) return;
      if (answer instanceof ReplyError) return this.says(answer.text);
      const last = this.views.get(master);
      const cause = `sentinel ${this.at.text} says so`;
      if (last?.address !== String(answer)) return this.look(master, cause);
      this.owner.saw(this, master, last.view, cause);
      this.says(null);
    });
  }

  private lookForOthers(link: RedisLink, master: string): void {
    link.ask(["SENTINEL", "SENTINELS", wireOf(master)], (answer) => {
      if (!Array.isArray(answer)) return;
      const others: Other[] = [];
      for (const row of answer.slice(0, LISTED_MAX)) {
        const fields = fieldsOf(row);
        const at = endpointOf(fields);
        if (at !== null) others.push({ at, id: fields.get("runid") ?? "" });
      }
      this.owner.sawOthers(this, others);
    });
  }

  private subscribe(link: RedisLink): void {
    const told = (answer: Answer) => {
      // Without events polling has to do.
      if (answer instanceof ReplyError) this.says(`SUBSCRIBE is refused: ${answer.text}`);
      // What it has said in between has been missed.
      else if (!(answer instanceof LinkLost)) {
        for (const master of this.owner.masters) this.look(master, `sentinel ${this.at.text} says so`);
      }
    };
    link.subscribe(CHANNELS, told, (channel, text) => this.heard(channel, text));
  }

  private heard(channel: string, text: string): void {
    const name = masterOf(channel, text);
    const master = this.owner.masters.find((each) => wireOf(each) === name);
    if (master === undefined) return;
    if (channel === SELECTED) {
      const words = text.split(" ");
      const [replica, primary] = [endpoint(words[2], words[3]), endpoint(words[6], words[7])];
      if (replica !== null && primary !== null) {
        this.owner.replaces(this, master, primary.text, replica.text);
      }
      return;
    }
    if (GIVEN_UP.has(channel)) return this.owner.gaveUp(this, master, channel);
    if (ADDRESS_EVENTS.has(channel)) this.look(master, `${channel} from sentinel ${this.at.text}`);
    if (channel !== "+promoted-slave") this.lookForReplicas(master);
  }

  /** An error reply to what it is asked (null: a good one). */
  private says(wrong: string | null): void {
    this.tried = true;
    this.answers = wrong === null;
    this.wrong = plain(wrong);
    if (this.wrong === this.told) return;
    this.told = this.wrong;
    this.owner.changed(this, this.wrong);
  }

  private failed(why: string): void {
    this.looks.clear();
    this.listings.clear();
    this.says(why);
  }
}

/** Somebody else's words for a line of the log. */
function plain(text: string | null): string | null {
  // deno-lint-ignore no-control-regex
  return text === null ? null : text.slice(0, WORD_MAX).replace(/[\x00-\x1f\x7f-\x9f]/g, "?");
}

interface LineEnds {
  /** The link is ready. */
  begun(link: RedisLink): void;
  ended(why: string): void;
}

/** A link that is made again when it is lost. */
class Line {
  link: RedisLink | null = null;
  private againMs = AGAIN_MIN_MS;
  private begunAtMs = Infinity;
  private timer: TimerId | null = null;

  constructor(
    private readonly address: Address,
    private readonly around: NodeAround,
    private readonly ends: LineEnds,
  ) {
    this.dial();
  }

  stop(): void {
    if (this.timer !== null) this.around.clock.clearTimer(this.timer);
    this.link?.close();
    this.link = this.timer = null;
  }

  /** Whoever does not answer this is given up. */
  ping(): void {
    if (this.link?.ready) this.link.ask(["PING"], () => {});
  }

  private dial(): void {
    const { net, clock, auth, random } = this.around;
    const link = new RedisLink({
      net,
      clock,
      address: this.address,
      auth,
      resp3: false,
      connectMs: CONNECT_MS,
      answerMs: ANSWER_MS,
      begun: () => {
        this.begunAtMs = clock.nowMs();
        this.ends.begun(link);
      },
      lost: (why) => {
        this.link = null;
        // Who lets one in and throws one out at once is not asked at once.
        if (clock.nowMs() - this.begunAtMs > AGAIN_MAX_MS) this.againMs = AGAIN_MIN_MS;
        this.begunAtMs = Infinity;
        this.timer = clock.setTimer(this.againMs * (0.5 + random() / 2), () => {
          this.timer = null;
          this.dial();
        });
        this.againMs = Math.min(AGAIN_MAX_MS, this.againMs * 2);
        this.ends.ended(why);
      },
    });
    this.link = link;
  }
}

/** A name as it is sent, and as answers have it: a byte, of UTF-8, a character. */
function wireOf(master: string): string {
  return latin1(encode(master));
}

/** The master that an event is about: "m1 old port new port", "master m1 ip port", "slave ip:port ip port @ m1 ip port". */
function masterOf(channel: string, text: string): string {
  const words = text.split(" ");
  if (channel === "+switch-master") return words[0]!;
  const at = words.indexOf("@");
  return (at >= 0 ? words[at + 1] : words[1]) ?? "";
}

/** Names and values of a list that has them in turns; empty for whatever else. */
function fieldsOf(answer: Answer): Map<string, string> {
  const fields = new Map<string, string>();
  if (!Array.isArray(answer)) return fields;
  const values = answer as readonly Value[];
  for (let i = 0; i + 1 < values.length; i += 2) {
    const [name, value] = [values[i], values[i + 1]];
    if (typeof name === "string" && typeof value === "string") fields.set(name, value);
  }
  return fields;
}

function endpointOf(fields: ReadonlyMap<string, string>): EndpointSpec | null {
  return endpoint(fields.get("ip"), fields.get("port"));
}

/** Of GET-MASTER-ADDR-BY-NAME's answer. */
function addressOf(answer: Answer): EndpointSpec | null {
  return Array.isArray(answer) ? endpoint(answer[0], answer[1]) : null;
}

/** Names stay names. null for what can be no address. */
function endpoint(host: unknown, port: unknown): EndpointSpec | null {
  if (typeof host !== "string" || host === "" || host.length > WORD_MAX || /[\s\0]/.test(host)) return null;
  const number = Number(port);
  if (!Number.isInteger(number) || number < 1 || number > 65535) return null;
  const text = host.includes(":") ? `[${host}]:${number}` : `${host}:${number}`;
  return { address: { host, port: number }, text, zone: null };
}
