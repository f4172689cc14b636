/**
 * `deno task soak:half_open`: connections that begin a handshake and go no further, very many a second, and what others notice.
 *
 *   --rate=N      a second, default 1000
 *   --seconds=N   of each kind of flood, default 6
 *   --workers=N   default 2
 *   --key=K       ec (P-256, default) or rsa (2,048 bits)
 *   --executable=FILE  default: the one of this tree
 *   --only=WORDS  floods with these words in their name
 *
 * Each flood comes from one address or from an address for each connection (127.0.0.0/8 is all this machine), says nothing, a whole ClientHello
 * of TLS 1.3, or one of TLS 1.2, and then keeps still. Meanwhile a client that stays asks every 5 ms, and others come one after the other, shake
 * hands, ask once and go: how many are served, how long each took, how many were closed or got nothing in 10 s. Some come each from an address
 * of its own (strangers), others from one that has shaken hands with all workers before.
 */
import { execFileSync } from "node:child_process";
import { connect as connectPlain, type Socket } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { parseArgs } from "node:util";
import { certificate, type Issued } from "../lib/certificates.ts";
import { firstBytes } from "../lib/first_bytes.ts";
import { Fixture } from "../lib/fixture.ts";
import { delay } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { Process } from "../lib/process.ts";
import { compiled } from "../lib/repo.ts";
import { poolYml } from "../lib/servers.ts";

const GIVEN_UP_MS = 10_000;
/** Between two questions of who stays: enough of them for a p99. */
const STAYS_MS = 5;
const KNOWN = "127.100.0.1";

const { values } = parseArgs({
  args: Deno.args,
  options: {
    rate: { type: "string", default: "1000" },
    seconds: { type: "string", default: "6" },
    workers: { type: "string", default: "2" },
    key: { type: "string", default: "ec" },
    executable: { type: "string" },
    only: { type: "string", default: "" },
    // What the flood's own process is called with.
    flood: { type: "string" },
    port: { type: "string" },
    hello: { type: "string" },
  },
});

/** @param serial different ones are different addresses */
function addressOf(serial: number): string {
  return `127.${1 + (serial >> 16) % 250}.${serial >> 8 & 255}.${1 + serial % 250}`;
}

function flood(): void {
  const [rate, port] = [Number(values.rate), Number(values.port)];
  const hello = Uint8Array.from(atob(values.hello!), (letter) => letter.charCodeAt(0));
  const beganMs = performance.now();
  let made = 0;
  const open = new Set<Socket>();
  setInterval(() => {
    const due = (performance.now() - beganMs) * rate / 1000;
    for (; made < due; made++) {
      const localAddress = values.flood === "one" ? "127.200.0.1" : addressOf(made);
      const socket = connectPlain({ host: "127.0.0.1", port, localAddress });
      open.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => open.delete(socket));
      if (hello.length > 0) socket.write(hello);
    }
  }, 2);
  setInterval(() => console.log(`${made} made, ${open.size} open`), 1000);
}

/** The first words of a client of TLS, in base64. */
async function hello(version: "TLSv1.2" | "TLSv1.3"): Promise<string> {
  const bytes = await firstBytes((port) => {
    // Of OpenSSL, as most clients': that of Deno has a share that few servers take.
    const client = new Deno.Command("openssl", {
      args: ["s_client", "-connect", `127.0.0.1:${port}`, version === "TLSv1.2" ? "-tls1_2" : "-tls1_3"],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    });
    void client.output();
  });
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

interface Seen {
  readonly times: number[];
  closed: number;
  waited: number;
}

/** One client: connects, asks, goes. */
function visit(port: number, ca: string, localAddress: string, seen: Seen): Promise<void> {
  return new Promise((resolve) => {
    const beganMs = performance.now();
    let over = false;
    const end = (how: () => void) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      how();
      socket.destroy();
      resolve();
    };
    const timer = setTimeout(() => end(() => seen.waited++), GIVEN_UP_MS);
    const socket = connect(
      { host: "127.0.0.1", port, localAddress, ca, checkServerIdentity: () => undefined } as
        & Parameters<typeof connect>[0]
        & object,
    );
    socket.on("error", () => end(() => seen.closed++));
    socket.on("close", () => end(() => seen.closed++));
    socket.on("secureConnect", () => socket.write("PING\r\n"));
    socket.on("data", () => end(() => seen.times.push(performance.now() - beganMs)));
  });
}

function told(times: number[]): string {
  if (times.length === 0) return "-";
  times.sort((a, b) => a - b);
  const at = (share: number) =>
    (times[Math.min(times.length - 1, Math.floor(times.length * share))]! / 1000).toFixed(3);
  return `median ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)}, worst ${at(1)} s`;
}

