# Sourced by scripts/test and scripts/demo.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit

export HOME=${HOME:-/root}
export L2TPD_CACHE=${L2TPD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/l2tpd}

say() { printf '\n== %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# need_packages installs the Debian packages that are missing, as root. No
# service is started by it, and nothing is asked.
need_packages() {
  local p missing=() policy=/usr/sbin/policy-rc.d ours=
  command -v dpkg-query >/dev/null || die "this needs Debian, or the tools of: $*"
  for p in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || die "as root, please: apt-get install ${missing[*]}"
  say "installing ${missing[*]}"
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    ours=1
  fi
  local ok=1
  export DEBIAN_FRONTEND=noninteractive
  echo 'wireshark-common wireshark-common/install-setuid boolean false' | debconf-set-selections || true
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } </dev/null >"$tmp/apt.log" 2>&1 || ok=
  [ -z "$ours" ] || rm -f "$policy"
  [ "$ok" ] || { cat "$tmp/apt.log"; die "cannot install ${missing[*]}"; }
}

# build puts a program of this tree at $tmp/bin, static so that it runs in a guest.
build() {
  CGO_ENABLED=0 go build -buildvcs=false -o "$tmp/bin/" "$@"
}

# The trap must survive set -e in callers; every script has one scratch directory.
tmp=$(mktemp -d)
mkdir "$tmp/bin"
trap 'rm -rf "$tmp"' EXIT
