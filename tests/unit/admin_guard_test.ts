/** Who may ask the admin side: each case a line. */
import { strictEqual } from "node:assert/strict";
import { refusalOf } from "../../src/admin/guard.ts";

const TOKEN = "correct-horse-battery";
const basic = (text: string) => `Basic ${btoa(text)}`;

/** What is asked, its headers, and the status of the refusal; null = it may. */
type Case = readonly [string, readonly string[], number | null];

/** Without a token: on an address of this machine alone. */
const LOCAL: readonly Case[] = [
  ["GET /", ["Host", "127.0.0.1:22280"], null],
  ["GET /", ["hOST", "LOCALHOST:22280"], null],
  ["GET /", ["Host", "[::1]:22280"], null],
  ["GET /", ["Host", "10.1.2.3:8080"], null],
  ["GET /", [], 400],
  ["GET /", ["Host", ""], 400],
  ["GET /", ["Host", "127.0.0.1", "Host", "127.0.0.1"], 400],
  ["GET /", ["Host", "127.0.0.1", "HOST", "evil.test"], 400],
  ["GET /", ["Host", "127.0.0.1, evil.test"], 400],
  ["GET /", ["Host", "user@127.0.0.1"], 400],
  ["GET /", ["Host", "127.0.0.1:99999999"], 400],
  ["GET /", ["Host", "127.0.0.1:22280:80"], 400],
  ["GET /", ["Host", "evil.test"], 403],
  ["GET /", ["Host", "evil.test:22280"], 403],
  ["GET /", ["Host", "localhost.evil.test"], 403],
  ["GET /", ["Host", "127.0.0.1.evil.test"], 403],
  ["GET /", ["Host", "localhost."], 403],
  ["GET http://127.0.0.1/", ["Host", "127.0.0.1"], 400],
  ["GET http://evil.test/", ["Host", "127.0.0.1"], 400],
  ["OPTIONS *", ["Host", "127.0.0.1"], 400],
  ["GET /", ["Host", "127.0.0.1:80", "Origin", "http://127.0.0.1:80"], null],
  ["GET /", ["Host", "127.0.0.1:80", "Origin", "http://evil.test"], 403],
  ["GET /", ["Host", "127.0.0.1:80", "Origin", "http://127.0.0.1:81"], 403],
  ["GET /", ["Host", "127.0.0.1:80", "Origin", "null"], 403],
  ["GET /", ["Host", "127.0.0.1:80", "Sec-Fetch-Site", "cross-site"], null],
  ["POST /", ["Host", "127.0.0.1:80"], null],
  [
    "POST /",
    ["Host", "127.0.0.1:80", "Origin", "http://127.0.0.1:80", "Sec-Fetch-Site", "same-origin"],
    null,
  ],
  ["POST /", ["Host", "127.0.0.1:80", "Sec-Fetch-Site", "none"], null],
  ["POST /", ["Host", "127.0.0.1:80", "Sec-Fetch-Site", "cross-site"], 403],
  ["POST /", ["Host", "127.0.0.1:80", "Sec-Fetch-Site", "same-site"], 403],
  ["POST /", ["Host", "127.0.0.1:80", "Origin", "null"], 403],
  ["POST /", ["Host", "127.0.0.1:80", "Origin", "http://evil.test"], 403],
  ["POST /", ["Host", "127.0.0.1:80", "Origin", "http://127.0.0.1:80", "Origin", "http://evil.test"], 403],
];

/** With the token. */
const AFAR: readonly Case[] = [
  ["GET /", ["Host", "rm.example.com"], 401],
  ["GET /", ["Host", "rm.example.com", "Authorization", `Bearer ${TOKEN}`], null],
  ["GET /", ["Host", "rm.example.com", "authorization", `bearer  ${TOKEN}`], null],
  ["GET /", ["Host", "rm.example.com", "Authorization", `Bearer ${TOKEN}x`], 401],
  ["GET /", ["Host", "rm.example.com", "Authorization", "Bearer "], 401],
  ["GET /", ["Host", "rm.example.com", "Authorization", TOKEN], 401],
  ["GET /", ["Host", "rm.example.com", "Authorization", basic(`any:${TOKEN}`)], null],
  ["GET /", ["Host", "rm.example.com", "Authorization", basic(TOKEN)], null],
  ["GET /", ["Host", "rm.example.com", "Authorization", basic(`${TOKEN}:`)], 401],
  ["GET /", ["Host", "rm.example.com", "Authorization", "Basic %%%"], 401],
  [
    "GET /",
    ["Host", "rm.example.com", "Authorization", `Bearer ${TOKEN}`, "Authorization", `Bearer ${TOKEN}`],
    401,
  ],
  ["GET /", ["Authorization", `Bearer ${TOKEN}`], 400],
  [
    "POST /",
    ["Host", "rm.example.com", "Authorization", basic(`any:${TOKEN}`), "Origin", "http://evil.test"],
    403,
  ],
  ["POST /", [
    "Host",
    "rm.example.com",
    "Authorization",
    `Bearer ${TOKEN}`,
    "Origin",
    "https://rm.example.com",
  ], null],
];

for (const [cases, token] of [[LOCAL, null], [AFAR, TOKEN]] as const) {
  for (const [asked, rawHeaders, status] of cases) {
    const headers = rawHeaders.map((text, i) => i % 2 === 0 ? `${text}:` : text).join(" ");
    Deno.test(`refusalOf() ${token === null ? "" : "with a token "}answers ${asked} ${headers} with ${status}`, () => {
      const [method = "", target = ""] = asked.split(" ");
      strictEqual(refusalOf({ method, target, rawHeaders }, token, false)?.status ?? null, status);
    });
  }
}

Deno.test("refusalOf() asks for no token where a route is open, and for everything else all the same", () => {
  const open = (rawHeaders: string[]) =>
    refusalOf({ method: "GET", target: "/healthz", rawHeaders }, TOKEN, true);
  strictEqual(open(["Host", "10.0.0.1"]), null);
  strictEqual(open([])?.status, 400);
  strictEqual(open(["Host", "10.0.0.1", "Origin", "http://evil.test"])?.status, 403);
});

Deno.test("admin: with TLS a name is as good as an address, and Origin is looked at as ever", () => {
  const asked = (headers: string[]) =>
    refusalOf({ method: "GET", target: "/", rawHeaders: headers }, null, false, true)?.status ?? null;
  strictEqual(asked(["Host", "admin.internal:22280"]), null);
  strictEqual(asked(["Host", "admin.internal", "Origin", "https://evil.test"]), 403);
});
