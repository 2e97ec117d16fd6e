//! What slots do not have of the host process that made them, seen from outside.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/host.rs"]
mod host;

use common::{busybox, template};
use leanbox::{Command, Policy, Pool};
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// The scheduling policy of a process (proc_pid_stat(5), field 41).
fn policy_of(pid: i32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().nth(38).unwrap().parse().unwrap()
}

#[test]
fn a_scheduling_policy_of_the_host_is_not_passed_on() {
    const SCHED_BATCH: u32 = 3;
    let root = busybox("policy");
    let thread = rustix::thread::gettid().as_raw_nonzero().get();
    let chrt = ["--batch", "--pid", "0", &thread.to_string()];
    let status = std::process::Command::new("chrt").args(chrt).status();
    assert!(status.expect("the tests need chrt(1): apt-get install util-linux").success());
    assert_eq!(policy_of(thread), SCHED_BATCH);
    let template = template(&root, Policy::Once);
    let pool = Pool::new(&template, 0).unwrap();
    let container = Command::new("sleep").arg("60").spawn(&pool).unwrap();
    let pid = host::pid_of(&container);
    for pid in [template.keeper_pid(), host::parent_of(pid), pid] {
        assert_eq!(policy_of(pid), 0);
    }
}

/// The session keyrings of the machine (`/proc/keys`, proc(5)).
fn session_keyrings() -> BTreeSet<String> {
    let keys = fs::read_to_string("/proc/keys").expect("the tests need a kernel with keys");
    let sessions = keys.lines().filter(|line| line.contains(" keyring   _ses"));
    sessions.filter_map(|line| line.split(' ').next()).map(String::from).collect()
}

#[test]
fn slots_have_a_session_keyring_that_comes_and_goes_with_their_keeper() {
    let root = busybox("keys");
    let before = session_keyrings();
    let template = template(&root, Policy::Once);
    let pool = Pool::new(&template, 0).unwrap();
    let container = Command::new("sleep").arg("60").spawn(&pool).unwrap();
    let made: Vec<String> = session_keyrings().difference(&before).cloned().collect();
    assert!(!made.is_empty(), "{before:?}");
    drop((container, pool, template));
    let gone = || made.iter().any(|keyring| !session_keyrings().contains(keyring));
    assert!(host::within(Duration::from_secs(10), gone), "{made:?}");
}
