/** Where the admin side listens through changes of the configuration, and what it asks for there. */
import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import type { Around } from "../../src/admin/around.ts";
import { AdminSide } from "../../src/admin/side.ts";
import type { Config, TlsConfig } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { certificate, type Issued } from "../lib/certificates.ts";
import { ManualClock } from "../lib/manual_clock.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";

const TOKEN = "a-token-of-the-admin-side";

class Stand implements Disposable {
  readonly logged: string[] = [];
  readonly side: AdminSide;

  constructor() {
    const clock = new ManualClock();
    // Certificates are of today.
    clock.wallMs = () => Date.now();
    const around = {
      clock,
      log: { level: 11, write: (_level: number, text: string) => this.logged.push(text) },
      machine: { facts: {} },
      live: { start() {}, stop() {} },
    };
    this.side = new AdminSide(around as unknown as Around, null);
  }

  [Symbol.dispose](): void {
    this.side.stop();
  }
}

function configOf(address: string, token: string | null = null): Config {
  const config = parseConfig("p:\n  listen: 127.0.0.1:1\n  servers: [127.0.0.1:2:1]\n", "x.yml");
  const colon = address.lastIndexOf(":");
  const admin = address === "off"
    ? null
    : { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) };
  return { ...config, process: { ...config.process, admin, adminText: address, adminToken: token } };
}

/** The status of /api without a token; 0 = nobody listens there. */
async function statusAt(port: number): Promise<number> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/api`);
    await response.body?.cancel();
    return response.status;
  } catch {
    return 0;
  }
}

Deno.test("AdminSide: one that has to stay where others can connect goes on asking for its token", async () => {
  using stand = new Stand();
  const [open, taken] = [freePort(), freePort()];
  using _other = Deno.listen({ hostname: "127.0.0.1", port: taken });
  await stand.side.start(configOf(`0.0.0.0:${open}`, TOKEN));
  strictEqual(await statusAt(open), 401);
  stand.side.adopt(configOf(`127.0.0.1:${taken}`));
  await poll(() => stand.logged.some((line) => line.includes("it stays where it was")), "the refusal");
  strictEqual(await statusAt(open), 401);
});

Deno.test("AdminSide: where only this machine can connect a token comes and goes with the configuration", async () => {
  using stand = new Stand();
  const port = freePort();
  await stand.side.start(configOf(`127.0.0.1:${port}`, TOKEN));
  strictEqual(await statusAt(port), 401);
  stand.side.adopt(configOf(`127.0.0.1:${port}`));
  await poll(async () => await statusAt(port) === 200, "no token any more");
  stand.side.adopt(configOf(`127.0.0.1:${port}`, TOKEN));
  await poll(async () => await statusAt(port) === 401, "the token again");
});

Deno.test("AdminSide: TLS comes and goes with the configuration, at the same address, and files are read by a reload", async () => {
  using stand = new Stand();
  const dir = Deno.makeTempDirSync();
  try {
    const [ca, other] = [certificate({ name: "ca", ca: true }), certificate({ name: "other", ca: true })];
    const [one, two] = [ca, other].map((by) => certificate({ name: "localhost", by })) as [Issued, Issued];
    const show = ({ cert, key }: Issued) => {
      Deno.writeTextFileSync(`${dir}/crt`, cert);
      Deno.writeTextFileSync(`${dir}/key`, key);
    };
    show(one);
    const port = freePort();
    const plain = configOf(`127.0.0.1:${port}`);
    const adminTls: TlsConfig = {
      certificate: `${dir}/crt`,
      key: `${dir}/key`,
      ca: null,
      clientCertificates: "none",
      userFrom: "off",
      minVersion: "1.2",
      maxVersion: "1.3",
      sni: [],
      handshakeMs: 10_000,
    };
    const secure = { ...plain, process: { ...plain.process, adminTls } };
    const statusBy = async (authority: string) => {
      using client = Deno.createHttpClient({ caCerts: [authority], poolMaxIdlePerHost: 0 });
      const response = await fetch(`https://localhost:${port}/api`, { client }).catch(() => null);
      await response?.body?.cancel();
      return response?.status ?? 0;
    };
    await stand.side.start(plain);
    strictEqual(await statusAt(port), 200);
    stand.side.adopt(secure);
    await poll(async () => await statusBy(ca.cert) === 200, "TLS");
    strictEqual(await statusAt(port), 0);
    strictEqual(await statusBy(other.cert), 0);
    show(two);
    stand.side.adopt({ ...secure });
    await poll(async () => await statusBy(other.cert) === 200, "the other certificate");
    Deno.writeTextFileSync(`${dir}/key`, one.key);
    stand.side.adopt({ ...secure });
    await poll(
      () => stand.logged.some((line) => line.includes("the key of another certificate")),
      "the refusal",
    );
    strictEqual(await statusBy(other.cert), 200);
    stand.side.adopt(plain);
    await poll(async () => await statusAt(port) === 200, "plain HTTP");
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("AdminSide: of moves that follow one another at once the last one counts", async () => {
  using stand = new Stand();
  const ports = [freePort(), freePort(), freePort()];
  const [a, b, c] = ports.map((port) => configOf(`127.0.0.1:${port}`)) as [Config, Config, Config];
  await stand.side.start(a);
  const places = () => stand.logged.filter((line) => line.startsWith("admin on")).length;
  for (const config of [b, c, b, a, b]) stand.side.adopt(config);
  await poll(() => places() === 6, "the last move");
  deepStrictEqual(await Promise.all(ports.map(statusAt)), [0, 200, 0]);
  stand.side.adopt(c);
  stand.side.adopt(configOf("off"));
  await poll(() => places() === 7, "one more move");
  await poll(async () => (await Promise.all(ports.map(statusAt))).join() === "0,0,0", "nobody listens");
});

Deno.test("AdminSide: what moves when it is stopped does not come back", async () => {
  const [before, after] = [freePort(), freePort()];
  {
    using stand = new Stand();
    await stand.side.start(configOf(`127.0.0.1:${before}`));
    stand.side.adopt(configOf(`127.0.0.1:${after}`));
    await Promise.resolve();
    stand.side.stop();
    match(stand.logged.join(), /^admin on http:\/\/127\.0\.0\.1:[0-9]+$/);
  }
  // A listener of our own finds both places free.
  for (const port of [before, after]) {
    await poll(() => {
      try {
        Deno.listen({ hostname: "127.0.0.1", port }).close();
        return true;
      } catch {
        return false;
      }
    }, "a free place");
  }
});
