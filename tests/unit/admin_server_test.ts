/** What a visitor of the admin side may take: time, bytes and connections, each with its bound; the clock is the test's. */
import { deepStrictEqual, doesNotMatch, match, ok, strictEqual } from "node:assert/strict";
import type { Around } from "../../src/admin/around.ts";
import type { Out } from "../../src/admin/answer.ts";
import { AdminServer, BODY_MAX } from "../../src/admin/server.ts";
import { ManualClock } from "../lib/manual_clock.ts";
import { PATIENCE_MS, poll } from "../lib/poll.ts";

const encode = (text: string) => new TextEncoder().encode(text);

const VISITS_MAX = 20;

class Stand implements AsyncDisposable {
  readonly clock = new ManualClock();
  readonly logged: string[] = [];
  /** Streams that are being listened to. */
  readonly outs = new Set<Out>();
  /** What /api/schema answers. */
  schema: () => unknown = () => ({});
  readonly server: AdminServer;
  private readonly conns: Deno.Conn[] = [];

  constructor(token: string | null = null) {
    const around = {
      clock: this.clock,
      log: { level: 11, write: (_level: number, text: string) => this.logged.push(text) },
      control: { schema: () => this.schema() },
      live: {
        stream: () => ({
          type: "text/event-stream",
          stream: (out: Out) => {
            this.outs.add(out);
            return () => this.outs.delete(out);
          },
        }),
      },
    } as unknown as Around;
    this.server = new AdminServer(around, token, VISITS_MAX);
  }

  async start(): Promise<this> {
    await this.server.listen({ host: "127.0.0.1", port: 0 });
    return this;
  }

  async connect(): Promise<Deno.TcpConn> {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: this.server.port });
    this.conns.push(conn);
    return conn;
  }

  async send(text: string): Promise<Deno.TcpConn> {
    const conn = await this.connect();
    await conn.write(encode(text));
    return conn;
  }

  /** What is answered to these bytes, to the end: behind them nothing comes. */
  async ask(text: string): Promise<string> {
    const last = text.replace(/\r\n\r\n/, "\r\nConnection: close\r\n\r\n");
    return await rest(await this.send(last));
  }

  /** Lets so much time pass as soon as all that has been sent is there, again and again until `condition`. */
  async pass(ms: number, condition: () => boolean, what: string): Promise<void> {
    await poll(async () => {
      await this.clock.pass(ms);
      return condition();
    }, what);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.close();
    for (const conn of this.conns) {
      try {
        conn.close();
      } catch {
        // closed already
      }
    }
    await this.clock.pass(0);
  }
}

async function rest(conn: Deno.Conn): Promise<string> {
  const piece = new Uint8Array(64 * 1024);
  let text = "";
  for (;;) {
    const count = await conn.read(piece).catch(() => null);
    if (count === null) return text;
    text += new TextDecoder("latin1").decode(piece.subarray(0, count));
  }
}

/** What comes, and whether the other side has closed. */
function closed(conn: Deno.Conn): { readonly is: () => boolean; readonly text: () => string } {
  let over = false;
  let text = "";
  void (async () => {
    const piece = new Uint8Array(64 * 1024);
    for (;;) {
      const count = await conn.read(piece).catch(() => null);
      if (count === null) break;
      text += new TextDecoder("latin1").decode(piece.subarray(0, count));
    }
    over = true;
  })();
  return { is: () => over, text: () => text };
}

const HEAD = "Host: localhost\r\n";
const GET = `GET /api/schema HTTP/1.1\r\n${HEAD}\r\n`;

