/**
 * What a start takes, from exec until the first reply of a server has come through, and what is resident then in calm:
 *
 *   deno task bench:start [--rounds=9] [--calm=0] [--workers=1] [--executable=PATH] [--base=PATH]
 *
 * `base` is another Ringmaster, by turns with the first. Time is as long as the machine is busy; CPU time less so; page faults hardly at
 * all: 4,000 with one worker, of which 700 are the runtime's own (Bun 1.4.5, x86-64). `calm` is for how many seconds each round waits until
 * resident memory is looked at; the executable lets go of what the start has needed after 1 s, or 5 (docs/decisions/26).
 */
import { parseArgs } from "node:util";
import { delay } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { compiled } from "../lib/repo.ts";
import { poolYml } from "../lib/servers.ts";
import { CpuWatch, residentBytes } from "./proc.ts";
import { spread } from "./stats.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "9" },
    calm: { type: "string", default: "0" },
    workers: { type: "string", default: "1" },
    executable: { type: "string" },
    base: { type: "string" },
  },
});

const REPLY = "$5\r\nhello\r\n";
/** A start that takes longer has failed. */
const START_MAX_MS = 30_000;

interface Figures {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly faults: number;
  /** In bytes; 0 = not looked at. */
  readonly calmBytes: number;
}

/** Page faults that needed no read. Source: proc(5), field 10 of stat. */
function minorFaults(pid: number): number {
  return Number(Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /s, "").split(" ")[7]);
}

async function firstReply(port: number, untilMs: number): Promise<void> {
  for (;;) {
    let connection: Deno.TcpConn;
    try {
      connection = await Deno.connect({ hostname: "127.0.0.1", port });
    } catch (error) {
      if (performance.now() > untilMs) throw error;
      await delay(0);
      continue;
    }
    await connection.write(new TextEncoder().encode("GET key\r\n"));
    const bytes = new Uint8Array(REPLY.length + 1);
    let size = 0;
    while (size < REPLY.length) {
      const count = await connection.read(bytes.subarray(size));
      if (count === null) break;
      size += count;
    }
    connection.close();
    const reply = new TextDecoder().decode(bytes.subarray(0, size));
    if (reply !== REPLY) throw new Error(`the first reply is ${JSON.stringify(reply)}`);
    return;
  }
}

async function start(executable: string, folder: string, serverPort: number): Promise<Figures> {
  const port = freePort();
  const file = `${folder}/${port}.yml`;
  const servers = [`127.0.0.1:${serverPort}:1`];
  Deno.writeTextFileSync(file, poolYml({ pool: { listen: `127.0.0.1:${port}`, servers } }));
  const startedMs = performance.now();
  const child = new Deno.Command(executable, {
    args: ["-c", file, `--stats-port=${freePort()}`, `--workers=${values.workers}`],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    const cpu = new CpuWatch(child.pid);
    await firstReply(port, startedMs + START_MAX_MS);
    const wallMs = performance.now() - startedMs;
    const [cpuMs, faults] = [cpu.elapsedUs() / 1000, minorFaults(child.pid)];
    const calmMs = Number(values.calm) * 1000;
    if (calmMs > 0) await delay(calmMs);
    return { wallMs, cpuMs, faults, calmBytes: calmMs > 0 ? residentBytes(child.pid) : 0 };
  } finally {
    child.kill("SIGKILL");
    await child.status;
  }
}

/** A server that says the same to everything. */
const server = Deno.listen({ hostname: "127.0.0.1", port: freePort() });
async function serve(): Promise<void> {
  for await (const connection of server) {
    void (async () => {
      const bytes = new Uint8Array(4096);
      while (await connection.read(bytes) !== null) await connection.write(new TextEncoder().encode(REPLY));
      connection.close();
    })().catch(() => {});
  }
}
void serve().catch(() => {});

const folder = await Deno.makeTempDir();
try {
  const subjects = [values.executable ?? await compiled(), ...values.base === undefined ? [] : [values.base]];
  const rounds: Figures[][] = subjects.map(() => []);
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [i, subject] of subjects.entries()) {
      rounds[i].push(await start(subject, folder, server.addr.port));
    }
  }
  const columns: [string, (figures: Figures) => number][] = [
    ["first reply ms", ({ wallMs }) => wallMs],
    ["CPU ms", ({ cpuMs }) => cpuMs],
    ["page faults", ({ faults }) => faults],
    ["calm MB", ({ calmBytes }) => calmBytes / 1e6],
  ];
  for (const [i, subject] of subjects.entries()) {
    console.log(`${subject}: least, median and most of ${rounds[i].length}`);
    for (const [name, of] of columns) {
      const { min, median, max } = spread(rounds[i].map(of));
      if (max > 0) {
        console.log(
          `  ${name.padEnd(15)}${[min, median, max].map((each) => each.toFixed(1).padStart(9)).join("")}`,
        );
      }
    }
  }
} finally {
  server.close();
  Deno.removeSync(folder, { recursive: true });
}
