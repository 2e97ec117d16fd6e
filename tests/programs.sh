#!/usr/bin/env bash
# The commonest programs, each really used in a container: by default, or with the options that it
# needs. Writes the table of docs/programs.md; a line that is otherwise than it says there fails.
#
#   tests/programs.sh           all of them, out of Debian's packages (about 2 GB of disk)
#   tests/programs.sh few       those that a small image has: for CI
#
# As root, with a network for the packages. LEANBOX names the command [target/release/leanbox],
# LEANBOX_STORE a store to keep the image in [a temporary one].
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/lib.sh

few="bash perl python3 pip gcc make git curl ssh-keygen"
packages="bash perl-base python3-pip gcc make libc6-dev git curl openssh-client"
more="nodejs npm default-jdk-headless golang-go g++ nginx-light postgresql redis-server memcached
    ruby php-cli sqlite3 rustc cargo lua5.4 chromium ffmpeg"

leanbox="${LEANBOX:-$PWD/target/release/leanbox}"
which="${1-all}"
failed=0
table=

main() {
    [ "$(id -u)" -eq 0 ] || die "this starts containers: run it as root"
    [ -x "$leanbox" ] || die "no $leanbox; make build"
    install_packages mmdebstrap
    work="$(mktemp -d)"
    trap 'rm -rf "$work"' EXIT
    export LEANBOX_STORE="${LEANBOX_STORE-$work/store}"
    "$leanbox" images 2>/dev/null | grep -q '^programs ' || make_image
    # Its files are laid out at the first use.
    "$leanbox" run programs true || die "nothing runs in the image"
    programs
    [ "$failed" -eq 0 ] || die "$failed programs are not as docs/programs.md says"
    [ "$which" = few ] || write_table
}

make_image() {
    [ "$which" = few ] || packages="$packages $more"
    mkdir "$work/app"
    echo "FROM leanbox/python:3
RUN apt-get update && apt-get install -y --no-install-recommends $(echo $packages) && apt-get clean" \
        >"$work/app/Dockerfile"
    say "building an image with ${packages//$'\n'/ }"
    "$leanbox" build "$work/app" --name programs >"$work/log" 2>&1 || {
        tail -20 "$work/log" >&2
        die "the image could not be built"
    }
}

# program NAME VERSION OPTIONS WHY WHAT WANTED SCRIPT: VERSION is a command that prints it, OPTIONS
# what it needs ("": it runs by default) and WHY, WANTED what SCRIPT prints last.
program() {
    local name="$1" version="$2" options="$3" why="$4" what="$5" wanted="$6" script="$7"
    case "$which:$few " in few:*"$name "*) ;; few:*) return 0 ;; esac
    local by_default with number
    by_default="$(in_container "" "$script")"
    with="$by_default"
    [ -z "$options" ] || with="$(in_container "$options" "$script")"
    if [ "$with" != "$wanted" ] || { [ -n "$options" ] && [ "$by_default" = "$wanted" ]; }; then
        printf 'NOT AS EXPECTED %s: by default %q, with "%s" %q, wanted %q\n' \
            "$name" "$by_default" "$options" "$with" "$wanted" >&2
        # shellcheck disable=SC2086  # options are words
        timeout 120 "$leanbox" run --explain $options programs sh -c "$script" 2>&1 </dev/null |
            tail -15 >&2 || :
        failed=$((failed + 1))
        return 0
    fi
    number="$(output_of "" "$version" | grep -o '[0-9][0-9.]*' | head -1 || :)"
    say "$name $number: ${options:-by default}"
    local needs=yes
    [ -z "$options" ] || needs="\`$options\`: $why"
    table+="| $name $number | $what | $needs |"$'\n'
}

# What a script prints, and the last line of it.
output_of() {
    # shellcheck disable=SC2086  # options are words
    timeout 120 "$leanbox" run --env HOME=/tmp $1 programs sh -c "$2" 2>/dev/null </dev/null || :
}
in_container() { output_of "$1" "$2" | tail -1; }

