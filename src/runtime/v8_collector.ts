/**
 * How memory is given back on Deno: V8's collector, and then the C library's.
 *
 * Neither needs a flag on the command line: a context that is made after `--expose-gc` is set has `gc`. What it frees outside V8's
 * heap, all bytes under way among it, stays with glibc's malloc until that is asked to trim (seen: 174 MB resident for as long as one
 * looked, 76 after it). Another C library, or no permission for it, means that this part is not done.
 */
import { builtin } from "../bytes/builtin.ts";

const v8 = builtin<typeof import("node:v8")>("node:v8");
const vm = builtin<typeof import("node:vm")>("node:vm");

let steps: readonly (() => void)[] | null = null;

/** Gives unused memory back to the system; takes some ms, with millions of objects a second. */
export function collectV8(): void {
  steps ??= [collector(), trimmer()];
  for (const step of steps) step();
}

function collector(): () => void {
  v8().setFlagsFromString("--expose-gc");
  return vm().runInNewContext("gc") as () => void;
}

function trimmer(): () => void {
  // Asking for a permission would ask the user.
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return () => {};
  try {
    const { symbols } = Deno.dlopen("libc.so.6", { malloc_trim: { parameters: ["usize"], result: "i32" } });
    return () => void symbols.malloc_trim(0n);
  } catch {
    return () => {};
  }
}
