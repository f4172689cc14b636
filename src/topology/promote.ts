/**
 * The keeper that needs no sentinel: a server and its replicas are a set whose majority says where the primary is, and if that one is
 * gone, this proxy makes the best replica the primary.
 *
 *   Member (one each) ──words──► leaveOf ──► state: the primary, or nobody when a majority's word has run out
 *                                   └─ no healthy primary for DOWN_MS ──► Promotion   (promoter: true)
 *                                   └─ a member that follows another  ──► Repair      (promoter: true)
 *
 * Why no two proxies can write to two primaries is in decision 39; what has to be so for it is in votes.ts and fence.ts. Everything here
 * is about when to try, and what to say.
 */
import type { ServerConfig } from "../config/config.ts";
import { NOTICE, WARN } from "../net/log.ts";
import type { TimerId } from "../net/net.ts";
import { LEASE_MS } from "../stats/board.ts";
import { ANOTHER, Fence } from "./fence.ts";
import type { KeeperAround } from "./keepers.ts";
import { hostAndPort, Member, type MemberAround, portIn } from "./member.ts";
import { Promotion, whyOf } from "./promotion.ts";
import { serverAuth } from "./redis_link.ts";
import type { EndpointSpec, Keeper, ServerState, Sign } from "./state.ts";
import {
  FENCE_MS,
  leaveOf,
  majorityOf,
  placeOf,
  strangersOf,
  twinOf,
  UPTIME_MIN_MS,
  voteOf,
} from "./votes.ts";

/** A word that is older does not say how things are now. */
const FRESH_MS = 1500;
/** A primary that has been well is gone when it has not answered for so long, and so many questions. */
const DOWN_MS = 1000;
const DOWN_FAILURES = 3;
/** The same for one that says nothing at all, so that each question takes its time. */
const SILENT_MS = 2000;
/** One that never was: others may still be starting. */
const DOWN_FIRST_MS = 10_000;
/** Before the first attempt, drawn: one of many proxies is first. */
const JITTER_MS = 400;
/** Between two attempts; doubles, half of it drawn. */
const AGAIN_MS = 1000;
const AGAIN_TIMES_MAX = 8;
/** A member that follows another than the primary is told to after so long, and up to so much more. */
const STRAY_MS = 1500;
/** A fence that was seen so long ago explains why the primary is another one. */
const FENCE_SEEN_MS = 15_000;
/** What a keeper before this one has said holds for so long: what it leaves of FENCE_MS after LEASE_MS. */
const KNOWN_MS = 500;
/** Another reason why nobody may be written to is worth a line after so long. */
const WHY_EVERY_MS = 5000;

export class PromoteKeeper implements Keeper {
  private readonly sets: ReadonlyMap<string, ReplicaSet>;
  private changed: ((states: readonly ServerState[]) => void) | null = null;

  constructor(around: KeeperAround) {
    this.sets = new Map(
      around.pool.servers.map((server) => [
        server.name,
        new ReplicaSet(server, around, (state) => this.changed?.([state])),
      ]),
    );
  }

  start(changed: (states: readonly ServerState[]) => void): void {
    this.changed = changed;
    for (const set of this.sets.values()) set.start();
  }

  hint(server: string, sign: Sign): void {
    if (sign !== "replica failed") this.sets.get(server)?.look();
  }

  memory(): ReadonlyMap<string, ReplicaSet> {
    return this.sets;
  }

  stop(): void {
    this.changed = null;
    for (const set of this.sets.values()) set.stop();
  }

  /** Who may be written to at this moment, if it is known; for whoever checks. */
  primaryOf(server: string): string | null {
    return this.sets.get(server)?.primaryNow ?? null;
  }
}

