/**
 * All operations of npm's memcached with its default settings, done as its users do them:
 *
 *   deno run -A --unsafe-proto memcached_npm.ts PORT        the library assigns to __proto__
 *
 * Prints a JSON list of [operation, result]. CAS numbers are used, but not shown: every server has its own.
 */
import Memcached from "memcached";
import { type Plain, plain } from "./plain.ts";

// deno-lint-ignore no-explicit-any
type Method = (...args: any[]) => void;

/** What each operation gave, in order. */
async function operations(port: number): Promise<[operation: string, result: Plain][]> {
  const results: [string, Plain][] = [];
  const server = `127.0.0.1:${port}`;
  const client = new Memcached(server);
  const call = (from: Memcached, method: string, ...args: unknown[]): Promise<unknown> =>
    new Promise((resolve) => {
      const run = (from as unknown as Record<string, Method>)[method]!;
      run.call(from, ...args, (error: unknown, value: unknown) => resolve(error ? { error } : value));
    });
  const note = async (name: string, method: string, ...args: unknown[]): Promise<void> => {
    results.push([name, plain(await call(client, method, ...args))]);
  };
  await note("set", "set", "a", 1, 0);
  await note("get", "get", "a");
  await note("get missing", "get", "missing");
  await note("set text", "set", "b", "two", 1000);
  await note("set object", "set", "object", { x: [1, null, "y"] }, 0);
  await note("get object", "get", "object");
  await note("set buffer", "set", "buffer", new Uint8Array(256).map((_, i) => i), 0);
  await note("set empty", "set", "empty", "", 0);
  await note("get empty", "get", "empty");
  await note("add there", "add", "b", "other", 0);
  await note("add new", "add", "new", "new", 0);
  await note("replace", "replace", "b", "replaced", 0);
  await note("replace missing", "replace", "missing", "x", 0);
  await note("append", "append", "b", ">");
  await note("prepend", "prepend", "b", "<");
  await note("append missing", "append", "missing", "x");
  await note("get b", "get", "b");
  await note("touch", "touch", "b", 1000);
  await note("touch missing", "touch", "missing", 1000);
  await note("incr", "incr", "a", 5);
  await note("decr", "decr", "a", 2);
  await note("incr missing", "incr", "missing", 1);
  await note("incr text", "incr", "b", 1);
  const gets = await call(client, "gets", "a") as { a: unknown; cas: string };
  results.push(["gets", plain(gets.a)]);
  await note("cas in time", "cas", "a", "swapped", gets.cas, 0);
  await note("cas too late", "cas", "a", "too late", gets.cas, 0);
  await note("get after cas", "get", "a");
  await note("del", "del", "b");
  await note("del missing", "del", "b");
  await note("negative time", "set", "gone", "x", -1);
  await note("negative time, read", "get", "gone");
  await note("the longest key", "set", "k".repeat(250), "longest", 0);
  await note("the longest key, read", "get", "k".repeat(250));
  // Hashed by the client.
  await note("a longer key", "set", "k".repeat(300), "longer", 0);
  await note("a longer key, read", "get", "k".repeat(300));
  const keys = Array.from({ length: 1000 }, (_, i) => `many${i}`);
  const done = await Promise.all(keys.map((key, i) => call(client, "set", key, `value ${i}`, 0)));
  results.push(["1000 keys set", done.every((value) => value === true)]);
  await note("1000 keys read", "getMulti", [...keys, "missing"]);
  await note("getMulti of misses", "getMulti", ["missing1", "missing2"]);
  const roomy = new Memcached(server, { maxValue: 8 * 1024 * 1024 });
  const big = "0123456789".repeat(500_000);
  results.push(["5 MB", plain(await call(roomy, "set", "big", big, 0))]);
  results.push(["5 MB read", plain(await call(roomy, "get", "big"))]);
  roomy.end();
  // For each server that the client knows: the proxy is one.
  results.push(["version", (await call(client, "version") as { version: string }[]).map((v) => v.version)]);
  for (const method of ["stats", "settings"]) {
    const stats = await call(client, method) as object[];
    results.push([
      method,
      stats.map((each) => plain(Object.keys(each).filter((k) => k !== "server").sort())),
    ]);
  }
  for (const method of ["slabs", "items"]) {
    results.push([
      method,
      (await call(client, method) as object[]).map((each) => Object.keys(each).length > 1),
    ]);
  }
  await note("flush", "flush");
  await note("after flush", "get", "a");
  client.end();
  return results;
}

console.log(JSON.stringify(await operations(Number(Deno.args[0]))));
Deno.exit(0);
