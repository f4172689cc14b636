/**
 * redis-benchmark through a pool of three servers: every test it offers, with random keys and pipelined, and its default
 * run. It stops at the first error reply, so that to end well is to have had none. What is fast is `deno task bench`'s.
 */
import { doesNotMatch, match, ok, strictEqual } from "node:assert/strict";
import { Fixture } from "../lib/fixture.ts";
import { run } from "../lib/process.ts";
import { need } from "../lib/repo.ts";
import { poolYml } from "../lib/servers.ts";

/** -t's words, and how many lines of figures each prints. */
const TESTS: Readonly<Record<string, number>> = {
  ping_inline: 1,
  ping_mbulk: 1,
  set: 1,
  get: 1,
  incr: 1,
  lpush: 1,
  rpush: 1,
  lpop: 1,
  rpop: 1,
  sadd: 1,
  hset: 1,
  spop: 1,
  zadd: 1,
  zpopmin: 1,
  // Filling the list first is a line of its own.
  lrange: 5,
  mset: 1,
};
const LINES = Object.values(TESTS).reduce((sum, lines) => sum + lines);

const RUNS: { name: string; args: string[]; lines: number }[] = [
  { name: "without -t", args: ["-n", "2000"], lines: LINES },
  {
    name: "-t with every word, -r",
    args: ["-n", "2000", "-r", "1000", "-t", Object.keys(TESTS).join()],
    lines: LINES,
  },
  {
    name: "-t with every word, -r, -P 16",
    args: ["-n", "4000", "-r", "1000", "-P", "16", "-t", Object.keys(TESTS).join()],
    lines: LINES,
  },
  { name: "RESP3", args: ["-n", "2000", "-3", "-r", "1000", "-t", "set,get,hset"], lines: 3 },
  { name: "threads", args: ["-n", "2000", "--threads", "2", "-t", "set,get"], lines: 2 },
  {
    name: "a command of one's own",
    args: ["-n", "2000", "-r", "99", "HSET", "h:__rand_int__", "f", "v"],
    lines: 1,
  },
];

for (const { name, args, lines } of RUNS) {
  Deno.test(`redis-benchmark ${name} ends without an error`, async () => {
    await using f = new Fixture();
    const servers = [await f.redis(), await f.redis(), await f.redis()];
    const proxy = await f.proxy("compiled", poolYml({ alpha: { servers } }));
    const all = ["-p", String(proxy.port), "-q", ...args];
    const { code, stdout, stderr } = await run(need("redis-benchmark"), all);
    strictEqual(code, 0, stdout + stderr);
    doesNotMatch(stdout + stderr, /error|warning/i);
    // Progress is written over with a return.
    const figures = stdout.split(/[\r\n]/).filter((line) => /: [\d.]+ requests per second/.test(line));
    // Without -t a newer one has more.
    ok(figures.length >= lines, `${figures.length} lines of figures, expected ${lines}: ${stdout}`);
    match(figures[0], /p50=/);
  });
}
