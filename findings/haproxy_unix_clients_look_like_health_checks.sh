#!/usr/bin/env bash
# HAProxy tells the server behind it that a client of one of its unix sockets is none: in PROXY protocol 2 it sends LOCAL, which the
# protocol (HAProxy's own) keeps for connections that the proxy makes for itself, such as health checks; in version 1, UNKNOWN.
#
# Guessed: PROXY with the family AF_UNIX, which the protocol has for this very case, or at least PROXY with UNSPEC. Whoever counts
# and logs LOCAL as a health check, as the protocol suggests, has real clients among its health checks, and no client to name.
# Software: HAProxy of Debian 12 (2.6.12); 3.2.26 does the same. Its configuration is the plain one: `bind /path`, `send-proxy-v2`.
#
# What to do instead: take LOCAL and UNKNOWN for a client at the balancer's own address (docs/access.md), and bind a TCP address where
# clients are to be told apart.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
# Debian's packages as they are, unpacked here: nothing is installed.
packages="haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1"
apt-get download -qq $packages >/dev/null 2>&1 || { echo "needs Debian 12 and its package lists: apt-get update"; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" root; done
libraries=$(find "$folder/root" -name '*.so.*' -printf '%h\n' | sort -u | tr '\n' ':')

cat >try.cfg <<'CFG'
defaults
  mode tcp
  timeout connect 3s
  timeout client 10s
  timeout server 10s
backend version2
  server s unix@behind.sock send-proxy-v2
backend version1
  server s unix@behind.sock send-proxy
frontend two
  bind unix@two.sock
  default_backend version2
frontend one
  bind unix@one.sock
  default_backend version1
frontend tcp
  bind 127.0.0.1:PORT
  default_backend version2
CFG
cat >try.py <<'PY'
import os, socket, subprocess, time
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
with open("try.cfg") as file:
    text = file.read().replace("PORT", str(port))
with open("try.cfg", "w") as file:
    file.write(text)
behind = socket.socket(socket.AF_UNIX)
behind.bind("behind.sock")
behind.listen()
haproxy = subprocess.Popen(["root/usr/sbin/haproxy", "-db", "-f", "try.cfg"], stderr=subprocess.DEVNULL)

def connect(to):
    for _ in range(200):
        client = socket.socket(socket.AF_UNIX if isinstance(to, str) else socket.AF_INET)
        try:
            client.connect(to)
            return client
        except OSError:
            client.close()
            time.sleep(0.05)
    raise SystemExit("HAProxy does not listen")

COMMANDS = {0x20: "LOCAL", 0x21: "PROXY"}
try:
    for name, to in (("unix client, version 2", "two.sock"), ("unix client, version 1", "one.sock"), ("TCP client, version 2", ("127.0.0.1", port))):
        client = connect(to)
        client.sendall(b"x")
        server, _ = behind.accept()
        got = b""
        while not got.endswith(b"x"):
            got += server.recv(1000)
        if got.startswith(b"\r\n\r\n\0\r\nQUIT\n"):
            size = int.from_bytes(got[14:16], "big")
            print(f"{name}: {COMMANDS[got[12]]}, family and transport 0x{got[13]:02x}, {size} bytes of address")
        else:
            print(f"{name}: {got[:-1].decode().strip()}")
        client.close()
        server.close()
finally:
    haproxy.terminate()
    haproxy.wait()
PY
export LD_LIBRARY_PATH="$libraries"
root/usr/sbin/haproxy -v | head -1
seen=$(python3 try.py)
echo "$seen"
expected="unix client, version 2: LOCAL, family and transport 0x00, 0 bytes of address
unix client, version 1: PROXY UNKNOWN
TCP client, version 2: PROXY, family and transport 0x11, 12 bytes of address"
[ "$seen" = "$expected" ] || { echo "it has changed; seen on 2026-11-29 with HAProxy 2.6.12:"; echo "$expected"; exit 1; }
