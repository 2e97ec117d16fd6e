#!/bin/sh
# Stands in for sudo on a test host, where everybody is root already: it insists on a terminal, and
# on a password where the host has one.
exec 3<>/dev/tty || {
    echo 'sudo: a terminal is required to read the password' >&2
    exit 1
}
wanted=$(dirname "$0")/../sudo_password
if [ -e "$wanted" ]; then
    stty -echo <&3
    printf '%s' "${SUDO_PROMPT:-[sudo] password for $USER: }" >&3
    IFS= read -r given <&3
    echo >&3
    [ "$given" = "$(cat "$wanted")" ] || {
        echo 'Sorry, try again.' >&3
        printf '%s' "${SUDO_PROMPT:-[sudo] password for $USER: }" >&3
        read -r given <&3
        exit 1
    }
fi
exec 3>&-
exec env -u SUDO_PROMPT "$@"
