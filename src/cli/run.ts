/**
 * Runs the proxy as a process: log, daemon, pid file, signals, and the way out.
 *
 *   configuration ──► log ──► (daemon) ──► listeners ──► pid file ──► … ──TERM/INT──► drain ──► exit 0
 *
 * What is wrong with the configuration is said before anything else is touched. Signals and their meaning are
 * nutcracker's; TERM and INT end gracefully here, the second one at once.
 */
import { hostname, release, type as osType } from "node:os";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import type { AdminService, Phase } from "../admin/around.ts";
import { Live } from "../admin/live.ts";
import { adminRefusal, AdminSide } from "../admin/side.ts";
import { adviceFor } from "../config/advice.ts";
import type { Config } from "../config/config.ts";
import { ConfigError } from "../config/parse.ts";
import { WORKERS_MAX } from "../config/schema.ts";
import { ERR, NOTICE, WARN } from "../net/log.ts";
import { strangersOf } from "./environment.ts";
import type { Address } from "../net/net.ts";
import { Proxy } from "../service/proxy.ts";
import { coresAvailable } from "../runtime/cores.ts";
import { startDaemon } from "../runtime/daemon.ts";
import { addressText } from "../runtime/errors.ts";
import { closeOthers, forgetVariable } from "../runtime/heirloom.ts";
import { LogFile } from "../runtime/log_file.ts";
import { openNotify } from "../runtime/notify.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { Workers } from "../service/workers.ts";
import type { Stamp } from "../topology/change.ts";
import { SourceError } from "../topology/source.ts";
import { Sources } from "../topology/sources.ts";
import { SERVED } from "../stats/latency.ts";
import { VERSION } from "../stats/version.ts";
import { clashAtStart } from "./clash.ts";
import { complaint, type ConfSource, tlsRefusal } from "./conf_file.ts";
import { type RunOptions, VERBOSE_DEFAULT } from "./flags.ts";
import { EXIT_FAILURE, EXIT_OK, type Io } from "./io.ts";
import { Manager } from "./manager.ts";
import { OutcomeFile } from "./outcome.ts";
import { type Reloadable, Reloader, reloadStatusFile, type Surroundings } from "./reload.ts";
import { jsonSchema } from "./schema.ts";
import { sayReady, Successor, upgradeStatusFile } from "./successor.ts";
import { Director, type Followed } from "../service/director.ts";
import { runErrand } from "../service/errands.ts";
import { Machine } from "../service/machine.ts";
import { AccessLog } from "../service/access_log.ts";
import { Tapping } from "../service/tapping.ts";
import { Turns } from "../service/turns.ts";
import { proxyOptions, random } from "../service/proxy_options.ts";

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

/**
 * Resolves with the exit code when the proxy has stopped.
 * @param source where its configuration is
 * @param program URL of the module that starts the program, and its workers
 */
