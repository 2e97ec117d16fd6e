//! `run --explain`: what was refused is named, with the option by which it is refused no more.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Done, Place, place};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

const APPLETS: &str = "mkdir touch chown mount chroot nc tail cp chmod";

fn explained(place: &Place, options: &[&str], script: &str) -> Done {
    place.sh(&[&["--explain"], options].concat(), script)
}

fn with_applets(name: &str) -> Place {
    let place = place(name);
    for applet in APPLETS.split_whitespace() {
        symlink("busybox", place.0.join("root/bin").join(applet)).unwrap();
    }
    place
}

/// What a script is refused, and the options that end that.
const REFUSED: [(&str, &str, &[&str]); 13] = [
    ("mkdir /data", "mkdir(\"/data\") EROFS: the root is read-only; --writable", &["--writable"]),
    (
        "touch /app/x",
        "openat(\"/app/x\") EROFS: the root is read-only; --writable, or --tmpfs",
        &["--tmpfs", "/app"],
    ),
    (
        "touch /tmp/x; chown 5 /tmp/x",
        "EPERM: it takes CAP_CHOWN; --cap-add CHOWN",
        &["--cap-add", "CHOWN"],
    ),
    (
        "mount -t tmpfs none /tmp",
        "mount(\"/tmp\") EPERM: the seccomp profile; --cap-add SYS_ADMIN",
        &["--cap-add", "SYS_ADMIN"],
    ),
    (
        "chroot / true",
        "chroot(\"/\") EPERM: the seccomp profile; --cap-add SYS_CHROOT",
        &["--cap-add", "SYS_CHROOT"],
    ),
    (
        "touch /tmp/x; chmod 0 /tmp/x; cat /tmp/x",
        "openat(\"/tmp/x\") EACCES: the file's permission bits; --user, --cap-add DAC_OVERRIDE",
        &["--cap-add", "DAC_OVERRIDE"],
    ),
    (
        "ulimit -n 5000",
        "prlimit64(nofile) EPERM: the hard limit nofile of a process; --ulimit nofile=N",
        &["--ulimit", "nofile=5000"],
    ),
    (
        "cat /proc/timer_list",
        "openat(\"/proc/timer_list\") ok: /proc/timer_list tells of the machine, and is masked; no",
        &[],
    ),
    ("cat /dev/fuse", "ENOENT: /dev/fuse is not there; --device /dev/fuse", &[]),
    ("ls /sys", "ENOENT: there is no /sys; no option allows it", &[]),
    ("nc -w 1 192.0.2.7 9", "connect(192.0.2.7:9) ENETUNREACH: its network is loopback only", &[]),
    (
        "head -c 100000 /dev/zero >/tmp/full",
        "write(\"/tmp/full\") ENOSPC: /tmp is full; --tmp-size",
        &["--tmp-size", "1m"],
    ),
    (
        "for i in 1 2 3 4 5 6; do sleep 2 & done; wait",
        "EAGAIN: the limit of processes; --pids N",
        &["--pids", "20"],
    ),
];

#[test]
fn each_refusal_is_named_with_the_option_that_ends_it() {
    let place = with_applets("explain-refused");
    for (script, line, remedy) in REFUSED {
        let limits = ["--tmp-size", "64k", "--pids", "5"];
        let done = explained(&place, &limits, script);
        let found =
            done.err.lines().any(|one| one.starts_with("leanbox: refused: ") && one.contains(line));
        assert!(found, "{script}: {done:?}");
        let in_memory = leanbox::probe::kernel_version() >= (6, 6);
        if remedy.is_empty() || remedy == ["--writable"] && !in_memory {
            continue;
        }
        let limits = [&limits[..2], remedy].concat();
        let limits: Vec<&str> = match remedy[0] {
            "--tmp-size" => remedy.to_vec(),
            _ => limits,
        };
        let done = explained(&place, &limits, script);
        assert!(!done.err.contains(line), "{script} with {remedy:?}: {done:?}");
        assert_eq!(done.code, 0, "{script} with {remedy:?}: {done:?}");
    }
}

