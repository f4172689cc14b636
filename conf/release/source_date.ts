/** The one time that files of a release have: SOURCE_DATE_EPOCH if it is set, else when the commit was made; 0 without git. Seconds. */
import { run } from "./runtime.ts";

export async function sourceDate(root: string): Promise<number> {
  const given = Deno.env.get("SOURCE_DATE_EPOCH");
  if (given !== undefined && /^\d+$/.test(given)) return Number(given);
  try {
    return Number((await run("git", ["log", "-1", "--format=%ct"], root)).trim());
  } catch {
    return 0;
  }
}
