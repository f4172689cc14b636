/**
 * One worker thread: a Proxy that does what the main thread orders (service/workers.ts), and its way to die.
 *
 * What is thrown here is a mistake of ours. Its state cannot be trusted then, so the thread ends, and with it its
 * clients' connections; the main thread replaces it.
 */
import type { Log } from "../net/log.ts";
import { type Prepared, Proxy } from "./proxy.ts";
import { CrashNet } from "../runtime/crash_net.ts";
import { Peers } from "./peers.ts";
import { answerText } from "./questions.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Starter } from "../runtime/threads.ts";
import type { Appointment, Order, Report } from "./workers.ts";
import { Board } from "../stats/board.ts";
import { proxyOptions } from "./proxy_options.ts";
import { Turns } from "./turns.ts";

/** Says something to the main thread. */
let report: (what: Report) => void;

/** Starts the worker and returns; it lives until it dies or the main thread ends it. */
export function work(runtime: Runtime, starter: Starter): void {
  const { worker, config, board: memory, startedAtMs, stamp, states, events } = starter.given as Appointment;
  report = starter.post;
  const die = (error: unknown) => {
    report({ kind: "died", stack: error instanceof Error ? error.stack ?? error.message : String(error) });
    runtime.closeAll?.();
    // Of a worker this ends the thread only.
    process.exit(1);
  };
  process.on("uncaughtException", die);
  process.on("unhandledRejection", die);
  const board = Board.of(memory);
  const magic = process.env.RINGMASTER_TEST_CRASH;
  const net = magic ? new CrashNet(runtime.net, magic) : runtime.net;
  const peers = new Peers(
    runtime.clock,
    (id, to, pool, question) => report({ kind: "ask", id, to, pool, question }),
  );
  const proxy = new Proxy({
    ...proxyOptions(config, { ...runtime, net }, new WorkerLog(board)),
    turns: new Turns(runtime.clock),
    startedAtMs,
    stamp,
    states,
    events,
    seat: {
      worker,
      board,
      serversChanged: (pool) => report({ kind: "servers", pool }),
      tellOthers: (pool, words) => report({ kind: "know", pool, words }),
      sign: (pool, server, sign, cause) => report({ kind: "sign", pool, server, sign, cause }),
      ask: (to, pool, question, told) => peers.ask(to, pool, question, told),
    },
  });
  starter.listen((order) => obey(proxy, peers, order as Order, runtime));
  report({ kind: "ready" });
}

function obey(proxy: Proxy, peers: Peers, order: Order, runtime: Runtime): void {
  switch (order.kind) {
    case "listen":
      proxy.listen(null).then(
        () => {
          runtime.started?.();
          report({ kind: "listening" });
        },
        (error: Error) => {
          report({ kind: "failed", message: error.message });
          runtime.closeAll?.();
        },
      );
      return;
    case "measure":
      proxy.measure();
      return report({ kind: "measured", id: order.id });
    case "gather":
      return void answerText(proxy, order.question, order.argument, proxy.turns).then((text) =>
        report({ kind: "gathered", id: order.id, text })
      );
    case "servers":
      return proxy.serversChanged(order.pool);
    case "know":
      return proxy.knows(order.pool, order.words);
    case "follow":
      return proxy.follow(order.pool, order.states);
    case "events":
      return proxy.tellEvents(order.seen);
    case "asked": {
      const { id, from } = order;
      return proxy.asked(order.pool, order.question, (answer) => {
        report({ kind: "told", id, to: from, answer: typeof answer === "number" ? null : answer });
      });
    }
    case "told":
      return peers.told(order.id, order.answer);
    case "prepare":
      return prepare(proxy, order);
    case "commit": {
      const prepared = waiting;
      waiting = null;
      if (prepared?.id !== order.id) return;
      proxy.commit(prepared.what);
      return report({ kind: "committed", id: order.id });
    }
    case "abandon":
      if (waiting !== null) proxy.abandon(waiting.what);
      waiting = null;
      preparing = 0;
      return;
    case "drain":
      void proxy.drain(order.timeoutMs).then((cutOff) => report({ kind: "ended", cutOff }));
      return;
    case "stop":
      proxy.stop();
      return report({ kind: "ended", cutOff: 0 });
  }
}

/** The configuration that waits for its commit. */
let preparing = 0;
let waiting: { readonly id: number; readonly what: Prepared } | null = null;

function prepare(proxy: Proxy, { id, config, memory, stamp }: Order & { kind: "prepare" }): void {
  preparing = id;
  proxy.prepare(config, memory, stamp).then(
    (what) => {
      // It may have been given up meanwhile.
      if (preparing !== id) return proxy.abandon(what);
      waiting = { id, what };
      report({ kind: "prepared", id, refused: null });
    },
    (error: Error) => report({ kind: "prepared", id, refused: error.message }),
  );
}

/** The main thread writes the lines, so there is one file to open, and to open anew. */
class WorkerLog implements Log {
  constructor(private readonly board: Board) {}

  get level(): number {
    return this.board.logLevel;
  }

  write(level: number, text: string): void {
    if (level <= this.level) report({ kind: "log", level, text });
  }
}
