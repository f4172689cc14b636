#!/usr/bin/env bash
# A cluster node of Valkey that starts for the first time with the nodes.conf of a Redis 7.0 (an upgrade from Debian 12 to 13, nothing
# else) leaves itself out of its own CLUSTER SHARDS, until it is started once more; CLUSTER NODES tells its slots twice ("0-16383
# 0-16383"). CLUSTER SLOTS is right, cluster_state is ok, and it serves. Redis 7.0 writes no shard-ids into that file, Valkey does.
#
# Guessed: a node that serves its slots tells of them, whichever command asks. A client that learns the map from CLUSTER SHARDS, as the
# documentation says it should since SLOTS is deprecated, finds no owner for the slots of whichever node it happens to ask; and who
# adds up the ranges of CLUSTER NODES counts them double.
# Software: redis-server of Debian 12 (7.0.15), then valkey-tools of Debian 13 (8.1.1); 9.1.2 does the same. Redis 8.6.3 does not.
#
# What to do instead: take SHARDS of several nodes together, and SLOTS where a node does not know itself; start each node twice.
. "$(dirname "${BASH_SOURCE[0]}")/lib/debian_servers.sh"

serve() { # suite, program, name that it is started by
  start "$@" --port "$port" --bind 127.0.0.1 --cluster-enabled yes --save "" --dir "$folder" >log 2>&1 &
  echo $! >server.pid
}
cat >ask.py <<'PY'
import socket, sys, time
# What one node says: SHARDS by the slots in it, SLOTS by its ranges, NODES by what stands behind "connected".
for _ in range(200):
    try:
        node = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5)
        break
    except OSError:
        time.sleep(0.05)
file = node.makefile("rb")
def read():
    line = file.readline()[:-2].decode()
    if line[0] == "*":
        return [read() for _ in range(int(line[1:]))]
    if line[0] == "$":
        return file.read(int(line[1:]) + 2)[:-2].decode()
    return line[1:]
def ask(text):
    words = text.split()
    node.sendall(f"*{len(words)}\r\n".encode() + b"".join(f"${len(w)}\r\n{w}\r\n".encode() for w in words))
    return read()
if sys.argv[2:] == ["own"]:
    ask("CLUSTER ADDSLOTSRANGE 0 16383")
while "cluster_state:ok" not in ask("CLUSTER INFO"):
    time.sleep(0.05)
ask("CLUSTER SAVECONFIG")
shards = [shard[1] for shard in ask("CLUSTER SHARDS")]
slots = [entry[:2] for entry in ask("CLUSTER SLOTS")]
print(f"shards {shards}, slots {slots}, nodes {ask('CLUSTER NODES').split('connected ')[1].strip()}")
PY
stop() { kill "$(cat server.pid)"; wait "$(cat server.pid)" 2>/dev/null || true; rm server.pid; }
serve bookworm redis-check-rdb redis-server
first=$(python3 ask.py "$port" own); stop
serve trixie valkey-check-rdb valkey-server
second=$(python3 ask.py "$port"); stop
serve trixie valkey-check-rdb valkey-server
third=$(python3 ask.py "$port"); stop
printf 'Redis 7.0:           %s\nValkey, first start: %s\nand once more:       %s\n' "$first" "$second" "$third" | tee said
diff said - <<'SEEN' || { echo "this is not what was seen before (the second side)"; exit 1; }
Redis 7.0:           shards [['0', '16383']], slots [['0', '16383']], nodes 0-16383
Valkey, first start: shards [], slots [['0', '16383']], nodes 0-16383 0-16383
and once more:       shards [['0', '16383']], slots [['0', '16383']], nodes 0-16383
SEEN
