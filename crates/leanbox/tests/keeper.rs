//! A keeper that is killed, by an administrator or for want of memory: all its slots end with it,
//! whatever state they are in, and the host says so.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/host.rs"]
mod host;

use common::{busybox, template};
use leanbox::{Cause, Command, Container, End, Error, ErrorKind, Policy, Pool, Template};
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

/// A wait looks once a second whether the keeper is there; the rest is the machine's.
const SOON: Duration = Duration::from_secs(4);

fn spawn(pool: &Pool) -> Container {
    Command::new("sh").args(["-c", "while :; do :; done"]).spawn(pool).unwrap()
}

fn kill_keeper(template: &Template) {
    kill_process(Pid::from_raw(template.keeper_pid()).unwrap(), Signal::KILL).unwrap();
}

fn assert_killed(container: Container) {
    let began = Instant::now();
    let outcome = container.wait().unwrap();
    assert_eq!((outcome.end, outcome.cause), (End::Signaled(9), Cause::HostGone));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn all_containers_end_with_it_and_the_next_starts_say_that_it_is_gone() {
    let root = busybox("keeper-running");
    for policy in [Policy::Once, Policy::Reuse, Policy::Shared] {
        let template = template(&root, policy);
        let pool = Pool::new(&template, 1).unwrap();
        let running = [spawn(&pool), spawn(&pool)];
        kill_keeper(&template);
        running.into_iter().for_each(assert_killed);
        let began = Instant::now();
        // One that was ready may be gone, or not yet made.
        let refused = (0..3).filter_map(|_| Command::new("true").status(&pool).err());
        let refused: Vec<Error> = refused.collect();
        let kinds: Vec<_> = refused.iter().map(Error::kind).collect();
        assert_eq!(kinds, [ErrorKind::Gone; 3], "{policy:?}: {refused:?}");
        assert!(refused[2].to_string().contains("keeper"), "{policy:?}: {refused:?}");
        assert!(began.elapsed() < SOON, "{policy:?}: {:?}", began.elapsed());
    }
}

#[test]
fn what_was_paused_is_thawed_by_whoever_waits_for_it_and_ends() {
    let root = busybox("keeper-paused");
    for captured in [false, true] {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & while :; do :; done"]);
        if captured {
            command.stdout(leanbox::Stdio::Captured { max_bytes: 100 });
        }
        let template = template(&root, Policy::Once);
        let pool = Pool::new(&template, 1).unwrap();
        let container = command.spawn(&pool).unwrap();
        container.pause().unwrap();
        kill_keeper(&template);
        assert_killed(container);
    }
}

#[test]
fn what_was_paused_does_not_hold_up_the_end_of_its_template() {
    let root = busybox("keeper-dropped");
    let template = template(&root, Policy::Once);
    let pool = Pool::new(&template, 1).unwrap();
    let container = spawn(&pool);
    container.pause().unwrap();
    let keeper = template.keeper_pid();
    kill_keeper(&template);
    let began = Instant::now();
    drop((container, pool, template));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(!host::processes().contains(&keeper));
}

#[test]
fn a_start_does_not_wait_for_a_keeper_that_cannot_end() {
    let root = busybox("keeper-frozen");
    let template = template(&root, Policy::Once);
    let pool = Pool::new(&template, 0).unwrap();
    let container = spawn(&pool);
    // Where v1 has it frozen, the keeper waits for it.
    container.pause().unwrap();
    kill_keeper(&template);
    let began = Instant::now();
    let refused = Command::new("true").status(&pool).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Gone, "{refused}");
    assert!(refused.to_string().contains("keeper"), "{refused}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_killed(container);
}
