/** Every way in which a certificate can be wrong, from every side: who is refused, and the one line in the log that says who, whose and why. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { writeFileSync } from "node:fs";
import type { Server } from "node:net";
import { connect, createServer } from "node:tls";
import { adminYml } from "../lib/admin.ts";
import { certificate, type Issued } from "../lib/certificates.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { type PoolKeys, poolYml } from "../lib/servers.ts";

const authority = certificate({ name: "authority", ca: true });
const stranger = certificate({ name: "stranger", ca: true });
const SHOWN: Readonly<Record<string, Issued>> = {
  good: certificate({ name: "good.test", by: authority }),
  expired: certificate({ name: "expired.test", by: authority, days: -1 }),
  early: certificate({ name: "early.test", by: authority, fromDays: 10 }),
  foreign: certificate({ name: "foreign.test", by: stranger }),
  other: certificate({ name: "other.test", by: authority, plainName: true }),
};

/** What a peer does, and what is said of it. */
interface Flaw {
  /** Of SHOWN; null: none. */
  readonly shows: string | null;
  readonly options?: { readonly maxVersion?: "TLSv1.2"; readonly ca?: string };
  readonly said: RegExp;
}

/** Of clients: they have to show a certificate, and TLS 1.3. */
const CLIENTS: Readonly<Record<string, Flaw>> = {
  missing: { shows: null, said: /^peer did not return a certificate$/ },
  expired: {
    shows: "expired",
    said: /^the client's certificate 'expired\.test': certificate has expired \(CERT_HAS_EXPIRED\)$/,
  },
  early: {
    shows: "early",
    said: /^the client's certificate 'early\.test': certificate is not yet valid \(CERT_NOT_YET_VALID\)$/,
  },
  foreign: {
    shows: "foreign",
    said: /^the client's certificate 'foreign\.test': unable to .*\(UNABLE_TO_[A-Z_]+\)$/,
  },
  old: { shows: "good", options: { maxVersion: "TLSv1.2" }, said: /^unsupported protocol$/ },
  suspicious: { shows: "good", options: { ca: stranger.cert }, said: /^the other side says: .*unknown ca$/ },
};

/** Of servers: they have to show one of the authority with the address, and TLS 1.3. */
const SERVERS: Readonly<Record<string, Flaw>> = {
  expired: {
    shows: "expired",
    said: /^the server's certificate 'expired\.test': certificate has expired \(CERT_HAS_EXPIRED\)$/,
  },
  early: {
    shows: "early",
    said: /^the server's certificate 'early\.test': certificate is not yet valid \(CERT_NOT_YET_VALID\)$/,
  },
  foreign: {
    shows: "foreign",
    said: /^the server's certificate 'foreign\.test': unable to .*\(UNABLE_TO_[A-Z_]+\)$/,
  },
  other: {
    shows: "other",
    said:
      /^the server's certificate 'other\.test' is not for 127\.0\.0\.1, but for DNS:other\.test \(ERR_TLS_CERT_ALTNAME_INVALID\)$/,
  },
  old: { shows: "good", options: { maxVersion: "TLSv1.2" }, said: /^the other side says: protocol version$/ },
};

/** Who is a server of a pool. @param at "127.0.0.1:port" */
const KINDS: Readonly<Record<string, (at: string) => PoolKeys>> = {
  redis: (at) => ({ servers: [`${at}:1`], preconnect: true }),
  memcached: (at) => ({ servers: [`${at}:1`], preconnect: true, redis: false }),
  sentinel: (at) => ({ servers: ["{ master: one }"], failover: "sentinel", sentinels: `[ "${at}" ]` }),
  cluster: (at) => ({ servers: [at], cluster: true }),
};

/** Listens as a server does that has this flaw. */
function listen({ shows, options }: Flaw): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer({ ...SHOWN[shows!], ...options }, (socket) => {
      socket.on("error", () => {});
    });
    server.on("tlsClientError", () => {});
    server.listen(0, "127.0.0.1", () => resolve(server));
  });
}