programs() {
    program bash 'bash --version' "" "" "a loop with a pipe" 9 \
        'bash -c "for i in 1 2 3; do echo \$((i * i)); done | tail -1"'
    program perl 'perl -v' "" "" "a list" 2,4,6 "perl -e 'print join(q(,), map { \$_ * 2 } 1..3)'"
    program python3 'python3 --version' "" "" "a server and its client, on loopback" served '
        cd /tmp && echo served >index.html && python3 -m http.server 8000 >/dev/null 2>&1 &
        for i in 1 2 3 4 5 6 7 8 9; do sleep 0.2; python3 -c "
from urllib.request import urlopen
print(urlopen(\"http://127.0.0.1:8000/\").read().decode().strip())" 2>/dev/null && break; done'
    program pip 'pip --version' "" "" "an environment, and what is in it" pip '
        python3 -c "import pip; print(pip.__name__)"'
    program gcc 'gcc --version' "" "" "compiles and runs" hello '
        cd /tmp && echo "#include <stdio.h>
int main(void) { puts(\"hello\"); }" >a.c && gcc -O2 a.c -o a && ./a'
    program make 'make --version' "" "" "two targets" made "
        cd /tmp && printf 'all: part\n\t@echo made\npart:\n\t@true\n' >Makefile && make -j2"
    program git 'git --version' "" "" "a commit, and its log" first '
        cd /tmp && git init -q r && cd r && echo x >x && git add x &&
        git -c user.name=me -c user.email=me@here commit -qm first && git log --format=%s'
    program curl 'curl --version' "" "" "fetches from a server on loopback" served '
        cd /tmp && echo served >index.html && python3 -m http.server 8000 >/dev/null 2>&1 &
        curl -s --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:8000/'
    program ssh-keygen 'ssh -V 2>&1' "" "" "a key" ED25519 "
        ssh-keygen -q -t ed25519 -N '' -f /tmp/key && ssh-keygen -lf /tmp/key | grep -o ED25519"
    program node 'node --version' "" "" "a server and its client, on loopback" served "
        node -e 'const http = require(\"http\");
        const server = http.createServer((_, to) => to.end(\"served\")).listen(80, () =>
            http.get(\"http://127.0.0.1:80/\", (from) => from.on(\"data\", (data) =>
                { console.log(String(data)); server.close(); })));'"
    program npm 'npm --version' "" "" "a package is made" '"p"' '
        mkdir /tmp/p && cd /tmp/p && npm init -y >/dev/null && npm pkg get name'
    program java 'java -version 2>&1' "" "" "compiles and runs" hello '
        cd /tmp && echo "public class H { public static void main(String[] a)
        { System.out.println(\"hello\"); } }" >H.java && javac H.java && java H'
    program go 'go version' "" "" "compiles and runs" hello '
        cd /tmp && echo "package main
func main() { println(\"hello\") }" >a.go && go run a.go 2>&1'
    program g++ 'g++ --version' "" "" "compiles and runs" 6 '
        cd /tmp && echo "#include <iostream>
#include <numeric>
#include <vector>
int main() { std::vector<int> v{1, 2, 3}; std::cout << std::accumulate(v.begin(), v.end(), 0); }" \
            >a.cc && g++ -O2 a.cc -o a && ./a'
    program nginx 'nginx -v 2>&1' "--writable --security docker" \
        "its master makes folders and logs for another user, and becomes that" \
        "its Debian configuration, and a page of it" nginx '
        nginx -g "daemon on;" && curl -s --retry 5 --retry-connrefused http://127.0.0.1/ | grep -o "Welcome to nginx" | cut -d" " -f3'
    program postgres 'ls /usr/lib/postgresql' "--user postgres" "it refuses to run as root itself" "a cluster, started, and a query" 42 '
        PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
        initdb -D /tmp/db >/dev/null && pg_ctl -D /tmp/db -o "-k /tmp" -w start >/dev/null &&
        psql -h /tmp -Atc "select 6 * 7" postgres'
    program redis 'redis-server --version' "" "" "sets and gets" value '
        cd /tmp && redis-server --daemonize yes >/dev/null
        for i in 1 2 3 4 5 6 7 8 9; do redis-cli ping >/dev/null 2>&1 && break; sleep 0.2; done
        redis-cli set key value >/dev/null && redis-cli get key'
    program memcached 'memcached -V' "" "" "sets and gets" value '
        memcached -u root -d && sleep 0.5 && python3 -c "
import socket
s = socket.create_connection((\"127.0.0.1\", 11211))
s.sendall(b\"set k 0 0 5\\r\\nvalue\\r\\nget k\\r\\n\")
text = b\"\"
while b\"END\" not in text: text += s.recv(100)
print(text.decode().split()[-2])"'
    program ruby 'ruby --version' "" "" "JSON" '[1,2]' "ruby -rjson -e 'puts JSON.generate([1, 2])'"
    program php 'php --version' "" "" "a sum" 6 "php -r 'echo array_sum([1, 2, 3]);'"
    program sqlite3 'sqlite3 --version' "" "" "a table, and its sum" 6 '
        cd /tmp && sqlite3 a.db "create table t(n); insert into t values (1),(2),(3); select sum(n) from t"'
    program rustc 'rustc --version' "" "" "compiles and runs" hello "
        cd /tmp && echo 'fn main() { println!(\"hello\") }' >a.rs && rustc -O a.rs && ./a"
    program cargo 'cargo --version' "" "" "a project, built and run" 'Hello, world!' '
        cd /tmp && cargo new -q --vcs none p && cd p && cargo run -q --offline'
    program lua 'lua5.4 -v' "" "" "a loop" 6 "lua5.4 -e 'local s = 0 for i = 1, 3 do s = s + i end print(s)'"
    program chromium 'chromium --version' "" "" "a page, rendered" rendered '
        echo "<p id=p></p><script>p.textContent = \"ren\" + \"dered\"</script>" >/tmp/a.html
        chromium --headless --no-sandbox --disable-gpu --dump-dom file:///tmp/a.html 2>/dev/null |
            grep -o ">rendered<" | tr -d "<>"'
    program ffmpeg 'ffmpeg -version' "" "" "a second of video" 'h264' '
        cd /tmp && ffmpeg -loglevel error -f lavfi -i testsrc=duration=1:size=160x120 a.mp4 &&
        ffprobe -loglevel error -show_entries stream=codec_name -of csv=p=0 a.mp4'
}

write_table() {
    {
        cat <<'HEAD'
# Programs

What runs by default, and what needs an option. Each line was tested as it stands, with Debian 12's packages in one image; the table is written by `make test-programs`, which fails where a line is not true any more. By default means: read-only root, `/tmp` of 64 MiB, 512 MiB of memory, 256 processes, loopback only, no capability, our seccomp profile. Where something does not run, `leanbox run --explain` says what was refused and which option allows it.

| program | what it did | by default? |
|---|---|---|
HEAD
        printf '%s' "$table"
    } >docs/programs.md
    say "wrote docs/programs.md"
}

main
