/**
 * `deno task test`: installs what is missing, compiles dist/ringmaster, runs every suite, and ends with one line:
 *
 *   N passed, N failed
 *
 * A suite is a folder of tests/; `deno task test unit real` runs only those, `deno task test tests/real/http_test.ts` only
 * that file. Tests count, steps do not; each of the source checks (format, lint, types) counts as one test, and so does a
 * suite that crashes, hangs or leaves processes behind. The exit code is 0 only if something ran and nothing failed. With
 * RINGMASTER_NO_SKIPS=1 a skipped test fails; RINGMASTER_TEST_JOBS is how many files run at a time, where they may.
 */
import { poll } from "./lib/poll.ts";
import { BUN, compiled, DENO, exists, filesUnder, PYTHON, ROOT, which } from "./lib/repo.ts";

const SUITES = ["unit", "property", "repo", "sim", "runtime", "conformance", "real", "browser", "clients"];
/** No suite may take longer; it is killed and counts as failed. Generous: it is there for what hangs, not for a busy machine. */
const SUITE_TIMEOUT_MS = 40 * 60_000;
/** Where all files run one after the other by wish. */
const SERIAL_TIMEOUT_MS = 3 * SUITE_TIMEOUT_MS;
/** Files of these suites run side by side, so many at a time: they need one core each, or mostly wait for servers. */
const SIDE_BY_SIDE: Readonly<Record<string, number>> = { unit: 2, property: 2, sim: 2, real: 3, clients: 3 };
/** They start before the others, which then fit beside them. */
const LONG = /\/(wide|wide_more|clients|ioredis)_test\.ts$/;
/** But not these, which measure the process or load the machine: they run alone, one after the other. */
const ALONE = /\/(bench_smoke|faults|hostile|memory|syscalls|upgrade)_test\.ts$/;

/** What the tests spawn, and the Debian package it comes from. */
const NEEDED: { package: string; present: () => boolean }[] = [
  { package: "redis-server", present: () => which("redis-server") !== null },
  { package: "redis-sentinel", present: () => which("redis-sentinel") !== null },
  { package: "redis-tools", present: () => which("redis-benchmark") !== null },
  { package: "memcached", present: () => which("memcached") !== null },
  { package: "nutcracker", present: () => which("nutcracker") !== null },
  { package: "haproxy", present: () => which("haproxy") !== null },
  { package: "strace", present: () => which("strace") !== null },
  { package: "libmemcached-tools", present: () => which("memcaslap") !== null },
  { package: "gcc", present: () => which("x86_64-linux-gnu-gcc") !== null },
  { package: "libc6-dev", present: () => exists("/usr/include/elf.h") },
  { package: "chromium", present: () => which("chromium") !== null },
  // What a page is written with, for its pictures.
  { package: "fonts-dejavu-core", present: () => exists("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf") },
  { package: "openssl", present: () => which("openssl") !== null },
  { package: "prometheus", present: () => which("prometheus") !== null && which("promtool") !== null },
  { package: "python3-prometheus-client", present: () => python("prometheus_client") },
  { package: "python3-redis", present: () => python("redis") },
  { package: "python3-pymemcache", present: () => python("pymemcache") },
  { package: "python3-pylibmc", present: () => python("pylibmc") },
  { package: "python3-memcache", present: () => python("memcache") },
  { package: "python3-celery", present: () => python("celery") },
  { package: "python3-django-redis", present: () => python("django_redis") },
  { package: "php-cli", present: () => which("php") !== null },
  { package: "php-redis", present: () => says("php", "-r", "exit(extension_loaded('redis') ? 0 : 1);") },
  { package: "ruby-sidekiq", present: () => says("ruby", "-e", "require 'sidekiq'") },
];

interface Tally {
  passed: number;
  failed: number;
  ignored: number;
}

const NO_SKIPS = Deno.env.get("RINGMASTER_NO_SKIPS") === "1";
/** Process group of the suite that runs now. */
let group = 0;

const total: Tally = { passed: 0, failed: 0, ignored: 0 };
const table: string[] = [];
await main();

