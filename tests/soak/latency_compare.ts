/**
 * `deno task latency:compare`: what redis-benchmark sees, beside what the proxy says of the same requests.
 *
 *   --requests=N   default 20000
 *   --runtime=R    deno, bun or compiled (default)
 *
 * Two workers; servers whose replies are under way for 30 to 250 ms, so that what the generator's clock has besides (the loopback, its own
 * turn, what lies in sockets) is small; a server joins in the middle, and leaves again. p50, p99 and p99.9 have to agree within 5 %, and
 * every request has to be counted. Then the same without the delay, for people: there those microseconds are most of what it sees, so
 * nothing is asked of them.
 */
import { parseArgs } from "node:util";
import { type Admin, adminYml, startAdmin } from "../lib/admin.ts";
import { Fixture } from "../lib/fixture.ts";
import { delay, poll } from "../lib/poll.ts";
import { Random } from "../lib/random.ts";
import { poolYml, type Subject } from "../lib/servers.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    requests: { type: "string", default: "20000" },
    runtime: { type: "string", default: "compiled" },
  },
});

const APART_MAX = 0.05;
/** What redis-benchmark prints of its distribution, the lines nearest to these. */
const QUANTILES = [["p50", 0.5], ["p99", 0.99], ["p999", 0.999]] as const;

Deno.exit(await compare() ? 0 : 1);

async function compare(): Promise<boolean> {
  await using f = new Fixture();
  const direct = [await f.redis(), await f.redis(), await f.redis()];
  const far = direct.map(({ path }, i) => farServer(path, new Random(i + 1)));
  const addresses = far.map((listener) => `127.0.0.1:${(listener.addr as Deno.NetAddr).port}:1`);
  const pools = { alpha: { servers: addresses.slice(0, 2) }, near: { servers: direct.slice(0, 2) } };
  const yml = poolYml(pools);
  const [listen, near] = [...yml.matchAll(/listen: (\S+)/g)].map((match) => match[1]!) as [string, string];
  const process = ["workers: 2"];
  const { proxy, admin } = await startAdmin(f, values.runtime as Subject, yml, { process });
  const total = Number(values.requests);
  const running = benchmark(portOf(listen), total, 100);
  for (const [share, servers] of [[1 / 3, addresses], [2 / 3, addresses.slice(0, 2)]] as const) {
    await poll(
      async () => (await timesOf(admin, "alpha"))?.served.count >= share * total,
      "a part of the load",
      600_000,
    );
    const listens = [listen, near];
    const text = poolYml({ ...pools, alpha: { servers } }).replace(/listen: \S+/g, () => {
      return `listen: ${listens.shift()}`;
    });
    await Deno.writeTextFile(proxy.file, adminYml(admin.port, process) + text);
    const { status } = await admin.post("/api/reload");
    console.log(`${servers.length} servers: ${status}`);
  }
  const seen = await running;
  const times = await timesOf(admin, "alpha");
  const { served, waited } = times;
  let well = served.count === total && waited.count === total;
  console.log(`${total} requests, ${served.count} counted`);
  for (const [name, q] of QUANTILES) {
    const [share, ms] = nearest(seen, q);
    const said = served[`${name}_us`] + waited.p50_us;
    const apart = said / (ms * 1000) - 1;
    if (Math.abs(apart) > APART_MAX) well = false;
    console.log(`${name}: seen ${ms} ms (${share} %), said ${said / 1000} ms, ${(100 * apart).toFixed(1)} %`);
  }
  const quick = await benchmark(portOf(near), 100_000, 50);
  console.log("without the delay, ms:", QUANTILES.map(([, q]) => nearest(quick, q)[1]).join(", "));
  console.log("and by the proxy, us:", JSON.stringify(await timesOf(admin, "near"), null, 1));
  console.log(well ? "they agree" : `they do not agree within ${100 * APART_MAX} %`);
  for (const listener of far) listener.close();
  return well;
}

function portOf(listen: string): number {
  return Number(listen.split(":")[1]);
}

async function timesOf(admin: Admin, name: string) {
  const { pools: [pool] } = await admin.json(`/api/latency?pool=${name}`);
  return pool.classes.find((one: { class: string }) => one.class === "read");
}

/** GETs of so many clients: share (percent) and ms of each line that redis-benchmark prints of them. */
async function benchmark(port: number, requests: number, clients: number): Promise<[number, number][]> {
  const args = ["-p", `${port}`, "-n", `${requests}`, "-c", `${clients}`, "-r", "1000", "--precision", "3"];
  const command = new Deno.Command("redis-benchmark", {
    args: [...args, "GET", "key:__rand_int__"],
    stdout: "piped",
    stderr: "null",
  });
  const { stdout } = await command.output();
  const text = new TextDecoder().decode(stdout);
  return [...text.matchAll(/([0-9.]+)% <= ([0-9.]+) milliseconds \(cumulative/g)].map((line) => {
    return [Number(line[1]), Number(line[2])];
  });
}

function nearest(lines: readonly [number, number][], q: number): [number, number] {
  return lines.toSorted((a, b) => Math.abs(a[0] - 100 * q) - Math.abs(b[0] - 100 * q))[0]!;
}

/** A server at the end of a long line: what it says is under way for a while, in order. */
function farServer(path: string, random: Random): Deno.TcpListener {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const carry = async (near: Deno.TcpConn) => {
    const to = await Deno.connect({ transport: "unix", path });
    void near.readable.pipeTo(to.writable).catch(() => {});
    let last = Promise.resolve();
    for await (const chunk of to.readable) {
      const rest = delay(30 + 220 * random.next() ** 12);
      const before = last;
      last = (async () => {
        await before;
        await rest;
        for (let at = 0; at < chunk.length;) at += await near.write(chunk.subarray(at));
      })();
      last.catch(() => {});
    }
  };
  void (async () => {
    for await (const near of listener) void carry(near).catch(() => {});
  })();
  return listener;
}
