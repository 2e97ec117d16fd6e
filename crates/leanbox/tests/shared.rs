//! Policy shared: every container has its own limits and its own end, and all of them one set of
//! namespaces.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/host.rs"]
mod host;

use common::{Folder, attack, busybox, hostile, says, sh, template};
use leanbox::{Command, Container, End, ErrorKind, Limits, Policy, Pool, Rootfs, Stdio, Template};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// With and without a tender.
const RESERVES: [usize; 2] = [0, 2];

fn shared(root: &Folder) -> Template {
    template(root, Policy::Shared)
}

fn limited(root: &Folder, limits: Limits) -> Template {
    let builder = Template::builder(Rootfs::open(&root.0).unwrap());
    builder.policy(Policy::Shared).limits(limits).build().unwrap()
}

fn spawn(pool: &Pool, script: &str) -> Container {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdout(Stdio::Null).stderr(Stdio::Null);
    command.spawn(pool).unwrap()
}

fn sleeper(pool: &Pool) -> Container {
    Command::new("sleep").arg("60").spawn(pool).unwrap()
}

fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// The processes of all containers of the template.
fn inside(template: &Template) -> Vec<i32> {
    let mut found = vec![anchor(template)];
    let mut at = 0;
    while at < found.len() {
        found.extend(children(found[at]));
        at += 1;
    }
    let is_program = |pid: &i32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name != "leanbox-init\n")
    };
    found.into_iter().filter(is_program).collect()
}

fn children(parent: i32) -> Vec<i32> {
    let is_child = |pid: &i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains(&format!("PPid:\t{parent}\n"))
    };
    host::processes().into_iter().filter(is_child).collect()
}

/// Their launcher.
fn anchor(template: &Template) -> i32 {
    let mut launchers = Vec::new();
    // For a moment whoever brings something in is the keeper's, too.
    let one = host::within(Duration::from_secs(5), || {
        launchers = children(template.keeper_pid());
        launchers.len() == 1
    });
    assert!(one, "one launcher for all: {launchers:?}");
    launchers[0]
}

#[test]
fn outcomes_are_told_as_with_every_policy() {
    let root = busybox("shared-outcomes");
    let template = shared(&root);
    for ready in RESERVES {
        let pool = Pool::new(&template, ready).unwrap();
        assert_eq!(pool.policy(), Policy::Shared);
        for _ in 0..20 {
            assert!(Command::noop().status(&pool).unwrap().success());
            assert_eq!(says(&pool, "echo hello; id -u"), "hello\n0");
            for code in [3, 127] {
                assert_eq!(sh(&pool, &format!("exit {code}")).end, End::Exited(code));
            }
            assert_eq!(sh(&pool, "kill -9 $$").end, End::Signaled(9));
            let missing = Command::new("no-such").status(&pool).unwrap_err();
            assert_eq!(missing.kind(), ErrorKind::NotFound);
            assert_eq!(
                Command::new("no-such").spawn(&pool).unwrap_err().kind(),
                ErrorKind::NotFound
            );
        }
    }
}

#[test]
fn a_container_has_its_own_user_session_and_descriptors() {
    let root = busybox("shared-identity");
    let builder = Template::builder(Rootfs::open(&root.0).unwrap()).policy(Policy::Shared);
    let pool = Pool::new(&builder.user("app").build().unwrap(), 2).unwrap();
    assert_eq!(says(&pool, "id"), "uid=1000(app) gid=1000(app) groups=44(video)");
    assert_eq!(
        says(&pool, "ls /proc/self/fd | grep -v '^[0123]$'; cat /root/secret 2>/dev/null"),
        ""
    );
    let status = says(&pool, "cat /proc/self/status");
    assert_eq!(common::field(&status, "CapEff"), "0000000000000000");
    assert_eq!(common::field(&status, "Seccomp"), "2");
    assert_eq!(
        says(&pool, "test $(cut -d' ' -f6 /proc/self/stat 2>/dev/null || echo $$) && echo ok"),
        "ok"
    );
}

#[test]
fn long_arguments_arrive_whole_and_are_not_kept() {
    let root = busybox("shared-arguments");
    let template = shared(&root);
    let pool = Pool::new(&template, 1).unwrap();
    let word = "x".repeat(100_000);
    let echo = || {
        let outcome = Command::new("echo").arg(&word).output(&pool).unwrap();
        assert_eq!(outcome.stdout.bytes.len(), word.len() + 1);
    };
    let kib = || -> u64 {
        let status = host::status(anchor(&template));
        common::field(&status, "VmSize").trim_end_matches(" kB").parse().unwrap()
    };
    (0..20).for_each(|_| echo());
    let before = kib();
    (0..100).for_each(|_| echo());
    assert!(kib() <= before + 1024, "{before} KiB, then {}", kib());
}

