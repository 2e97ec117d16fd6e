#!/usr/bin/env bash
# Everything must compile with the oldest Rust we promise (rust-version in Cargo.toml). Debian
# has it as a package; it is unpacked into the user's cache, not installed.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/lib.sh

grep -qx "rust-version = \"$rust_minimum\"" Cargo.toml ||
    die "rust-version in Cargo.toml is not the $rust_minimum of .ci/lib.sh"
have="$(rustc --version | cut -d' ' -f2)"
case "$have" in
"$rust_minimum".*)
    say "the toolchain of this run is the oldest supported one: $have"
    exit 0
    ;;
esac

cache="${XDG_CACHE_HOME:-$HOME/.cache}/leanbox-ci/rust-$rust_minimum"
if [ ! -x "$cache/usr/bin/cargo" ]; then
    update_package_lists
    version="$(apt-cache madison rustc-web | awk -v want="$rust_minimum." \
        'index($3, want) == 1 { print $3; exit }')"
    [ -n "$version" ] || die "apt has no rustc-web $rust_minimum to check with"
    say "unpacking Debian's Rust $version into $cache"
    mkdir -p "$cache.new/debs"
    # Its libraries too: the installed toolchain may need newer ones.
    (cd "$cache.new/debs" && apt-get -q -o APT::Sandbox::User=root download \
        "rustc-web=$version" "cargo-web=$version" "libstd-rust-web-dev=$version" \
        "libstd-rust-web-$rust_minimum=$version" \
        libllvm19 libhttp-parser2.9 libpcre3 >/dev/null)
    for package in "$cache.new"/debs/*.deb; do
        dpkg-deb -x "$package" "$cache.new"
    done
    rm -rf "$cache.new/debs" "$cache"
    mv "$cache.new" "$cache"
fi

machine="$(gcc -print-multiarch)"
libraries="$cache/usr/lib/$machine:$cache/lib/$machine"
env -u RUSTUP_TOOLCHAIN LD_LIBRARY_PATH="$libraries" PATH="$cache/usr/bin:$PATH" \
    RUSTC="$cache/usr/bin/rustc" CARGO_TARGET_DIR=target/msrv \
    "$cache/usr/bin/cargo" check --workspace --all-targets --locked
