/** The model of a cluster says what real ones were seen to say. */
import { equal, match, throws } from "node:assert/strict";
import { request, textOf } from "../lib/bytes.ts";
import { SimClock } from "./clock.ts";
import { ASK, CASES, MOVED_S, shownReply } from "./cluster_cases.ts";
import { ClusterRedis, type Manner, ModelCluster, slotOf } from "./model_cluster.ts";
import { Truth, Violation } from "./truth.ts";

/** Two shards; `{a}` is shard 1's, so that S is node 1 and T node 0; node 2 is S's replica. */
class Stand {
  readonly cluster: ModelCluster;
  readonly slot = slotOf("{a}");
  private serial = 0;
  private readonly sessions = new Map<string, ReturnType<ClusterRedis["session"]>>();

  constructor(manner: Manner) {
    const clock = new SimClock();
    this.cluster = new ModelCluster(2, manner, clock);
    for (const [number, shard] of [0, 1, 1].entries()) {
      new ClusterRedis(number, shard, `10.0.0.${number + 1}:7000`, this.cluster, new Truth(), clock, {
        random: () => 0.5,
      });
    }
  }

  node(name: string): ClusterRedis {
    return this.cluster.nodes["TSR".indexOf(name[0]!)]!;
  }

  /** @param to a node's letter, and a number for another connection; keys without a tag are given one */
  ask(to: string, text: string): string {
    let session = this.sessions.get(to);
    if (session === undefined) {
      this.sessions.set(to, session = this.node(to).session());
      this.node(to).name(session, this.sessions.size, (said) => this.said.push(said));
    }
    const words = text.split(" ").map((word) =>
      word.startsWith("{") && !word.includes("~") ? `${word}~1.${++this.serial}.0` : word
    );
    return shownReply(textOf(session.feed(request(...words))));
  }

  readonly said: string[] = [];

  migrate(phase: "importing" | "both"): void {
    this.node("T").importing.set(this.slot, 1);
    if (phase === "both") this.node("S").migrating.set(this.slot, 0);
  }

  move(...keys: string[]): void {
    for (const key of keys) this.cluster.moveKey(key, 0);
  }
}

for (const { name, manner, phase, moved, says } of CASES) {
  Deno.test(`model of a cluster: ${name}`, () => {
    const stand = new Stand(manner ?? "redis");
    stand.ask("S", "SET {a}1 one");
    stand.ask("S", "SET {a}2 two");
    if (phase !== "none") stand.migrate(phase);
    stand.move(...moved ?? []);
    for (const [to, text, reply] of says) equal(stand.ask(to, text), reply, `${to} ${text}`);
  });
}

Deno.test("model of a cluster: keys that move before EXEC, and slots whose owner changes", () => {
  const stand = new Stand("redis");
  stand.ask("S", "SET {a}1 one");
  stand.migrate("both");
  stand.ask("S", "MULTI");
  equal(stand.ask("S", "GET {a}1"), "+QUEUED");
  stand.ask("S2", "WATCH {a}1");
  stand.move("{a}1");
  equal(stand.ask("S", "EXEC"), ASK);
  stand.ask("S2", "MULTI");
  equal(stand.ask("S2", "PING"), "+QUEUED");
  equal(stand.ask("S2", "EXEC"), "*-1");
  // The target is told first; the source goes on saying ASK, and others do not know yet.
  const news = { kind: "slots", epoch: ++stand.cluster.epoch, slots: [stand.slot], shard: 0 } as const;
  stand.node("T").learn(news);
  equal(stand.ask("T", "GET {a}1"), "one");
  equal(stand.ask("S", "GET {a}1"), ASK);
  stand.node("S").learn(news);
  equal(stand.ask("S", "GET {a}1"), "-MOVED 15495 10.0.0.1:7000");
  equal(stand.ask("R", "GET {a}1"), MOVED_S);
  // Something older is no news.
  stand.node("T").learn({ ...news, epoch: 1, shard: 1 });
  equal(stand.ask("T", "GET {a}1"), "one");
});

