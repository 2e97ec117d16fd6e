//! The outcome says why a container ended, and what runs is counted rightly.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/host.rs"]
mod host;

use common::{Folder, hostile};
use leanbox::{
    Cause, Command, Container, End, Limits, Outcome, Policy, Pool, Rootfs, Stdio, Template,
};
use std::io::Read;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
const POLICIES: [Policy; 3] = [Policy::Once, Policy::Reuse, Policy::Shared];

fn pool(root: &Folder, policy: Policy, limits: Limits) -> Pool {
    let builder = Template::builder(Rootfs::open(&root.0).unwrap());
    Pool::new(&builder.policy(policy).limits(limits).build().unwrap(), 1).unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// A container that has printed a line since what it was to do first is done.
fn ready(pool: &Pool, script: &str) -> Container {
    let mut command = shell(script);
    let mut container = command.stdout(Stdio::Piped).spawn(pool).unwrap();
    let mut byte = [0];
    while byte != *b"\n" {
        container.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    }
    container
}

/// More than a shell needs here until it is at its first command.
fn time_to_begin(pool: &Pool) -> Duration {
    let began = Instant::now();
    assert!(shell("attack ids").output(pool).unwrap().success());
    ms(200).max(began.elapsed() * 5)
}

/// A program, how it is asked to be ended, its end and its cause.
type Case = (&'static str, fn(&mut Command) -> &mut Command, End, Cause);

#[test]
fn each_end_has_its_cause() {
    let root = hostile("causes");
    let cases: [Case; 10] = [
        ("exit 0", |c| c, End::Exited(0), Cause::Exited),
        ("exit 137", |c| c, End::Exited(137), Cause::Exited),
        ("kill -9 $$", |c| c, End::Signaled(9), Cause::Signal),
        ("kill -15 $$", |c| c, End::Signaled(15), Cause::Signal),
        ("exec attack hog 100", |c| c, End::Signaled(9), Cause::OomKilled),
        ("attack hog 100; exit 3", |c| c, End::Exited(3), Cause::Exited),
        ("exec sleep 60", |c| c.timeout(ms(200)), End::Signaled(9), Cause::WallTimeout),
        (
            "exec attack spin-wall 60000",
            |c| c.cpu_time(ms(200)),
            End::Signaled(9),
            Cause::CpuTimeout,
        ),
        ("exec yes", |c| c.output_max(100_000), End::Signaled(9), Cause::OutputLimit),
        ("echo 12345", |c| c.output_max(6), End::Exited(0), Cause::Exited),
    ];
    for policy in POLICIES {
        let limits = Limits { memory_max_bytes: 32 * MIB, ..Limits::default() };
        let pool = pool(&root, policy, limits);
        for (script, with, end, cause) in &cases {
            let mut command = shell(script);
            with(&mut command);
            let outcome = command.output(&pool).unwrap();
            assert_eq!((outcome.end, outcome.cause), (*end, *cause), "{policy:?} {script}");
            assert_eq!(outcome.timed_out, cause.is_timeout());
            assert!(outcome.wall < Duration::from_secs(20), "{policy:?} {script}: {outcome:?}");
        }
        let oom_in_child = shell("attack hog 100; exit 3").output(&pool).unwrap();
        assert!(oom_in_child.oom_killed, "of a process, not of the program: {oom_in_child:?}");
    }
}

#[test]
fn a_program_that_ends_within_its_grace_keeps_its_code() {
    let root = hostile("willing");
    for policy in POLICIES {
        let pool = pool(&root, policy, Limits::default());
        let mut command = shell("trap 'exit 7' TERM; while :; do sleep 0.01; done");
        command.timeout(time_to_begin(&pool)).grace(15, ms(20_000)).unwrap();
        let outcome = command.output(&pool).unwrap();
        assert_eq!((outcome.end, outcome.cause), (End::Exited(7), Cause::WallTimeout));
    }
}

#[test]
fn whoever_kills_is_told_and_not_who_comes_too_late() {
    let root = hostile("killed");
    for policy in POLICIES {
        let pool = pool(&root, policy, Limits::default());
        let killed = ready(&pool, "echo; exec sleep 60");
        killed.kill();
        let outcome = killed.wait().unwrap();
        assert_eq!((outcome.end, outcome.cause), (End::Signaled(9), Cause::Killed), "{policy:?}");
        let ended = Command::new("true").spawn(&pool).unwrap();
        std::thread::sleep(ms(100));
        ended.kill();
        assert_eq!(ended.wait().unwrap().cause, Cause::Exited, "{policy:?}");
        let signalled = ready(&pool, "echo; exec sleep 60");
        signalled.signal(9).unwrap();
        assert_eq!(signalled.wait().unwrap().cause, Cause::Signal, "{policy:?}");
    }
}

#[test]
fn stop_asks_first_and_kills_when_the_grace_is_over() {
    let root = hostile("stop");
    for policy in POLICIES {
        let pool = pool(&root, policy, Limits::default());
        let willing = ready(&pool, "trap 'exit 5' TERM; echo; while :; do sleep 0.01; done");
        willing.stop(Duration::from_secs(60)).unwrap();
        let outcome = willing.wait().unwrap();
        assert_eq!((outcome.end, outcome.cause), (End::Exited(5), Cause::Killed), "{policy:?}");
        let deaf = ready(&pool, "trap '' TERM; echo; while :; do sleep 0.01; done");
        let asked = Instant::now();
        deaf.stop(ms(300)).unwrap();
        deaf.stop(ms(1)).unwrap();
        let pid = host::pid_of(&deaf);
        let gone = || !std::fs::exists(format!("/proc/{pid}")).unwrap() || host::pid_of(&deaf) < 0;
        assert!(host::within(Duration::from_secs(10), gone), "nobody waits: {policy:?}");
        assert!(asked.elapsed() >= ms(300), "{policy:?}");
        let outcome = deaf.wait().unwrap();
        assert_eq!((outcome.end, outcome.cause), (End::Signaled(9), Cause::Killed), "{policy:?}");
    }
}

#[test]
fn a_grace_ends_too_and_takes_the_whole_slot() {
    let root = hostile("grace");
    for policy in POLICIES {
        let pool = pool(&root, policy, Limits::default());
        let timeout = time_to_begin(&pool);
        let mut command = shell("trap '' TERM; attack daemons 3; while :; do :; done");
        command.timeout(timeout).grace(15, ms(300)).unwrap();
        let outcome = command.output(&pool).unwrap();
        assert_eq!((outcome.end, outcome.cause), (End::Signaled(9), Cause::WallTimeout));
        assert!(
            outcome.wall >= timeout + ms(300) && outcome.wall < Duration::from_secs(10),
            "{outcome:?}"
        );
    }
    assert!(Command::new("true").grace(999, ms(1)).is_err());
}

#[test]
fn cpu_time_is_that_of_all_processes_and_holds_though_nobody_waits() {
    let root = hostile("cpu-time");
    let pool = pool(&root, Policy::Once, Limits::default());
    let script = "attack spin-wall 60000 & attack spin-wall 60000 & exec sleep 100";
    let alone = shell(script).cpu_time(ms(400)).spawn(&pool).unwrap();
    let pid = host::pid_of(&alone);
    let gone = || !std::fs::exists(format!("/proc/{pid}")).unwrap() || host::pid_of(&alone) < 0;
    assert!(host::within(Duration::from_secs(20), gone));
    let outcome = alone.wait().unwrap();
    assert_eq!(outcome.cause, Cause::CpuTimeout);
    assert!((ms(395)..ms(600)).contains(&outcome.cpu), "{outcome:?}");
    let idle = shell("sleep 0.5").cpu_time(ms(400)).output(&pool).unwrap();
    assert_eq!(idle.cause, Cause::Exited, "{idle:?}");
}

#[test]
fn an_output_limit_counts_both_streams_and_passes_on_what_is_not_captured() {
    let root = hostile("output");
    let pool = pool(&root, Policy::Once, Limits::default());
    let both = shell("echo 12345; echo 12345 >&2; exec sleep 60").output_max(11).output(&pool);
    assert_eq!(both.unwrap().cause, Cause::OutputLimit);
    let folder = common::folder("passed");
    let file = std::fs::File::create(folder.0.join("out")).unwrap();
    let mut command = shell("exec yes");
    command.output_max(1000).stdout(Stdio::Fd(file.into()));
    let passed = command.status(&pool).unwrap();
    assert_eq!((passed.end, passed.cause), (End::Signaled(9), Cause::OutputLimit));
    assert_eq!(std::fs::read(folder.0.join("out")).unwrap().len(), 1000);
    let mut command = shell("exec yes");
    let error = command.output_max(1000).stdout(Stdio::Piped).spawn(&pool).unwrap_err();
    assert!(error.to_string().starts_with("an output limit does not go with"), "{error}");
}

#[test]
fn captured_output_is_kept_up_to_the_templates_size() {
    let root = hostile("captured");
    let pool = pool(&root, Policy::Once, Limits { output_max_bytes: 10, ..Limits::default() });
    let outcome: Outcome = shell("echo 123456789012345").output(&pool).unwrap();
    assert_eq!(outcome.stdout.bytes, b"1234567890");
    assert!(outcome.stdout.truncated && outcome.success());
}

#[test]
fn statistics_of_a_known_load_are_right_within_five_percent() {
    let root = hostile("stats");
    let close = |is: f64, should: f64| (is - should).abs() <= should / 20.0;
    for policy in POLICIES {
        let pool = pool(&root, policy, Limits { cpus: Some(100.0), ..Limits::default() });
        for _ in 0..2 {
            let (used, busy) = common::spin_when_told(&pool);
            assert!(close(used.as_secs_f64(), 1.0), "{policy:?} {used:?}");
            let cpu = busy.stats().unwrap().cpu;
            let (user, system) = (cpu.user.unwrap(), cpu.system.unwrap());
            assert!(close((user + system).as_secs_f64(), cpu.total.as_secs_f64()), "{cpu:?}");
            assert!(system > user, "it asks for its CPU time all along: {policy:?} {cpu:?}");
            assert_eq!(cpu.throttling.unwrap().throttled, 0, "{cpu:?}");
            drop(busy);
            let counting =
                "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo; exec sleep 100";
            let counts = ready(&pool, counting);
            let cpu = counts.stats().unwrap().cpu;
            assert!(cpu.user.unwrap() > cpu.system.unwrap(), "{policy:?} {cpu:?}");
            drop(counts);

            let large = ready(&pool, "exec attack hold 200");
            let memory = large.stats().unwrap().memory;
            let anon = memory.anon_bytes.unwrap() as f64;
            assert!(close(anon, 200.0 * MIB as f64), "{policy:?} {memory:?}");
            assert!(close(memory.current_bytes as f64, 200.0 * MIB as f64), "{memory:?}");
            assert!(memory.peak_bytes == 0 || memory.peak_bytes >= memory.current_bytes);
            drop(large);

            let files = ready(
                &pool,
                "dd if=/dev/zero of=/tmp/x bs=1M count=50 2>/dev/null; echo; exec sleep 100",
            );
            let memory = files.stats().unwrap().memory;
            assert!(close(memory.file_bytes.unwrap() as f64, 50.0 * MIB as f64), "{memory:?}");
            drop(files);

            let many = ready(&pool, "sleep 100 & sleep 100 & echo; wait");
            assert_eq!(many.stats().unwrap().pids, 3, "{policy:?}");
        }
    }
}

#[test]
fn an_event_tells_of_a_killed_process_while_the_program_runs_on() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let root = hostile("event");
    for policy in POLICIES {
        let limits = Limits { memory_max_bytes: 32 * MIB, ..Limits::default() };
        let pool = pool(&root, policy, limits);
        let mut command = shell("read go; attack hog 100; exec sleep 100");
        let mut container = command.stdin(Stdio::Piped).spawn(&pool).unwrap();
        let event = container.memory_event().unwrap();
        let tells = |seconds| {
            let limit = Timespec { tv_sec: seconds, tv_nsec: 0 };
            poll(&mut [PollFd::new(&event, PollFlags::IN)], Some(&limit)).unwrap() == 1
        };
        assert!(!tells(0), "{policy:?}");
        std::io::Write::write_all(container.stdin.as_mut().unwrap(), b"go\n").unwrap();
        assert!(tells(10), "{policy:?}");
        let told = || container.stats().unwrap().memory.oom_kills == 1;
        assert!(host::within(Duration::from_secs(10), told), "{policy:?}");
    }
}

#[test]
fn throttling_and_kills_are_counted_while_it_runs() {
    let root = hostile("throttled");
    let limits = Limits { cpus: Some(0.1), memory_max_bytes: 32 * MIB, ..Limits::default() };
    let pool = pool(&root, Policy::Once, limits);
    for _ in 0..2 {
        let slowed = ready(&pool, "attack spin-wall 1000; echo; exec sleep 100");
        let throttling = slowed.stats().unwrap().cpu.throttling.unwrap();
        assert!(throttling.periods >= throttling.throttled, "{throttling:?}");
        assert!(throttling.throttled >= 3 && throttling.time > ms(20), "{throttling:?}");
        let killed = ready(&pool, "attack hog 100; echo; exec sleep 100");
        assert_eq!(killed.stats().unwrap().memory.oom_kills, 1);
        let quiet = ready(&pool, "echo; exec sleep 100");
        let stats = quiet.stats().unwrap();
        assert_eq!(stats.memory.oom_kills, 0, "{stats:?}");
        let quiet = stats.cpu.throttling.unwrap();
        assert!(quiet.throttled < throttling.throttled, "{stats:?} {throttling:?}");
    }
}
