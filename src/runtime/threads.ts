/**
 * Threads: this program again, by what it was given.
 *
 *   startThread(program, given, handler) ──given──► started(): what is to be done
 *                    Thread.post ──────────────────► Starter.heard
 *               handler.message ◄────────────────── Starter.post
 *
 * On Bun they are its own workers, not those of node:worker_threads, of which each takes 1.6 MB more (1.4.5: what that module needs is
 * loaded by every thread), and the one that starts them 0.6. There `given` is the first message: a worker hears nothing before its main
 * module has been evaluated, so that must not wait for it.
 * Seen on Deno 2.9.6 and Bun 1.4.5: when a thread ends, however that comes, its sockets and listeners are closed before `ended`; messages
 * posted before its end arrive before that too; and an error given to `failed` has no stack on Deno.
 */
import { builtin } from "../bytes/builtin.ts";

const threads = builtin<typeof import("node:worker_threads")>("node:worker_threads");
const url = builtin<typeof import("node:url")>("node:url");

/** A thread as seen by who has started it. */
export interface Thread {
  post(message: unknown): void;
  /** Ends it, whatever it is doing. `ended` is told. */
  end(): void;
}

export interface ThreadHandler {
  message(message: unknown): void;
  /** It has thrown what nobody caught. */
  failed(error: unknown): void;
  ended(): void;
}

/** Who has started this thread, as seen by it. */
export interface Starter {
  /** What this one was given. */
  readonly given: unknown;
  post(message: unknown): void;
  /** To be called once; what has come before is told then. A thread that listens does not end by itself. */
  listen(heard: (message: unknown) => void): void;
}

/** Whether this is the thread that the process has begun with. */
export function isMainThread(): boolean {
  return "Bun" in globalThis ? Bun.isMainThread : threads().isMainThread;
}

/** @param program URL of the program's own module */
export function startThread(program: string, given: unknown, handler: ThreadHandler): Thread {
  if ("Bun" in globalThis) {
    const worker = new Worker(program);
    worker.addEventListener("message", ({ data }) => handler.message(data));
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      handler.failed(event.error ?? event.message);
    });
    worker.addEventListener("close", () => handler.ended(), { once: true });
    worker.postMessage(given);
    return { post: (message) => worker.postMessage(message), end: () => worker.terminate() };
  }
  const thread = new (threads().Worker)(new (url().URL)(program), { workerData: given });
  thread.on("message", (message) => handler.message(message));
  // Without a listener the error would end the whole process.
  thread.on("error", (error) => handler.failed(error));
  thread.on("exit", () => handler.ended());
  return { post: (message) => thread.postMessage(message), end: () => void thread.terminate() };
}

/** Tells what this thread was started for. */
export function started(begin: (starter: Starter) => void): void {
  if (!("Bun" in globalThis)) {
    const port = threads().parentPort!;
    return begin({
      given: threads().workerData,
      post: (message) => port.postMessage(message),
      listen: (heard) => void port.on("message", heard),
    });
  }
  const own = globalThis as unknown as EventTarget & { postMessage(message: unknown): void };
  const early: unknown[] = [];
  let hears = (message: unknown) => {
    hears = (message) => early.push(message);
    begin({
      given: message,
      post: (message) => own.postMessage(message),
      listen: (heard) => {
        hears = heard;
        for (const message of early.splice(0)) heard(message);
      },
    });
  };
  own.addEventListener("message", (event) => hears((event as MessageEvent).data));
}
