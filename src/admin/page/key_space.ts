/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/**
 * The key space of a pool as one strip: which part of it each server has, and in which state that server is.
 *
 *   ring     │ a 20.1 % │ b 19.8 % │ c 20.3 % │ …     each server's share, in the order of the configuration
 *   cluster  │  a  │ b │ a │   c   │                  the slots 0 to 16383 where they lie
 */
import { percent } from "../../topology/plan_text.ts";
import { el, setAttribute, setText } from "./dom.ts";
import type { PoolShape, ServerShape } from "./shapes.ts";

const SLOTS = 16384;
/** Narrower pieces have no room for a name. */
const NAMED_FROM = 0.055;

interface Piece {
  readonly server: ServerShape | null;
  readonly size: number;
  readonly says: string;
}

export class KeySpace {
  private shown = "";

  constructor(
    private readonly strip: HTMLElement,
    private readonly note: HTMLElement,
    private readonly picked: (server: string) => void,
  ) {
    strip.addEventListener("click", (event) => {
      const name = (event.target as HTMLElement).closest<HTMLElement>("[data-server]")?.dataset.server;
      if (name !== undefined) this.picked(name);
    });
    strip.addEventListener("pointerover", (event) => {
      const says = (event.target as HTMLElement).closest<HTMLElement>("[data-says]")?.dataset.says;
      if (says !== undefined) setText(note, says);
    });
    strip.addEventListener("pointerleave", () => setText(note, this.summary));
  }

  private summary = "";

  set(pool: PoolShape): void {
    const pieces = pool.cluster ? slotPieces(pool.servers) : sharePieces(pool.servers);
    const key = JSON.stringify([
      pool.name,
      pieces.map(({ server, size }) => [server?.name, size, server?.state]),
    ]);
    if (key === this.shown) return;
    this.shown = key;
    this.summary = summaryOf(pool);
    setText(this.note, this.summary);
    setAttribute(this.strip, "aria-label", this.summary);
    const order = new Map(pool.servers.map((server, at) => [server.name, at]));
    this.strip.replaceChildren(...pieces.map(({ server, size, says }) => {
      const tone = server === null ? "nobody" : `${server.state} t${order.get(server.name)! % 6}`;
      const piece = el("span", { class: tone, "data-says": says, "data-server": server?.name ?? null });
      piece.style.flexGrow = String(size * 1000);
      if (server !== null && size >= NAMED_FROM) piece.append(el("span", {}, server.name));
      return piece;
    }));
  }
}

function summaryOf(pool: PoolShape): string {
  const { servers } = pool;
  const off = servers.filter(({ state }) => state !== "live");
  const shares = servers.flatMap(({ share }) => share === null || share === 0 ? [] : [share]);
  const range = shares.length === 0
    ? "no shares are known"
    : `shares from ${percent(Math.min(...shares))} to ${percent(Math.max(...shares))}`;
  const what = pool.cluster ? "16,384 slots" : pool.distribution;
  const names = off.slice(0, 5).map(({ name, state }) => `${name} ${state}`).join(", ");
  const rest = off.length > 5 ? ` and ${off.length - 5} more` : "";
  const state = off.length === 0 ? "all live" : `${names}${rest}`;
  return `${what}, ${servers.length} server${servers.length === 1 ? "" : "s"}, ${range}; ${state}`;
}

function sharePieces(servers: readonly ServerShape[]): Piece[] {
  return servers.filter(({ share }) => (share ?? 0) > 0).map((server) => ({
    server,
    size: server.share!,
    says: `${server.name}: ${percent(server.share!)} of the keys, ${server.state}`,
  }));
}

function slotPieces(servers: readonly ServerShape[]): Piece[] {
  const ranges = servers.flatMap((server) => rangesOf(server).map(([from, to]) => ({ server, from, to })));
  if (ranges.length === 0) return sharePieces(servers);
  ranges.sort((a, b) => a.from - b.from);
  const pieces: Piece[] = [];
  let next = 0;
  const gap = (to: number) => {
    if (to <= next) return;
    const says = `slots ${next} to ${to - 1}: nobody has them`;
    pieces.push({ server: null, size: (to - next) / SLOTS, says });
  };
  for (const { server, from, to } of ranges) {
    gap(from);
    const says = `slots ${from} to ${to}: ${server.name}, ${server.state}`;
    pieces.push({ server, size: (to + 1 - from) / SLOTS, says });
    next = to + 1;
  }
  gap(SLOTS);
  return pieces;
}

/** Of "0-5460 7000", or a list of such. */
function rangesOf({ slots }: ServerShape): [number, number][] {
  const text = Array.isArray(slots) ? slots.join(" ") : typeof slots === "string" ? slots : "";
  return [...text.matchAll(/(\d+)(?:-(\d+))?/g)].map(([, from, to]) => [Number(from), Number(to ?? from)]);
}
