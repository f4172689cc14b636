/** The other end of the admin side: for subcommands that ask a running proxy (health, top, tap). */
import { builtin } from "../bytes/builtin.ts";
import type { IncomingMessage } from "node:http";
import type { RequestOptions } from "node:https";

const http = builtin<typeof import("node:http")>("node:http");
const https = builtin<typeof import("node:https")>("node:https");

/** Bytes of an answer that is read whole. */
const ANSWER_MAX = 64 * 1024 * 1024;
/** Characters of one line of a stream. */
const LINE_MAX = 16 * 1024 * 1024;

/** Who is asked. */
export interface AdminPeer {
  readonly host: string;
  readonly port: number;
  /** null: none is sent. */
  readonly token: string | null;
  /** null: plain HTTP. */
  readonly tls: PeerTls | null;
}

/** How it is spoken to with TLS. All in PEM. */
export interface PeerTls {
  /** Who may have signed its certificate. */
  readonly ca: readonly string[];
  /** It has to be one of `ca` itself, or signed by one; whose name is in it does not matter: it is known by its file. */
  readonly byFile: boolean;
  /** What it is shown. */
  readonly pair: { readonly cert: string; readonly key: string } | null;
}

export interface AdminAnswer {
  readonly status: number;
  readonly text: string;
}

/** Asks for a path. Rejects if nobody answers, or not within `timeoutMs`; whatever the status, an answer is one. */
export async function askAdmin(peer: AdminPeer, path: string, timeoutMs: number): Promise<AdminAnswer> {
  const response = await open(peer, path, timeoutMs);
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response as AsyncIterable<Uint8Array>) {
    parts.push(part);
    if ((size += part.length) > ANSWER_MAX) {
      response.destroy();
      throw new Error("the answer is too long");
    }
  }
  const decoder = new TextDecoder();
  const text = parts.map((part) => decoder.decode(part, { stream: true })).join("") + decoder.decode();
  return { status: response.statusCode ?? 0, text };
}

/** Lines of an answer that goes on until one side ends it. */
export interface AdminStream {
  readonly status: number;
  readonly lines: AsyncIterable<string>;
  end(): void;
}

/** As `askAdmin`, for an answer that is read as it comes. @param timeoutMs for its beginning */
export async function streamAdmin(peer: AdminPeer, path: string, timeoutMs: number): Promise<AdminStream> {
  const response = await open(peer, path, timeoutMs);
  response.setTimeout(0);
  return { status: response.statusCode ?? 0, lines: linesOf(response), end: () => void response.destroy() };
}

function open(
  { host, port, token, tls }: AdminPeer,
  path: string,
  timeoutMs: number,
): Promise<IncomingMessage> {
  const headers: Record<string, string> = {
    // One answer is all that is wanted.
    Connection: "close",
    ...token === null ? {} : { Authorization: `Bearer ${token}` },
  };
  const options = { host, port, path, headers, agent: false, timeout: timeoutMs } as const;
  return new Promise((resolve, reject) => {
    const asked = tls === null
      ? http().request(options, resolve)
      : https().request({ ...options, ...tlsOptions(tls) }, resolve);
    asked.on("timeout", () => asked.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    asked.on("error", reject);
    asked.end();
  });
}

function tlsOptions({ ca, byFile, pair }: PeerTls): RequestOptions {
  return {
    ca: [...ca],
    ...pair,
    ...byFile ? { allowPartialTrustChain: true, checkServerIdentity: () => undefined } : {},
  } as RequestOptions;
}

async function* linesOf(response: IncomingMessage): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for await (const part of response as AsyncIterable<Uint8Array>) {
      const lines = (rest + decoder.decode(part, { stream: true })).split("\n");
      rest = lines.pop()!;
      if (rest.length > LINE_MAX) throw new Error("a line is too long");
      yield* lines;
    }
  } catch (error) {
    // However it ends: who asked may have ended it.
    if (!response.destroyed) throw error;
  }
}
