/** The names in a certificate: those that openssl has put there, and none of what is no certificate. */
import { deepStrictEqual, ok } from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { namesIn } from "../../src/runtime/certificate_names.ts";
import { certificate, type Wish } from "../lib/certificates.ts";
import { latin1 } from "../lib/bytes.ts";
import { Random } from "../lib/random.ts";

const derOf = (wish: Wish) => new Uint8Array(new X509Certificate(certificate(wish).cert).raw);
const NAMES = "URI:spiffe://a.example/x,DNS:one.example,IP:127.0.0.1,URI:urn:b,DNS:two.example,email:a@b";
const long = "n".repeat(60);
const plain = derOf({ name: "app", names: NAMES });

Deno.test("names are read as they stand there, and no text can make two of one", () => {
  const cn = (subject: string) => namesIn(derOf({ name: "x", subject }), "CN");
  deepStrictEqual(namesIn(plain, "CN"), ["app"]);
  deepStrictEqual(namesIn(plain, "URI"), ["spiffe://a.example/x", "urn:b"]);
  deepStrictEqual(namesIn(plain, "DNS"), ["one.example", "two.example"]);
  deepStrictEqual(cn(`/O=CN/OU=app/CN=${long}`), [long]);
  deepStrictEqual(cn("/CN=a\\/CN=b, CN=c"), ["a/CN=b, CN=c"]);
  deepStrictEqual(
    cn("/CN=größe"),
    ["größe"].map((text) => String.fromCharCode(...new TextEncoder().encode(text))),
  );
  deepStrictEqual(cn("/O=nobody"), []);
  // Which of them is meant?
  deepStrictEqual(cn("/CN=a/CN=b"), []);
  deepStrictEqual(cn("/CN=a+CN=b"), []);
  const many = Array.from({ length: 300 }, (_, i) => `URI:urn:${i}`).join(",");
  ok(namesIn(derOf({ name: "x", names: many }), "URI").length <= 64);
});

Deno.test("what is no certificate, or half of one, has no names that were not in it", () => {
  const random = new Random(5);
  const known = ["app", "spiffe://a.example/x", "urn:b", "one.example", "two.example"];
  for (let end = 0; end < plain.length; end++) {
    for (const kind of ["CN", "URI", "DNS"] as const) {
      deepStrictEqual(namesIn(plain.subarray(0, end), kind), []);
    }
  }
  for (let i = 0; i < 5000; i++) {
    const spoilt = plain.slice();
    const at = random.below(spoilt.length);
    spoilt[at] = random.below(256);
    for (const kind of ["CN", "URI", "DNS"] as const) {
      // One byte of a name, or of a length, makes another name: never more of them.
      ok(namesIn(spoilt, kind).length <= known.length);
    }
  }
  deepStrictEqual(namesIn(latin1("\x30\x84\xff\xff\xff\xff"), "CN"), []);
});
