/**
 * Headers of the PROXY protocol cut anywhere: the answer is that of the whole, and who has less than the header waits. Through a proxy on
 * the simulator's network the client is the announced one, whatever the pieces, and what follows is served.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { parseConfig } from "../../src/config/parse.ts";
import { ipText } from "../../src/net/ip_range.ts";
import { readProxyHeader } from "../../src/protocol/proxy_header.ts";
import { Proxy } from "../../src/service/proxy.ts";
import { CLIENT_CONNECTIONS, CLIENTS_DENIED, PROXY_HEADER_ERRORS } from "../../src/stats/metrics.ts";
import { concat, latin1 } from "../lib/bytes.ts";
import { header2 } from "../lib/proxy_header.ts";
import { Random } from "../lib/random.ts";
import { thorough } from "../lib/runs.ts";
import { SimClock } from "../sim/clock.ts";
import { SimNet } from "../sim/net.ts";
import { Random as SimRandom } from "../sim/random.ts";
import { SYSTEM, Talker } from "../sim/reader.ts";

const ROUNDS = 3000;

interface Made {
  readonly bytes: Uint8Array;
  /** "ip" of the client, or null. */
  readonly ip: string | null;
}

/** A good header. */
function make(random: Random): Made {
  const six = random.below(2) === 1;
  const [from, to] = [six ? 16 : 4, six ? 16 : 4].map((size) => [...random.bytes(size)]);
  if (six) from![0] = to![0] = 0x20;
  const [p, q] = [random.between(1, 65535), random.between(1, 65535)];
  const ip = ipText(from!);
  switch (random.below(4)) {
    case 0:
      return { bytes: latin1(`PROXY TCP${six ? 6 : 4} ${ip} ${ipText(to!)} ${p} ${q}\r\n`), ip };
    case 1:
      return { bytes: latin1(`PROXY UNKNOWN${" x".repeat(random.below(46))}\r\n`), ip: null };
    case 2:
      return { bytes: header2(0x20, random.below(256), [...random.bytes(random.below(60))]), ip: null };
    default: {
      const tlvs: number[] = [];
      for (let left = random.below(4); left > 0; left--) {
        const size = random.below(300);
        tlvs.push(random.below(256), size >> 8, size & 255, ...random.bytes(size));
      }
      const ports = [p >> 8, p & 255, q >> 8, q & 255];
      return { bytes: header2(0x21, six ? 0x21 : 0x11, [...from!, ...to!, ...ports, ...tlvs]), ip };
    }
  }
}

Deno.test("a header that is cut is waited for; whole, what follows it does not count", () => {
  const random = new Random(1);
  for (let i = 0; i < ROUNDS; i++) {
    const { bytes, ip } = make(random);
    for (let n = 0; n < 8; n++) {
      strictEqual(readProxyHeader(bytes.subarray(0, random.below(bytes.length))), null);
    }
    strictEqual(readProxyHeader(bytes.subarray(0, bytes.length - 1)), null);
    const whole = readProxyHeader(bytes);
    ok(whole !== null && typeof whole === "object");
    strictEqual(whole.size, bytes.length);
    strictEqual(whole.ip === null ? null : ipText(whole.ip), ip);
    deepStrictEqual(readProxyHeader(concat([bytes, random.bytes(random.below(200))])), whole);
  }
});

thorough("bytes that were refused stay refused, and garbage is decided soon", () => {
  const random = new Random(2);
  for (let i = 0; i < ROUNDS; i++) {
    const bytes = random.below(4) === 0 ? random.bytes(300) : make(random).bytes.slice();
    for (let n = random.below(4); n > 0; n--) bytes[random.below(bytes.length)] = random.below(256);
    const all = concat([bytes, random.bytes(200)]);
    let refusedAt = -1;
    for (let size = 1; size <= all.length; size += random.between(1, 9)) {
      const read = readProxyHeader(all.subarray(0, size));
      if (typeof read === "string" && refusedAt < 0) refusedAt = size;
      if (refusedAt >= 0) strictEqual(typeof read, "string", `refused at ${refusedAt}, taken at ${size}`);
    }
  }
});

