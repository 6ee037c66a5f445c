# Sourced by scripts/demo-lan and scripts/demo-lac: hosts made of network namespaces, daemons on them, and what is said of them.
# Needs root, a kernel with L2TP, and the programs in $L2TPD_BIN. Whatever is made or started here is taken back at the end.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
bin=${L2TPD_BIN:?"run scripts/demo instead"}
dir=$(mktemp -d)
hosts=()
failures=0
moved=0 # the data packets that the kernel moved for the last bulk
declare -A pid=() told=()

say() { printf '\n== %s\n' "$*"; }
on() { ip netns exec "demo-$1" "${@:2}"; }
ctl() { "$bin/l2tpctl" --socket "$dir/$1.sock" "${@:2}"; }

# show prints a command as an operator would type it, and runs it.
show() {
  printf '\n[%s] $ l2tpctl %s\n' "$1" "${*:2}"
  ctl "$@"
}

# show_on does so with any other command.
show_on() {
  printf '\n[%s] $ %s\n' "$1" "${*:2}"
  on "$@"
}

# holds DESCRIPTION COMMAND... says whether something is as it should be.
holds() {
  local what=$1
  shift
  if "$@"; then printf '  ok      %s\n' "$what"; else
    printf '  FAILED  %s\n' "$what"
    failures=$((failures + 1))
  fi
}

# needs is holds for what all the rest rests on.
needs() {
  local before=$failures
  holds "$@"
  [ "$failures" = "$before" ] || finish
}

# await COMMAND... waits until a command succeeds, a minute at most: a guest under emulation is slow.
await() {
  local until=$((SECONDS + 60))
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.2
  done
}

not() { ! "$@"; }
reaches() { on "$1" ping -n -q -c1 -W1 "$2" >/dev/null 2>&1; }

# empty COMMAND... says whether a command has nothing to print.
empty() {
  local out
  out=$("$@") && [ -z "$out" ]
}

# finish says how it went, and ends what does not hold.
finish() {
  if [ "$failures" != 0 ]; then
    say "Checks that did not hold: $failures"
    exit 1
  fi
  say "All of it holds"
}

clean_up() {
  local h failed=$?
  trap - EXIT ERR
  set +e
  for h in "${!pid[@]}"; do kill "${pid[$h]}" 2>/dev/null; done
  for h in "${!pid[@]}"; do ended "$h"; done
  if [ "$failed" != 0 ]; then
    for h in "$dir"/*.log; do
      say "${h##*/}"
      cat "$h"
    done
  fi
  for h in "${hosts[@]}"; do ip netns del "demo-$h"; done
  rm -rf "$dir"
  exit "$failed"
}
set -E
trap clean_up EXIT
trap 'printf "  FAILED  %s (line %s)\n" "$BASH_COMMAND" "$LINENO ${BASH_LINENO[*]}" >&2' ERR

# host X makes a host, router X one that forwards packets.
host() {
  ip netns add "demo-$1"
  hosts+=("$1")
  ip -n "demo-$1" link set dev lo up
}

router() {
  host "$1"
  on "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
}

# link X ADDRESS Y ADDRESS lays a cable; each interface is called as the host at its other end. An address may be none.
link() {
  ip -n "demo-$1" link add dev "$3" type veth peer name "$1" netns "demo-$3"
  [ "$2" = none ] || ip -n "demo-$1" addr add "$2" dev "$3"
  [ "$4" = none ] || ip -n "demo-$3" addr add "$4" dev "$1"
  ip -n "demo-$1" link set dev "$3" up
  ip -n "demo-$3" link set dev "$1" up
}

# daemon X EXAMPLE starts l2tpd on a host with an example, and a socket of its own.
daemon() {
  cp "configs/examples/$2" "$dir/$1.yaml"
  printf '\napi: {socket: %s}\n' "$dir/$1.sock" >>"$dir/$1.yaml"
  chmod 600 "$dir/$1.yaml"
  "$bin/l2tpd" check "$dir/$1.yaml" 2>/dev/null
  # Not by "on": the process must be the daemon itself, not a shell around it.
  ip netns exec "demo-$1" "$bin/l2tpd" run --config "$dir/$1.yaml" --log-format text >"$dir/$1.log" 2>&1 &
  pid[$1]=$!
}