async function main(): Promise<void> {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      killGroup();
      Deno.exit(130);
    });
  }
  const unknown = Deno.args.filter((name) =>
    !SUITES.includes(name) && name !== "checks" && !(isFile(name) && exists(`${ROOT}/${name}`))
  );
  if (unknown.length > 0) {
    console.error(`unknown suite ${unknown.join(", ")}; there are: checks, ${SUITES.join(", ")}`);
    finish();
  }
  const wanted = (name: string) => Deno.args.length === 0 || Deno.args.includes(name);

  install();
  if (!exists(BUN)) execute(DENO, ["install"]);
  try {
    console.log(`compiled ${await compiled()}`);
  } catch (error) {
    console.error((error as Error).message);
    note("compile", { passed: 0, failed: 1, ignored: 0 }, 0);
    finish();
  }

  if (wanted("checks")) await checks();
  for (const name of SUITES) {
    let files = filesUnder(`tests/${name}`, isFile);
    if (!wanted(name)) files = files.filter((path) => Deno.args.includes(path));
    if (files.length === 0) continue;
    const jobs = Number(Deno.env.get("RINGMASTER_TEST_JOBS") ?? SIDE_BY_SIDE[name] ?? 1);
    if (jobs === 1) await suite(name, files);
    else {
      const together = files.filter((path) => !ALONE.test(path));
      const long = (path: string) => LONG.test(path);
      await suite(name, [...together.filter(long), ...together.filter((path) => !long(path))], jobs);
      await suite(name, files.filter((path) => ALONE.test(path)));
    }
  }
  finish();
}

function isFile(path: string): boolean {
  return path.endsWith("_test.ts");
}