/** One server of the pool. */
class ReplicaSet {
  readonly members: readonly Member[];
  private readonly memberAround: MemberAround;
  /** The last that had leave, by place; -1: none yet. */
  private primary = -1;
  /** Real ms (Clock.realMs). */
  private untilMs = -Infinity;
  private leaveTimer: TimerId | null = null;
  private term: number;
  private cause = "start";
  /** What has been told last, without its cause. */
  private told = "";
  /** When the log has last been told why nobody may be written to; -Infinity: somebody may. */
  private whySaidAtMs = -Infinity;
  /** Of the primary, when it was well. */
  private history: string | null = null;
  /** When it certainly was that. */
  private historyAtMs = -Infinity;
  /** When a majority and its primary were last seen to be well. */
  private wellAtMs: number;
  private hasBeenWell = false;
  /** When this proxy has seen a fence, or had one. */
  private fenceSeenAtMs = -Infinity;
  /** Another primary, made by nobody with a fence: since when it has been seen. */
  private unexplained: { readonly place: number; readonly sinceMs: number } | null = null;
  private promotion: Promotion | null = null;
  private attempts = 0;
  private nextAttemptMs = -Infinity;
  private readonly strays = new Map<number, number>();
  private readonly repairs = new Map<number, Repair>();
  /** Said once, until it is another. */
  private complaint = "";
  private timer: TimerId | null = null;
  private stopped = false;

  constructor(
    private readonly server: ServerConfig,
    private readonly around: KeeperAround,
    private readonly tell: (state: ServerState) => void,
  ) {
    const { net, clock, random, pool, known } = around;
    this.memberAround = { net, clock, random, auth: serverAuth(pool) };
    const own: EndpointSpec[] = server.address === null
      ? []
      : [{ address: server.address, text: server.addressText, zone: server.zone }];
    this.members = [...own, ...server.replicas].map((spec) =>
      new Member(spec, this.memberAround, () => this.judge())
    );
    this.term = known.get(server.name)?.term ?? 0;
    this.wellAtMs = clock.nowMs();
    const before = known.get(server.name)?.primary?.text;
    this.primary = this.members.findIndex(({ spec }) => spec.text === before);
    if (this.primary >= 0) this.untilMs = this.realMs + KNOWN_MS;
    const set = around.memory?.get(server.name) as ReplicaSet | undefined;
    if (set !== undefined) this.inherit(set);
  }

  /** Goes on from what the set of another keeper knows that members may not be able to tell this one; that one is to be stopped then. */
  private inherit(set: ReplicaSet): void {
    this.history = set.history;
    this.historyAtMs = set.historyAtMs;
    this.wellAtMs = set.wellAtMs;
    this.hasBeenWell = set.hasBeenWell;
    this.fenceSeenAtMs = set.fenceSeenAtMs;
    // Not KNOWN_MS from now: one reload after the other would make leave without end.
    this.untilMs = set.untilMs;
    const sameWay = set.way === this.way;
    for (const member of this.members) {
      const before = set.members.find(({ spec }) => spec.text === member.spec.text);
      if (before !== undefined) member.inherit(before, sameWay);
    }
  }

  /** How members are connected to: TLS and login. */
  private get way(): string {
    return JSON.stringify([this.around.pool.serverTls, this.memberAround.auth]);
  }

  start(): void {
    for (const member of this.members) member.start();
    if (this.primaryNow !== null) {
      this.waitForEnd();
      this.say();
    }
    this.tick();
  }

  /** Things also happen because nothing does. */
  private tick(): void {
    if (this.stopped) return;
    this.timer = this.around.clock.setTimer(250, () => {
      this.judge();
      this.tick();
    });
  }

  look(): void {
    for (const member of this.members) member.look();
  }

  stop(): void {
    this.stopped = true;
    this.promotion?.cancel();
    for (const repair of this.repairs.values()) repair.cancel();
    for (const member of this.members) member.stop();
    for (const timer of [this.timer, this.leaveTimer]) {
      if (timer !== null) this.around.clock.clearTimer(timer);
    }
  }

  get primaryNow(): string | null {
    return this.primary >= 0 && this.realMs < this.untilMs ? this.members[this.primary]!.spec.text : null;
  }

  private get nowMs(): number {
    return this.around.clock.nowMs();
  }

  /** For leaves, which end while this process is stopped as well: others count on that. */
  private get realMs(): number {
    const { clock } = this.around;
    return clock.realMs?.() ?? clock.nowMs();
  }

