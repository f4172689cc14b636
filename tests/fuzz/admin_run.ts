/**
 * An admin side under whatever can be sent to it, while a client of the same proxy goes on: with one worker the same thread serves both.
 *
 *   Fuzzer: raw requests, mutated, in pieces ──┐
 *   sluggards: a byte now and then, no reading ├──► admin side │ proxy ◄── Caller: SET and GET, each reply checked
 *   a crowd of open connections ───────────────┘
 *
 * What must hold: an answer is HTTP and no 500; foreign Hosts and Origins, and POSTs of another site, get nothing; no secret shows; the
 * caller gets every reply, right, and never waits long; at the end the admin side answers as at the beginning.
 */
import { Admin, startAdmin } from "../lib/admin.ts";
import { certificate } from "../lib/certificates.ts";
import { RawClient, type Target } from "../lib/client.ts";
import type { Fixture } from "../lib/fixture.ts";
import { freePort } from "../lib/ports.ts";
import { delay, poll } from "../lib/poll.ts";
import { Random } from "../lib/random.ts";
import { poolYml, type Runtime } from "../lib/servers.ts";

export interface FuzzOptions {
  readonly requests: number;
  readonly seed: number;
  /** Connections that are open at a time, of fuzzers and of the crowd. */
  readonly fuzzers: number;
  readonly crowd: number;
  readonly sluggards: number;
  /** Of the pool. */
  readonly password: string;
  /** What no answer may have. */
  readonly secrets: readonly string[];
}

export interface FuzzResult {
  /** What must not be; the first few. */
  readonly faults: readonly string[];
  /** Answers by status, 0 = closed without one. */
  readonly statuses: ReadonlyMap<number, number>;
  readonly calls: number;
  /** The longest that the caller waited for a reply, ms. */
  readonly longestMs: number;
}

const FAULTS_MAX = 20;

/** A proxy to be fuzzed: a pool with a password for the caller, and another with every other kind of secret that there is. */
export async function startGuarded(f: Fixture, runtime: Runtime, workers: number) {
  const password = "hunter2-of-the-servers";
  const server = await f.redis({ args: ["--requirepass", password] });
  const { cert, key } = certificate({ name: "localhost" });
  const { dir } = f;
  await Deno.writeTextFile(`${dir}/cert.pem`, cert);
  await Deno.writeTextFile(`${dir}/key.pem`, key);
  const secrets = [
    password,
    "hunter2-of-a-user",
    "hunter2-of-server-auth",
    "hunter2-of-otlp",
    // What tells the key: not its first lines, which are alike in all of them.
    ...key.split("\n").filter((line) => line.length > 20 && !line.includes("-----")),
  ];
  const files = `certificate: ${dir}/cert.pem, key: ${dir}/key.pem`;
  const yml = poolYml({
    alpha: { servers: [server], redis_auth: password },
    beta: {
      servers: [server],
      server_auth: "{ username: default, password: hunter2-of-server-auth }",
      users: "[ { name: app, password: hunter2-of-a-user, rules: '+@all ~*' } ]",
      tls: `{ ${files}, sni: [ { ${files} } ] }`,
      server_tls: `{ ca: ${dir}/cert.pem, ${files} }`,
    },
  });
  const process = [
    `workers: ${workers}`,
    // Nobody is there.
    `otlp: http://127.0.0.1:${freePort()}`,
    "otlp_headers: authorization=hunter2-of-otlp",
  ];
  return { ...await startAdmin(f, runtime, yml, { process }), password, secrets };
}

