#!/usr/bin/env bash
# What a hostile container does to the starts of others: p50 and p99 of `leanbox bench start
# --mode exec` on one CPU, beside a container on another CPU that idles, then beside each that
# takes all it can get within its default limits.
#
#   tests/neighbours.sh [TURNS]     of 40 single starts each; 50 unless said
#
# It prints a table and judges nothing: believe it only on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

turns="${1:-50}"
leanbox="${LEANBOX:-target/release/leanbox}"
hostile_cpu="${HOSTILE_CPU:-0}"
measured_cpu="${MEASURED_CPU:-1}"
# Each is ended when it was measured; should this script die, then by itself.
longest=$((turns * 5 + 60))

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# name|script for busybox's sh; idle comes first, the others are compared with it
neighbours='idle|sleep 1000
busy loop|while :; do :; done
busy crowd|for n in $(seq 200); do while :; do :; done & done; wait
fork bomb|bomb() { bomb | bomb & }; while :; do bomb; done 2>/dev/null
short processes|while :; do true; /bin/true; done
memory bomb|while :; do (head -c 600m /dev/zero | tail) >/dev/null 2>&1; done
scratch filler|while :; do head -c 64m /dev/zero >/tmp/x; rm /tmp/x; done
many files|while :; do for n in $(seq 60000); do : >/tmp/$n; done; rm -rf /tmp/*; done
output flood|yes
page cache|while :; do cat /bin/* >/dev/null; done'

main() {
    [ "$(id -u)" -eq 0 ] || die "this starts containers: run it as root"
    [ -x "$leanbox" ] || die "no $leanbox: run \"make build\" first, or say LEANBOX=PROGRAM"
    command -v taskset >/dev/null || die "no taskset: apt-get install util-linux"
    [ -x /bin/busybox ] || die "no /bin/busybox: apt-get install busybox-static"
    [ "$(nproc)" -ge 2 ] || die "this needs two CPUs"
    root="$(mktemp -d)"
    hostile=
    trap 'stop; rm -rf "$root"' EXIT
    trap 'exit 130' INT TERM
    fill_root
    printf '%-16s %9s %9s %9s   %s\n' 'on the other CPU' 'p50 us' 'p99 us' 'max us' 'p99 : beside idle'
    local name script
    while IFS='|' read -r name script; do
        beside "$name" "$script"
    done <<<"$neighbours"
    load="$(cut -d' ' -f1 /proc/loadavg)"
    printf '%s starts each, policy once, on CPU %s beside CPU %s, Linux %s, load at the end %s\n' \
        "$((turns * 40))" "$measured_cpu" "$hostile_cpu" "$(uname -r)" "$load"
}

fill_root() {
    chmod 755 "$root" # its users are not the host's root
    mkdir -p "$root"/{bin,dev,proc,tmp}
    cp /bin/busybox "$root/bin/busybox"
    local applet
    for applet in cat head rm seq sh sleep tail true yes; do
        ln -s busybox "$root/bin/$applet"
    done
}

# beside NAME SCRIPT: starts the neighbour, measures, ends it.
beside() {
    taskset -c "$hostile_cpu" "$leanbox" run --timeout "$longest" "$root" \
        sh -c "$2" >/dev/null 2>&1 </dev/null &
    hostile=$!
    sleep 1
    kill -0 "$hostile" 2>/dev/null || die "$1 ended before it was measured"
    local report
    report="$("$leanbox" bench start --mode exec --seconds 1 --turns "$turns" \
        --pin "$measured_cpu" --json 2>/dev/null)" || die "the benchmark failed beside $1"
    stop
    local p50 p99 most
    p50="$(figure p50_us "$report")"
    p99="$(figure p99_us "$report")"
    most="$(figure max_us "$report")"
    [ "$1" != idle ] || idle_p99="$p99"
    printf '%-16s %9.1f %9.1f %9.1f   %.2f\n' "$1" "$p50" "$p99" "$most" \
        "$(awk -v one="$p99" -v idle="$idle_p99" 'BEGIN { print one / idle }')"
}

# The first of that name is the single starts' own.
figure() { grep -o "\"$1\":[0-9.]*" <<<"$2" | head -n 1 | cut -d: -f2; }

# SIGTERM makes leanbox run end its container; what it prints is nobody's business.
stop() {
    [ -n "$hostile" ] || return 0
    kill "$hostile" 2>/dev/null || :
    wait "$hostile" 2>/dev/null || :
    hostile=
}

main