/** Resolves when it has been closed. @returns whether anything was answered */
function visit(port: number, { shows, options }: Flaw): Promise<boolean> {
  return new Promise((resolve) => {
    let answered = false;
    const socket = connect({
      host: "127.0.0.1",
      port,
      ca: authority.cert,
      ...shows === null ? {} : SHOWN[shows],
      ...options,
    });
    socket.on("error", () => {});
    socket.on("secureConnect", () => socket.write("GET / HTTP/1.1\r\n\r\nversion\r\n"));
    socket.on("data", () => answered = true);
    socket.on("close", () => resolve(answered));
  });
}

Deno.test("compiled: certificates that are wrong, from every side", async () => {
  await using f = new Fixture();
  const { dir } = f;
  for (const [name, { cert, key }] of Object.entries({ authority, ...SHOWN })) {
    writeFileSync(`${dir}/${name}.crt`, cert);
    writeFileSync(`${dir}/${name}.key`, key);
  }
  const own = `certificate: ${dir}/good.crt, key: ${dir}/good.key, ca: ${dir}/authority.crt`;
  const tls = `{ ${own}, client_certificates: required, min_version: 1.3 }`;
  const servers: Server[] = [];
  const pools: Record<string, PoolKeys> = {
    redis: { listen: `127.0.0.1:${freePort()}`, servers: ["127.0.0.1:1:1"], tls },
    memcached: { listen: `127.0.0.1:${freePort()}`, servers: ["127.0.0.1:1:1"], tls, redis: false },
  };
  /** What has to be in the log, and has to be there once: what is before the reason, and the reason. */
  const due: [string, RegExp][] = [];
  for (const [flaw, what] of Object.entries(SERVERS)) {
    for (const [kind, keys] of Object.entries(KINDS)) {
      const server = await listen(what);
      servers.push(server);
      const at = `127.0.0.1:${(server.address() as { port: number }).port}`;
      pools[`${kind}_${flaw}`] = {
        ...keys(at),
        listen: `${dir}/${kind}_${flaw}.sock`,
        server_tls: `{ ca: ${dir}/authority.crt, min_version: 1.3 }`,
      };
      const of = kind === "cluster"
        ? `: connect ${at}: TLS: `
        : `server_tls: handshake with server ${at} failed: `;
      due.push([of, what.said]);
    }
  }
  const adminPort = freePort();
  const yml = adminYml(adminPort, [`admin_tls: ${tls}`]) + poolYml(pools);
  const proxy = await f.proxy("compiled", yml);
  const ports: [string, number][] = [
    ["pool 'redis': tls", Number(String(pools.redis!.listen).split(":")[1])],
    ["pool 'memcached': tls", Number(String(pools.memcached!.listen).split(":")[1])],
    ["admin_tls", adminPort],
  ];
  await poll(() => proxy.log.includes("admin on https"), "the admin side");
  for (const [side, port] of ports) {
    for (const [flaw, what] of Object.entries(CLIENTS)) {
      const lines = () => said(proxy.log, `${side}: handshake with client `);
      const before = lines().length;
      strictEqual(await visit(port, what), false, `${side}: ${flaw} is answered`);
      await poll(() => lines().length > before, `a line of ${side} about ${flaw}`);
      const [line, ...more] = lines().slice(before);
      deepStrictEqual(more, []);
      ok(what.said.test(line!.replace(/^127\.0\.0\.1:\d+ failed: /, "")), `${side}: ${flaw}: ${line}`);
    }
  }
  for (const [before, reason] of due) {
    await poll(() => said(proxy.log, before).length > 0, `a line ${before}`);
    const lines = said(proxy.log, before);
    // What a cluster's nodes say is asked again and again.
    strictEqual(new Set(lines).size, 1, lines.join("\n"));
    ok(reason.test(lines[0]!.replace("; the servers stay as they are", "")), `${before}${lines[0]}`);
  }
  for (const server of servers) server.close();
});

/** What comes after `words` in the lines that have them. */
function said(log: string, words: string): string[] {
  return log.split("\n").flatMap((line) => {
    const at = line.indexOf(words);
    return at < 0 ? [] : [line.slice(at + words.length)];
  });
}
