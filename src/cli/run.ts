/**
 * The start of a process: what is wrong with its configuration is said before anything else is touched.
 *
 *   configuration ──► (daemon) ──► log ──► Program, which serves until it is told to stop ──► exit code
 */
import { notWritten } from "../bytes/os_error.ts";
import { release, type as osType } from "node:os";
import { adviceFor } from "../config/advice.ts";
import type { Config } from "../config/config.ts";
import { ConfigError } from "../config/parse.ts";
import { NOTICE, WARN } from "../net/log.ts";
import { isDaemon, startDaemon, tellStarter } from "../runtime/daemon.ts";
import { LogFile } from "../runtime/log_file.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { random } from "../service/proxy_options.ts";
import { VERSION } from "../stats/version.ts";
import { SourceError } from "../topology/source.ts";
import { Sources } from "../topology/sources.ts";
import { complaint, type ConfSource } from "./conf_file.ts";
import { EarlySignals } from "./early_signals.ts";
import { strangersOf } from "./environment.ts";
import type { RunOptions } from "./flags.ts";
import { EXIT_FAILURE, EXIT_OK, type Io } from "./io.ts";
import { logSettings } from "./log_settings.ts";
import { Program, workerCount } from "./program.ts";
import { refusal } from "./refusal.ts";
import { tellPredecessor } from "./successor.ts";

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
  given: Io,
): Promise<number> {
  const io = heardAround(given);
  // Who only starts a daemon ends with its terminal.
  const early = options.daemonize && !isDaemon() ? null : new EarlySignals();
  const checked = await readAndCheck(source, options, runtime, io);
  if (checked === null) return EXIT_FAILURE;
  const { config, sources } = checked;
  // What is wrong has been said to whoever has started it.
  if (options.daemonize && !isDaemon()) {
    const { code, text } = await startDaemon(argv, runtime.clock);
    io.err(text);
    return code;
  }
  let log: LogFile;
  const { path, level, json } = logSettings(options, config);
  try {
    log = new LogFile(path, level, json);
  } catch (error) {
    io.err(`ringmaster: cannot open the log: ${notWritten(path, error)}\n`);
    return EXIT_FAILURE;
  }
  const { name, version, net } = runtime;
  log.write(
    NOTICE,
    `ringmaster-${VERSION} on ${name} ${version} (${net.name} sockets), ${osType()} ${release()}, pid ${process.pid}`,
  );
  for (const line of adviceFor(config)) log.write(NOTICE, line);
  for (const line of strangersOf(process.env, name)) log.write(WARN, line);
  const workers = workerCount(options.workers ?? config.process.workers);
  const carrier = workers === 1 ? (await import("../service/proxy.ts")).Proxy : null;
  const start = { source, config, sources, options, argv, runtime, program, log, workers, carrier, early };
  const why = await new Program(start).run();
  if (why === null) return EXIT_OK;
  if (log.toFile || isDaemon()) io.err(`ringmaster: ${why}\n`);
  else tellPredecessor(`${why}\n`);
  return EXIT_FAILURE;
}

/** What is complained of is said to whose place it was to take, too. A daemon's standard error goes nowhere. */
function heardAround(io: Io): Io {
  const err = isDaemon() ? tellStarter : io.err;
  return {
    ...io,
    err(text) {
      err(text);
      tellPredecessor(text);
    },
  };
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
  const wrong = await refusal(config, source.name, options, runtime);
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
