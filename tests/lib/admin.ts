/**
 * A proxy with its admin side, for tests:
 *
 *   const { proxy, admin } = await startAdmin(f, "compiled", poolYml({ alpha: { servers: [redis] } }));
 *   deepStrictEqual(await admin.json("/api/pools"), …);
 */
import type { Fixture } from "./fixture.ts";
import { freePort } from "./ports.ts";
import { poll } from "./poll.ts";
import type { Proxy, ProxyOptions, Subject } from "./servers.ts";

export interface AdminOptions extends ProxyOptions {
  /** What else stands under `ringmaster:`, a key a line, without indentation: "workers: 2". */
  process?: readonly string[];
}

/** Starts a proxy with `yml`, which has no `ringmaster:`, and an admin side on a free port. Ready when that answers. */
export async function startAdmin(
  f: Fixture,
  subject: Subject,
  yml: string,
  { process = [], ...options }: AdminOptions = {},
): Promise<{ readonly proxy: Proxy; readonly admin: Admin }> {
  const port = freePort();
  const proxy = await f.proxy(subject, adminYml(port, process) + yml, options);
  const admin = new Admin(port);
  await poll(async () => (await admin.get("/readyz")).status !== 0, "the admin side");
  return { proxy, admin };
}

/** The `ringmaster:` of a configuration whose admin side listens on this port of the loopback address. */
export function adminYml(port: number, process: readonly string[] = []): string {
  return `ringmaster:\n${[`admin: 127.0.0.1:${port}`, ...process].map((line) => `  ${line}\n`).join("")}`;
}

export class Admin {
  constructor(readonly port: number, private readonly token: string | null = null) {}

  /** What it answers, read to its end. */
  async get(path: string, headers: Record<string, string> = {}): Promise<AdminAnswer> {
    return await this.ask("GET", path, headers, null);
  }

  async post(
    path: string,
    body: string | Uint8Array = "",
    headers: Record<string, string> = {},
  ): Promise<AdminAnswer> {
    return await this.ask("POST", path, headers, body);
  }

  /** The JSON of a 200. */
  async json<T = any>(path: string): Promise<T> {
    const { status, text } = await this.get(path);
    if (status !== 200) throw new Error(`${path}: ${status} ${text}`);
    return JSON.parse(text) as T;
  }

  /** Sends these bytes as they are; what came until the other side closed; of a stream its head. */
  async raw(bytes: string | Uint8Array): Promise<string> {
    using conn = await this.connect();
    await conn.write(typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes).catch(() => {});
    return await read(conn);
  }

  async connect(): Promise<Deno.TcpConn> {
    return await Deno.connect({ hostname: "127.0.0.1", port: this.port });
  }

  private async ask(
    method: string,
    path: string,
    headers: Record<string, string>,
    body: string | Uint8Array | null,
  ): Promise<AdminAnswer> {
    const authorization: Record<string, string> = this.token === null
      ? {}
      : { Authorization: `Bearer ${this.token}` };
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`, {
      method,
      headers: { ...authorization, ...headers },
      body: body as BodyInit | null,
      redirect: "manual",
    });
    return { status: response.status, headers: response.headers, text: await response.text() };
  }
}

export interface AdminAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Latin-1, to the end; a reset is an end too. */
async function read(conn: Deno.Conn): Promise<string> {
  const piece = new Uint8Array(64 * 1024);
  let text = "";
  for (;;) {
    const count = await conn.read(piece).catch(() => null);
    if (count === null) return text;
    for (const byte of piece.subarray(0, count)) text += String.fromCharCode(byte);
    // A stream does not end.
    if (text.includes("text/event-stream") && text.includes("\r\n\r\n")) return text;
  }
}
