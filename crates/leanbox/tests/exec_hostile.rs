//! Second programs in containers that are hostile, full or dying: they are out of their reach, and
//! the host gets an answer.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/second.rs"]
mod second;

use common::{busybox, template};
use leanbox::{Capability, Command, End, ErrorKind, Limits, Policy, Pool, Rootfs, Stdio, Template};
use second::{captured, says, spawn};
use std::time::{Duration, Instant};

const POLICIES: [Policy; 2] = [Policy::Once, Policy::Reuse];

#[test]
fn at_the_limit_of_processes_or_memory_the_host_gets_an_answer() {
    let root = busybox("limits");
    let limits = Limits { pids_max: 10, memory_max_bytes: 16 << 20, ..Limits::default() };
    let builder = Template::builder(Rootfs::open(&root.0).unwrap());
    let pool = Pool::new(&builder.limits(limits).build().unwrap(), 0).unwrap();
    let mut full = Command::new("sh");
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; echo full; wait";
    let mut bomb = full.args(["-c", script]).stdout(Stdio::Piped).spawn(&pool).unwrap();
    let mut line = [0; 5];
    std::io::Read::read_exact(bomb.stdout.as_mut().unwrap(), &mut line).unwrap();
    let error = bomb.exec(&mut captured("true")).unwrap_err();
    assert!(error.to_string().contains("at its limit of processes"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    // All of its memory is in use, and more is asked for all the time.
    let full = spawn(&pool, "while :; do dd if=/dev/zero of=/tmp/full bs=1M; done");
    for _ in 0..50 {
        let began = Instant::now();
        if let Ok(process) = full.exec(&mut captured("true")) {
            process.wait().unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(15));
    }
    drop((bomb, full));
    assert_eq!(common::says(&pool, "echo the keeper lives"), "the keeper lives");
}

#[test]
fn a_container_that_dies_meanwhile_holds_nobody_up() {
    let root = busybox("dying");
    for policy in POLICIES {
        let pool = Pool::new(&template(&root, policy), 2).unwrap();
        let mut inside = 0;
        for turn in 0..200u64 {
            let container = spawn(&pool, "sleep 100");
            std::thread::scope(|scope| {
                let begun = scope.spawn(|| container.exec(&mut captured("true")));
                std::thread::sleep(Duration::from_micros(turn * 15));
                container.kill();
                match begun.join().unwrap() {
                    Ok(process) => {
                        inside += 1;
                        process.wait().unwrap();
                    }
                    Err(error) => assert!(
                        matches!(error.kind(), ErrorKind::Gone | ErrorKind::System),
                        "{error}"
                    ),
                }
            });
            assert_eq!(container.wait().unwrap().end, End::Signaled(9));
        }
        assert!(inside > 0, "{policy:?}");
        assert_eq!(common::says(&pool, "echo 1"), "1");
    }
}

#[test]
fn nobody_inside_gets_hold_of_who_is_brought_in() {
    let root = busybox("hunted");
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/hunter.c");
    let status = std::process::Command::new("gcc")
        .args(["-static", "-O1", "-o"])
        .args([&root.0.join("bin/hunter"), &source])
        .status()
        .expect("the tests need a C compiler: apt-get install gcc libc6-dev");
    assert!(status.success(), "gcc: {status}; is libc6-dev there?");
    let plain = || Template::builder(Rootfs::open(&root.0).unwrap());
    let capable = plain().cap_add(Capability::SysPtrace).cap_add(Capability::DacOverride);
    for (template, times) in [(plain(), 200), (capable, 50)] {
        let pool = Pool::new(&template.build().unwrap(), 0).unwrap();
        let mut hunter = Command::new("hunter");
        let mut container = hunter.stdout(Stdio::Piped).spawn(&pool).unwrap();
        let out = container.stdout.take().unwrap();
        for _ in 0..times {
            // A hunter that has it is allowed what it likes once its program runs, and so to hold
            // it back.
            let mut command = captured("true");
            let process = container.exec(command.timeout(Duration::from_secs(1))).unwrap();
            process.wait().unwrap();
        }
        container.kill();
        let text = std::io::read_to_string(out).unwrap();
        container.wait().unwrap();
        assert!(text.contains("seen"), "it was never quick enough to see one: {text}");
        assert!(!text.contains("worked"), "{text}");
    }
}

#[test]
fn no_descriptor_folder_or_program_of_the_hosts_is_in_reach_of_a_second_program() {
    let root = busybox("reach");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let container = spawn(&pool, "sleep 100");
    for number in 0..40 {
        for user in ["0", "app"] {
            let mut command = captured("pwd");
            command.user(user).current_dir(format!("/proc/self/fd/{number}"));
            let error = container.exec(&mut command).unwrap_err();
            assert!(error.to_string().contains("working directory"), "{number}: {error}");
        }
    }
    // It is not what it was cloned from that runs, but what leanbox is made of, which nobody can
    // alter and which does nothing here.
    let itself = container.exec(&mut Command::new("/proc/self/exe")).unwrap();
    assert_eq!(itself.wait().unwrap().end, End::Exited(2));
    assert_eq!(says(&container, "ls /proc/self/fd"), "0\n1\n2\n3");
}