/** @param pool where the caller connects; it is the only one that writes there */
export async function fuzzAdmin(admin: Admin, pool: Target, options: FuzzOptions): Promise<FuzzResult> {
  const faults: string[] = [];
  const fault = (text: string) => {
    if (faults.length < FAULTS_MAX) faults.push(text);
  };
  const caller = new Caller(await RawClient.connect(pool), options.password, fault);
  const calling = caller.run();
  const sluggards = startSluggards(admin, options);
  const crowd = await openCrowd(admin, options.crowd);
  // Whoever is in the crowd: who asks is answered.
  const { status } = await admin.get("/healthz");
  if (status !== 200) fault(`/healthz in a crowd: ${status}`);
  const statuses = new Map<number, number>();
  let left = options.requests;
  await Promise.all(Array.from({ length: options.fuzzers }, async (_, i) => {
    const random = new Random(options.seed * 1000 + i);
    while (left-- > 0) {
      const made = makeRequest(random, admin.port);
      const answer = await exchange(admin, made.bytes, random);
      const code = Number(/^HTTP\/1\.[01] (\d{3}) /.exec(answer)?.[1] ?? 0);
      statuses.set(code, (statuses.get(code) ?? 0) + 1);
      const told = () =>
        `${JSON.stringify(latin1(made.bytes).slice(0, 300))} got ${JSON.stringify(answer.slice(0, 200))}`;
      if (answer !== "" && code === 0) fault(`no HTTP: ${told()}`);
      // Of another version of HTTP (505), or as many as there may be are being answered (503).
      if (code >= 500 && code !== 503 && code !== 505) fault(`a mistake of ours: ${told()}`);
      if (made.foreign && code >= 200 && code < 300) fault(`a foreigner was served: ${told()}`);
      const secret = options.secrets.find((each) => answer.includes(each));
      if (secret !== undefined) fault(`the secret ${secret}: ${told()}`);
    }
  }));
  for (const conn of crowd) close(conn);
  await sluggards.stop();
  // Who has come last makes nobody wait who comes now.
  await poll(
    async () => (await admin.get("/api/pools")).status === 200,
    "the admin side to answer at the end",
  );
  caller.stop();
  await calling;
  return { faults, statuses, calls: caller.calls, longestMs: caller.longestMs };
}

/** Writes and reads through the proxy until it is stopped. */
class Caller {
  calls = 0;
  longestMs = 0;
  #stopped = false;

  constructor(
    private readonly client: RawClient,
    private readonly password: string,
    private readonly fault: (text: string) => void,
  ) {}

  stop(): void {
    this.#stopped = true;
  }

  async run(): Promise<void> {
    try {
      if (await this.client.command("AUTH", this.password) !== "OK") this.fault("the caller is not let in");
      for (let i = 0; !this.#stopped; i++) {
        const startMs = performance.now();
        const said = await this.client.command("SET", `key${i % 50}`, String(i));
        const read = await this.client.command("GET", `key${i % 50}`);
        this.longestMs = Math.max(this.longestMs, performance.now() - startMs);
        if (said !== "OK" || String(read) !== String(i)) {
          this.fault(`the caller got ${said}, ${read} instead of ${i}`);
        }
        this.calls += 2;
        if (i % 8 === 0) await delay(1);
      }
    } catch (error) {
      this.fault(`the caller: ${(error as Error).message}`);
    }
  }
}

// ---- requests

