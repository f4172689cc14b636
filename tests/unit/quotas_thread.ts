/** One of several threads that enter, spend what there is, and leave (quotas_test.ts). */
import { ADDRESS, ENOUGH_NOTHING, Quotas } from "../../src/stats/quotas.ts";

const WHO = { kind: ADDRESS, high: -1, low: 7 };
const VISITS = 2000;

const scope = self as unknown as {
  onmessage: (event: MessageEvent) => void;
  postMessage(message: unknown): void;
};

scope.onmessage = ({ data: { memory, workers, worker, rates, nowMs } }) => {
  const quotas = new Quotas(workers, memory);
  let taken = 0;
  const slot = quotas.enter(0, WHO, worker, rates, true, nowMs);
  for (; quotas.enough(slot, rates, nowMs) === ENOUGH_NOTHING; taken++) quotas.spend(slot, rates, 1, 0);
  let most = 0;
  for (let i = 0; i < VISITS; i++) {
    const visited = quotas.enter(0, { ...WHO, low: i % 5 }, worker, rates, true, nowMs);
    most = Math.max(most, quotas.connections(visited));
    quotas.leave(visited, worker);
  }
  quotas.leave(slot, worker);
  scope.postMessage({ taken, most, slot });
};