#[test]
fn what_is_mounted_is_named_with_the_option_that_it_lacks() {
    let place = with_applets("explain-mounts");
    fs::create_dir(place.0.join("volume")).unwrap();
    let volume = format!("{}/volume:/vol", place.0.display());
    let read_only = explained(&place, &["-v", &format!("{volume}:ro")], "touch /vol/x");
    let line = "EROFS: /vol is read-only; leave :ro out of the volume";
    assert!(read_only.err.contains(line), "{read_only:?}");
    let writable = explained(&place, &["-v", &volume, "--cap-add", "DAC_OVERRIDE"], "touch /vol/x");
    assert!(!writable.err.contains("read-only"), "{writable:?}");
    let script = "cp /bin/busybox /x/busybox; /x/busybox true";
    let no_exec = explained(&place, &["--tmpfs", "/x:noexec"], script);
    let line = "EACCES: nothing is executed from /x; --tmpfs /x:exec, or";
    assert!(no_exec.err.contains(line), "{no_exec:?}");
    let exec = explained(&place, &["--tmpfs", "/x:exec"], script);
    assert_eq!((exec.code, exec.err.contains("nothing is executed")), (0, false), "{exec:?}");
}

#[test]
fn nothing_refused_is_said_so_and_without_the_option_nothing_is_said() {
    let place = with_applets("explain-nothing");
    let done = explained(&place, &[], "echo said; exit 3");
    assert_eq!((done.code, done.out.as_str()), (3, "said"));
    assert_eq!(done.err, "leanbox: refused: nothing");
    let silent = place.sh(&[], "mkdir /data 2>/dev/null; true");
    assert_eq!((silent.code, silent.err.as_str()), (0, ""));
}

#[test]
fn each_thing_is_told_once_with_how_often_it_was() {
    let place = with_applets("explain-often");
    let done =
        explained(&place, &[], "for i in 1 2 3; do mkdir /data; mkdir '/a\n\"b'; done 2>/dev/null");
    let lines: Vec<&str> = done.err.lines().collect();
    assert_eq!(lines.len(), 2, "{done:?}");
    assert!(lines[0].starts_with("leanbox: refused: 3 x mkdir(\"/data\") EROFS"), "{done:?}");
    assert!(lines[1].starts_with(r#"leanbox: refused: 3 x mkdir("/a\n\"b") EROFS"#), "{done:?}");
}

#[test]
fn a_watched_program_behaves_as_it_does_unwatched() {
    let place = with_applets("explain-same");
    // Signals, stops, children that outlive their parents, and an end by a signal.
    let script = "trap 'echo term' TERM; kill $$; (kill -STOP $$ & sleep 0.2; kill -CONT $$) & \
        wait; sh -c 'kill -9 $$'; echo $?; (sleep 0.1; echo late) & wait; kill -USR1 $$; sleep 1";
    let watched = explained(&place, &[], script);
    let unwatched = place.sh(&[], script);
    assert_eq!((watched.code, &watched.out), (unwatched.code, &unwatched.out), "{watched:?}");
    assert_eq!(watched.code, 128 + 10);
}

#[test]
fn time_limits_and_kills_end_what_is_watched() {
    let place = with_applets("explain-killed");
    let begin = Instant::now();
    let done = explained(&place, &["--timeout", "3s"], "sleep 60 & mkdir /data; sleep 60");
    assert_eq!(done.code, 124, "{done:?}");
    assert!(done.err.contains("mkdir(\"/data\")"), "{done:?}");
    assert!(begin.elapsed() < Duration::from_secs(20));
    let done = explained(&place, &["--memory", "8m"], "head -c 100m /dev/zero | tail -c 90m");
    assert_ne!(done.code, 0, "{done:?}");
}

#[test]
fn what_a_program_leaves_running_ends_with_it_all_the_same() {
    let place = with_applets("explain-left");
    let begin = Instant::now();
    let done = explained(&place, &[], "sleep 1000 & echo gone");
    assert_eq!((done.code, done.out.as_str()), (0, "gone"), "{done:?}");
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn it_does_not_go_with_a_container_in_the_background() {
    let place = with_applets("explain-detached");
    let done = place.run(&["--explain", "--detach"], &["true"]);
    assert_ne!(done.code, 0);
    assert!(done.err.contains("--explain"), "{done:?}");
}
