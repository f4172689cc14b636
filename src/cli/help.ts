/** What the command line says of itself: help, version, and the meaning of statistics. Printed from tables. */
import { POOL_METRICS, SERVER_METRICS } from "../stats/metrics.ts";
import { type Command, type CommandName, commandOf, COMMANDS } from "./flags.ts";

/** Help for a command, or for the proxy itself (null), which lists the commands too. */
export function helpText(topic: CommandName | null): string {
  const command = commandOf(topic ?? "");
  const name = topic === null ? "ringmaster" : `ringmaster ${topic}`;
  const parts = [`Usage: ${name} ${command.usage}`.trimEnd()];
  if (topic === null) parts[0] += "\n       ringmaster COMMAND [flags] …";
  parts.push(command.sentence);
  if (topic === null) parts.push(`Commands, each with --help:\n${commandLines()}`);
  parts.push(`Flags:\n${flagLines(command)}`, ...command.notes);
  return parts.join("\n\n") + "\n";
}

/** @param runtime name and version of what it runs on, such as "bun 1.4.5" */
export function versionText(version: string, runtime: string): string {
  return `This is ringmaster-${version}\n${runtime}\n`;
}

/** What -D prints: every statistic of a pool and of a server, in twemproxy's layout. */
export function statsText(): string {
  const lines = ["pool stats:"];
  for (const metric of POOL_METRICS) lines.push(`  ${metric.name.padEnd(20)}"${metric.description}"`);
  lines.push("", "server stats:");
  for (const metric of SERVER_METRICS) lines.push(`  ${metric.name.padEnd(20)}"${metric.description}"`);
  return lines.join("\n") + "\n";
}

function commandLines(): string {
  return COMMANDS.filter((each) => each.name !== "").map((each) =>
    `  ${each.name.padEnd(23)}: ${each.sentence}`
  ).join("\n");
}

function flagLines(command: Command): string {
  return command.flags.map((flag) => {
    const short = flag.short === "" ? "    " : `-${flag.short}, `;
    const long = `--${flag.long}${flag.value === "" ? "" : `=${flag.value}`}`;
    return `  ${short}${long.padEnd(19)}: ${flag.sentence}`;
  }).join("\n");
}
