/** Whom members follow, and what that allows: who may be written to and until when, and who is promoted. */
import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import type { MemberSaid } from "../../src/topology/member.ts";
import { hostAndPort, nameOf, readMember } from "../../src/topology/member.ts";
import { LEASE_MS } from "../../src/stats/board.ts";
import {
  chosenOf,
  leaveOf,
  majorityOf,
  placeOf,
  strangersOf,
  voteOf,
  type Voter,
} from "../../src/topology/votes.ts";

const OLD = "a".repeat(40);
const NEW = "b".repeat(40);
const NONE = "0".repeat(40);

interface Word {
  /** Whom it follows; absent: it is a primary; null: it has said nothing. */
  readonly follows?: string | null;
  readonly at?: number;
  readonly fenced?: boolean;
  readonly uptimeMs?: number;
  readonly port?: number;
  readonly offset?: number;
  readonly history?: string;
  readonly before?: string;
  readonly priority?: number;
  readonly linked?: boolean;
  readonly receiving?: boolean;
  readonly loading?: boolean;
  readonly peer?: string;
  readonly runId?: string;
  readonly ended?: number;
  /** As a primary names them. */
  readonly replicas?: readonly string[];
}

function voters(...words: readonly (Word | null)[]): Voter[] {
  return words.map((word, i) => ({
    said: word === null ? null : saidOf(word, i),
    askedAtMs: word?.at ?? 1000,
    endedAtMs: word?.ended ?? -Infinity,
    text: `h${i}:${7000 + i}`,
    peer: word?.peer ?? "",
  }));
}

function saidOf(word: Word, place: number): MemberSaid {
  const master = word.follows === undefined;
  return {
    info: {
      master,
      linked: word.linked ?? !master,
      syncing: !(word.linked ?? !master),
      receiving: word.receiving ?? false,
      loading: word.loading ?? false,
      ioAgeMs: 0,
      downMs: -1,
      offset: word.offset ?? 10,
      history: word.history ?? OLD,
      replicas: word.replicas ?? [],
    },
    follows: word.follows ?? null,
    before: word.before ?? NONE,
    priority: word.priority ?? 100,
    uptimeMs: word.uptimeMs ?? 60_000,
    port: word.port ?? 7000 + place,
    runId: word.runId ?? `run${place}`,
    fenced: word.fenced ?? false,
  };
}

const A = { follows: "h0:7000" };

Deno.test("strangersOf() names replicas that are certainly no members, whatever names the primary has for those that are", () => {
  const of = (...replicas: readonly string[]) => {
    return strangersOf(voters({ replicas }, { ...A, peer: "10.0.0.1:7001" }, A), 0);
  };
  deepStrictEqual(of("10.0.0.1:7001", "h2:7002"), []);
  deepStrictEqual(of("nat:7001", "nat:7002"), [], "by ports that are one's alone");
  deepStrictEqual(of("h2:7002", "h9:7009", "h1:7001", "h8:7008"), ["h8:7008", "h9:7009"]);
  deepStrictEqual(of("h2:7002", "h9:7009"), [], "it may be the one that is missing, under another name");
  deepStrictEqual(of("h1:7001", "h2:7002", "h9:0"), [], "who only takes a copy");
  deepStrictEqual(of(), []);
  const alike = voters({ port: 6379 }, { ...A, port: 6379 }, { ...A, port: 6379 });
  const all = (replicas: string[]) =>
    strangersOf([{ ...alike[0]!, said: saidOf({ replicas, port: 6379 }, 0) }, ...alike.slice(1)], 0);
  deepStrictEqual(all(["a:6379", "b:6379"]), []);
  deepStrictEqual(all(["a:6379", "b:6379", "c:6379"]), ["a:6379", "b:6379", "c:6379"]);
});

Deno.test("majorityOf()", () => {
  deepStrictEqual([1, 2, 3, 4, 5].map(majorityOf), [1, 2, 2, 3, 3]);
});

