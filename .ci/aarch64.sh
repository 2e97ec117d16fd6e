#!/usr/bin/env bash
# leanbox-sys and leanbox-launcher for aarch64: cross-compiled, and the static program run
# under qemu-user. Its floor role carries out real system calls (descriptors, sockets, shared
# memory, clone with a stack of its own, exec, wait, the clock) and its answers are checked.
# Namespaces and mounts are beyond qemu-user; they need an aarch64 machine.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/lib.sh

target=aarch64-unknown-linux-gnu
launcher_bytes_max=65536

install_packages gcc-aarch64-linux-gnu qemu-user-static python3

# The toolchain in use may know the target; Debian's does with one package of arm64.
if ! ls "$(rustc --print sysroot)/lib/rustlib/$target/lib"/libcore-*.rlib >/dev/null 2>&1; then
    dpkg --print-foreign-architectures | grep -qx arm64 || {
        say "adding arm64 to the architectures that dpkg knows"
        as_root dpkg --add-architecture arm64
        unset package_lists_updated
    }
    update_package_lists
    install_packages rustc-web cargo-web
    install_packages libstd-rust-web-dev:arm64
    export PATH="/usr/bin:$PATH"
    export RUSTC=/usr/bin/rustc
fi

say "cross-compiling with $(rustc --version)"
export CARGO_TARGET_DIR=target/aarch64
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
cargo build --quiet --release --locked --target "$target" -p leanbox-sys -p leanbox-launcher

newest() {
    find "$CARGO_TARGET_DIR/$target" -path "*/build/leanbox-launcher-*/out/$1" -type f \
        -printf '%T@ %p\n' | sort -rn | head -n 1 | cut -d' ' -f2-
}
launcher="$(newest launcher)"
nothing="$(newest nothing)"
if [ -z "$launcher" ] || [ -z "$nothing" ]; then die "the build left no static program"; fi
size="$(stat -c %s "$launcher")"
[ "$size" -le "$launcher_bytes_max" ] ||
    die "the aarch64 launcher has $size bytes, more than $launcher_bytes_max"

say "running it under $(qemu-aarch64-static --version | head -n 1)"
timeout 20 qemu-aarch64-static "$nothing" || die "the do-nothing program ended with $?"
status=0
timeout 20 qemu-aarch64-static "$launcher" || status=$?
[ "$status" -eq 2 ] || die "the launcher without a role ended with $status instead of 2"

timeout 60 python3 - "$launcher" <<'PYTHON'
import os, socket, struct, subprocess, sys

KINDS = {"vfork": 1, "vfork+exec": 2, "fork": 3}
SAMPLES_MAX, COUNT = 16 * 1024, 20
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
samples = os.memfd_create("samples")
os.ftruncate(samples, SAMPLES_MAX * 8)
high = [os.dup(fd) for fd in (theirs.fileno(), samples)]  # out of the way of 3 and 4

def place():  # the role expects its socket at 3 and the samples at 4
    os.dup2(high[0], 3)
    os.dup2(high[1], 4)

floor = subprocess.Popen(["qemu-aarch64-static", "-0", "leanbox-floor", sys.argv[1]],
                         preexec_fn=place, pass_fds=(3, 4), close_fds=True)
theirs.close()
for fd in high[:1]:
    os.close(fd)
for name, kind in KINDS.items():
    # kind, count, and what only the fork mode needs
    ours.send(struct.pack("<IIQQ4096s", kind, COUNT, 0, 0, b"/bin/true\0"))
    reply = ours.recv(64)
    assert len(reply) >= 8, f"{name}: the floor role ended without an answer"
    errno, count = struct.unpack_from("<iI", reply)
    assert (errno, count) == (0, COUNT), f"{name}: errno {errno}, {count} of {COUNT}"
    took = struct.unpack(f"<{COUNT}Q", os.pread(samples, COUNT * 8, 0))
    assert all(1_000 < ns < 10**10 for ns in took), f"{name}: implausible {took}"
    print(f"    {name}: {COUNT} starts, p50 {sorted(took)[COUNT // 2] / 1000:.0f} us under emulation")
ours.close()
code = floor.wait(timeout=10)
assert code == 0, f"the floor role ended with {code} when its driver left"
PYTHON
say "aarch64: launcher $size bytes (at most $launcher_bytes_max), runs"
