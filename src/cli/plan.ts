/**
 * `ringmaster plan OLD NEW`: which keys move if the configuration NEW takes the place of OLD, without running anything.
 *
 *   two files ──► changesOf (topology/plan.ts) ──► text, or one JSON document; a drawing with --svg
 *   --keys FILE ──► lines, in pieces of 64 KiB ──────┘ counted one by one
 */
import { notWritten } from "../bytes/os_error.ts";
import { writeFileSync } from "node:fs";
import { quoted } from "../config/config_error.ts";
import { ConfigError, loadConfig } from "../config/parse.ts";
import { random } from "../service/proxy_options.ts";
import { SourceError } from "../topology/source.ts";
import { type SourceAround, Sources } from "../topology/sources.ts";
import { changesOf, type PoolChange, type PoolPlan } from "../topology/plan.ts";
import type { PlanOptions } from "./flags.ts";
import { UsageError } from "./usage_error.ts";
import { EXIT_FAILURE, EXIT_OK, EXIT_USAGE, type Io } from "./io.ts";
import { FileError, linesOf } from "./key_lines.ts";
import { Progress } from "./progress.ts";
import { planSvg } from "../topology/plan_svg.ts";
import { planText } from "../topology/plan_text.ts";

/** Prints the plan. @returns the exit code; what is wrong with arguments or files has been printed to io.err */
export async function plan(
  options: PlanOptions,
  around: Omit<SourceAround, "random">,
  io: Io,
): Promise<number> {
  const sources = new Sources({ ...around, random });
  const progress = new Progress(() => around.clock.nowMs(), io);
  try {
    const files = [loadConfig(options.before), loadConfig(options.after)];
    // One answer for both files, if both ask the same.
    const [before, after] = [await sources.fill(files[0]!), await sources.fill(files[1]!)];
    for (const line of sources.silent()) io.err(`ringmaster plan: ${line}\n`);
    const changes = chosen(changesOf(before.pools, after.pools), options.pool);
    if (options.keys !== null) countKeys(options.keys, changes, progress);
    const plans = changes.map((change, i) => {
      progress.tell(() => `ringmaster plan: pool ${i + 1} of ${changes.length}`);
      return change.plan(options.keys !== null);
    });
    progress.end();
    io.out(options.json ? JSON.stringify({ pools: plans.map(plain) }, null, 2) + "\n" : textOf(plans));
    if (options.svg !== null) write(options.svg, planSvg(plans));
    return EXIT_OK;
  } catch (error) {
    if (error instanceof ConfigError || error instanceof SourceError || error instanceof FileError) {
      io.err(error.message + "\n");
      return EXIT_FAILURE;
    }
    if (error instanceof UsageError) {
      io.err(`ringmaster plan: ${error.message}\n`);
      return EXIT_USAGE;
    }
    throw error;
  } finally {
    progress.end();
    sources.stop();
  }
}

function chosen(changes: PoolChange[], pool: string | null): PoolChange[] {
  if (pool === null) return changes;
  const found = changes.filter((change) => change.name === pool);
  if (found.length > 0) return found;
  const names = changes.map((change) => change.name).join(", ");
  throw new UsageError(`option --pool: found ${quoted(pool)}, expected one of ${names}`);
}

const textOf = (plans: readonly PoolPlan[]): string => plans.map((plan) => planText(plan)).join("\n");

/** JSON has no NaN, and needs no empty sentence. */
function plain({ why, ...rest }: PoolPlan): unknown {
  return why === "" ? rest : { ...rest, why };
}

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new FileError(`option --svg: ${notWritten(path, error)}`);
  }
}

function countKeys(path: string, changes: readonly PoolChange[], progress: Progress): void {
  let keys = 0;
  for (const { bytes, ends } of linesOf(path, "--keys")) {
    for (let i = 0; i < ends.length; i += 2) {
      for (const change of changes) change.count(bytes, ends[i]!, ends[i + 1]!);
    }
    keys += ends.length / 2;
    progress.tell(() => `ringmaster plan: ${keys} keys`);
  }
}
