//! A second program in a running container: it is inside as the first one is, and whatever the
//! container does, the host gets an answer.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/host.rs"]
mod host;
#[path = "common/second.rs"]
mod second;

use common::{busybox, field, peaks_begin_anew, template};
use host::within;
use leanbox::{Command, End, ErrorKind, Policy, Pool, Stdio};
use second::{captured, exec, says, spawn};
use std::time::{Duration, Instant};

const POLICIES: [Policy; 3] = [Policy::Once, Policy::Reuse, Policy::Shared];

/// Before Linux 6.15 somebody waits beside each container of shared namespaces.
fn waiters(policy: Policy) -> usize {
    usize::from(policy == Policy::Shared && !leanbox::probe::kernel_tells_ends())
}

#[test]
fn a_second_program_is_inside_as_the_first_one_is() {
    let root = busybox("inside");
    for policy in POLICIES {
        let pool = Pool::new(&template(&root, policy), 0).unwrap();
        let look = "for ns in cgroup ipc mnt net pid user uts; do stat -L -c %i /proc/self/ns/$ns; done; \
            cat /proc/self/cgroup; cat /proc/self/limits; pwd; id; umask; env | grep -v _=; hostname; \
            grep -E '^(Cap|NoNewPrivs|Seccomp|Groups|Uid|Gid|Sig(Blk|Ign|Cgt)|Threads)' /proc/self/status; \
            cat /proc/self/mountinfo; cat /proc/self/oom_score_adj; ls /proc/self/fd | wc -l";
        let first = common::says(&pool, look);
        let container = spawn(&pool, "sleep 100");
        let second = says(&container, look);
        // Another slot has other namespaces and mounts; all else is the same.
        let same = |text: &str| {
            // The groups of shared namespaces have names in there.
            let group = |line: &str| policy == Policy::Shared && line.contains("leanbox-");
            let own = |line: &&str| {
                line.parse::<u64>().is_err()
                    && !line.contains(" / / ")
                    && !line.contains(" - ")
                    && !group(line)
            };
            text.lines().filter(own).map(str::to_string).collect::<Vec<_>>()
        };
        assert_eq!(same(&first), same(&second), "{policy:?}");
        assert!(same(&first).len() > 20);
        let of_first = "for ns in cgroup ipc mnt net pid user uts; do stat -L -c %i /proc/$$/ns/$ns; done; cat /proc/self/mountinfo";
        let again = says(&container, of_first);
        assert_eq!(again, says(&container, of_first), "{policy:?}");
        let seen: usize = says(&container, "set -- /proc/[0-9]*; echo $#").parse().unwrap();
        assert_eq!(seen, 3 + waiters(policy), "launcher, sleep, sh");
    }
}

#[test]
fn a_second_program_is_in_the_containers_groups() {
    let root = busybox("groups");
    for policy in POLICIES {
        let pool = Pool::new(&template(&root, policy), 0).unwrap();
        let mut sleep = Command::new("sleep");
        let container = sleep.arg("100").stdout(Stdio::Null).spawn(&pool).unwrap();
        let process = container.exec(&mut sleep).unwrap();
        let pid = |fd: std::os::fd::BorrowedFd<'_>| {
            use std::os::fd::AsRawFd;
            let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
            field(&std::fs::read_to_string(path).unwrap(), "Pid").parse().unwrap()
        };
        let (first, second) = (pid(container.pidfd()), pid(process.pidfd()));
        assert_eq!(host::groups_of(first), host::groups_of(second));
        for namespace in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
            let link =
                |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/{namespace}")).unwrap();
            assert_eq!(link(first), link(second), "{namespace}");
        }
        for file in ["limits", "uid_map", "root", "cwd"] {
            let path = |pid: i32| format!("/proc/{pid}/{file}");
            let text = |pid: i32| {
                std::fs::read_to_string(path(pid)).or_else(|_| {
                    std::fs::read_link(path(pid)).map(|link| link.display().to_string())
                })
            };
            assert_eq!(text(first).unwrap(), text(second).unwrap(), "{file}");
        }
        let own = |pid: i32| {
            let status = host::status(pid);
            let keys = [
                "Uid",
                "Gid",
                "Groups",
                "CapInh",
                "CapPrm",
                "CapEff",
                "CapBnd",
                "CapAmb",
                "NoNewPrivs",
                "Seccomp",
                "Seccomp_filters",
                "SigBlk",
                "SigIgn",
                "Umask",
            ];
            keys.map(|key| field(&status, key))
        };
        assert_eq!(own(first), own(second));
    }
}

