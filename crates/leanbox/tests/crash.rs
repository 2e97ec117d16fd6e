//! A host process killed at random moments under load: within a second nothing of it runs, and
//! whoever reclaims next leaves nothing of it. `LEANBOX_SOAK_KILLS` says how often (20).

#![allow(unsafe_code, clippy::unwrap_used, reason = "forks; tests")]

mod common;
#[path = "common/host.rs"]
mod host;

use common::{Folder, hostile};
use leanbox::{Command, Policy, Pool, Rootfs, Stdio, Template};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

/// Names the root file system to the process that is going to be killed.
const ROOT: &str = "LEANBOX_TEST_CRASH_ROOT";
const HOST: &str = "the_host_under_load_that_is_killed";
const FORKED: &str = "the_host_whose_fork_lives_on";

/// No test of its own: the process that another one kills.
#[test]
fn the_host_whose_fork_lives_on() {
    let Some(root) = std::env::var_os(ROOT).map(PathBuf::from) else { return };
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

/// No test of its own: the process that another one kills.
#[test]
fn the_host_under_load_that_is_killed() {
    let Some(root) = std::env::var_os(ROOT).map(PathBuf::from) else { return };
    std::thread::scope(|scope| {
        scope.spawn(|| use_slots(&root, Policy::Once));
        scope.spawn(|| use_slots(&root, Policy::Reuse));
        scope.spawn(|| use_slots(&root, Policy::Shared));
        scope.spawn(|| make_templates(&root));
    });
}

fn use_slots(root: &Path, policy: Policy) {
    let builder = Template::builder(Rootfs::open(root).unwrap()).policy(policy);
    let pool = Pool::new(&builder.build().unwrap(), 3).unwrap();
    let mut running = Vec::new();
    for turn in 0.. {
        let mut command = Command::new("sh");
        let script = match turn % 3 {
            0 => "attack daemons 3",
            1 => "echo x >/tmp/x; attack system-v",
            _ => "exec sleep 1000",
        };
        command.args(["-c", script]).stdout(Stdio::Null).stderr(Stdio::Null);
        if turn % 3 < 2 {
            command.status(&pool).unwrap();
        } else {
            running.push(command.spawn(&pool).unwrap());
            running.drain(..running.len().saturating_sub(8));
        }
    }
}

fn make_templates(root: &Path) {
    for turn in 0.. {
        let builder = Template::builder(Rootfs::open(root).unwrap());
        let builder = if turn % 2 == 0 { builder } else { builder.without_idmap() };
        let template = builder.build().unwrap();
        template.fork_noop().unwrap().wait().unwrap();
        Command::noop().status(&Pool::new(&template, 1).unwrap()).unwrap();
    }
}

#[test]
fn nothing_runs_on_and_everything_is_reclaimed_after_a_kill_at_any_moment() {
    if std::env::var_os(ROOT).is_some() {
        return;
    }
    // What the dead host leaves comes to us, so that keepers are seen even though no group has
    // them.
    let _alone = alone();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let kills = std::env::var("LEANBOX_SOAK_KILLS").map_or(20, |text| text.parse().unwrap());
    let root = hostile("crash");
    let mut slowest = Duration::ZERO;
    for kill in 0..kills {
        let mut victim = start_host(&root, HOST);
        let moment = random_below(600);
        std::thread::sleep(Duration::from_millis(moment));
        victim.kill().unwrap();
        let name = format!("leanbox-{}-", victim.id());
        let when = format!("kill {kill}, {moment} ms after the start");
        let status = victim.wait().unwrap();
        assert!(!status.success(), "the host ended by itself: {status}");
        slowest = slowest.max(assert_nothing_runs(&name, &when));
        assert_all_reclaimed(&name, &when);
    }
    eprintln!("crash: {kills} kills, nothing ran on after {slowest:?} at the latest");
}

#[test]
fn a_process_that_the_host_has_forked_does_not_keep_its_slots_alive() {
    if std::env::var_os(ROOT).is_some() {
        return;
    }
    let _alone = alone();
    let root = hostile("crash-forked");
    let mut victim = start_host(&root, FORKED);
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

fn start_host(root: &Folder, name: &str) -> Child {
    std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ROOT, &root.0)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

fn assert_nothing_runs(name: &str, when: &str) -> Duration {
    let began = std::time::Instant::now();
    let mut left = Vec::new();
    let gone = host::within(Duration::from_secs(1), || {
        left = host::processes().into_iter().filter(|pid| runs_for(*pid, name)).collect();
        left.is_empty()
    });
    let left: Vec<String> = left.iter().map(|pid| status_of(*pid)).collect();
    assert!(gone, "{when}, after a second: {left:#?}");
    began.elapsed()
}

/// Whether a process is of the dead host: in a group of its name, or left to us. Those that have
/// ended are buried on the way.
fn runs_for(pid: i32, name: &str) -> bool {
    let status = status_of(pid);
    let ours = i32::try_from(std::process::id()).unwrap();
    if status.contains(&format!("PPid:\t{ours}\n")) {
        let buried = leanbox_sys::process::wait(
            pid,
            leanbox_sys::process::WALL | leanbox_sys::process::WNOHANG,
        );
        // cp(1) of a host that was copying a root file system ends on its own.
        return !matches!(buried, Ok((ended, _)) if ended == pid)
            && !status.contains("Name:\tcp\n");
    }
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    groups.contains(name) && !status.is_empty()
}

fn status_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}

fn assert_all_reclaimed(name: &str, when: &str) {
    let state = std::env::var_os("LEANBOX_STATE").map_or("/run/leanbox".into(), PathBuf::from);
    let mut left = Vec::new();
    let clean = host::within(Duration::from_secs(5), || {
        leanbox::reclaim().unwrap();
        let records = fs::read_dir(&state).unwrap().flatten().map(|entry| entry.path());
        left = records.filter(|path| path.to_string_lossy().contains(name)).collect();
        left.extend(host::group_folders(name));
        left.is_empty()
    });
    assert!(clean, "{when}: {left:#?}");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("leanbox"), "{when}: {mounts}");
}

fn random_below(bound: u64) -> u64 {
    let mut bytes = [0; 8];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    u64::from_ne_bytes(bytes) % bound
}
