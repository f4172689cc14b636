/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/**
 * Asks the proxy: answers, changes, and the stream of seconds.
 *
 * The stream is read with fetch and not with EventSource, which does not say why it failed.
 */
import type { HistoryShape, LiveShape } from "./shapes.ts";

/** The answer was not 2xx, or none came (status 0). The message is for people. */
export class AnswerError extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

/** Without a word for so long the stream counts as broken; it speaks once a second. */
const SILENCE_MS = 10_000;
const AGAIN_MS = [500, 1000, 2000, 3000];

/** Where a token is asked for, the browser asks for it as a password, and sends it along with each of these. */
async function send(path: string, options: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { ...options, cache: "no-store" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new AnswerError(0, "The proxy does not answer.");
  }
  if (response.ok) return response;
  throw new AnswerError(response.status, messageOf(response.status, await response.text()));
}

/** Errors come as {error: "…"} or as plain text. */
function messageOf(status: number, body: string): string {
  try {
    const { error } = JSON.parse(body);
    if (typeof error === "string") return error;
    if (typeof error?.message === "string") return error.message;
  } catch {
    // Plain text, then.
  }
  return body.trim().slice(0, 2000) || `The proxy answered ${status}.`;
}

export async function get<T>(path: string): Promise<T> {
  return await (await send(path, {})).json();
}

/** The answer as text, and parsed if it is JSON. */
export async function post(path: string, body = "", type = "text/plain"): Promise<unknown> {
  const response = await send(path, { method: "POST", body, headers: { "Content-Type": type } });
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export interface Hears {
  history(shape: HistoryShape): void;
  second(shape: LiveShape): void;
  /** What is shown besides, by the name of the event (admin/panels.ts). */
  panel(name: string, shape: unknown): void;
  /** @param why for people */
  broken(why: string): void;
}

/** The stream of seconds; it begins again by itself. */
export class Stream {
  private abort: AbortController | null = null;
  private failures = 0;

  constructor(private readonly hears: Hears) {}

  /** From now on with the history of this pool. */
  open(pool: string | null): void {
    this.abort?.abort();
    const abort = this.abort = new AbortController();
    void this.run(pool, abort);
  }

  close(): void {
    this.abort?.abort();
    this.abort = null;
  }

  private async run(pool: string | null, abort: AbortController): Promise<void> {
    const { signal } = abort;
    while (!signal.aborted) {
      try {
        await this.read(pool, signal);
        if (!signal.aborted) this.hears.broken("The proxy has ended the stream.");
      } catch (error) {
        if (signal.aborted) return;
        this.hears.broken(
          error instanceof AnswerError ? error.message : "The connection to the proxy broke.",
        );
      }
      const wait = AGAIN_MS[Math.min(this.failures++, AGAIN_MS.length - 1)]!;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  private async read(pool: string | null, signal: AbortSignal): Promise<void> {
    const silence = new AbortController();
    const all = AbortSignal.any([signal, silence.signal]);
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    try {
      const path = `/api/live?panels${pool === null ? "" : `&pool=${encodeURIComponent(pool)}`}`;
      const response = await send(path, { signal: all });
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      let held = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
        const parts = (held + value).split("\n\n");
        held = parts.pop()!;
        for (const part of parts) this.take(part);
      }
    } catch (error) {
      if (silence.signal.aborted) throw new AnswerError(0, "The proxy has fallen silent.");
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  private take(part: string): void {
    let kind = "message";
    let data = "";
    for (const line of part.split("\n")) {
      if (line.startsWith("event: ")) kind = line.slice(7);
      else if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (data === "") return;
    this.failures = 0;
    if (kind === "history") this.hears.history(JSON.parse(data));
    else if (kind === "message") this.hears.second(JSON.parse(data));
    else this.hears.panel(kind, JSON.parse(data));
  }
}
