/**
 * Waiting for a state instead of sleeping: asks again and again, and on giving up says what it waited for.
 */

/** How long any wait in a test may take, in ms. Only ever reached by a failure: 20 s were, by a machine with much else to do. */
export const PATIENCE_MS = 60_000;

export const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Asks `condition` until its answer is truthy and returns that answer. A condition that throws counts as "not yet".
 *
 * @param what completes the sentence "gave up waiting for …"; a function is asked when giving up
 * @param patienceMs how long to go on
 */
export async function poll<T>(
  condition: () => T | Promise<T>,
  what: string | (() => string),
  patienceMs = PATIENCE_MS,
): Promise<NonNullable<Exclude<T, false>>> {
  const giveUpMs = performance.now() + patienceMs;
  let pauseMs = 1;
  let last: unknown;
  for (;;) {
    try {
      const answer = await condition();
      if (answer) return answer as NonNullable<Exclude<T, false>>;
      last = answer;
    } catch (error) {
      last = error;
    }
    if (performance.now() > giveUpMs) break;
    await delay(pauseMs);
    pauseMs = Math.min(pauseMs * 2, 50);
  }
  const text = typeof what === "string" ? what : what();
  const seen = last instanceof Error ? last.message : Deno.inspect(last);
  throw new Error(`gave up waiting for ${text} after ${patienceMs} ms; last seen: ${seen}`);
}

/**
 * As `poll`, for something a spawned process is to do: fails at once, with its output, if the process ends first.
 */
export async function pollProcess(
  process: { readonly status: unknown; readonly stderr: string },
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string),
  patienceMs = PATIENCE_MS,
): Promise<void> {
  await poll(async () => process.status !== null || await condition(), what, patienceMs);
  if (process.status !== null) {
    throw new Error(
      `the process ended before ${typeof what === "string" ? what : what()}:\n${process.stderr}`,
    );
  }
}

/** `promise`, or an error that names `what` after `patienceMs`. The promise itself goes on; close what it uses. */
export async function within<T>(promise: Promise<T>, what: string, patienceMs = PATIENCE_MS): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`gave up waiting for ${what} after ${patienceMs} ms`)),
      patienceMs,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
