//! The pool: how many slots there are, who waits how long, and what a leased network namespace
//! keeps of a run.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/host.rs"]
mod host;

use common::{Folder, attack, busybox, hostile, says, template};
use leanbox::{Command, Container, End, ErrorKind, Policy, Pool, Stdio, Template};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

fn sleeper(pool: &Pool) -> Container {
    Command::new("sleep").arg("60").spawn(pool).unwrap()
}

fn launchers(template: &Template) -> usize {
    children_of(&[template.keeper_pid()]).len()
}

fn children_of(parents: &[i32]) -> Vec<i32> {
    // One that ends meanwhile is nobody's child.
    let parent = |pid: i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<i32>().ok())
    };
    let is_theirs = |pid: &i32| parent(*pid).is_some_and(|parent| parents.contains(&parent));
    host::processes().into_iter().filter(is_theirs).collect()
}

fn is_readable(fd: impl AsFd, timeout_ms: i64) -> bool {
    let limit = Timespec { tv_sec: timeout_ms / 1000, tv_nsec: timeout_ms % 1000 * 1_000_000 };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)).unwrap() > 0
}

#[test]
fn a_start_beyond_the_most_waits_until_its_time_is_up_and_says_so() {
    let root = busybox("pool-deadline");
    let template = template(&root, Policy::Once);
    for ready in [0, 1] {
        let wait = Duration::from_secs(2);
        let pool = Pool::builder(&template).ready(ready).max(1).wait(wait).build().unwrap();
        let running = sleeper(&pool);
        let began = Instant::now();
        let refused = Command::new("true").status(&pool).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Busy);
        assert!(refused.to_string().starts_with("no free slot within 2s: 1 are in use"));
        assert!(began.elapsed() >= wait);
        drop(running);
        assert!(Command::new("true").status(&pool).unwrap().success());
    }
}

#[test]
fn those_who_wait_are_served_in_the_order_in_which_they_came() {
    let root = busybox("pool-fair");
    let template = template(&root, Policy::Once);
    for ready in [0, 1] {
        let pool = Pool::builder(&template).ready(ready).max(1).build().unwrap();
        let running = sleeper(&pool);
        let served = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let (came, comes) = channel();
            for number in 0..6 {
                let (pool, served, came) = (&pool, &served, came.clone());
                scope.spawn(move || {
                    came.send(()).unwrap();
                    let container = sleeper(pool);
                    // Nobody else is served while it runs.
                    served.lock().unwrap().push(number);
                    drop(container);
                });
                comes.recv().unwrap();
                // It has said that it comes, and now queues up.
                std::thread::sleep(Duration::from_millis(50));
            }
            drop(running);
        });
        assert_eq!(served.into_inner().unwrap(), [0, 1, 2, 3, 4, 5]);
    }
}

