//! A terminal of the container's own: its program has it as any has its terminal, the host has the
//! other end, and nothing that a program does with it reaches further.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Folder, busybox, hostile, says};
use leanbox::{
    Command, Container, End, ErrorKind, Policy, Pool, Rootfs, Template, TemplateBuilder,
};
use std::fs::File;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

fn on(root: &Folder) -> TemplateBuilder {
    Template::builder(Rootfs::open(&root.0).unwrap()).terminal(true)
}

fn pool(root: &Folder) -> Pool {
    Pool::new(&on(root).build().unwrap(), 0).unwrap()
}

fn begin(pool: &Pool, script: &str) -> (Container, File) {
    let mut container =
        Command::new("sh").args(["-c", script]).terminal_size(33, 77).spawn(pool).unwrap();
    let master = container.terminal.take().unwrap();
    (container, master)
}

/// What is printed until nobody has the terminal open.
fn all(master: &mut File) -> String {
    let mut text = Vec::new();
    let ended = master.read_to_end(&mut text).unwrap_err();
    assert_eq!(ended.raw_os_error(), Some(5), "EIO is a terminal's end");
    String::from_utf8_lossy(&text).replace("\r\n", "\n")
}

fn until(master: &mut File, words: &str) -> String {
    let mut text = String::new();
    while !text.contains(words) {
        let mut bytes = [0; 256];
        let length = master.read(&mut bytes).unwrap();
        text += &String::from_utf8_lossy(&bytes[..length]);
    }
    text
}

#[test]
fn a_program_has_its_terminal_as_any_has() {
    let root = busybox("terminal");
    let script = "B=/bin/busybox; $B tty; $B stty size; echo own >/dev/tty; echo console >/dev/console; \
        $B stty -a | grep -o -w isig; cut() { set -- $(cat /proc/$$/stat); echo $6 $8; }; cut; \
        ls -1 /dev/pts; test -t 0 && test -t 1 && test -t 2 && exit 7";
    let (container, mut master) = begin(&pool(&root), script);
    let seen = all(&mut master);
    assert_eq!(seen, "/dev/pts/0\n33 77\nown\nconsole\nisig\n2 2\n0\nptmx\n");
    assert_eq!(container.wait().unwrap().end, End::Exited(7));
}

#[test]
fn there_is_no_terminal_unless_it_is_asked_for() {
    let root = busybox("no-terminal");
    let pool = Pool::new(&common::template(&root, Policy::Once), 0).unwrap();
    let script = "ls /dev/pts; test -e /dev/ptmx || echo none; (: </dev/tty) 2>&1";
    let seen = says(&pool, script);
    assert!(seen.starts_with("none\n") && seen.contains("No such device or address"), "{seen}");
    let container = Command::new("sleep").arg("60").spawn(&pool).unwrap();
    assert!(container.terminal.is_none());
    assert_eq!(container.resize_terminal(1, 1).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn an_interrupt_that_is_typed_ends_the_program_and_one_that_is_not_read_does_not() {
    let root = busybox("interrupt");
    let pool = pool(&root);
    let (container, mut master) = begin(&pool, "echo ready; exec sleep 60");
    until(&mut master, "ready");
    master.write_all(b"\x03").unwrap();
    assert_eq!(container.wait().unwrap().end, End::Signaled(2));
    let (container, mut master) =
        begin(&pool, "/bin/busybox stty raw -echo; echo ready; head -c 1 | wc -c");
    until(&mut master, "ready");
    master.write_all(b"\x03").unwrap();
    assert!(all(&mut master).contains('1'));
    assert_eq!(container.wait().unwrap().end, End::Exited(0));
}

#[test]
fn a_window_that_changes_is_told() {
    let root = busybox("window");
    let script =
        "trap '/bin/busybox stty size; exit 3' WINCH; echo ready; while :; do sleep 0.02; done";
    let mut container = Command::new("sh").args(["-c", script]).spawn(&pool(&root)).unwrap();
    let mut master = container.terminal.as_ref().unwrap().try_clone().unwrap();
    until(&mut master, "ready");
    container.resize_terminal(11, 22).unwrap();
    assert_eq!(all(&mut master).trim(), "11 22");
    let outcome = container.wait_timeout(Duration::from_secs(5)).unwrap().unwrap();
    assert_eq!(outcome.end, End::Exited(3));
}

#[test]
fn streams_that_are_set_are_not_the_terminal() {
    let root = busybox("streams");
    let script = "test -t 0 || test -t 1 || test -t 2 || echo none; wc -c; echo shown >/dev/tty";
    let outcome = Command::new("sh").args(["-c", script]).output(&pool(&root)).unwrap();
    assert_eq!(String::from_utf8_lossy(&outcome.stdout.bytes), "none\n0\n");
}

#[test]
fn nobody_types_into_a_terminal_from_inside() {
    let root = hostile("typing");
    let script = "attack refused </dev/tty | grep -E '^(tiocsti|tioclinux)'";
    let (_container, mut master) = begin(&pool(&root), script);
    assert_eq!(all(&mut master), "tiocsti 1\ntiocsti_high_bits 1\ntioclinux 1\n");
}

#[test]
fn a_user_has_the_terminal_and_other_slots_do_not() {
    let root = busybox("user");
    let pool = Pool::new(&on(&root).user("app").build().unwrap(), 2).unwrap();
    let script = "stat -c %u:%g:%a /dev/pts/0; echo opened >/dev/pts/0; ls -1 /dev/pts; read x";
    let mut running: Vec<_> = (0..2).map(|_| begin(&pool, script)).collect();
    for (_, master) in &mut running {
        let seen = until(master, "ptmx");
        assert!(seen.starts_with("1000:5:620\r\nopened\r\n0\r\nptmx"), "{seen}");
    }
}

#[test]
fn terminals_of_a_slot_are_bounded() {
    let root = hostile("many");
    let (_container, mut master) = begin(&pool(&root), "attack terminals");
    assert_eq!(all(&mut master), "63 28\n");
}

#[test]
fn a_terminal_that_is_flooded_or_left_holds_nobody_up() {
    let root = busybox("flood");
    let pool = pool(&root);
    let began = Instant::now();
    let mut flood = Command::new("yes");
    flood.timeout(Duration::from_millis(300));
    assert!(flood.spawn(&pool).unwrap().wait().unwrap().timed_out);
    // All that the kernel keeps of it is a buffer.
    let (container, mut master) =
        begin(&pool, "exec </dev/null >/dev/null 2>&1; sleep 0.3; echo back >/dev/pts/0");
    let mut byte = [0];
    assert_eq!(master.read(&mut byte).unwrap_err().raw_os_error(), Some(5));
    assert_eq!(container.wait().unwrap().end, End::Exited(0));
    let mut rest = String::new();
    let _ = master.read_to_string(&mut rest);
    assert_eq!(rest, "back\r\n");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_host_that_lets_go_of_a_terminal_hangs_up() {
    let root = busybox("hang-up");
    let (container, master) = begin(&pool(&root), "sleep 60");
    drop(master);
    assert_eq!(container.wait().unwrap().end, End::Signaled(1));
}

#[test]
fn terminals_go_with_once_only_and_not_with_a_fork() {
    let root = busybox("policies");
    for policy in [Policy::Reuse, Policy::Shared] {
        let refused = on(&root).policy(policy).build().unwrap_err();
        assert!(refused.to_string().contains("with a terminal"), "{refused}");
    }
    let template = on(&root).build().unwrap();
    assert!(template.fork_noop().is_err());
}
