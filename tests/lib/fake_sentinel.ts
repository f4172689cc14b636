/** A sentinel by script: it knows what the test says, and publishes what it is told to. */
import type { Address, Net } from "../../src/net/net.ts";
import { FakeRedis, list } from "./fake_redis.ts";

export interface FakeMaster {
  /** What GET-MASTER-ADDR-BY-NAME says: "10.0.0.1:6379"; null: no such master. */
  address: string | null;
  /** What MASTER says, where that is another one: the leader's in a failover. */
  masterAddress?: string;
  epoch: number;
  role: "master" | "slave";
  replicas: string[];
}

export class FakeSentinel extends FakeRedis {
  readonly masters = new Map<string, FakeMaster>();
  /** "10.0.0.9:26379 id" */
  others: string[] = [];
  /** Whoever asks gets this, whatever it is; null: an answer. */
  error: string | null = null;

  constructor(readonly id: string) {
    super((words) => this.answer(words));
  }

  override async listen(net: Net, address: Address): Promise<this> {
    await super.listen(net, address);
    return this;
  }

  /** Says from now on that this master is there. */
  name(master: string, address: string | null, epoch: number, more: Partial<FakeMaster> = {}): void {
    const before = this.masters.get(master);
    this.masters.set(master, { replicas: before?.replicas ?? [], role: "master", ...more, address, epoch });
  }

  /** As `name`, with the event that tells of it. */
  switch(master: string, address: string, epoch: number): void {
    const before = this.masters.get(master)?.address ?? "10.0.0.1:6379";
    this.name(master, address, epoch);
    this.publish("+switch-master", [master, before, address].join(" ").replaceAll(":", " "));
  }

  private answer(words: readonly string[]): string {
    if (this.error !== null) return `-${this.error}\r\n`;
    if (words[0] === "PING") return list("pong", "");
    if (words[0] === "AUTH") return "-ERR Client sent AUTH, but no password is set\r\n";
    if (words[0] !== "SENTINEL") return `-ERR unknown command '${words[0]}'\r\n`;
    const [, what, name] = words;
    const master = this.masters.get(name!);
    switch (what) {
      case "MYID":
        return `$${this.id.length}\r\n${this.id}\r\n`;
      case "GET-MASTER-ADDR-BY-NAME":
        return master === undefined || master.address === null ? "*-1\r\n" : list(...placeOf(master.address));
      case "MASTER": {
        if (master === undefined || master.address === null) return "-ERR No such master with that name\r\n";
        const [ip, port] = placeOf(master.masterAddress ?? master.address);
        const fields = { name: name!, ip: ip!, port: port!, flags: "master", "role-reported": master.role };
        return list(...Object.entries({ ...fields, "config-epoch": String(master.epoch) }).flat());
      }
      case "REPLICAS":
        return listOf((master?.replicas ?? []).map((each) => ["name", each, ...fieldsOf(each)]));
      case "SENTINELS":
        return listOf(this.others.map((each) => {
          const [at, id] = each.split(" ");
          return ["name", id!, ...fieldsOf(at!), "runid", id!];
        }));
    }
    return `-ERR Unknown sentinel subcommand '${what}'\r\n`;
  }
}

function placeOf(address: string): [string, string] {
  const colon = address.lastIndexOf(":");
  return [address.slice(0, colon), address.slice(colon + 1)];
}

function fieldsOf(address: string): string[] {
  const [ip, port] = placeOf(address);
  return ["ip", ip, "port", port];
}

function listOf(rows: readonly string[][]): string {
  return `*${rows.length}\r\n${rows.map((row) => list(...row)).join("")}`;
}
