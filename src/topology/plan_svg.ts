/**
 * The drawing of `plan --svg`: for each pool its servers' shares before (left) and after (right), and a band for each
 * pair of servers between which keys move.
 *
 *   a ┃▓▓▓▓▓▓▓▓┃ a        bands that stay with their server are pale, those that move have the colour of where
 *   b ┃▓▓╲╱▓▓▓▓┃ b        they come from
 *     ┃  ╱╲▓▓▓▓┃ c
 *
 * Plain SVG 1.1 without script, style sheet or font of its own; names are escaped.
 */
import type { PlanMove, PlanServer, PoolPlan } from "./plan.ts";
import { percent } from "./plan_text.ts";

const WIDTH = 900;
const [LEFT, RIGHT, BAR] = [300, 600, 14];
const POOL_HEIGHT = 360;
const [TOP, BOTTOM, GAP] = [56, 24, 3];
/** Of the height, what gaps may take at most: of very many servers each has less of one. */
const GAPS_MAX = 0.25;
const COLOURS = ["#3b6ea5", "#c8553d", "#588b4c", "#8d6a9f", "#d19a2e", "#2a9d8f", "#a0522d", "#607d8b"];

/** One document for all pools, one below the other. */
export function planSvg(plans: readonly PoolPlan[]): string {
  const height = Math.max(plans.length, 1) * POOL_HEIGHT;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" ` +
    `font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n` +
    plans.map((plan, k) => `<g transform="translate(0 ${k * POOL_HEIGHT})">\n${drawPool(plan)}</g>\n`).join(
      "",
    ) +
    "</svg>\n";
}

interface Bar {
  readonly colour: string;
  readonly top: number;
  readonly height: number;
  /** Where the next band begins. */
  next: number;
}

function drawPool(plan: PoolPlan): string {
  const colours = new Map(plan.servers.map((server, k) => [server.name, COLOURS[k % COLOURS.length]!]));
  const old = barsOf(plan.servers, (server) => server.before, colours);
  const next = barsOf(plan.servers, (server) => server.after, colours);
  const moved = plan.moved === null ? plan.change : `${percent(plan.moved)} of the keys move`;
  let out = text(WIDTH / 2, 24, "middle", `pool ${plan.name}: ${moved}`, 15) +
    text(LEFT, 46, "middle", "before", 12) + text(RIGHT, 46, "middle", "after", 12);
  if (plan.moved !== null) {
    const { scale } = roomOf(plan.servers.length);
    // A renamed server's row has its new name.
    const heirs = new Map(plan.servers.map(({ name, formerly }) => [formerly, name]));
    const fromOf = ({ from }: PlanMove) => heirs.get(from) ?? from;
    const gone = new Map<string, number>();
    for (const move of plan.moves) gone.set(fromOf(move), (gone.get(fromOf(move)) ?? 0) + move.share);
    for (const server of plan.servers) {
      if (server.before === null || server.after === null) continue;
      const stays = server.before - (gone.get(server.name) ?? 0);
      out += band(old.get(server.name)!, next.get(server.name)!, stays * scale, 0.25);
    }
    for (const move of plan.moves) {
      out += band(old.get(fromOf(move))!, next.get(move.to)!, move.share * scale, 0.7);
    }
  }
  for (const server of plan.servers) {
    const [a, b] = [old.get(server.name), next.get(server.name)];
    if (a !== undefined) out += bar(LEFT, a) + label(LEFT - BAR, "end", a, server.name, server.before!);
    if (b !== undefined) out += bar(RIGHT, b) + label(RIGHT + BAR, "start", b, server.name, server.after!);
  }
  return out;
}

/** Pixels of all bars together, and of what is between two of them. */
function roomOf(servers: number): { scale: number; gap: number } {
  const height = POOL_HEIGHT - TOP - BOTTOM;
  const gap = Math.min(GAP, GAPS_MAX * height / Math.max(servers, 1));
  return { scale: height - gap * servers, gap };
}

function barsOf(
  servers: readonly PlanServer[],
  shareOf: (server: PlanServer) => number | null,
  colours: ReadonlyMap<string, string>,
): Map<string, Bar> {
  const bars = new Map<string, Bar>();
  const { scale, gap } = roomOf(servers.length);
  let top = TOP;
  for (const server of servers) {
    const share = shareOf(server);
    if (share === null) continue;
    bars.set(server.name, { colour: colours.get(server.name)!, top, height: share * scale, next: top });
    top += share * scale + gap;
  }
  return bars;
}

/** From the old bar to the new one, `size` high; both go on below it. */
function band(from: Bar, to: Bar, size: number, opacity: number): string {
  const [x1, x2, middle] = [LEFT + BAR / 2, RIGHT - BAR / 2, (LEFT + RIGHT) / 2];
  const [y1, y2] = [from.next, to.next];
  from.next += size;
  to.next += size;
  if (size <= 0) return "";
  const path = `M${x1} ${at(y1)}C${middle} ${at(y1)} ${middle} ${at(y2)} ${x2} ${at(y2)}V${at(y2 + size)}` +
    `C${middle} ${at(y2 + size)} ${middle} ${at(y1 + size)} ${x1} ${at(y1 + size)}Z`;
  return `<path d="${path}" fill="${from.colour}" fill-opacity="${opacity}"/>\n`;
}

function bar(x: number, { top, height, colour }: Bar): string {
  return `<rect x="${x - BAR / 2}" y="${at(top)}" width="${BAR}" height="${at(height)}" fill="${colour}"/>\n`;
}

/** Nothing for a bar that is too low for a line of text. */
function label(x: number, anchor: string, { top, height }: Bar, name: string, share: number): string {
  return height < 8 ? "" : text(x, top + height / 2 + 4, anchor, `${name}  ${percent(share)}`, 12);
}

function text(x: number, y: number, anchor: string, what: string, size: number): string {
  const safe = what.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`).replace(/\p{Cc}/gu, "?");
  return `<text x="${x}" y="${at(y)}" text-anchor="${anchor}" font-size="${size}">${safe}</text>\n`;
}

/** A coordinate with as many decimals as a screen can show. */
const at = (value: number): string => String(Math.round(value * 100) / 100);
