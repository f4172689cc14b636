/** Variables of the environment that change what the executable runs on, behind the back of whoever reads its configuration. */

/**
 * A line for the log for each that is set; none if there is nothing to say.
 * @param runtime "bun" or "deno": what it runs on
 */
export function strangersOf(
  environment: Readonly<Record<string, string | undefined>>,
  runtime: string,
): string[] {
  if (runtime !== "bun") return [];
  return Object.keys(environment)
    // What tells where the runtime is installed changes nothing.
    .filter((name) => name.startsWith("BUN_") && !name.startsWith("BUN_INSTALL"))
    .sort()
    .map((name) =>
      `the environment has ${name}: it may change how the runtime works, and is none of ringmaster's settings`
    );
}
