/**
 * What the main thread asks every worker: what only it knows of itself, and that stands on no board.
 *
 *   admin, … ──► service.gather(kind, argument) ──► each worker: QUESTIONS[kind](its Proxy, argument) ──► the answers, by worker
 *
 * To add a question: a row in QUESTIONS. It runs between two turns of a thread that carries traffic: so it answers at once if that takes
 * some hundred µs at most, or it is a generator of parts of its answer, with a turn for each (turns.ts). Argument and answer are plain
 * JSON data: they go to another thread as text. What is asked with several workers is bounded by ANSWER_MAX.
 */
import type { Address } from "../net/net.ts";
import type { CertificateSeen } from "../net/tls.ts";
import type { Proxy } from "./proxy.ts";
import { bigKeys, clients, hotKeys, taps } from "./seen.ts";
import type { Turns } from "./turns.ts";

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
  /** It has connections there. If it is neither down nor has any, this worker cannot tell. */
  readonly tried: boolean;
  /** Off this worker's ring. */
  readonly ejected: boolean;
  /** Failures in a row. */
  readonly failures: number;
  readonly replicas: readonly { readonly address: string; readonly reads: number }[];
}

/** Whether a server cannot be reached, of what the workers have seen of it: who has not tried does not count. */
export function isDown(views: readonly Pick<ServerSeen, "down" | "tried">[]): boolean {
  return views.some(({ down }) => down) && views.every(({ down, tried }) => down || !tried);
}

/** What the workers that have answered have seen of a server. */
export type Views = (pool: string, server: string) => readonly ServerSeen[];

/** @param answers to "servers" (gather) */
export function viewsOf(answers: readonly { readonly answer: readonly ServerSeen[] }[]): Views {
  const views = Map.groupBy(
    answers.flatMap(({ answer }) => answer),
    ({ pool, server }) => `${pool}\0${server}`,
  );
  return (pool, server) => views.get(`${pool}\0${server}`) ?? [];
}

/** Servers that are looked at in one turn. */
const SERVERS_PART = 128;

/** @param only null: of all pools */
function* servers(proxy: Proxy, only: string | null): Generator<ServerSeen[], void> {
  for (const { config: { name }, servers } of proxy.pools) {
    if (only !== null && name !== only) continue;
    for (let at = 0; at < servers.length; at += SERVERS_PART) {
      const part = servers.slice(at, at + SERVERS_PART);
      const seen = part.map((server) => ({
        pool: name,
        server: server.config.name,
        primary: server.primary?.spec.text ?? "",
        why: server.primary === null ? server.why : "",
        down: server.isDown,
        tried: server.isTried,
        ejected: server.ejected,
        failures: server.failures,
        replicas: server.replicas.map(({ spec, readsAnswered }) => ({
          address: spec.text,
          reads: readsAnswered,
        })),
      }));
      // Who asks again is told what has come of it.
      for (const server of part) server.tryAgain();
      yield seen;
    }
  }
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
type ElementOf<A> = A extends Generator<readonly (infer E)[], void> ? E
  : A extends readonly (infer E)[] ? E
  : never;
export type AnswerOf<K extends QuestionKind> = ElementOf<ReturnType<Questions[K]>>[];

/** What one worker has answered. */
export interface Gathered<K extends QuestionKind> {
  readonly worker: number;
  readonly answer: AnswerOf<K>;
}

/** Who can be asked: one answer of each worker that has given one, by worker. Never rejects. */
export interface Gathering {
  gather<K extends QuestionKind>(kind: K, argument: ArgumentOf<K>): Promise<readonly Gathered<K>[]>;
}

/** A question's answer, part by part; a turn for each part but that of one that is answered at once. */
async function answer<K extends QuestionKind>(
  proxy: Proxy,
  kind: K,
  argument: ArgumentOf<K>,
  turns: Turns,
  take: (part: AnswerOf<K>) => void,
): Promise<void> {
  type Part = AnswerOf<K>;
  const ask = QUESTIONS[kind] as unknown as (proxy: Proxy, argument: unknown) => Part | Generator<Part, void>;
  const answer = ask(proxy, argument);
  if (Array.isArray(answer)) return take(answer);
  await turns.all(partsOf(answer, take));
}

/** What a part takes, µs, about. */
const PART_US = 300;

function* partsOf<P>(answer: Generator<P, void>, take: (part: P) => void): Generator<number, void> {
  for (const part of answer) {
    take(part);
    yield PART_US;
  }
}

/** A worker's answer; null if it has none: a question that throws is a mistake of ours, and not to cost clients anything. */
export async function answerOf<K extends QuestionKind>(
  proxy: Proxy,
  kind: K,
  argument: ArgumentOf<K>,
  turns: Turns,
): Promise<AnswerOf<K> | null> {
  const all: AnswerOf<K> = [];
  try {
    await answer(proxy, kind, argument, turns, (part) => void all.push(...part));
    return all;
  } catch {
    return null;
  }
}

/** The same as text, for another thread; "" if it has none, or one of more than ANSWER_MAX. */
export async function answerText(
  proxy: Proxy,
  kind: QuestionKind,
  argument: unknown,
  turns: Turns,
): Promise<string> {
  const parts: string[] = [];
  let size = 0;
  try {
    await answer(proxy, kind, argument as ArgumentOf<typeof kind>, turns, (part) => {
      if (part.length === 0) return;
      const text = JSON.stringify(part).slice(1, -1);
      size += text.length + 1;
      // One that is too long is made to its end, but not kept.
      if (size <= ANSWER_MAX) parts.push(text);
    });
  } catch {
    return "";
  }
  return size > ANSWER_MAX ? "" : `[${parts.join(",")}]`;
}
