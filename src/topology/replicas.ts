/**
 * Which replicas of a pool's servers may be read from: asked of each of them, every second.
 *
 *   inner keeper (sentinel, promote), or the configured addresses ──► where the primary is, which replicas it may have
 *   the primary: INFO replication ──► its offset, and replicas nobody has named
 *   each replica: INFO replication, persistence ──judge──► well, or not ──► states
 *
 * A replica that is not well is left out at once; one that is well again has to be so for some seconds, more of them the oftener it has
 * failed, so that one that comes and goes does not make all workers turn with it. With read_from: nearest they are asked too in which
 * zone they stand, which Valkey says: it counts where the file does not. Replicas that nobody names any more are asked for a
 * while longer: sentinels forget them at RESET, and a primary that has been replaced knows only its own.
 */
import type { ServerConfig } from "../config/config.ts";
import { makeServer } from "../config/values.ts";
import { NOTICE } from "../net/log.ts";
import type { Address, TimerId } from "../net/net.ts";
import { zoneOf } from "../net/zones.ts";
import type { KeeperAround, KeptPool } from "./keepers.ts";
import { fieldsIn, judge, PrimaryTrace, saidIn, type ServerSaid } from "./replica_health.ts";
import { RedisLink, serverAuth } from "./redis_link.ts";
import type { EndpointSpec, Keeper, ReplicaHealth, ServerState, Sign } from "./state.ts";

/** Between the beginnings of two rounds of questions. */
const ROUND_MS = 1000;
/** Rounds that hints ask for are at least this far apart. */
const HINTED_MS = 100;
/** A server that has not answered after so long does not. */
export const ANSWER_MS = 1000;
/** Rounds in which a replica that failed has to be well: doubles with each time. */
const PROVE_FIRST = 2;
const PROVE_MAX = 32;
/** A replica that has been well for so long has never failed. */
const FORGIVEN_MS = 300_000;
/** A replica that is not well, and that nobody has named for so long, is forgotten. */
const UNNAMED_MS = 60_000;
/** Most replicas of one server. */
const REPLICAS_MAX = 64;

const SECTIONS = ["replication", "persistence"];
/** With read_from: nearest also where they stand. */
const SECTIONS_NEAREST = [...SECTIONS, "server"];
/** What servers are believed to stand in: words that fit in a line of INFO. */
const ZONE = /^[^\s,=]{1,100}$/;

/** Asks one server; kept open between questions. */
export interface Asker {
  /** @param told the text of these sections of INFO, one behind the other; null: no answer in time, or an error. Not after `close` */
  info(sections: readonly string[], told: (text: string | null) => void): void;
  close(): void;
}

export type Dial = (address: Address, text: string) => Asker;

/** A replica that there is, or was. */
interface Candidate {
  readonly spec: EndpointSpec;
  readonly asker: Asker;
  /** Place in the file's list; learned ones come behind, by their text. */
  readonly place: number;
  /** It may be read from. */
  well: boolean;
  /** What was wrong with it last; null before the first answer. */
  wrong: string | null;
  /** How far it was behind by its last answer; -1 = not known. */
  lagBytes: number;
  lagMs: number;
  /** In a row, and how many it takes. */
  wellRounds: number;
  proof: number;
  wellSinceMs: number;
  namedAtMs: number;
}

export class ReplicaKeeper implements Keeper {
  private readonly watches = new Map<string, Watch>();

  /** @param inner says where primaries are; null: where the configuration says */
  constructor(
    private readonly around: KeeperAround,
    private readonly inner: Keeper | null,
    private readonly dial: Dial,
  ) {}

  start(changed: (states: readonly ServerState[]) => void): void {
    const { pool, known } = this.around;
    for (const server of pool.servers) {
      this.watches.set(
        server.name,
        new Watch(this.around, server, known.get(server.name), this.dial, (state) => changed([state])),
      );
    }
    if (this.inner !== null) {
      this.inner.start((states) => {
        for (const state of states) this.watches.get(state.server)?.follow(state);
      });
    } else for (const watch of this.watches.values()) watch.followConfig();
  }

  hint(server: string, sign: Sign): void {
    this.inner?.hint(server, sign);
    this.watches.get(server)?.look();
  }

  memory(): ReadonlyMap<string, unknown> {
    return this.inner?.memory?.() ?? new Map();
  }

  health(server: string): readonly ReplicaHealth[] {
    return this.watches.get(server)?.health() ?? [];
  }

  stop(): void {
    this.inner?.stop();
    for (const watch of this.watches.values()) watch.stop();
  }
}

