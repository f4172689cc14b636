/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/**
 * A table that is kept up to date: rows are known by their key, only cells that differ are written, and of many rows only
 * those in sight are there.
 *
 *   items ──order──► sorted ──window──► rows in the document, between two spacers
 *
 * While the pointer or the focus is in it nobody's row moves away: the order is kept, values go on.
 */
import { el, setAttribute, setText } from "./dom.ts";

export interface Column<T> {
  readonly id: string;
  readonly title: string;
  /** What the title stands for, if that is not plain. */
  readonly hint?: string;
  /** One of both; `fill` writes into the cell whatever it likes, and only what has changed. */
  readonly text?: (item: T) => string;
  readonly fill?: (cell: HTMLElement, item: T) => void;
  /** Absent: it is not sorted by this column. Numbers: the largest first. */
  readonly order?: (item: T) => number | string;
  /** "number", "mono", "minor" (left out where room is short), "wide" (may be cut off). */
  readonly looks?: string;
}

/** From so many rows on only those in sight are in the document. */
const WINDOW_FROM = 80;
/** Rows above and below what is in sight. */
const BEYOND = 12;

export class Table<T> {
  readonly element: HTMLElement;
  private readonly body = el("tbody");
  private readonly table: HTMLTableElement;
  // Rows without a cell have no height.
  private readonly above = el("tr", { class: "space", "aria-hidden": "true" }, el("td"));
  private readonly below = el("tr", { class: "space", "aria-hidden": "true" }, el("td"));
  private readonly rows = new Map<
    string,
    { readonly row: HTMLTableRowElement; readonly cells: HTMLElement[] }
  >();
  private items: readonly T[] = [];
  private sorted: readonly T[] = [];
  private by: { column: Column<T>; up: boolean } | null = null;
  private rowHeight = 0;
  private held = false;
  private waiting = false;

  constructor(
    private readonly label: string,
    private readonly columns: readonly Column<T>[],
    private readonly keyOf: (item: T) => string,
    /** Of a row, whenever it is drawn. */
    private readonly mark: (row: HTMLTableRowElement, item: T) => void = () => {},
  ) {
    const head = el("tr", {}, ...columns.map((column) => this.heading(column)));
    this.table = el("table", {}, el("caption", { class: "unseen" }, label), el("thead", {}, head), this.body);
    this.element = el(
      "div",
      { class: "scroll empty", role: "group", "aria-label": label, tabindex: "0" },
      this.table,
    );
    this.element.addEventListener("scroll", () => this.later(), { passive: true });
    this.element.addEventListener("pointerenter", () => this.held = true);
    this.element.addEventListener("pointerleave", () => this.held = false);
  }

  /** Takes the place of what was shown. */
  set(items: readonly T[]): void {
    this.items = items;
    this.sort();
    this.draw();
  }

  private heading(column: Column<T>): HTMLElement {
    const cell = el("th", { scope: "col", class: column.looks ?? null, title: column.hint ?? null });
    if (column.order === undefined) {
      cell.append(column.title);
      return cell;
    }
    const sorter = el("button", { type: "button", class: "sort" }, column.title);
    sorter.addEventListener("click", () => {
      const before = this.by;
      const again = before?.column === column;
      // Once, the other way round, then as they came.
      this.by = !again ? { column, up: false } : before!.up ? null : { column, up: true };
      for (const other of cell.parentElement!.children) setAttribute(other, "aria-sort", null);
      if (this.by !== null) {
        const text = typeof column.order!(this.items[0]!) === "string";
        cell.setAttribute("aria-sort", this.by.up === text ? "descending" : "ascending");
        if (!text) cell.setAttribute("aria-sort", this.by.up ? "ascending" : "descending");
      }
      this.sort(true);
      this.draw();
    });
    cell.append(sorter);
    return cell;
  }

  private sort(anew = false): void {
    if (!anew && this.sorted.length > 0 && (this.held || this.element.contains(document.activeElement))) {
      // The order that is there, with what is new at its end.
      const place = new Map(this.sorted.map((item, at) => [this.keyOf(item), at]));
      const at = (item: T) => place.get(this.keyOf(item)) ?? Infinity;
      this.sorted = [...this.items].sort((a, b) => at(a) === at(b) ? 0 : at(a) - at(b));
      return;
    }
    if (this.by === null) {
      this.sorted = this.items;
      return;
    }
    const { column: { order }, up } = this.by;
    const sign = up ? -1 : 1;
    this.sorted = [...this.items].sort((a, b) => {
      const [x, y] = [order!(a), order!(b)];
      if (typeof x === "number" && typeof y === "number") return sign * (y - x);
      return sign * String(x).localeCompare(String(y), "en", { numeric: true });
    });
  }

  private later(): void {
    if (this.waiting || this.sorted.length < WINDOW_FROM) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  private draw(): void {
    const total = this.sorted.length;
    const windowed = total >= WINDOW_FROM;
    this.element.classList.toggle("empty", total === 0);
    this.element.classList.toggle("tall", windowed);
    let [first, end] = [0, total];
    if (windowed) {
      this.rowHeight ||= this.body.querySelector("tr:not(.space)")?.getBoundingClientRect().height ?? 0;
      const height = this.rowHeight || 28;
      first = Math.max(0, Math.floor(this.element.scrollTop / height) - BEYOND);
      end = Math.min(total, first + Math.ceil((this.element.clientHeight || 600) / height) + 2 * BEYOND);
      (this.above.firstElementChild as HTMLElement).style.height = `${first * height}px`;
      (this.below.firstElementChild as HTMLElement).style.height = `${(total - end) * height}px`;
      setAttribute(this.table, "aria-rowcount", String(total + 1));
    }
    const used = new Set<string>();
    let place: ChildNode | null = this.body.firstChild;
    const put = (row: HTMLTableRowElement) => {
      if (place === row) place = row.nextSibling;
      else this.body.insertBefore(row, place);
    };
    if (windowed) put(this.above);
    for (let at = first; at < end; at++) {
      const item = this.sorted[at]!;
      const key = this.keyOf(item);
      if (used.has(key)) continue;
      used.add(key);
      let made = this.rows.get(key);
      if (made === undefined) this.rows.set(key, made = this.make());
      this.columns.forEach((column, k) => {
        const cell = made.cells[k]!;
        if (column.text !== undefined) setText(cell, column.text(item));
        else column.fill?.(cell, item);
      });
      this.mark(made.row, item);
      if (windowed) setAttribute(made.row, "aria-rowindex", String(at + 2));
      put(made.row);
    }
    if (windowed) put(this.below);
    while (place !== null) {
      const next: ChildNode | null = place.nextSibling;
      if (place.contains(document.activeElement)) this.element.focus({ preventScroll: true });
      place.remove();
      place = next;
    }
    for (const key of this.rows.keys()) if (!used.has(key)) this.rows.delete(key);
  }

  private make(): { row: HTMLTableRowElement; cells: HTMLElement[] } {
    const cells = this.columns.map((column, k) =>
      k === 0
        ? el("th", { scope: "row", class: column.looks ?? null })
        : el("td", { class: column.looks ?? null })
    );
    return { row: el("tr", {}, ...cells), cells };
  }
}
