/**
 * Timers of one thread: a heap by the time they are due.
 *
 *           due soonest                  children of i: 2i + 1 and 2i + 2,
 *          ┌─────0─────┐                 none due before its parent
 *        ┌─1─┐       ┌─2─┐
 *        3   4       5   6
 */

interface Timer {
  readonly dueMs: number;
  /** Among those due at once, the one set first. */
  readonly serial: number;
  /** Null when it has been called off. */
  run: (() => void) | null;
}

export class Timers {
  private readonly heap: Timer[] = [];
  private serial = 0;
  private calledOff = 0;

  /** Timers that will run. */
  get size(): number {
    return this.heap.length - this.calledOff;
  }

  /** When the next one is due; Infinity if there is none. May be that of one called off. */
  get nextMs(): number {
    return this.size === 0 ? Infinity : this.heap[0]!.dueMs;
  }

  add(dueMs: number, run: () => void): object {
    const timer: Timer = { dueMs, serial: this.serial++, run };
    const { heap } = this;
    let i = heap.push(timer) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (before(heap[parent]!, timer)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = timer;
    return timer;
  }

  /** Calls a timer off; one that has run or been called off stays as it is. */
  remove(timer: object): void {
    const found = timer as Timer;
    if (found.run === null) return;
    found.run = null;
    this.calledOff++;
    // Mostly dead ones: a connect that succeeds calls off a timer long before it is due.
    if (this.calledOff > 64 && this.calledOff * 2 > this.heap.length) this.compact();
  }

  /** Runs all that are due at `nowMs`, soonest first; those set meanwhile have to wait for the next call. */
  runDue(nowMs: number): void {
    const { heap, serial } = this;
    while (heap.length > 0 && heap[0]!.dueMs <= nowMs && heap[0]!.serial < serial) {
      const timer = heap[0]!;
      const last = heap.pop()!;
      if (heap.length > 0) this.sink(last, 0);
      const { run } = timer;
      timer.run = null;
      if (run === null) this.calledOff--;
      else run();
    }
  }

  private sink(timer: Timer, i: number): void {
    const { heap } = this;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (before(timer, heap[child]!)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = timer;
  }

  private compact(): void {
    const alive = this.heap.filter((timer) => timer.run !== null);
    this.heap.length = 0;
    this.calledOff = 0;
    // Sorted is a heap.
    this.heap.push(...alive.sort((a, b) => before(a, b) ? -1 : 1));
  }
}

function before(a: Timer, b: Timer): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.serial < b.serial);
}