/** One server. */
class Watch {
  private readonly candidates = new Map<string, Candidate>();
  private readonly primary = new PrimaryTrace();
  private primaryAsker: Asker | null = null;
  /** Where the server is, by whoever knows; its `replicas` are who may be one. */
  private state: ServerState | null = null;
  /** Whose replicas they have to be; undefined: nobody has said. */
  private primaryText: string | undefined = undefined;
  /** What has been said last. */
  private told: ServerState | null = null;
  /** Why workers may be reading from others than they should; "" = they are not, as far as is known. */
  private untold = "";
  private timer: TimerId | null = null;
  private roundAtMs = -Infinity;
  /** Answers to a round before this one are old news. */
  private serial = 0;
  /** Of this round, still without an answer. */
  private open = 0;
  private again = false;
  private stopped = false;
  private readonly sections: readonly string[];
  /** What servers have said last, by their texts. */
  private readonly zonesSaid = new Map<string, string>();

  constructor(
    private readonly around: KeeperAround,
    private readonly server: ServerConfig,
    known: ServerState | undefined,
    private readonly dial: Dial,
    private readonly tell: (state: ServerState) => void,
  ) {
    this.sections = around.pool.readFrom === "nearest" ? SECTIONS_NEAREST : SECTIONS;
    for (const { address, text, zone } of server.replicas) this.name({ address, text, zone });
    // A keeper before this one knew them to be well: they are, until they say something else. Their zones too.
    for (const spec of known?.replicas ?? []) {
      // Whom the file, or the cluster, does not name any more, or by another name, is none of its.
      if (!mayKnow(around.pool, server, spec.text)) {
        this.untold = `${spec.text} is not named any more`;
        continue;
      }
      this.remember(spec.text, spec.zone);
      this.name({ ...spec, zone: null }, true);
    }
    const before = known?.primary ?? null;
    if (before !== null) this.remember(before.text, before.zone);
  }

  private get nowMs(): number {
    return this.around.clock.nowMs();
  }

  /** Nobody but the file says where it is. */
  followConfig(): void {
    const { name, address, addressText, zone } = this.server;
    if (address === null) return;
    const primary = { address, text: addressText, zone };
    this.state = { server: name, term: 0, primary, replicas: [], cause: "start", why: "" };
    this.primaryText = addressText;
    this.told = null;
    this.plan(0);
  }

  /** Whoever knows says where it is now. */
  follow(state: ServerState): void {
    if (this.stopped) return;
    const before = this.primaryText;
    this.state = state;
    // While it waits for another, they still are the old one's.
    if (state.waitMs === undefined) this.primaryText = state.primary?.text;
    for (const spec of state.replicas) this.name(spec);
    // Whoever was the primary may come back as a replica.
    const { address, addressText, zone } = this.server;
    if (address !== null) this.name({ address, text: addressText, zone });
    if (before !== this.primaryText) {
      if (before !== undefined && !this.candidates.has(before)) this.zonesSaid.delete(before);
      this.primary.clear();
      this.primaryAsker?.close();
      this.primaryAsker = null;
      // What is being asked says nothing of whom they follow now.
      this.serial++;
      this.open = 0;
      // Those of the old primary have data that the new one may never have had: they have to say first whom they follow.
      if (before !== undefined) {
        for (const each of this.candidates.values()) {
          each.well = false;
          each.wrong = null;
        }
      }
    }
    this.say(state.cause);
    this.look();
  }

  /** Something has been seen of it. */
  look(): void {
    if (this.open > 0) this.again = true;
    else this.plan(Math.max(0, this.roundAtMs + HINTED_MS - this.nowMs));
  }

  /** In the order of the states. */
  health(): readonly ReplicaHealth[] {
    return this.inOrder().map(({ spec, well, wrong, lagBytes, lagMs }) => ({
      address: spec.text,
      well,
      why: wrong ?? "",
      lagBytes,
      lagMs,
    }));
  }

  stop(): void {
    this.stopped = true;
    if (this.timer !== null) this.around.clock.clearTimer(this.timer);
    this.primaryAsker?.close();
    for (const { asker } of this.candidates.values()) asker.close();
  }

  private plan(afterMs: number): void {
    if (this.stopped) return;
    if (this.timer !== null) this.around.clock.clearTimer(this.timer);
    this.timer = this.around.clock.setTimer(afterMs, () => {
      this.timer = null;
      this.begin();
    });
  }

  // ---- a round of questions

