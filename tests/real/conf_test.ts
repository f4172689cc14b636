/**
 * What lies in conf/ works as it stands: every configuration starts and serves, the Dockerfile's and the unit's own lines
 * are run, the manifests agree with each other.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { parse, parseAllDocuments } from "yaml";
import { TARGETS } from "../../conf/release/targets.ts";
import { DenoNet } from "../../src/runtime/deno.ts";
import { FakeSentinel } from "../lib/fake_sentinel.ts";
import { startCluster } from "../lib/cluster.ts";
import { Fixture } from "../lib/fixture.ts";
import { freePort } from "../lib/ports.ts";
import { poll } from "../lib/poll.ts";
import { run } from "../lib/process.ts";
import { compiled, filesUnder, ROOT, which } from "../lib/repo.ts";

/** Ringmaster's own; other files there are for other programs. */
const CONFIGURATIONS = filesUnder("conf", (path) => path.endsWith(".yml")).filter((path) =>
  !path.endsWith("kubernetes.yml") && !path.endsWith("alerts.yml") && !path.endsWith("/tls.yml")
);
const read = (path: string) => Deno.readTextFileSync(`${ROOT}/${path}`);

interface Pool {
  listen: string;
  redis?: boolean;
  cluster?: boolean;
  sentinels?: string[];
  servers: (string | { address?: string; master?: string; replicas?: (string | { address: string })[] })[];
}

for (const path of CONFIGURATIONS) {
  Deno.test(`${path} starts, and each of its pools serves`, async () => {
    await using f = new Fixture();
    // Its own addresses may be taken; everything else stays as it is.
    const ports = new Map<string, number>();
    const other = (port: string) => ports.get(port) ?? (ports.set(port, freePort()), ports.get(port)!);
    if (/^ +cluster: true/m.test(read(path))) {
      const seeds = [...read(path).matchAll(/- 127\.0\.0\.1:(\d+)$/gm)].map((match) => match[1]!);
      const cluster = await startCluster(f, { primaries: seeds.length, replicas: 0 });
      seeds.forEach((port, i) => ports.set(port, cluster.nodes[i]!.port));
    }
    const yml = read(path)
      .replace(/(?<=127\.0\.0\.1:)\d+/g, (port) => String(other(port)))
      .replaceAll("/tmp/", `${f.dir}/`);
    const pools = Object.values(parse(yml) as Record<string, Pool>).filter((pool) =>
      pool.listen !== undefined
    );
    const started = new Set<number>();
    for (const { redis, servers, sentinels, cluster } of pools) {
      if (cluster) continue;
      const masters = servers.filter((server) => typeof server !== "string" && server.master !== undefined);
      if (sentinels !== undefined) await watchOver(f, sentinels[0]!, masters as { master: string }[]);
      for (const server of servers) {
        if (masters.includes(server)) continue;
        const address = typeof server === "string" ? server : server.address!;
        const port = Number(/^127\.0\.0\.1:(\d+)/.exec(address)![1]);
        if (started.has(port)) continue;
        started.add(port);
        await (redis ? f.redis({ port }) : f.memcached({ port }));
        for (const replica of typeof server === "string" ? [] : server.replicas ?? []) {
          const args = ["--replicaof", "127.0.0.1", String(port)];
          const at = typeof replica === "string" ? replica : replica.address;
          await f.redis({ port: Number(at.split(":")[1]), args });
        }
      }
    }
    const proxy = await f.proxy("compiled", yml);
    strictEqual(proxy.targets.length, pools.length);
    for (const [i, { redis }] of pools.entries()) {
      await using client = await f.client({ target: proxy.targets[i] });
      // Members of a replica set count when they have run for some seconds.
      const replaced = pools[i]!.servers.some((server) =>
        typeof server !== "string" && server.replicas !== undefined
      );
      for (let key = 0; key < 20; key++) {
        if (redis) {
          if (replaced) {
            await poll(async () => await client.command("SET", `k${key}`, key) === "OK", "a primary");
          }
          strictEqual(await client.command("SET", `k${key}`, key), "OK");
          strictEqual(await client.command("GET", `k${key}`), String(key));
        } else {
          await client.send(`set k${key} 0 0 1\r\nx\r\nget k${key}\r\n`);
          strictEqual(await client.readUntil("END\r\n"), `STORED\r\nVALUE k${key} 0 1\r\nx\r\nEND\r\n`);
        }
      }
    }
    strictEqual((await proxy.stop()).code, 0, proxy.log);
  });

  Deno.test(`${path} passes ringmaster -t as it stands`, async () => {
    const { code, stdout, stderr } = await run(await compiled(), ["-t", "-c", `${ROOT}/${path}`]);
    strictEqual(code, 0, stdout + stderr);
  });
}

