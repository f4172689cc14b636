/**
 * Counts what the code under test does, not how long it takes: V8 says how often each block of each function in src/ has run.
 *
 * The count is the same on any machine, loaded or not. A loop over n arguments costs n at least, whatever it does with them; what
 * native code does (copying bytes, searching for one) is not seen. Only what is loaded after `start` is counted.
 */
import { Session } from "node:inspector/promises";

interface Coverage {
  readonly result: readonly {
    readonly url: string;
    readonly functions: readonly {
      readonly functionName: string;
      readonly ranges: readonly { readonly startOffset: number; readonly count: number }[];
    }[];
  }[];
}

export class WorkCounter {
  private constructor(private readonly session: Session, private readonly of: RegExp) {}

  /** @param of whose code is counted, by its URL */
  static async start(of = /\/src\//): Promise<WorkCounter> {
    const session = new Session();
    session.connect();
    await session.post("Profiler.enable");
    await session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
    return new WorkCounter(session, of);
  }

  /** Blocks of src/ that have run since the last call, and the functions with the most of them. */
  async take(): Promise<{ blocks: number; most: string }> {
    const { result } = (await this.session.post("Profiler.takePreciseCoverage")) as unknown as Coverage;
    let blocks = 0;
    let most: { name: string; count: number }[] = [];
    for (const { url, functions } of result) {
      if (!this.of.test(url)) continue;
      for (const { functionName, ranges } of functions) {
        let count = 0;
        for (const range of ranges) count += range.count;
        blocks += count;
        if (count > 1000) {
          most.push({ name: `${functionName} (${url.slice(url.lastIndexOf("/") + 1)})`, count });
        }
      }
    }
    most = most.sort((a, b) => b.count - a.count).slice(0, 4);
    return { blocks, most: most.map(({ name, count }) => `${name} ${count}`).join(", ") };
  }

  async stop(): Promise<void> {
    await this.session.post("Profiler.stopPreciseCoverage");
    this.session.disconnect();
  }
}
