#!/bin/sh
# Three hosts on a bridge, each with a network, mount and UTS namespace and an sshd of its own.
# Pid 1 of a pid namespace: with its end all of this is gone. LAB is a folder that was filled
# before: HOST/{passwd,shadow,sshd_config,home,bin,tmp} for each host.
set -eu
lab=$1
role=$2

network() {
    ip link set lo up
    ip link add lab0 type bridge
    ip link set lab0 up
    ip address add 10.99.0.254/24 dev lab0
    mkdir -p -m 700 /run/leanbox
    number=0
    for host in val01 val02 val03; do
        number=$((number + 1))
        unshare --net --mount --uts sh "$0" "$lab" host "$host" "$number" &
        until [ -e "$lab/$host/entered" ]; do sleep 0.02; done
        ip link add "v$number" type veth peer name eth0 netns $!
        ip link set "v$number" master lab0 up
        : >"$lab/$host/plugged"
    done
    for host in val01 val02 val03; do
        until grep -qs 'Server listening' "$lab/$host/log"; do sleep 0.02; done
    done
    : >"$lab/ready"
    wait
}

host() {
    host=$1
    number=$2
    : >"$lab/$host/entered"
    until [ -e "$lab/$host/plugged" ]; do sleep 0.02; done
    hostname "$host"
    ip link set lo up
    ip address add "10.99.0.$number/24" dev eth0
    ip link set eth0 up
    mount --bind "$lab/$host/passwd" /etc/passwd
    mount --bind "$lab/$host/shadow" /etc/shadow
    # /run with a folder for sshd, and with leanbox's own, which keeps id blocks apart.
    mkdir -p "$lab/$host/run"
    mount --bind /run/leanbox "$lab/$host/run"
    mount -t tmpfs tmpfs /run
    mkdir /run/sshd /run/leanbox
    mount --bind "$lab/$host/run" /run/leanbox
    exec /usr/sbin/sshd -D -e -f "$lab/$host/sshd_config" 2>"$lab/$host/log"
}

shift 2
"$role" "$@"