Deno.test("AdminServer answers, and says why it refuses", async () => {
  await using stand = await new Stand().start();
  const answer = await stand.ask(GET);
  match(answer, /^HTTP\/1\.1 200 OK\r\n/);
  for (
    const header of [/Connection: close/i, /Cache-Control: no-store/, /X-Frame-Options: DENY/, /nosniff/]
  ) {
    match(answer, header);
  }
  ok(answer.endsWith("\r\n\r\n{}\n"));
  match(await stand.ask(`GET /none HTTP/1.1\r\n${HEAD}\r\n`), /^HTTP\/1\.1 404 [^]*no such path/);
  match(
    await stand.ask(`POST /api/schema HTTP/1.1\r\n${HEAD}Content-Length: 0\r\n\r\n`),
    /^HTTP\/1\.1 405 [^]*GET, HEAD/,
  );
  match(await stand.ask(`GET /api/schema?x=1 HTTP/1.1\r\n${HEAD}\r\n`), /^HTTP\/1\.1 400 [^]*expected none/);
  const route = (query: string) => stand.ask(`GET /api/route?pool=a&${query} HTTP/1.1\r\n${HEAD}\r\n`);
  match(await route("key=a%FF"), /^HTTP\/1\.1 400 [^]*key: found bytes that are not UTF-8, [^]* with hex/);
  doesNotMatch(await route("key=%EF%bf%BD&x=1"), /not UTF-8/);
  match(
    await route("key=a\u00e9"),
    /^HTTP\/1\.1 400 [^]*beyond ASCII in the path or query, expected each as %XX/,
  );
  match(await stand.ask(`GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n`), /^HTTP\/1\.1 403 /);
  match(await stand.ask("nonsense\r\n\r\n"), /^HTTP\/1\.1 400 /);
  strictEqual((await stand.ask(`HEAD /api/schema HTTP/1.1\r\n${HEAD}\r\n`)).endsWith("\r\n\r\n"), true);
  strictEqual((await stand.ask(`HEAD /api/live HTTP/1.1\r\n${HEAD}\r\n`)).endsWith("\r\n\r\n"), true);
  deepStrictEqual(stand.logged, []);
});

Deno.test("AdminServer answers one request after the other in a connection, also what has been sent ahead", async () => {
  await using stand = await new Stand().start();
  let asked = 0;
  stand.schema = () => ({ asked: ++asked });
  const PLAN = `POST /api/log-level?level=none HTTP/1.1\r\n${HEAD}Content-Length: ${GET.length}\r\n\r\n`;
  const LAST = `GET /api/schema HTTP/1.1\r\n${HEAD}Connection: close\r\n\r\n`;
  // What stands in a body is no request.
  for (const text of [GET + GET + LAST + GET, GET + PLAN + GET + LAST]) {
    for (const size of [text.length, 1, 7, 40, 100]) {
      asked = 0;
      const conn = await stand.connect();
      const answer = closed(conn);
      for (let at = 0; at < text.length; at += size) await conn.write(encode(text.slice(at, at + size)));
      await stand.pass(0, () => answer.is(), "the last answer");
      const answers = answer.text().split("HTTP/1.1 ").slice(1);
      const expected = text.startsWith(GET + GET) ? ["200", "200", "200"] : ["200", "400", "200"];
      // A mistake ends the connection if a body was announced.
      deepStrictEqual(answers.map((one) => one.slice(0, 3)), expected.slice(0, answers.length));
      strictEqual(answers.length, text.startsWith(GET + GET) ? 3 : 2);
      ok(answers[0]!.endsWith('{"asked":1}\n'), answers[0]);
    }
  }
});

Deno.test("AdminServer keeps a connection that is idle for a minute, and cuts off one that sends much ahead", async () => {
  await using stand = await new Stand().start();
  const idle = await stand.send(GET);
  const quiet = closed(idle);
  await poll(() => quiet.text().endsWith("{}\n"), "the first answer");
  await stand.clock.pass(50_000);
  await idle.write(encode(GET));
  await poll(() => quiet.text().split("{}\n").length === 3, "the second answer");
  await stand.pass(10_000, () => quiet.is(), "an idle one to be closed");
  let answer = (_: unknown) => {};
  stand.schema = () => new Promise((resolve) => answer = resolve);
  const eager = await stand.send(GET);
  const cut = closed(eager);
  const much = encode("x".repeat(256 * 1024));
  await eager.write(much).catch(() => {});
  await poll(() => cut.is(), "who sends much ahead to be cut off");
  answer({});
});

Deno.test("AdminServer tells who waits for it to go on with its body", async () => {
  await using stand = await new Stand().start();
  const conn = await stand.send(
    `POST /api/log-level?level=none HTTP/1.1\r\n${HEAD}Content-Length: 1\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n`,
  );
  const answer = closed(conn);
  await poll(() => answer.text().startsWith("HTTP/1.1 100 Continue\r\n\r\n"), "word to go on");
  await conn.write(encode("x"));
  await poll(() => answer.is(), "the answer");
  match(answer.text(), /\r\n\r\nHTTP\/1\.1 400 [^]*level/);
});

