//! Limits hold, and what the outcome says about use is true.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/host.rs"]
mod host;

use common::{Folder, attack, has_peak, hostile};
use leanbox::{Command, Container, End, Limits, Outcome, Policy, Pool, Rootfs, Template};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
const POLICIES: [Policy; 2] = [Policy::Once, Policy::Reuse];

fn pool(root: &Folder, policy: Policy, limits: Limits) -> Pool {
    let builder = Template::builder(Rootfs::open(&root.0).unwrap());
    Pool::new(&builder.policy(policy).limits(limits).build().unwrap(), 1).unwrap()
}

fn outcome(pool: &Pool, words: &[&str]) -> Outcome {
    Command::new("attack").args(words.iter().copied()).output(pool).unwrap()
}

#[test]
fn killed_by_oom_is_told_with_a_peak_at_the_limit_and_the_next_run_is_not() {
    let root = hostile("oom");
    for policy in POLICIES {
        let limits = Limits { memory_max_bytes: 32 * MIB, ..Limits::default() };
        let pool = pool(&root, policy, limits);
        for _ in 0..3 {
            let killed = outcome(&pool, &["hog", "100"]);
            assert_eq!(killed.end, End::Signaled(9), "{policy:?}");
            assert!(killed.oom_killed && !killed.timed_out, "{policy:?} {killed:?}");
            assert!(has_peak(&killed, 30 * MIB..=32 * MIB), "{killed:?}");
            let next = outcome(&pool, &["ids"]);
            assert!(next.success() && !next.oom_killed, "{policy:?} {next:?}");
            assert!(has_peak(&next, ..8 * MIB), "{policy:?} {next:?}");
        }
    }
}

#[test]
fn a_program_that_ends_just_below_its_limit_is_not_oom_killed() {
    let root = hostile("below");
    let limits = Limits { memory_max_bytes: 64 * MIB, ..Limits::default() };
    let pool = pool(&root, Policy::Once, limits);
    let fine = outcome(&pool, &["hog", "50"]);
    assert!(fine.success() && !fine.oom_killed, "{fine:?}");
    assert!(has_peak(&fine, 50 * MIB..64 * MIB), "{fine:?}");
}

#[test]
fn an_own_kill_signal_is_not_taken_for_oom() {
    let root = hostile("own-kill");
    let pool = pool(&root, Policy::Once, Limits::default());
    let killed = Command::new("sh").args(["-c", "kill -9 $$"]).output(&pool).unwrap();
    assert_eq!((killed.end, killed.oom_killed), (End::Signaled(9), false));
}

#[test]
fn a_fork_bomb_is_bounded() {
    let root = hostile("bomb");
    for policy in POLICIES {
        let pool = pool(&root, policy, Limits { pids_max: 20, ..Limits::default() });
        for _ in 0..3 {
            const EAGAIN: i32 = 11;
            assert_eq!(attack(&pool, &["fork-bomb"]), format!("19 {EAGAIN}"), "{policy:?}");
        }
    }
}

#[test]
fn a_cpu_quota_slows_a_busy_loop_down() {
    let root = hostile("quota");
    let pool = pool(&root, Policy::Once, Limits { cpus: Some(0.2), ..Limits::default() });
    let slowed = outcome(&pool, &["spin-wall", "1000"]);
    assert!(slowed.wall >= Duration::from_secs(1), "{slowed:?}");
    let share = slowed.cpu.as_secs_f64() / slowed.wall.as_secs_f64();
    assert!((0.03..0.4).contains(&share), "{share} CPUs: {slowed:?}");
}

#[test]
fn cpu_time_is_that_of_the_program() {
    let root = hostile("cpu");
    for policy in POLICIES {
        let pool = pool(&root, policy, Limits::default());
        for _ in 0..2 {
            let busy = outcome(&pool, &["spin-cpu", "300"]);
            let range = Duration::from_millis(290)..Duration::from_millis(450);
            assert!(range.contains(&busy.cpu), "{policy:?} {busy:?}");
            let idle = outcome(&pool, &["ids"]);
            assert!(idle.cpu < Duration::from_millis(100), "{policy:?} {idle:?}");
        }
    }
}

