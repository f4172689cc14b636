/** JSON that may be long, made and written an item at a time (service/turns.ts): of hundreds of servers or clients it takes many ms. */
import type { Turns } from "../service/turns.ts";
import type { Whole } from "./answer.ts";

/** A list whose items are made when they are written. */
class Each<T> {
  constructor(
    readonly items: readonly T[],
    readonly us: number,
    readonly shape: (item: T) => unknown,
  ) {}
}

/** @param us about what `shape` takes for one of them; what it returns may have lists of this kind in its fields */
export function each<T>(items: readonly T[], us: number, shape: (item: T) => unknown): Each<T> {
  return new Each(items, us, shape);
}

/** @param data lists of `each` may be fields of it, and of their items; any other value is written in one go */
export async function longJson(turns: Turns, data: object): Promise<Whole> {
  const out = new Pieces();
  await turns.all(write(out, data));
  out.add("\n");
  return { status: 200, type: "application/json; charset=utf-8", body: out.end() };
}

/** Characters of JSON that are made in a µs, about. */
const CHARS_US = 300;
const PIECE_SIZE = 32 * 1024;
const encoder = new TextEncoder();

/** Bytes of a text that grows. */
export class Pieces {
  private readonly pieces: Uint8Array[] = [];
  private text = "";

  add(text: string): void {
    this.text += text;
    if (this.text.length >= PIECE_SIZE) this.cut();
  }

  /** Nothing is added after it. */
  end(): Uint8Array[] {
    this.cut();
    return this.pieces;
  }

  private cut(): void {
    if (this.text !== "") this.pieces.push(encoder.encode(this.text));
    this.text = "";
  }
}

function* write(out: Pieces, data: unknown): Generator<number, void> {
  if (data instanceof Each) {
    out.add("[");
    let before = "";
    for (const item of data.items) {
      out.add(before);
      before = ",";
      const shape = data.shape(item);
      yield data.us;
      yield* write(out, shape);
    }
    out.add("]");
  } else if (hasLists(data)) {
    let before = "{";
    for (const [key, value] of Object.entries(data)) {
      if (value === undefined) continue;
      out.add(`${before}${JSON.stringify(key)}:`);
      before = ",";
      yield* write(out, value);
    }
    out.add("}");
  } else {
    const text = JSON.stringify(data) ?? "null";
    out.add(text);
    yield text.length / CHARS_US;
  }
}

function hasLists(data: unknown): data is object {
  return typeof data === "object" && data !== null &&
    Object.values(data).some((value) => value instanceof Each);
}