const METHODS = [
  "GET",
  "GET",
  "GET",
  "POST",
  "HEAD",
  "PUT",
  "DELETE",
  "OPTIONS",
  "PATCH",
  "get",
  "G E T",
  "",
];
const PATHS = [
  "/",
  "/healthz",
  "/readyz",
  "/metrics",
  "/api",
  "/api/stats",
  "/api/pools",
  "/api/topology",
  "/api/events?after=1",
  "/api/config",
  "/api/schema",
  "/api/route?key=a",
  "/api/route?key=%00%ff",
  "/api/route?pool=none&key=a",
  "/api/plan",
  "/api/reload",
  "/api/log-level?level=notice",
  "/api/log-level?level=none",
  // No server of these names: what is asked is refused, so that the caller's keys stay where they are.
  "/api/servers/none/eject?pool=alpha",
  "/api/servers/%2e%2e/drain?force",
  "/api/servers/a%00b/restore",
  "/../../etc/passwd",
  "//api/pools",
  "/api/pools?pool=alpha",
  "/api/%zz",
  "*",
  "http://127.0.0.1/api/pools",
];
const FOREIGN_HOSTS = ["evil.test", "evil.test:80", "localhost.evil.test", "127.0.0.1.evil.test", "xn--e1a"];
const FOREIGN_ORIGINS = ["http://evil.test", "null", "https://127.0.0.1.evil.test", "file://"];
const ODD_HEADERS = [
  "Accept: */*",
  "Accept: application/openmetrics-text;version=1.0.0",
  "Connection: keep-alive",
  "Connection: close",
  "Connection: Upgrade\r\nUpgrade: websocket",
  "Expect: 100-continue",
  "Authorization: Basic eDp5",
  "Cookie: a=b",
  "Range: bytes=0-1",
  "X-Forwarded-Host: evil.test",
  "X-Odd: \x80\xff",
  "Accept-Encoding: gzip",
];
const BODIES = [
  "",
  "x",
  "alpha:\n  listen: 127.0.0.1:1\n  servers: [ 127.0.0.1:2:1 ]\n",
  "[[[[",
  "{",
  "a: &a [*a]\n",
];

interface Made {
  readonly bytes: Uint8Array;
  /** Whatever else is in it, it must not be served. */
  readonly foreign: boolean;
}

function makeRequest(random: Random, port: number): Made {
  const method = random.pick(METHODS);
  const lines = [`${method} ${random.pick(PATHS)} HTTP/1.${random.below(10) === 0 ? 0 : 1}`];
  let foreign = false;
  const host = random.below(10);
  if (host < 7) lines.push(`Host: 127.0.0.1:${port}`);
  else if (host < 9) {
    foreign = true;
    lines.push(`Host: ${random.pick(FOREIGN_HOSTS)}`);
    if (random.below(3) === 0) lines.push(`Host: 127.0.0.1:${port}`);
  } else foreign = true;
  if (random.below(5) === 0) {
    foreign = true;
    lines.push(`Origin: ${random.pick(FOREIGN_ORIGINS)}`);
  }
  if (random.below(8) === 0) {
    lines.push("Sec-Fetch-Site: cross-site");
    if (method === "POST") foreign = true;
  }
  for (let i = random.below(4); i > 0; i--) lines.push(random.pick(ODD_HEADERS));
  if (random.below(40) === 0) lines.push(`X-Long: ${"x".repeat(random.pick([4_000, 15_000, 40_000]))}`);
  if (random.below(40) === 0) { for (let i = 0; i < 300; i++) lines.push(`X-${i}: y`); }
  const body = random.below(100) === 0 ? "z".repeat(1_200_000) : random.pick(BODIES);
  if (method === "POST" || random.below(10) === 0) {
    const size = random.below(6) === 0 ? random.pick([0, 1, 99, body.length + 5]) : body.length;
    lines.push(random.below(5) === 0 ? "Transfer-Encoding: chunked" : `Content-Length: ${size}`);
    if (lines.at(-1)!.startsWith("Transfer")) {
      return {
        bytes: encode([...lines, "", `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`].join("\r\n")),
        foreign,
      };
    }
    lines.push("", body);
  } else lines.push("", "");
  const bytes = encode(lines.join("\r\n"));
  // A mutated head may be anything, that of a friend too.
  if (random.below(3) > 0) return { bytes, foreign };
  return { bytes: mutated(bytes, random), foreign: false };
}

function mutated(bytes: Uint8Array<ArrayBuffer>, random: Random): Uint8Array {
  const head = Math.min(bytes.length, 2000);
  for (let i = random.between(1, 4); i > 0; i--) {
    const at = random.below(head);
    if (random.below(4) === 0) return bytes.subarray(0, at);
    bytes[at] = random.pick([0, 10, 13, 32, 58, 255, random.below(256)]);
  }
  return bytes;
}

