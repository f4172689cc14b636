#!/usr/bin/env bash
# To Deno a name server that cannot answer says the same as one that knows there is no such name: SERVFAIL (2) and REFUSED (5) become
# "no records found", a NotFound, as NXDOMAIN (3) does. Its node:dns too: ENOTFOUND for all of them, where Node has a code for each.
#
# Guessed: a failure that may pass (ESERVFAIL, EREFUSED) is told from an answer that is final (ENOTFOUND, ENODATA), as node:dns documents
# its codes, and Deno.resolveDns keeps NotFound for a record that is not there. Whoever takes "there is none" for an answer drops what
# is behind a name for as long as its name server is ill.
# Software: deno 2.9.6 (npm) beside Node (any) and bun 1.4.5 (npm), Linux. Met when servers were to be looked up by name while running.
#
# What to do instead: on Deno no failure of a look-up says that a name has gone; keep what was known, and say so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts=false deno@2.9.6 bun@1.4.5 >/dev/null

# A name server of its own on a free port: it sends each question back with the code that its turn has.
cat >try.mjs <<'JS'
import { createSocket } from "node:dgram";
import { Resolver } from "node:dns/promises";
let code = 0;
const server = createSocket("udp4");
server.on("message", (query, from) => {
  const reply = new Uint8Array(query);
  reply[2] = 0x81; // a response, recursion desired
  reply[3] = 0x80 | code; // recursion available
  reply[11] = 0; // no additional record
  let end = 12;
  while (reply[end] !== 0) end += reply[end] + 1;
  server.send(reply.subarray(0, end + 5), from.port, from.address);
});
await new Promise((done) => server.bind(0, "127.0.0.1", done));
const { port } = server.address();
const resolver = new Resolver({ tries: 1, timeout: 5000 });
resolver.setServers([`127.0.0.1:${port}`]);
const said = [];
for (const [name, of] of [["SERVFAIL", 2], ["NXDOMAIN", 3], ["REFUSED", 5]]) {
  code = of;
  const node = await resolver.resolve4("a.example").then(JSON.stringify, (error) => error.code);
  let deno = "";
  if ("Deno" in globalThis) {
    const nameServer = { ipAddr: "127.0.0.1", port };
    deno = await Deno.resolveDns("a.example.", "A", { nameServer }).then(JSON.stringify, (error) => ` and ${error.name}`);
  }
  said.push(`${name} ${node}${deno}`);
}
console.log(said.join(", "));
server.close();
JS

status=0
look() { # runtime, output seen
  local out
  out=$("${@:2:$#-2}" try.mjs)
  echo "$1: $out"
  [ "$out" = "${!#}" ] || { echo "  seen before: ${!#}"; status=1; }
}
look node node "SERVFAIL ESERVFAIL, NXDOMAIN ENOTFOUND, REFUSED EREFUSED"
look bun node_modules/.bin/bun "SERVFAIL ESERVFAIL, NXDOMAIN ENOTFOUND, REFUSED EREFUSED"
look deno node_modules/.bin/deno run -A "SERVFAIL ENOTFOUND and NotFound, NXDOMAIN ENOTFOUND and NotFound, REFUSED ENOTFOUND and NotFound"
exit $status