  // ---- what members say

  /** A member has answered, or has not. */
  private judge(): void {
    if (this.stopped) return;
    this.learnNames();
    if (this.members.some(({ said, answers }) => answers && said!.fenced)) this.fenceSeenAtMs = this.nowMs;
    this.grant();
    this.noteHealth();
    if (!this.around.pool.promoter) return;
    this.considerPromotion();
    this.considerRepairs();
    for (const member of this.members) {
      member.breakFence((id) => {
        this.warn(
          `fence ${id} around ${member.spec.text} was left by somebody who does not go on; it is broken`,
        );
      });
    }
  }

  private get voters() {
    return this.members.map(({ said, askedAtRealMs, endedAtRealMs, spec, peer }) => ({
      said,
      askedAtMs: askedAtRealMs,
      endedAtMs: endedAtRealMs,
      text: spec.text,
      peer,
    }));
  }

  /** What they call each other, where it is sure who is meant: a replica its primary, and a primary its replicas by their ports. */
  private learnNames(): void {
    const { voters, members } = this;
    voters.forEach(({ said }, place) => {
      const vote = said === null || said.follows === null ? -1 : voteOf(voters, place);
      if (vote >= 0) members[vote]!.calledBy = said!.follows;
    });
    for (const name of voters[this.primary]?.said?.info.replicas ?? []) {
      const place = placeOf(voters, portIn(name));
      if (place >= 0) members[place]!.calledBy ??= name;
    }
  }

  // ---- who may be written to

  private grant(): void {
    const ended = this.members[this.primary]?.endedAtRealMs ?? -Infinity;
    if (this.primaryNow !== null && this.untilMs - LEASE_MS < ended) {
      this.untilMs = ended;
      this.around.grant?.(this.server.name, 0);
      // It may be there again, or somebody else in its place.
      this.look();
    }
    const leave = leaveOf(this.voters);
    if (leave !== null && leave.untilMs > this.realMs && this.mayMove(leave.primary)) {
      const { primary } = leave;
      if (primary !== this.primary) {
        if (this.primary >= 0) this.term++;
        this.cause = this.primary < 0 ? "start" : `${this.countOf(primary)} follow it`;
        this.primary = primary;
      }
      this.untilMs = leave.untilMs;
      this.around.grant?.(this.server.name, leave.untilMs - this.realMs);
    }
    this.waitForEnd();
    this.say();
  }

  /**
   * Has everybody's leave for the primary before certainly run out? It has if the change was made behind fences, or if that one says
   * itself that it takes no writes; else somebody has done it by hand, and it has when FENCE_MS are over.
   */
  private mayMove(primary: number): boolean {
    if (this.primary < 0 || primary === this.primary) {
      this.unexplained = null;
      return true;
    }
    const before = this.members[this.primary]!;
    const fenced = this.nowMs - this.fenceSeenAtMs < FENCE_SEEN_MS;
    if (fenced || (this.isFresh(before) && before.said!.follows !== null)) return true;
    if (this.unexplained?.place !== primary) this.unexplained = { place: primary, sinceMs: this.nowMs };
    return this.nowMs - this.unexplained.sinceMs >= FENCE_MS;
  }

  private waitForEnd(): void {
    const { clock } = this.around;
    if (this.leaveTimer !== null) clock.clearTimer(this.leaveTimer);
    this.leaveTimer = null;
    const leftMs = this.untilMs - this.realMs;
    if (leftMs > 0) this.leaveTimer = clock.setTimer(leftMs + 1, () => this.say());
  }

