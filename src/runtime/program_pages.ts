/**
 * The pages of the executable itself that a process has in memory.
 *
 *   start: parser, linker, bundled code … ──► 45 MB of them are mapped      (Bun 1.4.5, x86-64)
 *   after `letGoOfProgram`                ──► only those that are used again come back, some 15 MB
 *
 * They stay in the kernel's page cache, so one that is needed again costs a page fault and no read. What is gained is that
 * the others count for nobody: resident memory says what the proxy needs, and a container that is short of memory need not look
 * for pages of ours to unmap.
 */
import { readFileSync } from "node:fs";
import type { Libc } from "./libc.ts";

const MADV_DONTNEED = 4;

/** Unmaps the executable's code, which nothing ever writes to. Does nothing where /proc is missing. */
export function letGoOfProgram(libc: Libc): void {
  try {
    for (const { at, size } of codeOf(readFileSync("/proc/self/maps", "latin1"), process.execPath)) {
      libc.calls.madvise(at, size, MADV_DONTNEED);
    }
  } catch {
    // No /proc.
  }
}

/** Where the code of the program at `path` is mapped, from the text of /proc/self/maps. Bytes. */
export function codeOf(maps: string, path: string): { at: number; size: number }[] {
  const found = [];
  for (const line of maps.split("\n")) {
    const match = /^([0-9a-f]+)-([0-9a-f]+) r-xp \S+ \S+ \d+ +(.*)$/.exec(line);
    if (match === null || match[3] !== path) continue;
    const at = parseInt(match[1]!, 16);
    found.push({ at, size: parseInt(match[2]!, 16) - at });
  }
  return found;
}
