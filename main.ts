/**
 * Ringmaster: composes arguments, configuration, runtime and proxy.
 *
 * Exit codes: 0 success and clean stop, 1 configuration or start-up failure, 2 wrong command line.
 */
import { Buffer } from "node:buffer";
import { readFileSync, writeSync } from "node:fs";
import { compare } from "./src/cli/compare.ts";
import { completions } from "./src/cli/completions.ts";
import { sourceOf, testConf } from "./src/cli/conf_file.ts";
import { demo } from "./src/cli/demo.ts";
import { type Flags, parseFlags } from "./src/cli/flags.ts";
import { hashOfInput } from "./src/cli/password.ts";
import { health } from "./src/cli/health.ts";
import { helpText, statsText, usageText, versionText } from "./src/cli/help.ts";
import { EXIT_OK, EXIT_USAGE, type Io } from "./src/cli/io.ts";
import { manPage } from "./src/cli/man.ts";
import { plan } from "./src/cli/plan.ts";
import { route } from "./src/cli/route.ts";
import { reload } from "./src/cli/reload.ts";
import { run } from "./src/cli/run.ts";
import { schema } from "./src/cli/schema.ts";
import { tap } from "./src/cli/tap.ts";
import { top } from "./src/cli/top.ts";
import { errandOf } from "./src/service/errands.ts";
import { upgrade } from "./src/cli/successor.ts";
import { UsageError } from "./src/cli/usage_error.ts";
import { work } from "./src/service/worker.ts";
import { currentRuntime, isMainThread, workerData } from "./src/runtime/runtime.ts";
import { useEnvironment } from "./src/config/secrets.ts";
import { BUILD, VERSION } from "./src/stats/version.ts";

const io: Io = {
  out: (data) => writeAll(1, typeof data === "string" ? Buffer.from(data) : data),
  err: (text) => writeAll(2, Buffer.from(text)),
  stdin: () => readFileSync(0),
};

/** A pipe may take less than it is given, or nothing for the moment. */
function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(fd, bytes, at, bytes.length - at);
    } catch (error) {
      const code = (error as { code?: string }).code;
      if (code === "EPIPE") return;
      if (code !== "EAGAIN") throw error;
    }
  }
}

async function main(argv: readonly string[]): Promise<number> {
  useEnvironment(process.env);
  let flags: Flags;
  try {
    flags = parseFlags(argv);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    io.err(usageText(error.message));
    return EXIT_USAGE;
  }
  switch (flags.command) {
    case "help":
      io.out(helpText(flags.topic));
      return EXIT_OK;
    case "version": {
      const { name, version } = currentRuntime();
      io.out(versionText(VERSION, `${name} ${version}, ${BUILD}`));
      return EXIT_OK;
    }
    case "describe":
      io.out(statsText());
      return EXIT_OK;
    case "test":
      return await testConf(sourceOf(flags), io, currentRuntime());
    case "route":
      return await route(flags.options, currentRuntime(), io);
    case "plan":
      return await plan(flags.options, currentRuntime(), io);
    case "compare":
      return await compare(flags.options, currentRuntime(), io);
    case "reload":
      return await reload(flags.options, currentRuntime().clock, io);
    case "tap":
      return await tap(flags.options, io);
    case "top":
      return await top(flags.options, currentRuntime().clock, io);
    case "health":
      return await health(flags.options, io);
    case "completions":
      io.out(completions(flags.shell));
      return EXIT_OK;
    case "man":
      io.out(manPage());
      return EXIT_OK;
    case "upgrade":
      return await upgrade(flags.options, currentRuntime().clock, io);
    case "schema":
      return schema(io);
    case "password":
      return await hashOfInput(io);
    case "demo":
      return await demo(flags.options, currentRuntime(), import.meta.url, io);
    case "run":
      return await run(sourceOf(flags.options), flags.options, argv, currentRuntime(), import.meta.url, io);
  }
}

// Other threads are this program again (src/service/workers.ts, errands.ts).
if (isMainThread()) process.exit(await main(process.argv.slice(2)));
else (errandOf(workerData()) ?? (() => work(currentRuntime())))();
