#!/usr/bin/env bash
# From a fresh Debian machine to a container and the start benchmark: installs what is
# missing, builds leanbox, makes apps/hello into a rootfs, runs it, measures starts.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/lib.sh

# To build; to bootstrap the base image and reach registries; to fill it.
install_packages gcc libc6-dev ca-certificates mmdebstrap busybox-static python3
use_toolchain

say "building leanbox with $(cargo --version)"
build_leanbox
leanbox=target/release/leanbox

say "preparing apps/hello: an image, then a rootfs in .base/hello/rootfs"
# An export never overwrites; this one is ours.
as_root rm -rf .base/hello
mkdir -p .base/hello
as_root "$leanbox" build apps/hello --name hello --export .base/hello/rootfs

say "running hello.py in a container"
as_root "$leanbox" run .base/hello/rootfs hello.py

for policy in once reuse; do
    say "measuring starts, policy $policy"
    as_root "$leanbox" bench start --seconds 3 --policy "$policy" --name hello
done
say "done; $leanbox --help shows what else there is"
