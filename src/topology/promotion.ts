/**
 * One attempt to give a replica set another primary, from the first fence to the last REPLICAOF.
 *
 *   fences around all that can be reached ──FENCE_MS──► who has most? ──► REPLICAOF NO ONE ──► the others: REPLICAOF it ──► fences down
 *                 └─ no majority, or another proxy's ─► given up             └─ it does not answer ─► given up
 *
 * It may be given up, or die, at any point: then no majority follows anybody new, and the next attempt finds what there is.
 */
import type { TimerId } from "../net/net.ts";
import { ANOTHER, Fence } from "./fence.ts";
import { hostAndPort, type Member, type MemberAround, type MemberSaid, readMember } from "./member.ts";
import { type Answer, LinkLost } from "./redis_link.ts";
import { chosenOf, isOf, majorityOf, type Voter } from "./votes.ts";

/** So long fences may take to stand, ms. */
const GATHER_MS = 1500;

export interface PromotionOwner {
  /** It has been promoted, and a majority follows it, by place. @param followers told to, by place */
  promoted(place: number, followers: readonly number[]): void;
  /** Nobody has been, or not for a majority. @param crowded another proxy is at it */
  failed(why: string, crowded: boolean): void;
}

export class Promotion {
  private readonly fences: readonly Fence[];
  private readonly startedAtMs: number;
  private timer: TimerId | null = null;
  private over = false;
  private reading = false;

  /** @param history of the primary that is gone, if it is known */
  constructor(
    private readonly members: readonly Member[],
    private readonly history: string | null,
    private readonly around: MemberAround,
    private readonly owner: PromotionOwner,
  ) {
    this.startedAtMs = around.clock.nowMs();
    this.fences = members.map((member) => new Fence(member.spec, around, () => this.look()));
    this.wait(GATHER_MS);
  }

  /** It is not wanted any more. */
  cancel(): void {
    this.end();
  }

  private get majority(): number {
    return majorityOf(this.members.length);
  }

  private wait(ms: number): void {
    const { clock } = this.around;
    if (this.timer !== null) clock.clearTimer(this.timer);
    this.timer = clock.setTimer(ms, () => this.look());
  }

  /** Something has changed, or it is time. */
  private look(): void {
    if (this.over || this.reading) return;
    const nowMs = this.around.clock.nowMs();
    if (this.fences.some(({ lost }) => lost === ANOTHER)) return this.giveUp(ANOTHER);
    const held = this.fences.filter((fence) => fence.held);
    const open = this.fences.filter((fence) => fence.lost === null && !fence.held);
    const gathering = nowMs < this.startedAtMs + GATHER_MS && open.length > 0;
    if (held.length < this.majority) {
      if (held.length + open.length < this.majority || !gathering) {
        const lost = this.fences.flatMap(({ spec, lost }) => lost === null ? [] : [`${spec.text}: ${lost}`]);
        this.giveUp(
          [`${held.length} of ${this.members.length} members can be reached`, ...lost].join("; "),
        );
      }
      return;
    }
    if (gathering) return;
    for (const fence of open) fence.close();
    const ripeAtMs = Math.max(...held.map((fence) => fence.ripeAtMs));
    if (nowMs < ripeAtMs) return this.wait(ripeAtMs - nowMs + 1);
    this.read();
  }

  // ---- who it will be

  private read(): void {
    this.reading = true;
    const voters: Voter[] = this.members.map(({ spec, peer }) => ({
      said: null,
      askedAtMs: -Infinity,
      endedAtMs: -Infinity,
      text: spec.text,
      peer,
    }));
    let waiting = this.fences.filter((fence) => fence.held).length;
    this.fences.forEach((fence, place) => {
      if (!fence.held) return;
      this.askAll(fence, (answers) => {
        const said = answers === null ? "" : readMember(answers[0], answers.slice(1));
        if (typeof said !== "string") voters[place] = { ...voters[place]!, said };
        if (--waiting === 0) this.choose(voters);
      });
    });
  }

