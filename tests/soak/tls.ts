/**
 * `deno task soak:tls --connects=100000`: clients that come by TLS, ask once and go, and whether all of it is given back.
 *
 *   --connects=N  default 100,000
 *   --clients=N   at a time, default 8
 *   --runtime=R   bun or compiled (default)
 *
 * Clients end in turn with close_notify, with a reset, before the handshake is over, and before it has begun. After each tenth there is a pause,
 * in which the proxy, being idle, collects its garbage: resident memory is told before and after it, so that a leak can be told from a
 * collector that is late. Nothing is lost if descriptors are as many as after the first tenth, and the median at rest of the last three tenths is
 * no more than 5 % and 4 MB above that of the three before the middle.
 */
import { connect as connectPlain } from "node:net";
import { connect } from "node:tls";
import { parseArgs } from "node:util";
import { certificate } from "../lib/certificates.ts";
import { Fixture } from "../lib/fixture.ts";
import { delay } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { poolYml, type Runtime } from "../lib/servers.ts";
import { residentBytes } from "./memory.ts";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    connects: { type: "string", default: "100000" },
    clients: { type: "string", default: "8" },
    runtime: { type: "string", default: "compiled" },
  },
});

const PARTS = 10;
/** Longer than the proxy takes to notice that it is idle. */
const REST_MS = 10_000;
const own = certificate({ name: "localhost" });
let answered = 0;
let failed = 0;

/** Resolves when it is over. */
function visit(port: number, way: number): Promise<void> {
  return new Promise((resolve) => {
    if (way === 3) {
      const socket = connectPlain({ host: "127.0.0.1", port }, () => socket.end("\x16\x03\x01"));
      socket.on("error", () => {});
      socket.on("data", () => {});
      socket.on("close", () => resolve());
      return;
    }
    const socket = connect({ host: "127.0.0.1", port, ca: own.cert });
    socket.on("error", () => way === 2 || failed++);
    socket.on("close", () => resolve());
    socket.on("secureConnect", () => socket.write("PING\r\n"));
    socket.on("data", () => {
      answered++;
      if (way === 0) socket.end();
      else socket.destroy();
    });
    // Its ClientHello is on its way.
    if (way === 2) setTimeout(() => socket.destroy(), 1);
  });
}

async function part(port: number, connects: number): Promise<void> {
  let next = 0;
  const clients = Array.from({ length: Number(values.clients) }, async () => {
    while (next < connects) await visit(port, next++ % 4);
  });
  await Promise.all(clients);
}

function descriptors(pid: number): number {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
}

async function soak(): Promise<boolean> {
  await using f = new Fixture();
  const { dir } = f;
  Deno.writeTextFileSync(`${dir}/own.crt`, own.cert);
  Deno.writeTextFileSync(`${dir}/own.key`, own.key);
  const port = freePort();
  const pool = {
    listen: `127.0.0.1:${port}`,
    servers: [await f.redis()],
    tls: `{ certificate: ${dir}/own.crt, key: ${dir}/own.key }`,
  };
  const proxy = await f.proxy(values.runtime as Runtime, poolYml({ alpha: pool }));
  const connects = Math.ceil(Number(values.connects) / PARTS);
  const files: number[] = [];
  const resting: number[] = [];
  const say = (what: string) =>
    console.log(
      `${what}: ${(residentBytes(proxy.pid) / 1e6).toFixed(1)} MB, ${descriptors(proxy.pid)} descriptors`,
    );
  say("at first");
  for (let i = 1; i <= PARTS; i++) {
    const beganMs = performance.now();
    await part(port, connects);
    const seconds = (performance.now() - beganMs) / 1000;
    say(`after ${i * connects}, ${Math.round(connects / seconds)} a second`);
    await delay(REST_MS);
    say(`  at rest`);
    files.push(descriptors(proxy.pid));
    resting.push(residentBytes(proxy.pid) / 1e6);
  }
  const before = median(resting.slice(PARTS / 2 - 3, PARTS / 2));
  const after = median(resting.slice(-3));
  const flat = after <= before * 1.05 && after <= before + 4;
  const same = files.at(-1)! <= files[0]!;
  console.log(
    `${answered} answered, ${failed} failed; at rest ${before.toFixed(1)} MB before the middle, ${
      after.toFixed(1)
    } MB in the end`,
  );
  const ok = flat && same && failed === 0 && answered > 0;
  console.log(
    ok
      ? "ok: all is given back"
      : `FAILED:${flat ? "" : " memory grows"}${same ? "" : " descriptors are left"}${
        failed ? " errors" : ""
      }`,
  );
  return ok;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

Deno.exit(await soak() ? 0 : 1);
