#!/usr/bin/env bash
# A TLS server of Bun has every connection of a Deno client begin again (HelloRetryRequest): a round trip more each, though the
# client's first message has a key share of a group (x25519) that the server takes as well.
#
# Guessed: who finds a usable key share takes it, as Node's and Deno's servers do with the same client; the group is the client's
# choice (Deno names x25519 first and X25519MLKEM768 last, and sends a share of the first only).
# Software: bun 1.4.5 as the server, deno 2.9.6 as the client (both npm), beside Node and Deno as servers, Linux. Met when half open
# handshakes were counted: each of a Deno client's had two ClientHellos.
#
# What it is: Bun's TLS library (BoringSSL) goes by the server's own order, in which the post-quantum group comes first, and asks for a
# share of that if the client names it at all. With `ecdhCurve: "X25519:P-256"` among the server's options it does not ask again, and
# the exchange is not a post-quantum one.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts=false bun@1.4.5 deno@2.9.6 >/dev/null
PATH="$folder/node_modules/.bin:$PATH"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE 2>/dev/null

cat >server.mjs <<'JS'
import { readFileSync } from "node:fs";
import { createServer } from "node:tls";
const ecdhCurve = process.argv[2];
const options = { cert: readFileSync("cert.pem"), key: readFileSync("key.pem"), ...(ecdhCurve ? { ecdhCurve } : {}) };
const server = createServer(options, (socket) => {
  socket.on("error", () => {});
  socket.end("hello");
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
JS

# A relay between client and server counts what is said in the clear: ClientHellos, and ServerHellos that ask to begin again.
cat >client.ts <<'TS'
const RETRY = "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c";
const hex = (bytes: Uint8Array) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const relay = Deno.listen({ hostname: "127.0.0.1", port: 0 });
let hellos = 0;
let retries = 0;
async function pass(from: Deno.Conn, to: Deno.Conn, see: (bytes: Uint8Array) => void) {
  const bytes = new Uint8Array(65536);
  try {
    for (let n = await from.read(bytes); n !== null; n = await from.read(bytes)) {
      see(bytes.subarray(0, n));
      await to.write(bytes.subarray(0, n));
    }
  } catch { /* the other one has gone */ }
}
(async () => {
  for await (const client of relay) {
    const server = await Deno.connect({ hostname: "127.0.0.1", port: Number(Deno.args[0]) });
    pass(client, server, (bytes) => { if (bytes[0] === 22 && bytes[5] === 1) hellos++; });
    pass(server, client, (bytes) => { if (hex(bytes.subarray(11, 43)) === RETRY) retries++; });
  }
})();
const caCerts = [Deno.readTextFileSync("cert.pem")];
const { port } = relay.addr as Deno.NetAddr;
for (let i = 0; i < 3; i++) {
  const conn = await Deno.connectTls({ hostname: "localhost", port, caCerts });
  const answer = new Uint8Array(5);
  if (await conn.read(answer) !== 5) throw new Error("no answer");
  conn.close();
}
console.log(`3 connections, ${hellos} ClientHellos, ${retries} asked to begin again`);
Deno.exit(0);
TS

try() {
  local name=$1
  shift
  "$@" >port.txt &
  local server=$!
  for _ in $(seq 100); do [ -s port.txt ] && break; sleep 0.1; done
  echo "$name: $(deno run -A --quiet client.ts "$(cat port.txt)")"
  kill "$server"
  wait "$server" 2>/dev/null || true
  : >port.txt
}
seen=$(
  try "server of Node" node server.mjs
  try "server of Deno" deno run -A --quiet server.mjs
  try "server of Bun" bun server.mjs
  try "server of Bun, ecdhCurve X25519:P-256" bun server.mjs X25519:P-256
)
echo "$seen"
expected="server of Node: 3 connections, 3 ClientHellos, 0 asked to begin again
server of Deno: 3 connections, 3 ClientHellos, 0 asked to begin again
server of Bun: 3 connections, 6 ClientHellos, 3 asked to begin again
server of Bun, ecdhCurve X25519:P-256: 3 connections, 3 ClientHellos, 0 asked to begin again"
[ "$seen" = "$expected" ] || { echo "it has changed; seen on 2026-11-30 with bun 1.4.5 and deno 2.9.6:"; echo "$expected"; exit 1; }
