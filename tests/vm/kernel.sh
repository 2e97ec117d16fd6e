# One of Debian's kernels, by its package manager; sourced.
# shellcheck shell=bash

# get_kernel 6.1|5.10: sets kernel (the file to boot) and modules (the folder of its modules).
get_kernel() {
    local folder="$PWD/target/vm/kernel-$1" suite
    case $1 in
    6.1) suite=bookworm ;;
    5.10) suite=bullseye ;;
    *) die "$1: no kernel of that name; 6.1 and 5.10 are there" ;;
    esac
    if ! compgen -G "$folder/boot/vmlinuz-*" >/dev/null; then
        say "fetching the kernel of Debian $suite"
        rm -rf "$folder" "$folder.new"
        mkdir -p "$folder.new"
        fetch_kernel "$suite" "$folder.new"
        mv "$folder.new" "$folder"
    fi
    kernel="$(compgen -G "$folder/boot/vmlinuz-*" | tail -n 1)"
    modules="$folder/lib/modules/$(basename "$kernel" | sed 's/^vmlinuz-//')"
}

# With lists of its own, so that this machine's sources stay as they are.
fetch_kernel() {
    local suite="$1" folder="$2" name
    local apt="$folder/apt"
    local keys=/usr/share/keyrings/debian-archive-keyring.gpg
    install_packages debian-archive-keyring
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    cat >"$apt/sources.list" <<SOURCES
deb [signed-by=$keys] http://deb.debian.org/debian $suite main
deb [signed-by=$keys] http://deb.debian.org/debian-security $suite-security main
SOURCES
    local options=(-q -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=-
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root
        -o APT::Architecture=amd64 -o APT::Architectures=amd64)
    apt-get "${options[@]}" update >/dev/null || die "apt-get update of $suite failed"
    name="$(apt-cache "${options[@]}" depends linux-image-cloud-amd64 |
        sed -n 's/^ *Depends: //p' | head -n 1)"
    [ -n "$name" ] || die "$suite has no linux-image-cloud-amd64"
    (cd "$apt" && apt-get "${options[@]}" download "$name" >/dev/null) || die "no $name to be had"
    dpkg -x "$apt"/linux-image-*.deb "$folder"
    rm -rf "$apt"
    depmod -b "$folder" "$(ls "$folder/lib/modules")"
}
