#!/usr/bin/env bash
# What leanbox must not leave behind on a machine: mounts, cgroups, processes, namespaces,
# state of dead owners, temporary files, packet filter tables and links, System V objects.
#
#   tests/leaks.sh before FILE    notes what is there
#   tests/leaks.sh after FILE     fails if there is more, and names it
#
# Namespaces of other programs count too: compare on a machine where nothing else starts them.
set -euo pipefail

# Killed slots and network namespaces are torn down by the kernel in the background.
settle_seconds=10

mounts() { awk '{ i = 7; while ($i != "-") i++; print "mount", $5, $(i + 1), $(i + 2) }' /proc/self/mountinfo; }

cgroups() {
    awk '{ i = 7; while ($i != "-") i++; if ($(i + 1) ~ /^cgroup2?$/) print $5 }' /proc/self/mountinfo |
        while read -r mount; do
            find "$mount" -mindepth 1 -type d -name 'leanbox*' -printf 'cgroup %p\n' 2>/dev/null || :
        done
}

# A process keeps its number and its start time; a number alone may be another one's.
processes() {
    local folder name start
    for folder in /proc/[0-9]*; do
        read -r name 2>/dev/null <"$folder/comm" || continue
        case "$name" in leanbox*) ;; *) continue ;; esac
        start="$(sed 's/.*) //' "$folder/stat" 2>/dev/null | cut -d' ' -f20)" || continue
        printf 'process %s %s started %s\n' "${folder#/proc/}" "$name" "$start"
    done
}

# Held by a process or by one of its descriptors.
namespaces() {
    find /proc -mindepth 3 -maxdepth 3 -regextype egrep \
        -regex '/proc/[0-9]+/(ns|fd)/[a-z_0-9]+' -printf '%l\n' 2>/dev/null |
        grep -E '^(user|mnt|pid|net|ipc|uts|cgroup):\[[0-9]+\]$' | sed 's/^/namespace /' || :
}

# A record is named leanbox-PID-STARTTIME-…: it is a leak when that process is gone.
state() {
    local path pid start
    for path in /run/leanbox/*; do
        [ -e "$path" ] || continue
        IFS=- read -r _ pid start _ <<<"${path##*/}"
        case "$pid$start" in '' | *[!0-9]*) continue ;; esac
        [ "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d' ' -f20)" = "$start" ] ||
            printf 'state %s of a dead process\n' "$path"
    done
}

files() { find /tmp /var/tmp /dev/shm -maxdepth 1 -name '*leanbox*' -printf 'file %p\n' 2>/dev/null || :; }

# Of whichever network namespace this is run in.
networks() {
    { nft list tables 2>/dev/null || :; } | sed -n 's/^table ip \(leanbox-.*\)/packet filter table \1/p'
    { ip -o link 2>/dev/null || :; } | sed -n 's/^[0-9]*: \(lbox[^:@]*\).*/link \1/p'
}

system_v() {
    local kind
    for kind in msg sem shm; do
        [ ! -r "/proc/sysvipc/$kind" ] || awk -v kind="$kind" 'NR > 1 { print "sysv", kind, $2 }' "/proc/sysvipc/$kind"
    done
}

# Sorted, with duplicates counted apart: two mounts on one place are two.
snapshot() {
    { mounts; cgroups; processes; namespaces | sort -u; state; files; networks; system_v; } | LC_ALL=C sort
}

case "${1-} ${2:+FILE}" in
'before FILE') snapshot >"$2" ;;
'after FILE')
    [ -r "$2" ] || { echo "leaks: no snapshot $2; run tests/leaks.sh before $2 first" >&2; exit 2; }
    for ((second = 0; ; second++)); do
        leaked="$(LC_ALL=C comm -13 "$2" <(snapshot))"
        if [ -z "$leaked" ] || [ "$second" -ge "$settle_seconds" ]; then break; fi
        sleep 1
    done
    if [ -n "$leaked" ]; then
        printf 'LEAKED %s\n' "$(wc -l <<<"$leaked")"
        printf '  %s\n' "$leaked" | sed '2,$s/^/  /'
        exit 1
    fi
    echo "nothing leaked: mounts, cgroups, processes, namespaces, state, files, networks, System V objects"
    ;;
*)
    echo "usage: tests/leaks.sh before|after FILE" >&2
    exit 2
    ;;
esac
