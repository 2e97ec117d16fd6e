#!/bin/sh
# Becomes an ordinary user that this machine does not have, with or without subordinate ids and
# delegated groups, in a mount namespace that goes with it: nothing of the machine is changed.
#
# user.sh HOME IDS GROUPS COMMAND…: IDS is how many subordinate ids, GROUPS a name of groups that
# are delegated ("-": none).
set -eu
home=$1 ids=$2 groups=$3
shift 3
user=61234

mount --make-rprivate /
if [ "$ids" -gt 0 ]; then echo "leanbox-user:200000:$ids"; fi >"$home/subid"
(cat /etc/passwd; echo "leanbox-user:x:$user:$user::$home:/bin/sh") >"$home/passwd"
touch /etc/subuid /etc/subgid
mount --bind "$home/subid" /etc/subuid
mount --bind "$home/subid" /etc/subgid
mount --bind "$home/passwd" /etc/passwd
if [ "$groups" != - ]; then
    # Of every hierarchy of v1, or of v2, the folder that the test made there; below it, where an
    # earlier command has made room.
    for folder in /sys/fs/cgroup/"$groups" /sys/fs/cgroup/*/"$groups"; do
        if [ -e "$folder/main" ]; then folder=$folder/main; fi
        if [ -e "$folder/cgroup.procs" ]; then echo 0 >"$folder/cgroup.procs"; fi
    done
fi
# What distributions let every user open.
if [ -d /dev/net ]; then
    mkdir -p "$home/net"
    [ -e "$home/net/tun" ] || mknod -m 666 "$home/net/tun" c 10 200
    mount --bind "$home/net" /dev/net
fi
cd "$home"
exec setpriv --reuid $user --regid $user --clear-groups \
    env -i HOME="$home" XDG_RUNTIME_DIR="$home/run" PATH="${USER_PATH:-$PATH}" \
    LEANBOX_WITHOUT="${LEANBOX_WITHOUT:-}" "$@"
