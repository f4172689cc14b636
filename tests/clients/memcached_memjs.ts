/**
 * All operations of npm's memjs, which speaks the binary protocol, done as its users do them:
 *
 *   deno run -A memcached_memjs.ts PORT
 *
 * Prints a JSON list of [operation, result].
 */
import memjs from "memjs";
import { type Plain, plain } from "./plain.ts";

// deno-lint-ignore no-explicit-any
type Call = Promise<any>;

/** Its own patience is half a second, and then it tries again. */
const PATIENT = { timeout: 60, conntimeout: 60, retries: 1, logger: { log: () => {} } };

async function operations(port: number): Promise<[operation: string, result: Plain][]> {
  const results: [string, Plain][] = [];
  const client = memjs.Client.create(`127.0.0.1:${port}`, PATIENT);
  const note = async (name: string, call: Call): Promise<void> => {
    results.push([name, plain(await call.catch((error: unknown) => ({ error: String(error) })))]);
  };
  await note("set", client.set("a", "1", { expires: 0 }));
  await note("get", client.get("a"));
  await note("get missing", client.get("missing"));
  await note("set with time", client.set("b", "two", { expires: 1000 }));
  await note("add there", client.add("b", "other", {}));
  await note("add new", client.add("new", "new", {}));
  await note("replace", client.replace("b", "replaced", {}));
  await note("replace missing", client.replace("missing", "x", {}));
  await note("append", client.append("b", ">"));
  await note("prepend", client.prepend("b", "<"));
  await note("append missing", client.append("missing", "x"));
  await note("get b", client.get("b"));
  await note("touch", client.touch("b", 1000));
  await note("touch missing", client.touch("missing", 1000));
  await note("increment", client.increment("n", 5, { initial: 10 }));
  await note("increment again", client.increment("n", 5, { initial: 10 }));
  await note("decrement", client.decrement("n", 2, { initial: 10 }));
  await note("increment text", client.increment("b", 1, { initial: 0 }));
  await note("delete", client.delete("b"));
  await note("delete missing", client.delete("b"));
  await note("a key with a space", client.set("a b", "spaced", {}));
  await note("a key with a space, read", client.get("a b"));
  await note("any bytes in a key", client.set("\0\r\n\t", "odd", {}));
  await note("any bytes in a key, read", client.get("\0\r\n\t"));
  await note("the longest key", client.set("k".repeat(250), "longest", {}));
  await note("the longest key, read", client.get("k".repeat(250)));
  await note("an empty value", client.set("empty", "", {}));
  await note("an empty value, read", client.get("empty"));
  await note("any bytes", client.set("bytes", new Uint8Array(256).map((_, i) => i), {}));
  await note("any bytes, read", client.get("bytes"));
  const big = "0123456789".repeat(500_000);
  await note("5 MB", client.set("big", big, {}));
  await note("5 MB read", client.get("big"));
  await note("more than the server takes", client.set("big", big + big, {}));
  const many = Array.from({ length: 1000 }, (_, i) => i);
  const done = await Promise.all(many.map((i) => client.set(`many${i}`, `value ${i}`, {})));
  results.push(["1000 keys set", done.every((value: unknown) => value === true)]);
  const read = await Promise.all(many.map((i) => client.get(`many${i}`)));
  results.push([
    "1000 keys read",
    read.every(({ value }: { value: unknown }, i: number) => String(value) === `value ${i}`),
  ]);
  await note("flush", client.flush().then((all: Record<string, unknown>) => Object.values(all)));
  await note("after flush", client.get("a"));
  const stats = (name: string, ask: (done: (...all: unknown[]) => void) => void) =>
    note(
      name,
      new Promise((resolve) =>
        ask((error, _, all) => resolve(error ?? Object.keys(all as Record<string, string>).sort()))
      ),
    );
  await stats("stats", (done) => client.stats(done));
  await stats("stats settings", (done) => client.statsWithKey("settings", done));
  client.quit();
  return results;
}

console.log(JSON.stringify(await operations(Number(Deno.args[0]))));
Deno.exit(0);