  private say(): void {
    if (this.stopped) return;
    const { server, term } = this;
    const may = this.primaryNow !== null;
    // Nothing has been heard yet: nobody needs to know that.
    if (!may && this.primary < 0 && this.members.some(({ said, wrong }) => said === null && wrong === null)) {
      return;
    }
    const primary = may ? this.members[this.primary]!.spec : null;
    const replicas = this.members.filter((_, i) => i !== this.primary).map(({ spec }) => spec);
    const why = may ? "" : this.whyNobody();
    const told = `${term} ${primary?.text} ${why}`;
    if (told === this.told) return;
    this.told = told;
    // Clients read why it is now; the log has what it was at first, and what it is when that lasts.
    if (may) this.whySaidAtMs = -Infinity;
    else if (this.nowMs - this.whySaidAtMs >= WHY_EVERY_MS) {
      this.whySaidAtMs = this.nowMs;
      this.warn(`nobody may be written to: ${why}`);
    }
    this.tell({ server: server.name, term, primary, replicas, cause: this.cause, why });
  }

  private whyNobody(): string {
    const words = this.members.map((member, i) => {
      const { text } = member.spec;
      if (!this.isFresh(member)) return `${text}: ${member.wrong ?? "has not answered yet"}`;
      const twin = twinOf(this.voters, i);
      if (twin >= 0) return `${text} is the same server as ${this.members[twin]!.spec.text}`;
      if (member.said!.fenced) return `${text} is fenced`;
      if (member.said!.uptimeMs < UPTIME_MIN_MS) return `${text} has just started`;
      const vote = voteOf(this.voters, i);
      const whom = vote < 0 ? member.said!.follows : this.members[vote]!.spec.text;
      const before = vote >= 0 && member.askedAtRealMs < this.members[vote]!.endedAtRealMs;
      return (vote === i ? `${text} is a primary` : `${text} follows ${whom}`) +
        (before ? ", asked before that one's connection ended" : "");
    });
    return `no majority of its ${this.members.length} members follows one primary (${words.join(", ")})`;
  }

  private countOf(primary: number): string {
    const count = this.members.filter((_, i) => voteOf(this.voters, i) === primary).length;
    return `${count} of ${this.members.length} members`;
  }

  // ---- how it is

  private isFresh({ said, askedAtMs }: Member): boolean {
    return said !== null && this.nowMs - askedAtMs < FRESH_MS;
  }

  /** What is wrong if two members are one server, by whatever names; else "". */
  private get twins(): string {
    const { voters, members } = this;
    const other = members.findIndex((_, i) => twinOf(voters, i) >= 0);
    if (other < 0) return "";
    const one = members[twinOf(voters, other)]!;
    return `${one.spec.text} and ${members[other]!.spec.text} are one server: nobody can be promoted`;
  }

  /** What is wrong if the primary has replicas that the file does not name; else "". */
  private strangersOf(primary: number): string {
    const strangers = strangersOf(this.voters, primary);
    if (strangers.length === 0) return "";
    return `its primary has replicas that are not named (${
      strangers.join(", ")
    }): where proxies do not name the same members, ` +
      "two of them may promote, and write to two primaries";
  }

  /** The primary that a majority follows, if it answers itself; else -1. */
  private get well(): number {
    const voters = this.voters;
    const votes = this.members.map((member, i) => this.isFresh(member) ? voteOf(voters, i) : -1);
    return this.members.findIndex((member, place) =>
      member.answers && votes[place] === place &&
      votes.filter((vote) => vote === place).length >= majorityOf(votes.length)
    );
  }

  private noteHealth(): void {
    const { well } = this;
    if (well < 0) return this.noteHistory();
    const { said, askedAtMs } = this.members[well]!;
    this.wellAtMs = askedAtMs;
    this.hasBeenWell = true;
    if (said!.info.history !== "") {
      this.history = said!.info.history;
      this.historyAtMs = askedAtMs;
    }
    // Said while all is well: who waits for a failure to learn that nobody can take over learns it too late.
    const { twins } = this;
    this.complain(twins !== "" ? twins : this.strangersOf(well));
    // Another one is well as soon as it has been promoted.
    if (well === this.primary) this.giveUp(`${this.members[well]!.spec.text} answers again`);
  }

