#!/usr/bin/env bash
# FAILOVER, the servers' own command for a planned failover, is forgotten by both of them when they start again: the old primary comes
# back as a primary, and the new one, whose file still has "replicaof", as its replica. So if the old one is taken down for the work
# that the failover was made for, and both are started again later, what the new primary has acknowledged and saved meanwhile is thrown
# away: it takes the old one's data.
#
# Guessed: who has been made a primary is one after a restart, as it is after a failover by Sentinel (which says CONFIG REWRITE to
# both). Nothing is logged, and FAILOVER answers +OK.
# Software: redis-server of Debian 12 (7.0.15) and valkey-server of Debian 13 (8.1.1).
#
# What to do instead: CONFIG REWRITE on both right after FAILOVER, before either is stopped.
. "$(dirname "${BASH_SOURCE[0]}")/lib/debian_servers.sh"

serve() { # suite, program, name that it is started by, a or b
  start "$1" "$2" "$3" "$folder/$1.$4/conf" >>log 2>&1 &
  echo $! >"$1.$4.pid"
}
cat >ask.py <<'PY'
import socket, sys, time
# One request to one server, its answer in a line; again and again until it begins as is wanted.
port, wanted, words = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
for _ in range(600):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as server:
            server.sendall(f"*{len(words)}\r\n".encode() + b"".join(f"${len(w)}\r\n{w}\r\n".encode() for w in words))
            said = server.recv(65536).decode()
    except OSError:
        said = ""
    lines = [line for line in said.split("\r\n") if line]
    answer = lines[2] if said[:1] == "*" and len(lines) > 2 else "nil" if said[:3] == "$-1" else lines[-1] if lines else "closed"
    if answer.startswith(wanted) and not (words == ["ROLE"] and answer == "slave" and "connected" not in said.split("\r\n")):
        break
    time.sleep(0.05)
print(answer)
PY
run() { # suite, program, name
  local a=$port b=$((port + 1))
  port=$((port + 2))
  mkdir "$1.a" "$1.b"
  printf 'port %s\nbind 127.0.0.1\ndir %s\nrepl-diskless-sync-delay 0\n' "$a" "$folder/$1.a" >"$1.a/conf"
  printf 'port %s\nbind 127.0.0.1\ndir %s\nreplicaof 127.0.0.1 %s\n' "$b" "$folder/$1.b" "$a" >"$1.b/conf"
  serve "$@" a; serve "$@" b
  python3 ask.py "$b" slave ROLE >/dev/null
  python3 ask.py "$a" +OK FAILOVER TO 127.0.0.1 "$b" >/dev/null
  python3 ask.py "$b" master ROLE >/dev/null
  python3 ask.py "$a" slave ROLE >/dev/null
  for each in a b; do
    [ $each = a ] || echo "$1: the new primary says to SET $(python3 ask.py "$b" +OK SET key value)"
    python3 ask.py "${!each}" "" SHUTDOWN SAVE >/dev/null
    wait "$(cat "$1.$each.pid")" 2>/dev/null || true
    rm "$1.$each.pid"
  done
  serve "$@" a
  python3 ask.py "$a" master ROLE >/dev/null
  serve "$@" b
  echo "$1: started again, the old one is a $(python3 ask.py "$a" master ROLE), the new one a $(python3 ask.py "$b" slave ROLE), key is $(python3 ask.py "$b" nil GET key)"
}
{
  run bookworm redis-check-rdb redis-server
  run trixie valkey-check-rdb valkey-server
} | tee said
diff said - <<'SEEN' || { echo "this is not what was seen before (the second side)"; exit 1; }
bookworm: the new primary says to SET +OK
bookworm: started again, the old one is a master, the new one a slave, key is nil
trixie: the new primary says to SET +OK
trixie: started again, the old one is a master, the new one a slave, key is nil
SEEN