/** A sentinel at this address that knows a server for each of these. */
async function watchOver(f: Fixture, address: string, masters: readonly { master: string }[]): Promise<void> {
  const [host, port] = address.split(":");
  const sentinel = await new FakeSentinel("one").listen(new DenoNet(), { host: host!, port: Number(port) });
  f.add({ [Symbol.asyncDispose]: async () => await sentinel.stop() });
  for (const { master } of masters) sentinel.name(master, (await f.redis({ port: 0 })).address, 1);
}

Deno.test("conf/kubernetes.yml: its configuration passes -t, its ports, names and probes agree", async () => {
  await using f = new Fixture();
  const documents = parseAllDocuments(read("conf/kubernetes.yml"));
  deepStrictEqual(documents.flatMap(({ errors }) => errors), []);
  const [map, deployment, service] = documents.map((document) => document.toJS());
  deepStrictEqual([map.kind, deployment.kind, service.kind], ["ConfigMap", "Deployment", "Service"]);

  const file = `${f.dir}/ringmaster.yml`;
  await Deno.writeTextFile(file, map.data["ringmaster.yml"]);
  const { code, stdout, stderr } = await run(await compiled(), ["-t", "-c", file]);
  strictEqual(code, 0, stdout + stderr);
  const { listen } = Object.values(parse(map.data["ringmaster.yml"]) as Record<string, Pool>)[0];
  const pod = deployment.spec.template;
  const [container] = pod.spec.containers;
  const port = container.ports.find(({ name }: { name: string }) => name === "redis");
  strictEqual(listen, `0.0.0.0:${port.containerPort}`);
  deepStrictEqual(service.spec.ports.map(({ targetPort }: { targetPort: string }) => targetPort), [
    port.name,
  ]);
  for (const probe of ["startupProbe", "readinessProbe", "livenessProbe"]) {
    strictEqual(container[probe].tcpSocket.port, port.name);
  }
  deepStrictEqual(service.spec.selector, pod.metadata.labels);
  deepStrictEqual(deployment.spec.selector.matchLabels, pod.metadata.labels);
  strictEqual(pod.spec.volumes[0].configMap.name, map.metadata.name);
  strictEqual(container.args[1], `${container.volumeMounts[0].mountPath}/ringmaster.yml`);
});

Deno.test("conf/Dockerfile: makes an executable that is a target, with the project's toolchain, and copies it alone", async () => {
  const dockerfile = read("conf/Dockerfile");
  const version = /deno@[\d.]+/.exec(read(".ci/run"))![0];
  ok(dockerfile.includes(`npx -y ${version} task release --only=linux-`), `${version} in conf/Dockerfile`);
  for (const arch of ["x64", "arm64"]) ok(TARGETS.some(({ name }) => name === `linux-${arch}`));
  // What a target's compiler needs is installed before.
  for (const name of ["gcc", "libc6-dev"]) match(dockerfile, new RegExp(`apt-get install .*\\b${name}\\b`));
  const [, image] = dockerfile.split(/^FROM scratch$/m);
  deepStrictEqual(image!.match(/^COPY .*$/gm), ["COPY --from=build /image /"]);
  await using f = new Fixture();
  await Deno.mkdir(`${f.dir}/dist`);
  await Deno.writeTextFile(`${f.dir}/dist/ringmaster-9.9.9-linux-x64`, "");
  const line = /^RUN (mkdir \/image && cp .*)$/m.exec(dockerfile)![1]!.replaceAll("/image", "image");
  strictEqual((await run("/bin/sh", ["-c", line], { cwd: f.dir })).code, 0);
  deepStrictEqual([...Deno.readDirSync(`${f.dir}/image`)].map(({ name }) => name), ["ringmaster"]);
});

Deno.test({
  name: "conf/ringmaster.service is understood by systemd and leaves little exposed (needs systemd-analyze)",
  ignore: which("systemd-analyze") === null,
  async fn() {
    await using f = new Fixture();
    const unit = `${f.dir}/ringmaster.service`;
    const program = await compiled();
    await Deno.writeTextFile(
      unit,
      read("conf/ringmaster.service").replaceAll("/usr/local/bin/ringmaster", program),
    );
    const verified = await run("systemd-analyze", ["verify", unit]);
    deepStrictEqual(verified, { code: 0, stdout: "", stderr: "" });
    const security = await run("systemd-analyze", ["security", "--offline=true", "--threshold=20", unit]);
    strictEqual(security.code, 0, security.stdout);
  },
});
