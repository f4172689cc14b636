/** Weaver: what is not the server's stands in its place in EXEC's reply, however the reply is walked and when the others answer. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import type { Outbox } from "../../src/bytes/outbox.ts";
import type { Socket } from "../../src/net/net.ts";
import { Client } from "../../src/proxy/client.ts";
import type { Pool } from "../../src/proxy/pool.ts";
import { RedisSession } from "../../src/redis/session.ts";
import { type Aside, Weaver } from "../../src/redis/woven.ts";
import { ReplyResume, scanReply } from "../../src/protocol/redis/reply.ts";
import { Request } from "../../src/proxy/request.ts";
import { Turn } from "../../src/proxy/turn.ts";
import { latin1, textOf } from "../lib/bytes.ts";
import { runs } from "../lib/runs.ts";
import { SimClock } from "../sim/clock.ts";

/** A client whose socket only writes down what it is sent. */
class Stand {
  readonly clock = new SimClock();
  sent = "";
  readonly client: Client;
  readonly session: RedisSession;
  /** Asides that answer when the test says so. */
  private readonly open: { request: Request; answer: string }[] = [];

  constructor(sliceArguments: number) {
    const socket = {
      queuedBytes: 0,
      flush() {},
      pause() {},
      resume() {},
      sendChunks: (chunks: Outbox) => {
        const bytes = new Uint8Array(chunks.size);
        chunks.moveTo(bytes);
        this.sent += textOf(bytes);
      },
      send: (bytes: Uint8Array, start: number, end: number) => void (this.sent += textOf(bytes, start, end)),
    };
    const config = { inFlightMax: 1e6, clientOutputMax: 1e9, listenText: "" };
    const pool = {
      config,
      turn: new Turn(this.clock),
      timing: { answered: () => {} },
      counters: new Float64Array(64),
      counting: 0,
      sliceArguments,
    };
    this.client = new Client(socket as unknown as Socket, pool as unknown as Pool, 1);
    this.client.session = this.session = new RedisSession(this.client, true, 0, "", false);
  }

  /** Runs a command aside: its request is its answer, which comes at once, or later if it begins with `?`. */
  readonly rerun = (client: Client, bytes: Uint8Array): void => {
    const text = textOf(bytes);
    if (!text.startsWith("?")) return client.answer(bytes);
    const request = new Request(client);
    client.enqueue(request);
    this.open.push({ request, answer: text.slice(1) });
  };

  /** EXEC's reply comes; what is given is rubbish afterwards, as a borrowed view is. */
  exec(parent: Request, asides: readonly Aside[], reply: string): void {
    const bytes = latin1(`xx${reply}yy`);
    new Weaver(this.session, parent, asides, this.rerun).weave(bytes, 2, bytes.length - 2);
    bytes.fill(0xdd);
  }

  /** As `exec`, of a reply that comes cut at `cuts` and is taken as a connection does: what is whole of it goes on. */
  execInParts(parent: Request, asides: readonly Aside[], reply: string, cuts: readonly number[]): void {
    const bytes = latin1(reply);
    const weaver = new Weaver(this.session, parent, asides, this.rerun);
    const scan = new ReplyResume();
    let start = 0;
    for (const cut of [...cuts.map((cut) => cut % bytes.length).sort((a, b) => a - b), bytes.length]) {
      const next = scanReply(bytes, start, cut, scan);
      const part = bytes.slice(start, next < 0 ? start + scan.at : next);
      if (next >= 0) return weaver.takeLast(part, 0, part.length);
      if (part.length === 0) continue;
      weaver.takePart(part, 0, part.length);
      start += scan.at;
      scan.forget(scan.at);
      part.fill(0xdd);
    }
  }

  /** Asks for EXEC: nothing else is taken until it has been answered. */
  begin(): Request {
    const parent = new Request(this.client);
    this.client.enqueue(parent);
    this.client.beginWoven();
    return parent;
  }

  answerOldest(): boolean {
    const first = this.open.shift();
    if (first === undefined) return false;
    const bytes = latin1(first.answer);
    this.client.deliver(first.request, bytes, 0, bytes.length);
    bytes.fill(0xdd);
    return true;
  }

  /** Runs to the end; asides answer in the meantime. */
  settle(): void {
    do this.clock.run(this.clock.nowMs() + 1); while (this.answerOldest());
  }
}

const ELEMENT = fc.oneof(
  fc.constantFrom("+OK\r\n", ":1\r\n", "$-1\r\n", "*0\r\n", "-ERR no\r\n", "*2\r\n*1\r\n:1\r\n$1\r\na\r\n"),
  fc.nat(300).map((size) => `$${size}\r\n${"v".repeat(size)}\r\n`),
);
const ASIDE = fc.tuple(fc.nat(30), fc.constantFrom("+MINE\r\n", "?:7\r\n", "?-ERR theirs\r\n"));

/** Asides by their places, and EXEC's reply with them. */
function woven(elements: readonly string[], places: readonly (readonly [number, string])[]) {
  const sorted = places
    .map(([at, answer]) => ({ before: Math.min(at, elements.length), answer }))
    .sort((a, b) => a.before - b.before);
  const asides = sorted.map(({ before, answer }): Aside => ({ before, at: 0, bytes: latin1(answer) }));
  const all = [...elements];
  for (const { before, answer } of sorted.toReversed()) all.splice(before, 0, answer.replace("?", ""));
  return {
    asides,
    whole: `*${all.length}\r\n${all.join("")}`,
    reply: `*${elements.length}\r\n${elements.join("")}`,
  };
}

