/** Who goes when too many handshakes are half open, beside a model that looks at all of them each time. */
import { strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { ANSWERED, ASKING, HalfOpen, RETURNED, SILENT } from "../../src/runtime/half_open.ts";
import { runs } from "../lib/runs.ts";

const FEW = 8;

interface One {
  readonly who: string;
  readonly address: string;
  kind: number;
  serial: number;
}

/** What half_open.ts says of who goes, as it is said there. */
class Model {
  readonly all: One[] = [];
  readonly known = new Set<string>();
  private serial = 0;

  constructor(readonly max: number) {}

  private blame(address: string, more: number): number {
    const size = this.all.filter((one) => one.address === address).length + more;
    if (this.known.has(address) && size <= FEW) return 0;
    return size === 1 || size > FEW ? size : FEW;
  }

  /** The oldest of the most numerous kind; of those who wait for us the newest. */
  private chosen(of: readonly One[], kinds: readonly number[]): string | null {
    let best: One[] = [];
    for (const kind of kinds) {
      const these = of.filter((one) => one.kind === kind);
      if (these.length > best.length) best = these;
    }
    const inOrder = best.toSorted((a, b) => a.serial - b.serial);
    const waits = best[0]?.kind === ASKING || best[0]?.kind === RETURNED;
    return (waits ? inOrder.at(-1) : inOrder[0])?.who ?? null;
  }

  add(who: string, address: string): string | null {
    let gone: string | null = null;
    if (this.all.length >= this.max) {
      const more = (each: string) => each === address ? 1 : 0;
      const most = Math.max(
        this.blame(address, 1),
        ...this.all.map((one) => this.blame(one.address, more(one.address))),
      );
      const groups = this.all.filter((one) => this.blame(one.address, more(one.address)) === most);
      gone = this.chosen(groups, [SILENT, ANSWERED, ASKING, RETURNED]);
    }
    this.all.push({ who, address, kind: SILENT, serial: this.serial++ });
    return gone ?? this.tooMany(address);
  }

  move(who: string, kind: number): string | null {
    const one = this.all.find((each) => each.who === who)!;
    one.kind = kind;
    one.serial = this.serial++;
    return kind === ANSWERED ? this.tooMany(one.address) : null;
  }

  private tooMany(address: string): string | null {
    const of = this.all.filter((one) =>
      one.address === address && (one.kind === SILENT || one.kind === ANSWERED)
    );
    return of.length > Math.max(1, this.max >> 1) ? this.chosen(of, [SILENT, ANSWERED]) : null;
  }

  remove(who: string): void {
    this.all.splice(this.all.findIndex((one) => one.who === who), 1);
  }
}

const step = fc.record({ what: fc.nat(11), pick: fc.nat(1000) });
const kinds = fc.record({
  max: fc.integer({ min: 1, max: 40 }),
  addresses: fc.integer({ min: 1, max: 30 }),
  steps: fc.array(step, { maxLength: 300, size: "max" }),
});

Deno.test("who is pushed out is who has to go", () => {
  fc.assert(
    fc.property(kinds, ({ max, addresses, steps }) => {
      const model = new Model(max);
      let gone: string | null = null;
      const places = new HalfOpen<string>(max, (who) => {
        gone = who;
        places.remove(who);
      });
      steps.forEach(({ what, pick }, i) => {
        gone = null;
        const expected = take(places, model, what, pick, addresses, `${i}`);
        strictEqual(gone, expected);
        if (expected !== null) model.remove(expected);
        strictEqual(places.size, model.all.length);
        strictEqual(places.answered, model.all.filter(({ kind }) => kind === ANSWERED).length);
        places.invariants();
      });
    }),
    { numRuns: runs(100) },
  );
});

/** @returns who has to go */
function take(
  places: HalfOpen<string>,
  model: Model,
  what: number,
  pick: number,
  addresses: number,
  who: string,
): string | null {
  const some = (of: readonly One[]) => of.length === 0 ? null : of[pick % of.length]!;
  if (what < 5) {
    // One address has very many.
    const address = what < 2 ? "0" : `${pick % addresses}`;
    const gone = model.add(who, address);
    places.add(who, address);
    return gone;
  }
  if (what < 8) {
    const one = some(model.all.filter(({ kind }) => kind === SILENT));
    if (one === null) return null;
    places.asks(one.who);
    return model.move(one.who, ASKING);
  }
  if (what < 10) {
    const next = places.next();
    return next === null ? null : model.move(next, ANSWERED);
  }
  if (what === 10) {
    const one = some(model.all.filter(({ kind }) => kind === ANSWERED));
    if (one === null) return null;
    places.asksAgain(one.who);
    return model.move(one.who, RETURNED);
  }
  const one = some(model.all);
  if (one === null) return null;
  model.remove(one.who);
  if (pick % 2 === 0) places.remove(one.who);
  else {
    model.known.add(one.address);
    places.shook(one.who);
  }
  return null;
}