#[test]
fn there_are_never_more_containers_than_the_most() {
    let root = busybox("pool-most");
    let template = template(&root, Policy::Once);
    let pool = Pool::builder(&template).ready(2).max(3).build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(says(&pool, "sleep 0.01; echo done"), "done");
                }
            });
        }
    });
    pool.settle().unwrap();
    assert_eq!(pool.ready(), 2);
    assert_eq!(launchers(&template), 2);
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let root = busybox("pool-numbers");
    let template = template(&root, Policy::Once);
    for (ready, max) in [(0, 0), (3, 2)] {
        let refused = Pool::builder(&template).ready(ready).max(max).build().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn try_spawn_does_not_wait_and_the_event_tells_when_to_try_again() {
    let root = busybox("pool-try");
    let template = template(&root, Policy::Once);
    let pool = Pool::builder(&template).ready(1).max(1).build().unwrap();
    pool.settle().unwrap();
    assert!(!is_readable(pool.event().unwrap(), 0));
    let mut command = Command::new("sleep");
    command.arg("60");
    let running = command.try_spawn(&pool).unwrap().unwrap();
    assert!(command.try_spawn(&pool).unwrap().is_none());
    assert!(!is_readable(pool.event().unwrap(), 100));
    drop(running);
    assert!(is_readable(pool.event().unwrap(), 5000));
    let running = command.try_spawn(&pool).unwrap().unwrap();
    assert!(!is_readable(pool.event().unwrap(), 0));
    drop(running);
}

#[test]
fn after_a_burst_the_pool_shrinks_to_its_reserve() {
    let root = busybox("pool-burst");
    for policy in [Policy::Once, Policy::Reuse] {
        let template = template(&root, policy);
        let pool = Pool::new(&template, 4).unwrap();
        let running: Vec<Container> = (0..40).map(|_| sleeper(&pool)).collect();
        for container in running {
            container.signal(15).unwrap();
            assert_eq!(container.wait().unwrap().end, End::Signaled(15));
        }
        let shrunk = host::within(Duration::from_secs(10), || launchers(&template) == 4);
        assert!(shrunk, "{policy:?}: {} launchers, {} ready", launchers(&template), pool.ready());
        pool.settle().unwrap();
        assert_eq!(pool.ready(), 4);
    }
}

#[test]
fn a_thousand_slots_can_be_made_and_dropped() {
    let root = busybox("pool-thousand");
    let template = template(&root, Policy::Once);
    let pool = Pool::new(&template, 1000).unwrap();
    pool.settle().unwrap();
    assert_eq!(launchers(&template), 1000);
    drop(pool);
    assert!(host::within(Duration::from_secs(10), || launchers(&template) == 0));
}

#[test]
fn cold_slots_have_no_container_parked_and_serve_as_warm_ones_do() {
    for policy in [Policy::Once, Policy::Reuse] {
        let root = busybox("pool-cold");
        let template = template(&root, policy);
        let pool = Pool::builder(&template).ready(8).warm(2).build().unwrap();
        pool.settle().unwrap();
        let slots = children_of(&[template.keeper_pid()]);
        let parked = children_of(&slots);
        assert_eq!((slots.len(), parked.len(), pool.ready()), (8, 2, 8), "{policy:?}");
        // Without v2 they are in the group of this process still; on v2 born in their own.
        let of = |slot: &i32| host::groups_of(*slot).get("memory").cloned();
        let own = of(&i32::try_from(std::process::id()).unwrap());
        let outside = slots.iter().filter(|slot| own.is_some() && of(slot) == own).count();
        assert_eq!(outside, if own.is_some() { 6 } else { 0 }, "{policy:?}");
        let all: Vec<Container> = (0..8).map(|_| sleeper(&pool)).collect();
        assert_eq!(says(&pool, "echo here"), "here");
        for container in &all {
            let groups = host::groups_of(host::pid_of(container));
            assert!(groups.values().any(|group| group.to_string_lossy().contains("leanbox")));
        }
        drop(all);
        pool.settle().unwrap();
        assert_eq!(
            (pool.ready(), children_of(&children_of(&[template.keeper_pid()])).len()),
            (8, 2)
        );
    }
}

#[test]
fn a_start_fails_in_time_where_the_keeper_was_killed() {
    let root = busybox("pool-keeper");
    let template = template(&root, Policy::Once);
    let pool = Pool::new(&template, 2).unwrap();
    pool.settle().unwrap();
    leanbox_sys::process::kill(template.keeper_pid(), 9).unwrap();
    assert!(host::within(Duration::from_secs(10), || launchers(&template) == 0));
    let began = Instant::now();
    for _ in 0..4 {
        // What was ready is killed with it; then none can be made.
        let ended = Command::new("true").status(&pool);
        assert!(!ended.is_ok_and(|outcome| outcome.success()));
    }
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn streams_that_nobody_takes_do_not_fill_the_socket_of_a_reused_slot() {
    let root = busybox("pool-streams");
    let pool = Pool::new(&template(&root, Policy::Reuse), 1).unwrap();
    for _ in 0..600 {
        assert!(Command::noop().status(&pool).unwrap().success());
    }
    for _ in 0..100 {
        // Killed before or after it has received them.
        let mut command = Command::new("sleep");
        let container = command.arg("60").stdout(Stdio::Piped).spawn(&pool).unwrap();
        container.signal(9).unwrap();
        assert_eq!(container.wait().unwrap().end, End::Signaled(9));
        assert_eq!(says(&pool, "echo mine"), "mine");
    }
}

#[test]
fn arguments_arrive_whole_whatever_their_length() {
    let root = busybox("pool-arguments");
    for policy in [Policy::Once, Policy::Reuse] {
        let pool = Pool::new(&template(&root, policy), 1).unwrap();
        for length in [1, 3000, 3500, 3700, 3800, 3900, 4096, 40_000, 100_000] {
            let word = "x".repeat(length);
            let outcome = Command::new("echo").arg(&word).output(&pool).unwrap();
            assert_eq!(outcome.stdout.bytes.len(), length + 1, "{policy:?} {length}");
        }
    }
}

fn net_of(pool: &Pool) -> String {
    says(pool, "readlink /proc/self/ns/net 2>/dev/null || ls -l /proc/self/ns/net")
}

fn one_at_a_time(root: &Folder) -> Pool {
    Pool::builder(&template(root, Policy::Once)).ready(1).max(1).build().unwrap()
}

#[test]
fn a_network_namespace_serves_again_until_somebody_used_it() {
    let root = hostile("pool-net");
    let pool = one_at_a_time(&root);
    let texts = "cat /proc/net/dev /proc/net/snmp /proc/net/netstat /proc/net/snmp6";
    let fresh = says(&pool, texts);
    let namespace = |pool: &Pool| {
        let text = net_of(pool);
        text[text.find("net:[").unwrap()..].to_string()
    };
    // A slot is made while the last one goes, so there are a few.
    let served: BTreeSet<String> = (0..20).map(|_| namespace(&pool)).collect();
    assert!(served.len() <= 4, "those that nobody used serve again: {served:?}");
    attack(&pool, &["loopback"]);
    assert_eq!(says(&pool, texts), fresh, "counters of a run are seen by the next");
    // A datagram to nowhere: it is counted, and no device has seen it.
    let _ = common::sh(&pool, "echo x | nc -u -w 1 192.0.2.1 9");
    assert_eq!(says(&pool, texts), fresh, "counters of a run are seen by the next");
}

#[test]
fn nobody_inside_can_change_a_leased_network_namespace() {
    let root = busybox("pool-net-attack");
    let pool = one_at_a_time(&root);
    let facts = "ip addr; ip route; ip rule; ip link; cat /proc/sys/net/ipv4/ip_forward";
    let fresh = says(&pool, facts);
    for attempt in [
        "ip addr add 10.0.0.1/8 dev lo",
        "ip route add 10.0.0.0/8 dev lo",
        "ip rule add from 10.0.0.1 table 7",
        "ip link set lo down",
        "ip link set lo mtu 1000",
        "echo 1 >/proc/sys/net/ipv4/ip_forward",
    ] {
        assert!(!common::sh(&pool, attempt).success(), "{attempt}");
        assert_eq!(says(&pool, facts), fresh, "{attempt}");
    }
}

#[test]
fn a_network_namespace_that_somebody_changed_is_not_leased_again() {
    let root = busybox("pool-net-changed");
    let pool = one_at_a_time(&root);
    for change in ["addr add 10.9.8.7/32 dev lo", "rule add from 10.9.8.7 table 7"] {
        let container = sleeper(&pool);
        // By the host, since nobody inside can.
        let target = format!("--target={}", host::pid_of(&container));
        let words = ["--net", "ip"].into_iter().chain(change.split(' '));
        let done = std::process::Command::new("nsenter").arg(target).args(words).status().unwrap();
        assert!(done.success(), "{change}");
        drop(container);
        for _ in 0..4 {
            assert!(!says(&pool, "ip addr; ip rule").contains("10.9.8.7"), "{change}");
        }
    }
}

#[test]
fn a_container_with_a_capability_has_a_network_namespace_of_its_own() {
    let root = busybox("pool-net-capability");
    let builder = Template::builder(leanbox::Rootfs::open(&root.0).unwrap());
    let template = builder.cap_add("NET_ADMIN".parse().unwrap()).build().unwrap();
    let pool = Pool::builder(&template).ready(1).max(1).build().unwrap();
    assert!(common::sh(&pool, "ip addr add 10.0.0.1/8 dev lo").success());
    assert!(!says(&pool, "ip addr").contains("10.0.0.1"));
}

/// A stopped tracer of one process: it is not gone before the tracer is.
struct Tracer(std::process::Child);

impl Tracer {
    fn of(container: &Container) -> Self {
        let fdinfo = format!("/proc/self/fdinfo/{}", container.pidfd().as_raw_fd());
        let pid = common::field(&std::fs::read_to_string(fdinfo).unwrap(), "Pid");
        let tracer = std::process::Command::new("strace")
            .args(["-qq", "-e", "trace=none", "-o", "/dev/null", "-p", &pid])
            .spawn()
            .expect("the tests need strace: apt-get install strace");
        let status = format!("/proc/{pid}/status");
        while common::field(&std::fs::read_to_string(&status).unwrap(), "TracerPid") == "0" {
            std::thread::sleep(Duration::from_millis(1));
        }
        kill_process(Pid::from_child(&tracer), Signal::STOP).unwrap();
        Self(tracer)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_slot_that_does_not_go_does_not_hold_up_the_reserve() {
    let root = busybox("pool-slow");
    let template = template(&root, Policy::Once);
    let pool = Pool::new(&template, 4).unwrap();
    let held = sleeper(&pool);
    let tracer = Tracer::of(&held);
    drop(held);
    // More starts would take the reserve below its half, where all lacking ones are made anyway.
    Command::new("true").status(&pool).unwrap();
    let patience = Instant::now() + Duration::from_secs(5);
    while (pool.ready(), launchers(&template)) != (4, 5) {
        let left = (pool.ready(), launchers(&template));
        assert!(Instant::now() < patience, "ready, launchers: {left:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(tracer);
    pool.settle().unwrap();
    assert_eq!(launchers(&template), 4);
}
