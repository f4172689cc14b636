/** A sorted set: members by score, equal scores by bytes. The order is made when somebody asks for it. */

export interface Scored {
  readonly member: string;
  readonly score: number;
}

export class SortedSet {
  private readonly scores = new Map<string, number>();
  private sorted: Scored[] | null = [];

  get size(): number {
    return this.scores.size;
  }

  score(member: string): number | undefined {
    return this.scores.get(member);
  }

  put(member: string, score: number): void {
    this.scores.set(member, score);
    this.sorted = null;
  }

  remove(member: string): boolean {
    if (!this.scores.delete(member)) return false;
    this.sorted = null;
    return true;
  }

  /** All members in order; not to be changed. */
  ordered(): readonly Scored[] {
    if (this.sorted === null) {
      this.sorted = Array.from(this.scores, ([member, score]) => ({ member, score }));
      this.sorted.sort((a, b) => a.score - b.score || (a.member < b.member ? -1 : 1));
    }
    return this.sorted;
  }

  /** Place of a member in `ordered()`, or -1. */
  rank(member: string): number {
    if (!this.scores.has(member)) return -1;
    return this.ordered().findIndex((one) => one.member === member);
  }
}
