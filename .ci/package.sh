#!/usr/bin/env bash
# The two crates that carry the static program must build from their packaged form alone:
# offline, vendored, in any folder. And the program must be the same, byte for byte, wherever
# it is built, and no larger than promised.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/lib.sh

declare -A bytes_max=([launcher]=65536 [nothing]=4096 [dirty]=4096 [sleep]=4096)

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

say "packaging leanbox-sys and leanbox-launcher"
# A developer may have edits that are not committed; CI has none.
dirty=(--allow-dirty)
[ -z "${CI-}" ] || dirty=()
cargo package --quiet --locked --no-verify --target-dir "$work/package" \
    "${dirty[@]}" -p leanbox-sys -p leanbox-launcher

# vendored_build FOLDER: unpacks and builds there, with the packages as the only registry.
vendored_build() {
    local crate folder
    mkdir -p "$1/vendor" "$1/.cargo"
    for crate in "$work"/package/package/*.crate; do
        tar -xzf "$crate" -C "$1/vendor"
        folder="$1/vendor/$(basename "$crate" .crate)"
        printf '{"files":{},"package":"%s"}' "$(sha256sum "$crate" | cut -d' ' -f1)" \
            >"$folder/.cargo-checksum.json"
    done
    cat >"$1/.cargo/config.toml" <<-CONFIG
	[source.crates-io]
	replace-with = "vendored"
	[source.vendored]
	directory = "vendor"
	CONFIG
    mv "$1"/vendor/leanbox-launcher-* "$1/launcher"
    rm -f "$1/launcher/Cargo.lock"
    (cd "$1/launcher" && CARGO_TARGET_DIR="$1/target" cargo build --quiet --release --offline)
}

# built_program TARGET_FOLDER NAME: the newest one there.
built_program() {
    local found
    found="$(find "$1" -path "*/build/leanbox-launcher-*/out/$2" -type f -printf '%T@ %p\n' |
        sort -rn | head -n 1 | cut -d' ' -f2-)"
    [ -n "$found" ] || die "no $2 was built under $1"
    printf '%s\n' "$found"
}

say "building them offline from the packages, in two folders"
vendored_build "$work/one"
vendored_build "$work/another folder/deeper"

for name in launcher nothing dirty sleep; do
    one="$(built_program "$work/one/target" "$name")"
    other="$(built_program "$work/another folder/deeper/target" "$name")"
    cmp "$one" "$other" || die "$name differs between two folders"
    ours="$(built_program "target/$(rustc -vV | sed -n "s/^host: //p")/release" "$name")"
    cmp "$one" "$ours" || die "$name differs between the package and the workspace"
    size="$(stat -c %s "$one")"
    limit="${bytes_max[$name]}"
    [ "$size" -le "$limit" ] || die "$name has $size bytes, more than $limit"
    say "$name: $size bytes (at most $limit), the same in three folders"
done