Deno.test("AdminServer asks for the token, which a reload may change", async () => {
  await using stand = await new Stand("first-token-of-all").start();
  const asked = async (token: string) =>
    (await stand.ask(`GET /api/schema HTTP/1.1\r\n${HEAD}Authorization: Bearer ${token}\r\n\r\n`)).slice(
      9,
      12,
    );
  const refused = await stand.ask(GET);
  match(refused, /^HTTP\/1\.1 401 [^]*WWW-Authenticate: Basic/i);
  strictEqual((await stand.ask(`GET /healthz HTTP/1.1\r\n${HEAD}\r\n`)).slice(9, 12), "200");
  strictEqual(await asked("first-token-of-all"), "200");
  stand.server.adopt("second-token-of-all");
  deepStrictEqual([await asked("first-token-of-all"), await asked("second-token-of-all")], ["401", "200"]);
});

Deno.test("AdminServer cuts off who takes too long with a head, a body, an answer or a stream", async () => {
  await using stand = await new Stand().start();
  stand.schema = () => "x".repeat(24 * 1024 * 1024);
  const silent = closed(await stand.connect());
  const head = closed(await stand.send("GET / HTTP/1.1\r\nHo"));
  const body = closed(await stand.send(`POST /api/plan HTTP/1.1\r\n${HEAD}Content-Length: 9\r\n\r\nabc`));
  await stand.pass(
    5_000,
    () => silent.is() && head.is() && body.is(),
    "those who send too slowly to be cut off",
  );
  // Who does not read: only when the other end is known to be closed may anything be read.
  const unread = await stand.send(GET);
  const listener = await stand.send(`GET /api/live HTTP/1.1\r\n${HEAD}\r\n`);
  await poll(() => stand.outs.size === 1, "the stream to begin");
  const [out] = stand.outs;
  await stand.pass(5_000, () => {
    out!.write(`data: ${"y".repeat(64 * 1024)}\n\n`);
    return stand.outs.size === 0;
  }, "who does not read a stream to be cut off");
  await stand.pass(5_000, () => stand.clock.pending === 0, "nobody to be left");
  const got = await Promise.race([
    rest(unread),
    new Promise<string>((resolve) => {
      const timer = setTimeout(() => resolve("never closed"), PATIENCE_MS);
      Deno.unrefTimer(timer);
    }),
  ]);
  ok(got.length < 24 * 1024 * 1024 && got !== "never closed", `${got.length} bytes`);
  void listener;
});

Deno.test("AdminServer takes no body beyond its limit, announced or not", async () => {
  await using stand = await new Stand().start();
  match(
    await stand.ask(`POST /api/plan HTTP/1.1\r\n${HEAD}Content-Length: ${BODY_MAX + 1}\r\n\r\n`),
    /^HTTP\/1\.1 413 /,
  );
  const chunk = "z".repeat(64 * 1024);
  const conn = await stand.send(`POST /api/plan HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
  const answer = rest(conn);
  try {
    for (let sent = 0; sent < 8 * BODY_MAX; sent += chunk.length) {
      await conn.write(encode(`${chunk.length.toString(16)}\r\n${chunk}\r\n`));
    }
  } catch {
    // It has been cut off in the middle, as it may be.
  }
  const text = await answer;
  // Only what says how long it is, is read.
  ok(text === "" || /^HTTP\/1\.1 411 /.test(text), text.slice(0, 200));
});

Deno.test("AdminServer has so many connections and no more: who has been silent longest makes way", async () => {
  await using stand = await new Stand().start();
  const first = closed(await stand.connect());
  await poll(() => stand.clock.pending > 0, "the first to be there");
  for (let i = 1; i < VISITS_MAX; i++) await stand.connect();
  // One more, and it is served.
  match(await stand.ask(GET), /^HTTP\/1\.1 200 /);
  await poll(() => first.is(), "the first to make way");
});

Deno.test("AdminServer: an answer that cannot be made is a 500 with a line in the log, and costs nobody else anything", async () => {
  await using stand = await new Stand().start();
  stand.schema = () => {
    throw new Error("a mistake\nof ours");
  };
  const answer = await stand.ask(GET);
  match(answer, /^HTTP\/1\.1 500 /);
  ok(!answer.includes("mistake"));
  strictEqual(stand.logged.length, 1);
  ok(!stand.logged[0]!.includes("\n"));
  stand.schema = () => ({});
  match(await stand.ask(GET), /^HTTP\/1\.1 200 /);
});
