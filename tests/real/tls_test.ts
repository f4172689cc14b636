/** TLS in both directions with redis-cli, redis-server and node:tls: who is let in, who is not and what is said of it; other certificates under load. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { connect as connectPlain, createServer, type Socket } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { Admin, adminYml } from "../lib/admin.ts";
import { certificate, type Issued } from "../lib/certificates.ts";
import { firstBytes } from "../lib/first_bytes.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { Process, run } from "../lib/process.ts";
import { compiled, exists, need } from "../lib/repo.ts";
import { poolYml, type Runtime } from "../lib/servers.ts";

/** Deno has none, and says so. */
const SUBJECTS: readonly Runtime[] = ["compiled"];

const authority = certificate({ name: "authority", ca: true });
const stranger = certificate({ name: "stranger", ca: true });
const CERTIFICATES: Readonly<Record<string, Issued>> = {
  authority,
  stranger,
  proxy: certificate({ name: "proxy.test", by: authority }),
  other: certificate({ name: "other.test", by: authority }),
  redis: certificate({ name: "redis.test", by: authority }),
  client: certificate({ name: "client.test", by: authority }),
  expired: certificate({ name: "expired.test", by: authority, days: -1 }),
  foreign: certificate({ name: "foreign.test", by: stranger }),
};

function put(dir: string, name: string, { cert, key }: Issued): void {
  writeFileSync(`${dir}/${name}.crt`, cert);
  writeFileSync(`${dir}/${name}.key`, key);
}

/** The common name of the certificate that is shown to who asks for `servername`. */
function shown(port: number, servername: string, ca: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, servername, ca, checkServerIdentity: () => undefined });
    socket.on("error", reject);
    socket.on("secureConnect", () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
  });
}

/** What a client of TLS says before it is answered. */
const hello = (): Promise<Uint8Array> =>
  firstBytes((port) => connect({ host: "127.0.0.1", port }).on("error", () => {}));

/** Clients that go on until they are stopped: some ask on a connection that stays, one on a new one each time. */
class Load {
  readonly failures: string[] = [];
  /** Replies on connections that stay, and on new ones. */
  private stayed = 0;
  private fresh = 0;
  private stopping = false;
  private readonly sockets: TLSSocket[] = [];
  private readonly renewing: Promise<void>;

  constructor(private readonly port: number, private readonly ca: string) {
    for (let i = 0; i < 2; i++) {
      const socket = this.open();
      socket.on("error", (error) => this.fails(`a connection that stays: ${error.message}`));
      socket.on("close", () => this.fails("a connection that was to stay is closed"));
      socket.on("secureConnect", () => socket.write("PING\r\n"));
      socket.on("data", () => {
        this.stayed++;
        if (!this.stopping) socket.write("PING\r\n");
      });
      this.sockets.push(socket);
    }
    this.renewing = this.renew();
  }

  private open(): TLSSocket {
    const { port, ca } = this;
    return connect({ host: "127.0.0.1", port, ca, checkServerIdentity: () => undefined });
  }

  private fails(what: string): void {
    if (!this.stopping) this.failures.push(what);
  }

  private async renew(): Promise<void> {
    while (!this.stopping) {
      await new Promise<void>((then) => {
        const socket = this.open();
        socket.on("error", (error) => this.fails(`a new connection: ${error.message}`));
        socket.on("close", () => then());
        socket.on("secureConnect", () => socket.write("PING\r\n"));
        socket.on("data", () => {
          this.fresh++;
          socket.destroy();
        });
      });
    }
  }

  /** There are more replies of both kinds than there were. */
  async grows(when: string): Promise<void> {
    const { stayed, fresh } = this;
    await poll(() => this.stayed >= stayed + 20 && this.fresh >= fresh + 2, `replies ${when}`);
  }

  async stop(): Promise<void> {
    this.stopping = true;
    for (const socket of this.sockets) socket.destroy();
    await this.renewing;
  }
}