#[test]
fn containers_see_and_signal_each_other_and_share_files_and_ipc() {
    let root = hostile("shared-seen");
    let template = shared(&root);
    let (pool, other) = (Pool::new(&template, 2).unwrap(), Pool::new(&template, 0).unwrap());
    let running = spawn(&pool, "echo seen >/tmp/note; echo shm >/dev/shm/note; sleep 61");
    let seen = || says(&other, "ps | grep -c '[s]leep 61'; cat /tmp/note /dev/shm/note");
    assert!(host::within(Duration::from_secs(5), || seen() == "1\nseen\nshm"), "{}", seen());
    sh(
        &other,
        "kill -9 $(ps | grep '[s]leep 61' | sed 's/^ *//' | while read p r; do echo $p; done)",
    );
    assert!(!running.wait().unwrap().success());
}

#[test]
fn memory_and_processes_are_limited_for_each() {
    const EAGAIN: i32 = 11;
    let root = hostile("shared-limits");
    let limits = Limits { memory_max_bytes: 32 * MIB, pids_max: 20, ..Limits::default() };
    for ready in RESERVES {
        let pool = Pool::new(&limited(&root, limits.clone()), ready).unwrap();
        let neighbour = sleeper(&pool);
        for _ in 0..3 {
            let killed = Command::new("attack").args(["hog", "100"]).output(&pool).unwrap();
            assert_eq!(killed.end, End::Signaled(9));
            assert!(killed.oom_killed, "{killed:?}");
            assert!(common::has_peak(&killed, 30 * MIB..=32 * MIB), "{killed:?}");
            let next = Command::new("attack").arg("ids").output(&pool).unwrap();
            assert!(next.success() && !next.oom_killed, "{next:?}");
            assert!(common::has_peak(&next, ..8 * MIB), "{next:?}");
            assert_eq!(attack(&pool, &["fork-bomb"]), format!("19 {EAGAIN}"));
        }
        let busy = Command::new("attack").args(["spin-cpu", "300"]).output(&pool).unwrap();
        assert!((290..450).contains(&busy.cpu.as_millis()), "{busy:?}");
        assert!(is_alive(host::pid_of(&neighbour)));
    }
}

#[test]
fn what_a_container_left_running_ends_with_it_and_its_neighbour_does_not() {
    let root = hostile("shared-left");
    let template = shared(&root);
    for ready in RESERVES {
        let pool = Pool::new(&template, ready).unwrap();
        let neighbour = spawn(&pool, "sleep 61 & sleep 62");
        let left = "(setsid sh -c 'sleep 63 & sleep 63' &) >/dev/null 2>&1; sleep 63 & echo on";
        for streams in [false, true] {
            for _ in 0..5 {
                if streams {
                    assert_eq!(says(&pool, left), "on");
                } else {
                    assert!(spawn(&pool, left).wait().unwrap().success());
                }
                let left = || says(&pool, "ps | grep -c '[s]leep 63'; true");
                assert!(host::within(Duration::from_secs(2), || left() == "0"), "{}", left());
                assert_eq!(says(&pool, "ps | grep -c '[s]leep 6[12]'"), "2");
            }
        }
        drop(neighbour);
        pool.settle().unwrap();
        assert!(host::within(Duration::from_secs(5), || inside(&template).is_empty()));
    }
}

#[test]
fn killing_a_timeout_and_dropping_end_one_container_with_all_it_started() {
    let root = busybox("shared-kill");
    let template = shared(&root);
    for ready in RESERVES {
        let pool = Pool::new(&template, ready).unwrap();
        let neighbour = sleeper(&pool);
        let script = "trap '' TERM; setsid sleep 64 & sleep 64 & sleep 64";
        let ended = || says(&pool, "ps | grep -c '[s]leep 64'; true") == "0";
        let container = spawn(&pool, script);
        container.kill();
        assert_eq!(container.wait().unwrap().end, End::Signaled(9));
        assert!(host::within(Duration::from_secs(2), ended));
        drop(spawn(&pool, script));
        assert!(host::within(Duration::from_secs(2), ended));
        let mut command = Command::new("sh");
        command.args(["-c", script]).timeout(Duration::from_millis(200));
        let outcome = command.output(&pool).unwrap();
        assert!(outcome.timed_out && outcome.end == End::Signaled(9), "{outcome:?}");
        assert!(host::within(Duration::from_secs(2), ended));
        // Nobody waits for this one.
        let alone = command.stdout(Stdio::Null).stderr(Stdio::Null).spawn(&pool).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert!(host::within(Duration::from_secs(5), ended));
        assert!(alone.wait().unwrap().timed_out);
        assert!(is_alive(host::pid_of(&neighbour)));
    }
}

#[test]
fn a_fork_bomb_is_ended_and_its_neighbour_runs_on() {
    let root = busybox("shared-bomb");
    let limits = Limits { pids_max: 60, ..Limits::default() };
    for ready in RESERVES {
        let pool = Pool::new(&limited(&root, limits.clone()), ready).unwrap();
        let neighbour = sleeper(&pool);
        // Each process makes two that live on when it has ended.
        let bomb =
            "b() { (setsid sh -c \"$1\" x \"$1\" &); (setsid sh -c \"$1\" x \"$1\" &); }; b \"$1\"";
        for _ in 0..3 {
            let mut command = Command::new("sh");
            command.args(["-c", bomb, "x", bomb]).stdout(Stdio::Null).stderr(Stdio::Null);
            let container = command.spawn(&pool).unwrap();
            std::thread::sleep(Duration::from_millis(200));
            let began = Instant::now();
            container.kill();
            container.wait().unwrap();
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
            let alone =
                || says(&pool, "ps | grep -cv 'leanbox-init\\|sleep 60\\|ps\\|grep\\|PID'; true");
            assert!(host::within(Duration::from_secs(5), || alone() == "0"), "{}", alone());
        }
        assert!(is_alive(host::pid_of(&neighbour)));
    }
}

