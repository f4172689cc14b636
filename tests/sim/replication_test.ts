/** The model of replication does as Redis does, as far as the proxy can see it. */
import { equal, match, notEqual, ok } from "node:assert/strict";
import { readInfo } from "../../src/topology/replica_health.ts";
import { SimClock } from "./clock.ts";
import type { ModelRedis } from "./model_redis.ts";
import { SimNet } from "./net.ts";
import { Random } from "./random.ts";
import { Talker } from "./reader.ts";
import { type LinkTimes, ReplicaNode } from "./replication.ts";
import { SimServer } from "./sim_server.ts";
import { Truth } from "./truth.ts";

class Stand {
  readonly clock = new SimClock();
  readonly net = new SimNet(this.clock, new Random(1));
  readonly nodes: ReplicaNode[] = [];
  readonly talkers: Talker[] = [];

  static async make(times: Partial<LinkTimes> = {}): Promise<Stand> {
    const stand = new Stand();
    const { clock, net, nodes } = stand;
    const find = (text: string) => nodes.find((node) => node.text === text);
    for (let i = 0; i < 3; i++) {
      const address = { host: `10.0.0.${i + 1}`, port: 6379 };
      const server = new SimServer(i, address, true, net, clock, new Truth(), new Random(9 + i), null);
      await server.listen();
      const all = { lagMaxMs: 100, transferMaxMs: 200, loadMaxMs: 300, ...times };
      nodes.push(
        new ReplicaNode(server, `${address.host}:6379`, clock, new Random(20 + i), all, find),
      );
      stand.talkers.push(new Talker(net, address));
    }
    stand.ask(1, "REPLICAOF", "10.0.0.1", "6379");
    stand.ask(2, "REPLICAOF", "10.0.0.1", "6379");
    stand.run(2000);
    return stand;
  }

  run(ms: number): void {
    this.clock.run(this.clock.nowMs() + ms);
  }

  ask(node: number, ...words: string[]): string {
    const talker = this.talkers[node]!;
    talker.take();
    talker.say(...words);
    this.run(3);
    return talker.take();
  }

  value(node: number, key: string): unknown {
    return (this.nodes[node]!.server.model as ModelRedis).databases[0]!.entries.get(key)?.value;
  }

  info(node: number) {
    return readInfo(this.ask(node, "INFO", "replication", "persistence"))!;
  }
}

Deno.test("replication: a replica gets what its primary got, later, in order, and takes no writes", async () => {
  const stand = await Stand.make();
  const values = new Set<unknown>();
  for (let i = 0; i < 20; i++) {
    match(stand.ask(0, "SET", "a", String(i)), /^\+OK/);
    values.add(stand.value(1, "a"));
  }
  notEqual(stand.value(1, "a"), "19");
  stand.run(200);
  equal(stand.value(1, "a"), "19");
  equal(stand.value(2, "a"), "19");
  ok([...values].every((value, i, all) => i < 2 || Number(value) > Number(all[i - 1])));
  match(stand.ask(1, "SET", "a", "x"), /^-READONLY/);
  stand.ask(0, "DEL", "a");
  stand.run(200);
  equal(stand.value(1, "a"), undefined);
  match(stand.ask(1, "ROLE"), /^\*5\r\n\$5\r\nslave\r\n\$8\r\n10\.0\.0\.1\r\n:6379\r\n\$9\r\nconnected/);
  match(stand.ask(0, "ROLE"), /^\*3\r\n\$6\r\nmaster/);
  const [primary, replica] = [stand.info(0), stand.info(1)];
  ok(primary.master && !replica.master && replica.linked && !replica.syncing && !replica.loading);
  equal(primary.replicas.length, 2);
  equal(replica.offset, primary.offset);
  equal(replica.history, primary.history);
});

Deno.test("replication: who is promoted begins another history; who was not ahead of it goes on, who was loses all", async () => {
  const stand = await Stand.make({ lagMaxMs: 0 });
  stand.ask(0, "SET", "a", "1");
  stand.run(10);
  const { history } = stand.info(1);
  match(stand.ask(1, "REPLICAOF", "NO", "ONE"), /^\+OK/);
  match(stand.ask(1, "SET", "b", "new"), /^\+OK/);
  notEqual(stand.info(1).history, history);
  // The old one goes on, and one replica follows it still.
  match(stand.ask(0, "SET", "b", "old"), /^\+OK/);
  equal(stand.value(2, "b"), "old");
  const fulls = stand.nodes[2]!.fulls;
  stand.ask(2, "REPLICAOF", "10.0.0.2", "6379");
  stand.run(1000);
  equal(stand.nodes[2]!.fulls, fulls + 1);
  equal(stand.value(2, "b"), "new");
  stand.ask(0, "REPLICAOF", "10.0.0.2", "6379");
  stand.run(1000);
  equal(stand.value(0, "b"), "new");
  match(stand.ask(0, "SET", "a", "2"), /^-READONLY/);
});

Deno.test("replication: a full synchronisation serves old data, then -LOADING, then all of it", async () => {
  const stand = await Stand.make({ lagMaxMs: 0, transferMaxMs: 2000, loadMaxMs: 2000 });
  stand.run(5000);
  stand.ask(0, "SET", "a", "1");
  stand.ask(2, "REPLICAOF", "NO", "ONE");
  stand.ask(2, "SET", "a", "mine");
  stand.ask(2, "REPLICAOF", "10.0.0.1", "6379");
  const seen = new Set<string>();
  for (let i = 0; i < 1000; i++) {
    const { loading, syncing, linked } = stand.info(2);
    const reply = stand.ask(2, "GET", "a");
    seen.add(
      `${loading ? "loading" : syncing ? "syncing" : linked ? "linked" : "down"} ${reply.slice(0, 8)}`,
    );
  }
  const order = [...seen];
  ok(order.some((one) => one.startsWith("syncing $")), String(order));
  ok(order.some((one) => one.startsWith("loading -LOADING")), String(order));
  match(order.at(-1)!, /^linked \$/);
  match(stand.ask(2, "GET", "a"), /\r\n1(\||\r\n)/);
});

Deno.test("replication: nothing comes from a dead primary, and a primary that begins empty empties its replicas", async () => {
  const stand = await Stand.make({ lagMaxMs: 0 });
  stand.ask(0, "SET", "a", "1");
  stand.run(10);
  const [primary] = stand.nodes;
  primary!.dead = true;
  stand.ask(0, "SET", "a", "2");
  stand.run(100);
  equal(stand.value(1, "a"), "1");
  primary!.dead = false;
  primary!.server.restart(true, 0);
  primary!.restart(true);
  stand.run(2000);
  equal(stand.value(1, "a"), undefined);
  ok(stand.info(1).linked);
});
