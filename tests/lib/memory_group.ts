/**
 * A memory limit as a container has it, where there is one to be had: RINGMASTER_TEST_CGROUP is a folder of the kernel's memory
 * controller that tests may make groups in, for instance
 *
 *   mkdir /sys/fs/cgroup/tests && RINGMASTER_TEST_CGROUP=/sys/fs/cgroup/tests      version 2; the folder's own processes: none
 *   mkdir /sys/fs/cgroup/memory/tests && …=/sys/fs/cgroup/memory/tests            version 1
 *
 * It is not looked for: a process's own group belongs to whoever has put it there. Without it tests go by resident memory.
 */
export class MemoryGroup implements AsyncDisposable {
  private constructor(private readonly path: string, private readonly v2: boolean) {}

  /** A group of so many bytes; null if there is nowhere to make one. */
  static make(bytes: number): MemoryGroup | null {
    const parent = Deno.env.get("RINGMASTER_TEST_CGROUP");
    if (parent === undefined) return null;
    const path = Deno.makeTempDirSync({ dir: parent, prefix: "ringmaster-" });
    const v2 = exists(`${path}/memory.max`);
    Deno.writeTextFileSync(`${path}/${v2 ? "memory.max" : "memory.limit_in_bytes"}`, String(bytes));
    // What is over the limit is not to hide on a disk.
    if (v2 && exists(`${path}/memory.swap.max`)) Deno.writeTextFileSync(`${path}/memory.swap.max`, "0");
    return new MemoryGroup(path, v2);
  }

  /** Put before a command line: it runs in the group. */
  get prefix(): string[] {
    return ["/bin/sh", "-c", `echo $$ > ${this.path}/cgroup.procs && exec "$0" "$@"`];
  }

  /** How many of its processes the kernel has killed for want of memory. */
  get killed(): number {
    const text = Deno.readTextFileSync(`${this.path}/${this.v2 ? "memory.events" : "memory.oom_control"}`);
    return Number(/^oom_kill (\d+)$/m.exec(text)![1]);
  }

  /** After its processes have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path);
  }
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
