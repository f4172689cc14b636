/** The command line is wrong: exit code 2, after the message and a hint at --help. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** One line for what went wrong, and where to read more. For standard error. */
export function usageText(message: string, subcommand: string | null): string {
  const asked = subcommand === null ? "" : `${subcommand} `;
  return `ringmaster: ${message}\nringmaster ${asked}--help shows what there is.\n`;
}
