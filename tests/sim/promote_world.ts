/**
 * Several proxies that promote, one replica set, and all that may go wrong between them: kills, restarts with and without data, freezes
 * of members and of proxies, cuts between any two, slow lines. Checked after every turn: no two primaries may be written to.
 *
 * In worlds that serve, each proxy has workers and clients as well, and what members execute is looked at (served_writes.ts).
 */
import type { Config } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import type { Address } from "../../src/net/net.ts";
import { PromoteKeeper } from "../../src/topology/promote.ts";
import type { ServerState } from "../../src/topology/state.ts";
import { SimClock } from "./clock.ts";
import { CALM } from "./faults.ts";
import { ModelMember } from "./model_member.ts";
import { SimNet } from "./net.ts";
import { RunningClock } from "../../src/runtime/running_clock.ts";
import { SimProcess } from "./process.ts";
import { Random } from "./random.ts";
import { ServedSeat } from "./served_seat.ts";
import { ServedWrites } from "./served_writes.ts";
import { Violation } from "./truth.ts";

const TROUBLE_MS = 60_000;
/** By then all is well again: attempts that collide, fences that somebody left, repairs. */
const HEALED_MS = 60_000;
const SERVER = "s";

export interface PromoteResult {
  /** Changes of the primary that any proxy has seen. */
  readonly switches: number;
  readonly writes: number;
}

interface Seat {
  readonly process: SimProcess;
  /** As both runtimes have it: time in which the process is stopped does not count. */
  readonly clock: RunningClock;
  readonly config: Config;
  keeper: PromoteKeeper;
  /** What it has said last. */
  state: ServerState | null;
  served: ServedSeat | null;
}

export class PromoteWorld {
  readonly clock = new SimClock();
  private readonly net: SimNet;
  private readonly random: Random;
  /** Of its own: seeds are older than reloads. */
  private readonly reloads: Random;
  readonly members: ModelMember[] = [];
  readonly seats: Seat[] = [];
  readonly log: string[] = [];
  private switches = 0;
  private writes = 0;
  /** Somebody has changed the primary by hand. */
  private handed = false;
  /** Null in worlds that do not serve. */
  private servedWrites: ServedWrites | null = null;

  private constructor(readonly seed: number, private readonly serves: boolean) {
    this.random = new Random(seed);
    this.reloads = new Random(seed + 300);
    // What a kernel has taken a part of when the process is stopped leaves when it goes on, without anybody who looks.
    const options = serves ? { faults: { ...CALM, shortWrite: 0 } } : {};
    this.net = new SimNet(this.clock, new Random(seed + 1), options);
    const together = new Random(seed + 400);
    if (together.chance(0.3)) this.net.gridMs = together.pick([0.3, 1, 3]);
  }

  /** @param serves clients write through the proxies */
  static async run(seed: number, serves = false): Promise<PromoteResult> {
    const world = new PromoteWorld(seed, serves);
    try {
      await world.begin();
      return await world.go();
    } catch (error) {
      if (error instanceof Violation) {
        error.message = `seed ${seed}: ${error.message}\n${world.log.slice(-80).join("\n")}`;
      }
      throw error;
    }
  }

  private note(text: string): void {
    this.log.push(`${this.clock.nowMs().toFixed(1).padStart(9)} ${text}`);
  }

  private async begin(): Promise<void> {
    const { random, clock, net } = this;
    const members = random.pick([3, 3, 3, 4, 5]);
    const proxies = random.pick([2, 2, 3]);
    for (let i = 0; i < members; i++) {
      this.members.push(new ModelMember(i, this.members, net, clock, new Random(this.seed + 100 + i)));
    }
    for (const member of this.members) await member.listen(proxies);
    if (this.serves) this.servedWrites = new ServedWrites(this.members, () => this.handed);
    for (let proxy = 0; proxy < proxies; proxy++) await this.addSeat(proxy);
    this.note(`${members} members, ${proxies} proxies`);
    this.replicate();
    this.write();
  }

  private async addSeat(proxy: number): Promise<void> {
    const { clock, net, seed } = this;
    const process = new SimProcess(clock, net);
    const running = new RunningClock(process);
    const texts = this.members.map((_, i) => {
      const { host, port } = ModelMember.addressOf(i, proxy);
      return `${host}:${port}`;
    });
    const configOf = (lag: string) =>
      parseConfig(
        `p: {listen: 127.0.0.${
          proxy + 1
        }:1, timeout: 2000, redis: true, failover: promote, max_lag: ${lag}, ` +
          `servers: [{name: ${SERVER}, address: ${texts[0]}, replicas: [${texts.slice(1)}]}]}`,
        "x",
      );
    const config = configOf("10s");
    const seat: Seat = { process, clock: running, config, keeper: null!, state: null, served: null };
    this.seats.push(seat);
    if (!this.serves) {
      seat.keeper = this.keeperOf(proxy, config, process, running, new Random(seed + 200 + proxy).next, null);
      return this.startKeeper(proxy);
    }
    const random = new Random(seed + 500 + proxy);
    seat.served = new ServedSeat([config, configOf("9s")], process, running, net, random, {
      note: (text) => this.note(`proxy ${proxy}: ${text}`),
      keeps: (keeper) => seat.keeper = keeper,
      said: (state) => this.said(proxy, state),
    });
    await seat.served.begin();
  }

