#!/usr/bin/env bash
# An http.Server of Bun tells of a connection (the documented `connection` event) only with its first byte: who connects and says
# nothing is known to nobody, is in no count (getConnections) and has no socket that a program could time or close.
#
# Guessed: `connection` comes when the connection does, as on Node ("emitted when a new TCP stream is established"), so that a
# server can bound how many there are, and how long each may take to say something.
# Software: bun 1.4.5 (npm) beside Node 20, Linux. Met when an admin side was to bound its connections.
#
# What to do instead: listen with node:net, whose `connection` event comes at once, and hand each socket to the http.Server by
# emitting `connection` there, which Node documents.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts=false bun@1.4.5 >/dev/null

cat >try.mjs <<'JS'
import { createServer as http } from "node:http";
import { connect, createServer as net } from "node:net";
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
async function look(name, server) {
  let seen = 0;
  server.on("connection", (socket) => { seen++; socket.on("error", () => {}); });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const client = connect(server.address().port, "127.0.0.1");
  client.on("error", () => {});
  await new Promise((done) => client.on("connect", done));
  await pause(500);
  const silent = seen;
  const counted = await new Promise((done) => server.getConnections((_error, count) => done(count)));
  client.write("G");
  await pause(500);
  console.log(`${name}: silent for half a second: told of ${silent}, counted ${counted}; after one byte: told of ${seen}`);
  client.destroy();
  server.close();
}
await look("node:net", net());
await look("node:http", http());
process.exit(0);
JS
echo "on Node:"
node try.mjs
echo "on Bun:"
seen=$(node_modules/.bin/bun try.mjs)
echo "$seen"
expected="node:net: silent for half a second: told of 1, counted 1; after one byte: told of 1
node:http: silent for half a second: told of 0, counted 0; after one byte: told of 1"
[ "$seen" = "$expected" ] || { echo "it has changed; seen on 2026-11-29 with bun 1.4.5:"; echo "$expected"; exit 1; }
