# The machine's disk and initramfs; sourced. Neither needs root: nothing is mounted here.
# shellcheck shell=bash

# What the tests start, and what those start: taken from this machine, with their libraries.
programs=(bash sh env cp cat cut dd echo head sleep true false chrt flock setsid nsenter setpriv ls rm mkdir tail
    mount umount unshare sed grep awk tr date stat tar setfattr getent id kill ip touch mknod
    newuidmap newgidmap nft pasta strace)

# What those need of the kernel, beside the disk: no modprobe is there to load it when it is asked for.
modules_needed=(overlay veth tun nf_tables nft_chain_nat nft_masq nft_nat nft_ct nft_fib_ipv4
    nft_reject_ipv4)

make_image() {
    local root="$work/root" program path
    say "making the disk"
    rm -rf "$root"
    mkdir -p "$root"/{proc,sys,dev,run,tmp,etc,root,vm,var/lib,var/tmp,bin,sbin,lib,lib64} \
        "$root"/usr/{bin,sbin,lib}
    chmod 1777 "$root/tmp" "$root/var/tmp"
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >"$root/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
    echo 'hosts: files' >"$root/etc/nsswitch.conf"
    echo '127.0.0.1 localhost' >"$root/etc/hosts"
    install -m 755 tests/vm/main tests/vm/tests "$root/vm"
    cp "$work/list" "$root/vm/list"
    put_file /bin/busybox
    for program in "${programs[@]}"; do
        path="$(command -v "$program")" || path=
        case $path in
        /*) put_program "$path" ;;
        *) put_program "/usr/bin/$program" ;;
        esac
    done
    put_tests
    put_compiled
    # Room for what the tests write.
    local kib
    kib="$(du -sk "$root" | cut -f 1)"
    rm -f "$work/root.img"
    mke2fs -q -F -t ext4 -E root_owner=0:0,lazy_itable_init=1 -d "$root" "$work/root.img" \
        "$((kib + 1500000))k"
}

# The test programs without what a debugger needs, and the command where the tests expect it.
put_tests() {
    local package name path
    while read -r package name path; do
        mkdir -p "$root/$(dirname "$path")" "$root$PWD/crates/$package"
        strip -o "$root$path" "$path"
        put_libraries "$path"
    done <"$work/programs"
    strip -o "$root$PWD/target/debug/leanbox" target/debug/leanbox
    # A test compares the docs with what it does.
    cp -r docs "$root$PWD/docs"
    local script
    for script in crates/*/tests/*/*.sh; do
        install -D -m 644 "$script" "$root$PWD/$script"
    done
}

# The tests' C programs are compiled here: a compiler takes its time there. In its place is a
# script that hands out what this machine's has made.
put_compiled() {
    local source
    mkdir -p "$root/vm/compiled"
    for source in crates/*/tests/common/*.c; do
        gcc -static -O1 -o "$root/vm/compiled/$(basename "$source")" "$source"
    done
    cat >"$root/usr/bin/gcc" <<'SCRIPT'
#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
    -o) shift; out=$1 ;;
    *.c) source=$1 ;;
    esac
    shift
done
exec cp "/vm/compiled/${source##*/}" "$out"
SCRIPT
    chmod 755 "$root/usr/bin/gcc"
}

# put_program PATH: it and its libraries, under its own name.
put_program() {
    [ -e "$1" ] || die "this machine has no $1, which the tests start"
    put_file "$1"
    put_libraries "$1"
}

put_file() {
    mkdir -p "$root$(dirname "$1")"
    cp -Lf "$1" "$root$1"
    # Where /bin is a link to /usr/bin both names are asked for.
    case $1 in
    /usr/bin/* | /usr/sbin/*) cp -Lf "$1" "$root${1#/usr}" ;;
    /bin/* | /sbin/*) cp -Lf "$1" "$root/usr$1" ;;
    esac
}

put_libraries() {
    local library
    { ldd "$1" 2>/dev/null || true; } | grep -o '/[^ ]*' | while read -r library; do
        [ -e "$root$library" ] || { mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"; }
    done
}

# make_initramfs INIT: what mounts the disk, and then is that program of it.
make_initramfs() {
    local top="$work/initramfs.d" version file
    version="$(basename "$modules")"
    rm -rf "$top"
    mkdir -p "$top"/{bin,dev,root,modules}
    cp -L /bin/busybox "$top/bin/busybox"
    install -m 755 tests/vm/init "$top/init"
    echo "$1" >"$top/next"
    modprobe -d "${modules%/lib/modules/*}" -S "$version" --show-depends -a \
        virtio_pci virtio_blk "${modules_needed[@]}" | sed -n 's/^insmod //p' | awk '!seen[$1]++ { print $1 }' |
        while read -r file; do
            cp "$file" "$top/modules/"
            basename "$file"
        done >"$top/modules/order"
    (cd "$top" && find . | cpio -o -H newc --quiet -R 0:0) >"$work/initramfs"
}
