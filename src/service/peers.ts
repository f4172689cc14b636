/**
 * What one worker asks another about its clients (CLIENT LIST and kin), by way of the main thread.
 *
 *   Peers.ask ──report "ask"──► main ──order "asked"──► other worker ──report "told"──► main ──order "told"──► Peers.told
 *
 * Every question ends: with the answer, with GONE when the main thread knows that the other has ended, or after ANSWER_MAX_MS.
 */
import type { Clock, TimerId } from "../net/net.ts";
import { type ClientAnswer, type ClientQuestion, GONE, SILENT, type Told } from "../proxy/client_question.ts";

/** A page takes a worker less than a millisecond: beyond this it is as good as stuck. */
const ANSWER_MAX_MS = 2000;

export class Peers {
  private lastId = 0;
  private readonly open = new Map<number, { readonly told: Told; readonly timer: TimerId }>();

  /** @param send takes the question to the main thread */
  constructor(
    private readonly clock: Clock,
    private readonly send: (id: number, to: number, pool: number, question: ClientQuestion) => void,
  ) {}

  /** Asks worker `to`. `told` is called once, later. */
  ask(to: number, pool: number, question: ClientQuestion, told: Told): void {
    const id = ++this.lastId;
    const timer = this.clock.setTimer(ANSWER_MAX_MS, () => {
      this.open.delete(id);
      told(SILENT);
    });
    this.open.set(id, { told, timer });
    this.send(id, to, pool, question);
  }

  /** The answer has come; null = there is no such worker any more. One that is late is dropped. */
  told(id: number, answer: ClientAnswer | null): void {
    const question = this.open.get(id);
    if (question === undefined) return;
    this.open.delete(id);
    this.clock.clearTimer(question.timer);
    question.told(answer ?? GONE);
  }
}
