/**
 * The terminal of a subcommand that draws on it: its size, its keys, and as it was when we leave, however that happens.
 */

const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";
const SIZE_DEFAULT = { columns: 80, rows: 24 };
const CONTROL_C = "\x03";
const CONTROL_Z = "\x1a";

export class Terminal {
  /** It can be drawn on: what is written elsewhere (a file, a pipe, a dumb terminal) is lines, one after the other. */
  readonly draws: boolean;
  readonly colours: boolean;
  #entered = false;
  #key: (key: string) => void = () => {};
  #redraw: () => void = () => {};
  readonly #data = (bytes: Uint8Array) => this.#take(new TextDecoder().decode(bytes));
  readonly #resized = () => this.#redraw();
  readonly #leave = () => this.leave();
  readonly #killed = () => {
    this.leave();
    process.exit(1);
  };
  readonly #continued = () => {
    if (!this.#entered) return;
    this.#begin();
    this.#redraw();
  };

  /** @param write to standard output, all of it before it returns */
  constructor(private readonly write: (text: string) => void) {
    const { TERM = "", NO_COLOR = "" } = process.env;
    this.draws = process.stdout.isTTY === true && process.stdin.isTTY === true && TERM !== "" &&
      TERM !== "dumb";
    this.colours = this.draws && NO_COLOR === "";
  }

  get size(): { readonly columns: number; readonly rows: number } {
    const [columns = 0, rows = 0] = process.stdout.isTTY ? process.stdout.getWindowSize?.() ?? [] : [];
    return {
      columns: columns > 0 ? columns : SIZE_DEFAULT.columns,
      rows: rows > 0 ? rows : SIZE_DEFAULT.rows,
    };
  }

  /** Takes the terminal over. @param key called with each key @param redraw called when its size has changed */
  enter(key: (key: string) => void, redraw: () => void): void {
    this.#key = key;
    this.#redraw = redraw;
    this.#entered = true;
    // Whatever ends the process, even a mistake of ours.
    process.on("exit", this.#leave);
    for (const signal of ["SIGTERM", "SIGHUP", "SIGQUIT", "SIGINT"] as const) {
      process.on(signal, this.#killed);
    }
    process.on("SIGWINCH", this.#resized);
    process.on("SIGCONT", this.#continued);
    process.stdin.on("data", this.#data);
    this.#begin();
  }

  #begin(): void {
    process.stdin.setRawMode(true);
    process.stdin.resume();
    this.write(ENTER);
  }

  #end(): void {
    this.write(LEAVE);
    try {
      process.stdin.setRawMode(false);
    } catch {
      // The terminal is gone, and with it what was to be restored.
    }
  }

  /** Gives it back as it was. Does nothing the second time. */
  leave(): void {
    if (!this.#entered) return;
    this.#entered = false;
    process.stdin.off("data", this.#data);
    process.stdin.pause();
    this.#end();
  }

  /** A whole screen, in place of the one that is there. */
  draw(lines: readonly string[]): void {
    if (!this.#entered) return;
    this.write("\x1b[H" + lines.map((line) => line + "\x1b[K").join("\r\n") + "\x1b[J");
  }

  #take(text: string): void {
    for (const key of keysIn(text)) {
      if (!this.#entered) return;
      if (key === CONTROL_Z) this.#suspend();
      else this.#key(key === CONTROL_C ? "q" : key);
    }
  }

  #suspend(): void {
    this.#end();
    process.kill(process.pid, "SIGSTOP");
  }
}

/** Single keys, and what arrows and their like send, which begins with ESC. */
function keysIn(text: string): string[] {
  // deno-lint-ignore no-control-regex
  return text.match(/\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|[^]/gu) ?? [];
}
