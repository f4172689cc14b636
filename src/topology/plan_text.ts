/**
 * A plan for people: what moves, as lines of text. By itself, with nothing but the plan: the admin page (src/admin/page/), which a
 * browser runs, writes it too.
 */
import type { PoolPlan } from "./plan.ts";

/**
 * For people: a headline, and unless nothing changes a table of servers, the moves and the notes. Ends with a newline.
 * @param movesMax so many moves, the largest, are told one by one
 */
export function planText(plan: PoolPlan, movesMax = Infinity): string {
  const lines = [`pool ${plan.name}: ${headline(plan)}`];
  if (plan.change === "same") return lines[0] + "\n";
  const rows = plan.servers.map((server) => [
    server.name,
    server.address === server.name ? "" : server.address,
    server.before === null ? "-" : percent(server.before),
    server.after === null ? "-" : percent(server.after),
  ]);
  lines.push(...table(["server", "", "before", "after"], rows));
  if (plan.moves.length > 0) {
    const told = plan.moves.slice(0, movesMax);
    lines.push(...table(["from", "to", "moves"], told.map((m) => [m.from, m.to, percent(m.share)])));
    const rest = plan.moves.slice(movesMax);
    if (rest.length > 0) {
      lines.push(`  and ${rest.length} more, together ${percent(rest.reduce((sum, m) => sum + m.share, 0))}`);
    }
  }
  for (const each of plan.slots ?? []) lines.push(`  ${each}`);
  return [...lines, ...plan.notes.map((note) => `  note: ${note}`)].join("\n") + "\n";
}

function headline(plan: PoolPlan): string {
  const servers = plan.servers.length === 1 ? "one server" : `${plan.servers.length} servers`;
  if (plan.change === "added" || plan.change === "removed") return `${plan.change}, ${servers}`;
  if (plan.moved === null) return `what moves cannot be told: ${plan.why}`;
  const of = plan.basis === "keys" ? `the ${plan.keys} keys given` : "all keys";
  if (plan.change === "same") return "nothing changes";
  if (plan.moved === 0) return plan.basis === "keys" ? `none of ${of} moves` : "no key moves";
  return `${percent(plan.moved)} of ${of} move`;
}

/** "12.5 %": one decimal, but what is there is never shown as nothing, nor what is missing as everything. */
export function percent(share: number): string {
  const text = (share * 100).toFixed(1);
  if (share > 0 && text === "0.0") return "< 0.1 %";
  if (share < 1 && text === "100.0") return "> 99.9 %";
  return `${text} %`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  return all.map((row) =>
    "  " +
    row.map((cell, column) =>
      /^[-?<>0-9]/.test(cell) && column > 0 ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)
    ).join("  ").trimEnd()
  );
}
