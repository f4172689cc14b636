/**
 * What members of a replica set have executed of clients' writes, and when that came: two of them never take turns.
 *
 *   A executes what came at a, B what came at b > a: then B was made the primary after a
 *
 * What had come to one that was frozen it executes when it goes on, as real ones do, so the time at which it came counts.
 */
import type { ModelMember } from "./model_member.ts";
import { Violation } from "./truth.ts";

interface Write {
  readonly cameAtMs: number;
  /** When the member was made the primary that has executed it. */
  readonly reignsFromMs: number;
  readonly promoted: boolean;
}

export class ServedWrites {
  count = 0;
  /** By member, in the order in which they came. */
  private readonly of: readonly Write[][];

  /**
   * @param handed has somebody changed the primary by hand? One that starts again, or that he has made one, may be followed once more
   *   when another has been in the meantime, and has missed what that took
   */
  constructor(members: readonly ModelMember[], private readonly handed: () => boolean) {
    this.of = members.map(() => []);
    for (const member of members) member.executed = (cameAtMs) => this.take(member, cameAtMs);
  }

  private take(member: ModelMember, cameAtMs: number): void {
    this.count++;
    const { reignsFromMs, promoted } = member;
    const write = { cameAtMs, reignsFromMs, promoted };
    this.of.forEach((others, place) => {
      if (place === member.place) return;
      for (let i = others.length - 1; i >= 0; i--) {
        const other = others[i]!;
        if (this.tooLate(other, write) || this.tooLate(write, other)) {
          throw new Violation(
            `member ${member.place} has executed a write that came at ${
              cameAtMs.toFixed(1)
            }, the primary since ${reignsFromMs.toFixed(1)}, and member ${place} one that came at ${
              other.cameAtMs.toFixed(1)
            }, the primary since ${other.reignsFromMs.toFixed(1)}`,
          );
        }
        // Those before came before both as well.
        if (other.cameAtMs < Math.min(cameAtMs, reignsFromMs)) break;
      }
    });
    this.of[member.place]!.push(write);
  }

  /** Was the primary that has taken the later one there already when another took the earlier one? */
  private tooLate(earlier: Write, later: Write): boolean {
    return earlier.cameAtMs < later.cameAtMs && later.reignsFromMs < earlier.cameAtMs &&
      !(this.handed() && !later.promoted);
  }
}