  private begin(): void {
    const serial = ++this.serial;
    this.again = false;
    this.roundAtMs = this.nowMs;
    this.open = 1;
    // The replicas not before: what they have come to is compared with what it says.
    this.askPrimary(serial, () => {
      for (const each of this.candidates.values()) {
        if (each.spec.text === this.state?.primary?.text) continue;
        this.open++;
        each.asker.info(this.sections, (text) => {
          if (serial !== this.serial || this.stopped) return;
          this.heard(each, this.read(each.spec, text));
          this.answered();
        });
      }
      this.answered();
    });
  }

  private answered(): void {
    if (--this.open > 0) return;
    this.forget();
    if (this.untold !== "") this.say(this.untold);
    // Drawn, so that many proxies do not ask in step.
    const nextMs = this.again ? HINTED_MS : ROUND_MS * (0.9 + this.around.random() / 5);
    this.plan(Math.max(0, this.roundAtMs + nextMs - this.nowMs));
  }

  private askPrimary(serial: number, done: () => void): void {
    const primary = this.state?.primary ?? null;
    if (primary === null) {
      this.primary.silent();
      return done();
    }
    const asker = this.primaryAsker ??= this.dial(primary.address, primary.text);
    asker.info(this.sections, (text) => {
      if (serial !== this.serial || this.stopped) return;
      const said = this.read(primary, text);
      if (said === null || !said.master || said.loading) this.primary.silent();
      else {
        this.primary.said(said, this.roundAtMs);
        this.learn(said.replicas);
      }
      done();
    });
  }

  /** What one of them has answered, and with it where it stands. */
  private read(spec: EndpointSpec, text: string | null): ServerSaid | null {
    if (text === null) return null;
    const fields = fieldsIn(text);
    if (this.sections === SECTIONS_NEAREST) {
      const before = this.zoned(spec).zone;
      this.remember(spec.text, fields.get("availability_zone") ?? null);
      const { zone } = this.zoned(spec);
      if (zone !== before) this.say(`${spec.text} stands in ${zone === null ? "no zone" : `zone ${zone}`}`);
    }
    return saidIn(fields);
  }

  private remember(text: string, zone: string | null): void {
    if (zone !== null && ZONE.test(zone)) this.zonesSaid.set(text, zone);
    else this.zonesSaid.delete(text);
  }

  /** By the file first, then by their own word. */
  private zoned(spec: EndpointSpec): EndpointSpec {
    const { around, server, zonesSaid } = this;
    const zone = spec.zone ?? zoneOf(around.zones ?? [], spec.address) ?? zonesSaid.get(spec.text) ??
      (server.master === null ? null : server.zone);
    return zone === spec.zone ? spec : { ...spec, zone };
  }

  /** If it has no replicas by the file or by sentinels, it is asked itself. */
  private learn(replicas: readonly string[]): void {
    if (this.server.replicas.length > 0 || (this.state?.replicas.length ?? 0) > 0) return;
    for (const text of replicas) {
      const read = makeServer(text, null, 1);
      if (!("value" in read) || read.value.address === null) continue;
      this.name({ address: read.value.address, text: read.value.addressText, zone: null });
    }
  }

  /** @param said null: it does not answer */
  private heard(candidate: Candidate, said: ServerSaid | null): void {
    const wrong = judge(said, this.primary, this.around.pool.maxLag, this.nowMs);
    // Offsets of another history, or of a primary of which nothing is known, say nothing.
    const comparable = said !== null && !said.master && said.offset >= 0 && this.primary.isOf(said.history) &&
      this.primary.known;
    candidate.lagBytes = comparable ? this.primary.behindBytes(said.offset) : -1;
    candidate.lagMs = comparable ? this.primary.behindMs(said.offset, this.nowMs) : -1;
    if (wrong === null) this.pass(candidate);
    else this.fail(candidate, wrong);
  }

  // ---- who is well

  private pass(candidate: Candidate): void {
    candidate.wellRounds++;
    if (candidate.well) {
      if (this.nowMs - candidate.wellSinceMs > FORGIVEN_MS) candidate.proof = PROVE_FIRST;
      return;
    }
    // One that has never failed needs no proof.
    if (candidate.proof > 0 && candidate.wellRounds < candidate.proof) return;
    candidate.well = true;
    candidate.wellSinceMs = this.nowMs;
    candidate.wrong = null;
    this.changed(candidate, "is well");
  }

  private fail(candidate: Candidate, wrong: string): void {
    const news = candidate.well || candidate.wrong === null;
    candidate.wellRounds = 0;
    candidate.wrong = wrong;
    if (candidate.well) {
      candidate.well = false;
      candidate.proof = Math.min(PROVE_MAX, Math.max(PROVE_FIRST, candidate.proof * 2));
    }
    if (news && candidate.spec.text !== this.state?.primary?.text) this.changed(candidate, wrong);
  }

