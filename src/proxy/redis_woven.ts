/**
 * EXEC of a transaction in which not everything is for its server: what is answered here, or by another server, takes its
 * place among the elements of EXEC's reply.
 *
 *   queue:       SET k v   CLIENT ID   INCR n   PUBLISH c m          (the server gets MULTI, SET, INCR, EXEC)
 *   its reply:   *2 +OK :1
 *   the client:  *4 +OK │ :7 │ :1 │ :0       an array is its elements, one after the other: the client's queue of replies
 *
 * The others run when EXEC's reply has come and was an array, in their order; a client whose transaction did not happen has
 * changed nothing here either. Nothing else is taken from the client until the last element has left.
 */
import { encode, latin1 } from "../bytes/ascii.ts";
import { ReplyResume, scanReply } from "../protocol/redis/reply.ts";
import type { Client } from "./client.ts";
import { Request } from "./request.ts";

/** A command of a transaction that its server does not get. */
export interface Aside {
  /** So many of the server's elements stand before it. */
  readonly before: number;
  /** The request; owned. */
  readonly bytes: Uint8Array;
  /** A message for a channel: the index of its server; -1 = none live. Undefined for all else. */
  readonly channelOwner?: number;
}

const ARRAY = 42;
const LF = 10;
const MINUS = 45;
/** The reply of a server that had nothing to do. */
export const NO_ELEMENTS = encode("*0\r\n");
/** What a transaction may have answered aside, so that EXEC stays a short turn; in units of one small answer. */
export const ASIDE_MAX = 1024;

/** Runs a request for the client, which answers with one reply. */
export type Rerun = (client: Client, bytes: Uint8Array) => void;

/**
 * Answers EXEC, whose request is `parent`, the youngest; `client.beginWoven` has been called when it was put into the queue.
 * @param reply the server's, borrowed; NO_ELEMENTS if no server has a part in the transaction
 */
export function weave(
  client: Client,
  parent: Request,
  asides: readonly Aside[],
  reply: Uint8Array,
  start: number,
  end: number,
  rerun: Rerun,
): void {
  if (reply[start] !== ARRAY || reply[start + 1] === MINUS) return client.deliver(parent, reply, start, end);
  const { muted } = client;
  client.muted = parent.muted;
  const first = reply.indexOf(LF, start) + 1;
  const count = Number(latin1(reply, start + 1, first - 2));
  const resume = new ReplyResume();
  let at = first;
  let seen = 0;
  const pass = (upTo: number) => {
    const from = at;
    for (; seen < upTo && at < end; seen++) {
      at = scanReply(reply, at, end, resume);
      if (at < 0) throw new Error("EXEC's reply is whole, its elements are not");
    }
    return from;
  };
  const head = encode(`*${count + asides.length}\r\n`);
  const from = pass(asides[0]!.before);
  const begin = new Uint8Array(head.length + at - from);
  begin.set(head);
  begin.set(reply.subarray(from, at), head.length);
  for (let i = 0; i < asides.length; i++) {
    rerun(client, asides[i]!.bytes);
    const rest = pass(i + 1 < asides.length ? asides[i + 1]!.before : count);
    if (at === rest) continue;
    const request = new Request(client);
    client.enqueue(request);
    client.deliver(request, reply, rest, at);
  }
  client.muted = muted;
  // Not before: until now everything behind it has been held, so that nothing could leave out of turn.
  client.deliver(parent, begin, 0, begin.length);
}
