//! Volumes, devices, sockets and terminals of `leanbox run`, in Docker's spellings.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/tty.rs"]
mod tty;

use common::{Done, place};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use tty::Tty;

/// An HTTP server of one answer that listens nowhere: it has the socket already.
const SERVER: &str = "test $LISTEN_PID = $$ || exit 9; echo fds $LISTEN_FDS; ls /sys/class/net 2>/dev/null; exec serve";

fn open_to_all(place: &common::Place, name: &str) -> String {
    let folder = place.0.join(name);
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(folder.join("note"), "of the host\n").unwrap();
    format!("./{name}")
}

#[test]
fn volumes_and_tmpfs_are_shown() {
    let place = place("volumes");
    let data = open_to_all(&place, "data");
    let volume = format!("{data}:/data");
    let fixed = format!("type=bind,src={data},dst=/fixed,readonly");
    let options = ["-v", &volume, "--mount", &fixed, "--tmpfs", "/scratch:size=64k,mode=700"];
    place
        .sh(&options, "cat /data/note /fixed/note; echo x >/data/made; ls /scratch")
        .said("of the host\nof the host");
    assert!(place.0.join("data/made").exists());
    let done = place.sh(&options, "echo x >/fixed/note");
    assert_eq!(done.code, 1);
    assert!(done.err.contains("Read-only file system"), "{done:?}");
    let done = place.sh(&options, "head -c 99999 /dev/zero >/scratch/x; wc -c </scratch/x");
    assert_eq!(done.out, "65536");
}

#[test]
fn what_cannot_be_mounted_is_one_line() {
    let place = place("no-volumes");
    for (option, value, words) in [
        ("-v", "data:/data", "no named volumes"),
        ("-v", "/data", "--tmpfs"),
        ("-v", "./none:/data", "no such file or folder"),
        ("-v", "/etc:/data:shared", "no such option"),
        ("--mount", "type=volume,dst=/data", "type=bind or type=tmpfs"),
        ("--tmpfs", "data", "not an absolute path"),
        ("--device", "/dev/zero:/dev/x:rwm", "permission m"),
        ("--device", "/etc/passwd:/dev/x", "not a device"),
        ("--writable=1k", "--read-only", "cannot be used with"),
        ("--writable=1k", "--hostname=x", "at least"),
        ("--listen", "tcp:80", "tcp:ADDR:PORT"),
        ("--listen", "unix:/none/such/path", "unix:/none/such/path"),
        ("--fd", "77", "not open"),
        ("--fd", "1:2", "3 to 499"),
    ] {
        place.run(&[option, value], &["true"]).failed(125, words);
    }
}

#[test]
fn devices_and_a_writable_root() {
    let place = place("devices");
    let options = ["--device", "/dev/zero:/dev/x:r", "--writable"];
    if leanbox::probe::kernel_version() < (6, 6) {
        return place.run(&options, &["true"]).failed(125, "needs Linux 6.6");
    }
    place.sh(&options, "head -c 3 /dev/x | wc -c; echo x >/etc/made; cat /etc/made").said("3\nx");
    assert!(!place.0.join("root/etc/made").exists());
}