  private askAll(fence: Fence, told: (answers: readonly Answer[] | null) => void): void {
    const sections = ["replication", "server", "persistence"];
    const answers: Answer[] = [["", 0]];
    let lost = false;
    for (const section of sections) {
      fence.ask(["INFO", section], (answer) => {
        if (lost) return;
        lost = answer instanceof LinkLost;
        answers.push(answer);
        if (lost) told(null);
        else if (answers.length === 1 + sections.length) told(answers);
      });
    }
  }

  private choose(voters: readonly Voter[]): void {
    if (this.over) return;
    const places = voters.flatMap(({ said }, place) =>
      said !== null && this.fences[place]!.held ? [place] : []
    );
    if (places.length < this.majority) return this.giveUp("members have gone in the middle of it");
    const chosen = chosenOf(voters, places, this.history);
    if (typeof chosen === "string") return this.giveUp(chosen);
    const others = places.filter((place) => place !== chosen);
    const said = voters[chosen]!.said!;
    if (said.follows === null) return this.check(chosen, said, others);
    this.tell(chosen, ["REPLICAOF", "NO", "ONE"], (answer) => {
      if (answer !== "OK") {
        return this.giveUp(`${this.textOf(chosen)} is not to be promoted: ${whyOf(answer)}`);
      }
      this.check(chosen, said, others);
    });
  }

  /**
   * It says itself what it is now, and that it has what it was chosen for: all of another server's data may have come between the two,
   * and one that was a replica until then cannot be told to go back. Nobody follows it then, so nobody writes to it.
   */
  private check(chosen: number, before: MemberSaid, others: readonly number[]): void {
    this.fences[chosen]!.ask(["INFO", "replication"], (answer) => {
      if (this.over) return;
      const said = readMember(["", 0], [answer]);
      const name = this.textOf(chosen);
      if (typeof said === "string") return this.giveUp(`${name}, when it has been promoted: ${said}`);
      if (said.follows !== null) return this.giveUp(`${name} is no primary when it has been promoted`);
      if (!isOf(said, before.info.history) || said.info.offset < before.info.offset) {
        return this.giveUp(`${name} has lost the data it was to be promoted for`);
      }
      this.follow(chosen, others);
    });
  }

  /** It is over when all have saved it: one that starts again with its old vote may make a majority for whoever was the primary before. */
  private follow(chosen: number, others: readonly number[]): void {
    const followers: number[] = [];
    let waiting = 1 + others.length;
    const done = () => {
      if (--waiting > 0 || this.over) return;
      if (1 + followers.length < this.majority) {
        return this.giveUp(`no majority follows ${this.textOf(chosen)}`);
      }
      this.end();
      this.owner.promoted(chosen, followers);
    };
    this.save(chosen, done);
    for (const place of others) {
      this.tell(place, ["REPLICAOF", ...hostAndPort(this.members[chosen]!.name)], (answer) => {
        // Redis answers so if it follows that one already.
        if (typeof answer !== "string" || !answer.startsWith("OK")) return done();
        followers.push(place);
        this.save(place, done);
      });
    }
  }

  /** One whose fence has been lost since it was chosen is told nothing. */
  private tell(place: number, words: readonly string[], told: (answer: Answer) => void): void {
    const fence = this.fences[place]!;
    if (!fence.held) return told(new LinkLost(fence.lost ?? "it is not fenced"));
    fence.command(words, (answer) => {
      if (!this.over) told(answer);
    });
  }

  /** So that it is the same after a restart; a server without a file refuses. */
  private save(place: number, done: () => void): void {
    this.fences[place]!.ask(["CONFIG", "REWRITE"], done);
  }

  private textOf(place: number): string {
    return this.members[place]!.spec.text;
  }

  // ---- the end

  private giveUp(why: string): void {
    if (this.over) return;
    this.end();
    this.owner.failed(why, why === ANOTHER);
  }

  private end(): void {
    this.over = true;
    if (this.timer !== null) this.around.clock.clearTimer(this.timer);
    for (const fence of this.fences) fence.close();
  }
}

export function whyOf(answer: Answer): string {
  if (answer instanceof LinkLost) return answer.why;
  return typeof answer === "object" && answer !== null && "text" in answer
    ? answer.text
    : JSON.stringify(answer);
}