#[test]
fn tmp_is_bounded_and_counts_as_memory() {
    let root = hostile("tmp");
    let limits =
        Limits { tmp_max_bytes: 16 * MIB, memory_max_bytes: 64 * MIB, ..Limits::default() };
    let pool = pool(&root, Policy::Once, limits);
    let full = common::sh(
        &pool,
        "dd if=/dev/zero of=/tmp/x bs=1M count=100 2>/dev/null; stat -c %s /tmp/x",
    );
    assert_eq!(full.stdout.bytes, format!("{}\n", 16 * MIB).into_bytes());
    assert!(has_peak(&full, 16 * MIB + 1..), "{full:?}");
}

#[test]
fn files_are_bounded_in_number() {
    let root = hostile("inodes");
    let pool = pool(&root, Policy::Once, Limits::default());
    let count = common::says(
        &pool,
        "cd /tmp; seq 1 70000 | while read n; do : >$n || break; done 2>/dev/null; ls | wc -l",
    );
    assert!((60_000..=65_536).contains(&count.parse::<u32>().unwrap()), "{count}");
}

#[test]
fn a_timeout_ends_what_nobody_waits_for() {
    let root = hostile("alone");
    for policy in POLICIES {
        let pool = pool(&root, policy, Limits::default());
        let begun = |ms| {
            let mut command = Command::new("sleep");
            command.arg("60").timeout(Duration::from_millis(ms)).spawn(&pool).unwrap()
        };
        // Set in another order than they are due.
        let containers = [begun(400), begun(60_000), begun(200)];
        let ended = |container: &Container| {
            let pid = host::pid_of(container);
            pid < 0 || !std::fs::exists(format!("/proc/{pid}")).unwrap()
        };
        let [first, running, second] = containers;
        let in_time = host::within(Duration::from_secs(10), || ended(&first) && ended(&second));
        assert!(in_time && !ended(&running), "{policy:?}");
        for container in [first, second] {
            let outcome = container.wait().unwrap();
            assert!(outcome.timed_out, "{policy:?} {outcome:?}");
            assert_eq!(outcome.end, End::Signaled(9));
        }
        assert!(outcome(&pool, &["ids"]).success());
    }
}

#[test]
fn a_timeout_that_was_not_needed_ends_nothing_and_is_not_told() {
    let root = hostile("in-time");
    for policy in POLICIES {
        let pool = pool(&root, policy, Limits::default());
        let mut command = Command::new("true");
        let began = Instant::now();
        assert!(command.status(&pool).unwrap().success());
        // What a machine needs that is slow today.
        let timeout = Duration::from_millis(200).max(began.elapsed() * 5);
        command.timeout(timeout);
        let in_time = command.spawn(&pool).unwrap().wait().unwrap();
        assert!(in_time.success() && !in_time.timed_out, "{policy:?} {in_time:?}");
        let longer = (timeout * 5 / 2).as_secs_f64().to_string();
        let next = Command::new("sleep").arg(longer).status(&pool).unwrap();
        assert!(next.success(), "{policy:?} {next:?}");
        let ended_long_ago = command.spawn(&pool).unwrap();
        std::thread::sleep(timeout * 2);
        let late = ended_long_ago.wait().unwrap();
        assert!(late.success() && !late.timed_out, "{policy:?} {late:?}");
    }
}

#[test]
fn a_timeout_ends_even_what_ignores_every_signal() {
    let root = hostile("timeout");
    for policy in POLICIES {
        let pool = pool(&root, policy, Limits::default());
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM INT HUP; attack daemons 5; while :; do :; done"]);
        let ended = command.timeout(Duration::from_millis(300)).output(&pool).unwrap();
        assert!(ended.timed_out, "{ended:?}");
        assert_eq!(ended.end, End::Signaled(9));
        assert!(ended.wall >= Duration::from_millis(300) && ended.wall < Duration::from_secs(20));
        assert!(outcome(&pool, &["ids"]).success());
    }
}
