/**
 * Counts how long requests took (stats/latency.ts), from the times in their records. Nothing is made for it.
 *
 *   Client.enqueue ─► readMs ─► written (written_times.ts) ─► countServed, of its server ─► Client.deliver ─► countAnswered, of the pool
 *
 * A server counts each request and fragment once, when it has answered or failed; the pool each request of a client's once, when that
 * has its answer or is gone: whatever became of it on its way (split, redirected, asked again elsewhere), what lies between its first
 * byte to a server and its last reply is SERVED. What was never written has WAITED only, for as long as it took to be refused.
 */
import { type LatencyBlock, SERVED, WAITED } from "../stats/latency.ts";
import type { Request } from "./request.ts";
import type { Turn } from "./turn.ts";

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

  constructor(private readonly block: LatencyBlock, private readonly turn: Turn) {}

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
    if (this.listed) return;
    this.listed = true;
    this.turn.tell(this);
  }

  /** Called at the end of the turn. */
  turnEnds(): void {
    this.settle();
    this.listed = false;
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
    this.over(counts - 1, request.readMs, writtenMs);
    if (writtenMs >= 0 && (asked.writtenMs < 0 || writtenMs < asked.writtenMs)) asked.writtenMs = writtenMs;
  }

  /** A client's request has its answer, or needs none any more. */
  answered(request: Request): void {
    if (!request.uncounted) return;
    request.counted();
    this.over(request.counts - 1, request.readMs, request.writtenMs);
  }
}