  /** A primary that we cannot reach may have begun another history: a replica that has heard of it since has that. */
  private noteHistory(): void {
    if (this.primary < 0) return;
    this.members.forEach((member, i) => {
      const { said, askedAtMs, answers } = member;
      if (i === this.primary || !answers || voteOf(this.voters, i) !== this.primary) return;
      const { linked, syncing, ioAgeMs, history } = said!.info;
      // Said in whole seconds, rounded down.
      const heardAtMs = askedAtMs - ioAgeMs - 1000;
      if (!linked || syncing || ioAgeMs < 0 || history === "" || heardAtMs <= this.historyAtMs) return;
      this.history = history;
      this.historyAtMs = heardAtMs;
    });
  }

  private giveUp(why: string): void {
    if (this.promotion === null) return;
    this.promotion.cancel();
    this.promotion = null;
    this.attempts = 0;
    this.log(`${why}: nobody is promoted`);
  }

  // ---- promotion

  private considerPromotion(): void {
    const { well, nowMs } = this;
    const goneMs = nowMs - this.wellAtMs;
    if (this.promotion !== null) {
      const hearing = this.whoHears(goneMs);
      if (hearing !== null) this.giveUp(`${hearing.spec.text} hears its primary`);
      return;
    }
    if (well >= 0) {
      this.attempts = 0;
      this.nextAttemptMs = -Infinity;
      return;
    }
    const twins = this.twins;
    if (twins !== "") return this.complain(twins);
    if (goneMs < (this.hasBeenWell ? DOWN_MS : DOWN_FIRST_MS)) return;
    const gone = this.members[this.primary];
    if (gone !== undefined && !gone.answers && gone.failures < DOWN_FAILURES && goneMs < SILENT_MS) return;
    if (this.members.filter((member) => this.isFresh(member)).length < majorityOf(this.members.length)) {
      return this.complain("no majority of its members can be reached: nobody can be promoted");
    }
    const hearing = this.whoHears(goneMs);
    if (hearing !== null) {
      return this.complain(
        `its primary cannot be reached from here, but ${hearing.spec.text} hears it: it stays`,
      );
    }
    const stranger = this.stranger;
    if (stranger !== null) {
      return this.complain(
        `most of its members follow ${stranger}, which is none of them, and hear it: nobody is promoted`,
      );
    }
    if (this.nextAttemptMs === -Infinity) {
      this.nextAttemptMs = nowMs + JITTER_MS * this.around.random();
    }
    if (
      nowMs < this.nextAttemptMs || this.members.some((member) => this.isFresh(member) && member.said!.fenced)
    ) {
      return;
    }
    this.attempt();
  }

  /** Whom a majority follows and hears, if that is no member: the file names another server than it should. null: nobody. */
  private get stranger(): string | null {
    const followed = this.members.flatMap((member, i) =>
      this.isFresh(member) && member.said!.info.linked && voteOf(this.voters, i) < 0
        ? [member.said!.follows]
        : []
    );
    const count = (name: string | null) => followed.filter((each) => each === name).length;
    return followed.find((name) => count(name) >= majorityOf(this.members.length)) ?? null;
  }

  /** A replica that has heard of the primary since we have lost it. */
  private whoHears(goneMs: number): Member | null {
    const primary = this.members[this.primary];
    // One that answers, and is no primary any more, is not lost.
    if (primary === undefined || primary.answers && this.isFresh(primary)) return null;
    return this.members.find((member, i) => {
      if (!this.isFresh(member) || voteOf(this.voters, i) !== this.primary || i === this.primary) {
        return false;
      }
      const { linked, ioAgeMs } = member.said!.info;
      // Said in whole seconds, rounded down, and some time ago; and it may have gone just before the first question it left open.
      const heardMs = ioAgeMs + 1000 + (this.nowMs - member.askedAtMs);
      return linked && ioAgeMs >= 0 && heardMs < goneMs - 1000;
    }) ?? null;
  }

