#!/usr/bin/env bash
# Does the project work on a machine that has nothing? Bootstraps an empty Debian (no
# toolchain, empty home), puts a fresh clone of the last commit into it and runs `make demo`
# or `make test` there, in mount and pid namespaces of their own. Needs root and mmdebstrap.
#
#   tests/fresh-debian.sh [demo|test] [--worktree]
#
# --worktree takes the files as they lie here instead of the last commit. SUITE names another
# Debian release, SOURCES a file of package sources; by default the machine's own are used, and
# so are its certificates, proxies, pip and cargo settings from the environment. Whatever way
# this script ends, nothing of it stays.
set -euo pipefail
here="$(realpath "$0")"
project="$(dirname "$(dirname "$here")")"
suite="${SUITE:-bookworm}"

say() { printf '==> %s\n' "$*"; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

main() {
    local target=demo worktree="" word
    for word in "$@"; do
        case "$word" in
        demo | test) target="$word" ;;
        --worktree) worktree=yes ;;
        *) die "usage: tests/fresh-debian.sh [demo|test] [--worktree]" ;;
        esac
    done
    [ "$(id -u)" -eq 0 ] || die "run this as root: it bootstraps a Debian root and mounts things"
    command -v mmdebstrap >/dev/null || die "install mmdebstrap first"

    root="$(mktemp -d "${TMPDIR:-/var/tmp}/fresh-debian.XXXXXX")"
    chmod 755 "$root"
    start_janitor
    bootstrap
    copy_machine_settings
    copy_project "$worktree"

    say "running make $target in it"
    local began=$SECONDS status=0
    in_own_namespaces env -i "${settings[@]}" HOME=/root TERM=dumb LANG=C.UTF-8 CI="${CI-}" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        bash "$here" --inside "$root" "$target" || status=$?
    say "make $target ended with $status after $((SECONDS - began)) s"
    return "$status"
}

# Cleans up when this script ends, killed or not: then its end of the pipe closes.
start_janitor() {
    exec {guard}> >(
        trap '' INT TERM HUP
        janitor "$root" "$(leanbox_cgroups)" >/dev/null 2>&1
    )
    janitor_pid=$!
    trap 'exec {guard}>&-; wait "$janitor_pid" 2>/dev/null || :' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# janitor ROOT CGROUPS_BEFORE
janitor() {
    local attempt first="" namespace=""
    set +e            # it goes on whatever fails
    cat >/dev/null    # until everyone who holds the other end is gone
    # The first process of the namespace: its end is the end of all the others in it.
    read -r first namespace <"$1.first"
    if [ -n "$namespace" ] && [ "$(readlink "/proc/$first/ns/pid")" = "$namespace" ]; then
        kill -9 "$first"
    fi
    for ((attempt = 0; attempt < 50; attempt++)); do
        LC_ALL=C comm -13 <(printf '%s\n' "$2") <(leanbox_cgroups) | LC_ALL=C sort -r |
            xargs -r rmdir
        rm -rf --one-file-system "$1" "$1.first" && break
        sleep 0.2
    done
}

leanbox_cgroups() {
    find /sys/fs/cgroup -mindepth 1 -type d -path '*/leanbox*' 2>/dev/null | LC_ALL=C sort
}

# Packages of the machine's own sources, so that they come from where it gets its own.
bootstrap() {
    local sources="${SOURCES-}" file began=$SECONDS
    for file in /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list \
        /etc/apt/sources.list; do
        [ -z "$sources" ] && grep -qsw -- "$suite" "$file" && sources="$file"
    done
    say "bootstrapping an empty $suite"
    in_own_namespaces \
        mmdebstrap --quiet --mode=root --variant=minbase "$suite" "$root" ${sources:+"$sources"}
    say "bootstrapped in $((SECONDS - began)) s, $(du -sm --one-file-system "$root" | cut -f1) MB"
}

# How this machine reaches registries; nothing here names one.
copy_machine_settings() {
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    cp /etc/hosts "$root/etc/hosts"
    apt-config dump | grep -E '^Acquire::(http|https|Check|Retries|ForceIPv)' \
        >"$root/etc/apt/apt.conf.d/90machine" || :
    if [ -f /etc/pip.conf ]; then cp /etc/pip.conf "$root/etc/pip.conf"; fi
    mkdir -p "$root/etc/ssl/certs" "$root/usr/local/share"
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    # From these the bundle is made anew when ca-certificates is installed.
    cp -r /usr/local/share/ca-certificates "$root/usr/local/share/" 2>/dev/null || :
    settings=()
    local line
    while IFS= read -r -d '' line; do
        case "$line" in
        CARGO_HOME=* | CARGO_TARGET_DIR=* | CARGO_MANIFEST* | CARGO_PKG* | CARGO=*) ;;
        CARGO_* | PIP_* | *_PROXY=* | *_proxy=* | SSL_CERT_* | NODE_EXTRA_CA_CERTS=* | \
            REQUESTS_CA_BUNDLE=* | CURL_CA_BUNDLE=* | GIT_SSL_CAINFO=*) settings+=("$line") ;;
        esac
    done < <(env -0)
}

# copy_project [WORKTREE]
copy_project() {
    local destination="$root/root/leanbox"
    if [ -n "$1" ]; then
        mkdir -p "$destination"
        git -c safe.directory='*' -C "$project" ls-files -z --cached --others --exclude-standard |
            (cd "$project" && tar --null --files-from=- --ignore-failed-read -cf -) |
            tar -xf - -C "$destination"
    else
        git -c safe.directory='*' clone --quiet --no-local "$project" "$destination"
    fi
}

# in_own_namespaces COMMAND…: so that its mounts and processes end with it. In the background,
# so that a signal to this script is heard at once.
in_own_namespaces() {
    unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
        "$@" </dev/null {guard}>&- &
    # Its only child is the first process of the pid namespace.
    local unshare_pid=$! first=""
    for _ in {1..50}; do
        read -r first _ 2>/dev/null <"/proc/$unshare_pid/task/$unshare_pid/children" && break
        sleep 0.1
    done
    echo "$first $(readlink "/proc/$first/ns/pid")" >"$root.first"
    wait "$unshare_pid"
}

# --inside ROOT TARGET: in the new namespaces, on the way into ROOT. A bare chroot would not do:
# the kernel refuses user namespaces to a process in one.
inside() {
    mount --bind "$1" "$1"
    cd "$1"
    mount -t proc proc proc
    mount --rbind /sys sys
    mount --rbind /dev dev
    mount -t tmpfs -o mode=755 tmpfs run
    mount -t tmpfs -o mode=1777 tmpfs tmp
    mkdir -p .old
    pivot_root . .old
    exec chroot . /bin/bash -euc '
        umount -l /.old
        rmdir /.old
        export DEBIAN_FRONTEND=noninteractive
        echo "==> what one needs to begin: make"
        apt-get -q update >/dev/null
        apt-get -qq install -y --no-install-recommends make >/dev/null
        ! command -v cargo rustc gcc || { echo "error: this root is not empty"; exit 1; }
        cd /root/leanbox
        exec make "$0"' "$2"
}

if [ "${1-}" = --inside ]; then
    inside "$2" "$3"
else
    main "$@"
fi
