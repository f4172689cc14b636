/**
 * memcached's clients do through Ringmaster, with one server or three behind it, what they do against one memcached.
 *
 *   library ──► memcached                             the truth
 *   library ──► Ringmaster ──► 1 or 3 memcacheds      must be the same
 *
 * What is refused through a proxy (cache_memlimit, shutdown) is in DIFFERENCES of tests/real/memcached_differential_test.ts.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Fixture } from "../lib/fixture.ts";
import { within } from "../lib/poll.ts";
import { run } from "../lib/process.ts";
import { DENO, PYTHON, ROOT } from "../lib/repo.ts";
import { poolYml, type Proxy } from "../lib/servers.ts";

type Results = [operation: string, result: unknown][];

const ARGS = ["-I", "8m", "-m", "256"];

/** Runs a program that prints its results, with a port as its last argument. */
const results = (program: string, ...args: string[]) => async (port: number): Promise<Results> => {
  const { stdout, stderr, code } = await run(program, [...args, String(port)]);
  strictEqual(code, 0, stderr);
  return JSON.parse(stdout) as Results;
};
const python = (library: string) => results(PYTHON, `${ROOT}/tests/clients/memcached_python.py`, library);
const npm = results(
  DENO,
  "run",
  "-A",
  "--no-check",
  "--unsafe-proto",
  `${ROOT}/tests/clients/memcached_npm.ts`,
);

const memjs = results(DENO, "run", "-A", "--no-check", `${ROOT}/tests/clients/memcached_memjs.ts`);

const LIBRARIES: Record<string, (port: number) => Promise<Results>> = {
  "pymemcache 3.5.2 Client": python("pymemcache"),
  "pymemcache 3.5.2 PooledClient": python("pymemcache pooled"),
  "pymemcache 3.5.2 HashClient": python("pymemcache hashed"),
  "python-memcache 1.58": python("python-memcache"),
  "npm memcached 2.2.2": npm,
  "pylibmc 1.6.3 in binary": python("pylibmc binary"),
  "pylibmc 1.6.3 in binary, not blocking": python("pylibmc binary, not blocking"),
  "npm memjs 1.3.2": memjs,
};

/** A proxy of three servers and one of one. */
async function proxies(f: Fixture): Promise<{ three: Proxy; one: Proxy }> {
  const servers = [];
  for (let i = 0; i < 4; i++) servers.push(await f.memcached({ args: ARGS }));
  const keys = { dangerous_commands: "allow" };
  return {
    three: await f.proxy("compiled", poolYml({ alpha: { servers: servers.slice(1), ...keys } })),
    one: await f.proxy("compiled", poolYml({ alpha: { servers: servers.slice(0, 1), ...keys } })),
  };
}

for (const [name, operations] of Object.entries(LIBRARIES)) {
  Deno.test(`${name} does through Ringmaster what it does directly`, async () => {
    await using f = new Fixture();
    const direct = await f.memcached({ port: 0, args: ARGS });
    const expected = await within(operations(direct.port), `${name}, directly`, 60_000);
    for (const [servers, { port }] of Object.entries(await proxies(f))) {
      const actual = await within(operations(port), `${name}, through the proxy`, 60_000);
      for (const [i, [operation, result]] of expected.entries()) {
        deepStrictEqual(actual[i], [operation, result], `${operation}, ${servers}`);
      }
      strictEqual(actual.length, expected.length);
    }
    ok(expected.length > 35, `${expected.length} operations`);
  });
}

/**
 * libmemcached's own test of a server, in text and in binary. None of its tests needs a single server: they use one key each, or keys whose
 * order in a multi-get does not matter.
 */
for (const [protocol, tests] of [["-a", 27], ["-b", 27]] as const) {
  Deno.test(`memccapable ${protocol} passes the same tests through Ringmaster, with one server and with three, as directly`, async () => {
    await using f = new Fixture();
    const direct = await f.memcached({ port: 0, args: ARGS });
    const { three, one } = await proxies(f);
    const passes = async (port: number): Promise<string> => {
      const { stdout, stderr } = await run("memccapable", [
        "-h",
        "127.0.0.1",
        "-p",
        String(port),
        protocol,
        "-v",
        "-t",
        "5",
      ]);
      return stdout + stderr;
    };
    // Their flushes wait for seconds to pass: all at once.
    const [expected, ...others] = await Promise.all([direct.port, one.port, three.port].map(passes));
    ok(/^All tests passed$/m.test(expected!), expected);
    strictEqual(expected!.match(/\[pass\]/g)!.length, tests);
    for (const other of others) strictEqual(other, expected);
  });
}
