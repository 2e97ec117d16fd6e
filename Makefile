# The ways into the project. Each target says what it does; root is asked for (sudo) only
# where packages are installed or containers run.

PREFIX ?= /usr/local
DESTDIR ?=
LEANBOX_SOAK_STARTS ?= 100000
LEANBOX_SOAK_KILLS ?= 10000
LEANBOX_FAULT_POINTS ?= all
LEANBOX_ABUSE_OUTPUT_MIB ?= 10240

.PHONY: help demo test test-vm test-rootless test-escape test-abuse test-crash test-programs bench-abuse build install soak fresh-debian clean

help:
	@echo 'make demo          install what is missing, build, run apps/hello, measure starts'
	@echo 'make test          everything a change must pass (.ci/run, as root)'
	@echo 'make test-vm       the tests on Linux 6.1 and 5.10 with cgroup v2 alone, in virtual machines'
	@echo 'make test-rootless its part without root (as root, which steps down)'
	@echo 'make test-escape   every escape we know, tried from inside; writes docs/escapes.md'
	@echo 'make test-abuse    containers that take all they can get; what is left of them'
	@echo 'make test-crash    a hundred kills, two hundred calls that fail, and machines without resources'
	@echo 'make test-programs the commonest programs, each really used; writes docs/programs.md'
	@echo 'make bench-abuse   what such containers do to the starts of others'
	@echo 'make build         target/release/leanbox'
	@echo 'make install       into DESTDIR/PREFIX/bin ($(DESTDIR)$(PREFIX)/bin)'
	@echo 'make soak          a long campaign of starts, kills and failing calls that must leave nothing behind'
	@echo 'make fresh-debian  make demo in an empty Debian root'
	@echo 'make clean         remove everything that was built here'

demo:
	@.ci/demo.sh

test:
	@.ci/run

# No KVM is needed, nor root but to install what is missing; the last one makes a Debian, as root.
test-vm:
	@tests/vm/run
	@tests/vm/run -k 5.10
	@bash -c '. .ci/lib.sh; as_root tests/vm/systemd'

test-rootless:
	@bash -c 'set -e; . .ci/lib.sh; install_packages gcc libc6-dev busybox-static uidmap; \
	    use_toolchain; exec cargo test -p leanbox-cli --locked --test rootless'

# As root, since it starts containers; the attacks stop at the proof.
test-escape:
	@bash -c '. .ci/lib.sh; use_toolchain; LEANBOX_ESCAPE_TABLE=$(CURDIR)/docs/escapes.md \
	    exec cargo test -p leanbox --locked --test escape -- --nocapture'

# As root. The full campaign: ten gigabytes of output.
test-abuse:
	@bash -c '. .ci/lib.sh; use_toolchain; LEANBOX_ABUSE_OUTPUT_MIB=$(LEANBOX_ABUSE_OUTPUT_MIB) \
	    exec cargo test -p leanbox --release --locked --test abuse -- --nocapture'

# As root, with two CPUs that do nothing else. Prints figures and judges none.
bench-abuse:
	@tests/neighbours.sh

build:
	@bash -c 'set -e; . .ci/lib.sh; install_packages gcc libc6-dev ca-certificates; \
	    use_toolchain; build_leanbox'

# Installs what `make build` built, so that no compiler runs as root.
install:
	@test -x target/release/leanbox || { echo 'run "make build" first' >&2; exit 1; }
	install -D -m 755 target/release/leanbox '$(DESTDIR)$(PREFIX)/bin/leanbox'

# As root, since it starts containers.
soak:
	@bash -c '. .ci/lib.sh; use_toolchain; \
	    LEANBOX_SOAK_STARTS=$(LEANBOX_SOAK_STARTS) LEANBOX_SOAK_KILLS=$(LEANBOX_SOAK_KILLS) \
	    LEANBOX_FAULT_POINTS=$(LEANBOX_FAULT_POINTS) \
	    exec cargo test -p leanbox --release --locked --test soak --test crash --test faults \
	        -- --nocapture --include-ignored'

# As root; a few minutes of what `make soak` does for hours.
test-crash:
	@bash -c '. .ci/lib.sh; use_toolchain; \
	    LEANBOX_SOAK_KILLS=120 LEANBOX_FAULT_POINTS=240 \
	    exec cargo test -p leanbox --locked --test crash --test faults --test exhausted \
	        --test keeper -- --nocapture --test-threads=1'

# As root, with a network for the packages.
test-programs: build
	@tests/programs.sh

fresh-debian:
	@tests/fresh-debian.sh demo

# A rootfs belongs to root.
clean:
	rm -rf target
	@test ! -e .base || bash -c '. .ci/lib.sh; as_root rm -rf .base'
