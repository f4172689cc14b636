/** What open pages are told besides their seconds: made once for all of them, and only what is new. */
import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import type { Around } from "../../src/admin/around.ts";
import { type Out, Refused } from "../../src/admin/answer.ts";
import { type Panel, Panels } from "../../src/admin/panels.ts";
import { ManualClock } from "../lib/manual_clock.ts";

class Stand {
  readonly clock = new ManualClock();
  readonly made: string[] = [];
  readonly logged: string[] = [];
  readonly events = { seen: { count: 0 } };
  listeners = 0;
  servers = 1;
  /** What panels say; an Error is thrown. */
  readonly says: Record<string, unknown> = {};
  readonly panels: Panels;

  constructor() {
    const around = {
      clock: this.clock,
      log: { level: 11, write: (_: number, text: string) => this.logged.push(text) },
      director: { events: this.events },
      config: { pools: [{ servers: { length: this.servers } }] },
      live: {
        stream: () => ({
          type: "text/event-stream",
          stream: () => (this.listeners++, () => this.listeners--),
        }),
      },
    };
    Object.defineProperty(around, "config", {
      get: () => ({ pools: [{ servers: { length: this.servers } }] }),
    });
    const panel = (name: string, ofPool: boolean, everyMs: number, always: boolean): Panel => ({
      name,
      ofPool,
      everyMs,
      always,
      query: {},
      answer: async (_, { query }) => {
        this.made.push(name + (query.pool ?? ""));
        const says = this.says[name] ?? 0;
        if (says instanceof Error) throw says;
        return { status: 200, type: "", body: `{"at":${this.clock.nowMs()},"says":${says}}\n` };
      },
    });
    this.panels = new Panels(around as unknown as Around, [
      panel("all", false, 1000, true),
      panel("rare", true, 3000, false),
    ]);
  }

  async open(pool: string): Promise<Page> {
    const page = new Page();
    page.close = this.panels.stream(pool).stream(page);
    await this.clock.pass(0);
    return page;
  }

  async seconds(count: number): Promise<string[]> {
    this.made.length = 0;
    for (let i = 0; i < count; i++) await this.clock.pass(1000);
    return this.made;
  }
}

class Page implements Out {
  readonly got: Uint8Array[] = [];
  owedBytes = 0;
  close: () => void = () => {};
  write(text: string | Uint8Array): void {
    this.got.push(text as Uint8Array);
  }
  end(): void {}
  /** Names of the events since the last time. */
  names(): string[] {
    return this.got.splice(0).map((text) =>
      /^event: (\w+)\ndata: \{.*\}\n\n$/.exec(new TextDecoder().decode(text))![1]!
    );
  }
}

Deno.test("Panels are made once for all pages, which get the same bytes", async () => {
  const stand = new Stand();
  const pages = [
    await stand.open("alpha"),
    await stand.open("alpha"),
    await stand.open("beta"),
    await stand.open(""),
  ];
  deepStrictEqual(stand.made, ["all", "rarealpha", "rarebeta"]);
  strictEqual(stand.listeners, 4);
  strictEqual(pages[0]!.got[0], pages[3]!.got[0]);
  deepStrictEqual(pages.map((page) => page.names()), [["all", "rare"], ["all", "rare"], ["all", "rare"], [
    "all",
  ]]);
  deepStrictEqual(await stand.seconds(3), ["all", "all", "all", "rarealpha", "rarebeta"]);
  // rare says what it said before.
  deepStrictEqual(pages.map((page) => page.names().length), [3, 3, 3, 3]);
  stand.says.rare = 1;
  await stand.seconds(3);
  deepStrictEqual(pages.map((page) => page.names().length), [4, 4, 4, 3]);
  for (const page of pages) page.close();
  strictEqual(stand.listeners, 0);
  deepStrictEqual(await stand.seconds(5), []);
  strictEqual(stand.clock.pending, 0);
});

Deno.test("Panels: a page that does not read gets none until it has, and then what it has missed", async () => {
  const stand = new Stand();
  const page = await stand.open("alpha");
  page.names();
  page.owedBytes = 1e6;
  stand.says.rare = 1;
  await stand.seconds(4);
  deepStrictEqual(page.names(), []);
  page.owedBytes = 0;
  await stand.seconds(1);
  deepStrictEqual(page.names().sort(), ["all", "rare"]);
  page.close();
});

Deno.test("Panels: of many servers every other second, but at once when something has happened", async () => {
  const stand = new Stand();
  stand.servers = 100;
  const page = await stand.open("");
  deepStrictEqual(await stand.seconds(4), ["all", "all"]);
  stand.events.seen.count++;
  deepStrictEqual(await stand.seconds(1), ["all"]);
  page.close();
});

Deno.test("Panels: one that cannot be made costs the others nothing", async () => {
  const stand = new Stand();
  stand.says.rare = new Refused(404, "no such pool");
  const page = await stand.open("gone");
  deepStrictEqual([page.names(), stand.logged], [["all"], []]);
  stand.says.rare = new Error("a mistake of ours");
  await stand.seconds(3);
  match(stand.logged.join(), /panel rare could not be made: Error: a mistake/);
  deepStrictEqual(page.names(), ["all", "all", "all"]);
  page.close();
});
