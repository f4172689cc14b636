/**
 * `ringmaster top`: the essentials of a running proxy in a terminal, once a second.
 *
 *   /api/live (a message a second) ──► what the view needs besides (/api/pools, /api/keys/hot, …) ──► top_view.ts ──► terminal
 *
 * Where there is no terminal it prints a report a second; with --json an object a line.
 */
import { type AdminPeer, askAdmin, streamAdmin } from "../admin/client.ts";
import type { EventShape, HistoryShape, LiveShape } from "../admin/page/shapes.ts";
import type { Clock } from "../net/net.ts";
import { NoPeer, peerOf } from "./admin_peer.ts";
import type { TopOptions } from "./flags.ts";
import { EXIT_FAILURE, EXIT_OK, type Io } from "./io.ts";
import { Terminal } from "./terminal.ts";
import {
  type Chosen,
  columnsOf,
  report,
  screen,
  type Seen,
  serverRows,
  sortOf,
  type View,
  VIEWS,
} from "./top_view.ts";

const ANSWER_MAX_MS = 5000;
/** When somebody who does not answer any more is asked again. */
const AGAIN_MS = 1000;
const PAGE_ROWS = 10;
const EVENTS_KEPT = 500;
/** Events of a line of JSON. */
const EVENTS_TOLD = 50;

export async function top(options: TopOptions, clock: Clock, io: Io): Promise<number> {
  try {
    return await new Top(peerOf(options), options, clock, io).run();
  } catch (error) {
    if (!(error instanceof NoPeer)) throw error;
    io.err(`ringmaster top: ${error.message}\n`);
    return EXIT_FAILURE;
  }
}

class Top {
  private readonly terminal: Terminal;
  private seen: Seen;
  private chosen: Chosen;
  private readonly draws: boolean;
  private stopped = false;
  /** Ends what is waited for: the stream, or the pause before the next try. */
  private interrupt: () => void = () => {};
  private asking = false;

  constructor(
    private readonly peer: AdminPeer,
    private readonly options: TopOptions,
    private readonly clock: Clock,
    private readonly io: Io,
  ) {
    this.terminal = new Terminal((text) => io.out(text));
    this.draws = this.terminal.draws && !options.once && !options.json;
    this.seen = {
      peer: `${peer.host}:${peer.port}`,
      live: null,
      pools: null,
      before: null,
      hot: null,
      big: null,
      clients: null,
      events: [],
      trouble: "",
    };
    this.chosen = {
      view: "pools",
      sort: sortOf("pools"),
      reversed: false,
      filter: "",
      typing: false,
      pool: options.pool,
      scrolled: 0,
    };
  }

  async run(): Promise<number> {
    if (this.draws) this.terminal.enter((key) => this.take(key), () => this.draw());
    try {
      for (let first = true; !this.stopped; first = false) {
        const trouble = await this.listen();
        if (this.stopped) break;
        if (trouble !== "" && (first && this.seen.live === null || this.options.once)) {
          this.terminal.leave();
          this.io.err(`ringmaster top: ${this.seen.peer}: ${trouble}\n`);
          return EXIT_FAILURE;
        }
        this.see({ trouble: trouble === "" ? "the proxy has ended the connection" : trouble });
        await this.pause(AGAIN_MS);
      }
      return EXIT_OK;
    } finally {
      this.terminal.leave();
    }
  }

  /** Follows the stream to its end. @returns what went wrong, "" = it has ended */
  private async listen(): Promise<string> {
    try {
      const stream = await streamAdmin(this.peer, "/api/live", ANSWER_MAX_MS);
      this.interrupt = () => stream.end();
      if (this.stopped) stream.end();
      // The first second is told by what has changed since now.
      if (this.seen.pools === null) await this.ask();
      let event = "";
      for await (const line of stream.lines) {
        if (stream.status !== 200) return line || `status ${stream.status}`;
        if (line.startsWith("event: ")) event = line.slice(7);
        else if (line === "") event = "";
        else if (event === "history" && line.startsWith("data: ")) {
          const { events } = JSON.parse(line.slice(6)) as HistoryShape;
          this.seen = { ...this.seen, events };
        } else if (event === "" && line.startsWith("data: ")) await this.second(JSON.parse(line.slice(6)));
        if (this.stopped) stream.end();
      }
      return "";
    } catch (error) {
      return (error as Error).message || String(error);
    }
  }

  private async second(live: LiveShape): Promise<void> {
    await this.ask();
    this.see({ live, events: this.withNew(live.events), trouble: "" });
    if (this.options.once) this.stop();
  }

  private withNew(more: readonly EventShape[]): readonly EventShape[] {
    const { events } = this.seen;
    const last = events.at(-1)?.id ?? 0;
    const fresh = more.filter(({ id }) => id > last);
    return fresh.length === 0 ? events : [...events, ...fresh].slice(-EVENTS_KEPT);
  }