Deno.test("voteOf() knows whom a member follows by the name, by the address, and by a port that is one's alone", () => {
  const all = voters(
    {},
    A,
    { follows: "10.0.0.9:1" },
    { follows: "else:7002" },
    { follows: "else:9999" },
    { follows: "x:7009", port: 7009 },
    { port: 7009 },
    null,
  );
  all[0] = { ...all[0]!, peer: "10.0.0.9:1" };
  deepStrictEqual(all.map((_, i) => voteOf(all, i)), [0, 0, 0, 2, -1, -1, 6, -1]);
});

Deno.test("voteOf() knows a member by its port of TLS too, which it does not say, if no other says that it is there", () => {
  // Their texts have the ports of TLS, 7000 and on; what they say is the other one.
  const all = voters({ port: 6000 }, { follows: "db0:7000", port: 6001 }, {
    follows: "db0:7009",
    port: 6002,
  });
  deepStrictEqual(all.map((_, i) => voteOf(all, i)), [0, 0, -1]);
  deepStrictEqual([6001, 7001, 7002, 7009].map((port) => placeOf(all, port)), [1, 1, 2, -1]);
  const others = voters({ port: 7001 }, { port: 6001 }, { port: 7003 }, { port: 7003 });
  deepStrictEqual([7001, 7003].map((port) => placeOf(others, port)), [0, -1], "what is said comes first");
});

Deno.test("voteOf(): a member that was told to follow itself is for nobody", () => {
  const all = voters({ follows: "h0:7000" }, { follows: "else:7001" }, { follows: "10.0.0.9:1" }, A);
  all[2] = { ...all[2]!, peer: "10.0.0.9:1" };
  deepStrictEqual(all.map((_, i) => voteOf(all, i)), [-1, -1, -1, 0]);
});

Deno.test("leaveOf() lasts from when the majority was asked", () => {
  deepStrictEqual(leaveOf(voters({ at: 100 }, { ...A, at: 300 }, { ...A, at: 200 })), {
    primary: 0,
    untilMs: 200 + LEASE_MS,
  });
  deepStrictEqual(leaveOf(voters(null, { ...A, at: 300 }, { ...A, at: 200 })), {
    primary: 0,
    untilMs: 200 + LEASE_MS,
  });
  strictEqual(leaveOf(voters({}, null, null)), null);
  strictEqual(leaveOf(voters({}, {}, {})), null);
  strictEqual(leaveOf(voters({}, A, {}, {})), null, "two of four are none");
});

Deno.test("leaveOf() forgets what was said of a primary before its process ended", () => {
  strictEqual(leaveOf(voters({ ended: 150, at: 100 }, { ...A, at: 300 }, { ...A, at: 140 })), null);
  strictEqual(leaveOf(voters({ ended: 150, at: 100 }, { ...A, at: 300 }, { ...A, at: 150 }))?.untilMs, 2150);
  // What happens to others changes nothing.
  strictEqual(leaveOf(voters({ at: 100 }, { ...A, at: 300, ended: 400 }, { ...A, at: 140 }))?.untilMs, 2140);
});

Deno.test("leaveOf() counts a server once, under however many addresses it is named", () => {
  strictEqual(leaveOf(voters({}, { runId: "run0", port: 7000 }, null)), null);
  strictEqual(leaveOf(voters({}, { runId: "run0", port: 7000 }, A))?.primary, 0);
  strictEqual(leaveOf(voters({ runId: "" }, { ...A, runId: "" }, null))?.primary, 0, "not said");
});

Deno.test("leaveOf() leaves out who is fenced, and who has just started", () => {
  strictEqual(leaveOf(voters({}, { ...A, fenced: true }, { follows: "h1:7001" })), null);
  strictEqual(leaveOf(voters({}, { ...A, uptimeMs: 3999 }, null)), null);
  strictEqual(leaveOf(voters({}, { ...A, uptimeMs: 4000 }, null))?.primary, 0);
});

