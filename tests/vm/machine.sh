# The virtual machine: booted, watched, ended; sourced. $work has its disk and initramfs, and gets
# its words in the file log.
# shellcheck shell=bash

# boot WORDS: boots it, and once more if it does not come up to say these words: on a busy machine a
# kernel now and then finds no clock that ticks.
boot() {
    local try
    for try in 1 2 3; do
        say "booting $(basename "$kernel" | sed 's/^vmlinuz-/Linux /')"
        : >"$work/log"
        timeout -s KILL "$patience_s" qemu-system-x86_64 \
            -accel tcg,thread=multi -cpu max -smp 2 -m 2048 -nodefaults -no-user-config \
            -display none -serial "file:$work/log" -serial "file:$work/log2" -no-reboot \
            -kernel "$kernel" -initrd "$work/initramfs" \
            -append "console=ttyS0 quiet panic=-1 no_timer_check" \
            -drive "file=$work/root.img,if=virtio,format=raw,cache=unsafe" </dev/null &
        machine=$!
        trap 'kill $machine 2>/dev/null || true' EXIT
        if comes_up "$1"; then
            tail -n +1 -f --pid=$machine "$work/log" | show
            wait $machine || say "the machine did not end in $patience_s s"
            return 0
        fi
        kill $machine
        wait $machine || true
    done
    die "it did not boot: $work/log"
}

comes_up() {
    local second
    for second in {1..120}; do
        ! grep -q "$1" "$work/log" || return 0
        kill -0 $machine 2>/dev/null || return 1
        sleep 1
    done
    return 1
}

# Of the machine's words: how each program went, what failed, and tables.
show() {
    local line
    while IFS= read -r line; do
        line=${line%$'\r'}
        case $line in
        'vm: ends '*' with 0 '*) ;;
        'vm: '* | '| '* | 'test '*FAILED | *'panicked at'*) printf '%s\n' "$line" ;;
        'test result:'*) printf '    %s\n' "${line/ 0 measured;/}" ;;
        esac
    done
}
