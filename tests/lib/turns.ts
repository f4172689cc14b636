/** For tests of what is done in steps: nobody else wants a turn, so each begins when the one before has ended. */
import type { Answer } from "../../src/admin/answer.ts";
import type { Clock } from "../../src/net/net.ts";
import { atOnce } from "../../src/ring/steps.ts";
import { Turns } from "../../src/service/turns.ts";

const clock: Pick<Clock, "setTimer"> = {
  setTimer(_ms, run) {
    queueMicrotask(run);
    return 0;
  },
};

export const TURNS: Turns = new Turns(clock as Clock);

/** What is done rarely, a reload, is done in one go. */
export class ReloadsAtOnce extends Turns {
  override rarely<T>(work: Generator<number, T>): Promise<T> {
    return Promise.resolve(atOnce(work));
  }
}

/** The text of an answer that is no stream. */
export function bodyOf(answer: Answer): string {
  if (!("body" in answer)) throw new Error("found a stream");
  const { body } = answer;
  if (typeof body === "string") return body;
  const decoder = new TextDecoder();
  const pieces = body instanceof Uint8Array ? [body] : body;
  return pieces.map((piece) => decoder.decode(piece, { stream: true })).join("");
}
