//! `exec -t`: a second program in a terminal, shown in the one of the command.

use super::tty::Tty;
use super::{Yard, within};
use std::time::Duration;

fn running(name: &str) -> Yard {
    let yard = Yard::new(name);
    yard.detach("web", &[], "sleep 60");
    yard
}

#[test]
fn a_second_program_has_a_terminal_of_the_windows_size_and_its_keys() {
    let yard = running("exec-tty");
    let script = "busybox stty size; read x </dev/tty; echo got $x; exit 7";
    let mut tty = Tty::of(yard.command(&["exec", "-it", "web", "sh", "-c", script]), (31, 99));
    tty.until("31 99");
    assert!(tty.is_raw());
    tty.keys("hello\r");
    tty.until("got hello");
    assert_eq!(tty.end(), 7);
    assert!(!tty.is_raw());
}

#[test]
fn an_interrupt_and_a_new_size_reach_a_second_program() {
    let yard = running("exec-tty-signals");
    let script = "trap 'echo interrupted; exit 5' INT; trap 'busybox stty size' WINCH; echo ready; \
        while :; do sleep 0.05; done";
    let mut tty = Tty::of(yard.command(&["exec", "-it", "web", "sh", "-c", script]), (24, 80));
    tty.until("ready");
    tty.resize(50, 132);
    tty.until("50 132");
    // As typed: the line discipline makes it a signal.
    tty.keys("\x03");
    tty.until("interrupted");
    assert_eq!(tty.end(), 5);
}

#[test]
fn a_command_that_is_ended_gives_the_terminal_back_and_ends_its_program() {
    let yard = running("exec-tty-ended");
    let mut tty = Tty::of(
        yard.command(&["exec", "-it", "web", "sh", "-c", "echo ready; sleep 77"]),
        (24, 80),
    );
    tty.until("ready");
    tty.signal("TERM");
    assert_eq!(tty.end(), 128 + 15);
    assert!(!tty.is_raw());
    let runs =
        || yard.leanbox(&["exec", "web", "sh", "-c", "cat /proc/*/cmdline"]).out.contains("77");
    assert!(within(Duration::from_secs(10), || !runs()));
}

#[test]
fn without_a_terminal_to_type_in_it_is_refused() {
    let yard = running("exec-tty-refused");
    yard.leanbox(&["exec", "-it", "web", "true"]).failed(1, "the input device is not a TTY");
}
