/** Records that are used again: only of requests of which nothing has become but their answer, and then they are as new ones. */
import { deepStrictEqual, notStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { Client } from "../../src/proxy/client.ts";
import { ReplyQueue } from "../../src/proxy/reply_queue.ts";
import { Request } from "../../src/proxy/request.ts";
import { forgetRequests, giveRequest, SPARES_MAX, takeRequest } from "../../src/proxy/spare_requests.ts";
import { forgetSplits, Split } from "../../src/proxy/split.ts";
import { Stamp } from "../../src/proxy/turn.ts";

const CLIENT = {} as Client;
const REPLY = new TextEncoder().encode("+OK\r\n");

function queueOf(requests: readonly Request[]): ReplyQueue {
  const queue = new ReplyQueue({ send: () => {}, sendChunks: () => {}, holdsMore: () => {} });
  for (const request of requests) queue.add(request);
  return queue;
}

function taken(count: number, counts = 1): Request[] {
  return Array.from({ length: count }, () => {
    const request = takeRequest(CLIENT);
    request.enter(new Stamp(0), false, counts);
    return request;
  });
}

Deno.test("spare requests: those answered in a run serve the next ones, as new ones would", () => {
  const stamp = new Stamp(1);
  const used = taken(3, 5);
  for (const request of used) {
    request.sentAt = request.size = 7;
    request.deadlineMs = 9;
  }
  queueOf(used).deliverRun(used[2]!, 3, REPLY, 0, REPLY.length);
  for (const request of used) strictEqual(request.client, null, "what is spare keeps nobody");
  const again = taken(3, 2).reverse();
  for (const [i, request] of again.entries()) strictEqual(request, used[i], "the last one first");
  for (const request of again) {
    request.stamp = stamp;
    request.sentAt = 0;
    ok(request.isUntouched && request.isPlain && request.uncounted);
    strictEqual(request.counts, 2);
  }
  const made = new Request(CLIENT);
  made.enter(stamp, false, 2);
  const [a, b] = [{ ...again[0]! }, { ...made }];
  deepStrictEqual({ ...a, bits: 0 }, { ...b, bits: 0 });
});

Deno.test("spare requests: who may be known to somebody is not used again", () => {
  const others: ((request: Request, queue: ReplyQueue) => void)[] = [
    // Its reply has waited for its turn.
    (request, queue) => {
      queue.deliver(request, REPLY, 0, REPLY.length);
      queue.deliver(queue.head!, REPLY, 0, REPLY.length);
    },
    // It was answered by itself, as one that is followed, failed or asked again is.
    (request, queue) => {
      queue.deliver(queue.head!, REPLY, 0, REPLY.length);
      queue.deliver(request, REPLY, 0, REPLY.length);
    },
    // Its client is gone.
    (_, queue) => queue.abandon(),
  ];
  for (const other of others) {
    const [head, request] = taken(2);
    other(request!, queueOf([head!, request!]));
    for (const next of taken(2 * SPARES_MAX)) {
      notStrictEqual(next, request);
      notStrictEqual(next, head);
    }
  }
});

Deno.test("spare requests: a reply of a run that has waited for its turn leaves a spare record too", () => {
  const [head, request] = taken(2);
  const queue = queueOf([head!, request!]);
  queue.holdUntouched(request!, REPLY, 0, REPLY.length);
  queue.deliverRun(head!, 1, REPLY, 0, REPLY.length);
  const again = taken(2);
  deepStrictEqual(again.map((r) => r === head ? "head" : r === request ? "held" : "new"), ["held", "head"]);
  for (const { reply, replyEnd } of again) strictEqual(reply.length + replyEnd, 0);
  ok(again.every((r) => r.uncounted && r.progress === 0));
});

Deno.test("spare requests: what a run of ordinary records leaves is the collector's", () => {
  const made = new Request(CLIENT);
  made.enter(new Stamp(0), false, 1);
  queueOf([made]).deliverRun(made, 1, REPLY, 0, REPLY.length);
  strictEqual(made.client, CLIENT);
  for (const next of taken(2 * SPARES_MAX)) notStrictEqual(next, made);
});

Deno.test("spare requests: no more than SPARES_MAX are kept", () => {
  const many = taken(SPARES_MAX + 10);
  for (const request of many) giveRequest(request);
  const again = new Set(taken(SPARES_MAX + 10));
  strictEqual(many.filter((request) => again.has(request)).length, SPARES_MAX);
});

Deno.test("spare requests: after a lull there are none, and a load has them again", () => {
  const many = taken(10);
  for (const request of many) giveRequest(request);
  forgetRequests();
  const made = taken(10);
  for (const request of made) ok(!many.includes(request));
  giveRequest(made[0]!);
  strictEqual(taken(1)[0], made[0]);
});

/** A client that is owed `head` first, and takes whatever comes. */
const clientOf = (head: () => Request | null) =>
  ({
    deliver: () => {},
    countForwardError: () => {},
    get head() {
      return head();
    },
  }) as unknown as Client;

Deno.test("spare requests: a split that two servers have answered serves the next one, with its parent", () => {
  let parent: Request | null = null;
  const client = clientOf(() => parent);
  const first = Split.take(client, () => REPLY, 3);
  parent = first.parent;
  const { owners } = first;
  strictEqual(owners.length, 3);
  const [a, b] = [first.add(), first.add()];
  first.take(a, REPLY, 0, REPLY.length, false);
  strictEqual(first.heldBytes, REPLY.length);
  first.take(b, REPLY, 0, REPLY.length, false);
  const next = Split.take(client, () => REPLY, 3);
  strictEqual(next, first);
  strictEqual(next.parent, parent);
  strictEqual(next.owners, owners, "as many keys");
  strictEqual(next.replies.length, 0);
  strictEqual(next.parent.progress, 0);
  strictEqual(next.add(), 0);
  strictEqual(next.heldBytes, 0, "what the last one held is forgotten");
  next.take(0, REPLY, 0, REPLY.length, false);
  strictEqual(Split.take(client, () => REPLY, 5).owners.length, 5);
});

Deno.test("spare requests: whose keys were very many is not kept, and after a lull no split is", () => {
  let parent: Request | null = null;
  const client = clientOf(() => parent);
  const answered = (keys: number) => {
    const split = Split.take(client, () => REPLY, keys);
    parent = split.parent;
    split.take(split.add(), REPLY, 0, REPLY.length, false);
    return split;
  };
  const few = answered(3);
  strictEqual(few.owners.length, 3);
  const many = answered(4096);
  strictEqual(many, few);
  strictEqual(many.owners.length, 0);
  forgetSplits();
  notStrictEqual(answered(3), few);
});

Deno.test("spare requests: a split that has failed, or whose parent others may know, leaves what they know alone", () => {
  let parent: Request | null = null;
  const client = clientOf(() => parent);
  const begin = () => {
    const split = Split.take(client, () => REPLY, 1);
    split.add();
    return split;
  };
  // A server has not answered: its record may still be in flight.
  const failed = begin();
  parent = failed.parent;
  failed.take(0, REPLY, 0, REPLY.length, true);
  notStrictEqual(begin(), failed);
  // Another reply goes first, somebody follows it, its client is gone.
  const others: ((split: Split) => void)[] = [
    () => parent = null,
    (split) => {
      parent = split.parent;
      parent.follow();
    },
    (split) => split.parent.client = parent = null,
  ];
  for (const other of others) {
    const split = begin();
    const known = split.parent;
    other(split);
    split.take(0, REPLY, 0, REPLY.length, false);
    for (const request of taken(2 * SPARES_MAX)) notStrictEqual(request, known);
  }
});
