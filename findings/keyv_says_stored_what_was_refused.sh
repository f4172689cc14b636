#!/usr/bin/env bash
# A cache of Keyv with its Redis store answers `true` to a set that the server has refused: nothing is stored, nothing rejects, and only
# a listener of the `error` event hears why. setMany says nothing then, and delete says false, so what is said is not of one kind.
#
# Guessed: what resolves to whether it was stored says false, as delete does, or rejects. A program that checks what set returns goes on
# with a cache that has not one entry, for as long as the server refuses: here a replica (READONLY), as after a failover; a server whose
# memory is full (OOM), or that may not write its snapshot (MISCONF), refuses alike.
# Software: keyv 5.6.0 and @keyv/redis 5.1.6 (npm), redis-server of Debian 12 (7.0.15). Met when a refused MULTI went unnoticed.
#
# What to do instead: `throwOnErrors: true` for the Keyv and the store, or a listener for `error` that is heeded (docs/recipes.md).
set -eu
folder=$(mktemp -d)
trap 'kill $(cat "$folder"/*.pid 2>/dev/null) 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund keyv@5.6.0 @keyv/redis@5.1.6 >/dev/null
# Debian's packages as they are, unpacked here: nothing is installed.
apt-get download -qq redis-tools libjemalloc2 liblzf1 libatomic1 >/dev/null 2>&1 ||
  { echo "needs Debian 12 and its package lists: apt-get update"; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" root; done
export LD_LIBRARY_PATH=$PWD/root/usr/lib/$(uname -m)-linux-gnu
ln -s root/usr/bin/redis-check-rdb redis-server # one program; its name says what it is

port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')
# A replica of nobody who answers: it serves what it has, and refuses writes.
./redis-server --port "$port" --bind 127.0.0.1 --save "" --replicaof 127.0.0.1 1 --daemonize yes --pidfile "$PWD/redis.pid" --dir "$PWD" >/dev/null

cat >try.mjs <<'JS'
import Keyv from "keyv";
import KeyvRedis from "@keyv/redis";
const heard = [];
const cache = new Keyv({ store: new KeyvRedis(`redis://127.0.0.1:${process.argv[2]}`) });
cache.on("error", (error) => heard.push(error.message.split(" ")[0]));
for (const [name, ask] of [
  ["set", () => cache.set("a", 1)],
  ["setMany", () => cache.setMany([{ key: "b", value: 1 }, { key: "c", value: 2 }])],
  ["get", () => cache.get("a")],
  ["delete", () => cache.delete("a")],
]) {
  heard.length = 0;
  const said = await ask().then((value) => JSON.stringify(value) ?? "undefined", (error) => `rejects: ${error.message}`);
  console.log(`${name}: ${said}${heard.length > 0 ? `, event ${heard.join(", ")}` : ""}`);
}
await cache.disconnect();
JS

node try.mjs "$port" | tee said
diff said - <<'SEEN' || { echo "this is not what was seen before (the second side)"; exit 1; }
set: true, event READONLY
setMany: undefined, event READONLY
get: undefined
delete: false, event READONLY
SEEN