/** Counts up until it is stopped, one request at a time; connects again when it is closed. */
class Counter {
  /** Replies. */
  counted = 0;
  readonly failures: string[] = [];
  private stopping = false;
  private readonly running: Promise<void>;

  constructor(private readonly port: number, private readonly ca: string) {
    this.running = this.run();
  }

  private async run(): Promise<void> {
    while (!this.stopping) await this.connection();
  }

  private connection(): Promise<void> {
    return new Promise((resolve) => {
      const { port, ca } = this;
      const socket = connect({ host: "127.0.0.1", port, ca, checkServerIdentity: () => undefined });
      socket.on("error", (error) => this.failures.push(error.message));
      socket.on("close", () => resolve());
      socket.on("secureConnect", () => socket.write("INCR counter\r\n"));
      socket.on("data", (bytes) => {
        if (!/^:\d+\r\n$/.test(String(bytes))) this.failures.push(String(bytes));
        this.counted++;
        if (this.stopping) socket.destroy();
        else socket.write("INCR counter\r\n");
      });
    });
  }

  /** It has had its last reply then. */
  stop(): Promise<void> {
    this.stopping = true;
    return this.running;
  }
}

for (const runtime of SUBJECTS) {
  Deno.test(`${runtime}: TLS towards clients and servers`, async () => {
    await using f = new Fixture();
    const { dir } = f;
    for (const [name, issued] of Object.entries(CERTIFICATES)) put(dir, name, issued);
    const port = freePort();
    const redis = await f.redis({
      args: [
        "--tls-port",
        String(port),
        "--tls-cert-file",
        `${dir}/redis.crt`,
        "--tls-key-file",
        `${dir}/redis.key`,
      ]
        .concat("--tls-ca-cert-file", `${dir}/authority.crt`, "--tls-auth-clients", "yes"),
    });
    const behind = [`127.0.0.1:${port}:1`];
    const own = `certificate: ${dir}/client.crt, key: ${dir}/client.key`;
    const here = `certificate: ${dir}/proxy.crt, key: ${dir}/proxy.key`;
    const proxy = await f.proxy(
      runtime,
      poolYml({
        open: {
          servers: behind,
          tls: `{ ${here}, sni: [ { certificate: ${dir}/other.crt, key: ${dir}/other.key } ] }`,
          server_tls: `{ ca: ${dir}/authority.crt, ${own} }`,
        },
        mutual: {
          servers: [redis],
          tls: `{ ${here}, ca: ${dir}/authority.crt, client_certificates: required, min_version: 1.3 }`,
        },
        plain: { servers: behind, server_tls: `{ ca: ${dir}/authority.crt, name: redis.test, ${own} }` },
        renamed: { servers: behind, server_tls: `{ ca: ${dir}/authority.crt, name: another.test, ${own} }` },
        unknown: { servers: behind, server_tls: `{ ca: ${dir}/stranger.crt, ${own} }` },
        nameless: { servers: behind, server_tls: `{ ca: ${dir}/authority.crt }` },
      }),
    );
    const [open, mutual, plain, renamed, unknown, nameless] = proxy.targets.map((each) =>
      (each as { port: number }).port
    );
    const cli = async (to: number, ...args: string[]) => {
      const { stdout, stderr } = await run("redis-cli", ["-p", String(to), ...args]);
      return (stdout + stderr).trim();
    };
    const secure = (ca: string, pair?: string) => [
      "--tls",
      ...["--cacert", `${dir}/${ca}.crt`],
      ...pair === undefined ? [] : ["--cert", `${dir}/${pair}.crt`, "--key", `${dir}/${pair}.key`],
    ];
    const logged = (line: RegExp) => poll(() => line.test(proxy.log), `the line ${line} in the log`);

    strictEqual(await cli(open!, ...secure("authority"), "set", "a", "1"), "OK");
    strictEqual(await cli(mutual!, ...secure("authority", "client"), "get", "a"), "1");
    strictEqual(await cli(plain!, "get", "a"), "1");
    strictEqual(await shown(open!, "other.test", authority.cert), "other.test");
    strictEqual(await shown(open!, "elsewhere.test", authority.cert), "proxy.test");

    // Who is not let in.
    match(await cli(open!, ...secure("stranger"), "get", "a"), /certificate verify failed/);
    await logged(
      /pool 'open': tls: handshake with client 127\.0\.0\.1:\d+ failed: the other side says: unknown ca/,
    );
    match(await cli(open!, "get", "a"), /Server closed the connection|Connection reset by peer|Broken pipe/);
    await logged(/pool 'open': tls: handshake with client .* failed: the client does not speak TLS/);
    match(await cli(plain!, ...secure("authority"), "get", "a"), /wrong version number/);
    for (
      const [pair, why] of [
        [undefined, "peer did not return a certificate"],
        ["foreign", "the client's certificate.*(unable to|self.signed)"],
        ["expired", "the client's certificate.*expired"],
      ] as const
    ) {
      match(
        await cli(mutual!, ...secure("authority", pair), "get", "a"),
        /Error|closed|reset|alert|refused/i,
      );
      await logged(new RegExp(`pool 'mutual': tls: handshake with client .* failed: ${why}`));
    }
    match(await cli(renamed!, "get", "a"), /'redis\.test' is not for another\.test, but for DNS:redis\.test/);
    match(await cli(unknown!, "get", "a"), /the server's certificate.*(unable to|self.signed)/);
    match(await cli(nameless!, "get", "a"), /^ERR /);

    // Another certificate while clients are busy, on connections that stay and on new ones.
    const load = new Load(open!, authority.cert);
    await load.grows("before the change");
    put(dir, "proxy", certificate({ name: "renewed.test", by: authority }));
    await poll(async () => await shown(open!, "", authority.cert) === "renewed.test", "the new certificate");
    await load.grows("after the change");
    await load.stop();
    deepStrictEqual(load.failures, []);
    // What is wrong changes nothing.
    writeFileSync(`${dir}/proxy.key`, "no key");
    await poll(async () => {
      strictEqual(await shown(open!, "", authority.cert), "renewed.test");
      return /pool 'open': tls: the files have changed, refused, those before stay: key: /.test(proxy.log);
    }, "the refusal in the log");
    strictEqual(proxy.log.includes("PRIVATE KEY"), false);
  });

  Deno.test(`${runtime}: TLS with libraries and several workers; what is told of it; on and off at the same address`, async () => {
    await using f = new Fixture();
    const { dir } = f;
    for (const name of ["authority", "proxy", "client"]) put(dir, name, CERTIFICATES[name]!);
    const redis = await f.redis();
    const here = `{ certificate: ${dir}/proxy.crt, key: ${dir}/proxy.key }`;
    const mutual = here.replace(" }", `, ca: ${dir}/authority.crt, client_certificates: required }`);
    const adminPort = freePort();
    const yml = (tls: string | undefined) =>
      adminYml(adminPort, ["workers: 2"]) + poolYml({
        mutual: { listen: `127.0.0.1:${ports[0]}`, servers: [redis], tls: mutual },
        switched: { listen: `127.0.0.1:${ports[1]}`, servers: [redis], tls },
      });
    const ports = [freePort(), freePort()] as const;
    const proxy = await f.proxy(runtime, yml(undefined));
    const admin = new Admin(adminPort);
    const tls = { ca: authority.cert, cert: CERTIFICATES.client!.cert, key: CERTIFICATES.client!.key };

    const redisClients = Array.from(
      { length: 4 },
      () => new Redis({ host: "127.0.0.1", port: ports[0], tls, enableReadyCheck: false }),
    );
    const writes = redisClients.map((each, i) => Promise.all([each.set(`k${i}`, i), each.get(`k${i}`)]));
    deepStrictEqual(await Promise.all(writes), redisClients.map((_, i) => ["OK", String(i)]));
    for (const each of redisClients) each.disconnect();
    const node = createClient({ socket: { host: "127.0.0.1", port: ports[0], tls: true, ...tls } });
    node.on("error", () => {});
    await node.connect();
    strictEqual(await node.get("k1"), "1");
    node.destroy();

    // What is told: counters, and when which certificate ends.
    const { pools } = await admin.json("/api/pools");
    ok(pools[0].counters.tls_handshakes >= 5);
    const told = [["tls", `${dir}/proxy.crt`], ["tls", `${dir}/authority.crt`]];
    deepStrictEqual(
      pools[0].certificates.map((one: { key: string; file: string }) => [one.key, one.file]),
      told,
    );
    const { text } = await admin.get("/metrics");
    const said =
      /ringmaster_tls_certificate_expiry_timestamp_seconds\{pool="mutual",key="tls",file=".*proxy.crt"\} (\S+)/
        .exec(text)?.[1];
    strictEqual(Number(said) * 1000, pools[0].certificates[0].expires_at);

    // HUP reads certificates, though nobody connects and the file is the same.
    put(dir, "proxy", certificate({ name: "renewed.test", by: authority }));
    proxy.kill("SIGHUP");
    const changed = () =>
      proxy.log.split("pool 'mutual': tls: the files have changed, new connections").length - 1;
    await poll(() => changed() === 2, "both workers have read the files");

    // A plain pool gets TLS, and loses it, at the same address; who is there stays.
    await using plain = await f.client({ host: "127.0.0.1", port: ports[1] });
    strictEqual(await plain.command("GET", "k2"), "2");
    const shows = async () => {
      try {
        return await shown(ports[1], "", authority.cert);
      } catch {
        return "";
      }
    };
    strictEqual(await shows(), "");
    await poll(
      () => /pool 'switched' speaks TLS, but the pool has no 'tls'/.test(proxy.log),
      "the line in the log",
    );
    writeFileSync(proxy.file, yml(here));
    proxy.kill("SIGHUP");
    await poll(async () => await shows() === "renewed.test", "TLS");
    strictEqual(await plain.command("GET", "k2"), "2");
    writeFileSync(proxy.file, yml(undefined));
    proxy.kill("SIGHUP");
    await poll(async () => {
      const { stdout } = await run("redis-cli", ["-p", String(ports[1]), "get", "k2"]);
      return stdout.trim() === "2";
    }, "no TLS any more");
  });

  Deno.test(`${runtime}: ringmaster upgrade with TLS and two workers, and another certificate meanwhile`, async () => {
    await using f = new Fixture();
    const { dir } = f;
    put(dir, "proxy", CERTIFICATES.proxy!);
    const port = freePort();
    const redis = await f.redis();
    const pool = {
      listen: `127.0.0.1:${port}`,
      servers: [redis],
      tls: `{ certificate: ${dir}/proxy.crt, key: ${dir}/proxy.key }`,
    };
    const pidFile = `${dir}/pid`;
    const args = ["-p", pidFile, "--workers=2"];
    const first = await f.proxy(runtime, poolYml({ alpha: pool }) + "ringmaster:\n  admin: off\n", { args });
    const counters = Array.from({ length: 3 }, () => new Counter(port, authority.cert));
    await poll(() => counters.every(({ counted }) => counted > 20), "some load");
    put(dir, "proxy", certificate({ name: "renewed.test", by: authority }));
    const upgraded = await run(await compiled(), ["upgrade", "-p", pidFile]);
    const pid = Number(Deno.readTextFileSync(pidFile));
    try {
      strictEqual(upgraded.code, 0, upgraded.stderr);
      ok(pid !== first.pid);
      strictEqual((await first.exit).code, 0, first.log);
      const before = counters.map(({ counted }) => counted);
      await poll(
        () => counters.every(({ counted }, i) => counted > before[i]! + 20),
        "load of the successor",
      );
      strictEqual(await shown(port, "", authority.cert), "renewed.test");
      await Promise.all(counters.map((counter) => counter.stop()));
      deepStrictEqual(counters.flatMap(({ failures }) => failures), []);
      await using direct = await f.client(redis);
      const counted = counters.reduce((sum, counter) => sum + counter.counted, 0);
      strictEqual(Number(await direct.command("GET", "counter")), counted);
    } finally {
      Deno.kill(pid, "SIGTERM");
      await poll(() => !exists(pidFile), "the successor to end");
    }
  });

  Deno.test(`${runtime}: half open handshakes push out each other, and nobody else`, async () => {
    await using f = new Fixture();
    const { dir } = f;
    put(dir, "proxy", CERTIFICATES.proxy!);
    const port = freePort();
    const pool = {
      listen: `127.0.0.1:${port}`,
      servers: [await f.redis()],
      tls: `{ certificate: ${dir}/proxy.crt, key: ${dir}/proxy.key, handshake_timeout: 60000 }`,
    };
    const proxy = await f.proxy(runtime, poolYml({ alpha: pool }));
    const stays = connect({ host: "127.0.0.1", port, ca: authority.cert });
    const pong = () =>
      new Promise<string>((resolve, reject) => {
        stays.once("data", (bytes) => resolve(String(bytes)));
        stays.once("close", () => reject(new Error("it was closed")));
        stays.write("PING\r\n");
      });
    stays.on("error", () => {});
    strictEqual(await pong(), "+PONG\r\n");
    // An address has 512 at most: every other of these says all that a client says first.
    const first = await hello();
    const flood: Socket[] = [];
    let closed = 0;
    for (let i = 0; i < 640; i++) {
      const socket = connectPlain({ host: "127.0.0.1", port });
      socket.on("error", () => {});
      socket.on("close", () => closed++);
      if (i % 2 === 0) socket.write(first);
      flood.push(socket);
    }
    await poll(() => closed > 0, "some are given up");
    strictEqual(await pong(), "+PONG\r\n");
    for (let i = 0; i < 3; i++) strictEqual(await shown(port, "", authority.cert), "proxy.test");
    match(proxy.log, /pool 'alpha': tls: handshake with client .* failed: given up for newer ones/);
    ok(closed < flood.length, "not all are given up");
    for (const socket of flood) socket.destroy();
    strictEqual(await pong(), "+PONG\r\n");
    stays.destroy();
  });

  Deno.test(`${runtime}: while very many handshakes are half open clients of TLS 1.3 are asked to begin again, and are served`, async () => {
    await using f = new Fixture();
    const { dir } = f;
    put(dir, "proxy", CERTIFICATES.proxy!);
    put(dir, "client", CERTIFICATES.client!);
    put(dir, "authority", authority);
    const [port, mutual, split] = [freePort(), freePort(), freePort()];
    const pool = { servers: [await f.redis()] };
    const pair = `certificate: ${dir}/proxy.crt, key: ${dir}/proxy.key`;
    await f.proxy(
      runtime,
      poolYml({
        alpha: { ...pool, listen: `127.0.0.1:${port}`, tls: `{ ${pair} }` },
        beta: {
          ...pool,
          listen: `127.0.0.1:${mutual}`,
          tls: `{ ${pair}, client_certificates: required, ca: ${dir}/authority.crt }`,
        },
      }),
    );
    /** What openssl says of its handshake: the group that was agreed on. */
    const group = async (to: number, ...args: string[]) => {
      const { stdout } = await run("openssl", ["s_client", "-connect", `127.0.0.1:${to}`, ...args]);
      return /Server Temp Key: (?:ECDH, )?([^,]+)/.exec(stdout)?.[1];
    };
    const client = ["-cert", `${dir}/client.crt`, "-key", `${dir}/client.key`];
    const both = ["-groups", "X25519:P-256"];
    strictEqual(await group(port, ...both), "X25519");

    const first = await hello();
    const flood: Socket[] = [];
    for (let i = 0; i < 200; i++) {
      const socket = connectPlain({ host: "127.0.0.1", port });
      socket.on("error", () => {});
      socket.write(first);
      flood.push(socket);
    }
    await poll(async () => await group(port, ...both) === "prime256v1", "to be asked for another group");
    strictEqual(await group(mutual, ...client, ...both), "prime256v1");
    strictEqual(await group(port, "-groups", "X25519:P-256:P-384"), "prime256v1");
    strictEqual(await group(port, "-groups", "P-256:P-384"), "secp384r1");
    // Who cannot be asked.
    strictEqual(await group(port, "-groups", "X25519"), "X25519");
    strictEqual(await group(port, "-tls1_2", ...both), "X25519");
    const cli = ["--tls", "--cacert", `${dir}/authority.crt`, "-p", String(port), "ping"];
    strictEqual((await run("redis-cli", cli)).stdout.trim(), "PONG");
    for (let i = 0; i < 3; i++) strictEqual(await shown(port, "", authority.cert), "proxy.test");
    // Both of its hellos byte by byte.
    const relay = createServer((client) => {
      const socket = connectPlain({ host: "127.0.0.1", port });
      socket.setNoDelay(true);
      for (const each of [client, socket]) each.on("error", () => {});
      socket.pipe(client);
      client.on("data", (bytes: Uint8Array) => bytes.forEach((byte) => socket.write(new Uint8Array([byte]))));
      client.on("close", () => socket.destroy());
    });
    relay.listen(split, "127.0.0.1");
    strictEqual(await group(split, ...both), "prime256v1");
    relay.close();
    for (const socket of flood) socket.destroy();
    await poll(async () => await group(port, ...both) === "X25519", "the first group again");
  });

  Deno.test(`${runtime}: memcached by TLS, towards clients and servers`, async () => {
    await using f = new Fixture();
    const { dir } = f;
    for (const name of ["authority", "proxy", "redis"]) put(dir, name, CERTIFICATES[name]!);
    const [port, listen] = [freePort(), freePort()];
    const user = Deno.uid() === 0 ? ["-u", "root"] : [];
    const files = `ssl_chain_cert=${dir}/redis.crt,ssl_key=${dir}/redis.key`;
    const args = ["-l", "127.0.0.1", "-p", String(port), "-U", "0", "-Z", "-o", files, ...user];
    f.add(new Process(need("memcached"), args, { output: `${dir}/memcached.log` }));
    await f.proxy(
      runtime,
      poolYml({
        cache: {
          listen: `127.0.0.1:${listen}`,
          redis: false,
          servers: [`127.0.0.1:${port}:1`],
          tls: `{ certificate: ${dir}/proxy.crt, key: ${dir}/proxy.key }`,
          server_tls: `{ ca: ${dir}/authority.crt }`,
        },
      }),
    );
    const say = (text: string) =>
      new Promise<string>((resolve) => {
        let said = "";
        const socket = connect({ host: "127.0.0.1", port: listen, ca: authority.cert });
        socket.on("error", (error) => resolve(error.message));
        socket.on("data", (bytes) => said += bytes);
        socket.on("close", () => resolve(said));
        socket.on("secureConnect", () => socket.write(`${text}quit\r\n`));
      });
    // It may not listen yet.
    await poll(async () => await say("set a 0 0 1\r\nx\r\n") === "STORED\r\n", "the first value");
    const big = "v".repeat(300_000);
    strictEqual(
      await say(`set b 0 0 ${big.length}\r\n${big}\r\nget a b\r\nmg a v\r\n`),
      `STORED\r\nVALUE a 0 1\r\nx\r\nVALUE b 0 ${big.length}\r\n${big}\r\nEND\r\nVA 1\r\nx\r\n`,
    );
  });
}
