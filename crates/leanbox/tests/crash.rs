//! Hosts killed at random moments, in every state that they may be in, while another works on:
//! within two seconds nothing of the dead one runs, whoever reclaims next leaves nothing of it,
//! and the living one notices nothing. `LEANBOX_SOAK_KILLS` says how often (24).

#![allow(unsafe_code, clippy::unwrap_used, reason = "forks; tests")]

#[path = "crash/after.rs"]
mod after;
mod common;
#[path = "common/host.rs"]
mod host;
#[path = "crash/states.rs"]
mod states;

use after::Dead;
use common::{hostile, upper};
use leanbox::{Command, End, Policy, Pool, Rootfs, Template};
use states::STATES;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Until when a host has come into any of the states, and been in it for a while.
const MOMENTS_MS: u64 = 200;

/// No test of its own: the process that another one kills.
#[test]
fn the_host_that_is_killed() {
    states::run();
}

/// No test of its own: the process that another one kills.
#[test]
fn the_host_whose_fork_lives_on() {
    let Some(root) = states::root() else { return };
    let template = Template::builder(Rootfs::open(&root).unwrap()).build().unwrap();
    let pool = Pool::new(&template, 2).unwrap();
    let _container = Command::new("sleep").arg("1000").spawn(&pool).unwrap();
    // SAFETY: the child only sleeps and ends.
    if unsafe { leanbox_sys::process::fork(0) }.unwrap() == 0 {
        let long = rustix::thread::Timespec { tv_sec: 8, tv_nsec: 0 };
        let _ = rustix::thread::nanosleep(&long);
        leanbox_sys::process::exit(0);
    }
    loop {
        std::thread::park();
    }
}

#[test]
fn nothing_runs_on_and_everything_is_reclaimed_after_a_kill_at_any_moment() {
    if states::root().is_some() {
        return;
    }
    // What the dead host leaves comes to us, so that keepers are seen even though no group has
    // them.
    let _alone = alone();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let kills = std::env::var("LEANBOX_SOAK_KILLS").map_or(24, |text| text.parse().unwrap());
    let (root, upper) = (hostile("crash"), upper("crash-upper"));
    let living = common::template(&root, Policy::Once);
    let mounts = mounts();
    let mut slowest = BTreeMap::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let lives = scope.spawn(|| work(&living, &stop));
        let _stop = Stop(&stop);
        for kill in 0..kills {
            let (what, _) = STATES[kill % STATES.len()];
            let mut victim = states::start(kill % STATES.len(), &root, &upper);
            let moment = random_below(MOMENTS_MS);
            std::thread::sleep(Duration::from_millis(moment));
            let dead =
                Dead { name: format!("leanbox-{}-", victim.id()), others: &[living.keeper_pid()] };
            victim.kill().unwrap();
            let when = format!("kill {kill}, {moment} ms after the start, {what}");
            let status = victim.wait().unwrap();
            assert!(!status.success(), "{when}: the host ended by itself: {status}");
            assert!(status.code().is_none(), "{when}: the host failed before: {status}");
            let took = dead.assert_nothing_runs(&when);
            let slowest = slowest.entry(what).or_insert(Duration::ZERO);
            *slowest = took.max(*slowest);
            dead.assert_all_reclaimed(&when);
            assert_eq!(self::mounts(), mounts, "{when}");
            assert!(!lives.is_finished(), "{when}: the living host has failed");
        }
    });
    eprintln!("crash: {kills} kills; nothing ran on for longer than {slowest:#?}");
}

/// A host that lives beside those that are killed.
fn work(template: &Template, stop: &AtomicBool) {
    let pool = Pool::new(template, 2).unwrap();
    while !stop.load(Ordering::Relaxed) {
        let outcome = Command::new("true").status(&pool).unwrap();
        assert_eq!(outcome.end, End::Exited(0));
        // Load, but not all of the machine.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// However the test ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_process_that_the_host_has_forked_does_not_keep_its_slots_alive() {
    if states::root().is_some() {
        return;
    }
    let _alone = alone();
    let root = hostile("crash-forked");
    let mut victim = states::start_as("the_host_whose_fork_lives_on", &root.0).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let name = format!("leanbox-{}-", victim.id());
    let in_group = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(&name))
    };
    assert!(host::processes().iter().any(in_group));
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(host::within(Duration::from_secs(1), || !host::processes().iter().any(in_group)));
    // The fork has the record's lock too, until it ends.
    assert!(host::within(Duration::from_secs(20), || {
        leanbox::reclaim().unwrap();
        host::group_folders(&name).is_empty()
    }));
}

/// Tests that look at all that was left to this process cannot run at the same time.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Those that this process sees.
fn mounts() -> usize {
    fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count()
}

fn random_below(bound: u64) -> u64 {
    let mut bytes = [0; 8];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    u64::from_ne_bytes(bytes) % bound
}
