//! A launcher that no longer does what it should: it holds nobody up, and what the host needs
//! (waiting, killing, cleaning) goes on without it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/host.rs"]
mod host;

use common::{busybox, says, template};
use leanbox::{Command, Container, End, Policy, Pool};
use std::time::{Duration, Instant};

const SIGSTOP: i32 = 19;
const POLICIES: [Policy; 2] = [Policy::Once, Policy::Reuse];

/// A container whose launcher (and, if asked, itself) stands still.
fn stopped(pool: &Pool, container_too: bool) -> Container {
    let container = Command::new("sleep").arg("60").spawn(pool).unwrap();
    let pid = host::pid_of(&container);
    leanbox_sys::process::kill(host::parent_of(pid), SIGSTOP).unwrap();
    if container_too {
        leanbox_sys::process::kill(pid, SIGSTOP).unwrap();
    }
    container
}

#[test]
fn waiting_for_a_stopped_slot_gives_up_in_time_and_killing_ends_it() {
    let root = busybox("stopped");
    for policy in POLICIES {
        let pool = Pool::new(&template(&root, policy), 1).unwrap();
        for container_too in [false, true] {
            let mut container = stopped(&pool, container_too);
            let began = Instant::now();
            assert_eq!(container.wait_timeout(Duration::from_millis(100)).unwrap(), None);
            container.kill();
            assert_eq!(container.wait().unwrap().end, End::Signaled(9));
            assert!(began.elapsed() < Duration::from_secs(10), "{policy:?} {:?}", began.elapsed());
            assert_eq!(says(&pool, "echo next"), "next");
        }
    }
}

#[test]
fn starting_in_a_stopped_slot_gives_up_in_time() {
    let root = busybox("stopped-start");
    for policy in POLICIES {
        let template = template(&root, policy);
        let pool = Pool::new(&template, 1).unwrap();
        pool.settle().unwrap();
        let is_child = |pid: i32, parent: i32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
            status.is_ok_and(|status| status.contains(&format!("PPid:\t{parent}\n")))
        };
        let all = host::processes();
        let launchers = all.iter().filter(|pid| is_child(**pid, template.keeper_pid()));
        let mut below = launchers.flat_map(|one| all.iter().filter(|pid| is_child(**pid, *one)));
        let parked = *below.next().unwrap();
        leanbox_sys::process::kill(parked, SIGSTOP).unwrap();
        let mut command = Command::new("true");
        let container = command.timeout(Duration::from_millis(300)).spawn(&pool).unwrap();
        let outcome = container.wait().unwrap();
        assert!(outcome.timed_out && outcome.wall < Duration::from_secs(10), "{outcome:?}");
        assert_eq!(says(&pool, "echo next"), "next");
    }
}

#[test]
fn dropping_a_stopped_slot_leaves_nothing() {
    let root = busybox("stopped-drop");
    for policy in POLICIES {
        let template = template(&root, policy);
        let pool = Pool::new(&template, 1).unwrap();
        let container = stopped(&pool, true);
        let pid = host::pid_of(&container);
        let launcher = host::parent_of(pid);
        drop(container);
        let gone = |pid| !std::fs::exists(format!("/proc/{pid}")).unwrap();
        assert!(host::within(Duration::from_secs(5), || gone(pid) && gone(launcher)));
        drop((pool, template));
    }
}

#[test]
fn a_timeout_ends_a_stopped_slot() {
    let root = busybox("stopped-timeout");
    for policy in POLICIES {
        let pool = Pool::new(&template(&root, policy), 1).unwrap();
        let mut command = Command::new("sleep");
        let container =
            command.arg("60").timeout(Duration::from_millis(1500)).spawn(&pool).unwrap();
        leanbox_sys::process::kill(host::parent_of(host::pid_of(&container)), SIGSTOP).unwrap();
        let outcome = container.wait().unwrap();
        assert!(outcome.timed_out && outcome.wall < Duration::from_secs(10), "{outcome:?}");
    }
}

#[test]
fn the_end_of_a_program_is_known_without_its_launcher() {
    let root = busybox("stopped-end");
    let pool = Pool::new(&template(&root, Policy::Once), 1).unwrap();
    let container = stopped(&pool, false);
    container.signal(15).unwrap();
    let outcome = container.wait().unwrap();
    assert!(outcome.wall < Duration::from_secs(10), "{outcome:?}");
    if leanbox::probe::kernel_tells_ends() {
        assert_eq!(outcome.end, End::Signaled(15));
    }
}

#[test]
fn a_killed_launcher_takes_its_container_along_and_the_pool_goes_on() {
    let root = busybox("killed");
    for policy in POLICIES {
        let pool = Pool::new(&template(&root, policy), 1).unwrap();
        let container = Command::new("sleep").arg("60").spawn(&pool).unwrap();
        leanbox_sys::process::kill(host::parent_of(host::pid_of(&container)), 9).unwrap();
        assert_eq!(container.wait().unwrap().end, End::Signaled(9));
        assert_eq!(says(&pool, "echo next"), "next");
    }
}

#[test]
fn a_ready_slot_that_died_is_an_error_at_most_once() {
    let root = busybox("ready-died");
    for policy in POLICIES {
        let template = template(&root, policy);
        let pool = Pool::new(&template, 1).unwrap();
        pool.settle().unwrap();
        let is_slot = |pid: &i32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.contains(&format!("PPid:\t{}\n", template.keeper_pid()))
        };
        let launcher = host::processes().into_iter().find(is_slot).unwrap();
        leanbox_sys::process::kill(launcher, 9).unwrap();
        let gone = || !std::fs::exists(format!("/proc/{launcher}")).unwrap();
        assert!(host::within(Duration::from_secs(5), gone));
        let _ = Command::new("true").status(&pool);
        assert_eq!(says(&pool, "echo next"), "next", "{policy:?}");
    }
}
