/** The command line is wrong: exit code 2, after the message and a hint at --help. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