  private keeperOf(
    proxy: number,
    config: Config,
    process: SimProcess,
    clock: RunningClock,
    random: () => number,
    before: Seat | null,
  ): PromoteKeeper {
    return new PromoteKeeper({
      pool: config.pools[0]!,
      net: process,
      clock,
      random,
      log: { level: 11, write: (_, text) => this.note(`proxy ${proxy}: ${text}`) },
      known: new Map(before?.state == null ? [] : [[SERVER, before.state]]),
      memory: before?.keeper.memory() ?? new Map(),
      event: (kind, _, cause) => this.note(`proxy ${proxy}: ${kind}: ${cause}`),
    });
  }

  private startKeeper(proxy: number): void {
    this.seats[proxy]!.keeper.start(([state]) => this.said(proxy, state!));
  }

  private said(proxy: number, state: ServerState): void {
    const primary = state.primary?.text ?? null;
    this.note(`proxy ${proxy}: writes to ${primary ?? `nobody: ${state.why}`}`);
    this.seats[proxy]!.state = state;
    if (primary !== null) this.switches++;
  }

  /** In half of the worlds proxies read their configurations again, at any time, and some again and again. */
  private reload(): void {
    const { reloads, clock } = this;
    const proxy = reloads.int(0, this.seats.length - 1);
    let times = reloads.pick([1, 1, 2, 12]);
    const everyMs = reloads.int(50, 600);
    const once = () => {
      const seat = this.seats[proxy]!;
      if (!seat.process.stopped) {
        this.note(`proxy ${proxy}: reload`);
        if (seat.served !== null) seat.served.reload();
        else this.renewKeeper(proxy, seat);
      }
      if (--times > 0) clock.setTimer(everyMs, once);
    };
    once();
    if (clock.nowMs() < TROUBLE_MS) clock.setTimer(reloads.magnitude(1000, 30_000), () => this.reload());
  }

  private renewKeeper(proxy: number, seat: Seat): void {
    const next = this.keeperOf(proxy, seat.config, seat.process, seat.clock, this.reloads.next, seat);
    seat.keeper.stop();
    seat.keeper = next;
    this.startKeeper(proxy);
  }

  /** By place; -1 = nobody. As the clock says, whether the proxy runs or not. */
  private primaryOf({ keeper }: Seat): number {
    const text = keeper.primaryOf(SERVER);
    return text === null ? -1 : Number(text.slice(text.lastIndexOf(".") + 1, text.lastIndexOf(":")));
  }

  private replicate(): void {
    for (const member of this.members) member.replicate();
    this.clock.setTimer(50, () => this.replicate());
  }

  private write(): void {
    for (const seat of this.seats) {
      const primary = this.primaryOf(seat);
      if (seat.served === null && !seat.process.stopped && primary >= 0 && this.members[primary]!.write()) {
        this.writes++;
      }
    }
    this.clock.setTimer(20, () => this.write());
  }

  private check(): void {
    let primary = -1;
    for (const [proxy, seat] of this.seats.entries()) {
      const place = this.primaryOf(seat);
      if (place < 0 || place === primary || this.handed && !this.mayWrite(proxy, place)) continue;
      if (primary >= 0) {
        throw new Violation(
          `two primaries may be written to: ${this.seats.map((one) => this.primaryOf(one)).join(", ")}`,
        );
      }
      primary = place;
    }
  }

  /**
   * With leave for it. One that has handed over takes no writes; another process of it that knows nothing of that takes them, for as long as
   * the proxy has not asked it anything. (Until then only a worker that had no connection could write: Leave.holdsForNew.)
   */
  private mayWrite(proxy: number, place: number): boolean {
    const member = this.members[place]!;
    if (member.follows >= 0) return false;
    if (member.startedAtMs <= 0) return true;
    const { members } = this.seats[proxy]!.keeper.memory().get(SERVER)!;
    return members[place]!.said?.runId === member.runId;
  }

  private runTo(atMs: number): void {
    this.clock.run(atMs, () => {
      this.check();
      return false;
    });
  }

  // ---- trouble