#[test]
fn the_launcher_and_what_is_parked_cannot_be_reached_from_inside() {
    let root = hostile("shared-reach");
    let template = shared(&root);
    let pool = Pool::new(&template, 4).unwrap();
    pool.settle().unwrap();
    let before = anchor(&template);
    assert_eq!(attack(&pool, &["pids", "100"]), "");
    for signal in [19, 15, 9] {
        sh(&pool, &format!("kill -{signal} 1; kill -{signal} -1; exit 0"));
        let all = "for p in $(seq 1 400); do test $p = $$ || kill";
        sh(&pool, &format!("{all} -{signal} $p; done 2>/dev/null; exit 0"));
    }
    for _ in 0..8 {
        assert_eq!(says(&pool, "echo next"), "next");
    }
    assert_eq!(anchor(&template), before);
}

#[test]
fn many_threads_share_a_pool() {
    let root = busybox("shared-threads");
    let template = shared(&root);
    for ready in [0, 8] {
        let pool = Pool::new(&template, ready).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let pool = &pool;
                scope.spawn(move || {
                    for round in 0..50 {
                        let word = format!("{thread}-{round}");
                        assert_eq!(says(pool, &format!("echo {word}")), word);
                        assert!(Command::noop().status(pool).unwrap().success());
                    }
                });
            }
        });
    }
}

#[test]
fn there_are_never_more_containers_than_the_most() {
    let root = busybox("shared-most");
    let template = shared(&root);
    for ready in RESERVES {
        // Long enough for those that are being made to become ready.
        let wait = Duration::from_secs(2);
        let pool = Pool::builder(&template).ready(ready).max(2).wait(wait).build().unwrap();
        let running = [sleeper(&pool), sleeper(&pool)];
        assert_eq!(Command::new("true").status(&pool).unwrap_err().kind(), ErrorKind::Busy);
        assert_eq!(inside(&template).len(), 2);
        drop(running);
        assert!(Command::new("true").status(&pool).unwrap().success());
    }
}

#[test]
fn when_the_launcher_was_killed_all_end_and_the_next_start_works() {
    let root = busybox("shared-anchor");
    let template = shared(&root);
    for ready in [0, 4] {
        let pool = Pool::new(&template, ready).unwrap();
        for _ in 0..3 {
            pool.settle().unwrap();
            let running = sleeper(&pool);
            let killed = anchor(&template);
            leanbox_sys::process::kill(killed, 9).unwrap();
            let gone = || !std::fs::exists(format!("/proc/{killed}")).unwrap();
            assert!(host::within(Duration::from_secs(5), gone));
            assert_eq!(says(&pool, "echo next"), "next");
            assert_eq!(running.wait().unwrap().end, End::Signaled(9));
            assert!(Command::noop().status(&pool).unwrap().success());
        }
    }
}

#[test]
fn what_would_be_every_containers_is_refused() {
    let root = busybox("shared-refused");
    let builder = Template::builder(Rootfs::open(&root.0).unwrap()).policy(Policy::Shared);
    let refused = builder.cap_add("NET_ADMIN".parse().unwrap()).build().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    let text = "policy shared with CAP_NET_ADMIN: it would be every container's; use policy once";
    assert_eq!(refused.to_string(), text);
    let upper = common::upper("shared-upper");
    let writable = Rootfs::overlay(std::slice::from_ref(&root.0), &upper.0).unwrap();
    let refused = Template::builder(writable).policy(Policy::Shared).build().unwrap_err();
    let text = "policy shared with a writable root: it would be every container's; use policy once";
    assert_eq!(refused.to_string(), text);
}

#[test]
fn the_longest_arguments_under_the_least_memory_end_nobody() {
    let root = busybox("shared-longest");
    let template = limited(&root, Limits { memory_max_bytes: 4 * MIB, ..Limits::default() });
    let pool = Pool::new(&template, 2).unwrap();
    let neighbour = sleeper(&pool);
    let before = anchor(&template);
    // The kernel takes 2 MiB at most (execve(2)); out of memory before its exec, a container would
    // take along whoever has the same memory. At about 16 of these the memory ends; what is charged
    // for them differs from kernel to kernel, and from run to run.
    for count in [8, 16, 16, 17, 17] {
        let mut command = Command::new("echo");
        command.args((0..count).map(|_| "x".repeat(120_000))).stdout(Stdio::Null);
        let fits = command.status(&pool).is_ok_and(|outcome| outcome.success());
        assert!(fits || count > 8, "{count}");
        assert_eq!(anchor(&template), before);
    }
    assert!(is_alive(host::pid_of(&neighbour)));
}