const encode = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(text, (sign) => sign.charCodeAt(0));
const latin1 = (bytes: Uint8Array): string =>
  Array.from(bytes.subarray(0, 2000), (byte) => String.fromCharCode(byte)).join("");

/** How long a fuzzer listens to one who owes it nothing more, ms: half of a request may be all it has sent. */
const LISTEN_MS = 250;

/** Sends the bytes in pieces; what came back, in latin1, until the other side closed or was silent. */
async function exchange(admin: Admin, bytes: Uint8Array, random: Random): Promise<string> {
  let conn: Deno.TcpConn;
  try {
    conn = await admin.connect();
  } catch {
    return "";
  }
  const timer = setTimeout(() => close(conn), LISTEN_MS);
  try {
    let at = 0;
    const pieces = bytes.length < 5_000 ? random.between(1, 3) : 1;
    for (let i = 1; i <= pieces; i++) {
      const end = i === pieces ? bytes.length : random.between(at, bytes.length);
      while (at < end) at += await conn.write(bytes.subarray(at, end));
      if (i < pieces && random.below(4) === 0) await delay(0);
    }
    if (random.below(20) === 0) await conn.closeWrite();
  } catch {
    // It does not have to listen to the end.
  }
  const answer = await textOf(conn, latin1(bytes).startsWith("HEAD "));
  clearTimeout(timer);
  close(conn);
  return answer;
}

/** To the end of the first answer that has one, or of all. */
async function textOf(conn: Deno.Conn, headOnly: boolean): Promise<string> {
  const piece = new Uint8Array(16 * 1024);
  let text = "";
  for (;;) {
    const count = await conn.read(piece).catch(() => null);
    if (count === null) return text;
    text += latin1Of(piece.subarray(0, count));
    if (isWhole(text, headOnly)) return text;
    // A stream does not end.
    if (text.length > 1_000_000 || (text.includes("event-stream") && text.includes("\r\n\r\n"))) return text;
  }
}

function isWhole(text: string, headOnly: boolean): boolean {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0 || text.startsWith("HTTP/1.1 100 ")) return false;
  const size = /\r\nContent-Length: (\d+)/.exec(text.slice(0, end))?.[1];
  return size !== undefined && (headOnly || text.length >= end + 4 + Number(size));
}

const decoder = new TextDecoder("latin1");
const latin1Of = (bytes: Uint8Array): string => decoder.decode(bytes);

function close(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // closed already
  }
}

// ---- those who take their time

/** Connections that say nothing. Some of them are closed by the other side. */
async function openCrowd(admin: Admin, count: number): Promise<Deno.Conn[]> {
  const crowd: Deno.Conn[] = [];
  for (let i = 0; i < count; i++) {
    try {
      crowd.push(await admin.connect());
    } catch {
      // as many as there are files for
      break;
    }
  }
  return crowd;
}

/** Clients that send a byte now and then, or ask for much and do not read it. */
function startSluggards(admin: Admin, { sluggards }: FuzzOptions): { stop(): Promise<void> } {
  let stopped = false;
  const all = Array.from({ length: sluggards }, async (_, i) => {
    const reads = i % 2 === 0;
    const text = reads
      ? `GET /api/pools HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ${"y".repeat(500)}`
      : `GET ${i % 4 === 1 ? "/" : "/api/live"} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`;
    while (!stopped) {
      const conn = await admin.connect().catch(() => null);
      if (conn === null) {
        await delay(100);
        continue;
      }
      try {
        if (!reads) {
          await conn.write(encode(text));
          for (let n = 0; n < 50 && !stopped; n++) await delay(100);
        } else {
          for (const sign of text) {
            if (stopped) break;
            await conn.write(encode(sign));
            await delay(100);
          }
        }
      } catch {
        // It has been cut off.
      }
      close(conn);
    }
  });
  return {
    stop: async () => {
      stopped = true;
      await Promise.all(all);
    },
  };
}
