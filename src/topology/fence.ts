/**
 * A fence around one member: a connection that listens to FENCE_CHANNEL there. While it stands, what the member says of whom it follows
 * counts for nobody; when it has stood for FENCE_MS, the member may be told on this very connection to follow another.
 *
 *   dial, HELLO 3 ──► SUBSCRIBE ──► PUBSUB NUMSUB = 1 ──► held ──FENCE_MS──► REPLICAOF … ──► close
 *
 * Whoever comes second sees two and leaves. When the connection ends, for whatever reason, so does the fence, and what had not been
 * executed by then never is: a promoter that freezes and wakes up cannot do harm to a member whose fence has been broken.
 */
import type { Clock } from "../net/net.ts";
import type { Word } from "../protocol/redis/encode.ts";
import { ReplyError } from "../protocol/redis/value.ts";
import { ANSWER_MS, FENCE_CHANNEL, FENCE_NAME, type MemberAround } from "./member.ts";
import { type Answer, LinkLost, RedisLink } from "./redis_link.ts";
import type { EndpointSpec } from "./state.ts";
import { FENCE_MS } from "./votes.ts";

export class Fence {
  /** Since when it certainly stands; Infinity: it does not. */
  heldAtMs = Infinity;
  /** Why it does not and will not; null: it does, or may yet. */
  lost: string | null = null;
  private readonly link: RedisLink;
  private readonly clock: Clock;
  private readonly changed: () => void;

  /** @param changed it is held, or lost; later, once each at most */
  constructor(readonly spec: EndpointSpec, around: MemberAround, changed: () => void) {
    this.clock = around.clock;
    this.changed = changed;
    this.link = new RedisLink({
      ...around,
      address: spec.address,
      resp3: true,
      connectMs: ANSWER_MS,
      answerMs: ANSWER_MS,
      begun: () => this.raise(),
      lost: (why) => this.drop(why),
    });
  }

  get held(): boolean {
    return this.lost === null && this.heldAtMs < Infinity;
  }

  /** When its member may be told to follow another; Infinity: never. */
  get ripeAtMs(): number {
    return this.held ? this.heldAtMs + FENCE_MS : Infinity;
  }

  private raise(): void {
    this.link.ask(["CLIENT", "SETNAME", FENCE_NAME], () => {});
    this.link.subscribe([FENCE_CHANNEL], (answer) => {
      if (answer instanceof LinkLost) return;
      if (answer instanceof ReplyError) return this.drop(answer.text);
      this.count();
    }, () => {});
  }

  private count(): void {
    try {
      this.link.ask(["PUBSUB", "NUMSUB", FENCE_CHANNEL], (counts) => {
        if (counts instanceof LinkLost) return;
        if (counts instanceof ReplyError) return this.drop(counts.text);
        if (!Array.isArray(counts) || Number(counts[1]) !== 1) return this.drop(ANOTHER);
        this.heldAtMs = this.clock.nowMs();
        this.changed();
      });
    } catch {
      this.drop("it knows no RESP3 (Redis before 6)");
    }
  }

  /**
   * Says something to the member that changes whom it follows.
   * @param told its answer, later; not after `close`
   * @throws Error before the fence is ripe: nothing could be said of what proxies do then
   */
  command(words: readonly Word[], told: (answer: Answer) => void): void {
    if (this.clock.nowMs() < this.ripeAtMs) throw new Error("a member is told to follow before its time");
    this.link.ask(words, told);
  }

  /** A question that changes nothing. */
  ask(words: readonly Word[], told: (answer: Answer) => void): void {
    this.link.ask(words, told);
  }

  close(): void {
    this.lost ??= "it was taken down";
    this.link.close();
  }

  private drop(why: string): void {
    if (this.lost !== null) return;
    this.lost = why;
    this.link.close();
    this.changed();
  }
}

/** Why a fence does not stand, if somebody else's does. */
export const ANOTHER = "another proxy is at it";