# ready X... waits for daemons.
ready() {
  local box
  for box; do
    needs "l2tpd is ready on ${box^^}" await grep -q 'l2tpd is ready' "$dir/$box.log"
  done
}

# over X says whether what runs as pid[X] has ended.
over() { ! kill -0 "${pid[$1]}"; }

# ended X [CODE] waits for that, and says whether the exit code is this one, else 0.
ended() {
  local code=0
  await over "$1" || kill -KILL "${pid[$1]}"
  wait "${pid[$1]}" || code=$?
  unset "pid[$1]"
  [ "$code" = "${2:-0}" ]
}

# ends X [CODE] ends it, likewise.
ends() {
  kill "${pid[$1]}"
  ended "$@"
}

# news X prints the lines that a daemon has logged since the last news of it.
news() {
  local all
  all=$(wc -l <"$dir/$1.log")
  printf '\n[%s] the log, as journalctl shows it:\n' "$1"
  sed -n "$((${told[$1]:-0} + 1)),${all}p" "$dir/$1.log"
  told[$1]=$all
}

# number SECTION KEY reads one number out of the JSON on standard input.
number() {
  awk -v section="\"$1\":" -v key="\"$2\":" '
    $1 == section { inside = 1 }
    inside && $1 == key { gsub(/[^0-9]/, "", $2); print $2; exit }'
}

# measure X prints what box X has moved so far: data packets and octets of the kernel, datagrams and PPP frames of the daemon, and
# the processor time of the daemon in clock ticks.
measure() {
  local status
  status=$(ctl "$1" status -o json)
  sum() { # SECTION KEY ...
    local total=0
    while [ $# -gt 0 ]; do
      total=$((total + $(number "$1" "$2" <<<"$status")))
      shift 2
    done
    echo "$total"
  }
  echo "$(sum data in_packets data out_packets)" "$(sum data in_octets data out_octets)" \
    "$(sum listener in_datagrams listener out_datagrams tunnel_sockets in_datagrams tunnel_sockets out_datagrams)" \
    "$(sum ppp_frames in ppp_frames out)" "$(awk '{ print $14 + $15 }' "/proc/${pid[$1]}/stat")"
}

listens() { [ -n "$(on "$1" ss -Hltn 'sport = 5201')" ]; }

# bulk FROM TO ADDRESS BOX runs iperf3 for five seconds through a box, and shows who moved the packets there.
bulk() {
  local box=$4 kernel_0 octets_0 sockets_0 frames_0 ticks_0 kernel_1 octets_1 sockets_1 frames_1 ticks_1
  ip netns exec "demo-$2" iperf3 -s -1 >"$dir/iperf3.log" 2>&1 &
  pid[iperf3]=$!
  needs "iperf3 listens on $2" await listens "$2"
  read -r kernel_0 octets_0 sockets_0 frames_0 ticks_0 < <(measure "$box")
  needs "iperf3 comes to its end" on "$1" iperf3 -c "$3" -t 5 -i 0 -f m
  read -r kernel_1 octets_1 sockets_1 frames_1 ticks_1 < <(measure "$box")
  holds "at the other side, too" ended iperf3
  moved=$((kernel_1 - kernel_0))
  local touched=$((sockets_1 - sockets_0)) handled=$((frames_1 - frames_0))

  say "The daemon on ${box^^} moved no data packet"
  cat <<EOT

  On ${box^^}, while iperf3 ran:
    the kernel moved               $moved data packets, $(((octets_1 - octets_0) / 1024)) KiB
    the daemon's sockets carried   $touched datagrams (control messages)
    the daemon read or wrote       $handled PPP frames (keep-alive)
    the daemon used                $(((ticks_1 - ticks_0) * 1000 / $(getconf CLK_TCK))) ms of processor time

EOT
  holds "the kernel moved more than 500 packets" test "$moved" -gt 500
  holds "the daemon's sockets carried fewer than 20 datagrams" test "$touched" -lt 20
  holds "the daemon handled fewer than 20 PPP frames" test "$handled" -lt 20
}