Deno.test("chosenOf() takes the one that has most of the primary's history", () => {
  const chosen = (history: string | null, ...words: (Word | null)[]) => {
    const all = voters(...words);
    return chosenOf(all, all.flatMap(({ said }, i) => said === null ? [] : [i]), history);
  };
  strictEqual(chosen(OLD, null, { ...A, offset: 5 }, { ...A, offset: 7 }), 2);
  strictEqual(chosen(OLD, null, { ...A, offset: 7 }, { ...A, offset: 7 }), 1);
  strictEqual(chosen(OLD, null, { ...A, offset: 7 }, { ...A, offset: 7, priority: 1 }), 2);
  strictEqual(chosen(OLD, null, { ...A, offset: 5 }, { ...A, offset: 7, priority: 0 }), 1);
  strictEqual(chosen(OLD, null, A, { history: NEW, before: OLD }), 2, "it is one already");
  strictEqual(chosen(OLD, null, A, { ...A, offset: 99, history: NEW }), 1, "of another history");
  strictEqual(chosen(OLD, null, A, { offset: 99, history: NEW, before: OLD }), 2, "promoted halfway");
  for (const wrong of [{ receiving: true }, { loading: true }, { offset: -1 }, { history: "" }]) {
    strictEqual(chosen(OLD, null, A, { ...A, offset: 99, ...wrong }), 1, JSON.stringify(wrong));
  }
  strictEqual(chosen(NEW, null, A, A), 1, "a majority has another");
  match(String(chosen(NEW, null, A, { ...A, history: "1" })), /no replica that can be reached has its data/);
  match(String(chosen(OLD, null, { ...A, priority: 0 }, null)), /no replica/);
  // Of a primary that nobody has seen a majority has to know.
  strictEqual(chosen(null, null, { ...A, offset: 5 }, { ...A, offset: 7 }), 2);
  match(
    String(chosen(null, { history: "1" }, { history: "2" }, { history: "3" })),
    /no majority .* same data/,
  );
  match(String(chosen(null, null, { ...A, history: NEW }, A)), /no majority .* same data/);
});

Deno.test("readMember() reads what servers answer", () => {
  const info = [
    "role:slave\r\nmaster_host:::1\r\nmaster_port:5\r\nslave_repl_offset:7\r\nslave_priority:0\r\n" +
    `master_replid:${NEW}\r\nmaster_replid2:${OLD}\r\n`,
    "uptime_in_seconds:9\r\ntcp_port:6\r\n",
    "loading:1\r\n",
  ];
  const said = readMember(["x", 1], info) as MemberSaid;
  deepStrictEqual(
    [said.follows, said.before, said.priority, said.uptimeMs, said.port, said.fenced, said.info.loading],
    ["[::1]:5", OLD, 0, 9000, 6, true, true],
  );
  const partOf = (fields: string) =>
    readMember(["x", 0], [`role:slave\r\n${fields.replaceAll(" ", "\r\n")}\r\n`]) as MemberSaid;
  const syncing = "master_sync_in_progress:1";
  const waits = `${syncing} master_sync_total_bytes:-1 master_sync_read_bytes:0`;
  deepStrictEqual(
    [waits, `${syncing} master_sync_total_bytes:0 master_sync_read_bytes:0`, syncing, "x:1"].map(partOf)
      .map(({ info }) => [info.syncing, info.receiving]),
    [[true, false], [true, true], [true, true], [false, false]],
  );
  // What it says of its link is 1 while it asks for everything.
  strictEqual(partOf("slave_repl_offset:1 master_repl_offset:9").info.offset, 9);
  strictEqual(partOf("slave_repl_offset:9").info.offset, 9);
  deepStrictEqual(hostAndPort(nameOf("::1", 5)), ["::1", "5"]);
  deepStrictEqual(hostAndPort("h:5"), ["h", "5"]);
  match(String(readMember("x", info)), /PUBSUB NUMSUB is refused/);
  match(String(readMember(["x", 0], [null])), /INFO is refused/);
  match(String(readMember(["x", 0], [""])), /nothing of replication/);
});
