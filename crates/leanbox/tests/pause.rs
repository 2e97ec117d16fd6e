//! A paused container stands still, all of it, until it is resumed; and whatever ends it while it
//! is paused ends it as it would otherwise.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;
#[path = "common/host.rs"]
mod host;

use common::{Folder, busybox, template};
use host::{pid_of, within};
use leanbox::{Command, Container, End, ErrorKind, Limits, Policy, Pool, Rootfs, Stdio, Template};
use rustix::process::{Pid, Signal};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

const POLICIES: [Policy; 2] = [Policy::Once, Policy::Reuse];
const BUSY: &str = "while :; do :; done";
/// Names the root file system to the process that is going to be killed.
const ROOT: &str = "LEANBOX_TEST_PAUSE_ROOT";
/// Long enough that whatever runs has run.
const A_WHILE: Duration = Duration::from_millis(150);

fn spawn(pool: &Pool, script: &str) -> Container {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdout(Stdio::Null).stderr(Stdio::Null);
    command.spawn(pool).unwrap()
}

/// Every process of the container's slot, its launcher too.
fn members(container: &Container) -> Vec<i32> {
    let groups = host::groups_of(pid_of(container));
    let folder = groups.get("pids").unwrap_or_else(|| &groups[""]);
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// CPU time of all of them, in nanoseconds, and who they are.
fn used(container: &Container) -> (u64, Vec<i32>) {
    let members = members(container);
    let cpu_ns = members.iter().filter_map(|pid| cpu_ns_of(*pid)).sum();
    (cpu_ns, members)
}

/// The first number of `/proc/PID/schedstat` (the kernel's `sched-stats.rst`).
fn cpu_ns_of(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    stat.split_whitespace().next()?.parse().ok()
}

fn assert_stands_still(container: &Container, when: &str) {
    let (cpu_ns, before) = used(container);
    std::thread::sleep(A_WHILE);
    let (cpu_later_ns, now) = used(container);
    assert_eq!(now, before, "{when}");
    // On v2 one counts as frozen with its last steps in the kernel still to go.
    assert!(cpu_later_ns - cpu_ns < 1_000_000, "{when}: {cpu_ns} to {cpu_later_ns} ns");
}

fn runs(container: &Container) -> bool {
    let before = used(container).0;
    within(Duration::from_secs(20), || used(container).0 > before)
}

#[test]
fn a_paused_container_uses_no_cpu_until_it_is_resumed() {
    let root = busybox("still");
    for policy in POLICIES {
        let pool = Pool::new(&template(&root, policy), 1).unwrap();
        for round in 0..3 {
            let container = spawn(&pool, &format!("({BUSY}) & ({BUSY}) & {BUSY}"));
            for turn in 0..5 {
                let when = format!("{policy:?}, container {round}, turn {turn}");
                container.pause().unwrap();
                assert_stands_still(&container, &when);
                container.resume().unwrap();
                assert!(runs(&container), "{when}");
            }
        }
    }
}

#[test]
fn a_container_that_forks_all_the_time_stands_still_with_all_it_has() {
    let root = busybox("forks");
    for policy in POLICIES {
        // What has just ended counts for a while yet.
        let limits = Limits { pids_max: 1000, memory_max_bytes: 4 << 30, ..Limits::default() };
        let builder = Template::builder(Rootfs::open(&root.0).unwrap()).policy(policy);
        let pool = Pool::new(&builder.limits(limits).build().unwrap(), 0).unwrap();
        let forks = "i=0; while [ $i -lt 100 ]; do (while :; do (true); done) & i=$((i+1)); done";
        for round in 0..3 {
            let mut container = spawn(&pool, &format!("{forks}; wait"));
            // On a slow machine the hundredth is long in coming: each has those before it beside.
            within(Duration::from_secs(20), || members(&container).len() > 100);
            assert!(within(Duration::from_secs(60), || members(&container).len() > 20));
            for turn in 0..5 {
                if let Err(error) = container.pause() {
                    panic!("{error}: {:?}", container.wait_timeout(A_WHILE));
                }
                assert_stands_still(&container, &format!("{policy:?} {round} {turn}"));
                container.resume().unwrap();
                assert!(runs(&container));
            }
        }
    }
}

#[test]
fn pausing_twice_and_resuming_twice_is_the_same_as_once() {
    let root = busybox("twice");
    let pool = Pool::new(&template(&root, Policy::Once), 0).unwrap();
    let container = spawn(&pool, BUSY);
    container.resume().unwrap();
    container.pause().unwrap();
    container.pause().unwrap();
    assert_stands_still(&container, "paused twice");
    container.resume().unwrap();
    container.resume().unwrap();
    assert!(runs(&container));
}

#[test]
fn a_resumed_container_ends_as_if_it_had_not_been_paused_and_its_slot_serves_again() {
    let root = busybox("goes-on");
    for policy in POLICIES {
        let pool = Pool::new(&template(&root, policy), 1).unwrap();
        for _ in 0..5 {
            let script = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; echo $i; exit 3";
            let mut command = Command::new("sh");
            command.args(["-c", script]).stdout(Stdio::Piped);
            let mut container = command.spawn(&pool).unwrap();
            container.pause().unwrap();
            assert!(container.wait_timeout(A_WHILE).unwrap().is_none(), "it is paused");
            container.resume().unwrap();
            let mut line = String::new();
            BufReader::new(container.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "30000\n");
            assert_eq!(container.wait().unwrap().end, End::Exited(3), "{policy:?}");
        }
    }
}

#[test]
fn an_ended_container_cannot_be_paused_and_the_error_says_so() {
    let root = busybox("ended");
    for policy in POLICIES {
        let pool = Pool::new(&template(&root, policy), 0).unwrap();
        let mut container = spawn(&pool, "exit 0");
        let has_ended = || container.pause().and_then(|()| container.resume()).is_err();
        assert!(within(Duration::from_secs(20), has_ended));
        for _ in 0..2 {
            for (told, what) in [(container.pause(), "pause"), (container.resume(), "resume")] {
                let error = told.unwrap_err();
                assert_eq!(error.to_string(), format!("{what}: the container has ended"));
                assert_eq!(error.kind(), ErrorKind::Gone);
            }
            container.wait_timeout(Duration::from_secs(20)).ok();
        }
    }
}

#[test]
fn a_paused_container_dies_of_a_kill_at_once_and_runs_no_further() {
    let root = busybox("killed");
    for policy in POLICIES {
        let pool = Pool::new(&template(&root, policy), 1).unwrap();
        for _ in 0..3 {
            let container = spawn(&pool, &format!("({BUSY}) & {BUSY}"));
            container.pause().unwrap();
            let killed = Instant::now();
            container.kill();
            let outcome = container.wait().unwrap();
            assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
            assert_eq!((outcome.end, outcome.timed_out), (End::Signaled(9), false));
            assert!(common::sh(&pool, "exit 0").success(), "the next one in that group");
        }
    }
}

#[test]
fn a_paused_container_ends_at_its_timeout_whether_somebody_waits_or_not() {
    let root = busybox("timeout");
    for policy in POLICIES {
        let pool = Pool::new(&template(&root, policy), 1).unwrap();
        for waits in [true, false] {
            let mut command = Command::new("sh");
            command.args(["-c", BUSY]).timeout(Duration::from_secs(3));
            let container = command.stdout(Stdio::Null).spawn(&pool).unwrap();
            container.pause().unwrap();
            if !waits {
                let pid = pid_of(&container);
                let gone = || !fs::exists(format!("/proc/{pid}")).unwrap();
                assert!(within(Duration::from_secs(20), gone), "{policy:?}");
            }
            let outcome = container.wait().unwrap();
            assert_eq!((outcome.end, outcome.timed_out), (End::Signaled(9), true), "{policy:?}");
            assert!(outcome.wall < Duration::from_secs(20), "{:?}", outcome.wall);
        }
    }
}

#[test]
fn a_kill_while_it_is_being_paused_wins() {
    let root = busybox("race");
    let pool = Pool::new(&template(&root, Policy::Once), 2).unwrap();
    for turn in 0..60 {
        let container = spawn(&pool, &format!("({BUSY}) & {BUSY}"));
        if turn % 2 == 0 {
            container.pause().unwrap();
            container.resume().unwrap();
        }
        std::thread::scope(|scope| {
            scope.spawn(|| while container.pause().is_ok() {});
            std::thread::sleep(Duration::from_micros(turn * 10));
            container.kill();
        });
        assert_eq!(container.wait().unwrap().end, End::Signaled(9));
    }
}

#[test]
fn a_dropped_paused_container_leaves_no_process_and_no_group() {
    let root = busybox("dropped");
    for policy in POLICIES {
        let pool = Pool::new(&template(&root, policy), 0).unwrap();
        let container = spawn(&pool, &format!("({BUSY}) & {BUSY}"));
        container.pause().unwrap();
        let (name, members) = (owner_of(&container), members(&container));
        drop(container);
        let gone = || !members.iter().any(|pid| fs::exists(format!("/proc/{pid}")).unwrap());
        assert!(within(Duration::from_secs(20), gone), "{policy:?}");
        drop(pool);
        assert_eq!(host::group_folders(&name), Vec::<PathBuf>::new());
    }
}

#[test]
fn one_that_was_never_paused_has_no_folder_for_it() {
    let root = busybox("never");
    let pool = Pool::new(&template(&root, Policy::Once), 1).unwrap();
    let container = spawn(&pool, BUSY);
    let frozen = |name: &str| {
        let folders = host::group_folders(name);
        folders.iter().any(|folder| folder.join("freezer.state").exists())
    };
    let name = owner_of(&container);
    assert!(!frozen(&name));
    container.pause().unwrap();
    let has_v1 = fs::read_to_string("/proc/self/cgroup").unwrap().contains(":freezer:");
    assert_eq!(frozen(&name), has_v1 && !leanbox::probe::is_off("freezer"));
}

/// `leanbox-PID-STARTTIME-` of this process's groups.
fn owner_of(container: &Container) -> String {
    let groups = host::groups_of(pid_of(container));
    let path = groups.values().map(|path| path.to_string_lossy().into_owned());
    let name = path.into_iter().find_map(|path| Some(path.split_once("/leanbox-")?.1.to_string()));
    let name = name.unwrap();
    let end = name.match_indices(['-', '/']).nth(2).map_or(name.len(), |(index, _)| index);
    format!("leanbox-{}", &name[..end])
}

/// No test of its own: the process that another one kills.
#[test]
fn the_host_of_a_paused_container_that_is_killed() {
    let Some(root) = std::env::var_os(ROOT).map(PathBuf::from) else { return };
    let template = Template::builder(Rootfs::open(&root).unwrap()).build().unwrap();
    let pool = Pool::new(&template, 1).unwrap();
    let _runs = spawn(&pool, BUSY);
    let container = spawn(&pool, &format!("({BUSY}) & {BUSY}"));
    // With its launcher.
    assert!(within(Duration::from_secs(60), || members(&container).len() == 3));
    container.pause().unwrap();
    println!("paused {}", owner_of(&container));
    loop {
        std::thread::park();
    }
}

#[test]
fn what_a_killed_host_had_paused_dies_with_it() {
    if std::env::var_os(ROOT).is_some() {
        return;
    }
    let root = busybox("host-killed");
    let (mut victim, name) = start_host(&root);
    let of_it = || host::processes().into_iter().filter(|pid| is_of(*pid, &name)).count();
    let both = within(Duration::from_secs(60), || of_it() > 4);
    assert!(both, "two slots, one of them paused, have {} processes", of_it());
    std::thread::scope(|scope| {
        // Whoever waits for the lock of its record has it first: nobody reclaims before.
        let held = scope.spawn(|| records_of(&victim).iter().map(locked).collect::<Vec<_>>());
        std::thread::sleep(A_WHILE);
        rustix::process::kill_process(pid_of_child(&victim), Signal::KILL).unwrap();
        let held = held.join().unwrap();
        assert!(within(Duration::from_secs(20), || of_it() == 0));
        drop(held);
    });
    victim.wait().unwrap();
    assert_reclaimed(&name);
}

#[test]
fn what_a_killed_host_had_paused_is_reclaimed_where_its_keeper_cannot_thaw_it() {
    if std::env::var_os(ROOT).is_some() {
        return;
    }
    let root = busybox("keeper-killed");
    let (mut victim, name) = start_host(&root);
    let of_it = || host::processes().into_iter().filter(|pid| is_of(*pid, &name)).count();
    let keeper = host::processes().into_iter().find(|pid| is_keeper_of(*pid, &victim)).unwrap();
    rustix::process::kill_process(Pid::from_raw(keeper).unwrap(), Signal::KILL).unwrap();
    victim.kill().unwrap();
    victim.wait().unwrap();
    // v2 lets what is frozen die; v1 does not, and this is what is to be reclaimed.
    let v1 = host::group_folders(&name).iter().any(|folder| folder.join("freezer.state").exists());
    assert!(!v1 || of_it() > 0);
    leanbox::reclaim().unwrap();
    assert!(within(Duration::from_secs(20), || of_it() == 0));
    assert_reclaimed(&name);
}

fn pid_of_child(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap()).unwrap()
}