#[test]
fn its_exit_streams_and_failures_are_told_as_those_of_a_container() {
    let root = busybox("told");
    for policy in POLICIES {
        let pool = Pool::new(&template(&root, policy), 0).unwrap();
        let container = spawn(&pool, "sleep 100");
        let exit = exec(&container, "echo out; echo err >&2; exit 3");
        assert_eq!((exit.end, exit.shell_code(), exit.success()), (End::Exited(3), 3, false));
        assert_eq!(
            (&exit.stdout.bytes[..], &exit.stderr.bytes[..]),
            (&b"out\n"[..], &b"err\n"[..])
        );
        assert_eq!(exec(&container, "exit 127").end, End::Exited(127));
        assert_eq!(exec(&container, "kill -9 $$").end, End::Signaled(9));
        let missing = container.exec(&mut Command::new("no-such-program")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert!(
            missing.to_string().starts_with("exec: exec \"no-such-program\": ENOENT"),
            "{missing}"
        );
        let not = container.exec(&mut Command::new("/etc/passwd")).unwrap_err();
        assert_eq!(not.kind(), ErrorKind::NotExecutable);
        let nowhere = container.exec(captured("pwd").current_dir("/nowhere")).unwrap_err();
        assert!(nowhere.to_string().contains("working directory"), "{nowhere}");
        assert_eq!(says(&container, "echo still here"), "still here");
    }
}

#[test]
fn another_user_environment_and_folder_can_be_named() {
    let root = busybox("another");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let container = spawn(&pool, "sleep 100");
    let mut command = captured("id -u; id -g; id -G; echo $HOME $A; pwd; cat note");
    command.user("app").env("A", "b").current_dir("/home/app");
    let exit = container.exec(&mut command).unwrap().wait().unwrap();
    let text = String::from_utf8_lossy(&exit.stdout.bytes).into_owned();
    assert_eq!(text, "1000\n1000\n1000 44\n/home/app b\n/home/app\nof app\n");
    let unknown = container.exec(captured("id").user("nobody-here")).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    let of_first = captured("id").user("app").spawn(&pool).unwrap_err();
    assert_eq!(of_first.kind(), ErrorKind::InvalidInput);
}

#[test]
fn long_arguments_and_piped_streams_reach_a_second_program() {
    use std::io::{Read, Write};
    let root = busybox("long");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let container = spawn(&pool, "sleep 100");
    let long = "x".repeat(100_000);
    let mut command = Command::new("sh");
    command.args(["-c", "cat; echo ${#1}", "sh", &long]).stdin(Stdio::Piped).stdout(Stdio::Piped);
    let mut process = container.exec(&mut command).unwrap();
    process.stdin.take().unwrap().write_all(b"fed\n").unwrap();
    let mut text = String::new();
    process.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "fed\n100000\n");
    assert!(process.wait().unwrap().success());
}

#[test]
fn a_second_program_ends_with_its_container() {
    let root = busybox("ends");
    for policy in POLICIES {
        let pool = Pool::new(&template(&root, policy), 0).unwrap();
        for _ in 0..5 {
            let container = spawn(&pool, "sleep 0.1");
            let mut command = Command::new("sleep");
            let process = container.exec(command.arg("100").stdout(Stdio::Null)).unwrap();
            assert_eq!(container.wait().unwrap().end, End::Exited(0));
            let began = Instant::now();
            assert_eq!(process.wait().unwrap().end, End::Signaled(9), "{policy:?}");
            assert!(began.elapsed() < Duration::from_secs(5));
            let seen: usize = common::says(&pool, "set -- /proc/[0-9]*; echo $#").parse().unwrap();
            assert_eq!(seen, 2 + waiters(policy), "{policy:?}");
        }
    }
}

#[test]
fn a_reused_slot_serves_on_after_second_programs_that_have_ended() {
    let root = busybox("serves-on");
    let pool = Pool::new(&template(&root, Policy::Reuse), 0).unwrap();
    let inode = "stat -L -c %i /proc/self/ns/pid; sleep 0.3";
    let mut same = 0;
    let mut last = String::new();
    for _ in 0..10 {
        let mut command = Command::new("sh");
        let mut container = command.args(["-c", inode]).stdout(Stdio::Piped).spawn(&pool).unwrap();
        assert_eq!(says(&container, "echo 1; touch /tmp/left"), "1");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut container.stdout.take().unwrap(), &mut text).unwrap();
        assert!(container.wait().unwrap().success());
        same += u32::from(text == last);
        last = text;
        assert_eq!(common::says(&pool, "ls /tmp"), "");
    }
    assert_eq!(same >= 5, peaks_begin_anew(), "{same}");
}

#[test]
fn a_killed_or_dropped_second_program_leaves_the_container_running() {
    let root = busybox("killed");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let mut container = spawn(&pool, "sleep 100");
    let sleep = || {
        let mut command = Command::new("sleep");
        container.exec(command.arg("100").stdout(Stdio::Null)).unwrap()
    };
    let process = sleep();
    process.signal(15).unwrap();
    assert_eq!(process.wait().unwrap().end, End::Signaled(15));
    let process = sleep();
    process.kill();
    assert_eq!(process.wait().unwrap().end, End::Signaled(9));
    let process = sleep();
    let mut timed = captured("sleep 100");
    let timed = container.exec(timed.timeout(Duration::from_millis(50))).unwrap().wait().unwrap();
    assert!(timed.timed_out);
    drop(process);
    let alone = || says(&container, "set -- /proc/[0-9]*; echo $#") == "3";
    assert!(within(Duration::from_secs(5), || {
        // What the shell that was killed had started goes on until the container ends.
        exec(
            &container,
            "kill -9 $(ps | grep 'sleep 100' | tail -n +2 | grep -v grep | sed 's/^ *//' | sed 's/ .*//')",
        );
        alone()
    }));
    assert!(container.wait_timeout(Duration::ZERO).unwrap().is_none());
}