async function stays(port: number, ca: string, times: number[], until: () => boolean): Promise<string> {
  const socket: TLSSocket = connect({ host: "127.0.0.1", port, ca, checkServerIdentity: () => undefined });
  let failure = "";
  let answered: (() => void) | null = null;
  socket.on("error", (error) => failure ||= error.message);
  socket.on("close", () => {
    failure ||= "closed";
    answered?.();
  });
  socket.on("data", () => answered?.());
  await new Promise<void>((resolve) => socket.on("secureConnect", () => resolve()));
  while (!until() && failure === "") {
    const beganMs = performance.now();
    await new Promise<void>((resolve) => {
      answered = resolve;
      socket.write("PING\r\n");
    });
    times.push(performance.now() - beganMs);
    await delay(STAYS_MS);
  }
  const said = failure;
  socket.destroy();
  return said;
}

function rsa({ cert, key }: Issued): Issued {
  if (values.key !== "rsa") return { cert, key };
  const dir = Deno.makeTempDirSync();
  try {
    execFileSync(
      "openssl",
      ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
        .concat("-keyout", "k.pem", "-out", "c.pem"),
      { cwd: dir, stdio: "ignore" },
    );
    return { cert: Deno.readTextFileSync(`${dir}/c.pem`), key: Deno.readTextFileSync(`${dir}/k.pem`) };
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

function cpuSeconds(pid: number): number {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /, "").split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function measure(): Promise<void> {
  const own = rsa(certificate({ name: "localhost" }));
  const kinds: readonly [string, string, string][] = [
    ["none", "", ""],
    ["one", "silent, one address", ""],
    ["many", "silent, many addresses", ""],
    ["one", "whole hellos, one address", await hello("TLSv1.3")],
    ["many", "whole hellos, many addresses", await hello("TLSv1.3")],
    ["many", "hellos of TLS 1.2, many addresses", await hello("TLSv1.2")],
  ];
  const executable = values.executable ?? await compiled();
  const seconds = Number(values.seconds);
  for (const [kind, name, words] of kinds) {
    if (!name.includes(values.only)) continue;
    await using f = new Fixture();
    Deno.writeTextFileSync(`${f.dir}/own.crt`, own.cert);
    Deno.writeTextFileSync(`${f.dir}/own.key`, own.key);
    const port = freePort();
    const pool = {
      listen: `127.0.0.1:${port}`,
      servers: [await f.redis()],
      tls: `{ certificate: ${f.dir}/own.crt, key: ${f.dir}/own.key }`,
    };
    Deno.writeTextFileSync(`${f.dir}/p.yml`, poolYml({ alpha: pool }));
    const args = [
      "-c",
      `${f.dir}/p.yml`,
      `--workers=${values.workers}`,
      "-s",
      String(freePort()),
      "-p",
      `${f.dir}/pid`,
    ];
    const proxy = f.add(new Process(executable, args, { output: `${f.dir}/proxy.log` }));
    const early: Seen = { times: [], closed: 0, waited: 0 };
    // So many that each worker has seen it.
    while (early.times.length < 20) await visit(port, own.cert, KNOWN, early);
    const script = new URL(import.meta.url).pathname;
    if (kind !== "none") {
      const options = [`--flood=${kind}`, `--port=${port}`, `--rate=${values.rate}`, `--hello=${words}`];
      f.add(
        new Process(Deno.execPath(), ["run", "-A", "--no-check", script, ...options], {
          output: `${f.dir}/flood`,
        }),
      );
      // It has begun to push out its own.
      await delay(2500);
    }
    let over = false;
    const staying: number[] = [];
    const asked = stays(port, own.cert, staying, () => over);
    const strangers: Seen = { times: [], closed: 0, waited: 0 };
    const known: Seen = { times: [], closed: 0, waited: 0 };
    const beforeS = cpuSeconds(proxy.pid);
    const beganMs = performance.now();
    const come = async (addressOf: (i: number) => string, seen: Seen) => {
      for (let i = 0; performance.now() - beganMs < seconds * 1000; i++) {
        await visit(port, own.cert, addressOf(i), seen);
        await delay(50);
      }
    };
    await Promise.all([come((i) => `127.100.1.${1 + i % 250}`, strangers), come(() => KNOWN, known)]);
    const tookS = (performance.now() - beganMs) / 1000;
    const cpu = (cpuSeconds(proxy.pid) - beforeS) / tookS;
    over = true;
    const failure = await asked;
    console.log(name || "no flood");
    for (const [who, { times, closed, waited }] of [["strangers", strangers], ["known", known]] as const) {
      console.log(
        `  ${who}: ${times.length} served (${told(times)}), ${closed} closed, ${waited} waited in vain`,
      );
    }
    console.log(
      `  who stays: ${staying.length} answers (${told(staying)})${failure && `, then ${failure}`}; CPU ${
        cpu.toFixed(2)
      }`,
    );
    if (kind !== "none") {
      console.log(`  the flood: ${Deno.readTextFileSync(`${f.dir}/flood`).trim().split("\n").at(-1)}`);
    }
  }
}

if (values.flood === undefined) await measure();
else flood();
