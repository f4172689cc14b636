#!/usr/bin/env bash
# A unix listener of Deno removes its socket's file by name, and only when its last accept has ended, which is later than
# close(): a second listener that has taken the path in between, in good order, loses its file and is out of reach.
#
# Guessed: close() is over when it returns (as for TCP, and as node:net and Bun have it), or at least the file is removed
# only if it is still the listener's own.
# Software: deno 2.9.6 (npm), Linux. Met when a pool that listens on a path was configured anew while running.
#
# What to do instead: wait for the accept loop to end before the path is used again.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts=false deno@2.9.6 >/dev/null

cat >try.ts <<'TS'
const path = "./s.sock";
const there = () => { try { Deno.lstatSync(path); return "there"; } catch { return "gone"; } };
async function acceptAll(listener: Deno.Listener) {
  try { for (;;) (await listener.accept()).close(); } catch { /* closed */ }
}
async function turn(waits: boolean) {
  const first = Deno.listen({ transport: "unix", path });
  const accepting = acceptAll(first);
  await new Promise((done) => setTimeout(done, 50));
  first.close();
  const atClose = there();
  if (waits) await accepting;
  try { Deno.removeSync(path); } catch { /* gone already */ }
  const second = Deno.listen({ transport: "unix", path });
  const accepting2 = acceptAll(second);
  const before = there();
  await new Promise((done) => setTimeout(done, 200));
  let connects = "connects";
  try { (await Deno.connect({ transport: "unix", path })).close(); } catch { connects = "refused"; }
  console.log(`${waits ? "after the loop" : "at once"}: file at close ${atClose}, second listener ${before}, later ${there()}, ${connects}`);
  second.close();
  await accepting2;
  try { Deno.removeSync(path); } catch { /* gone already */ }
}
await turn(false);
await turn(true);
TS
seen=$(node_modules/.bin/deno run -A try.ts)
echo "$seen"
expected="at once: file at close there, second listener there, later gone, refused
after the loop: file at close there, second listener there, later there, connects"
[ "$seen" = "$expected" ] || { echo "it has changed; seen on 2026-11-29 with deno 2.9.6:"; echo "$expected"; exit 1; }