export async function run(
  source: ConfSource,
  options: RunOptions,
  argv: readonly string[],
  runtime: Runtime,
  program: string,
  io: Io,
): Promise<number> {
  const file = source.name;
  const checked = await readAndCheck(source, options, runtime, io);
  if (checked === null) return EXIT_FAILURE;
  const { config, sources } = checked;
  // What is wrong has been said to whoever has started it.
  if (options.daemonize && startDaemon(argv)) return EXIT_OK;
  let log: LogFile;
  try {
    log = openLog(options, config);
  } catch (error) {
    io.err(`ringmaster: cannot open the log: ${(error as Error).message}\n`);
    return EXIT_FAILURE;
  }
  const count = workerCount(options.workers ?? config.process.workers);
  const director = new Director({
    ...runtime,
    config,
    random,
    log,
    hint: (...seen) => sources.hint(...seen),
  });
  const turns = new Turns(runtime.clock);
  const service: Service = count === 1
    ? new Proxy({
      ...proxyOptions(config, runtime, log),
      turns,
      sign: (...seen) => director.sign(...seen),
    })
    : new Workers({ ...runtime, config, count, program, log, hostName: hostname(), director });
  const { name, version, net } = runtime;
  log.write(
    NOTICE,
    `ringmaster-${VERSION} on ${name} ${version} (${net.name} sockets), ${osType()} ${release()}, pid ${process.pid}`,
  );
  for (const line of adviceFor(config)) log.write(NOTICE, line);
  let phase: Phase = "starting";
  const tapping = new Tapping(runtime.clock, service);
  const accessLog = new AccessLog(tapping, log);
  const admin: AdminSide = new AdminSide({
    clock: runtime.clock,
    log,
    turns,
    service,
    director,
    tapping,
    machine: new Machine(config, runtime),
    live: liveOf(runtime, turns, service, director),
    get config(): Config {
      return service.config;
    },
    get stamp(): Stamp {
      return reloader.stamp;
    },
    get phase(): Phase {
      return phase;
    },
    control: {
      reload: () => reloader.reload("admin"),
      setLogLevel(level) {
        log.level = level;
        service.levelChanged?.();
        log.write(0, `log level is ${level} (admin)`);
      },
      plan: (text) =>
        runErrand(program, runtime.clock, PLAN_MAX_MS, "plan", { before: service.config, text, file }),
      schema: jsonSchema,
    },
  }, options.admin);
  for (const line of strangersOf(process.env, name)) log.write(WARN, line);
  const manager = managerOf(runtime);
  const upgrades = options.pidFile === null ? null : new OutcomeFile(upgradeStatusFile(options.pidFile), log);
  const reloader = new Reloader(
    source,
    config,
    sources,
    service,
    surroundingsOf(file, options, runtime, service, director, admin, manager, accessLog, log),
    log,
    runtime.clock,
    options.pidFile === null ? null : new OutcomeFile(reloadStatusFile(options.pidFile), log),
  );
  const successor = new Successor(
    argv,
    service,
    {
      makeWay: () => admin.stop(),
      takeBack: () => {
        admin.start(reloader.config).catch((error: Error) => log.write(ERR, error.message));
      },
      giveWay(pid) {
        manager.handedOn(pid);
        stop(`process ${pid} has taken over`);
      },
      tell: (ok, text) => upgrades?.write(ok, text + "\n"),
    },
    log,
    runtime.clock,
  );
  handleOtherSignals(service, log, accessLog, reloader, successor);
  const isStopping = () => phase === "draining";
  // Before anybody can know that we are there: a TERM right after the start stops us in good order too.
  const { ended, stop } = stopping(service, reloader, log, () => {
    phase = "draining";
    successor.stop();
    manager.draining();
  });
  try {
    await admin.start(config);
    await director.start(service);
    await service.listen({ host: options.statsAddress, port: options.statsPort });
    closeOthers(placesOf(config, count));
    forgetVariable();
    if (options.pidFile !== null) writeFileSync(options.pidFile, String(process.pid), { mode: 0o644 });
    accessLog.adopt(config.process);
    runtime.started?.();
    reloader.watch();
    if (phase === "starting") {
      phase = "serving";
      manager.ready(`serving ${config.pools.length} pools`);
      sayReady();
    }
  } catch (error) {
    // Told to stop while it started: that is what it does.
    if (!isStopping()) {
      log.write(0, `cannot start: ${(error as Error).message}`);
      if (log.toFile) io.err(`ringmaster: cannot start: ${(error as Error).message}\n`);
      manager.failed(`cannot start: ${(error as Error).message}`);
      manager.stop();
      admin.stop();
      await service.stop();
      return EXIT_FAILURE;
    }
  }
  await ended;
  accessLog.close();
  tapping.stop();
  director.stop();
  admin.stop();
  manager.stop();
  if (options.pidFile !== null && isOurs(options.pidFile)) {
    rmSync(options.pidFile, { force: true });
    upgrades?.remove();
  }
  log.write(NOTICE, "stopped");
  return EXIT_OK;
}