const YML = `
pool:
  listen: "127.0.0.1:1"
  redis: true
  proxy_protocol: on
  proxy_from: [ 0.0.0.0/0, "::/0" ]
  deny: [ 203.0.113.0/24 ]
  servers: [ "10.0.0.1:6379:1" ]
other: { listen: "127.0.0.1:2", redis: true, proxy_protocol: on, proxy_from: [ 192.0.2.1 ], servers: [ "10.0.0.1:6379:1" ] }
`;

class Stand {
  readonly clock = new SimClock();
  readonly net = new SimNet(this.clock, new SimRandom(1));
  readonly config = parseConfig(YML, "sim.yml");
  readonly lines: string[] = [];
  readonly proxy = new Proxy({
    config: this.config,
    net: this.net,
    clock: this.clock,
    random: new SimRandom(2).next,
    log: { level: 5, write: (_, text) => void this.lines.push(text) },
    system: SYSTEM,
  });

  talker(pool = 0): Talker {
    return new Talker(
      this.net,
      this.config.pools.find(({ name }) => name === ["pool", "other"][pool])!.listen,
    );
  }

  get pool() {
    return this.proxy.pools.find(({ config }) => config.name === "pool")!;
  }

  run(ms = 100): void {
    this.clock.run(this.clock.nowMs() + ms);
  }
}

Deno.test("in pieces of any size the header brings the client it names, and its requests are answered", async () => {
  const random = new Random(3);
  const stand = new Stand();
  await stand.proxy.listen(null);
  for (let i = 0; i < 200; i++) {
    const { bytes, ip } = make(random);
    const talker = stand.talker();
    const all = concat([bytes, latin1("*2\r\n$6\r\nCLIENT\r\n$4\r\nINFO\r\n")]);
    for (let at = 0; at < all.length;) {
      const end = Math.min(all.length, at + random.between(1, random.below(2) === 0 ? 5 : 400));
      talker.send(all.slice(at, end));
      stand.run(10);
      at = end;
    }
    stand.run();
    const addr = / addr=(\S+) /.exec(talker.read)?.[1] ?? talker.read;
    if (ip === null) match(addr, /^[0-9a-z.:]+$/);
    else ok(addr.startsWith(ip.includes(":") ? `[${ip}]:` : `${ip}:`), `${ip}: ${addr}`);
    talker.socket.end();
    stand.run();
  }
  strictEqual(stand.pool.announced.size, 0);
  strictEqual(stand.pool.greetings.size, 0);
  strictEqual(stand.pool.counters[CLIENT_CONNECTIONS], 0);
  strictEqual(stand.pool.counters[PROXY_HEADER_ERRORS], 0);
});

Deno.test("who is denied, says nothing, something else or half of it is closed, counted and told; places are given back", async () => {
  const stand = new Stand();
  await stand.proxy.listen(null);
  const talkers: Talker[] = [];
  const says = (text: string, pool = 0) => {
    const talker = stand.talker(pool);
    if (text !== "") talker.send(latin1(text));
    talkers.push(talker);
    stand.run();
    return talker;
  };
  says("PROXY TCP4 203.0.113.9 10.0.0.1 4000 6379\r\n*1\r\n$4\r\nPING\r\n");
  says("*1\r\n$4\r\nPING\r\n");
  says("PROXY TCP4 192.0.2.7 10.0.0.1 4000 6379\r\n*1\r\n$4\r\nPING\r\n", 1);
  const [silent, half] = [says(""), says("PROXY TCP4")];
  strictEqual(stand.pool.greetings.size, 2);
  ok(!silent.closed && !half.closed);
  stand.run(11_000);
  for (const talker of talkers) {
    ok(talker.closed);
    strictEqual(talker.read, "");
  }
  strictEqual(stand.pool.greetings.size, 0);
  strictEqual(stand.pool.counters[CLIENTS_DENIED], 1);
  strictEqual(stand.pool.counters[PROXY_HEADER_ERRORS], 3);
  const said = stand.lines.filter((line) => line.includes("refused")).join("\n");
  match(said, /client 203\.0\.113\.9:4000 \(announced by \S+\) refused: deny has 203\.0\.113\.0\/24/);
  match(said, /does not begin with a PROXY header/);
  match(said, /no header after 10000 ms/);
  match(
    said,
    /pool 'other': connection from \S+ refused: proxy_protocol: proxy_from does not have the address/,
  );
});
