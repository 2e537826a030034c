#!/usr/bin/env bash
# From a bare Debian with git, make and python3 to all that the laboratory needs:
#   tests/hosts/bootstrap.sh          docker engine, mmdebstrap, JDK, Maven, rsync, Python, .venv
#   tests/hosts/bootstrap.sh test     Go and Node.js as well, for clients and agents of the tests
# What is there is used and left as it is; a run with nothing to do takes a second.
set -euo pipefail
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
unset UV_PYTHON VIRTUAL_ENV

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# The Makefile has it first on the PATH; the next one must not be made from it.
PATH=${PATH//"$root/.venv/bin:"/}
build=$root/.build

say() { printf 'bootstrap: %s\n' "$*"; }
die() {
  printf 'bootstrap: %s\n' "$*" >&2
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }
# at_least 17 "$version": the first number, or the first two, compared
at_least() { [ -n "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

engine_answers() { has docker && timeout 15 docker info >/dev/null 2>&1; }
java_version() { javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p'; }
go_version() { go env GOVERSION 2>/dev/null | sed 's/^go//'; }
node_version() { node --version 2>/dev/null | sed 's/^v//'; }

has_jdk() { has javac && at_least 17 "$(java_version)"; }
has_go() { has go && at_least 1.19 "$(go_version)"; }
has_node() { has node && at_least 18.3 "$(node_version)"; }
has_venv() { python3 -c 'import ensurepip, venv' 2>/dev/null; }

# --- packages ------------------------------------------------------------------------------------

packages=()
reasons=()
want() { # package, what it is for
  packages+=("$1")
  reasons+=("$2 (Debian: apt-get install $1)")
}

has mmdebstrap || want mmdebstrap 'mmdebstrap, which makes the images of hosts'
has rsync || want rsync 'rsync'
has mvn || want maven 'Maven, which fetches the OAP and the Java agent'
has_jdk || want openjdk-17-jdk-headless 'a JDK, 17 or later'
has_venv || want python3-venv 'the venv module of python3'
if [ "${1:-}" = test ]; then
  has_go || want golang-go 'Go, 1.19 or later'
  has_node || want nodejs 'Node.js, 18.3 or later'
  has npm || want npm 'npm, for the packages of the Node.js client and agent'
fi
if ! engine_answers; then
  [ -z "${DOCKER_HOST:-}" ] ||
    die "DOCKER_HOST is $DOCKER_HOST and no engine answers there: start it, or unset DOCKER_HOST"
  has dockerd || want docker.io 'a docker engine that this user may talk to'
  has iptables || want iptables 'iptables, for the docker engine'
fi

if [ ${#packages[@]} -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ] || ! has apt-get; then
    why='this is not root'
    has apt-get || why='there is no apt-get here'
    printf 'bootstrap: missing, and %s:\n' "$why" >&2
    printf '  - %s\n' "${reasons[@]}" >&2
    exit 1
  fi
  mkdir -p "$build"
  say "installing ${packages[*]}"
  apt-get -qq update >"$build/apt.log" 2>&1 ||
    die "apt-get update failed: $(tail -n 3 "$build/apt.log")"
  for at in "${!packages[@]}"; do
    # A later Debian has a later JDK, and its docker client in a package of its own.
    case ${packages[at]} in
      openjdk-17-jdk-headless)
        apt-cache show openjdk-17-jdk-headless >/dev/null 2>&1 ||
          packages[at]=default-jdk-headless ;;
      docker.io)
        ! apt-cache show docker-cli >/dev/null 2>&1 || packages+=(docker-cli) ;;
    esac
  done
  apt-get -qq install -y --no-install-recommends "${packages[@]}" >>"$build/apt.log" 2>&1 ||
    die "apt-get install failed: $(tail -n 5 "$build/apt.log")"
  hash -r
  has_jdk || die "the javac on the PATH ($(command -v javac)) is older than 17: put a JDK 17 first"
  [ "${1:-}" != test ] || has_go ||
    die "the go on the PATH ($(command -v go)) is older than 1.19: put a later one first"
  [ "${1:-}" != test ] || has_node ||
    die "the node on the PATH ($(command -v node)) is older than 18.3: put a later one first"
fi

# --- docker engine -------------------------------------------------------------------------------

# alive PIDFILE NAME: whether the process in the file runs, and is that program; one that was
# killed and that nobody has waited for still has its name, but no command line any more
alive() {
  local pid
  pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] &&
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] &&
    [ -n "$(tr -d '\0' <"/proc/$pid/cmdline")" ]
}

# An engine that was killed leaves files that keep the next one from starting.
clear_leftovers() {
  local run=/var/run/docker
  alive /var/run/docker.pid dockerd || rm -f /var/run/docker.pid /var/run/docker.sock
  alive $run/containerd/containerd.pid containerd ||
    rm -f $run/containerd/containerd.pid $run/containerd/*.sock $run/containerd/*.ttrpc
}

wait_for_engine() { # seconds
  local end=$((SECONDS + $1))
  until engine_answers; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.5
  done
}

start_engine() {
  [ "$(id -u)" -eq 0 ] ||
    die 'no docker engine answers this user: start it as root, and put this user into its group'
  mkdir -p "$build"
  if alive /var/run/docker.pid dockerd; then
    say 'a docker engine is starting, waiting for it'
    wait_for_engine 30 ||
      die "dockerd ($(cat /var/run/docker.pid)) runs but does not answer: stop it and try again"
    return
  fi
  clear_leftovers
  if [ -d /run/systemd/system ]; then
    say 'starting the docker engine by systemd'
    systemctl start docker.service ||
      die "systemctl start docker failed: $(journalctl -qu docker -n 5 --no-pager)"
  else
    say "starting the docker engine by hand (log: .build/dockerd.log, pid: .build/dockerd.pid)"
    setsid nohup dockerd >"$build/dockerd.log" 2>&1 </dev/null &
    echo $! >"$build/dockerd.pid"
  fi
  wait_for_engine 60 || {
    [ ! -f "$build/dockerd.log" ] || tail -n 10 "$build/dockerd.log" >&2
    die 'the docker engine does not answer after 60 s'
  }
}

engine_answers || start_engine

# --- Python --------------------------------------------------------------------------------------

suits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; }

find_python() {
  local name pyenv_root candidate
  for name in python3.13 python3.12 python3.14 python3; do
    if has "$name" && suits "$(command -v "$name")"; then
      command -v "$name"
      return
    fi
  done
  pyenv_root=${PYENV_ROOT:-$HOME/.pyenv}
  ! has pyenv || pyenv_root=$(pyenv root)
  while read -r candidate; do
    if suits "$candidate"; then
      echo "$candidate"
      return
    fi
  done < <(find "$pyenv_root/versions" -mindepth 3 -maxdepth 3 -path '*/bin/python3' 2>/dev/null |
    sort -Vr)
  return 1
}

install_uv() {
  local version
  version=$(sed -n 's/^uv==\([0-9.]*\).*/\1/p' "$root/requirements.lock")
  if [ "$("$build/uv/bin/uv" --version 2>/dev/null | cut -d' ' -f2)" != "$version" ]; then
    say "uv $version"
    rm -rf "$build/uv"
    python3 -m venv "$build/uv"
    "$build/uv/bin/pip" --quiet --disable-pip-version-check install "uv==$version" ||
      die 'pip could not install uv: see above'
  fi
}

make_venv() {
  local python begin=$SECONDS
  install_uv
  if ! python=$(find_python); then
    say 'no Python 3.12 or later here, fetching one with uv'
    "$build/uv/bin/uv" --no-progress python install 3.13 2>"$build/uv.log" || die "uv could not \
fetch Python 3.13 ($(tail -n 1 "$build/uv.log" | sed 's/^ *//')): install Python 3.12 or later \
yourself, on the PATH or under pyenv (Debian 13 and later: apt-get install python3)"
    python=$("$build/uv/bin/uv" python find 3.13)
  fi
  say ".venv from requirements.lock with $("$python" --version)"
  rm -rf "$root/.venv"
  "$build/uv/bin/uv" --quiet venv --python "$python" "$root/.venv"
  "$build/uv/bin/uv" --quiet pip install --python "$root/.venv/bin/python" \
    --require-hashes --requirements "$root/requirements.lock"
  say ".venv ready, $((SECONDS - begin)) s"
}

mkdir -p "$build"
[ -s "$root/requirements.lock" ] || die 'requirements.lock is missing from the checkout'
stamp=$(sha256sum "$root/requirements.lock" | cut -d' ' -f1)
if [ "$(cat "$build/venv.stamp" 2>/dev/null)" != "$stamp" ] ||
  ! "$root/.venv/bin/python" -c '' 2>/dev/null; then
  rm -f "$build/venv.stamp"
  make_venv
  echo "$stamp" >"$build/venv.stamp"
fi
say 'all there'
