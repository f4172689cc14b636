/**
 * One measurement: a load through one subject, its figures, and the proof that the answers were right.
 *
 * How answers are checked: before and after, known values are written and read back through the subject, one by one and
 * by the multi-key commands; and the servers' own counters must have grown by what was asked (every GET and every key of
 * an MGET a hit, no misses, every SET, INCR and LPUSH counted). load.c compares every reply besides.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { RawClient } from "../lib/client.ts";
import { pollProcess } from "../lib/poll.ts";
import { Process } from "../lib/process.ts";
import { need } from "../lib/repo.ts";
import { type Case } from "./cases.ts";
import { load } from "./load.ts";
import { CpuWatch, openFiles, residentBytes } from "./proc.ts";
import { type Load, redisBenchmark } from "./redis_benchmark.ts";
import { countsOf, type ServerCounts, type Subject } from "./stand.ts";

export interface Figures extends Load {
  /** Microseconds of user and system time per request. */
  cpuUs: number;
  /** Resident memory at the end of the load, in bytes. */
  residentBytes: number;
}

export interface Plan {
  requests: number;
  /** Requests per second, or 0 for as many as possible. */
  rate: number;
  idleClients: number;
  /** Path of the compiled load.c; null where there is no compiler (then no case needs it). */
  loadProgram: string | null;
  dir: string;
}

/** How many keys hold values of this size: enough to spread, few enough to fit in memory. */
export function keyspace(size: number): number {
  return size <= 1024 ? 10_000 : size <= 16384 ? 1000 : 16;
}

/** The value of key i, as load.c has it: the key's number repeated up to `size`. */
export function valueOf(i: number, size: number): string {
  return String(i).padStart(12, "0").repeat(Math.ceil(size / 12)).slice(0, size);
}

const keyOf = (i: number): string => `load:${String(i).padStart(12, "0")}`;

/** Writes all keys through the subject. */
export async function fill(subject: Subject, size: number): Promise<void> {
  await using client = await RawClient.connect({ port: subject.port });
  const batch = Math.max(1, Math.min(500, Math.floor(1_000_000 / size)));
  for (let at = 0; at < keyspace(size); at += batch) {
    const keys = Array.from({ length: Math.min(batch, keyspace(size) - at) }, (_, i) => at + i);
    if (isMemcached(subject)) {
      await client.send(keys.map((i) => `set ${keyOf(i)} 0 0 ${size}\r\n${valueOf(i, size)}\r\n`).join(""));
      for (const _ of keys) strictEqual(await client.readLine(), "STORED");
    } else {
      const replies = await client.pipeline(...keys.map((i) => ["SET", keyOf(i), valueOf(i, size)]));
      for (const reply of replies) strictEqual(reply, "OK");
    }
  }
}

const isMemcached = (subject: Subject): boolean => subject.servers[0].kind === "memcached";

let round = 0;

/** Writes and reads known values through the subject; throws at the first wrong answer. */
export async function verify(subject: Subject, size: number): Promise<void> {
  await using client = await RawClient.connect({ port: subject.port });
  await verifyBy(client, subject, size);
  // When it has closed its end too, this connection is in no count of its files any more (openIdle).
  await client.closeWrite();
  await client.readToEnd();
}

async function verifyBy(client: RawClient, subject: Subject, size: number): Promise<void> {
  const tag = `${subject.name}:${++round}`;
  const names = Array.from({ length: size > 100_000 ? 3 : 10 }, (_, i) => `check:${tag}:${i}`);
  const values = names.map((name) =>
    name.repeat(Math.ceil(size / name.length)).slice(0, Math.max(size, name.length))
  );
  // Filled once and read by the load: must be as written.
  const known = Array.from({ length: size > 100_000 ? 2 : 8 }, (_, i) => (i * 7919) % keyspace(size));

  if (isMemcached(subject)) {
    const item = (key: string, value: string) => `VALUE ${key} 0 ${value.length}\r\n${value}\r\n`;
    for (let i = 0; i < names.length; i++) {
      await client.send(`set ${names[i]} 0 0 ${values[i].length}\r\n${values[i]}\r\n`);
      strictEqual(await client.readLine(), "STORED");
      await client.send(`get ${names[i]}\r\n`);
      strictEqual(await client.readUntil("END\r\n"), item(names[i], values[i]) + "END\r\n");
    }
    for (const i of known) {
      await client.send(`get ${keyOf(i)}\r\n`);
      strictEqual(await client.readUntil("END\r\n"), item(keyOf(i), valueOf(i, size)) + "END\r\n");
    }
    for (const name of names) {
      await client.send(`delete ${name}\r\n`);
      strictEqual(await client.readLine(), "DELETED");
    }
    return;
  }
  deepStrictEqual(
    await client.pipeline(
      ...names.map((name, i) => ["SET", name, values[i]]),
      ...names.map((name) => ["GET", name]),
    ),
    [...names.map(() => "OK"), ...values],
  );
  deepStrictEqual(await client.command("MGET", ...names.toReversed()), values.toReversed());
  deepStrictEqual(
    await client.pipeline(...known.map((i) => ["GET", keyOf(i)])),
    known.map((i) => valueOf(i, size)),
  );
  strictEqual(await client.command("MSET", ...names.flatMap((name) => [name, `${name}!`])), "OK");
  deepStrictEqual(await client.command("MGET", ...names), names.map((name) => `${name}!`));
  strictEqual(await client.command("DEL", ...names), names.length);
}

