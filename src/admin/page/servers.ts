/// <reference lib="dom" />
/** The servers of a pool as a table, and all that is known of one in a dialog. */
import { percent } from "../../topology/plan_text.ts";
import { type Action, ACTIONS, actionsOf } from "./actions.ts";
import { button, byId, el, setAttribute, setText } from "./dom.ts";
import { bytes, count, lasting, rate, span, time, UNKNOWN } from "./format.ts";
import { toneOf } from "./plots.ts";
import type { EventShape, Replica, ServerShape, State } from "./shapes.ts";
import { type Column, Table } from "./table.ts";

/** A server with what the page has worked out itself. */
export interface ServerRow {
  readonly server: ServerShape;
  readonly requests: number | null;
  readonly errors: number | null;
  /** What has happened to it last. */
  readonly last: EventShape | null;
}

/** The worst first. */
const WORST: Readonly<Record<State, number>> = { down: 0, ejected: 1, drained: 2, live: 3 };

export const failuresOf = ({ counters }: ServerShape): number =>
  (counters.server_err ?? 0) + (counters.server_timedout ?? 0) + (counters.server_eof ?? 0);

export class Servers {
  private readonly table: Table<ServerRow>;
  private rows: readonly ServerRow[] = [];
  private query = "";
  private onlyBad = false;
  private opened: string | null = null;

  constructor(
    holder: HTMLElement,
    private readonly note: HTMLElement,
    private readonly run: (action: Action, server: ServerShape) => void,
  ) {
    this.table = new Table<ServerRow>(
      "Servers",
      this.columns(),
      ({ server }) => server.name,
      (row, { server }) => setAttribute(row, "data-state", server.state),
    );
    holder.append(this.table.element);
    const find = byId<HTMLInputElement>("find-server");
    find.addEventListener("input", () => {
      this.query = find.value.trim().toLowerCase();
      this.show();
    });
    const bad = byId<HTMLInputElement>("only-bad");
    bad.addEventListener("change", () => {
      this.onlyBad = bad.checked;
      this.show();
    });
    byId<HTMLDialogElement>("details").addEventListener("close", () => this.opened = null);
  }

  set(rows: readonly ServerRow[]): void {
    this.rows = rows;
    this.show();
    if (this.opened !== null) this.fill();
  }

  /** All that is known of a server. */
  open(name: string): void {
    this.opened = name;
    const box = byId<HTMLDialogElement>("details");
    box.replaceChildren(
      el(
        "div",
        { class: "title" },
        el("h2", { id: "details-title" }, name),
        button("Close", () => box.close(), { class: "quiet" }),
      ),
      el("div", { class: "buttons", id: "details-actions" }),
      el("div", { id: "details-body" }),
    );
    this.fill();
    if (!box.open) box.showModal();
  }

  private show(): void {
    const wanted = this.rows.filter(({ server, errors }) =>
      (!this.onlyBad || server.state !== "live" || (errors ?? 0) > 0) &&
      (this.query === "" ||
        `${server.name} ${server.address} ${server.state}`.toLowerCase().includes(this.query))
    );
    // Those in trouble first, else as the configuration has them.
    const sorted = wanted.some(({ server }) => server.state !== "live")
      ? [...wanted].sort((a, b) => WORST[a.server.state] - WORST[b.server.state])
      : wanted;
    this.table.set(sorted);
    setText(
      this.note,
      wanted.length === this.rows.length
        ? `${count(this.rows.length)}`
        : `${wanted.length} of ${this.rows.length}`,
    );
  }

  private columns(): readonly Column<ServerRow>[] {
    return [
      {
        id: "name",
        title: "Server",
        looks: "mono",
        order: ({ server }) => server.name,
        fill: (cell, { server }) => {
          if (cell.firstChild === null) {
            cell.append(button(server.name, () => this.open(server.name), { class: "link" }));
          }
        },
      },
      {
        id: "state",
        title: "State",
        order: ({ server }) => WORST[server.state],
        fill: (cell, { server }) => fillState(cell, server.state),
      },
      {
        id: "address",
        title: "Address",
        looks: "mono minor clip",
        fill: (cell, { server }) => {
          setText(cell, server.address);
          setAttribute(cell, "title", server.address);
        },
      },
      {
        id: "share",
        title: "Share",
        hint: "Part of the key space that it has now",
        looks: "number",
        order: ({ server }) => server.share ?? 0,
        text: ({ server }) => server.share === null ? UNKNOWN : percent(server.share),
      },
      {
        id: "requests",
        title: "Req/s",
        looks: "number",
        order: ({ requests }) => requests ?? 0,
        text: ({ requests }) => rate(requests),
      },
      {
        id: "errors",
        title: "Err/s",
        hint: "Connections that failed or timed out, a second",
        looks: "number minor",
        order: ({ errors }) => errors ?? 0,
        text: ({ errors }) => rate(errors),
      },
      {
        id: "p50",
        title: "p50",
        looks: "number minor",
        order: ({ server }) => server.latency?.p50_us ?? 0,
        text: ({ server }) => span(server.latency?.p50_us),
      },
      {
        id: "p99",
        title: "p99",
        looks: "number",
        order: ({ server }) => server.latency?.p99_us ?? 0,
        text: ({ server }) => span(server.latency?.p99_us),
      },
      {
        id: "flight",
        title: "In flight",
        hint: "Sent and not answered, and waiting to be sent",
        looks: "number minor",
        order: ({ server }) => inFlightOf(server),
        text: ({ server }) => count(inFlightOf(server)),
      },
      {
        id: "connections",
        title: "Conns",
        looks: "number minor",
        order: ({ server }) => server.counters.server_connections ?? 0,
        text: ({ server }) => count(server.counters.server_connections),
      },
      {
        id: "replicas",
        title: "Replicas",
        looks: "minor",
        text: ({ server }) => replicasOf(server.replicas ?? []),
      },
      {
        id: "last",
        title: "Last trouble",
        looks: "minor wide",
        fill: (cell, row) => {
          const text = troubleOf(row);
          setText(cell, text);
          setAttribute(cell, "title", text === "" ? null : text);
        },
      },
      {
        id: "actions",
        title: "Change",
        looks: "actions minor",
        fill: (cell, { server }) => this.fillActions(cell, server),
      },
    ];
  }

