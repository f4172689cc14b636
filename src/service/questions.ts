/**
 * What the main thread asks every worker: what only it knows of itself, and that stands on no board.
 *
 *   admin, … ──► service.gather(kind, argument) ──► each worker: QUESTIONS[kind](its Proxy, argument) ──► the answers, by worker
 *
 * To add a question: a row in QUESTIONS. It runs between two turns of a thread that carries traffic, so it looks at a bounded number
 * of things (some hundreds; a page of them if there are more) and takes well below a millisecond. Argument and answer are plain JSON
 * data: they go to another thread as text.
 */
import type { Address } from "../net/net.ts";
import type { CertificateSeen } from "../net/tls.ts";
import type { Proxy } from "./proxy.ts";
import { bigKeys, clients, hotKeys, taps } from "./seen.ts";

/** A worker's answer of more characters than this is as good as none. */
export const ANSWER_MAX = 4 * 1024 * 1024;
/** A worker that does not answer in this time, ms, is left out. */
export const GATHER_MAX_MS = 1000;

/** A server of a pool as one worker has it. */
export interface ServerSeen {
  readonly pool: string;
  readonly server: string;
  /** The address of its primary, "" = none is known; `why`, then. */
  readonly primary: string;
  readonly why: string;
  /** Nobody could be connected there, the last time. */
  readonly down: boolean;
  /** Off this worker's ring. */
  readonly ejected: boolean;
  /** Failures in a row. */
  readonly failures: number;
  readonly replicas: readonly { readonly address: string; readonly reads: number }[];
}

/** @param pool null: of all */
function servers(proxy: Proxy, pool: string | null): ServerSeen[] {
  return proxy.pools.filter(({ config }) => pool === null || config.name === pool).flatMap((
    { config: { name }, servers },
  ) =>
    servers.map((server) => ({
      pool: name,
      server: server.config.name,
      primary: server.primary?.spec.text ?? "",
      why: server.primary === null ? server.why : "",
      down: server.isDown,
      ejected: server.ejected,
      failures: server.failures,
      replicas: server.replicas.map(({ spec, readsAnswered }) => ({
        address: spec.text,
        reads: readsAnswered,
      })),
    }))
  );
}

/** Listening sockets for the process that takes this one's place; they stay this process's as well. @param given it has taken them */
function listeners(proxy: Proxy, given: boolean): { readonly at: Address; readonly fd: number }[] {
  return proxy.pools.flatMap((pool) => pool.heirloom(given) ?? []);
}

/** A file of certificates that a worker uses. */
export interface PoolCertificate extends CertificateSeen {
  readonly pool: string;
  /** The key that names it. */
  readonly key: "tls" | "server_tls";
}

/** Takes files of certificates that have changed, and tells which are in use. */
function certificates(proxy: Proxy): PoolCertificate[] {
  return proxy.pools.flatMap((pool) =>
    pool.lookAtCertificates().flatMap(({ key, seen }) =>
      seen.map((one) => ({ pool: pool.config.name, key, ...one }))
    )
  );
}

export const QUESTIONS = { servers, certificates, listeners, hotKeys, bigKeys, clients, taps };

type Questions = typeof QUESTIONS;
export type QuestionKind = keyof Questions;
export type ArgumentOf<K extends QuestionKind> = Parameters<Questions[K]> extends [Proxy, infer A] ? A : null;
export type AnswerOf<K extends QuestionKind> = ReturnType<Questions[K]>;

/** What one worker has answered. */
export interface Gathered<K extends QuestionKind> {
  readonly worker: number;
  readonly answer: AnswerOf<K>;
}

/** Who can be asked: one answer of each worker that has given one, by worker. Never rejects. */
export interface Gathering {
  gather<K extends QuestionKind>(kind: K, argument: ArgumentOf<K>): Promise<readonly Gathered<K>[]>;
}

/** A worker's answer as text; "" if it has none: a question that throws is a mistake of ours, and not to cost clients anything. */
export function answerText(proxy: Proxy, kind: QuestionKind, argument: unknown): string {
  try {
    const text =
      JSON.stringify((QUESTIONS[kind] as (proxy: Proxy, argument: unknown) => unknown)(proxy, argument)) ??
        "";
    return text.length > ANSWER_MAX ? "" : text;
  } catch {
    return "";
  }
}