Deno.test("model of a cluster: who waits for a list is told that it is elsewhere", () => {
  for (const manner of ["redis", "valkey"] as const) {
    const stand = new Stand(manner);
    stand.ask("S", "BLPOP {a}l 10");
    stand.node("S").learn({ kind: "state", down: true });
    equal(stand.said.pop(), "-CLUSTERDOWN The cluster is down\r\n");
    equal(stand.ask("S", "GET {a}l"), "-CLUSTERDOWN The cluster is down");
    stand.node("S").learn({ kind: "state", down: false });
    stand.ask("S", "BLPOP {a}l 10");
    const epoch = ++stand.cluster.epoch;
    for (const node of stand.cluster.nodes) node.learn({ kind: "primary", epoch, shard: 1, node: 2 });
    equal(stand.said.pop()!.split(" ")[0], manner === "redis" ? "-UNBLOCKED" : "-MOVED");
    equal(stand.ask("S", "GET {a}l"), "-MOVED 15495 10.0.0.3:7000");
    equal(stand.ask("R", "SET {a}l x"), "+OK");
  }
});

Deno.test("model of a cluster: what a proxy must not do is a violation", () => {
  const wrong = (phase: "importing" | "both", ...says: [string, string][]) => {
    const stand = new Stand("redis");
    stand.ask("S", "SET {a}1 one");
    stand.migrate(phase);
    const [to, text] = says.pop()!;
    for (const [before, words] of says) stand.ask(before, words);
    throws(() => stand.ask(to, text), Violation);
  };
  wrong("importing", ["T", "ASKING"], ["T", "GET {a}1"]);
  wrong("both", ["T", "ASKING"], ["T", "GET {a}2"]);
  const unasked = [["S", "GET {a}2~1.1000.0"], ["T", "GET {a}2~1.1000.0"]] as [string, string][];
  wrong("both", ...unasked, ...unasked, ...unasked, ...unasked);
  wrong("both", ["S", "SET {a}2~1.1000.0 x"], ["T", "ASKING"], ["T", "SET {a}2~1.1000.0 x"], [
    "S",
    "SET {a}2~1.1000.0 x",
  ], [
    "T",
    "ASKING",
  ], ["T", "SET {a}2~1.1000.0 x"]);
});

Deno.test("model of a cluster: it describes itself", () => {
  const stand = new Stand("redis");
  equal(
    stand.ask("T", "CLUSTER SLOTS"),
    "*2 *3 :0 :8191 *4 $8 10.0.0.1 :7000 $40 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa *0 " +
      "*4 :8192 :16383 *4 $8 10.0.0.2 :7000 $40 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb *0 " +
      "*4 $8 10.0.0.3 :7000 $40 cccccccccccccccccccccccccccccccccccccccc *0",
  );
  stand.node("T").learn({ kind: "slots", epoch: 9, slots: [15495], shard: 0 });
  stand.node("T").learn({ kind: "failed", node: 2, failed: true });
  stand.migrate("both");
  match(
    stand.ask("T", "CLUSTER SLOTS"),
    /:15495 :15495 \*4 \$8 10.0.0.1 .*:15496 :16383 \*4 \$8 10.0.0.2[^.]*$/,
  );
  match(
    stand.ask("T", "CLUSTER SHARDS"),
    /^\*2 \*4 \$5 slots \*4 :0 :8191 :15495 :15495 \$5 nodes \*1 \*14 \$2 id /,
  );
  match(stand.ask("T", "CLUSTER NODES"), /myself,master - 0 1 9 connected 0-8191 15495 \[15495-<-b+\]\n/);
  match(stand.ask("S", "CLUSTER NODES"), /myself,master - 0 1 2 connected 8192-16383 \[15495->-a+\]\n/);
});
