/** What is wrong with a configuration file: every problem at once, each with its place. */

export interface Problem {
  /** From 1; 0 where the problem is of the file as a whole. */
  readonly line: number;
  /** From 1, in UTF-16 units; 0 as for line. */
  readonly column: number;
  /** The configuration key, "" where none is concerned. */
  readonly key: string;
  /** What stands there: a quoted value, or words such as "nothing" or "a list". */
  readonly found: string;
  /** What should stand there. */
  readonly expected: string;
  /** The whole sentence, `file:line:column: key: found …, expected …`. */
  readonly text: string;
}

/** The operator erred: exit code 1 before anything listens. The message is all problems, one a line. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  /** In the order of the file; at least one. */
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map((problem) => problem.text).join("\n"));
    this.problems = problems;
  }
}

/** Longer values are cut in messages. */
const SHOWN_MAX = 60;

/** A value as messages show it: quoted, control characters escaped, cut when long. */
export function quoted(text: string): string {
  const shown = text.length > SHOWN_MAX ? text.slice(0, SHOWN_MAX) : text;
  return JSON.stringify(shown) + (shown === text ? "" : "…");
}

export function problem(
  file: string,
  line: number,
  column: number,
  key: string,
  found: string,
  expected: string,
): Problem {
  const place = line === 0 ? file : `${file}:${line}:${column}`;
  const subject = key === "" ? "" : `${key}: `;
  return {
    line,
    column,
    key,
    found,
    expected,
    text: `${place}: ${subject}found ${found}, expected ${expected}`,
  };
}
