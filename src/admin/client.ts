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

const TOKEN_MISSING = "who listens there asks for a token: --token-file, or -c with its configuration";
const NOT_PLAIN =
  "who listens there has not answered as an admin side does: it is none, or speaks TLS (--ca-file, or -c with its configuration)";
const NOT_TLS =
  "who listens there has not answered as an admin side does: it is none, speaks no TLS, or wants a certificate (--cert-file)";

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

/** Asks for a path. Rejects if nobody answers, or not within `timeoutMs`, or not without another token; any other status is an answer. */
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

/**
 * Who knows the other by a file asks twice: when that has been replaced, the first to connect may still be shown what was there before, and
 * has it looked at by connecting.
 */
async function open(peer: AdminPeer, path: string, timeoutMs: number): Promise<IncomingMessage> {
  try {
    return await openOnce(peer, path, timeoutMs);
  } catch (error) {
    if (peer.tls?.byFile !== true || !/certificate|issuer/i.test((error as Error).message)) throw error;
    return await openOnce(peer, path, timeoutMs);
  }
}

function openOnce(
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
    const take = (response: IncomingMessage) => {
      if (response.statusCode !== 401) return resolve(response);
      response.destroy();
      reject(new Error(token === null ? TOKEN_MISSING : "who listens there asks for another token"));
    };
    const asked = tls === null
      ? http().request(options, take)
      : https().request({ ...options, ...tlsOptions(tls) }, take);
    asked.on("timeout", () => asked.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    asked.on(
      "error",
      (error: Error & { readonly code?: string }) => {
        if (error.code === "ECONNREFUSED") return reject(new Error(nobodyAt(host, port)));
        reject(isStranger(error) ? new Error(tls === null ? NOT_PLAIN : NOT_TLS) : error);
      },
    );
    asked.end();
  });
}

function nobodyAt(host: string, port: number): string {
  return `nobody listens at ${host}:${port} (connection refused): the proxy does not run, or has another admin address`;
}

/** What one of two who do not speak the same makes of the other's words, or of its going. */
function isStranger({ message, code }: Error & { readonly code?: string }): boolean {
  return code === "ECONNRESET" ||
    /socket hang up|socket is closed|parse error|corrupt message|wrong version number/i.test(message);
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
