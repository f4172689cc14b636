/**
 * redis-cli 7 in front of a pool of three servers, in each way people use it: at a terminal, in scripts, for mass
 * insertion and to look through the keys. At a terminal it asks COMMAND DOCS first and builds its help from it.
 */
import { match, ok, strictEqual } from "node:assert/strict";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { run } from "../lib/process.ts";
import { need } from "../lib/repo.ts";
import { poolYml, type Proxy } from "../lib/servers.ts";

async function pool(f: Fixture): Promise<Proxy> {
  const servers = [await f.redis(), await f.redis(), await f.redis()];
  return await f.proxy("compiled", poolYml({ alpha: { servers, hash_tag: '"{}"' } }));
}

/** One run of redis-cli to its end. */
async function cli(proxy: Proxy, args: string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await run(need("redis-cli"), ["-p", String(proxy.port), ...args], {
    input,
  });
  strictEqual(code, 0, `redis-cli ${args.join(" ")} ended with ${code}: ${stdout}${stderr}`);
  return stdout;
}

/** redis-cli at a terminal (script(1) makes one), with what it shows as text. */
class Terminal implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>;
  #shown = "";

  constructor(args: string[]) {
    // A terminal without a width is asked for it, and nobody would answer.
    const line = `stty cols 200 rows 50; exec ${need("redis-cli")} ${args.join(" ")}`;
    this.#child = new Deno.Command(need("script"), {
      args: ["-qec", line, "/dev/null"],
      env: { TERM: "xterm", SHELL: "/bin/sh", HOME: "/nonexistent" },
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reading = this.#read();
  }

  async type(keys: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(keys));
  }

  /**
   * A command, and what has to be shown for it; done when there is a prompt again, which it returns: what is typed before it is
   * thrown away.
   */
  async run(command: string, ...texts: (string | RegExp)[]): Promise<string> {
    await this.type(`${command}\r`);
    for (const text of texts) await this.until(text);
    const shown = await this.until(/\n127\.0\.0\.1:\d+(\(TX\))?> /);
    return shown.slice(shown.lastIndexOf("\n") + 1);
  }

  /** Waits for `text`, and returns what was shown up to its end; the next call looks behind it. */
  async until(text: string | RegExp): Promise<string> {
    const end = () => {
      if (typeof text === "string") {
        return this.#shown.indexOf(text) < 0 ? 0 : this.#shown.indexOf(text) + text.length;
      }
      const found = text.exec(this.#shown);
      return found === null ? 0 : found.index + found[0].length;
    };
    const at = await poll(end, () => `${text} at the terminal; shown: ${JSON.stringify(this.#shown)}`);
    const shown = this.#shown.slice(0, at);
    this.#shown = this.#shown.slice(at);
    return shown;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Ctrl-C ends it in any state, Ctrl-D where it waits for a command.
    await this.#writer.write(Uint8Array.of(3, 4)).catch(() => {});
    await this.#writer.close().catch(() => {});
    try {
      await this.#child.status;
    } finally {
      await this.#reading;
    }
  }

  async #read(): Promise<void> {
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      // Without colours and movements of the cursor; one may be cut in two.
      // deno-lint-ignore no-control-regex
      this.#shown = (this.#shown + text).replace(/\x1b\[[0-9;]*[A-Za-z]/g, "");
    }
  }
}

for (const protocol of ["-2", "-3"]) {
  Deno.test(`redis-cli ${protocol} at a terminal: prompts, hints, help, MULTI and SUBSCRIBE`, async () => {
    await using f = new Fixture();
    const proxy = await pool(f);
    const prompt = `127.0.0.1:${proxy.port}> `;
    await using terminal = new Terminal([protocol, "-p", String(proxy.port)]);
    await terminal.until(prompt);
    await terminal.run("set greeting hello", /\nOK/);
    // Half a command is when hints are shown; they come from the server's COMMAND DOCS.
    await terminal.type("getrange ");
    await terminal.until("key start end");
    await terminal.run("greeting 0 -1", '"hello"');
    await terminal.run("get", "(error) ERR wrong number of arguments for 'get' command");
    await terminal.run("nosuch x", "(error) ERR unknown command 'nosuch'");
    await terminal.run("mget greeting none", "2) (nil)");
    await terminal.run("hset h a 1", "(integer) 1");
    await terminal.run("hgetall h", protocol === "-3" ? '1# "a" => "1"' : '2) "1"');
    // The servers' own words; Redis 7.2 and Valkey have others.
    await terminal.run(
      "help get",
      /summary: (Get the value|Returns the string value) of a key/,
      "since: 1.0.0",
      "group: string",
    );
    await terminal.run("help monitor", "summary: Refused: ");
    strictEqual(await terminal.run("multi", /\nOK/), `127.0.0.1:${proxy.port}(TX)> `);
    await terminal.run("incr {t}n", "QUEUED");
    strictEqual(await terminal.run("exec", "1) (integer) 1"), prompt);
    await terminal.type("subscribe news\r");
    await terminal.until("(integer) 1");
    strictEqual(await cli(proxy, ["publish", "news", "it rains"]), "1\n");
    await terminal.until('"it rains"');
  });
}

