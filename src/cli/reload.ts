/**
 * A configuration file that is read again while the proxy runs, and `ringmaster reload`, which asks for it; and servers that
 * come and go because a source says so (topology/sources.ts).
 *
 *   HUP │ watch │ ringmaster reload ──► read, check, ask new sources ──┐
 *   a source says something else ──► its pools with other servers ─────┴► compare ──► service.reload: all workers prepare, then commit
 *                                                                            └── bad: nothing changes ──► log, PIDFILE.reload
 *
 * One at a time; what is asked for meanwhile is done afterwards. How it ended is written to PIDFILE.reload, from which
 * `ringmaster reload` takes what it prints and its exit code.
 */
import type { Config } from "../config/config.ts";
import { ERR, type Log, NOTICE } from "../net/log.ts";
import { atOnce } from "../ring/steps.ts";
import type { Clock } from "../net/net.ts";
import {
  changeLines,
  changeSteps,
  type ConfigChange,
  RefusedChange,
  type Stamp,
} from "../topology/change.ts";
import type { Sources } from "../topology/sources.ts";
import { nextTurn, type Turns } from "../service/turns.ts";
import type { ConfSource } from "./conf_file.ts";
import type { ReloadOptions } from "./flags.ts";
import type { Io } from "./io.ts";
import { askProcess, type OutcomeFile } from "./outcome.ts";

/** How often the file is looked at, ms: `watch`. */
const WATCH_MS = 1000;
/** Longest cause of a change that a cluster has made, in characters. */
const CAUSE_MAX = 200;
/** What a line of a log takes, about: a system call. */
const LINE_US = 20;
/** When a change of a source that could not be made is tried again, ms. */
const SOURCE_AGAIN_MS = 5000;

/** What can take another configuration while it runs. */
export interface Reloadable {
  /** Takes all of it, or rejects and nothing has changed. */
  reload(change: ConfigChange, stamp: Stamp): Promise<void>;
}

/** What the start of the process has looked at, and a reload looks at again. */
export interface Surroundings {
  /** Why this process cannot go on under `next`, though it is right by itself; null = it can. */
  refusal(next: Config): Promise<string | null>;
  /**
   * `next` is in force: what is of the process, and not of the service, follows.
   * @param cause for people
   * @param slotsOf as of Director.adopt
   */
  adopt(before: Config, next: Config, cause: string, slotsOf: string | null): void;
  /** Takes what the configuration names, and has changed though it has not: files of certificates. */
  refresh(): Promise<void>;
  /** The file is about to be read again. */
  reloading(): void;
  /** That has ended, in whatever way. @param text how, for people */
  reloaded(text: string): void;
}

/** How a reload has ended; what there is to say, lines without a newline at the end. */
interface Ended {
  readonly ok: boolean;
  readonly text: string;
}

export class Reloader {
  /** The process serves: what is asked for before is done then. */
  private begun = false;
  private running = false;
  /** The file is to be read again, and why; sources that have said something else, by key. */
  private asked: string | null = null;
  private readonly said = new Set<string>();
  /** Why what a source says could not be taken, by key: said once. */
  private readonly refused = new Map<string, string>();
  private stopped = false;
  /** Which configuration is in force. */
  stamp: Stamp;
  /** Who wants to know how the next reading of the file ends. */
  private waiting: ((outcome: Ended) => void)[] = [];
  /** The file's text when it was looked at last: of a file that is being written only the end counts. */
  private seen: string;
  private taken: string;

  /**
   * @param config as it is now, with the servers of its sources; what the flags say wins over it as it did at the start
   * @param outcomes null: nobody asks
   */
  constructor(
    private readonly source: ConfSource,
    public config: Config,
    private readonly sources: Sources,
    private readonly service: Reloadable,
    private readonly around: Surroundings,
    private readonly log: Log,
    private readonly clock: Clock,
    private readonly turns: Turns,
    private readonly outcomes: OutcomeFile | null,
  ) {
    this.seen = this.taken = source.text();
    this.stamp = { epoch: 0, cause: "start", atMs: clock.wallMs() };
  }

  /** The process serves. Looks at the sources from now on, and at the file if the configuration says so. */
  watch(): void {
    this.begun = true;
    this.sources.watch(this.log, (key) => this.sourceChanged(key));
    this.watchFile();
    this.next();
  }

  private watchFile(): void {
    this.clock.setTimer(WATCH_MS, () => {
      if (this.stopped) return;
      const text = this.config.process.watch ? this.source.text() : this.taken;
      // The same for a second: whoever writes it has finished.
      if (text !== this.taken && text === this.seen && text !== "") this.request("the file has changed");
      this.seen = text;
      this.watchFile();
    });
  }

  /** Reads the file again, now or when the reload that is under way has ended. @param cause for the log */
  request(cause: string): void {
    this.asked = cause;
    this.next();
  }

  /** As `request`; resolves when that reload, or one that began later, has ended. Never rejects. */
  reload(cause: string): Promise<Ended> {
    if (this.stopped) return Promise.resolve({ ok: false, text: "the process is stopping" });
    return new Promise((resolve) => {
      this.waiting.push(resolve);
      this.request(cause);
    });
  }

  private sourceChanged(key: string): void {
    this.said.add(key);
    this.next();
  }

  /** Takes up what is to be done next, unless something is being done. */
  private next(): void {
    if (!this.begun || this.stopped || this.running) return;
    const { asked } = this;
    const [key] = this.said;
    if (asked === null && key === undefined) return;
    this.running = true;
    this.asked = null;
    if (asked === null) this.said.delete(key!);
    void (asked !== null ? this.readAgain(asked) : this.takeSource(key!)).then(() => {
      this.running = false;
      this.next();
    });
  }

