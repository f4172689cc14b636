/**
 * The process while it runs: what carries the traffic, and all that stands around it, in the order in which they begin and end.
 *
 *   admin side ──► director ──► listeners ──► pid file ──► ready ──► … ──TERM, INT or a successor──► drain ──► all stopped
 *
 * Signals and their meaning are nutcracker's; TERM and INT end gracefully here, the second one at once.
 */
import { notWritten, reasonOf } from "../bytes/os_error.ts";
import { readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import type { AdminService, Around, Phase } from "../admin/around.ts";
import { Live } from "../admin/live.ts";
import { Kept } from "../admin/kept.ts";
import { AdminSide } from "../admin/side.ts";
import { adviceFor } from "../config/advice.ts";
import type { Config } from "../config/config.ts";
import { WORKERS_MAX } from "../config/schema.ts";
import { ERR, NOTICE, WARN } from "../net/log.ts";
import type { Address } from "../net/net.ts";
import { coresAvailable } from "../runtime/cores.ts";
import { addressText } from "../runtime/errors.ts";
import { tellStarterServes } from "../runtime/daemon.ts";
import { closeOthers, forgetVariable } from "../runtime/heirloom.ts";
import type { LogFile } from "../runtime/log_file.ts";
import { openNotify } from "../runtime/notify.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { AccessLog } from "../service/access_log.ts";
import { Director, type Followed } from "../service/director.ts";
import { runErrand } from "../service/errands.ts";
import { Machine } from "../service/machine.ts";
import { fewFiles } from "../service/ceilings.ts";
import type { Proxy } from "../service/proxy.ts";
import { filesMax, memoryTotal, proxyOptions, random } from "../service/proxy_options.ts";
import { Tapping } from "../service/tapping.ts";
import { Turns } from "../service/turns.ts";
import { Workers } from "../service/workers.ts";
import { SERVED } from "../stats/latency.ts";
import type { Stamp } from "../topology/change.ts";
import type { Sources } from "../topology/sources.ts";
import type { ConfSource } from "./conf_file.ts";
import type { RunOptions } from "./flags.ts";
import { logSettings } from "./log_settings.ts";
import type { EarlySignals } from "./early_signals.ts";
import { Manager } from "./manager.ts";
import { OutcomeFile, removeAtEnd } from "./outcome.ts";
import { refusal } from "./refusal.ts";
import { type Reloadable, Reloader, reloadStatusFile, type Surroundings } from "./reload.ts";
import { jsonSchema } from "./schema.ts";
import { heldFor, takeHeld } from "./held.ts";
import { type Predecessor, sayReady, Successor, upgradeStatusFile } from "./successor.ts";

/** How long a plan that the admin side is asked for may take, ms. */
const PLAN_MAX_MS = 20_000;

/** What carries the traffic: one Proxy on this thread, or several on threads of their own. */
interface Service extends Reloadable, Followed, AdminService {
  listen(statsAddress: Address): Promise<void>;
  drain(timeoutMs: number): Promise<number>;
  stop(): void | Promise<void>;
  /** The log has another level. */
  levelChanged?(): void;
}

/** With what a process starts: checked, and its log open. */
export interface Start {
  /** Where its configuration is. */
  readonly source: ConfSource;
  /** With the servers of its sources. */
  readonly config: Config;
  readonly sources: Sources;
  readonly options: RunOptions;
  readonly argv: readonly string[];
  readonly runtime: Runtime;
  /** URL of the module that starts the program, and its workers. */
  readonly program: string;
  readonly log: LogFile;
  readonly workers: number;
  /** Null if workers carry the traffic, and this thread none. */
  readonly carrier: typeof Proxy | null;
  /** Signals that came before this one listens to them; null: none were kept. */
  readonly early: EarlySignals | null;
}

export class Program {
  private phase: Phase = "starting";
  private readonly service: Service;
  private readonly director: Director;
  private readonly turns: Turns;
  private readonly tapping: Tapping;
  private readonly accessLog: AccessLog;
  private readonly admin: AdminSide;
  private readonly manager: Manager;
  private readonly reloader: Reloader;
  private readonly successor: Successor;
  /** How the successors that were asked for have ended; null without a pid file: nobody asks. */
  private readonly upgrades: OutcomeFile | null;
  private readonly workers: number;
  /** Resolves when nothing is in flight any more. */
  private readonly drained: Promise<void>;
  private hasDrained = () => {};

  constructor(private readonly start: Start) {
    const { config, sources, options, argv, runtime, program, log, carrier } = start;
    this.drained = new Promise((resolve) => this.hasDrained = resolve);
    this.workers = start.workers;
    this.director = new Director({
      ...runtime,
      config,
      random,
      log,
      hint: (...seen) => sources.hint(...seen),
    });
    this.turns = new Turns(runtime.clock);
    this.service = carrier !== null
      ? new carrier({
        ...proxyOptions(config, runtime, log),
        turns: this.turns,
        sign: (...seen) => this.director.sign(...seen),
      })
      : new Workers({
        ...runtime,
        config,
        count: this.workers,
        program,
        log,
        hostName: hostname(),
        director: this.director,
      });
    this.tapping = new Tapping(runtime.clock, this.service);
    this.accessLog = new AccessLog(this.tapping, log);
    this.admin = new AdminSide(this.aroundAdmin(), options.admin);
    this.manager = managerOf(runtime);
    const outcomes = (file: (pidFile: string) => string) =>
      options.pidFile === null ? null : new OutcomeFile(file(options.pidFile), log);
    this.upgrades = outcomes(upgradeStatusFile);
    this.reloader = new Reloader(
      start.source,
      config,
      sources,
      this.service,
      this.surroundings(),
      log,
      runtime.clock,
      this.turns,
      outcomes(reloadStatusFile),
    );
    this.successor = new Successor(argv, this.service, this.predecessor(), log, runtime.clock);
  }

  /**
   * Serves until it is told to stop.
   * @returns null: it has ended in good order; else why it could not start, for people; the log has it too
   */
  async run(): Promise<string | null> {
    const { options, log } = this.start;
    this.handleSignals();
    try {
      await this.begin();
    } catch (error) {
      // Told to stop while it started: that is what it does.
      if (!this.isStopping()) {
        const why = `cannot start: ${(error as Error).message}`;
        log.write(0, why);
        this.manager.failed(why);
        this.manager.stop();
        this.admin.stop();
        await this.service.stop();
        return why;
      }
    }
    await this.drained;
    this.accessLog.close();
    this.tapping.stop();
    this.director.stop();
    this.admin.stop();
    this.manager.stop();
    if (options.pidFile !== null && isOurs(options.pidFile)) {
      removeAtEnd(options.pidFile, log);
      this.upgrades?.remove();
    }
    log.write(NOTICE, "stopped");
    return null;
  }

  private async begin(): Promise<void> {
    const { config, options, runtime } = this.start;
    const few = fewFiles(config, filesMax(), memoryTotal(), this.workers);
    if (few !== null) this.start.log.write(WARN, few);
    takeHeld(config, this.service, this.start.log);
    await this.admin.start(config);
    await this.director.start(this.service);
    if (this.isStopping()) return;
    await this.service.listen({ host: options.statsAddress, port: options.statsPort });
    closeOthers(placesOf(config, this.workers));
    forgetVariable();
    if (options.pidFile !== null) writePidFile(options.pidFile);
    this.accessLog.adopt(config.process);
    runtime.started?.();
    this.reloader.watch();
    if (this.isStopping()) return;
    this.phase = "serving";
    this.manager.ready(`serving ${config.pools.length} pools`);
    sayReady();
    tellStarterServes();
  }

  private isStopping(): boolean {
    return this.phase === "draining";
  }

  /** Finishes what is in flight, and ends; the second time it ends at once. @param cause for the log */
  private stop(cause: string): void {
    const { log } = this.start;
    log.write(NOTICE, `${cause}, ${this.isStopping() ? "exiting at once" : "finishing what is in flight"}`);
    if (this.isStopping()) {
      Promise.resolve(this.service.stop()).then(this.hasDrained);
      return;
    }
    this.phase = "draining";
    this.successor.stop();
    this.manager.draining();
    this.reloader.stop();
    this.service.drain(this.reloader.config.process.shutdownTimeoutMs).then((cutOff) => {
      if (cutOff > 0) log.write(NOTICE, `${cutOff} clients were cut off after shutdown_timeout`);
      this.hasDrained();
    });
  }

  /** Until they are handled, signals end the process; before anybody can know that we are there, they stop it in good order. */
  private handleSignals(): void {
    const { log } = this.start;
    process.on("SIGTERM", () => this.stop("signal SIGTERM received"));
    process.on("SIGINT", () => this.stop("signal SIGINT received"));
    process.on("SIGHUP", () => {
      reopen(log);
      this.accessLog.reopen();
      this.reloader.request("SIGHUP");
    });
    process.on("SIGTTIN", () => this.raiseLevel(1, "SIGTTIN"));
    process.on("SIGTTOU", () => this.raiseLevel(-1, "SIGTTOU"));
    // Without a handler this one would end the process; nutcracker only mentions it.
    process.on("SIGUSR1", () => log.write(NOTICE, "signal SIGUSR1 received"));
    process.on("SIGUSR2", () => {
      // Its sockets are to be handed on, and it has not got all of them.
      if (this.phase === "starting") {
        log.write(NOTICE, "signal SIGUSR2 received, not serving yet: no successor");
      } else void this.successor.start("signal SIGUSR2 received");
    });
    process.on("SIGPIPE", () => {});
    this.start.early?.handOver();
  }

  private raiseLevel(by: 1 | -1, signal: string): void {
    const { log } = this.start;
    log.raise(by);
    this.service.levelChanged?.();
    log.write(0, `signal ${signal} received, log level is ${log.level}`);
  }

  private setLevel(level: number): void {
    this.start.log.level = level;
    this.service.levelChanged?.();
  }

  /** What the admin side knows, and may do. */
  private aroundAdmin(): Around {
    const { service, director, tapping, turns } = this;
    const { source, config, runtime, program, log } = this.start;
    const phase = () => this.phase;
    const stamp = () => this.reloader.stamp;
    return {
      clock: runtime.clock,
      log,
      turns,
      service,
      director,
      tapping,
      machine: new Machine(config, runtime),
      live: liveOf(runtime, turns, service, director),
      kept: new Kept(),
      get config(): Config {
        return service.config;
      },
      get stamp(): Stamp {
        return stamp();
      },
      get phase(): Phase {
        return phase();
      },
      certificates: () => this.admin.certificates(),
      control: {
        reload: () => this.reloader.reload("admin"),
        setLogLevel: (level) => {
          this.setLevel(level);
          log.write(0, `log level is ${level} (admin)`);
        },
        plan: (text) => {
          const question = { before: service.config, text, file: source.name };
          return runErrand(program, runtime.clock, PLAN_MAX_MS, "plan", question);
        },
        schema: jsonSchema,
      },
    };
  }

  /** The addresses and the log of another configuration. */
  private surroundings(): Surroundings {
    const { source, options, runtime, log } = this.start;
    const { service, director, admin, manager, accessLog } = this;
    return {
      async refresh() {
        await service.gather("certificates", null);
      },
      reloading: () => manager.reloading(),
      reloaded: (text) => manager.reloaded(text),
      async refusal(next) {
        return await refusal(next, source.name, options, runtime) ??
          log.refusal(logSettings(options, next).path);
      },
      adopt: (before, next, cause, slotsOf) => {
        director.adopt(next, cause, slotsOf);
        admin.adopt(next);
        accessLog.adopt(next.process);
        if (slotsOf === null) { for (const line of adviceFor(next)) log.write(NOTICE, line); }
        const { path, level, json } = logSettings(options, next);
        try {
          log.adopt(path, json);
        } catch (error) {
          log.write(ERR, `cannot open the log, going on with the old one: ${notWritten(path, error)}`);
        }
        // Unless the file says otherwise than it did, signals have the last word.
        if (level !== logSettings(options, before).level) this.setLevel(level);
      },
    };
  }

  /** What a successor does to this process. */
  private predecessor(): Predecessor {
    const { log } = this.start;
    return {
      makeWay: () => this.admin.stop(),
      lastWords: () => heldFor(this.service.config, this.service.board),
      takeBack: () => {
        this.admin.start(this.reloader.config).catch((error: Error) => log.write(ERR, error.message));
      },
      giveWay: (pid) => {
        this.manager.handedOn(pid);
        this.stop(`process ${pid} has taken over`);
      },
      tell: async (ok, text) => await this.upgrades?.write(ok, text + "\n"),
    };
  }
}

/** The last fifteen minutes of every pool, for the admin page. */
function liveOf({ clock }: Runtime, turns: Turns, service: Service, { events }: Director): Live {
  return new Live({
    clock,
    turns,
    events,
    stats: () => service.stats(),
    served: (name) => {
      const at = service.config.pools.findIndex((pool) => pool.name === name);
      return service.board.pools[at]?.latency.total(SERVED) ?? null;
    },
  });
}

/** Whoever has started this process, if it wants to be told how it does. */
function managerOf({ clock }: Runtime): Manager {
  const { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID } = process.env;
  const isWatched = WATCHDOG_PID === undefined || Number(WATCHDOG_PID) === process.pid;
  return new Manager(openNotify(NOTIFY_SOCKET), clock, isWatched ? Number(WATCHDOG_USEC) : 0);
}

/** How many listeners there are of each address that pools listen on. */
function placesOf({ pools }: Config, workers: number): Map<string, number> {
  return new Map(pools.map(({ listen }) => [addressText(listen), "path" in listen ? 1 : workers]));
}

/** The pid file is this process's own, and not that of one that has taken its place. */
function isOurs(pidFile: string): boolean {
  try {
    return readFileSync(pidFile, "utf8").trim() === String(process.pid);
  } catch {
    return false;
  }
}

function writePidFile(path: string): void {
  try {
    writeFileSync(path, String(process.pid), { mode: 0o644 });
  } catch (error) {
    throw new Error(`cannot write the pid file: ${notWritten(path, error)}`);
  }
}

function reopen(log: LogFile): void {
  log.write(NOTICE, "signal SIGHUP received, reopening log file");
  try {
    log.reopen();
  } catch (error) {
    log.write(NOTICE, `cannot reopen the log, going on with the old one: ${reasonOf(error)}`);
  }
}

/** @param wanted 0 = auto: a worker a core */
export function workerCount(wanted: number): number {
  return wanted > 0 ? wanted : Math.min(coresAvailable(), WORKERS_MAX);
}
