/**
 * One member of a replica set, and what it says of itself: whom it follows, whether it is fenced, how much it has.
 *
 *   link ── every POLL_MS: PUBSUB NUMSUB fence, INFO replication, server, persistence ──► said ──► owner
 *
 * The fence is asked before whom it follows: what decision 39 proves hangs on that order. An answer counts from when
 * it was asked, so that what came late is only older than it is.
 */
import type { Credentials } from "../config/config.ts";
import type { Clock, Net, TimerId } from "../net/net.ts";
import { type Answer, LinkLost, RedisLink } from "./redis_link.ts";
import { fieldsIn, saidIn, type ServerSaid } from "./replica_health.ts";
import type { EndpointSpec } from "./state.ts";

/** Whoever listens to it on a member keeps that member's word from counting, and may change whom it follows. */
export const FENCE_CHANNEL = "__ringmaster__:fence";
/** Name of the connection that does. */
export const FENCE_NAME = "ringmaster-fence";

/** Between the beginnings of two questions. */
const POLL_MS = 500;
/** The same while something is wrong. */
const HURRIED_MS = 150;
/** A member that has not answered after so long does not. */
export const ANSWER_MS = 1000;
/** A fence that stands for so long was left by somebody who does not go on: longer than any promotion takes. */
const FENCE_STALE_MS = 15_000;

export interface MemberSaid {
  readonly info: ServerSaid;
  /** Whom it follows, "host:port" as it was told; null: it is a primary. */
  readonly follows: string | null;
  /** The history it belonged to before its present one. */
  readonly before: string;
  /** 0 = it is never to be promoted. */
  readonly priority: number;
  readonly uptimeMs: number;
  /** Where it listens; 0 = not said. */
  readonly port: number;
  /** Which process it is: no two have the same; "" = not said. */
  readonly runId: string;
  /** Somebody is about to change whom it follows. */
  readonly fenced: boolean;
}

export interface MemberAround {
  readonly net: Net;
  readonly clock: Clock;
  readonly random: () => number;
  readonly auth: Credentials | null;
}

/** A connection to a member, and who is told of it: a keeper hands it on to the next one. */
interface Line {
  readonly link: RedisLink;
  owner: Member;
}

export class Member {
  /** What it has answered last, and when that was asked; the second time also counts what this process was stopped for (Clock.realMs). */
  said: MemberSaid | null = null;
  askedAtMs = -Infinity;
  askedAtRealMs = -Infinity;
  /** When it was last seen that its process may be another one since, as Clock.realMs has it; -Infinity: never. */
  endedAtRealMs = -Infinity;
  /** It has answered the last question. */
  answers = false;
  /** Why it does not; null before the first question, and while it does. */
  wrong: string | null = null;
  /** Questions in a row without an answer. */
  failures = 0;
  /** The address at which it answered, "ip:port"; "" before. */
  peer = "";
  /** What the others call it, as far as that is sure; null: nothing but its text. */
  calledBy: string | null = null;
  /** Since when it is fenced, as far as is known; null: it is not. */
  fencedSinceMs: number | null = null;
  private line: Line | null = null;
  private timer: TimerId | null = null;
  private pollAtMs = -Infinity;
  private asking = false;
  private stopped = false;

  /** @param told it has answered, or has not */
  constructor(
    readonly spec: EndpointSpec,
    private readonly around: MemberAround,
    private readonly told: () => void,
  ) {}

  start(): void {
    this.plan(0);
  }

  stop(): void {
    this.stopped = true;
    if (this.timer !== null) this.around.clock.clearTimer(this.timer);
    this.line?.link.close();
  }

  /**
   * Goes on from what another keeper's knows of the same server, which is to be stopped then.
   * @param withLine with its connection too: without it nobody knows whether the process at the other end is still the same until that has
   * answered. Only if a new one would be made in the same way
   */
  inherit(before: Member, withLine: boolean): void {
    this.said = before.said;
    this.askedAtMs = before.askedAtMs;
    this.askedAtRealMs = before.askedAtRealMs;
    this.endedAtRealMs = before.endedAtRealMs;
    this.answers = before.answers;
    this.wrong = before.wrong;
    this.failures = before.failures;
    this.peer = before.peer;
    this.calledBy = before.calledBy;
    this.fencedSinceMs = before.fencedSinceMs;
    if (!withLine || before.line === null) return;
    this.line = before.line;
    this.line.owner = this;
    before.line = null;
  }

  /** It should be asked now, or soon. */
  look(): void {
    if (this.asking || this.stopped) return;
    this.plan(Math.max(0, this.pollAtMs + HURRIED_MS - this.around.clock.nowMs()));
  }

  /** Its replicas are told to follow this. */
  get name(): string {
    return this.calledBy ?? this.spec.text;
  }

  private get realMs(): number {
    const { clock } = this.around;
    return clock.realMs?.() ?? clock.nowMs();
  }

  private plan(afterMs: number): void {
    if (this.stopped) return;
    const { clock } = this.around;
    if (this.timer !== null) clock.clearTimer(this.timer);
    this.timer = clock.setTimer(afterMs, () => {
      this.timer = null;
      this.poll();
    });
  }

