/**
 * A simulated client that loads libraries of functions and takes them away again, one request after the other; and whether the servers have,
 * when all rests, what it was told they have.
 */
import { exactly, type Judge, matching } from "./expect.ts";
import type { ModelRedis } from "./model_redis.ts";
import type { Random } from "./random.ts";
import { LIBRARIES, libraryText } from "./scripts.ts";
import { bulk, type Step, step, together } from "./step.ts";
import { Violation } from "./truth.ts";

export class LibrarianWorkload {
  readonly blocks = false;
  /** By name: the text, null for none; absent: nobody knows. */
  private readonly sure = new Map<string, string | null>(LIBRARIES.map((name) => [name, null]));
  private version = 0;

  constructor(
    private readonly judge: Judge,
    private readonly client: number,
    private readonly random: Random,
    private readonly login: () => Step[],
  ) {}

  hello(): Step {
    return together([...this.login(), this.load()]);
  }

  next(): Step {
    const { random } = this;
    const kind = random.int(0, 9);
    if (kind < 5) return this.load();
    return kind < 9 ? this.delete() : this.flush();
  }

  epilogue(): Step {
    return this.load();
  }

  goodbye(): Step {
    return { ...step(["QUIT"], exactly("QUIT", "+OK\r\n", true)), last: true };
  }

  private load(): Step {
    const name = this.random.pick(LIBRARIES);
    const text = libraryText(name, this.client * 1000 + ++this.version);
    this.sure.delete(name);
    return this.asking(["FUNCTION", "LOAD", "REPLACE", text], bulk(name), () => this.sure.set(name, text));
  }

  private delete(): Step {
    const name = this.random.pick(LIBRARIES);
    this.sure.delete(name);
    return this.asking(["FUNCTION", "DELETE", name], "+OK\r\n", () => this.sure.set(name, null));
  }

  private flush(): Step {
    this.sure.clear();
    return this.asking(["FUNCTION", "FLUSH"], "+OK\r\n", () => {
      for (const name of LIBRARIES) this.sure.set(name, null);
    });
  }

  private asking(words: readonly string[], good: string, done: () => void): Step {
    return step(
      words,
      matching(words.join(" ").slice(0, 40), (reply) => {
        if (reply === good) done();
        return reply === good || reply.startsWith("-") || this.judge.truth.extras.has(reply);
      }),
    );
  }

  /** @param mayLack it has lost its memory and nobody has noticed @param mayHaveMore it has been away from the pool */
  check(server: number, model: ModelRedis, mayLack: boolean, mayHaveMore: boolean): void {
    for (const [name, text] of this.sure) {
      const there = model.libraries.get(name) ?? null;
      if (there === text || there === null && mayLack || text === null && mayHaveMore) continue;
      throw new Violation(
        `server ${server} has ${
          there ?? "no library"
        } for ${name}, and client ${this.client} was told of ${text}`,
      );
    }
  }
}
