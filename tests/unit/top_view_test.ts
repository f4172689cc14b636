/** The screens of `ringmaster top`: they fit, they say what is wrong without colour, and nothing in a name is an order to the terminal. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { type Chosen, columnsOf, report, screen, type Seen, sortOf, VIEWS } from "../../src/cli/top_view.ts";

const NASTY = "\x1b]0;mine\x07\u202e清潔\x9b31m";

function pools(at: number, requests: number): NonNullable<Seen["pools"]> {
  const servers = Array.from({ length: 200 }, (_, i) => ({
    name: i === 7 ? NASTY : `server-with-a-long-name-${i}`,
    address: `10.0.0.${i}:6379`,
    weight: 1,
    share: 1 / 200,
    state: i === 9 ? "ejected" as const : "live" as const,
    why: "",
    counters: {
      requests: requests * i,
      server_err: 0,
      server_timedout: 0,
      server_eof: 0,
      in_queue: 1,
      out_queue: 2,
    },
    latency: { p50_us: 250 * i, p99_us: 9000 * i },
  }));
  const pool = {
    name: "alpha",
    protocol: "redis",
    listen: "127.0.0.1:1",
    distribution: "ketama",
    hash: "fnv1a_64",
    cluster: false,
    clients: 1,
    in_flight: 1,
    memory_bytes: 1,
    certificates: [],
    counters: {},
    servers,
  };
  return { at, certificates: [], pools: [pool] };
}

const SEEN: Seen = {
  peer: "127.0.0.1:22280",
  live: {
    at: 1_700_000_000_000,
    pools: [{
      name: "alpha",
      requests_per_s: 123_456.7,
      errors_per_s: 0.5,
      p50_us: 120,
      p99_us: 4321,
      in_flight: 12,
      clients: 5000,
      memory_bytes: 3 * 1024 ** 3,
    }],
    events: [],
  },
  before: pools(1000, 10),
  pools: pools(2000, 20),
  hot: { pools: [{ name: "alpha", keys: [{ key: NASTY, requests_per_s: 10, share: 0.5, error: 0.001 }] }] },
  big: {
    pools: [{
      name: "alpha",
      keys: [{ key: "größe", bytes: 50_000, at: 1_699_999_000_000, command: "set" }],
    }],
  },
  clients: {
    clients: [{
      pool: "alpha",
      address: "127.0.0.1:5",
      name: NASTY,
      command: "get",
      idle_seconds: 7300,
      in_flight: 1,
      held_bytes: 2048,
    }],
  },
  events: [
    { id: 7, at: 1_699_999_000_000, pool: "", server: "", kind: "reload", cause: "", duration_ms: 0 },
    {
      id: 8,
      at: 1_699_999_900_000,
      pool: "alpha",
      server: NASTY,
      kind: "down",
      cause: NASTY,
      duration_ms: 0,
    },
  ],
  trouble: "",
};

const CHOSEN: Chosen = {
  view: "servers",
  sort: sortOf("servers"),
  reversed: false,
  filter: "",
  typing: false,
  pool: null,
  scrolled: 0,
};

const plain = (lines: readonly string[]) =>
  // deno-lint-ignore no-control-regex
  lines.map((line) => line.replace(/\x1b\[[0-9;]*m/g, ""));

for (const [columns, rows] of [[80, 24], [40, 10], [20, 4], [200, 60]] as const) {
  Deno.test(`every view fits ${columns} × ${rows}, and no name is an order to the terminal`, () => {
    for (const view of VIEWS) {
      for (const sort of columnsOf(view)) {
        const lines = screen(SEEN, { ...CHOSEN, view, sort }, columns, rows, true);
        strictEqual(lines.length, rows);
        for (const line of plain(lines)) {
          ok([...line].length <= columns, line);
          // deno-lint-ignore no-control-regex
          ok(!/[\x00-\x1f\x7f-\x9f\u202e]/.test(line), JSON.stringify(line));
        }
      }
    }
  });
}

Deno.test("servers are sorted by what they do, and the arrows reach the last one", () => {
  const names = (lines: string[]) => lines.slice(3, -2).map((line) => line.split(/\s+/)[0]!);
  const lines = screen(SEEN, CHOSEN, 120, 24, false);
  ok(names(lines)[0]!.endsWith("-199"), lines.join("\n"));
  ok(lines.at(-2)!.includes("181 more"), lines.join("\n"));
  const last = names(screen(SEEN, { ...CHOSEN, scrolled: 10_000 }, 120, 24, false));
  ok(last.at(-1)!.endsWith("-0"), last.join());
  ok(names(screen(SEEN, { ...CHOSEN, reversed: true }, 120, 24, false))[0]!.endsWith("-0"));
});

Deno.test("who is off the ring is named in words, without colour too; what matches nothing is not shown", () => {
  const lines = screen(SEEN, { ...CHOSEN, filter: "EJECTED" }, 100, 10, false);
  ok(lines[0]!.includes("1 NOT LIVE"), lines[0]);
  deepStrictEqual(lines.filter((line) => line.includes("ejected")).length, 1);
  ok(lines.every((line) => !line.includes("\x1b")));
  ok(
    screen(SEEN, { ...CHOSEN, filter: "nobody" }, 100, 10, false).every((line) => !line.includes("server-")),
  );
});

Deno.test("what is old is called old", () => {
  ok(
    screen({ ...SEEN, trouble: "connection refused" }, CHOSEN, 80, 24, false).join("\n").includes(
      "! connection refused",
    ),
  );
  ok(report({ ...SEEN, trouble: "connection refused" }, CHOSEN, 80).includes("! connection refused"));
});

Deno.test("before anything has been answered there is a screen as well", () => {
  const nothing = { ...SEEN, live: null, pools: null, before: null, hot: null, big: null, clients: null };
  for (const view of VIEWS) strictEqual(screen(nothing, { ...CHOSEN, view }, 80, 24, true).length, 24);
});

Deno.test("events: the newest first, those of all pools with any pool's, and in a report", () => {
  const view = { ...CHOSEN, view: "events", sort: sortOf("events") } as const;
  const lines = (chosen: Chosen) =>
    screen(SEEN, chosen, 80, 24, false).slice(3, 5).map((line) => line.split(/[: ]/)[0]);
  deepStrictEqual(lines(view), ["down", "reload"]);
  deepStrictEqual(lines({ ...view, reversed: true }), ["reload", "down"]);
  deepStrictEqual(lines({ ...view, pool: "beta" }), ["reload", ""]);
  match(report(SEEN, CHOSEN, 80), /EVENT .*\ndown: [^]*\nreload /);
});