#[test]
fn a_server_without_a_network_answers_by_the_socket_that_it_is_handed() {
    let place = place("listen");
    tty::server(&place);
    let path = place.0.join("socket");
    let listen = format!("unix:{}", path.display());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let tcp = format!("tcp:127.0.0.1:{port}");
    let words = ["run", "--listen", &tcp, "--listen", &listen, "./root", "sh", "-c", SERVER];
    let running = common::Running::start(&place, &mut place.leanbox(&words));
    running.await_text("fds 2");
    let mut answers = Vec::new();
    let mut web = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut local = UnixStream::connect(&path).unwrap();
    web.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    web.read_to_end(&mut answers).unwrap();
    local.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    local.read_to_end(&mut answers).unwrap();
    let answers = String::from_utf8(answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.0 200 OK").count(), 2, "{answers}");
    assert_eq!(running.end().0, 0);
    assert!(!path.exists());
}

#[test]
fn a_descriptor_that_leanbox_was_started_with_is_handed_on_and_no_folder() {
    let place = place("fd");
    fs::write(place.0.join("file"), "by descriptor\n").unwrap();
    let run = |redirect: &str, fd: &str| {
        let leanbox = env!("CARGO_BIN_EXE_leanbox");
        let script = format!("exec {leanbox} run --fd {fd} ./root sh -c 'cat <&9' {redirect}");
        let mut command = std::process::Command::new("sh");
        Done::of(command.args(["-c", &script]).current_dir(&place.0).output().unwrap())
    };
    run("7<file", "7:9").said("by descriptor");
    run("9<file", "9").said("by descriptor");
    run("7</", "7:9").failed(125, "a folder");
    run("", "7:9").failed(125, "not open");
}

#[test]
fn a_terminal_shows_what_is_typed_and_printed_and_is_given_back() {
    let place = place("tty");
    let mut tty = Tty::begin(
        &place,
        &["run", "-it", "./root", "sh", "-c", "busybox stty size; read x; echo got $x; exit 7"],
        (31, 99),
    );
    tty.until("31 99");
    assert!(tty.is_raw());
    tty.keys("hello\r");
    tty.until("got hello");
    assert_eq!(tty.end(), 7);
    assert!(!tty.is_raw());
}

#[test]
fn an_interrupt_and_a_new_size_go_through_a_terminal() {
    let place = place("tty-signals");
    let script = "trap 'echo interrupted; exit 5' INT; trap 'busybox stty size' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut tty = Tty::begin(&place, &["run", "-it", "./root", "sh", "-c", script], (24, 80));
    tty.until("ready");
    tty.resize(50, 132);
    tty.until("50 132");
    tty.keys("\x03");
    tty.until("interrupted");
    assert_eq!(tty.end(), 5);
    assert!(!tty.is_raw());
}

#[test]
fn a_signal_a_timeout_and_an_error_give_the_terminal_back() {
    let place = place("tty-back");
    let mut tty = Tty::begin(
        &place,
        &["run", "-it", "./root", "sh", "-c", "echo ready; exec sleep 60"],
        (24, 80),
    );
    tty.until("ready");
    assert!(tty.is_raw());
    tty.signal("TERM");
    assert_eq!(tty.end(), 143);
    assert!(!tty.is_raw());
    let mut tty =
        Tty::begin(&place, &["run", "-it", "--timeout", "300ms", "./root", "yes"], (24, 80));
    tty.until("timed out");
    assert_eq!(tty.end(), 124);
    assert!(!tty.is_raw());
    let mut tty = Tty::begin(&place, &["run", "-it", "./root", "none-such"], (24, 80));
    tty.until("no such program");
    assert_eq!(tty.end(), 127);
    assert!(!tty.is_raw());
}

#[test]
fn what_a_hostile_program_prints_is_shown_whole_and_not_acted_on() {
    let place = place("tty-hostile");
    // Docker's keys to detach, an answer-back, a clipboard: bytes like all others.
    let script = "printf '\\020\\021\\033[6n\\033]52;c;eA==\\007\\377\\000end'; exec <&- >&- 2>&-; sleep 0.2";
    let mut tty = Tty::begin(&place, &["run", "-it", "./root", "sh", "-c", script], (24, 80));
    tty.until("end");
    assert!(tty.seen.windows(4).any(|bytes| bytes == b"\x1b[6n"), "{:?}", tty.seen);
    assert_eq!(tty.end(), 0);
    assert!(!tty.is_raw());
}

#[test]
fn without_a_terminal_here_there_is_none_to_type_in_but_one_to_print_to() {
    let place = place("no-tty");
    place.run(&["-it"], &["true"]).failed(125, "the input device is not a TTY");
    let done = place.sh(&["-t"], "test -t 1 && echo one; test -t 0 && exit 4");
    assert_eq!((done.code, done.out.as_str()), (4, "one"));
    place.sh(&["-i"], "test -t 1 || echo none").said("none");
}

#[test]
fn all_of_a_long_output_comes_through_a_terminal() {
    let place = place("tty-long");
    let done = place.sh(&["-t"], "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done");
    assert_eq!(done.out.lines().count(), 20000);
    assert!(done.out.ends_with("line 19999"));
}
