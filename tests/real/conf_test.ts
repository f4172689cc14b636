/**
 * What lies in conf/ works as it stands: every configuration starts and serves, the Dockerfile's and the unit's own lines
 * are run, the manifests agree with each other.
 */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { parse, parseAllDocuments } from "yaml";
import { runConfigOf } from "../../conf/release/image.ts";
import { TARGETS } from "../../conf/release/targets.ts";
import { PROCESS_KEYS } from "../../src/config/schema.ts";
import { DenoNet } from "../../src/runtime/deno.ts";
import { FakeSentinel } from "../lib/fake_sentinel.ts";
import { startCluster } from "../lib/cluster.ts";
import { Fixture } from "../lib/fixture.ts";
import { freePort } from "../lib/ports.ts";
import { poll } from "../lib/poll.ts";
import { Process, run } from "../lib/process.ts";
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
  users?: unknown;
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
    for (const [i, { redis, users }] of pools.entries()) {
      await using client = await f.client({ target: proxy.targets[i] });
      // conf/users.yml says of which word its first user's digest is.
      if (users !== undefined) strictEqual(await client.command("AUTH", "app", "app"), "OK");
      const prefix = users === undefined ? "k" : "app:k";
      // Members of a replica set count when they have run for some seconds.
      const replaced = pools[i]!.servers.some((server) =>
        typeof server !== "string" && server.replicas !== undefined
      );
      for (let key = 0; key < 20; key++) {
        if (redis) {
          if (replaced) {
            await poll(async () => await client.command("SET", `${prefix}${key}`, key) === "OK", "a primary");
          }
          strictEqual(await client.command("SET", `${prefix}${key}`, key), "OK");
          strictEqual(await client.command("GET", `${prefix}${key}`), String(key));
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

Deno.test("conf/kubernetes.yml: its ports, names, labels and times agree", () => {
  const { map, deployment, service, budget, policy, pod, container } = manifest();
  const { listen } = poolIn(map);
  const ports = new Map<string, number>(
    container.ports.map((port: { name: string; containerPort: number }) => [port.name, port.containerPort]),
  );
  strictEqual(listen, `0.0.0.0:${ports.get("redis")}`);
  deepStrictEqual(service.spec.ports.map((port: { targetPort: string }) => port.targetPort), ["redis"]);
  strictEqual(container.startupProbe.tcpSocket.port, "redis");
  deepStrictEqual(policy.spec.ingress[0].ports.map((port: { port: string }) => port.port), [...ports.keys()]);
  for (const selector of [deployment.spec.selector, budget.spec.selector, policy.spec.podSelector]) {
    deepStrictEqual(selector.matchLabels, pod.metadata.labels);
  }
  deepStrictEqual(service.spec.selector, pod.metadata.labels);
  for (const server of poolIn(map).servers) {
    strictEqual(Number(/:(\d+):1 /.exec(server as string)![1]), policy.spec.egress[0].ports[0].port);
  }
  strictEqual(pod.spec.volumes[0].configMap.name, map.metadata.name);
  strictEqual(container.args[1], `${container.volumeMounts[0].mountPath}/ringmaster.yml`);
  strictEqual(container.volumeMounts[0].subPath, undefined, "a file that is mounted alone never changes");
  // What an image says without this file.
  const image = runConfigOf(read("conf/Dockerfile"));
  deepStrictEqual(container.args, image.Cmd);
  strictEqual(`${pod.spec.securityContext.runAsUser}:${pod.spec.securityContext.runAsGroup}`, image.User);
  deepStrictEqual(["CMD", ...container.readinessProbe.exec.command], image.Healthcheck!.Test);
  // Killed only when it has had the time that it takes.
  const shutdown = PROCESS_KEYS.find(({ name }) => name === "shutdown_timeout") as { default: string };
  const takesS = container.lifecycle.preStop.sleep.seconds + Number(shutdown.default) / 1000;
  ok(takesS < pod.spec.terminationGracePeriodSeconds, `${takesS} s`);
});

Deno.test("conf/kubernetes.yml: what is in it starts, passes its probes, and takes a ConfigMap that has changed", async () => {
  await using f = new Fixture();
  const { map, container } = manifest();
  const [port, other, admin] = [freePort(), freePort(), freePort()];
  const server = await f.redis({ port: 0 });
  const text = (map.data["ringmaster.yml"] as string).replace("0.0.0.0:22121", `127.0.0.1:${port}`)
    .replace(/redis-\d\.redis:6379/g, server.address);
  // As the kubelet lays it out: a link to a folder, which is put in another's place.
  const mounted = `${f.dir}/etc`;
  const layOut = async (version: string, content: string) => {
    await Deno.mkdir(`${mounted}/..${version}`, { recursive: true });
    await Deno.writeTextFile(`${mounted}/..${version}/ringmaster.yml`, content);
    await Deno.symlink(`..${version}`, `${mounted}/..data_tmp`);
    await Deno.rename(`${mounted}/..data_tmp`, `${mounted}/..data`);
  };
  await layOut("one", text);
  await Deno.symlink("..data/ringmaster.yml", `${mounted}/ringmaster.yml`);
  const own = (word: string) =>
    word.replace("127.0.0.1:22280", `127.0.0.1:${admin}`).replace("/etc/ringmaster", mounted);
  const program = await compiled();
  const args = [...container.args.map(own), "-s", String(freePort()), "-a", "127.0.0.1"];
  await using process = new Process(program, args, { output: `${f.dir}/output` });
  const connects = (to: number) => async () => {
    strictEqual(process.status, null, process.stderr);
    try {
      (await Deno.connect({ port: to })).close();
      return true;
    } catch {
      return false;
    }
  };
  await poll(connects(port), "the start");
  const probe = async (name: string) => {
    const [path, ...words] = container[name].exec.command.map(own);
    strictEqual(path, "/ringmaster");
    return (await run(program, words)).code;
  };
  deepStrictEqual([await probe("readinessProbe"), await probe("livenessProbe")], [0, 0]);
  await layOut(
    "two",
    `${text}${
      text.slice(text.indexOf("redis:")).replace("redis:", "more:").replace(String(port), String(other))
    }`,
  );
  await poll(connects(other), "the changed ConfigMap to be taken");
  // Without servers it is not ready, and alive.
  await server.stop();
  await using client = await f.client({ target: { port } });
  await poll(async () => {
    // It is requests that find a server gone, each of the three its own. Keys that differ at their end alone would meet on one.
    for (let key = 0; key < 30; key++) await client.command("GET", `${key * 7919}:key`).catch(() => {});
    return await probe("readinessProbe") === 1;
  }, "the loss of the servers to be seen");
  strictEqual(await probe("livenessProbe"), 0);
});

/** The documents of conf/kubernetes.yml. */
function manifest() {
  const documents = parseAllDocuments(read("conf/kubernetes.yml"));
  deepStrictEqual(documents.flatMap(({ errors }) => errors), []);
  const [map, deployment, service, budget, policy, ...rest] = documents.map((document) => document.toJS());
  deepStrictEqual(
    [map, deployment, service, budget, policy, ...rest].map(({ kind }) => kind),
    ["ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"],
  );
  const pod = deployment.spec.template;
  return { map, deployment, service, budget, policy, pod, container: pod.spec.containers[0] };
}

/** The pool of the ConfigMap's configuration. */
function poolIn(map: { data: Record<string, string> }): Pool {
  return (parse(map.data["ringmaster.yml"]!) as Record<string, Pool>).redis!;
}

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
