#!/usr/bin/env bash
# memcached 1.6.18 (Debian 12) says that a counter of 2^63 or more is no number, if an item that has been deleted long ago had a minus where
# the counter's memory ends. The same commands on a server that never had such an item count on.
#
# Guessed: whether a value is a number hangs on the value. memcached's own documentation has counters of 64 bits without a sign, and `get`
# shows the same twenty digits in both cases. Counters that begin with a hash or a random number have such values; the error comes and goes
# with what else was stored in items of about that size.
# Software: memcached 1.6.18 as Debian 12 has it. 1.6.45 counts on (tried by hand).
#
# What to do instead: keep counters below 2^63, or take the error for "ask again by get and cas". Whoever compares two servers by their
# answers (our fuzz:binary does) must store no minus beside large counters.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
# Debian's packages as they are, unpacked here: nothing is installed.
apt-get download -qq memcached libevent-2.1-7 libsasl2-2 libssl3 >/dev/null 2>&1 || {
  echo "needs Debian 12 and its package lists: apt-get update"
  exit 2
}
for package in *.deb; do dpkg-deb -x "$package" root; done
libraries=$(find "$folder/root" -name '*.so.*' -printf '%h\n' | sort -u | tr '\n' ':')

cat >try.py <<'PY'
import os, socket, subprocess, time
user = ["-u", "root"] if os.getuid() == 0 else []
server = subprocess.Popen(["root/usr/bin/memcached", "-s", "m.sock", "-t", "1", *user])
client = None
for _ in range(200):
    try:
        client = socket.socket(socket.AF_UNIX)
        client.connect("m.sock")
        break
    except OSError:
        time.sleep(0.02)
said = client.makefile("rb")

def ask(line, value=None):
    client.sendall(line.encode() + b"\r\n" + (b"" if value is None else value.encode() + b"\r\n"))
    reply = said.readline().decode().strip()
    if reply.startswith("VALUE"):
        reply = said.readline().decode().strip()
        said.readline()
    return reply

BIG = str(2**64 - 1)
print("version:", ask("version"))
print("set counter:", ask(f"set counter 0 0 {len(BIG)}", BIG))
print("incr counter 0:", ask("incr counter 0"))
ask("delete counter")
# Another item, of about the same size, that is gone before the counter comes.
ask("set note 0 0 30", "-" * 30)
ask("delete note")
print("set counter, after a note of dashes was deleted:", ask(f"set counter 0 0 {len(BIG)}", BIG))
print("incr counter 0:", ask("incr counter 0"))
print("get counter:", ask("get counter"))
server.terminate()
server.wait()
PY
seen=$(LD_LIBRARY_PATH="$libraries" python3 try.py)
expected="version: VERSION 1.6.18
set counter: STORED
incr counter 0: 18446744073709551615
set counter, after a note of dashes was deleted: STORED
incr counter 0: CLIENT_ERROR cannot increment or decrement non-numeric value
get counter: 18446744073709551615"
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "CHANGED; seen before:"
  echo "$expected"
  exit 1
fi
