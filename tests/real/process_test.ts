/**
 * Ringmaster as a process: flags, signals, pid file, log, exit codes, and what it says when it cannot start.
 *
 * What happens to clients while it stops is in drain_test.ts.
 */
import { createSocket } from "node:dgram";
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { request } from "../lib/bytes.ts";
import { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll, within } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { Process, run } from "../lib/process.ts";
import { command, freeze, poolYml, type Proxy, type Runtime, RUNTIMES } from "../lib/servers.ts";

/** A pool whose only server is never asked. */
function lonely(keys: Record<string, unknown> = {}): string {
  return poolYml({ alpha: { servers: ["127.0.0.1:1:1 nobody"], ...keys } });
}

/** Runs it to its end with these flags. */
async function runIt(runtime: Runtime, ...flags: string[]) {
  const [program, ...before] = await command(runtime);
  return await within(run(program!, [...before, ...flags]), `ringmaster ${flags.join(" ")}`);
}

/** Writes a configuration file and returns its path. */
function file(f: Fixture, name: string, yml: string): string {
  const path = `${f.dir}/${name}.yml`;
  Deno.writeTextFileSync(path, yml);
  return path;
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

async function accepts(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}

/** Containers often have no ::1. */
function hasIpv6(): boolean {
  try {
    Deno.listen({ hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}

async function logged(proxy: Proxy, text: RegExp): Promise<void> {
  await poll(() => text.test(proxy.log), () => `${text} in the log:\n${proxy.log}`);
}

/** Ends the process with a signal; returns its exit code. */
async function endBy(proxy: Proxy, signal: Deno.Signal): Promise<number> {
  proxy.kill(signal);
  return (await within(proxy.exit, `the proxy to end by ${signal}`)).code;
}

const IPV6 = "IPv6 in front and behind";

const CASES: Record<string, (f: Fixture, runtime: Runtime) => Promise<void>> = {
  "exit codes: 0 for what was asked, 1 for a bad configuration, 2 for a bad command line": async (
    f,
    runtime,
  ) => {
    const good = file(f, "good", lonely());
    const bad = file(f, "bad", "alpha:\n  listen: nowhere\n");
    const cases: [flags: string[], code: number, said: RegExp][] = [
      [["--help"], 0, /Usage: ringmaster/],
      [["-V"], 0, /This is ringmaster-\d+\.\d+\.\d+/],
      [["-D"], 0, /client_eof +"# eof on client connections"/],
      [["-t", "-c", good], 0, /configuration file '.*good\.yml' syntax is ok/],
      [["-t", "-c", bad], 1, /configuration file '.*bad\.yml' syntax is invalid/],
      [["-c", bad], 1, /configuration file '.*bad\.yml' syntax is invalid/],
      [["-c", `${f.dir}/none.yml`], 1, /no such file/],
      [["-c", good, "-o", `${f.dir}/no/such/folder/log`], 1, /cannot open the log: .*no\/such\/folder\/log/],
      [["--nonsense"], 2, /unknown|nonsense/],
      [["-s", "99999"], 2, /-s value 99999 is not a valid port/],
      [["nonsense"], 2, /unknown word/],
    ];
    await Promise.all(cases.map(async ([flags, code, said]) => {
      const ended = await runIt(runtime, ...flags);
      strictEqual(ended.code, code, `${flags.join(" ")}: ${ended.stdout}${ended.stderr}`);
      match(ended.stdout + ended.stderr, said);
      if (code !== 0) strictEqual(ended.stdout, "", "errors go to standard error");
    }));
    const [program, ...before] = await command(runtime);
    const full = await run("sh", ["-c", 'exec "$@" > /dev/full', "sh", program!, ...before, "-V"]);
    strictEqual(full.code, 1);
    strictEqual(full.stderr, "ringmaster: cannot write to standard output: no space left on device\n");
    match(
      (await run(program!, before, { cwd: f.dir })).stderr,
      /^conf\/ringmaster\.yml: found no such file, nor a folder \/.*\/conf, .*\n.* \(there is no conf\/nutcracker\.yml either\)/,
    );
  },

  "servers on the command line, without a file": async (
    f,
    runtime,
  ) => {
    const [server, other, port, admin, statistics] = Array.from({ length: 5 }, freePort) as [
      number,
      number,
      number,
      number,
      number,
    ];
    await f.redis({ port: server });
    await f.redis({ port: other });
    const words = [
      `redis://127.0.0.1:${server}`,
      `redis://127.0.0.1:${other}`,
      `--listen=127.0.0.1:${port}`,
    ];
    const shown = await runIt(runtime, "-t", ...words);
    strictEqual(shown.code, 0, shown.stderr);
    match(shown.stdout, new RegExp(`^redis:\\n  listen: 127\\.0\\.0\\.1:${port}$`, "m"));
    const [program, ...before] = await command(runtime);
    // Without a file it asks where the admin side of such a proxy is; another may be there.
    const health = await run(program!, [...before, "health"], { cwd: f.dir });
    match(health.stderr || "127.0.0.1:22280", /127\.0\.0\.1:22280/);
    const args = [
      ...before,
      ...words,
      `--admin=127.0.0.1:${admin}`,
      "-s",
      `${statistics}`,
      "-a",
      "127.0.0.1",
    ];
    const proxy = f.add(new Process(program!, args, { output: `${f.dir}/given.log` }));
    await poll(() => accepts(port), () => `a listener:\n${proxy.stderr}`);
    const client = await f.client({ port });
    strictEqual(await client.command("SET", "a", "1"), "OK");
    // Where it is: the proxy is asked, since no file says so.
    const route = (...words: string[]) =>
      run(program!, [...before, "route", `--admin=127.0.0.1:${admin}`, ...words], { cwd: f.dir });
    const line = await route("a");
    strictEqual(line.code, 0, line.stderr);
    const [key, pool, , address] = line.stdout.trimEnd().split("\t");
    deepStrictEqual([key, pool], ["a", "redis"]);
    const owner = await f.client({ port: Number(/^127\.0\.0\.1:(\d+)$/.exec(address!)![1]) });
    strictEqual(await owner.command("GET", "a"), "1");
    deepStrictEqual(JSON.parse((await route("--json", "--hex", "61")).stdout).address, address);
    match((await route("--explain", "a")).stdout, new RegExp(`^server .* at ${address}$`, "m"));
    match((await route("--pool=none", "a")).stderr, /--pool: found "none", expected one of redis\n$/);
    strictEqual((await route("--ejected=x", "a")).code, 2);
    proxy.kill("SIGHUP");
    const told = /reload \(SIGHUP\): nothing is different in \(command line\)/;
    await poll(() => told.test(proxy.stderr), () => `${told} in:\n${proxy.stderr}`);
    strictEqual(await client.command("GET", "a"), "1");
  },

  "-t says everything that is wrong, each with its place": async (f, runtime) => {
    const path = file(
      f,
      "many",
      [
        "alpha:",
        "  listen: 127.0.0.1:99999",
        "  hash: sha512",
        "  timeout: soon",
        "  nonsense: 1",
        "  servers:",
        "    - 127.0.0.1:6379:0",
        "    - 127.0.0.1:6379",
        "beta:",
        "  listen: 127.0.0.1:1234",
        "",
      ].join("\n"),
    );
    const { code, stderr } = await runIt(runtime, "-t", "-c", path);
    strictEqual(code, 1);
    const places = [...stderr.matchAll(/many\.yml:(\d+):(\d+): /g)].map((m) => Number(m[1]));
    deepStrictEqual(places.filter((line, i) => places.indexOf(line) === i), [2, 3, 4, 5, 7, 8, 9], stderr);
    strictEqual(stderr.match(/syntax is invalid/g)?.length, 1);
  },

  "-o, -v, HUP, TTIN, TTOU, USR1, PIPE": async (f, runtime) => {
    const proxy = await f.proxy(runtime, lonely(), { args: ["-v", "5"] });
    await logged(proxy, /ringmaster-\d+\.\d+\.\d+ on \w+ [\d.]+ \(\w+ sockets\), Linux .*, pid \d+/);
    await logged(proxy, /listening on '127\.0\.0\.1:\d+' in redis pool 'alpha' with 1 servers/);
    match(proxy.log, /^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\] /);
    proxy.kill("SIGTTIN");
    await logged(proxy, /SIGTTIN received, log level is 6/);
    proxy.kill("SIGTTOU");
    await logged(proxy, /SIGTTOU received, log level is 5/);
    proxy.kill("SIGUSR1");
    await logged(proxy, /SIGUSR1 received/);
    proxy.kill("SIGPIPE");
    const client = await f.client(proxy);
    strictEqual(await client.command("PING"), "PONG");
    const moved = `${proxy.logFile}.1`;
    Deno.renameSync(proxy.logFile, moved);
    proxy.kill("SIGHUP");
    await poll(() => exists(proxy.logFile), "the log to be opened anew");
    proxy.kill("SIGTTIN");
    await logged(proxy, /SIGTTIN/);
    strictEqual(Deno.readTextFileSync(moved).match(/SIGTTIN/g)?.length, 1, "the old file is left alone");
    strictEqual(await client.command("PING"), "PONG");
    // Deno opens its debugger on USR1, whoever else listens for it, and says so sooner or later.
    const said = proxy.stderr.replace(/^Debugger listening on .*\nVisit .*\n/, "");
    strictEqual(runtime === "deno" ? said : proxy.stderr, "", "nothing but the log");
  },

  "-v 0 logs nothing, -o '' logs to standard error": async (f, runtime) => {
    const quiet = await f.proxy(runtime, lonely(), { args: ["-v", "0"] });
    strictEqual(Deno.readTextFileSync(quiet.logFile), "");
    const loud = await f.proxy(runtime, lonely(), { args: ["-o", ""] });
    await poll(() => /listening on/.test(loud.stderr), "the log on standard error");
    ok(!exists(loud.logFile));
    // HUP does no harm there.
    loud.kill("SIGHUP");
    await poll(() => /SIGHUP/.test(loud.stderr), "the signal to be logged");
    strictEqual(await (await f.client(loud)).command("PING"), "PONG");
  },

  "signals while it starts end nothing": async (f, runtime) => {
    // It starts for as long as its servers are asked of DNS, and this one does not answer.
    const dns = createSocket("udp4");
    const asked = new Promise<void>((resolve) => dns.once("message", () => resolve()));
    await new Promise<void>((resolve) => dns.bind(0, "127.0.0.1", resolve));
    const from = `{ dns: "redis.test:6379", nameserver: "127.0.0.1:${dns.address().port}" }`;
    const path = file(f, "early", `alpha:\n  listen: 127.0.0.1:${freePort()}\n  servers_from: ${from}\n`);
    const [program, ...before] = await command(runtime);
    const args = [...before, "-c", path, "-s", `${freePort()}`, "-a", "127.0.0.1"];
    const proxy = f.add(new Process(program!, args, { output: `${f.dir}/early.log` }));
    await within(asked, "the question");
    for (const signal of ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGTTIN", "SIGTTOU"] as const) proxy.kill(signal);
    const { code, signal } = await within(proxy.exit, "the start to fail");
    dns.close();
    deepStrictEqual([code, signal], [1, null], proxy.stderr);
    match(proxy.stderr, /cannot start: .*redis\.test/);
  },

  "-p: the pid, without a line end, removed at the end": async (f, runtime) => {
    const path = `${f.dir}/it.pid`;
    const proxy = await f.proxy(runtime, lonely(), { args: ["-p", path] });
    await poll(() => exists(path) && Deno.readTextFileSync(path) !== "", "the pid file");
    strictEqual(Deno.readTextFileSync(path), String(proxy.pid));
    strictEqual(await endBy(proxy, "SIGTERM"), 0);
    ok(!exists(path), "the pid file is removed");
    await logged(proxy, /stopped\n$/);
    const good = file(f, "unwritten", lonely());
    const ended = await runIt(
      runtime,
      "-c",
      good,
      "-s",
      `${freePort()}`,
      "-p",
      `${f.dir}/no/such/folder/pid`,
    );
    strictEqual(ended.code, 1);
    match(ended.stderr, /cannot start: cannot write the pid file: .*no\/such\/folder\/pid/);
  },

  "-d: leaves when the daemon serves, which ends by TERM; says why it cannot": async (f, runtime) => {
    const port = freePort();
    const stats = freePort();
    const [pidFile, log] = [`${f.dir}/daemon.pid`, `${f.dir}/daemon.log`];
    const path = file(f, "daemon", lonely({ listen: `127.0.0.1:${port}` }));
    const flags = ["-d", "-c", path, "-p", pidFile, "-o", log, "-s", String(stats), "-a", "127.0.0.1"];
    const { code, stdout, stderr } = await runIt(runtime, ...flags);
    deepStrictEqual({ code, stdout, stderr }, { code: 0, stdout: "", stderr: "" });
    const pid = Number(Deno.readTextFileSync(pidFile));
    try {
      const second = await runIt(
        runtime,
        "-d",
        "-c",
        path,
        "-o",
        log,
        "-s",
        String(freePort()),
        "-a",
        "127.0.0.1",
      );
      deepStrictEqual([second.code, second.stdout], [1, ""]);
      match(second.stderr, new RegExp(`^ringmaster: cannot start: .*127.0.0.1:${port}.*in use\n$`, "i"));
      const client = await f.client({ port });
      strictEqual(await client.command("PING"), "PONG");
      const session = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /, "").split(" ");
      strictEqual(Number(session[3]), pid, "it leads a session of its own");
      match(Deno.readLinkSync(`/proc/${pid}/fd/1`), /\/dev\/null/);
      client.close();
    } finally {
      Deno.kill(pid, "SIGTERM");
    }
    await poll(() => !exists(`/proc/${pid}`) && !exists(pidFile), "the daemon to end");
    match(Deno.readTextFileSync(log), /SIGTERM received/);
  },

  "TERM and INT: what is in flight is answered, new clients are refused, exit code 0": async (f, runtime) => {
    const server = await f.redis();
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const proxy = await f.proxy(runtime, poolYml({ alpha: { servers: [server] } }));
      const client = await f.client(proxy);
      await freeze(server);
      await client.send(request("GET", "key"));
      const name = `${server.path}:`;
      await poll(
        async () =>
          ((await proxy.stats()).alpha as Record<string, Record<string, number>>)[name]!.out_queue === 1,
        "the request to be in flight",
      );
      proxy.kill(signal);
      await poll(async () => !await accepts(proxy.port), "new clients to be refused");
      server.kill("SIGCONT");
      strictEqual((await client.readReply()).value, null);
      client.close();
      strictEqual((await within(proxy.exit, "the proxy to end")).code, 0);
      ok(!await accepts(proxy.statsPort));
    }
  },

  "a second TERM ends at once": async (f, runtime) => {
    const server = await f.redis();
    const path = `${f.dir}/second.pid`;
    const proxy = await f.proxy(
      runtime,
      poolYml({ alpha: { servers: [server] } }) + "ringmaster:\n  shutdown_timeout: 600000\n",
      { args: ["-p", path] },
    );
    const client = await f.client(proxy);
    strictEqual(await client.command("PING"), "PONG");
    await freeze(server);
    await client.send(request("GET", "never"));
    await poll(
      async () =>
        ((await proxy.stats()).alpha as Record<string, Record<string, number>>)[`${server.path}:`]!
          .requests === 1,
      "the request to be in flight",
    );
    proxy.kill("SIGTERM");
    await logged(proxy, /SIGTERM received, finishing/);
    strictEqual(await endBy(proxy, "SIGTERM"), 0);
    await logged(proxy, /SIGTERM received, exiting at once/);
    ok(!exists(path));
    server.kill("SIGCONT");
  },

  "a busy address: which one, and exit code 1": async (f, runtime) => {
    const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const port = taken.addr.port;
    try {
      const path = file(f, "busy", lonely({ listen: `127.0.0.1:${port}` }));
      const pid = `${f.dir}/busy.pid`;
      const ended = await runIt(runtime, "-c", path, "-s", String(freePort()), "-a", "127.0.0.1", "-p", pid);
      strictEqual(ended.code, 1);
      match(
        ended.stderr,
        new RegExp(`cannot start: .*127\\.0\\.0\\.1:${port}.*[Aa]ddress (already )?in use`),
      );
      ok(!exists(pid), "no pid file is left");
      // The same with a log file: the reason is on standard error, too.
      const log = `${f.dir}/busy.log`;
      const told = await runIt(runtime, "-c", path, "-s", String(freePort()), "-a", "127.0.0.1", "-o", log);
      strictEqual(told.code, 1);
      match(told.stderr, new RegExp(`cannot start: .*:${port}`));
      match(Deno.readTextFileSync(log), new RegExp(`cannot start: .*:${port}`));
      const stats = await runIt(
        runtime,
        "-c",
        file(f, "free", lonely()),
        "-s",
        String(port),
        "-a",
        "127.0.0.1",
      );
      strictEqual(stats.code, 1);
      match(stats.stderr, new RegExp(`cannot start: .*127\\.0\\.0\\.1:${port}`));
    } finally {
      taken.close();
    }
  },

  "-c of a pipe: read as it comes, up to 16 MiB; without a writer it is empty": async (f, runtime) => {
    const path = file(f, "piped", lonely());
    const fifo = `${f.dir}/fifo`;
    strictEqual((await run("mkfifo", [fifo])).code, 0);
    const shell = async (line: string) => {
      const argv = await command(runtime);
      return await within(run("sh", ["-c", line, "sh", ...argv]), line);
    };
    const piped = await shell(`cat ${path} | "$@" -t -c /dev/stdin`);
    strictEqual(piped.code, 0, piped.stderr);
    const slow = await shell(`(head -c 9 ${path}; sleep 0.2; tail -c +10 ${path}) | "$@" -t -c /dev/stdin`);
    strictEqual(slow.code, 0, slow.stderr);
    const endless = await shell(`yes 'p: 1' | "$@" -t -c /dev/stdin`);
    strictEqual(endless.code, 1);
    match(endless.stderr, /found a file too large for a configuration, expected at most 16 MiB/);
    const empty = await shell(`"$@" -t -c ${fifo}`);
    strictEqual(empty.code, 1);
    match(empty.stderr, /found an empty file/);
    const zero = await shell('"$@" -t -c /dev/zero');
    match(zero.stderr, /found a device/);
  },

  "two pools on one address under two names: refused before anything listens, with both names": async (
    f,
    runtime,
  ) => {
    const port = freePort();
    const pools = (first: string, second: string) =>
      poolYml({
        alpha: { servers: ["127.0.0.1:1:1 nobody"], listen: first },
        beta: { servers: ["127.0.0.1:2:1 nobody"], listen: second },
      });
    const flags = ["-s", String(freePort()), "-a", "127.0.0.1"];
    const told = new RegExp(
      `^.*:9:11: listen: found "localhost:${port}" for pool "beta", where pool "alpha" listens already ` +
        `\\("127\\.0\\.0\\.1:${port}", line 2\\)`,
    );
    const twice = file(f, "twice", pools(`127.0.0.1:${port}`, `localhost:${port}`));
    for (const more of [["-t"], ["--workers", "2", ...flags], flags]) {
      const ended = await runIt(runtime, "-c", twice, ...more);
      strictEqual(ended.code, 1);
      match(ended.stderr, told);
    }
    for (const second of [`0.0.0.0:${port}`, `"[::]:${port}"`]) {
      const any = file(f, "any", pools(`127.0.0.1:${port}`, second));
      match(
        (await runIt(runtime, "-c", any, "-t")).stderr,
        /pool "beta", where pool "alpha" listens already/,
      );
    }
    const stats = file(f, "stats", pools(`127.0.0.1:${port}`, `127.0.0.1:${freePort()}`));
    const ended = await runIt(runtime, "-c", stats, "-s", String(port), "-a", "localhost");
    strictEqual(ended.code, 1);
    match(
      ended.stderr,
      /cannot start: the statistics address localhost:\d+ .* of pool "alpha" .*stats\.yml:2/,
    );
  },

  "a unix socket: its permissions, a stale file is replaced, a live one is not, removed at the end": async (
    f,
    runtime,
  ) => {
    const path = `${f.dir}/listen.sock`;
    const yml = lonely({ listen: `${path} 0660` });
    const crashed = await f.proxy(runtime, yml);
    await crashed.stop("SIGKILL");
    ok(exists(path), "a crash leaves the file");
    const first = await f.proxy(runtime, yml);
    // It can be connected to a moment before its permissions are set.
    await poll(() => (Deno.statSync(path).mode! & 0o777) === 0o660, "its permissions to be 0660");
    strictEqual(await (await f.client({ path })).command("PING"), "PONG");
    const second = await runIt(runtime, "-c", first.file, "-s", String(freePort()), "-a", "127.0.0.1");
    strictEqual(second.code, 1, second.stderr);
    match(second.stderr, /cannot start: .*listen\.sock/);
    strictEqual(await (await f.client({ path })).command("PING"), "PONG");
    strictEqual(await endBy(first, "SIGTERM"), 0);
    ok(!exists(path), "the file is removed");
  },

  [IPV6]: async (f, runtime) => {
    const server = await f.redis({ port: 0, args: ["--bind", "127.0.0.1", "::1"] });
    const port = freePort();
    const path = file(
      f,
      "six",
      poolYml({ alpha: { listen: `::1:${port}`, servers: [`::1:${server.port}:1`] } }),
    );
    const [program, ...before] = await command(runtime);
    const flags = ["-c", path, "-s", String(freePort()), "-a", "127.0.0.1"];
    f.add(new Process(program!, [...before, ...flags], { output: `${f.dir}/six.out` }));
    const client = await poll(() => RawClient.connect({ host: "::1", port }), "the listener on ::1");
    f.add(client);
    strictEqual(await client.command("SET", "a", "1"), "OK");
  },

  "the limit of open files is a limit of clients": async (f, runtime) => {
    const port = freePort();
    const stats = freePort();
    const path = file(f, "few", lonely({ listen: `127.0.0.1:${port}` }));
    const [program, ...before] = await command(runtime);
    const script = 'ulimit -n 100 && exec "$0" "$@"';
    const flags = ["-c", path, "-s", String(stats), "-a", "127.0.0.1"];
    const process = f.add(
      new Process("/bin/sh", ["-c", script, program!, ...before, ...flags], { output: `${f.dir}/few.out` }),
    );
    await poll(() => accepts(port), () => `the proxy to accept: ${process.stderr}`);
    let served = 0;
    let refused = 0;
    let told: unknown = "";
    for (let i = 0; i < 90; i++) {
      const client = await f.client({ port });
      await client.send(request("PING"));
      const said = await client.readLine();
      if (said === "+PONG") {
        served++;
        told = await client.command("INFO", "clients");
      } else {
        strictEqual(said, "-ERR max number of clients reached");
        refused++;
        client.close();
      }
    }
    ok(served >= 30 && refused >= 10, `${served} served, ${refused} refused`);
    // It is told at the start, to whoever asks, and when it is reached.
    const left = /open files: a limit of 100 leaves (\d+) clients/.exec(process.stderr)?.[1];
    strictEqual(left, String(served));
    match(
      process.stderr,
      new RegExp(`client 127\\.0\\.0\\.1:\\d+ refused: max number .* open files leaves ${left} `),
    );
    match(String(told), new RegExp(`\\bmaxclients:${left}\\r`));
    strictEqual(process.status, null);
  },

  "the statistics port serves one document a connection, also to whoever says something first": async (
    f,
    runtime,
  ) => {
    const proxy = await f.proxy(runtime, lonely());
    for (let i = 0; i < 20; i++) {
      using conn = await Deno.connect({ hostname: "127.0.0.1", port: proxy.statsPort });
      if (i % 2 === 1) await conn.write(new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n"));
      const text = await new Response(conn.readable).text();
      match(text, /^\{"service":"nutcracker", .*\}\n$/);
      strictEqual(JSON.parse(text).alpha.nobody.requests, 0);
    }
  },

  "neither .env nor bunfig.toml of the folder it is started in changes anything": async (f, runtime) => {
    if (runtime !== "compiled") return;
    Deno.writeTextFileSync(`${f.dir}/.env`, "RINGMASTER_DAEMON=1\n");
    Deno.writeTextFileSync(`${f.dir}/bunfig.toml`, 'preload = ["./no-such-file.ts"]\n');
    const port = freePort();
    const path = file(f, "there", lonely({ listen: `127.0.0.1:${port}` }));
    const [program] = await command(runtime);
    const flags = ["-c", path, "-s", String(freePort()), "-a", "127.0.0.1"];
    f.add(new Process(program!, flags, { output: `${f.dir}/there.out`, cwd: f.dir }));
    const client = await poll(() => RawClient.connect({ port }), "the proxy");
    f.add(client);
    strictEqual(await client.command("PING"), "PONG");
  },
};

for (const [name, run] of Object.entries(CASES)) {
  Deno.test({ name, ignore: name === IPV6 && !hasIpv6() }, async (t) => {
    for (const runtime of RUNTIMES) {
      await t.step(runtime, async () => {
        await using f = new Fixture();
        await run(f, runtime);
      });
    }
  });
}

for (const [sockets, env] of [["epoll", {}], ["bun", { RINGMASTER_SOCKETS: "runtime" }]] as const) {
  Deno.test(`process: compiled, it serves on ${sockets} sockets with ${JSON.stringify(env)}`, async () => {
    await using f = new Fixture();
    const redis = await f.redis();
    const proxy = await f.proxy("compiled", poolYml({ alpha: { servers: [redis] } }), { env });
    match(proxy.log, new RegExp(`on bun [0-9.]+ \\(${sockets} sockets\\)`));
    const client = await f.client(proxy.target);
    const value = "v".repeat(300_000);
    strictEqual(await client.command("SET", "a", value), "OK");
    strictEqual(await client.command("GET", "a"), value);
    strictEqual((await proxy.stop()).code, 0);
  });
}
