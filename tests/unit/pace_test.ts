/** The rests between turns: who gets any, and how long. A thread under load is imitated here, with its clock and its gains. */
import { ok, strictEqual } from "node:assert/strict";
import { Pace } from "../../src/runtime/pace.ts";

interface Load {
  /** A turn without a rest before it; else it finds three times as much to do. */
  tookUs: number;
  idleUs: number;
  sockets: number;
  /** Bytes that come in per ms without rests, and with them. */
  freely: number;
  resting: number;
}

class Thread {
  readonly pace = new Pace();
  private readonly sockets = Array.from({ length: 600 }, () => ({ heardIn: 0 }));
  private nowUs = 0;
  private next = 0;

  /** Runs for `ms` and returns how many of them were spent in turns that a rest follows, and the last rest. */
  run(load: Load, ms: number): { restingMs: number; lastUs: number } {
    const endUs = this.nowUs + ms * 1000;
    let restUs = 0, restingUs = 0;
    while (this.nowUs < endUs) {
      const tookUs = restUs > 0 ? 3 * load.tookUs : load.tookUs;
      const turnUs = tookUs + load.idleUs + restUs;
      const bytes = turnUs / 1000 * (restUs > 0 ? load.resting : load.freely);
      const began = this.nowUs;
      this.nowUs += tookUs;
      this.pace.read(this.sockets[this.next++ % load.sockets]!, bytes);
      restUs = this.pace.turnEnded(began / 1000, this.nowUs / 1000);
      this.nowUs += load.idleUs + restUs;
      if (restUs > 0) restingUs += tookUs + load.idleUs + restUs;
    }
    return { restingMs: restingUs / 1000, lastUs: restUs };
  }
}

const GAINS: Load = { tookUs: 20, idleUs: 10, sockets: 52, freely: 2000, resting: 3000 };
const LOSES: Load = { ...GAINS, resting: 1500 };

Deno.test("pace: where rests bring more in, a busy thread that hears many sockets goes on resting", () => {
  const { restingMs, lastUs } = new Thread().run(GAINS, 5000);
  strictEqual(lastUs, 50);
  ok(restingMs > 4700, `${restingMs}`);
});

Deno.test("pace: where they bring nothing in, they are tried for some ms, and ever more rarely", () => {
  for (const resting of [1500, 2000, 2080]) {
    const thread = new Thread();
    const first = thread.run({ ...GAINS, resting }, 1000).restingMs;
    ok(first > 0 && first < 100, `${first}`);
    const later = thread.run({ ...GAINS, resting }, 100_000).restingMs;
    ok(later < 600, `${later}`);
  }
});

Deno.test("pace: what was found is looked at again, and the rests end when they bring nothing any more", () => {
  const thread = new Thread();
  strictEqual(thread.run(GAINS, 1500).lastUs, 50);
  thread.run(LOSES, 1500);
  ok(thread.run(LOSES, 1000).restingMs < 100);
});

Deno.test("pace: when much less comes in than before, rests are tried at once", () => {
  const thread = new Thread();
  thread.run({ ...GAINS, freely: 4000 }, 20_000);
  ok(thread.run(GAINS, 200).restingMs > 100);
});

Deno.test("pace: a load that comes and goes is not tried all the time", () => {
  const thread = new Thread();
  let restingMs = 0;
  for (let i = 0; i < 100; i++) {
    restingMs += thread.run({ ...LOSES, freely: i % 2 === 0 ? 4000 : 2000 }, 100).restingMs;
  }
  ok(restingMs < 1000, `${restingMs}`);
});

Deno.test("pace: a load that is busy enough now and then is not tried all the time", () => {
  const thread = new Thread();
  let restingMs = 0;
  for (let i = 0; i < 80; i++) {
    restingMs += thread.run({ ...GAINS, idleUs: 15, resting: 2000 }, 30).restingMs;
    restingMs += thread.run({ ...GAINS, idleUs: 30, resting: 2000 }, 270).restingMs;
  }
  ok(restingMs < 300, `${restingMs}`);
});

Deno.test("pace: the rest grows with the sockets heard", () => {
  const rest = (sockets: number) => new Thread().run({ ...GAINS, sockets }, 500).lastUs;
  strictEqual(rest(500), 50);
  strictEqual(rest(20), 40);
});

Deno.test("pace: few sockets never wait", () => {
  for (const sockets of [1, 2, 3, 5, 12]) {
    strictEqual(new Thread().run({ ...GAINS, sockets, idleUs: 0 }, 5000).restingMs, 0);
  }
});

Deno.test("pace: a thread that is mostly idle does not rest", () => {
  strictEqual(new Thread().run({ ...GAINS, idleUs: 30 }, 5000).restingMs, 0);
});

Deno.test("pace: resting does not end the rests by making the thread less busy", () => {
  // 15 of 27 µs without them, 45 of 107 with them.
  ok(new Thread().run({ ...GAINS, tookUs: 15, idleUs: 12 }, 5000).restingMs > 4700);
});

Deno.test("pace: the rests end with the load", () => {
  const thread = new Thread();
  thread.run(GAINS, 500);
  ok(thread.run({ ...GAINS, idleUs: 200 }, 500).restingMs < 20);
});

Deno.test("pace: after a long turn there is none", () => {
  const thread = new Thread();
  strictEqual(thread.run(GAINS, 500).lastUs, 50);
  strictEqual(thread.run({ ...GAINS, tookUs: 60 }, 1).lastUs, 50);
  strictEqual(thread.run({ ...GAINS, tookUs: 250 }, 1).lastUs, 0);
});