  private poll(): void {
    const { link } = this.line ??= this.connect();
    const { clock } = this.around;
    const atMs = this.pollAtMs = clock.nowMs();
    const { realMs } = this;
    this.asking = true;
    const answers: Answer[] = [];
    const take = (answer: Answer) => {
      if (answer instanceof LinkLost || this.stopped) return;
      answers.push(answer);
      if (answers.length === QUESTIONS.length) this.answered(answers, atMs, realMs);
    };
    for (const words of QUESTIONS) link.ask(words, take);
  }

  private answered([fences, ...infos]: readonly Answer[], atMs: number, realMs: number): void {
    this.asking = false;
    const said = readMember(fences, infos);
    if (typeof said === "string") return this.failed(said);
    if (this.said !== null && this.said.runId !== said.runId) this.endedAtRealMs = realMs;
    this.said = said;
    this.askedAtMs = atMs;
    this.askedAtRealMs = realMs;
    if (this.line !== null) this.peer = this.line.link.peer;
    this.answers = true;
    this.wrong = null;
    this.failures = 0;
    if (!said.fenced) this.fencedSinceMs = null;
    else this.fencedSinceMs ??= atMs;
    this.again(said.fenced || said.info.loading ? HURRIED_MS : POLL_MS);
    this.told();
  }

  private failed(why: string): void {
    this.asking = false;
    this.answers = false;
    this.wrong = why;
    this.failures++;
    this.again(HURRIED_MS);
    this.told();
  }

  /** Drawn, so that many proxies do not ask in step. */
  private again(ms: number): void {
    const nextMs = this.pollAtMs + ms * (0.9 + this.around.random() / 5);
    this.plan(Math.max(0, nextMs - this.around.clock.nowMs()));
  }

  private connect(): Line {
    const line: Line = {
      owner: this,
      link: new RedisLink({
        ...this.around,
        address: this.spec.address,
        resp3: false,
        connectMs: ANSWER_MS,
        answerMs: ANSWER_MS,
        lost: (why, ended) => line.owner.lost(line, why, ended),
      }),
    };
    return line;
  }

  private lost(line: Line, why: string, ended: boolean): void {
    if (this.line !== line) return;
    this.line = null;
    if (ended) this.endedAtRealMs = this.realMs;
    // One that was lost at rest is found out about by the next question.
    if (this.asking) return this.failed(why);
    this.look();
    if (ended) this.told();
  }

  /**
   * Throws out whoever has fenced it and does not go on, by its own clock and by ours. Nothing that such a one has yet to say on that
   * connection happens any more.
   */
  breakFence(told: (id: string) => void): void {
    const link = this.line?.link ?? null;
    const nowMs = this.around.clock.nowMs();
    if (link === null || this.fencedSinceMs === null || nowMs - this.fencedSinceMs < FENCE_STALE_MS) return;
    this.fencedSinceMs = nowMs;
    link.ask(["CLIENT", "LIST", "TYPE", "pubsub"], (answer) => {
      if (typeof answer !== "string") return;
      for (const line of answer.split("\n")) {
        const id = /\bid=(\d+)/.exec(line)?.[1];
        const age = Number(/\bage=(\d+)/.exec(line)?.[1]);
        if (id === undefined || !line.includes(` name=${FENCE_NAME} `) || !(age * 1000 >= FENCE_STALE_MS)) {
          continue;
        }
        link.ask(["CLIENT", "KILL", "ID", id], () => {});
        told(id);
      }
    });
  }
}

const QUESTIONS: readonly (readonly string[])[] = [
  ["PUBSUB", "NUMSUB", FENCE_CHANNEL],
  ["INFO", "replication"],
  ["INFO", "server"],
  ["INFO", "persistence"],
];

/** What its answers mean; else why they mean nothing. */
export function readMember(fences: Answer | undefined, infos: readonly Answer[]): MemberSaid | string {
  if (!Array.isArray(fences)) return `PUBSUB NUMSUB is refused: ${textOf(fences)}`;
  const refused = infos.find((answer) => typeof answer !== "string");
  if (refused !== undefined) return `INFO is refused: ${textOf(refused)}`;
  const fields = fieldsIn(infos.join(""));
  const info = saidIn(fields);
  if (info === null) return "INFO says nothing of replication";
  const number = (name: string, absent: number) => {
    const value = Number(fields.get(name) ?? "x");
    return Number.isFinite(value) ? value : absent;
  };
  const host = fields.get("master_host") ?? "";
  return {
    info,
    follows: info.master ? null : nameOf(host, number("master_port", 0)),
    before: fields.get("master_replid2") ?? "",
    priority: number("slave_priority", number("replica_priority", 100)),
    uptimeMs: number("uptime_in_seconds", 0) * 1000,
    port: number("tcp_port", 0),
    runId: fields.get("run_id") ?? "",
    fenced: Number(fences[1]) > 0,
  };
}

function textOf(answer: Answer | undefined): string {
  if (answer instanceof LinkLost) return answer.why;
  return typeof answer === "object" && answer !== null && "text" in answer
    ? answer.text
    : JSON.stringify(answer);
}

/** "host:port"; IPv6 in brackets. */
export function nameOf(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** The port of "host:port". */
export function portIn(name: string): number {
  return Number(name.slice(name.lastIndexOf(":") + 1));
}

/** The two of "host:port", as a command wants them. */
export function hostAndPort(name: string): [string, string] {
  const colon = name.lastIndexOf(":");
  return [name.slice(0, colon).replace(/^\[(.*)\]$/, "$1"), name.slice(colon + 1)];
}
