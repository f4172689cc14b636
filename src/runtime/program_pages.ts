/**
 * The pages of the executable itself that a process has in memory.
 *
 *   start: parser, linker, bundled code … ──► 45 MB of them are mapped      (Bun 1.4.5, x86-64)
 *   after `letGoOfProgram`                ──► only those that are used again come back, some 15 MB under load
 *
 * They stay in the kernel's page cache, so one that is needed again costs a page fault and no read. What is gained is that
 * the others count for nobody: resident memory says what the proxy needs, and a container that is short of memory need not look
 * for pages of ours to unmap.
 */
import { readFileSync } from "node:fs";
import type { Libc } from "./libc.ts";

const MADV_DONTNEED = 4;

/** Unmaps the executable's code and constants, which nothing ever writes to; takes 1 to 3 ms. Does nothing where /proc is missing. */
export function letGoOfProgram(libc: Libc): void {
  try {
    for (const { at, size } of constantOf(readFileSync("/proc/self/smaps", "latin1"), process.execPath)) {
      libc.calls.madvise(at, size, MADV_DONTNEED);
    }
  } catch {
    // No /proc.
  }
}

/**
 * Where what cannot change of the program at `path` is mapped, from the text of /proc/self/smaps. Bytes. What has pages of this process's
 * own has been written to before it was made constant, and would be as it is in the file.
 */
export function constantOf(smaps: string, path: string): { at: number; size: number }[] {
  const found = [];
  let candidate: { at: number; size: number } | null = null;
  for (const line of smaps.split("\n")) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ *(.*)$/.exec(line);
    if (head !== null) {
      const [, from, to, rights, name] = head as unknown as string[];
      const at = parseInt(from!, 16);
      const isConstant = name === path && (rights === "r-xp" || rights === "r--p");
      candidate = isConstant ? { at, size: parseInt(to!, 16) - at } : null;
    } else if (candidate !== null && /^Anonymous: +0 kB$/.test(line)) {
      found.push(candidate);
      candidate = null;
    }
  }
  return found;
}