  private changed({ spec, well }: Candidate, what: string): void {
    const { around, server } = this;
    const how = well ? "is read from" : "is not read from";
    around.log.write(
      NOTICE,
      `pool '${around.pool.name}' server '${server.name}': replica ${spec.text} ${how}: it ${what}`,
    );
    this.say(`replica ${spec.text} ${what}`);
  }

  private say(cause: string): void {
    const { state, told } = this;
    if (state === null || this.stopped) return;
    this.untold = "";
    const replicas = this.inOrder().filter(({ well }) => well).map(({ spec }) => this.zoned(spec));
    const primary = state.primary === null ? null : this.zoned(state.primary);
    const same = told !== null && told.term === state.term && textIn(told.primary) === textIn(primary) &&
      told.why === state.why && texts(told.replicas) === texts(replicas);
    if (same) return;
    this.told = { ...state, primary, replicas, cause };
    this.tell(this.told);
  }

  // ---- who there is

  /** All but who is the primary now. */
  private inOrder(): Candidate[] {
    return [...this.candidates.values()]
      .filter(({ spec }) => spec.text !== this.state?.primary?.text)
      .sort((a, b) => a.place - b.place || (a.spec.text < b.spec.text ? -1 : 1));
  }

  /** Somebody says that this is a replica of it. */
  private name(spec: EndpointSpec, well = false): void {
    const known = this.candidates.get(spec.text);
    if (known !== undefined) {
      known.namedAtMs = this.nowMs;
      known.well ||= well;
      return;
    }
    if (this.candidates.size >= REPLICAS_MAX) return;
    const at = this.server.replicas.findIndex(({ text }) => text === spec.text);
    const candidate: Candidate = {
      spec: at === -1 ? spec : this.server.replicas[at]!,
      asker: this.dial(spec.address, spec.text),
      place: at === -1 ? REPLICAS_MAX : at,
      well,
      wrong: null,
      lagBytes: -1,
      lagMs: -1,
      wellRounds: 0,
      proof: 0,
      wellSinceMs: this.nowMs,
      namedAtMs: this.nowMs,
    };
    this.candidates.set(spec.text, candidate);
  }

  private forget(): void {
    for (const [text, { well, namedAtMs, asker, place }] of this.candidates) {
      if (well || place < REPLICAS_MAX || this.nowMs - namedAtMs < UNNAMED_MS) continue;
      if (this.state?.replicas.some((spec) => spec.text === text)) continue;
      asker.close();
      this.candidates.delete(text);
      this.zonesSaid.delete(text);
    }
  }
}

/** Can what was known to be a replica still be one, by the configuration? Sentinels and primaries name others than that does. */
function mayKnow(
  { cluster, failover }: KeptPool,
  { replicas, addressText }: ServerConfig,
  text: string,
): boolean {
  if (failover === "sentinel" || !cluster && replicas.length === 0) return true;
  return text === addressText || replicas.some((replica) => replica.text === text);
}

function texts(specs: readonly EndpointSpec[]): string {
  return specs.map(textIn).join(" ");
}

/** With where it stands. */
function textIn(spec: EndpointSpec | null): string {
  return spec === null ? "" : `${spec.text}@${spec.zone ?? ""}`;
}

/** Asks over a connection that is made when there is something to ask, and again when it is lost. */
class LinkAsker implements Asker {
  private link: RedisLink | null = null;

  constructor(private readonly around: KeeperAround, private readonly address: Address) {}

  info(sections: readonly string[], told: (text: string | null) => void): void {
    const link = this.link ??= this.connect();
    const texts: string[] = [];
    let failed = false;
    for (const section of sections) {
      link.ask(["INFO", section], (answer) => {
        if (failed) return;
        failed = typeof answer !== "string";
        if (typeof answer !== "string") return told(null);
        texts.push(answer);
        if (texts.length === sections.length) told(texts.join(""));
      });
    }
  }

  private connect(): RedisLink {
    const { net, clock, pool } = this.around;
    const link = new RedisLink({
      net,
      clock,
      address: this.address,
      auth: serverAuth(pool),
      resp3: false,
      connectMs: ANSWER_MS,
      answerMs: ANSWER_MS,
      lost: () => {
        if (this.link === link) this.link = null;
      },
    });
    return link;
  }

  close(): void {
    this.link?.close();
    this.link = null;
  }
}

/** Asks real servers. */
export function dialLinks(around: KeeperAround): Dial {
  return (address) => new LinkAsker(around, address);
}