Deno.test("redis-cli GET without argument is answered at once with Redis' text", async () => {
  await using f = new Fixture();
  const proxy = await pool(f);
  strictEqual(await cli(proxy, ["GET"]), "ERR wrong number of arguments for 'get' command\n\n");
  const { code, stderr, stdout } = await run(need("redis-cli"), ["-p", String(proxy.port), "-e", "GET"]);
  strictEqual(code, 1);
  match(stdout + stderr, /ERR wrong number of arguments for 'get' command/);
});

Deno.test("redis-cli in scripts: -x, standard input, --eval, --csv, --json", async () => {
  await using f = new Fixture();
  const proxy = await pool(f);
  strictEqual(await cli(proxy, ["-x", "SET", "x"], "line\r\n\0end"), "OK\n");
  strictEqual(await cli(proxy, ["STRLEN", "x"]), "10\n");
  strictEqual(
    await cli(proxy, [], "SET a 1\nINCR a\nGET a\nLPUSH a x\n"),
    "OK\n2\n2\nWRONGTYPE Operation against a key holding the wrong kind of value\n\n",
  );
  await Deno.writeTextFile(`${f.dir}/script.lua`, "return {KEYS[1], ARGV[1]}");
  strictEqual(await cli(proxy, ["--eval", `${f.dir}/script.lua`, "k", ",", "v"]), "k\nv\n");
  strictEqual(await cli(proxy, ["--csv", "MGET", "a", "none"]), '"2",NULL\n');
  strictEqual(await cli(proxy, ["--json", "MGET", "a", "none"]), '["2",null]\n');
  strictEqual(await cli(proxy, ["-r", "3", "INCR", "n"]), "1\n2\n3\n");
});

Deno.test("redis-cli --pipe inserts 100,000 keys", async () => {
  await using f = new Fixture();
  const proxy = await pool(f);
  let input = "";
  for (let i = 0; i < 100_000; i++) input += `*3\r\n$3\r\nSET\r\n$8\r\n${10_000_000 + i}\r\n$5\r\nvalue\r\n`;
  match(await cli(proxy, ["--pipe"], input), /errors: 0, replies: 100000\n$/);
  strictEqual(await cli(proxy, ["DBSIZE"]), "100000\n");
  strictEqual(await cli(proxy, ["GET", "10099999"]), "value\n");
});

Deno.test("redis-cli --scan, --bigkeys and --memkeys see the keys of all servers", async () => {
  await using f = new Fixture();
  const proxy = await pool(f);
  const names = Array.from({ length: 3000 }, (_, i) => `key:${i}`);
  await cli(proxy, [], names.map((name) => `SET ${name} value\n`).join(""));
  await cli(proxy, [], "HSET h a 1 b 2\nRPUSH l 1 2 3\nSADD s 1\nZADD z 1 a\nXADD x * f v\n");
  const found = (await cli(proxy, ["--scan"])).trimEnd().split("\n");
  strictEqual(new Set(found).size, 3005);
  strictEqual(found.length, 3005);
  strictEqual((await cli(proxy, ["--scan", "--pattern", "key:12??"])).trimEnd().split("\n").length, 100);
  const big = await cli(proxy, ["--bigkeys"]);
  match(big, /Sampled 3005 keys/);
  match(big, /3000 strings with 15000 bytes/);
  match(big, /1 hashs with 2 fields/);
  match(big, /1 lists with 3 items/);
  match(await cli(proxy, ["--memkeys"]), /Sampled 3005 keys/);
});

Deno.test("redis-cli's modes for one server alone end with the reason", async () => {
  await using f = new Fixture();
  const proxy = await pool(f);
  for (const args of [["MONITOR"], ["SYNC"], ["REPLICAOF", "127.0.0.1", "1"]]) {
    const { stdout, stderr } = await run(need("redis-cli"), ["-p", String(proxy.port), ...args]);
    match(stdout + stderr, /ERR '(MONITOR|SYNC|REPLICAOF)' .*not/, args.join(" "));
  }
  ok((await cli(proxy, ["PING"])).startsWith("PONG"));
});