/** Puts the case's load on the subject. */
export async function drive(test: Case, subject: Subject, plan: Plan): Promise<Load> {
  if (test.kind === "load") {
    return await load({
      program: plan.loadProgram!,
      port: subject.port,
      protocol: test.binary ? "binary" : isMemcached(subject) ? "memcached" : "redis",
      op: test.op === "set" ? "set" : "get",
      clients: test.clients,
      pipeline: test.pipeline,
      requests: plan.requests,
      keys: keyspace(test.size),
      size: test.size,
      rate: plan.rate,
    });
  }
  return await redisBenchmark({
    port: subject.port,
    requests: plan.requests,
    clients: test.clients,
    pipeline: test.pipeline,
    keyspace: keyspace(test.size),
    command: commandOf(test),
  });
}

function commandOf(test: Case): string[] {
  const value = "v".repeat(test.size);
  switch (test.op) {
    case "get":
      return ["GET", "load:__rand_int__"];
    case "set":
      return ["SET", `set${test.size}:__rand_int__`, value];
    case "incr":
      return ["INCR", "counter:__rand_int__"];
    case "lpush":
      return ["LPUSH", "list:__rand_int__", value];
    case "mget":
      return ["MGET", ...Array<string>(test.keys).fill("load:__rand_int__")];
    case "mset":
      return ["MSET", ...Array.from({ length: test.keys }, () => ["mset:__rand_int__", value]).flat()];
  }
}

/** Measures one case on one subject once. */
export async function measure(test: Case, subject: Subject, plan: Plan): Promise<Figures> {
  // The floor answers by itself, and always the same.
  const checked = subject.name !== "floor";
  if (checked) await verify(subject, test.size);
  const before = await countsOf(subject.servers);
  const idle = test.kind === "idle" ? await openIdle(subject, plan) : null;
  let figures: Figures;
  try {
    const watch = new CpuWatch(subject.pid);
    const seen = await drive(test, subject, plan);
    const cpuUs = watch.elapsedUs() / plan.requests;
    figures = { ...seen, cpuUs, residentBytes: residentBytes(subject.pid) };
  } finally {
    await idle?.stop("SIGKILL");
  }
  if (!checked) return figures;
  checkCounts(test, plan.requests, before, await countsOf(subject.servers));
  await verify(subject, test.size);
  return figures;
}

/** Opens connections that do nothing, and resolves when the subject has accepted all of them. */
async function openIdle(subject: Subject, plan: Plan): Promise<Process> {
  const args = ["-I", "-h", "127.0.0.1", "-p", String(subject.port), "-c", String(plan.idleClients)];
  const before = openFiles(subject.pid);
  const process = new Process(need("redis-benchmark"), args, {
    output: `${plan.dir}/idle.${subject.name}.${++round}.log`,
  });
  const accepted = () => openFiles(subject.pid) - before;
  await pollProcess(
    process,
    () => accepted() >= plan.idleClients,
    () => `${subject.name} to accept ${plan.idleClients} clients; it has ${accepted()}`,
    60_000,
  );
  return process;
}

function checkCounts(test: Case, requests: number, before: ServerCounts, after: ServerCounts): void {
  const calls = (name: string) => (after.calls[name] ?? 0) - (before.calls[name] ?? 0);
  const atLeast = (found: number, expected: number, what: string) =>
    ok(
      found >= expected,
      `wrong answers in ${test.name}: the servers counted ${found} ${what}, expected at least ${expected}`,
    );
  switch (test.op) {
    case "get":
    case "mget":
      atLeast(after.hits - before.hits, requests * test.keys, "hits");
      strictEqual(
        after.misses - before.misses,
        0,
        `wrong answers in ${test.name}: the servers counted misses`,
      );
      break;
    case "mset":
      atLeast(calls("mset") + calls("set"), requests, "MSET and SET");
      break;
    default:
      atLeast(calls(test.op), requests, test.op.toUpperCase());
  }
}
