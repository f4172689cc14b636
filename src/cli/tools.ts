/** All commands but the proxy itself. */
import { currentRuntime } from "../runtime/runtime.ts";
import { BUILD, VERSION } from "../stats/version.ts";
import { compare } from "./compare.ts";
import { completions } from "./completions.ts";
import { sourceOf } from "./conf_file.ts";
import { testConf } from "./test_conf.ts";
import { demo } from "./demo.ts";
import type { Flags } from "./flags.ts";
import { hashOfInput } from "./password.ts";
import { health } from "./health.ts";
import { helpText, statsText, versionText } from "./help.ts";
import { EXIT_OK, type Io } from "./io.ts";
import { manPage } from "./man.ts";
import { plan } from "./plan.ts";
import { reload } from "./reload.ts";
import { route } from "./route.ts";
import { schema } from "./schema.ts";
import { upgrade } from "./successor.ts";
import { tap } from "./tap.ts";
import { top } from "./top.ts";

/**
 * Resolves with the exit code.
 * @param program URL of the module that starts the program, and its other threads
 */
export async function tool(
  flags: Exclude<Flags, { command: "run" }>,
  program: string,
  io: Io,
): Promise<number> {
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
      return await testConf(sourceOf(flags.options), io, currentRuntime(), flags.options);
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
      return await demo(flags.options, currentRuntime(), program, io);
  }
}
