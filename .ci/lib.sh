# Shared by the scripts of this project; sourced, never run. It installs what is missing
# through the system's package manager, says so, and asks for root only there.
# shellcheck shell=bash

rust_minimum=1.85

say() { printf '==> %s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Runs a command as root: directly, or through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        printf '    (as root) %s\n' "$*"
        sudo "$@"
    else
        die "this needs root, and there is no sudo here; as root, run: $*"
    fi
}

# version_at_least WANTED HAVE
version_at_least() { [ -n "$2" ] && printf '%s\n%s\n' "$1" "$2" | sort -V -C; }

# missing_packages NAME…: prints those that are not installed.
missing_packages() {
    local name
    for name in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed ||
            printf '%s\n' "$name"
    done
}

# Brings the package lists up to date, once per run.
update_package_lists() {
    [ -z "${package_lists_updated-}" ] || return 0
    package_lists_updated=yes
    as_root apt-get -q -o DPkg::Lock::Timeout=300 update >/dev/null ||
        die "apt-get update failed; is the network reachable?"
}

# install_packages NAME…: installs what is missing of these, nothing else.
install_packages() {
    local missing
    command -v dpkg-query >/dev/null || {
        say "this is no Debian; make sure that it has what these packages hold: $*"
        return 0
    }
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    say "installing with apt-get: ${missing[*]}"
    update_package_lists
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Use-Pty=0 install -y --no-install-recommends "${missing[@]}" >/dev/null ||
        die "could not install: ${missing[*]}"
}

# toolchain_in FOLDER [clippy]: whether the cargo and rustc there are new enough.
toolchain_in() (
    [ -z "$1" ] || PATH="$1:$PATH"
    version_at_least "$rust_minimum" "$(cargo --version 2>/dev/null | cut -d' ' -f2)" || exit 1
    version_at_least "$rust_minimum" "$(rustc --version 2>/dev/null | cut -d' ' -f2)" || exit 1
    [ "${2-}" != clippy ] || { cargo clippy --version && cargo fmt --version; } >/dev/null 2>&1
)

# use_toolchain [clippy]: a Rust toolchain on PATH: the one that is there, else Debian's.
use_toolchain() {
    if toolchain_in "" "${1-}"; then
        return 0
    elif ! toolchain_in /usr/bin "${1-}"; then
        install_debian_toolchain "${1-}"
        toolchain_in /usr/bin "${1-}" ||
            die "no Rust $rust_minimum or newer to be had; install one from your distribution"
    fi
    export PATH="/usr/bin:$PATH"
}

# Builds target/release/leanbox as one static program: it starts faster, since nothing is linked
# at its start, and a fork of it copies less (measured by `bench start --mode fork`).
build_leanbox() {
    local target
    target="$(rustc -vV | sed -n 's/^host: //p')"
    RUSTFLAGS="${RUSTFLAGS-} -C target-feature=+crt-static" \
        cargo build --release --locked --target "$target" -p leanbox-cli
    mkdir -p target/release
    install -m 755 "target/$target/release/leanbox" target/release/leanbox
}

# Debian 12 has a current Rust under names of its own; from Debian 13 on the usual ones do.
install_debian_toolchain() {
    command -v apt-get >/dev/null || die "install Rust $rust_minimum or newer (cargo and rustc)"
    say "no Rust $rust_minimum or newer found"
    update_package_lists
    if apt-cache show cargo-web >/dev/null 2>&1; then
        install_packages rustc-web cargo-web ${1:+rustfmt-web rust-web-clippy}
    else
        install_packages rustc cargo ${1:+rustfmt rust-clippy}
    fi
}
