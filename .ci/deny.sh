#!/usr/bin/env bash
# Licences, bans and sources of every dependency (deny.toml), with a pinned cargo-deny that is
# built once into the user's cache.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/lib.sh

version=0.20.2
cache="${XDG_CACHE_HOME:-$HOME/.cache}/leanbox-ci/cargo-deny-$version"
deny="$cache/bin/cargo-deny"

if [ "$("$deny" --version 2>/dev/null)" != "cargo-deny $version" ]; then
    say "building cargo-deny $version (about three minutes on two cores)"
    CARGO_TARGET_DIR="$cache/target" cargo install cargo-deny --quiet --locked \
        --version "$version" --no-default-features --root "$cache"
    rm -rf "$cache/target"
fi
"$deny" --locked check bans licenses sources

# The advisory database is a git repository. Where it cannot be reached, nothing can be said
# about advisories, and that is said; where it can, a finding fails.
database=https://github.com/RustSec/advisory-db
if timeout 30 env GIT_TERMINAL_PROMPT=0 git ls-remote --quiet "$database" HEAD >/dev/null 2>&1; then
    "$deny" --locked check advisories
else
    echo "ADVISORIES NOT CHECKED: the advisory database cannot be reached from here"
fi
