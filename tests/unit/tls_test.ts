/** TLS without a peer: what the configuration refuses, the first bytes of a client, the files. */
import { deepEqual, match, ok, strictEqual, throws } from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { hasName, readTlsFiles } from "../../src/config/certificates.ts";
import { parseConfig } from "../../src/config/parse.ts";
import {
  HELLO_MAX,
  NEED_MORE,
  NOT_TLS,
  readClientHello,
  readSecondHello,
} from "../../src/runtime/client_hello.ts";
import { certificate } from "../lib/certificates.ts";

const dir = mkdtempSync(`${tmpdir()}/ringmaster-tls-`);
addEventListener("unload", () => rmSync(dir, { recursive: true }));

const one = certificate({ name: "one.example" });
const two = certificate({ name: "*.two.example", plainName: true });
/** The certificates begin in whole seconds. */
const NOW = Date.now() + 5000;
const put = (name: string, text: string) => (writeFileSync(`${dir}/${name}`, text), name);
put("one.crt", one.cert);
put("one.key", one.key);
put("two.crt", two.cert);
put("two.key", two.key);
put("garbage", "garbage");
put("broken.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");

put("order.crt", two.cert + one.cert);
put("nothing", "\n");
put("cut.crt", one.cert.slice(0, 200));
put("request.csr", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n");
put("damaged.key", one.key.replace(/\n.{20}/, "\nAAAA"));
writeFileSync(`${dir}/one.p12`, new Uint8Array([0x30, 0x82, 0x03, 0xff, 0x02, 0x01, 0x03]));

const pool = (keys: string) =>
  `alpha:\n  listen: 127.0.0.1:22121\n  redis: true\n  servers: [ 127.0.0.1:6379:1 ]\n${keys}`;
const parse = (keys: string, nowMs: number | null = NOW) =>
  parseConfig(pool(keys), `${dir}/conf.yml`, true, nowMs);

const GOOD = "certificate: one.crt, key: one.key";

Deno.test("tls: and server_tls: have paths that start at the file, and defaults", () => {
  const [config] = parse(`  tls: { ${GOOD} }\n  server_tls: { ca: one.crt }\n`).pools;
  deepEqual(config!.tls, {
    certificate: `${dir}/one.crt`,
    key: `${dir}/one.key`,
    ca: null,
    clientCertificates: "none",
    userFrom: "off",
    minVersion: "1.2",
    maxVersion: "1.3",
    sni: [],
    handshakeMs: 10_000,
  });
  strictEqual(config!.serverTls!.ca, `${dir}/one.crt`);
  strictEqual(config!.serverTls!.verify, "full");
  const [plain] = parse("").pools;
  deepEqual([plain!.tls, plain!.serverTls], [null, null]);
});

const DAY_MS = 86_400_000;
/** What stands in the file, when, and what is said of it: with line and column. */
const REFUSED: readonly [string, RegExp, number?][] = [
  ["tls: {}", /:5:8: certificate: found nothing, expected the path of a file\n.*:5:8: key: found nothing/],
  ["tls: on", /:5:8: tls: found "on", expected a mapping of certificate/],
  [
    "tls: { certificate: none.crt, key: one.key }",
    /:5:23: tls: certificate: found .*none\.crt, which cannot be read \(no such file\)/,
  ],
  [
    "tls: { certificate: one.crt, key: two.key }",
    /:5:37: tls: key: found the key of another certificate in .*two\.key, expected the one that belongs to .*one\.crt/,
  ],
  [
    "tls: { certificate: one.crt, key: garbage }",
    /:5:37: tls: key: found no private key that can be read in .*garbage/,
  ],
  ["tls: { certificate: garbage, key: one.key }", /tls: certificate: found no certificate in .*garbage/],
  [
    "tls: { certificate: broken.crt, key: one.key }",
    /found something else than a certificate \(number 1\) in .*broken\.crt/,
  ],
  [
    "tls: { certificate: order.crt, key: one.key }",
    /:5:23: tls: certificate: found the certificate of .*one\.key as number 2 in .*order\.crt, expected it first, then those that/,
  ],
  [
    "tls: { certificate: one.p12, key: one.key }",
    /found no certificate in .*one\.p12, but binary data, as PKCS #12 and DER are, expected certificates in PEM/,
  ],
  [
    "tls: { certificate: one.crt, key: one.p12 }",
    /no private key that can be read in .*, but binary data, as PKCS/,
  ],
  [
    "tls: { certificate: nothing, key: one.key }",
    /found no certificate in .*nothing, but nothing at all, expected/,
  ],
  ["tls: { certificate: cut.crt, key: one.key }", /in .*cut\.crt, but 'certificate', cut off, expected/],
  [
    "tls: { certificate: request.csr, key: one.key }",
    /in .*request\.csr, but 'certificate request', expected/,
  ],
  [
    "tls: { certificate: one.key, key: one.crt }",
    /no certificate in .*one\.key, but '(?:ec )?private key', expected/,
  ],
  [
    "tls: { certificate: one.crt, key: two.crt }",
    /that can be read in .*two\.crt, but 'certificate', expected/,
  ],
  [
    "tls: { certificate: one.crt, key: damaged.key }",
    /in .*damaged\.key, but a damaged one, expected a private key/,
  ],
  [
    "tls: { certificate: ., key: one.key }",
    /certificate: found .*, which cannot be read \(a directory\), expected/,
  ],
  [`tls: { ${GOOD} }`, /:5:23: tls: certificate: found a certificate that expired on 20/, 40 * DAY_MS],
  [`tls: { ${GOOD} }`, /found a certificate that begins on 20/, -2 * DAY_MS],
  [`tls: { ${GOOD}, ca: one.crt }`, /ca: found ca without client_certificates/],
  [`tls: { ${GOOD}, client_certificates: required }`, /ca: found nothing, expected the authorities/],
  [`tls: { ${GOOD}, client_certificates: yes }`, /found "yes", expected one of none, optional, required/],
  [`tls: { ${GOOD}, client_certificates: optional, ca: garbage }`, /tls: ca: found no certificate in/],
  [`tls: { ${GOOD}, min_version: 1.3, max_version: 1.2 }`, /min_version: found 1\.3 with max_version: 1\.2/],
  [`tls: { ${GOOD}, min_version: 1.1 }`, /min_version: found "1\.1", expected 1\.2 or 1\.3/],
  [`tls: { ${GOOD}, sni: [] }`, /sni: found an empty list/],
  [
    `tls: { ${GOOD}, sni: [ { certificate: two.crt, key: one.key } ] }`,
    /tls: key: found the key of another certificate/,
  ],
  [`tls: { ${GOOD}, sni: [ { certificate: two.crt } ] }`, /key: found nothing/],
  [
    `tls: { ${GOOD}, user_from: CN }`,
    /:5:\d+: user_from: found user_from: CN without client_certificates, expected client_certificates: opt/,
  ],
  [
    `tls: { ${GOOD}, client_certificates: required, ca: one.crt, user_from: CN }`,
    /:5:8: user_from: found user_from: CN without users/,
  ],
  [
    `tls: { ${GOOD}, client_certificates: required, ca: one.crt, user_from: cn }`,
    /user_from: found "cn", expected one of off, CN, URI, DNS/,
  ],
  [
    `tls: { ${GOOD}, client_certificates: optional, ca: one.crt }\n  users: [ { name: a, rules: +get } ]`,
    /:6:12: password: found nothing, expected one of password, .*nopass, or user_from under tls/,
  ],
  [`tls: { ${GOOD}, cipher: x }`, /cipher: found a key that is none of tls/],
  ["server_tls: { certificate: one.crt }", /certificate: found certificate alone, expected key as well/],
  ["server_tls: { ca: garbage }", /:5:21: server_tls: ca: found no certificate in/],
  ["server_tls: { verify: some }", /found "some", expected one of full, signature, none/],
];

for (const [keys, said, laterMs = 0] of REFUSED) {
  Deno.test(`refused: ${keys}${laterMs === 0 ? "" : ` at another time (${laterMs / DAY_MS} days)`}`, () => {
    throws(() => parse(`  ${keys}\n`, NOW + laterMs), (error: Error) => {
      match(error.message, said);
      ok(!error.message.includes("PRIVATE KEY"), "no key in the message");
      return true;
    });
  });
}

Deno.test("without a time files are not looked at", () => {
  strictEqual(parse("  tls: { certificate: none.crt, key: none.key }\n", null).pools.length, 1);
});

Deno.test("readTlsFiles() knows the names, and until when they are good", () => {
  const { tls } = parse(`  tls: { ${GOOD}, sni: [ { certificate: two.crt, key: two.key } ] }\n`).pools[0]!;
  const { pairs } = readTlsFiles(tls!, NOW);
  deepEqual(pairs.map(({ names }) => names.slice(0, 2)), [["one.example", "127.0.0.1"], ["*.two.example"]]);
  ok(Math.abs(pairs[0]!.endsAtMs - NOW - 30 * DAY_MS) < DAY_MS);
  const [first, second] = pairs;
  const known = ["one.example", "a.one.example", "a.two.example", "two.example", "a.b.two.example"];
  deepEqual(known.map((name) => [hasName(first!, name), hasName(second!, name)]), [
    [true, false],
    [false, false],
    [false, true],
    [false, false],
    [false, false],
  ]);
});

const bytes2 = (n: number) => [n >> 8, n & 255];

/** A ClientHello of so many extensions, in records of `recordSize`. */
function hello(extensions: readonly number[], recordSize = 16_384): Uint8Array {
  const body = [
    3,
    3,
    ...new Array(32).fill(7),
    2,
    9,
    9,
    ...bytes2(2),
    0x13,
    0x01,
    1,
    0,
    ...bytes2(extensions.length),
    ...extensions,
  ];
  const message = [1, 0, ...bytes2(body.length), ...body];
  const bytes: number[] = [];
  for (let at = 0; at < message.length; at += recordSize) {
    const part = message.slice(at, at + recordSize);
    bytes.push(22, 3, 1, ...bytes2(part.length), ...part);
  }
  return new Uint8Array(bytes);
}

function nameExtension(name: string): number[] {
  const bytes = [...new TextEncoder().encode(name)];
  const { length } = bytes;
  return [0, 0, 0, length + 5, 0, length + 3, 0, 0, length, ...bytes];
}

Deno.test("readClientHello() finds the name, however the bytes come", () => {
  const other = [0, 43, 0, 3, 2, 3, 4];
  for (const recordSize of [1, 7, 16_384]) {
    const bytes = hello([...other, ...nameExtension("A.Example"), ...other], recordSize);
    deepEqual(readClientHello(bytes), { serverName: "a.example", unshared: null });
    for (let cut = 0; cut < bytes.length; cut++) {
      strictEqual(readClientHello(bytes.subarray(0, cut)), NEED_MORE);
    }
  }
  deepEqual(readClientHello(hello(other)), { serverName: null, unshared: null });
  deepEqual(readClientHello(hello([])), { serverName: null, unshared: null });
});

/** What says that TLS 1.3 is spoken, which groups are taken, and of which there are shares. */
function groupExtensions(groups: readonly number[], shares: readonly number[]): number[] {
  const listed = groups.flatMap((each) => bytes2(each));
  const shared = shares.flatMap((each) => [...bytes2(each), ...bytes2(3), 1, 2, 3]);
  return [
    ...[0, 43, 0, 5, 4, ...bytes2(0x0304), ...bytes2(0x0303)],
    ...[0, 10, ...bytes2(listed.length + 2), ...bytes2(listed.length), ...listed],
    ...[0, 51, ...bytes2(shared.length + 2), ...bytes2(shared.length), ...shared],
  ];
}

Deno.test("readClientHello() finds a group that is taken and not shared, of clients of TLS 1.3", () => {
  const [x25519, p256, p384, p521] = [29, 23, 24, 25];
  const unshared = (groups: readonly number[], shares: readonly number[]) => {
    const read = readClientHello(hello(groupExtensions(groups, shares)));
    return typeof read === "string" ? read : read.unshared;
  };
  strictEqual(unshared([x25519, p384, p256], [x25519]), "P-256");
  strictEqual(unshared([x25519, p256, p384], [x25519, p256]), "P-384");
  strictEqual(unshared([x25519, p256, p521], [x25519, p256]), null);
  strictEqual(unshared([x25519], []), null);
  strictEqual(unshared([p256], []), "P-256");
  const all = groupExtensions([p256], [x25519]);
  // Without TLS 1.3.
  all[6] = 2;
  const read = readClientHello(hello(all));
  deepEqual(read, { serverName: null, unshared: null });
});

Deno.test("readSecondHello() passes over a change of cipher, however the bytes come", () => {
  const change = [20, 3, 3, 0, 1, 1];
  const bytes = new Uint8Array([...change, ...hello([...nameExtension("a.example")])]);
  deepEqual(readSecondHello(bytes), { serverName: "a.example", unshared: null });
  for (let cut = 0; cut < bytes.length; cut++) {
    strictEqual(readSecondHello(bytes.subarray(0, cut)), NEED_MORE, String(cut));
    if (cut > change.length) strictEqual(readSecondHello(bytes.subarray(change.length, cut)), NEED_MORE);
  }
  strictEqual(readSecondHello(new Uint8Array([21, 3, 3, 0, 2, 2, 40])), NOT_TLS);
  strictEqual(readSecondHello(new Uint8Array([...change, 21, 3, 3, 0, 2, 2, 40])), NOT_TLS);
});

Deno.test("readClientHello() takes nothing else for TLS, and nothing harms it", () => {
  for (
    const text of [
      "*1\r\n$4\r\nPING\r\n",
      "get a\r\n",
      "GET / HTTP/1.1\r\n",
      "\x16\x02",
      "\x15\x03\x01\x00\x02\x02\x28",
    ]
  ) {
    strictEqual(readClientHello(new TextEncoder().encode(text)), NOT_TLS, JSON.stringify(text));
  }
  const huge = new Uint8Array([
    22,
    3,
    1,
    0,
    4,
    1,
    HELLO_MAX >> 16,
    HELLO_MAX >> 8 & 255,
    (HELLO_MAX & 255) + 1,
  ]);
  strictEqual(readClientHello(huge), NOT_TLS);
  const good = hello([...nameExtension("a.example")]);
  for (let i = 0; i < good.length; i++) {
    for (const value of [0, 1, 127, 255]) {
      const bad = good.slice();
      bad[i] = value;
      readClientHello(bad);
    }
  }
});