  private fillActions(cell: HTMLElement, server: ServerShape): void {
    if (cell.dataset.state === server.state) return;
    cell.dataset.state = server.state;
    const focused = cell.contains(document.activeElement);
    cell.replaceChildren(...actionsOf(server).map((action) => this.actionButton(action, server)));
    if (focused) cell.querySelector("button")?.focus();
  }

  private actionButton(action: Action, { name }: ServerShape): HTMLElement {
    // By name: the server is another object a second later.
    return button(ACTIONS[action].button, () => {
      const row = this.rows.find(({ server }) => server.name === name);
      if (row !== undefined) this.run(action, row.server);
    }, { "aria-label": `${ACTIONS[action].button} ${name}` });
  }

  private fill(): void {
    const body = document.getElementById("details-body");
    const row = this.rows.find(({ server }) => server.name === this.opened);
    if (body === null) return;
    if (row === undefined) {
      body.replaceChildren(el("p", {}, "It is not in the pool any more."));
      return;
    }
    const { server } = row;
    this.fillActions(byId("details-actions"), server);
    const facts: [string, string, string?][] = [
      ["Address", server.address],
      ["State", server.why === "" ? server.state : `${server.state}: ${server.why}`],
      ["Share of the keys", server.share === null ? UNKNOWN : percent(server.share)],
      ["Weight", count(server.weight)],
      ["Latency", `p50 ${span(server.latency?.p50_us)}, p99 ${span(server.latency?.p99_us)}`],
      ["Last trouble", troubleOf(row) || "none since the start"],
    ];
    for (const [k, replica] of (server.replicas ?? []).entries()) {
      facts.push([`Replica ${k + 1}`, replicaText(replica)]);
    }
    const counters = Object.entries(server.counters).map(([name, value]): [string, string, string] => [
      name,
      name === "server_ejected_at" && value > 0 ? time(value / 1000) : count(value),
      name,
    ]);
    const known = body.querySelectorAll("dd");
    const all = [...facts, ...counters];
    if (known.length === all.length) {
      all.forEach(([, value], k) => setText(known[k]!, value));
      return;
    }
    body.replaceChildren(list(facts), el("h3", {}, "Counted since the start"), list(counters));
  }
}

function list(facts: readonly (readonly [string, string, string?])[]): HTMLElement {
  return el(
    "dl",
    {},
    ...facts.flatMap(([name, value, counter]) => [
      el("dt", { class: counter === undefined ? null : "mono" }, name),
      el("dd", { "data-counter": counter ?? null }, value),
    ]),
  );
}

export function fillState(cell: HTMLElement, state: string): void {
  if (cell.dataset.state === state) return;
  cell.dataset.state = state;
  cell.replaceChildren(el("span", { class: `state ${state}` }, state));
}

const inFlightOf = ({ counters }: ServerShape): number =>
  (counters.in_queue ?? 0) + (counters.out_queue ?? 0);

function replicasOf(replicas: readonly Replica[]): string {
  if (replicas.length === 0) return "";
  if (replicas.every((replica) => replica.well === null)) return `${replicas.length}, not asked`;
  const well = replicas.filter((replica) => replica.well).length;
  const lags = replicas.flatMap(({ lag_ms }) => lag_ms === null || lag_ms === undefined ? [] : [lag_ms]);
  const behind = replicas.flatMap(({ lag_bytes }) =>
    lag_bytes === null || lag_bytes === undefined ? [] : [lag_bytes]
  );
  const lag = lags.length > 0
    ? `, ${lasting(Math.max(...lags))} behind`
    : behind.length > 0
    ? `, ${bytes(Math.max(...behind))} behind`
    : "";
  return `${well}/${replicas.length} well${lag}`;
}

function replicaText({ address, well, why, lag_bytes, lag_ms }: Replica): string {
  const lag = [
    ...lag_bytes === null || lag_bytes === undefined ? [] : [`${bytes(lag_bytes)} behind`],
    ...lag_ms === null || lag_ms === undefined ? [] : [`${lasting(lag_ms)} behind`],
  ];
  const how = well === null
    ? "not asked: nothing is read from it"
    : well
    ? "well"
    : `not well${why ? `: ${why}` : ""}`;
  return [address, how, ...lag].join(", ");
}

/** Why it is not live, or what has happened to it last. */
function troubleOf({ server, last }: ServerRow): string {
  if (last !== null && toneOf(last.kind) !== "calm") return `${time(last.at)} ${last.kind}: ${last.cause}`;
  return server.state === "live" ? "" : server.why;
}
