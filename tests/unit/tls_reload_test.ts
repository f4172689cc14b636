/** TLS of a pool and a reload: all of it counts, or nothing. The whole proxy on the simulator's network, with TLS in name only. */
import { deepStrictEqual, rejects, strictEqual } from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import type { Address, Handler, ListenOptions, Net } from "../../src/net/net.ts";
import type { TlsConfig, TlsNets } from "../../src/net/tls.ts";
import { Proxy } from "../../src/service/proxy.ts";
import { changeOf, type Stamp } from "../../src/topology/change.ts";
import { SimClock } from "../sim/clock.ts";
import { SimNet } from "../sim/net.ts";
import { Random } from "../sim/random.ts";
import { SYSTEM } from "../sim/reader.ts";

const STAMP: Stamp = { epoch: 1, cause: "test", atMs: 0 };

/** A pool of this name: its port, and the certificate of its `tls`; "" = none. */
function pool(name: string, port: number, certificate: string): string {
  const tls = certificate === "" ? "" : `, tls: {certificate: "/${certificate}", key: "/k"}`;
  return `${name}: {listen: "127.0.0.1:${port}", redis: true, servers: ["10.0.0.1:6379:1"]${tls}}\n`;
}

class Stand {
  readonly clock = new SimClock();
  /** Certificates whose files are not what they were. */
  readonly bad = new Set<string>();
  readonly proxy: Proxy;

  private constructor(yml: string) {
    const below = new SimNet(this.clock, new Random(1));
    const tls: TlsNets = {
      handshakes: 0,
      listening: (_pool, config) => {
        const shows = { certificate: nameOf(config) };
        return {
          net: this.netOver(below, shows),
          prepare: (next) => {
            if (this.bad.has(nameOf(next))) throw new Error(`${nameOf(next)} cannot be read`);
            return () => {
              shows.certificate = nameOf(next);
            };
          },
          look: () => [],
        };
      },
      connecting: () => below,
      look: () => [],
    };
    this.proxy = new Proxy({
      config: parseConfig(yml, "sim.yml"),
      net: Object.assign(this.netOver(below, { certificate: "" }), { tls }),
      clock: this.clock,
      random: new Random(2).next,
      log: { level: 5, write: () => {} },
      system: SYSTEM,
    });
  }

  static async make(yml: string): Promise<Stand> {
    const stand = new Stand(yml);
    await stand.proxy.listen(null);
    return stand;
  }

  private readonly listeners = new Set<{ port: number; shows: { readonly certificate: string } }>();

  private netOver(below: Net, shows: { readonly certificate: string }): Net {
    return {
      name: below.name,
      connect: (address, handler, owner) => below.connect(address, handler, owner),
      listen: async (address: Address, handler: Handler, options: ListenOptions) => {
        const listener = await below.listen(address, handler, options);
        const one = { port: (address as { port: number }).port, shows };
        this.listeners.add(one);
        return {
          port: listener.port,
          close: () => {
            this.listeners.delete(one);
            listener.close();
          },
        };
      },
    };
  }

  /** "port certificate" of every listener. */
  listening(): string[] {
    return [...this.listeners].map(({ port, shows }) => `${port} ${shows.certificate}`).sort();
  }

  prepare(yml: string) {
    const after = parseConfig(yml, "sim.yml");
    const { arrangement } = changeOf(this.proxy.config, after);
    return this.proxy.prepare(after, this.proxy.board.arrange(arrangement), STAMP);
  }

  /** Lets what the commit has begun come to its end. */
  async settle(): Promise<void> {
    for (let i = 0; i < 10; i++) {
      this.clock.run(this.clock.nowMs() + 1000);
      await Promise.resolve();
    }
  }
}

function nameOf({ certificate }: TlsConfig): string {
  return certificate.slice(1);
}

const BEFORE = pool("a", 1, "one") + pool("b", 2, "two") + pool("c", 3, "");
const AFTER = pool("a", 11, "other") + pool("b", 2, "new") + pool("c", 3, "on");

Deno.test("a reload that is abandoned has changed nothing of TLS, wherever its pools listen", async () => {
  const stand = await Stand.make(BEFORE);
  deepStrictEqual(stand.listening(), ["1 one", "2 two", "3 "]);
  const prepared = await stand.prepare(AFTER);
  stand.proxy.abandon(prepared);
  await stand.settle();
  deepStrictEqual(stand.listening(), ["1 one", "2 two", "3 "]);
  stand.proxy.stop();
});

Deno.test("a reload whose certificates have become wrong is refused whole", async () => {
  const stand = await Stand.make(BEFORE);
  stand.bad.add("new");
  await rejects(stand.prepare(AFTER), /new cannot be read/);
  await stand.settle();
  deepStrictEqual(stand.listening(), ["1 one", "2 two", "3 "]);
  stand.proxy.stop();
});

Deno.test("a reload changes certificates where the address stays, and turns TLS on and off there", async () => {
  const stand = await Stand.make(BEFORE);
  const change = changeOf(stand.proxy.config, parseConfig(AFTER, "sim.yml"));
  deepStrictEqual(change.waiting, []);
  stand.proxy.commit(await stand.prepare(AFTER));
  await stand.settle();
  deepStrictEqual(stand.listening(), ["11 other", "2 new", "3 on"]);
  stand.proxy.commit(await stand.prepare(pool("a", 11, "") + pool("b", 2, "new") + pool("c", 3, "on")));
  await stand.settle();
  deepStrictEqual(stand.listening(), ["11 ", "2 new", "3 on"]);
  strictEqual(stand.proxy.pools.every((each) => each.listening), true);
  stand.proxy.stop();
});