#[test]
fn nothing_is_brought_into_a_paused_or_ended_container() {
    let root = busybox("paused");
    for policy in POLICIES {
        let pool = Pool::new(&template(&root, policy), 0).unwrap();
        let container = spawn(&pool, "sleep 100");
        container.pause().unwrap();
        let error = container.exec(&mut captured("true")).unwrap_err();
        assert_eq!(error.to_string(), "exec: the container is paused; resume it first");
        assert_eq!(error.kind(), ErrorKind::Busy);
        container.resume().unwrap();
        assert_eq!(says(&container, "echo 1"), "1");
        // One that came in later stands still as well.
        let mut busy = Command::new("sh");
        let process = container.exec(busy.args(["-c", "while :; do :; done"])).unwrap();
        container.pause().unwrap();
        let pid = pid_of(&process);
        let ticks = || std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let before = ticks();
        std::thread::sleep(Duration::from_millis(150));
        assert_eq!(before, ticks());
        container.kill();
        assert_eq!(process.wait().unwrap().end, End::Signaled(9));
        let mut error = None;
        assert!(within(Duration::from_secs(5), || {
            error = container.exec(&mut captured("true")).err();
            error.as_ref().is_some_and(|error| error.to_string() == "exec: the container has ended")
        }));
        assert_eq!(error.unwrap().kind(), ErrorKind::Gone);
        assert_eq!(container.wait().unwrap().end, End::Signaled(9));
    }
}

fn pid_of(process: &leanbox::Process) -> i32 {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fdinfo/{}", process.pidfd().as_raw_fd());
    field(&std::fs::read_to_string(path).unwrap(), "Pid").parse().unwrap()
}

#[test]
fn a_signal_to_all_reaches_every_process_but_not_the_launcher() {
    let root = busybox("signal-all");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let mut container =
        spawn(&pool, "trap : TERM; sleep 100 & sleep 100 & while :; do sleep 100; done");
    let count = "ps | grep 'sleep 100' | grep -v grep | grep -v sh | wc -l";
    assert!(within(Duration::from_secs(5), || says(&container, count) == "3"));
    container.signal_all(15).unwrap();
    assert!(within(Duration::from_secs(5), || says(&container, count) == "1"), "the loop's next");
    container.signal_all(19).unwrap();
    assert_eq!(
        says(&container, "echo the launcher was not stopped"),
        "the launcher was not stopped"
    );
    assert!(container.wait_timeout(Duration::ZERO).unwrap().is_none());
}

#[test]
fn in_shared_namespaces_a_second_program_counts_and_ends_with_its_own_container() {
    let root = busybox("shared-second");
    let pool = Pool::new(&template(&root, Policy::Shared), 2).unwrap();
    let (container, neighbour) = (spawn(&pool, "sleep 100"), spawn(&pool, "sleep 100"));
    let second = container.exec(Command::new("sleep").arg("100")).unwrap();
    let pid = host::pid_of_pidfd(second.pidfd());
    assert_eq!(host::groups_of(pid), host::groups_of(host::pid_of(&container)));
    assert_ne!(host::groups_of(pid), host::groups_of(host::pid_of(&neighbour)));
    container.kill();
    assert_eq!(container.wait().unwrap().end, End::Signaled(9));
    assert_eq!(second.wait().unwrap().end, End::Signaled(9));
    assert_eq!(says(&neighbour, "echo lives"), "lives");
}

#[test]
fn what_holds_for_a_containers_own_program_only_is_refused_for_a_second_one() {
    let root = busybox("exec-only-first");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let container = Command::new("sleep").arg("60").spawn(&pool).unwrap();
    let with = |set: &dyn Fn(&mut Command)| {
        let mut command = Command::new("true");
        set(&mut command);
        command
    };
    let commands = [
        (with(&|command| _ = command.explain()), "an explanation"),
        (with(&|command| _ = command.cpu_time(Duration::from_secs(1))), "a CPU time limit"),
        (with(&|command| _ = command.grace(15, Duration::from_secs(1)).unwrap()), "a grace"),
        (with(&|command| _ = command.output_max(1)), "an output limit"),
    ];
    for (mut command, words) in commands {
        let refused = container.exec(&mut command).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert!(refused.to_string().contains(words), "{refused}");
    }
    assert!(container.exec(&mut Command::new("true")).unwrap().wait().unwrap().success());
}
