# What findings about servers of Debian's packages begin with; sourced. Afterwards the shell is in a temporary folder, $folder, which goes at
# its end with the processes whose numbers stand in its *.pid; bookworm/ and trixie/ have Redis 7.0 and Valkey; $port is free.
set -eu
folder=$(mktemp -d)
trap 'kill -9 $(cat "$folder"/*.pid 2>/dev/null) 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
# Packages as they are, unpacked here: nothing is installed. Each server brings its own libraries.
mkdir -p apt/lists/partial apt/cache/archives/partial
: >apt/status
mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | sort -u | head -n 1)
[ -n "$mirror" ] || { echo "needs Debian, and a mirror that apt knows"; exit 2; }
for suite in bookworm trixie; do
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >apt/list.$suite
  cat >apt/$suite <<CONF
Dir::Etc::SourceList "$folder/apt/list.$suite"; Dir::Etc::SourceParts "/dev/null"; Dir::State::Lists "$folder/apt/lists";
Dir::Etc::Preferences "/dev/null"; Dir::Etc::PreferencesParts "/dev/null";
Dir::Cache "$folder/apt/cache"; Dir::State::status "$folder/apt/status"; APT::Sandbox::User "root";
CONF
done
bring() { # suite, package that has the server, and what it links with
  apt-get -q -c "apt/$1" update >/dev/null
  mkdir "$1"
  (cd "$1" && apt-get -q -c "../apt/$1" download "${@:2}" >/dev/null 2>&1 && for package in *.deb; do dpkg-deb -x "$package" .; done)
}
common="libc6 libgcc-s1 libstdc++6 libatomic1 libjemalloc2 liblzf1 libzstd1 zlib1g libsystemd0 libcap2 liblzma5 liblz4-1 libgcrypt20 libgpg-error0"
bring bookworm redis-tools libssl3 $common
bring trixie valkey-tools libssl3t64 $common

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1] % 20000 + 20000)')
start() { # suite, program, name that it is started by, and its arguments: becomes that server
  local suite=$1 program=$2 name=$3 loader libraries
  shift 3
  loader=$(find "$folder/$suite" -name 'ld-linux*.so.*' | head -n 1)
  libraries=$(find "$folder/$suite" -name '*.so.*' -printf '%h\n' | sort -u | tr '\n' ':')
  exec "$loader" --library-path "$libraries" --argv0 "$name" "$folder/$suite/usr/bin/$program" "$@"
}
