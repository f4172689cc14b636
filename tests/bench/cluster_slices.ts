/**
 * CPU time a request with `cluster: true` beside a hashed pool of the same process, as many servers each, slice by slice in turns; and
 * predixy's in cluster mode, if its path is given:
 *
 *   deno task bench:cluster [--slices=12] [--warm=3] [--only=get-p16] [--predixy=PATH] [--base=PATH]
 *
 * One process serves both pools, so both have the same code, warm in the same way. Ratios are those of neighbours. Before anything counts, each
 * subject has had `--warm` slices of every kind: a compiler's work is done once in a process's life, and the first kind would pay for all.
 */
import { parseArgs } from "node:util";
import { startCluster } from "../lib/cluster.ts";
import { Fixture } from "../lib/fixture.ts";
import { freePort } from "../lib/ports.ts";
import { poolYml } from "../lib/servers.ts";
import { startPeer } from "./peers.ts";
import { type Kind, type Subject, takeSlices } from "./slices.ts";
import { ratios, spread } from "./stats.ts";

const NODES = 3;
const GET = ["GET", "key:__rand_int__"];
const SET = ["SET", "key:__rand_int__", "xxx"];
const KINDS: readonly Kind[] = [
  { name: "get", command: GET, pipeline: 1, requests: 40_000 },
  { name: "set", command: SET, pipeline: 1, requests: 40_000 },
  { name: "get-p16", command: GET, pipeline: 16, requests: 250_000 },
  { name: "set-p16", command: SET, pipeline: 16, requests: 250_000 },
];

const { values } = parseArgs({
  options: {
    slices: { type: "string", default: "12" },
    warm: { type: "string", default: "3" },
    only: { type: "string", default: "" },
    predixy: { type: "string" },
    base: { type: "string" },
  },
});

await using f = new Fixture();
const plain = await Promise.all(Array.from({ length: NODES }, () => f.redis({ port: 0 })));
const cluster = await startCluster(f, { primaries: NODES, replicas: 0 });
const nodes = cluster.nodes.map(({ server }) => server);
const keys = { preconnect: true, timeout: 20000 };
const clusterPort = freePort();
const pool = {
  ...keys,
  listen: `127.0.0.1:${clusterPort}`,
  servers: nodes,
  cluster: true,
  hash: undefined,
  distribution: undefined,
};
const proxy = await f.proxy("compiled", poolYml({ hashed: { ...keys, servers: plain }, cluster: pool }));
const subjects: Subject[] = [
  { name: "hashed", pids: [proxy.pid], port: proxy.port },
  { name: "cluster", pids: [proxy.pid], port: clusterPort },
];
for (const name of ["predixy", "base"] as const) {
  const program = values[name];
  if (program === undefined) continue;
  const yml = poolYml({ cluster: { ...pool, listen: undefined } });
  const { pid, port } = await startPeer(f, name, program, { servers: nodes, yml, cluster: true });
  subjects.push({ name, pids: [pid], port });
}

for (const kind of KINDS) await takeSlices(subjects, kind, { warm: Number(values.warm), slices: 0 });
for (const kind of KINDS) {
  if (!new RegExp(values.only).test(kind.name)) continue;
  const us = await takeSlices(subjects, kind, { warm: 1, slices: Number(values.slices) });
  const said = subjects.map(({ name }, i) => {
    const { median, min, max } = ratios(us[1]!, us[i]!);
    const own = `${name} ${spread(us[i]!).median.toFixed(2)} µs`;
    return i === 1
      ? own
      : `${own} (cluster × ${median.toFixed(3)}, ${min.toFixed(2)} to ${max.toFixed(2)}; by medians ${
        (spread(us[1]!).median / spread(us[i]!).median).toFixed(3)
      })`;
  });
  console.log(`${kind.name}: ${said.join(", ")}`);
}
