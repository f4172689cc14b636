/**
 * Runs the proxy as a process: log, daemon, pid file, signals, and the way out.
 *
 *   configuration ──► log ──► (daemon) ──► listeners ──► pid file ──► … ──TERM/INT──► drain ──► exit 0
 *
 * What is wrong with the configuration is said before anything else is touched. Signals and their meaning are
 * nutcracker's; TERM and INT end gracefully here, the second one at once.
 */
import { hostname, machine, release, type as osType } from "node:os";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import process from "node:process";
import type { Config } from "../config/config.ts";
import { ConfigError, loadConfig } from "../config/parse.ts";
import { NOTICE } from "../net/log.ts";
import { Proxy } from "../proxy/proxy.ts";
import { startDaemon } from "../runtime/daemon.ts";
import { LogFile } from "../runtime/log_file.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { VERSION } from "../stats/version.ts";
import { findConfFile } from "./conf_file.ts";
import { type RunOptions, VERBOSE_DEFAULT } from "./flags.ts";
import { EXIT_FAILURE, EXIT_OK, type Io } from "./io.ts";

/** Resolves with the exit code when the proxy has stopped. */
export async function run(
  options: RunOptions,
  argv: readonly string[],
  runtime: Runtime,
  io: Io,
): Promise<number> {
  const file = findConfFile(options.confFile);
  let config: Config;
  try {
    config = loadConfig(file);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    io.err(`${error.message}\nringmaster: configuration file '${file}' syntax is invalid\n`);
    return EXIT_FAILURE;
  }
  if (options.daemonize && startDaemon(argv)) return EXIT_OK;
  let log: LogFile;
  try {
    log = openLog(options, config);
  } catch (error) {
    io.err(`ringmaster: cannot open the log: ${(error as Error).message}\n`);
    return EXIT_FAILURE;
  }
  const proxy = new Proxy({
    config,
    net: runtime.net,
    clock: runtime.clock,
    random: Math.random,
    log,
    system: {
      hostName: hostname(),
      processId: process.pid,
      os: `${osType()} ${release()} ${machine()}`,
      filesMax: filesMax(),
      memoryBytes: () => process.memoryUsage().rss,
    },
  });
  log.write(
    NOTICE,
    `ringmaster-${VERSION} on ${runtime.name} ${runtime.version}, ${osType()} ${release()}, pid ${process.pid}`,
  );
  try {
    await proxy.listen({ host: options.statsAddress, port: options.statsPort });
    if (options.pidFile !== null) writeFileSync(options.pidFile, String(process.pid), { mode: 0o644 });
  } catch (error) {
    log.write(0, `cannot start: ${(error as Error).message}`);
    if (log.toFile) io.err(`ringmaster: cannot start: ${(error as Error).message}\n`);
    proxy.stop();
    return EXIT_FAILURE;
  }
  await stopped(proxy, config, log);
  if (options.pidFile !== null) rmSync(options.pidFile, { force: true });
  log.write(NOTICE, "stopped");
  return EXIT_OK;
}

function openLog(options: RunOptions, config: Config): LogFile {
  const { level, format, output } = config.process.log;
  return new LogFile(
    options.output ?? output,
    options.verbose ?? level ?? VERBOSE_DEFAULT,
    (options.logFormat ?? format) === "json",
  );
}

/** Handles signals until one of them has stopped the proxy. */
function stopped(proxy: Proxy, config: Config, log: LogFile): Promise<void> {
  return new Promise((resolve) => {
    let stopping = false;
    const stop = (signal: string) => {
      log.write(
        NOTICE,
        `signal ${signal} received, ${stopping ? "exiting at once" : "finishing what is in flight"}`,
      );
      if (stopping) {
        proxy.stop();
        return resolve();
      }
      stopping = true;
      proxy.drain(config.process.shutdownTimeoutMs).then((cutOff) => {
        if (cutOff > 0) log.write(NOTICE, `${cutOff} clients were cut off after shutdown_timeout`);
        resolve();
      });
    };
    process.on("SIGTERM", () => stop("SIGTERM"));
    process.on("SIGINT", () => stop("SIGINT"));
    process.on("SIGHUP", () => reopen(log));
    process.on("SIGTTIN", () => changeLevel(log, 1));
    process.on("SIGTTOU", () => changeLevel(log, -1));
    process.on("SIGUSR2", () => log.write(NOTICE, "signal SIGUSR2 received"));
    process.on("SIGPIPE", () => {});
  });
}

function reopen(log: LogFile): void {
  log.write(NOTICE, "signal SIGHUP received, reopening log file");
  try {
    log.reopen();
  } catch (error) {
    log.write(NOTICE, `cannot reopen the log, going on with the old one: ${(error as Error).message}`);
  }
}

function changeLevel(log: LogFile, by: 1 | -1): void {
  log.raise(by);
  log.write(0, `signal ${by > 0 ? "SIGTTIN" : "SIGTTOU"} received, log level is ${log.level}`);
}

/** The soft limit of open files; 0 if the system does not say. */
function filesMax(): number {
  try {
    const line = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return line === null ? 0 : Number(line[1]);
  } catch {
    return 0;
  }
}