/** Installs missing packages if that is possible without asking anybody; otherwise says what to type, and ends. */
function install(): void {
  const missing = NEEDED.filter((need) => !need.present()).map((need) => need.package);
  if (missing.length === 0) return;
  const line = `apt-get install -y --no-install-recommends ${missing.join(" ")}`;
  if (Deno.uid() !== 0 || which("apt-get") === null) {
    console.error(`The tests need programs that are not installed. Type:\n\n  sudo ${line}\n`);
    note("install", { passed: 0, failed: 1, ignored: 0 }, 0);
    finish();
  }
  // Debian starts a server when it is installed; policy-rc.d is how to tell it not to.
  const policy = "/usr/sbin/policy-rc.d";
  const ours = !exists(policy);
  try {
    if (ours) Deno.writeTextFileSync(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
    const env = { DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
    if (execute("apt-get", line.split(" ").slice(1), env) !== 0) {
      // The list of packages is old or empty, as in a fresh container.
      execute("apt-get", ["update"], env);
      execute("apt-get", line.split(" ").slice(1), env);
    }
  } finally {
    if (ours) Deno.removeSync(policy);
  }
  const still = NEEDED.filter((need) => !need.present()).map((need) => need.package);
  if (still.length > 0) {
    console.error(`Could not install ${still.join(", ")}. Type:\n\n  ${line}\n`);
    note("install", { passed: 0, failed: 1, ignored: 0 }, 0);
    finish();
  }
}

/** All at once: the types take longest, the others fit beside them. */
async function checks(): Promise<void> {
  const startMs = performance.now();
  const tally: Tally = { passed: 0, failed: 0, ignored: 0 };
  const started = [["fmt", "--check"], ["lint"], ["check", "main.ts", "src", "tests", "conf"]].map((
    args,
  ) => ({
    args,
    ended: new Deno.Command(DENO, {
      args,
      cwd: ROOT,
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).output(),
  }));
  for (const { args, ended } of started) {
    const { code, stdout, stderr } = await ended;
    for (const text of [stdout, stderr]) console.log(new TextDecoder().decode(text).trimEnd());
    console.log(`deno ${args.join(" ")} ... ${code !== 0 ? "FAILED" : "ok"}`);
    tally[code !== 0 ? "failed" : "passed"]++;
  }
  note("checks", tally, performance.now() - startMs);
}

/** Runs files of one folder, `jobs` at a time, and adds what they say to the total. */
async function suite(name: string, files: string[], jobs = 1): Promise<void> {
  const timeoutMs = Deno.env.get("RINGMASTER_TEST_JOBS") === "1" ? SERIAL_TIMEOUT_MS : SUITE_TIMEOUT_MS;
  if (files.length === 0) return; // without a file, deno test would run every test there is
  const startMs = performance.now();
  // A session of its own: whatever a suite leaves running is in its group, and is found and killed.
  const child = new Deno.Command("setsid", {
    args: [DENO, "test", "-A", "--no-check", ...(jobs > 1 ? ["--parallel"] : []), ...files],
    cwd: ROOT,
    env: { NO_COLOR: "1", DENO_JOBS: String(jobs) },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  group = child.pid;
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    killGroup();
  }, timeoutMs);
  let tail = "";
  const decoder = new TextDecoder();
  for await (const chunk of child.stdout) {
    Deno.stdout.writeSync(chunk);
    tail = (tail + decoder.decode(chunk, { stream: true })).slice(-4096);
  }
  const { code } = await child.status;
  clearTimeout(timer);

  const tally = summary(tail) ?? { passed: 0, failed: 1, ignored: 0 };
  const say = (text: string) => {
    console.log(`tests/${name}: ${text}`);
    tally.failed++;
  };
  if (late) say(`did not end in ${timeoutMs / 60_000} minutes`);
  else if (code !== 0 && tally.failed === 0) say(`deno test ended with ${code}`);
  const left = await leftovers();
  if (left.length > 0) say(`left processes running: ${left.join("; ")}`);
  killGroup();
  group = 0;
  if (NO_SKIPS && tally.ignored > 0) {
    console.log(`tests/${name}: ${tally.ignored} skipped, and RINGMASTER_NO_SKIPS=1`);
    tally.failed += tally.ignored;
  }
  note(name, tally, performance.now() - startMs);
}

/** The numbers in deno test's last line: `ok | 18 passed (3 steps) | 0 failed | 2 ignored (1s)`. */
function summary(text: string): Tally | null {
  const lines = text.split("\n").filter((line) => /^(ok|FAILED) \| /.test(line));
  if (lines.length === 0) return null;
  const number = (word: string) => Number(new RegExp(`(\\d+) ${word}`).exec(lines.at(-1)!)?.[1] ?? 0);
  return { passed: number("passed"), failed: number("failed"), ignored: number("ignored") };
}

/** Command lines of what still runs in the suite's process group, after a moment's grace. */
async function leftovers(): Promise<string[]> {
  const find = () => {
    const found: string[] = [];
    for (const entry of Deno.readDirSync("/proc")) {
      if (!/^\d+$/.test(entry.name)) continue;
      try {
        // pid (name) state ppid pgrp …; the name may hold spaces and brackets
        const fields = Deno.readTextFileSync(`/proc/${entry.name}/stat`).replace(/^.*\) /s, "").split(" ");
        if (Number(fields[2]) !== group || fields[0] === "Z") continue;
        found.push(Deno.readTextFileSync(`/proc/${entry.name}/cmdline`).replaceAll("\0", " ").trim());
      } catch {
        // ended meanwhile
      }
    }
    return found;
  };
  try {
    await poll(() => find().length === 0, "the suite's processes to end", 3000);
    return [];
  } catch {
    return find();
  }
}

function killGroup(): void {
  if (group === 0) return;
  new Deno.Command("kill", { args: ["-KILL", "--", `-${group}`], stdout: "null", stderr: "null" })
    .outputSync();
}

function note(name: string, tally: Tally, tookMs: number): void {
  total.passed += tally.passed;
  total.failed += tally.failed;
  total.ignored += tally.ignored;
  const skipped = tally.ignored > 0 ? `, ${tally.ignored} SKIPPED` : "";
  table.push(
    `${name.padEnd(12)} ${tally.passed} passed, ${tally.failed} failed${skipped} (${
      (tookMs / 1000).toFixed(1)
    } s)`,
  );
}

function finish(): never {
  console.log(`\n${table.join("\n")}\n`);
  if (total.ignored > 0) console.log(`${total.ignored} SKIPPED: look for "ignored" above`);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  Deno.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
}

/** Runs a program with our output; its exit code. */
function execute(program: string, args: string[], env: Record<string, string> = {}): number {
  return new Deno.Command(program, {
    args,
    cwd: ROOT,
    env,
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  })
    .outputSync().code;
}

function python(module: string): boolean {
  return exists(PYTHON) && says(PYTHON, "-c", `import ${module}`);
}

/** Is the program there, and does it end well? */
function says(program: string, ...args: string[]): boolean {
  if (which(program) === null && !exists(program)) return false;
  return new Deno.Command(program, { args, stdout: "null", stderr: "null" }).outputSync().success;
}