  /** What the view needs besides the stream. */
  private async ask(): Promise<void> {
    if (this.asking) return;
    this.asking = true;
    try {
      const { view } = this.chosen;
      const [pools, hot, big, clients] = await Promise.all([
        this.get("/api/pools"),
        view === "hot" || !this.draws ? this.get("/api/keys/hot?count=50") : null,
        view === "big" ? this.get("/api/keys/big?count=50") : null,
        view === "clients" ? this.get("/api/clients?count=1000") : null,
      ]);
      const before = this.seen.pools;
      this.seen = { ...this.seen, pools, before, hot, big, clients };
    } finally {
      this.asking = false;
    }
  }

  private async get(path: string): Promise<any> {
    const { status, text } = await askAdmin(this.peer, path, ANSWER_MAX_MS);
    if (status !== 200) throw new Error(`${path}: status ${status}`);
    return JSON.parse(text);
  }

  private see(change: Partial<Seen>): void {
    this.seen = { ...this.seen, ...change };
    this.draw();
  }

  private draw(): void {
    const { seen, chosen, terminal, io } = this;
    if (this.stopped) return;
    if (this.draws) {
      const { columns, rows } = terminal.size;
      terminal.draw(screen(seen, chosen, columns, rows, terminal.colours));
    } else if (seen.live !== null) {
      io.out(this.options.json ? this.jsonLine() : report(seen, chosen, terminal.size.columns) + "\n");
    }
  }

  private jsonLine(): string {
    const { live, hot, events } = this.seen;
    const { pool } = this.options;
    const mine = <T extends { readonly name: string }>(list: readonly T[]) =>
      pool === null ? list : list.filter(({ name }) => name === pool);
    const servers = serverRows(this.seen).filter((row) => pool === null || row[1] === pool).map((
      [name, pool, state, share, requests, errors, p50, p99, queued],
    ) => ({
      name,
      pool,
      state,
      share,
      requests_per_s: requests,
      errors_per_s: errors,
      p50_us: p50,
      p99_us: p99,
      queued,
    }));
    const ours = events.filter((event) => pool === null || event.pool === "" || event.pool === pool);
    return JSON.stringify({
      at: live!.at,
      pools: mine(live!.pools),
      servers,
      hot: mine(hot?.pools ?? []),
      events: ours.slice(-EVENTS_TOLD),
    }) + "\n";
  }

  // ---- keys

  private take(key: string): void {
    if (this.chosen.typing) this.type(key);
    else this.obey(key);
    this.draw();
  }

  private type(key: string): void {
    const { filter } = this.chosen;
    if (key === "\r" || key === "\n") this.choose({ typing: false });
    else if (key === "\x1b") this.choose({ typing: false, filter: "" });
    else if (key === "\x7f" || key === "\b") this.choose({ filter: [...filter].slice(0, -1).join("") });
    else if (key.length <= 2 && key >= " ") this.choose({ filter: filter + key, scrolled: 0 });
  }

  private obey(key: string): void {
    const view = VIEWS[Number(key) - 1];
    const { chosen } = this;
    if (view !== undefined) this.show(view);
    else if (key === "q") this.stop();
    else if (key === "\t") this.show(VIEWS[(VIEWS.indexOf(chosen.view) + 1) % VIEWS.length]!);
    else if (key === "s" || key === "S") this.sortBy(key === "s" ? 1 : -1);
    else if (key === "r") this.choose({ reversed: !chosen.reversed });
    else if (key === "/") this.choose({ typing: true });
    else if (key === "\x1b[A" || key === "k") this.scroll(-1);
    else if (key === "\x1b[B" || key === "j") this.scroll(1);
    else if (key === "\x1b[5~") this.scroll(-PAGE_ROWS);
    else if (key === "\x1b[6~") this.scroll(PAGE_ROWS);
  }

  private show(view: View): void {
    this.choose({ view, sort: sortOf(view), reversed: false, scrolled: 0 });
    // Not only with the next second.
    this.ask().then(() => this.draw(), () => {});
  }

  private sortBy(step: 1 | -1): void {
    const columns = columnsOf(this.chosen.view);
    const at = columns.indexOf(this.chosen.sort) + step + columns.length;
    this.choose({ sort: columns[at % columns.length]!, reversed: false });
  }

  private scroll(by: number): void {
    this.choose({ scrolled: Math.max(0, this.chosen.scrolled + by) });
  }

  private choose(change: Partial<Chosen>): void {
    this.chosen = { ...this.chosen, ...change };
  }

  private stop(): void {
    this.stopped = true;
    this.interrupt();
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.clock.setTimer(ms, resolve);
      this.interrupt = () => {
        this.clock.clearTimer(timer);
        resolve();
      };
    });
  }
}