  /** The process is stopping: no more changes. */
  stop(): void {
    this.stopped = true;
    this.tell(this.waiting, { ok: false, text: "the process is stopping" });
    this.sources.stop();
    this.outcomes?.remove();
  }

  private async readAgain(cause: string): Promise<void> {
    const { waiting } = this;
    this.waiting = [];
    this.around.reloading();
    const beganMs = this.clock.wallMs();
    const ended = await this.readFile(cause);
    await this.ended(ended, beganMs);
    this.tell(waiting, ended);
    this.sources.keep(this.config);
    // What was refused may be allowed now, or is said once more.
    this.refused.clear();
    for (const key of this.sources.waiting()) this.said.add(key);
  }

  private tell(waiting: ((outcome: Ended) => void)[], ended: Ended): void {
    for (const told of waiting.splice(0)) told(ended);
  }

  private async readFile(cause: string): Promise<Ended> {
    try {
      // Log files have just been opened anew.
      await nextTurn(this.clock);
      this.taken = this.source.text();
      const read = await this.turns.rarely(this.source.loadSteps(this.clock.wallMs()));
      const next = await this.sources.fill(read);
      const change = await this.changeTo(next);
      if (!change.same) {
        await this.enforce(change, cause);
        // What is told of it has a turn to itself.
        await nextTurn(this.clock);
      }
      await this.around.refresh();
      await nextTurn(this.clock);
      const head = change.same
        ? `reload (${cause}): nothing is different in ${this.source.name}`
        : `reloaded ${this.source.name} (${cause})`;
      return { ok: true, text: [head, ...changeLines(change)].join("\n") };
    } catch (error) {
      return { ok: false, text: `reload (${cause}) refused, nothing has changed:\n${messageOf(error)}` };
    }
  }

  /** Only its own pools are concerned, so no other source or file is held up by what is refused here. */
  private async takeSource(key: string): Promise<void> {
    const latest = this.sources.latestOf(key);
    // A reload may have removed it.
    if (latest === null) return;
    const { text, servers } = latest;
    try {
      const change = await this.changeTo(this.sources.withServers(this.config, key, servers));
      const lines = changeLines(change);
      // A cluster's pool has one line, or few, a change: there may be ten of them a second.
      const plan = change.plans.find((each) => each.slots !== undefined);
      if (plan !== undefined) {
        await this.commit(change, `${text}: ${lines[0]}`.slice(0, CAUSE_MAX), plan.name);
      } else if (!change.same) await this.commit(change, text, null);
      this.sources.take(key, servers);
      this.refused.delete(key);
      if (plan !== undefined) return this.write(true, lines.map((line) => `${text}: ${line}`).join("\n"));
      const head = change.same ? `${text}: as before` : `${text} has changed`;
      this.write(true, [head, ...lines].join("\n"));
    } catch (error) {
      const why = messageOf(error);
      if (this.refused.get(key) !== why) {
        this.write(false, `${text} has changed, refused, the servers stay as they are:\n${why}`);
      }
      this.refused.set(key, why);
      // What was refused will be again, until something is different.
      if (error instanceof RefusedChange) return;
      this.clock.setTimer(SOURCE_AGAIN_MS, () => this.sourceChanged(key));
    }
  }

  /** All of it, or it rejects and nothing has changed. */
  private async enforce(change: ConfigChange, cause: string): Promise<void> {
    await nextTurn(this.clock);
    const refusal = await this.around.refusal(change.after);
    if (refusal !== null) throw new RefusedChange(refusal);
    await this.commit(change, cause, null);
  }

  /** What can be refused about addresses has been looked at, or is as it was: a source has nothing to say of it. */
  private async commit(change: ConfigChange, cause: string, slotsOf: string | null): Promise<void> {
    const stamp = { epoch: this.stamp.epoch + 1, cause, atMs: this.clock.wallMs() };
    await this.service.reload(change, stamp);
    this.stamp = stamp;
    const before = this.config;
    this.config = change.after;
    this.around.adopt(before, change.after, cause, slotsOf);
  }

  /** Others have their turns meanwhile: with one worker this thread carries the traffic. */
  private changeTo(next: Config): Promise<ConfigChange> {
    return this.turns.rarely(changeSteps(this.config, next));
  }

  private write(ok: boolean, text: string): void {
    atOnce(this.writeSteps(ok, text));
  }

  private *writeSteps(ok: boolean, text: string): Generator<number, void> {
    for (const line of text.split("\n")) {
      this.log.write(ok ? NOTICE : ERR, line);
      yield LINE_US;
    }
  }

  private async ended({ ok, text }: Ended, beganMs: number): Promise<void> {
    await this.turns.rarely(this.writeSteps(ok, text));
    await nextTurn(this.clock);
    this.around.reloaded(text);
    if (!this.stopped) void this.outcomes?.write(ok, text + "\n", beganMs);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Where a process with this pid file says how a reload has ended. */
export function reloadStatusFile(pidFile: string): string {
  return `${pidFile}.reload`;
}

/** `ringmaster reload`: asks the process of the pid file, and tells how it ended. @returns the exit code */
export function reload({ pidFile }: ReloadOptions, clock: Clock, io: Io): Promise<number> {
  const question = { command: "reload", signal: "SIGHUP", statusFile: reloadStatusFile(pidFile) } as const;
  return askProcess(pidFile, question, clock, io);
}