/** The configuration, with what its sources say; null if this process cannot start with it, and why has been said. */
async function readAndCheck(
  source: ConfSource,
  options: RunOptions,
  runtime: Runtime,
  io: Io,
): Promise<{ readonly config: Config; readonly sources: Sources } | null> {
  const refuse = (why: string) => {
    io.err(`ringmaster: cannot start: ${why}\n`);
    return null;
  };
  let config: Config;
  try {
    config = source.load(runtime.clock.wallMs());
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    io.err(complaint(error, source));
    return null;
  }
  const wrong = adminRefusal(config, options.admin) ?? AccessLog.refusal(config.process) ??
    tlsRefusal(config, runtime.net) ??
    await clashAtStart(config, source.name, options, runtime.resolve);
  if (wrong !== null) return refuse(wrong);
  const sources = new Sources({ ...runtime, random });
  try {
    config = await sources.fill(config);
    sources.keep(config);
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    return refuse(error.message);
  }
  return { config, sources };
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

/** Flags win over the file. */
function logSettings(options: RunOptions, config: Config) {
  const { level, format, output } = config.process.log;
  return {
    path: options.output ?? output,
    level: options.verbose ?? level ?? VERBOSE_DEFAULT,
    json: (options.logFormat ?? format) === "json",
  };
}

function openLog(options: RunOptions, config: Config): LogFile {
  const { path, level, json } = logSettings(options, config);
  return new LogFile(path, level, json);
}

/** The addresses and the log of another configuration. */
function surroundingsOf(
  file: string,
  options: RunOptions,
  runtime: Runtime,
  service: Service,
  director: Director,
  admin: AdminSide,
  manager: Manager,
  accessLog: AccessLog,
  log: LogFile,
): Surroundings {
  return {
    async refresh() {
      await service.gather("certificates", null);
    },
    reloading: () => manager.reloading(),
    reloaded: (text) => manager.reloaded(text),
    async refusal(next) {
      const clash = await clashAtStart(next, file, options, runtime.resolve);
      return clash ?? adminRefusal(next, options.admin) ?? AccessLog.refusal(next.process) ??
        tlsRefusal(next, runtime.net) ??
        log.refusal(logSettings(options, next).path);
    },
    adopt(before, next, cause, slotsOf) {
      director.adopt(next, cause, slotsOf);
      admin.adopt(next);
      accessLog.adopt(next.process);
      if (slotsOf === null) { for (const line of adviceFor(next)) log.write(NOTICE, line); }
      const { path, level, json } = logSettings(options, next);
      try {
        log.adopt(path, json);
      } catch (error) {
        log.write(ERR, `cannot open the log, going on with the old one: ${(error as Error).message}`);
      }
      // Unless the file says otherwise than it did, signals have the last word.
      if (level === logSettings(options, before).level) return;
      log.level = level;
      service.levelChanged?.();
    },
  };
}

/**
 * Handles signals until one of them, or `stop`, has stopped the proxy: the first time it finishes what is in flight.
 * @param stops called when one has begun to
 */
function stopping(
  service: Service,
  reloader: Reloader,
  log: LogFile,
  stops: () => void,
): { readonly ended: Promise<void>; readonly stop: (cause: string) => void } {
  let stop = (_cause: string) => {};
  const ended = new Promise<void>((resolve) => {
    let stopping = false;
    stop = (cause) => {
      log.write(NOTICE, `${cause}, ${stopping ? "exiting at once" : "finishing what is in flight"}`);
      if (stopping) {
        Promise.resolve(service.stop()).then(resolve);
        return;
      }
      stopping = true;
      stops();
      reloader.stop();
      service.drain(reloader.config.process.shutdownTimeoutMs).then((cutOff) => {
        if (cutOff > 0) log.write(NOTICE, `${cutOff} clients were cut off after shutdown_timeout`);
        resolve();
      });
    };
    process.on("SIGTERM", () => stop("signal SIGTERM received"));
    process.on("SIGINT", () => stop("signal SIGINT received"));
  });
  return { ended, stop };
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

/** The signals that do not stop it; until they are handled they would. */
function handleOtherSignals(
  service: Service,
  log: LogFile,
  accessLog: AccessLog,
  reloader: Reloader,
  successor: Successor,
): void {
  process.on("SIGHUP", () => {
    reopen(log);
    accessLog.reopen();
    reloader.request("SIGHUP");
  });
  process.on("SIGTTIN", () => changeLevel(log, service, 1));
  process.on("SIGTTOU", () => changeLevel(log, service, -1));
  // Without a handler this one would end the process; nutcracker only mentions it.
  process.on("SIGUSR1", () => log.write(NOTICE, "signal SIGUSR1 received"));
  process.on("SIGUSR2", () => void successor.start("signal SIGUSR2 received"));
  process.on("SIGPIPE", () => {});
}

function reopen(log: LogFile): void {
  log.write(NOTICE, "signal SIGHUP received, reopening log file");
  try {
    log.reopen();
  } catch (error) {
    log.write(NOTICE, `cannot reopen the log, going on with the old one: ${(error as Error).message}`);
  }
}

function changeLevel(log: LogFile, service: Service, by: 1 | -1): void {
  log.raise(by);
  service.levelChanged?.();
  log.write(0, `signal ${by > 0 ? "SIGTTIN" : "SIGTTOU"} received, log level is ${log.level}`);
}

/** @param wanted 0 = auto: a worker a core */
function workerCount(wanted: number): number {
  return wanted > 0 ? wanted : Math.min(coresAvailable(), WORKERS_MAX);
}
