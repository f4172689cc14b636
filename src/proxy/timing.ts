/**
 * Counts how long requests took (stats/latency.ts), from the times in their records. Nothing is made for it.
 *
 *   Client.enqueue ─► Stamp ─► end of the turn: written ─► served, of its server ─► Client.deliver ─► answered, of the pool
 *                       └─ where the kernel did not take it at once: written_times.ts
 *
 * A server counts each request and fragment once, when it has answered or failed; the pool each request of a client's once, when that
 * has its answer or is gone: whatever became of it on its way (split, redirected, asked again elsewhere), what lies between its first
 * byte to a server and its last reply is SERVED. What was never written has WAITED only, for as long as it took to be refused.
 */
import { type LatencyBlock, SERVED, WAITED } from "../stats/latency.ts";
import { classOf, type Request } from "./request.ts";
import { NO_STAMP, type Stamp, type Turn } from "./turn.ts";

/**
 * Counts for one block. Requests that were read, written and answered together are many, and go into the block together: at the end of
 * the turn at the latest.
 */
export class Timing {
  private latencyClass = -1;
  private readMs = -1;
  private writtenMs = -1;
  private nowMs = 0;
  private count = 0;
  private listed = false;
  /** Of plain requests that were answered together; see `replied`. */
  private kind = -1;
  private stamp: Stamp = NO_STAMP;
  private replies = 0;
  private repliedMs = 0;

  /** @param pool whose clients ask, if this is a server's */
  constructor(
    private readonly block: LatencyBlock,
    private readonly turn: Turn,
    private readonly pool: Timing | null = null,
  ) {}

  /**
   * One more is over now.
   * @param writtenMs when it was written to a server; -1 = it has not been
   */
  over(latencyClass: number, readMs: number, writtenMs: number): void {
    if (readMs === this.readMs && writtenMs === this.writtenMs && latencyClass === this.latencyClass) {
      this.count++;
    } else this.begin(latencyClass, readMs, writtenMs);
  }

  private begin(latencyClass: number, readMs: number, writtenMs: number): void {
    this.settle();
    this.latencyClass = latencyClass;
    this.readMs = readMs;
    this.writtenMs = writtenMs;
    this.nowMs = this.turn.now();
    this.count = 1;
    this.list();
  }

  /** Called at the end of the turn. */
  turnEnds(): void {
    this.settle();
    this.settleReplies();
    this.listed = false;
  }

  private list(): void {
    if (this.listed) return;
    this.listed = true;
    this.turn.tell(this);
  }

  /**
   * A server has answered a request or fragment, which was written when its stamp says. Of a client's own request, as nearly all are,
   * that is its answer: it is counted for the pool as well, and of those that came and went together all are counted at once.
   */
  replied(request: Request): void {
    if (request.kind === this.kind && request.stamp === this.stamp) {
      request.countedAs(this.kind);
      this.replies++;
    } else this.beginReplies(request);
  }

  /** As `replied`, for `count` plain requests of one kind and stamp, which have been written and are clients' own. */
  repliedRun(stamp: Stamp, kind: number, count: number): void {
    if (kind === this.kind && stamp === this.stamp) this.replies += count;
    else this.beginRun(stamp, kind, count);
  }

  private beginRun(stamp: Stamp, kind: number, count: number): void {
    this.settleReplies();
    this.kind = kind;
    this.stamp = stamp;
    this.repliedMs = this.turn.now();
    this.replies = count;
    this.list();
  }

  private beginReplies(request: Request): void {
    const { stamp, kind } = request;
    if (!request.isPlain || request.split !== null || !stamp.over || stamp.writtenMs < 0) {
      return this.served(request, stamp.writtenMs);
    }
    this.beginRun(stamp, kind, 1);
    request.countedAs(kind);
  }

  private settleReplies(): void {
    const { kind, stamp: { readMs, writtenMs }, repliedMs, replies } = this;
    if (kind < 0) return;
    this.kind = -1;
    const latencyClass = classOf(kind);
    this.countReplies(latencyClass, writtenMs - readMs, repliedMs - writtenMs, replies);
    this.pool!.countReplies(latencyClass, writtenMs - readMs, repliedMs - writtenMs, replies);
  }

  private countReplies(latencyClass: number, waitedMs: number, servedMs: number, replies: number): void {
    this.block.count(latencyClass, WAITED, waitedMs, replies);
    this.block.count(latencyClass, SERVED, servedMs, replies);
  }

  private settle(): void {
    const { block, latencyClass, readMs, writtenMs, nowMs, count } = this;
    if (latencyClass < 0) return;
    if (writtenMs < 0) block.count(latencyClass, WAITED, nowMs - readMs, count);
    else {
      block.count(latencyClass, WAITED, writtenMs - readMs, count);
      block.count(latencyClass, SERVED, nowMs - writtenMs, count);
    }
    this.latencyClass = -1;
  }

  /**
   * A server has answered a request or fragment, or failed.
   * @param writtenMs when it was written to the server; -1 = it has not been
   */
  served(request: Request, writtenMs: number): void {
    const { split } = request;
    const asked = split === null ? request : split.parent;
    const { counts } = asked;
    if (counts === 0 || request.hasFailed) return;
    this.over(counts - 1, request.stamp.readMs, writtenMs);
    if (writtenMs >= 0) asked.written(writtenMs);
  }

  /** A client's request has its answer, or needs none any more. */
  answered(request: Request): void {
    if (!request.uncounted) return;
    request.counted();
    this.over(request.counts - 1, request.stamp.readMs, request.writtenMs);
  }
}