Deno.test("what is aside stands in its place, in turns of any size, behind what is owed before", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(1, 2, 7, 4096),
      fc.array(ELEMENT, { maxLength: 30 }),
      fc.array(ASIDE, { minLength: 1, maxLength: 10 }),
      fc.boolean(),
      fc.boolean(),
      (slice, elements, places, owed, muted) => {
        const stand = new Stand(slice);
        const { client } = stand;
        const { asides, whole, reply } = woven(elements, places);
        const before = new Request(client);
        if (owed) client.enqueue(before);
        client.muted = muted;
        const parent = stand.begin();
        client.muted = false;
        stand.exec(parent, asides, reply);
        if (owed) {
          stand.settle();
          strictEqual(stand.sent, "");
          const first = latin1("+FIRST\r\n");
          client.deliver(before, first, 0, first.length);
        }
        stand.settle();
        strictEqual(stand.sent, (owed ? "+FIRST\r\n" : "") + (muted ? "" : whole));
        deepStrictEqual([client.head, client.blocked, client.replies.heldBytes, stand.session.sliced], [
          null,
          0,
          0,
          null,
        ]);
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("a reply that leaves as it comes is the same, wherever it is cut and whatever is owed before", () => {
  const element = fc.oneof(
    { weight: 20, arbitrary: ELEMENT },
    { weight: 1, arbitrary: fc.nat(3000).map((more) => `+>${"t".repeat(65_000 + more)}\r\n`) },
  );
  fc.assert(
    fc.property(
      fc.array(element, { minLength: 1, maxLength: 30 }),
      fc.array(ASIDE, { minLength: 1, maxLength: 10 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      fc.boolean(),
      fc.boolean(),
      (elements, places, cuts, owed, muted) => {
        const stand = new Stand(4096);
        const { client } = stand;
        const { asides, whole, reply } = woven(elements, places);
        const before = new Request(client);
        if (owed) client.enqueue(before);
        client.muted = muted;
        const parent = stand.begin();
        client.muted = false;
        stand.execInParts(parent, asides, reply, cuts);
        if (owed) {
          strictEqual(stand.sent, "");
          const first = latin1("+FIRST\r\n");
          client.deliver(before, first, 0, first.length);
        }
        stand.settle();
        ok(stand.sent === (owed ? "+FIRST\r\n" : "") + (muted ? "" : whole), "the same bytes");
        deepStrictEqual([client.head, client.blocked, client.replies.heldBytes], [null, 0, 0]);
      },
    ),
    { numRuns: runs(300) },
  );
});

Deno.test("what stands aside runs as soon as those before it have come, and nothing of them is kept", () => {
  const stand = new Stand(4096);
  const weaver = new Weaver(
    stand.session,
    stand.begin(),
    woven(["", ""], [[1, "+MINE\r\n"]]).asides,
    stand.rerun,
  );
  const say = (text: string, take: "takePart" | "takeLast") => {
    const bytes = latin1(text);
    weaver[take](bytes, 0, bytes.length);
    return stand.sent;
  };
  strictEqual(say("*2\r\n*2\r\n$1\r\na\r\n", "takePart"), "*3\r\n*2\r\n$1\r\na\r\n");
  strictEqual(stand.client.replies.heldBytes, 0);
  strictEqual(say(":1\r\n", "takePart"), "*3\r\n*2\r\n$1\r\na\r\n:1\r\n+MINE\r\n");
  strictEqual(say("+OK\r\n", "takeLast"), "*3\r\n*2\r\n$1\r\na\r\n:1\r\n+MINE\r\n+OK\r\n");
  strictEqual(stand.client.blocked, 0);
});

Deno.test("a transaction that did not happen changes nothing aside", () => {
  for (const reply of ["*-1\r\n", "_\r\n", "-EXECABORT no\r\n"]) {
    const stand = new Stand(4096);
    stand.exec(stand.begin(), woven([], [[0, "+MINE\r\n"]]).asides, reply);
    strictEqual(stand.sent, reply);
    strictEqual(stand.client.blocked, 0);
  }
});

Deno.test("no push comes between the elements, and nothing is taken before the last has left", () => {
  const stand = new Stand(1);
  const { client } = stand;
  const push = latin1(">1\r\n+hi\r\n");
  const { asides, whole, reply } = woven(["+A\r\n", "+B\r\n", "+C\r\n"], [[1, "?:7\r\n"], [2, "?:8\r\n"]]);
  const parent = stand.begin();
  stand.exec(parent, asides, reply);
  while (client.head !== null) {
    client.push(push, 0, push.length);
    ok(client.blocked !== 0);
    stand.clock.run(stand.clock.nowMs() + 1);
    stand.answerOldest();
  }
  ok(stand.sent.startsWith(whole), stand.sent);
  strictEqual(stand.sent.slice(whole.length).replaceAll(textOf(push), ""), "");
  strictEqual(client.blocked, 0);
});
