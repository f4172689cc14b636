/** What the operating system says of this process, for `/metrics` and whoever else is told. */
import { readdirSync, statSync } from "node:fs";
import { hostname } from "node:os";
import type { Config } from "../config/config.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { memoryMax } from "./ceilings.ts";
import { filesMax, memoryTotal } from "./proxy_options.ts";

/** What stays as it is while the process runs. */
export interface ProcessFacts {
  /** "bun" or "deno". */
  readonly runtime: string;
  readonly runtimeVersion: string;
  readonly hostName: string;
  readonly processId: number;
  /** ms since the epoch of Unix. */
  readonly startedAtMs: number;
  /** -1 = not known. */
  readonly filesMax: number;
  /** Infinity = no ceiling. */
  readonly memoryMaxBytes: number;
}

export interface ProcessReading {
  /** Of all threads, user and system. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  /** -1 = not known. */
  readonly openFiles: number;
}

/** Where they have to be listed one by one, many are counted this often at most, ms: it takes a µs each. */
const COUNT_EVERY_MS = 5000;
const MANY = 1000;
const FILES = "/proc/self/fd";

export class Machine {
  readonly facts: ProcessFacts;
  private files = -1;
  private filesAtMs = -Infinity;

  /** @param config that the process starts with: a reload changes nothing of what is told of it here */
  constructor(config: Config, private readonly around: Pick<Runtime, "clock" | "name" | "version">) {
    this.facts = {
      runtime: around.name,
      runtimeVersion: around.version,
      hostName: hostname(),
      processId: process.pid,
      startedAtMs: around.clock.wallMs(),
      filesMax: filesMax() || -1,
      memoryMaxBytes: memoryMax(config, memoryTotal()),
    };
  }

  read(): ProcessReading {
    const { user, system } = process.cpuUsage();
    return {
      cpuSeconds: (user + system) / 1e6,
      residentBytes: process.memoryUsage().rss,
      openFiles: this.openFiles(),
    };
  }

  private openFiles(): number {
    try {
      // Linux says how many there are since 6.2, without listing them.
      const { size } = statSync(FILES);
      if (size > 0) return size;
      const nowMs = this.around.clock.nowMs();
      if (this.files < MANY || nowMs - this.filesAtMs >= COUNT_EVERY_MS) {
        this.files = readdirSync(FILES).length;
        this.filesAtMs = nowMs;
      }
      return this.files;
    } catch {
      return -1;
    }
  }
}