  private attempt(): void {
    const gone = this.members[this.primary]?.spec.text;
    this.warn(
      `${
        gone === undefined ? "it has no primary" : `its primary ${gone} is gone`
      }: a replica is to be promoted`,
    );
    const wait = AGAIN_MS * Math.min(2 ** this.attempts++, AGAIN_TIMES_MAX);
    const again = () => {
      this.promotion = null;
      this.nextAttemptMs = this.nowMs + wait / 2 + this.around.random() * wait / 2;
      this.look();
    };
    this.fenceSeenAtMs = this.nowMs;
    this.promotion = new Promotion(this.members, this.history, this.memberAround, {
      promoted: (place, followers) => {
        again();
        this.fenceSeenAtMs = this.nowMs;
        const { text } = this.members[place]!.spec;
        this.around.event("promoted", this.server.name, `${text} in place of ${gone ?? "nobody"}`);
        for (const follower of followers) this.followed(follower, place);
      },
      failed: (why, crowded) => {
        again();
        if (crowded) this.attempts--;
        this.warn(`nobody has been promoted: ${why}`);
      },
    });
  }

  private followed(place: number, primary: number): void {
    const [member, of] = [place, primary].map((each) => this.members[each]!.spec.text);
    this.around.event("followed", this.server.name, `${member} is told to follow ${of}`);
  }

  // ---- members that follow another one

  private considerRepairs(): void {
    const { primary, nowMs } = this;
    const may = this.primaryNow !== null && this.well === primary && this.promotion === null;
    const voters = this.voters;
    this.members.forEach((member, place) => {
      const astray = may && place !== primary && this.isFresh(member) && voteOf(voters, place) !== primary;
      if (!astray) return void this.strays.delete(place);
      if (this.repairs.has(place)) return;
      const sinceMs = this.strays.get(place) ?? nowMs + STRAY_MS * this.around.random();
      this.strays.set(place, sinceMs);
      if (nowMs - sinceMs < STRAY_MS || member.said!.fenced) return;
      this.repair(place);
    });
  }

  private repair(place: number): void {
    this.strays.delete(place);
    const { spec } = this.members[place]!;
    const still = () =>
      !this.stopped && this.primaryNow !== null && this.well === this.primary && place !== this.primary;
    const words = () => ["REPLICAOF", ...hostAndPort(this.members[this.primary]!.name)];
    const told = (wrong: string | null) => {
      this.repairs.delete(place);
      if (this.stopped) return;
      if (wrong === null) this.followed(place, this.primary);
      else if (wrong !== ANOTHER) {
        this.warn(`${spec.text} follows another, and is not told to follow the primary: ${wrong}`);
      }
    };
    this.repairs.set(place, new Repair(spec, this.memberAround, still, words, told));
  }

  // ---- for people

  private get prefix(): string {
    return `pool '${this.around.pool.name}' server '${this.server.name}'`;
  }

  private warn(text: string): void {
    this.around.log.write(WARN, `${this.prefix}: ${text}`);
  }

  private log(text: string): void {
    this.around.log.write(NOTICE, `${this.prefix}: ${text}`);
  }

  private complain(text: string): void {
    if (text === this.complaint) return;
    this.complaint = text;
    if (text !== "") this.warn(text);
  }
}

/** Tells one member to follow the primary, behind a fence of its own. */
class Repair {
  private readonly fence: Fence;
  private timer: TimerId | null = null;

  constructor(
    spec: EndpointSpec,
    private readonly around: MemberAround,
    private readonly still: () => boolean,
    private readonly words: () => readonly string[],
    private readonly done: (wrong: string | null) => void,
  ) {
    this.fence = new Fence(spec, around, () => this.look());
  }

  private look(): void {
    const { fence, around: { clock } } = this;
    if (!fence.held) return this.end(fence.lost);
    this.timer = clock.setTimer(Math.max(0, fence.ripeAtMs - clock.nowMs()) + 1, () => this.say());
  }

  private say(): void {
    if (!this.still()) return this.end("there is no primary to follow any more");
    this.fence.command(this.words(), (answer) => {
      if (typeof answer !== "string" || !answer.startsWith("OK")) return this.end(whyOf(answer));
      this.fence.ask(["CONFIG", "REWRITE"], () => this.end(null));
    });
  }

  cancel(): void {
    if (this.timer !== null) this.around.clock.clearTimer(this.timer);
    this.fence.close();
  }

  private end(wrong: string | null): void {
    this.cancel();
    this.done(wrong);
  }
}