fn records_of(host: &Child) -> Vec<PathBuf> {
    let folders = [leanbox::state_folder(), PathBuf::from("/run/leanbox")];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap().flatten());
    let is_its = |path: &PathBuf| path.to_string_lossy().contains(&format!("-{}-", host.id()));
    let records: BTreeSet<_> = entries.map(|entry| entry.path()).filter(is_its).collect();
    assert!(!records.is_empty());
    records.into_iter().collect()
}

fn locked(record: &PathBuf) -> fs::File {
    let file = fs::File::open(record).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    file
}

fn is_keeper_of(pid: i32, host: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.contains(&format!("PPid:\t{}\n", host.id())) && status.contains("Name:\tleanbox-keeper")
}

fn assert_reclaimed(name: &str) {
    assert!(within(Duration::from_secs(20), || {
        leanbox::reclaim().unwrap();
        host::group_folders(name).is_empty()
    }));
}

fn start_host(root: &Folder) -> (Child, String) {
    let mut host = std::process::Command::new(std::env::current_exe().unwrap());
    host.args(["--exact", "the_host_of_a_paused_container_that_is_killed", "--nocapture"]);
    host.env(ROOT, &root.0);
    let mut host = host.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let name = lines
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("paused ")?.1.to_string()));
    (host, name.expect("the host has paused a container"))
}

fn is_of(pid: i32, name: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(name))
}

/// The tests above, where v1's freezer is not used.
#[test]
fn v2_freezes_where_v1_cannot() {
    const V2: &str = "LEANBOX_WITHOUT";
    if std::env::var_os(V2).is_some() || std::env::var_os(ROOT).is_some() {
        return;
    }
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    assert!(mounts.contains(" cgroup2 "), "this test needs cgroup2: mount -t cgroup2 none …");
    let mut tests = std::process::Command::new(std::env::current_exe().unwrap());
    let tests = tests.args(["--test-threads", "1"]).env(V2, "freezer").output().unwrap();
    let text = String::from_utf8_lossy(&tests.stdout);
    assert!(tests.status.success() && text.contains("14 passed"), "{text}");
}
