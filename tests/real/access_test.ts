/**
 * Who may connect: allow and deny, and the PROXY protocol with HAProxy's own bytes, health checks included; who is not HAProxy cannot
 * say that he is somebody else.
 */
import { match, ok, strictEqual } from "node:assert/strict";
import { connect, createServer, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { certificate } from "../lib/certificates.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { Process } from "../lib/process.ts";
import { need } from "../lib/repo.ts";
import { poolYml, type Proxy, RUNTIMES } from "../lib/servers.ts";

const authority = certificate({ name: "authority", ca: true });
const shown = certificate({ name: "proxy.test", by: authority });

const INFO = "*2\r\n$6\r\nCLIENT\r\n$4\r\nINFO\r\n";

/** A client with an address of its own: all of 127.0.0.0/8 is this machine. */
class Caller implements AsyncDisposable {
  said = "";
  closed = false;
  private readonly socket: Socket;

  /** @param from "": whatever the kernel takes */
  constructor(to: number | string, from: string, text: string) {
    this.socket = typeof to === "string"
      ? connect(to)
      : connect({ host: "127.0.0.1", port: to, localAddress: from });
    this.socket.on("data", (bytes) => this.said += bytes.toString("latin1"));
    this.socket.on("close", () => this.closed = true);
    this.socket.on("error", () => {});
    if (text !== "") this.socket.write(text);
  }

  write(text: string): void {
    this.socket.write(text);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
    return Promise.resolve();
  }
}

/** "ip" that a client of ours has for the proxy, asked through `to`. */
async function seenAs(to: number | string, from: string, first = ""): Promise<string> {
  await using caller = new Caller(to, from, first + INFO);
  let address: string | undefined;
  await poll(() => {
    ok(!caller.closed, `closed after ${JSON.stringify(caller.said)}`);
    address = / addr=(\S*):\d+ /.exec(caller.said)?.[1];
    return address !== undefined;
  }, "CLIENT INFO");
  return address!;
}

/** It is closed, and has read nothing. */
async function refused(to: number, from: string, text: string): Promise<void> {
  await using caller = new Caller(to, from, text);
  await poll(() => caller.closed, `the connection from ${from} to be closed`);
  strictEqual(caller.said, "");
}

async function logged(proxy: Proxy, line: RegExp): Promise<void> {
  await poll(() => line.test(proxy.log), `${line} in the log`);
}

function haproxyFile(
  dir: string,
  backends: readonly { name: string; port: number; to: number; send: string }[],
): string {
  const file = `${dir}/haproxy.cfg`;
  const lines = [`global\n  stats socket ${dir}/haproxy.sock mode 600`];
  lines.push(
    "defaults\n  mode tcp\n  timeout connect 30s\n  timeout client 60s\n  timeout server 60s\n  timeout check 30s",
  );
  for (const { name, port, to, send } of backends) {
    lines.push(
      `frontend ${name}\n  bind 127.0.0.1:${port}\n  bind ${dir}/${name}.sock\n  default_backend ${name}`,
      `backend ${name}\n  option tcp-check\n  tcp-check send PING\\r\\n\n  tcp-check expect string +PONG`,
      `  server one 127.0.0.1:${to} ${send} check inter 200ms`,
    );
  }
  Deno.writeTextFileSync(file, lines.join("\n") + "\n");
  return file;
}

/** How HAProxy's checks of each backend's server went last: "L7OK" is an answer as expected. */
async function checks(dir: string): Promise<string[]> {
  const conn = await Deno.connect({ transport: "unix", path: `${dir}/haproxy.sock` });
  await conn.write(new TextEncoder().encode("show stat\n"));
  const [head, ...rows] = (await new Response(conn.readable).text()).trim().split("\n").map((row) =>
    row.split(",")
  );
  const at = head!.indexOf("check_status");
  return rows.filter((row) => row[1] === "one").map((row) => row[at]!);
}

for (const runtime of RUNTIMES) {
  Deno.test(`${runtime}: HAProxy announces its clients in both versions of the PROXY protocol`, async () => {
    await using f = new Fixture();
    const redis = await f.redis();
    const [one, two, v1, v2] = [freePort(), freePort(), freePort(), freePort()];
    const keys = { servers: [redis], proxy_protocol: "on", proxy_from: "[ 127.0.0.1 ]" };
    const proxy = await f.proxy(
      runtime,
      poolYml({
        one: { ...keys, listen: `127.0.0.1:${one}`, deny: "[ 127.0.0.66 ]" },
        two: { ...keys, listen: `127.0.0.1:${two}`, allow: "[ 127.0.0.1, 127.0.0.8/29 ]" },
      }),
    );
    const config = haproxyFile(f.dir, [
      { name: "one", port: v1, to: one, send: "send-proxy" },
      { name: "two", port: v2, to: two, send: "send-proxy-v2 proxy-v2-options crc32c" },
    ]);
    f.add(new Process(need("haproxy"), ["-db", "-f", config], { output: `${f.dir}/haproxy.log` }));
    await poll(async () => {
      const states = await checks(f.dir).catch(() => []);
      return states.length === 2 && states.every((state) => state === "L7OK");
    }, "HAProxy's checks to be answered");

    strictEqual(await seenAs(v1, "127.0.0.9"), "127.0.0.9");
    strictEqual(await seenAs(v2, "127.0.0.9"), "127.0.0.9");
    // Of a client without an address HAProxy says nothing: the connection is its own.
    strictEqual(await seenAs(`${f.dir}/one.sock`, ""), "127.0.0.1");
    strictEqual(await seenAs(`${f.dir}/two.sock`, ""), "127.0.0.1");
    // In the log too.
    await using visitor = new Caller(v2, "127.0.0.10", "POST / HTTP/1.1\r\nHost: x\r\n\r\n");
    await logged(proxy, /possible attack: c \d+ '127\.0\.0\.10:\d+' in pool 'two'/);
    await poll(() => visitor.closed, "the visitor to be closed");

    // The announced address is judged.
    await refused(v1, "127.0.0.66", INFO);
    await logged(
      proxy,
      /pool 'one': client 127\.0\.0\.66:\d+ \(announced by 127\.0\.0\.1:\d+\) refused: deny has 127\.0\.0\.66$/m,
    );
    await refused(v2, "127.0.0.7", INFO);
    await logged(
      proxy,
      /pool 'two': client 127\.0\.0\.7:\d+ \(announced by \S+\) refused: allow does not have the address$/m,
    );

    // Whoever is not HAProxy announces nobody; whoever is begins with a header.
    await refused(one, "127.0.0.9", `PROXY TCP4 127.0.0.1 127.0.0.1 4000 6379\r\n${INFO}`);
    await logged(
      proxy,
      /connection from 127\.0\.0\.9:\d+ refused: proxy_protocol: proxy_from does not have the address$/m,
    );
    await refused(one, "127.0.0.1", INFO);
    await logged(
      proxy,
      /connection from 127\.0\.0\.1:\d+ refused: proxy_protocol: it does not begin with a PROXY header$/m,
    );
    strictEqual(await seenAs(one, "127.0.0.1", "PROXY TCP6 2001:db8::7 ::1 4000 6379\r\n"), "[2001:db8::7]");
    strictEqual(
      await seenAs(two, "127.0.0.1", "PROXY TCP4 127.0.0.12 127.0.0.1 4000 6379\r\n"),
      "127.0.0.12",
    );
  });

  Deno.test(`${runtime}: allow and deny by the connection's own address; a reload changes them for new connections`, async () => {
    await using f = new Fixture();
    const redis = await f.redis();
    const port = freePort();
    const path = `${f.dir}/pool.sock`;
    const yml = (deny: string) =>
      poolYml({
        tcp: { listen: `127.0.0.1:${port}`, servers: [redis], allow: "[ 127.0.0.0/8 ]", deny },
        unix: { listen: path, servers: [redis], allow: "[ 192.0.2.1 ]" },
      });
    const proxy = await f.proxy(runtime, yml("[ 127.0.0.64/26 ]"));
    strictEqual(await seenAs(port, "127.0.0.9"), "127.0.0.9");
    await using there = new Caller(port, "127.0.0.10", INFO);
    await poll(() => there.said.includes(" addr=127.0.0.10:"), "CLIENT INFO");
    await refused(port, "127.0.0.127", INFO);
    await logged(proxy, /pool 'tcp': client 127\.0\.0\.127:\d+ refused: deny has 127\.0\.0\.64\/26$/m);
    // A unix socket's file says who may use it.
    await using local = new Caller(path, "", "PING\r\n");
    await poll(() => local.said === "+PONG\r\n", "PONG");

    Deno.writeTextFileSync(proxy.file, yml("[ 127.0.0.8/29 ]"));
    proxy.kill("SIGHUP");
    await poll(async () => {
      await using caller = new Caller(port, "127.0.0.10", INFO);
      await poll(() => caller.closed || caller.said !== "", "an answer, or the end");
      return caller.said === "";
    }, "the new list to count");
    // Each worker takes it at its own time.
    await poll(async () => {
      await using caller = new Caller(port, "127.0.0.127", INFO);
      await poll(() => caller.closed || caller.said !== "", "an answer, or the end");
      return caller.said.includes(" addr=127.0.0.127:");
    }, "who was denied to be let in");
    // Who is here stays.
    there.said = "";
    there.write(INFO);
    await poll(() => there.said.includes(" addr=127.0.0.10:"), "CLIENT INFO");
    await using asking = new Caller(port, "127.0.0.20", "*2\r\n$4\r\nINFO\r\n$10\r\nringmaster\r\n");
    await poll(() => asking.said.includes("ringmaster_clients_denied:"), "INFO");
    match(asking.said, /ringmaster_clients_denied:[1-9]/);
  });
}

// Deno has no TLS.
Deno.test("compiled: with TLS who is denied is closed before a handshake", async () => {
  await using f = new Fixture();
  const { cert, key } = certificate({ name: "proxy.test" });
  Deno.writeTextFileSync(`${f.dir}/proxy.crt`, cert);
  Deno.writeTextFileSync(`${f.dir}/proxy.key`, key);
  const port = freePort();
  const tls = `{ certificate: ${f.dir}/proxy.crt, key: ${f.dir}/proxy.key }`;
  const proxy = await f.proxy(
    "compiled",
    poolYml({
      alpha: { listen: `127.0.0.1:${port}`, servers: ["127.0.0.1:1:1"], tls, deny: "[ 127.0.0.66 ]" },
    }),
  );
  // It has said nothing yet, so no handshake has begun.
  await refused(port, "127.0.0.66", "");
  await logged(proxy, /pool 'alpha': client 127\.0\.0\.66:\d+ refused: deny has 127\.0\.0\.66$/m);
  await using other = new Caller(port, "127.0.0.9", "PING\r\n");
  await logged(proxy, /handshake with client 127\.0\.0\.9:\d+ failed/);
  await poll(() => other.closed, "who speaks no TLS to be closed");
});

/** What the proxy answers to `text` by TLS through `to`; "" if it closes without a word. */
function asked(to: number | string, from: string, text: string): Promise<string> {
  return new Promise((resolve) => {
    let said = "";
    const where = typeof to === "string" ? { path: to } : { host: "127.0.0.1", port: to, localAddress: from };
    const socket = connectTls(
      { ...where, ca: authority.cert, checkServerIdentity: () => undefined } as Parameters<
        typeof connectTls
      >[0],
    );
    socket.on("error", () => {});
    socket.on("secureConnect", () => socket.write(`${text}QUIT\r\n`));
    socket.on("data", (bytes) => said += bytes);
    socket.on("close", () => resolve(said));
  });
}

/** A load balancer that begins each connection with these pieces, the last one together with what its client says first. */
class Announcer implements AsyncDisposable {
  readonly port = freePort();
  private readonly server = createServer((client) => {
    const socket = connect({ host: "127.0.0.1", port: this.to });
    socket.setNoDelay(true);
    for (const each of [client, socket]) each.on("error", () => {});
    socket.on("close", () => client.destroy());
    client.on("close", () => socket.destroy());
    socket.pipe(client);
    client.once("data", async (first: Uint8Array) => {
      for (const piece of this.pieces.slice(0, -1)) {
        socket.write(piece);
        // A timer's turn, so that the kernel sends each by itself.
        await new Promise((resolve) => setTimeout(resolve));
      }
      socket.write(Buffer.concat([Buffer.from(this.pieces.at(-1)!), first]));
      client.pipe(socket);
    });
  });

  constructor(private readonly to: number, private readonly pieces: readonly string[]) {
    this.server.listen(this.port, "127.0.0.1");
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.server.close();
    return Promise.resolve();
  }
}

Deno.test("compiled: the PROXY header before TLS, by HAProxy in both versions with checks, in pieces, wrong, and not at all", async () => {
  await using f = new Fixture();
  Deno.writeTextFileSync(`${f.dir}/proxy.crt`, shown.cert);
  Deno.writeTextFileSync(`${f.dir}/proxy.key`, shown.key);
  const redis = await f.redis();
  const [one, two, v1, v2] = [freePort(), freePort(), freePort(), freePort()];
  const keys = {
    servers: [redis],
    proxy_protocol: "on",
    proxy_from: "[ 127.0.0.1 ]",
    tls: `{ certificate: ${f.dir}/proxy.crt, key: ${f.dir}/proxy.key, handshake_timeout: 1500 }`,
  };
  const proxy = await f.proxy(
    "compiled",
    poolYml({
      one: { ...keys, listen: `127.0.0.1:${one}`, deny: "[ 127.0.0.66 ]" },
      two: { ...keys, listen: `127.0.0.1:${two}`, allow: "[ 127.0.0.1, 127.0.0.8/29 ]" },
    }),
  );
  const tls = "check-ssl verify none";
  const config = haproxyFile(f.dir, [
    { name: "one", port: v1, to: one, send: `send-proxy ${tls}` },
    { name: "two", port: v2, to: two, send: `send-proxy-v2 proxy-v2-options crc32c ${tls}` },
  ]);
  f.add(new Process(need("haproxy"), ["-db", "-f", config], { output: `${f.dir}/haproxy.log` }));
  await poll(async () => {
    const states = await checks(f.dir).catch(() => []);
    return states.length === 2 && states.every((state) => state === "L7OK");
  }, "HAProxy's checks to be answered");

  const seen = async (to: number | string, from = "127.0.0.9") =>
    / addr=(\S*):\d+ /.exec(await asked(to, from, INFO))?.[1];
  strictEqual(await seen(v1), "127.0.0.9");
  strictEqual(await seen(v2), "127.0.0.9");
  strictEqual(await seen(`${f.dir}/one.sock`, ""), "127.0.0.1");
  strictEqual(await seen(`${f.dir}/two.sock`, ""), "127.0.0.1");
  // Judged before the handshake.
  strictEqual(await asked(v1, "127.0.0.66", INFO), "");
  strictEqual(await asked(v2, "127.0.0.7", INFO), "");
  await logged(
    proxy,
    /pool 'one': client 127\.0\.0\.66:\d+ \(announced by 127\.0\.0\.1:\d+\) refused: deny has 127\.0\.0\.66$/m,
  );
  await logged(
    proxy,
    /pool 'two': client 127\.0\.0\.7:\d+ \(announced by \S+\) refused: allow does not have/m,
  );

  const header = "PROXY TCP6 2001:db8::7 ::1 4000 6379\r\n";
  for (const pieces of [[header], [...header], [header, ""], [header.slice(0, 9), header.slice(9)]]) {
    await using balancer = new Announcer(one, pieces);
    strictEqual(await seen(balancer.port), "[2001:db8::7]", JSON.stringify(pieces));
  }
  // Not the load balancer; the load balancer without a header, with half of one, with another one behind it, with none for long.
  await refused(one, "127.0.0.9", header);
  await logged(
    proxy,
    /connection from 127\.0\.0\.9:\d+ refused: proxy_protocol: proxy_from does not have the address$/m,
  );
  strictEqual(await asked(one, "127.0.0.1", INFO), "");
  await logged(
    proxy,
    /pool 'one': connection from 127\.0\.0\.1:\d+ refused: proxy_protocol: it does not begin with/m,
  );
  await refused(one, "127.0.0.1", INFO);
  await refused(two, "127.0.0.1", "PROXY TCP4 127.0.0.9 127.0.0");
  await logged(
    proxy,
    /pool 'two': connection from 127\.0\.0\.1:\d+ refused: proxy_protocol: no whole header: not over after 1500 ms$/m,
  );
  await refused(one, "127.0.0.1", header + header);
  await logged(proxy, /handshake with client \[2001:db8::7\]:4000 failed: the client does not speak TLS$/m);
  await refused(one, "127.0.0.1", header.replace("::7", "::8") + "\x16");
  await logged(proxy, /handshake with client \[2001:db8::8\]:4000 failed: not over after 1500 ms$/m);
  const info = await asked(v1, "127.0.0.9", "*2\r\n$4\r\nINFO\r\n$10\r\nringmaster\r\n");
  match(info, /ringmaster_clients_denied:1\r/);
  match(info, /ringmaster_proxy_header_errors:3\r/);
});
