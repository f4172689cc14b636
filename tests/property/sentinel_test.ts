/**
 * The keeper that believes sentinels, against sentinels that restart with old files, hear late, forget, answer errors or nothing,
 * and are cut off: whatever they do, it goes from failover to failover in their order, and is where the last one is in the end.
 */
import assert from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import { SentinelKeeper } from "../../src/topology/sentinel.ts";
import type { ServerState } from "../../src/topology/state.ts";
import { FakeSentinel } from "../lib/fake_sentinel.ts";
import { runs } from "../lib/runs.ts";
import { SimClock } from "../sim/clock.ts";
import { SimNet } from "../sim/net.ts";
import { Random } from "../sim/random.ts";

const ADDRESSES = [1, 2, 3, 4].map((i) => `10.0.1.${i}:6379`);
const SEEDS = runs(15);
/** How long there is trouble, and how long each of them at most; a majority that is behind for longer counts as set up anew. */
const TROUBLE_MS = 60_000;
const MOST_MS = 4000;

class Model {
  readonly clock = new SimClock();
  readonly random: Random;
  readonly net: SimNet;
  /** Where the primary was in each epoch. */
  readonly truth: string[] = [ADDRESSES[0]!];
  readonly sentinels: FakeSentinel[] = [];
  readonly states: ServerState[] = [];
  readonly keeper: SentinelKeeper;
  /** The epoch of the last state at least, as far as addresses tell. */
  private reached = 0;

  constructor(seed: number, private readonly count: number) {
    this.random = new Random(seed);
    this.net = new SimNet(this.clock, new Random(seed + 1));
    const named = Array.from({ length: count }, (_, i) => `10.0.0.${i + 1}:26379`);
    const yaml = `p:\n  listen: 127.0.0.1:1\n  redis: true\n  failover: sentinel\n  sentinels: [${named}]\n` +
      "  servers: [{name: s, master: m}]\n";
    this.keeper = new SentinelKeeper({
      pool: parseConfig(yaml, "x").pools[0]!,
      net: this.net,
      clock: this.clock,
      random: new Random(seed + 2).next,
      log: { level: 0, write: () => {} },
      known: new Map(),
      event: () => {},
    });
  }

  async start(): Promise<void> {
    for (let i = 0; i < this.count; i++) {
      const sentinel = new FakeSentinel(`id${i}`);
      this.knows(sentinel, 0);
      this.sentinels.push(await sentinel.listen(this.net, this.at(i)));
    }
    this.keeper.start((states) => states.forEach((state) => this.check(state)));
    this.clock.run(1000);
  }

  private at(i: number) {
    return { host: `10.0.0.${i + 1}`, port: 26379 };
  }

  private knows(sentinel: FakeSentinel, epoch: number): void {
    sentinel.name("m", this.truth[epoch]!, epoch, {
      replicas: ADDRESSES.filter((each) => each !== this.truth[epoch]),
    });
  }

  private check(state: ServerState): void {
    const last = this.states.at(-1);
    this.states.push(state);
    assert.ok(state.primary !== null, `nowhere: ${state.why}`);
    assert.ok(last === undefined || state.term >= last.term, "terms never go back");
    assert.ok(
      state.primary.text === last?.primary?.text || state.term > (last?.term ?? -1),
      "each move has a term of its own",
    );
    const epoch = this.truth.findIndex((each, i) => i >= this.reached && each === state.primary!.text);
    assert.ok(epoch >= 0, `${state.primary.text} was the primary before epoch ${this.reached} only`);
    this.reached = epoch;
  }

  private later(run: () => void): void {
    this.clock.setTimer(this.random.next() * MOST_MS, run);
  }

  /** A failover: one sentinel says so at once, the others later. */
  private failover(): void {
    const now = this.truth.at(-1)!;
    this.truth.push(this.random.pick(ADDRESSES.filter((each) => each !== now)));
    const epoch = this.truth.length - 1;
    const first = this.random.int(0, this.count - 1);
    this.sentinels.forEach((sentinel, i) => {
      const hear = () => {
        // One that has heard of a later one meanwhile is past this.
        if ((sentinel.masters.get("m")?.epoch ?? 0) < epoch) {
          sentinel.switch("m", this.truth[epoch]!, epoch);
          this.knows(sentinel, epoch);
        }
      };
      if (i === first) hear();
      else this.later(hear);
    });
  }

  private trouble(): void {
    const i = this.random.int(0, this.count - 1);
    const sentinel = this.sentinels[i]!;
    switch (this.random.int(0, 5)) {
      case 0: // restarted with an old file
        this.net.down(this.at(i));
        this.knows(sentinel, Math.max(0, this.truth.length - 1 - this.random.int(0, 2)));
        this.clock.setTimer(this.random.next() * 500, () => this.net.up(this.at(i)));
        return this.later(() => this.knows(sentinel, this.truth.length - 1));
      case 1: // cut off
        this.net.down(this.at(i), true);
        return this.later(() => this.net.up(this.at(i)));
      case 2:
        sentinel.error = "NOAUTH Authentication required.";
        return this.later(() => sentinel.error = null);
      case 3: {
        const master = sentinel.masters.get("m")!;
        master.replicas = [];
        sentinel.publish("+reset-master", "master m 10.0.1.1 6379");
        return this.later(() => this.knows(sentinel, sentinel.masters.get("m")!.epoch));
      }
      case 4: // an old story again
        return sentinel.publish("+switch-master", "m 10.0.1.9 6379 10.0.1.1 6379");
      case 5: // SENTINEL REMOVE, and MONITOR again
        sentinel.masters.get("m")!.address = null;
        return this.later(() => this.knows(sentinel, sentinel.masters.get("m")!.epoch));
    }
  }

  run(): void {
    while (this.clock.nowMs() < TROUBLE_MS) {
      this.clock.run(this.clock.nowMs() + this.random.next() * 1500);
      if (this.random.chance(0.3)) this.failover();
      else this.trouble();
    }
    this.clock.run(this.clock.nowMs() + MOST_MS);
    for (const sentinel of this.sentinels) this.knows(sentinel, this.truth.length - 1);
    this.clock.run(this.clock.nowMs() + 30_000);
    assert.equal(this.states.at(-1)!.primary!.text, this.truth.at(-1));
    this.keeper.stop();
    this.clock.run(this.clock.nowMs() + 10_000);
    this.net.bury();
    this.clock.run(this.clock.nowMs() + 10);
    assert.equal(this.net.sockets.size, 0);
  }
}

Deno.test("SentinelKeeper goes from failover to failover in their order, whatever sentinels do", async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const model = new Model(seed, 1 + seed % 5);
    try {
      await model.start();
      model.run();
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
});
