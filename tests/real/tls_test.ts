/** TLS in both directions with redis-cli, redis-server and node:tls: who is let in, who is not and what is said of it; other certificates under load. */
import { match, strictEqual } from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { connect } from "node:tls";
import { certificate, type Issued } from "../lib/certificates.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { run } from "../lib/process.ts";
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

    // Another certificate while clients are busy.
    const busy = run("redis-benchmark", [
      ...["-p", String(open), ...secure("authority"), "-t", "get,set"],
      ...["-n", "4000", "-c", "20", "-q"],
    ]);
    put(dir, "proxy", certificate({ name: "renewed.test", by: authority }));
    await poll(async () => await shown(open!, "", authority.cert) === "renewed.test", "the new certificate");
    const { code, stdout, stderr } = await busy;
    strictEqual(code, 0, stdout + stderr);
    // What is wrong changes nothing.
    writeFileSync(`${dir}/proxy.key`, "no key");
    await poll(async () => {
      strictEqual(await shown(open!, "", authority.cert), "renewed.test");
      return /pool 'open': tls: the files have changed, refused, those before stay: key: /.test(proxy.log);
    }, "the refusal in the log");
    strictEqual(proxy.log.includes("PRIVATE KEY"), false);
  });
}
