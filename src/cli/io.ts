/** What a subcommand may do to the world: write, and read what it was given. Arguments of every command here. */
export interface Io {
  /** To standard output. Bytes stay the caller's only until the call; it hands them over. */
  out(data: string | Uint8Array): void;
  /** To standard error. */
  err(text: string): void;
  /** All of standard input; called at most once. */
  stdin(): Uint8Array;
}

/** Success, and a clean stop after SIGTERM or SIGINT. */
export const EXIT_OK = 0;
/** The configuration is wrong, or starting failed. */
export const EXIT_FAILURE = 1;
/** The command line is wrong. */
export const EXIT_USAGE = 2;