  private go(): PromoteResult {
    const { clock, random } = this;
    this.runTo(5000);
    const endMs = clock.nowMs() + TROUBLE_MS;
    if (this.reloads.chance(0.5)) this.reload();
    if (this.serves) this.sleepBoth(new Random(this.seed + 600));
    while (clock.nowMs() < endMs) {
      this.trouble();
      // Some come close together, some wait for all to be well.
      this.runTo(
        clock.nowMs() + random.pick([random.int(1, 300), random.int(300, 4000), random.int(4000, 12_000)]),
      );
    }
    this.heal();
    this.runTo(clock.nowMs() + HEALED_MS);
    this.checkWell();
    for (const { keeper, served } of this.seats) {
      served?.checkWell();
      if (served !== null) served.stop();
      else keeper.stop();
    }
    return { switches: this.switches, writes: this.servedWrites?.count ?? this.writes };
  }

  private trouble(): void {
    const { random, members } = this;
    const member = random.pick(members);
    const proxy = random.int(0, this.seats.length - 1);
    const primary = this.seats.map((seat) => this.primaryOf(seat)).find((place) => place >= 0);
    const victim = primary !== undefined && random.chance(0.5) ? members[primary]! : member;
    const address = ModelMember.addressOf(victim.place, proxy);
    const kind = random.pick([
      "kill",
      "kill",
      "freeze",
      "freeze",
      "cut",
      "cut",
      "isolate",
      "stop",
      "slow",
      "mend",
      "hand over",
    ]);
    const forMs = random.magnitude(50, 20_000);
    this.note(`${kind} member ${victim.place}, proxy ${proxy}, for ${forMs} ms`);
    const later = (run: () => void) => this.clock.setTimer(forMs, run);
    if (kind === "kill" && victim.alive) {
      victim.kill();
      const empty = random.chance(0.3);
      later(() => {
        if (victim.alive) return;
        this.note(`member ${victim.place} is back${empty ? ", empty" : ""}`);
        victim.restart(empty);
      });
    } else if (kind === "freeze" && victim.alive) {
      victim.freeze();
      later(() => victim.goOn());
    } else if (kind === "cut") {
      this.net.down(address, random.chance(0.7));
      later(() => this.net.up(address));
    } else if (kind === "isolate") {
      // The proxy has this member, and no other.
      for (const other of members) {
        if (other === victim) continue;
        const at = ModelMember.addressOf(other.place, proxy);
        this.net.down(at, true);
        later(() => this.net.up(at));
      }
    } else if (kind === "stop") this.seats[proxy]!.process.stop(forMs);
    else if (kind === "slow") this.slow(address, forMs);
    else if (kind === "hand over") {
      const to = random.pick(members);
      this.note(`member ${victim.place} to ${to.place}`);
      this.handed = true;
      victim.handOver(to);
    } else if (kind === "mend") { for (const each of members) each.goOn(); }
  }

  /**
   * In some worlds a primary is frozen, and a proxy that writes to it stopped, for so long that another promotes meanwhile: when the two go
   * on, the one has requests of its clients for the other.
   */
  private sleepBoth(random: Random): void {
    if (!random.chance(0.4)) return;
    const { clock } = this;
    clock.setTimer(random.int(1, TROUBLE_MS - 20_000), () => {
      const proxy = random.int(0, this.seats.length - 1);
      const place = this.primaryOf(this.seats[proxy]!);
      if (place < 0 || !this.members[place]!.alive) return;
      const [frozenMs, stoppedMs] = [random.int(5000, 12_000), random.int(4000, 12_000)];
      this.note(
        `freeze member ${place} for ${frozenMs} ms, and soon stop proxy ${proxy} for ${stoppedMs} ms`,
      );
      this.members[place]!.freeze();
      clock.setTimer(frozenMs, () => this.members[place]!.goOn());
      clock.setTimer(random.int(0, 1500), () => this.seats[proxy]!.process.stop(stoppedMs));
    });
  }

  /** What has left before a proxy may write no more would come later than that: nobody can take it back. */
  private slow(address: Address, forMs: number): void {
    if (!this.serves) this.net.stall(address, Math.min(forMs, 3000));
  }

  private heal(): void {
    this.note("all is well from now on");
    this.net.heal();
    this.members.forEach((member, place) => {
      member.goOn();
      if (!member.alive) member.restart(false);
      this.seats.forEach((_, proxy) => this.net.up(ModelMember.addressOf(place, proxy)));
    });
  }

  private checkWell(): void {
    const primaries = this.seats.map((seat) => this.primaryOf(seat));
    const [primary] = primaries;
    if (primary === -1 || primaries.some((place) => place !== primary)) {
      throw new Violation(`the proxies write to ${primaries.join(", ")} when all has been well for long`);
    }
    this.seats.forEach((seat, proxy) => {
      const said = seat.state?.primary?.text ?? null;
      if (said !== seat.keeper.primaryOf(SERVER)) {
        throw new Violation(`proxy ${proxy} has said ${said} last`);
      }
    });
    for (const { place, follows } of this.members) {
      if (follows !== (place === primary ? -1 : primary)) {
        throw new Violation(`member ${place} follows ${follows}, the primary is ${primary}`);
      }
    }
  }
}
