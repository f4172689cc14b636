/**
 * Who listens to requests (ringmaster tap, the access log): asks all workers, as long as there is anybody, what they have for whom.
 *
 *   listen(filter, told) ──► every EVERY_MS: gather("taps", filters) ──► thinned to the rate of each ──► told(samples, lost)
 */
import type { Clock, TimerId } from "../net/net.ts";
import { type Sample, type TapFilter } from "../stats/tapped.ts";
import type { Gathering } from "./questions.ts";

/** Listeners at a time. */
export const LISTENERS_MAX = 8;
const EVERY_MS = 100;

/** @param lost samples that fitted and could not be kept since the call before */
export type TapTold = (samples: readonly Sample[], lost: number) => void;

interface Listener {
  readonly filter: TapFilter;
  readonly told: TapTold;
  tokens: number;
  refilledMs: number;
}

export class Tapping {
  private readonly listeners = new Map<number, Listener>();
  private lastId = 0;
  private timer: TimerId | null = null;

  constructor(private readonly clock: Clock, private readonly service: Gathering) {}

  /** @returns what ends it; null: too many listen */
  listen(filter: Omit<TapFilter, "id">, told: TapTold): (() => void) | null {
    if (this.listeners.size >= LISTENERS_MAX) return null;
    const id = ++this.lastId;
    this.listeners.set(id, { filter: { ...filter, id }, told, tokens: 1, refilledMs: this.clock.nowMs() });
    if (this.timer === null) this.later();
    return () => void this.listeners.delete(id);
  }

  stop(): void {
    this.listeners.clear();
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timer = null;
  }

  private later(): void {
    this.timer = this.clock.setTimer(EVERY_MS, () => void this.ask());
  }

  private async ask(): Promise<void> {
    const filters = [...this.listeners.values()].map(({ filter }) => filter);
    const answers = await this.service.gather("taps", filters);
    const nowMs = this.clock.nowMs();
    for (const listener of this.listeners.values()) {
      const { filter: { id, rate }, refilledMs } = listener;
      const mine = answers.flatMap(({ answer }) => answer.filter((one) => one.id === id));
      // Each worker keeps to the rate; so do all together.
      listener.tokens = Math.min(Math.max(1, rate), listener.tokens + rate * (nowMs - refilledMs) / 1000);
      listener.refilledMs = nowMs;
      const samples = mine.flatMap(({ samples }) => samples).sort((a, b) => a.at - b.at);
      const kept = samples.slice(0, Math.floor(listener.tokens));
      listener.tokens -= kept.length;
      const lost = mine.reduce((sum, { lost }) => sum + lost, 0);
      if (kept.length > 0 || lost > 0) listener.told(kept, lost);
    }
    this.timer = null;
    if (this.listeners.size > 0) this.later();
  }
}
