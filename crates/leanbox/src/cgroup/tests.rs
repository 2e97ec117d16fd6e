//! Resource groups on the kernel at hand. These need root and the right to make groups, and say
//! so if they lack it.

use super::layout::Version;
use super::*;
use crate::probe;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

fn parent() -> Parent {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("leanbox-test-{}-{count}", std::process::id());
    Parent::find(&Layout::detect().unwrap(), &name).expect("root, and a cgroup we may use")
}

fn limits(memory_mib: u64, pids_max: u32) -> Limits {
    Limits { memory_max_bytes: memory_mib * MIB, pids_max, ..Limits::default() }
}

/// A shell that joins the group as a launcher would, then runs `script`.
fn shell(group: &Group, script: &str) -> Child {
    let proc_path = |fd: i32| format!("echo 0 > /proc/{}/fd/{fd} && ", std::process::id());
    let procs = group.open_v2_procs().unwrap();
    let fds = group.join_fds().iter().chain(&procs);
    let join: String = fds.map(|fd| proc_path(fd.as_raw_fd())).collect();
    let child = Command::new("sh")
        .args(["-c", &format!("{join} : && {{ echo in; {script}; }}")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    let mut first = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).expect("it joined");
    child
}

fn run(group: &Group, script: &str) -> ExitStatus {
    shell(group, script).wait().unwrap()
}

fn exists(paths: &[PathBuf]) -> bool {
    paths.iter().any(|path| path.exists())
}

#[test]
fn dropping_groups_and_parent_leaves_no_folder() {
    let parent = parent();
    let paths = parent.paths();
    assert!(!exists(&paths), "nothing is made before it is needed");
    let first = parent.first(&limits(64, 16)).unwrap();
    let group = parent.group("slot", &limits(64, 16)).unwrap();
    assert!(run(&first, "true").success() && run(&group, "true").success());
    assert!(exists(&paths) && paths.iter().any(|path| path.join("slot").exists()));
    drop((first, group));
    assert!(!paths.iter().any(|path| path.join("slot").exists()));
    drop(parent);
    assert!(!exists(&paths));
}

#[test]
fn a_hierarchy_that_only_limits_cpu_is_used_only_for_that() {
    let used = |limits: &Limits| Layout::detect().unwrap().needed_for(limits).hierarchies;
    let without = used(&limits(64, 16));
    let with = used(&Limits { cpus: Some(0.5), ..limits(64, 16) });
    assert!(without.iter().all(|place| !place.roles.cpu));
    assert!(with.iter().any(|place| place.roles.cpu) && with.len() >= without.len());
}

#[test]
fn cpu_time_of_a_child_is_counted_from_the_baseline() {
    const SPIN: &str = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    let parent = parent();
    let group = parent.group("slot", &limits(64, 16)).unwrap();
    run(&group, SPIN);
    let baseline = group.baseline().unwrap();
    assert!(group.usage().unwrap().cpu > Duration::from_millis(5));
    let (used, _) = group.since(&baseline, false).unwrap();
    assert!(used.cpu < Duration::from_millis(5));
}

#[test]
fn a_cpu_limit_slows_a_child_down() {
    const SPIN: &str = "i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done";
    let parent = parent();
    let limits = Limits { cpus: Some(0.1), ..limits(64, 16) };
    let group = parent.group("slot", &limits).unwrap();
    let started = Instant::now();
    run(&group, SPIN);
    let (cpu, wall) = (group.usage().unwrap().cpu, started.elapsed());
    assert!(wall > cpu.mul_f64(2.0), "{cpu:?} of CPU time in {wall:?}");
}

#[test]
fn the_memory_peak_is_reported_and_starts_anew() {
    let parent = parent();
    let places = parent.folders(&limits(128, 16)).unwrap();
    let is_v2 = places.iter().any(|place| place.version == Version::V2 && place.roles.memory);
    let group = parent.group("slot", &limits(128, 16)).unwrap();
    run(&group, "head -c 20m /dev/zero | tail > /dev/null");
    let peak = group.usage().unwrap().memory_peak_bytes;
    if peak == 0 && is_v2 && (probe::is_off("memory_peak") || probe::kernel_version() < (5, 19)) {
        return;
    }
    assert!((20 * MIB..128 * MIB).contains(&peak), "{peak}");
    let (_, last) = group.since(&group.baseline().unwrap(), false).unwrap();
    let mut quiet_bytes = 0;
    if group.renew_peak(&last, &mut quiet_bytes).unwrap() {
        let peak = group.usage().unwrap().memory_peak_bytes;
        assert!(peak < 10 * MIB && quiet_bytes == peak, "{peak}, {quiet_bytes}");
    }
}

#[test]
fn killed_by_its_own_limit_is_told_apart() {
    let parent = parent();
    let group = parent.group("slot", &limits(16, 16)).unwrap();
    let baseline = group.baseline().unwrap();
    let status = run(&group, "exec tail /dev/zero");
    assert!(!status.success());
    let (used, _) = group.since(&baseline, true).unwrap();
    assert_eq!(used.oom_kills, 1);
    assert!(used.killed_by_own_limit(), "{used:?}");
    assert!(used.memory_peak_bytes <= 16 * MIB, "{used:?}");
}

#[test]
fn a_kill_for_the_parents_limit_is_not_the_groups_own() {
    let parent = parent();
    let group = parent.group("slot", &limits(512, 16)).unwrap();
    let places = parent.folders(&limits(512, 16)).unwrap();
    let memory = places.iter().find(|place| place.roles.memory).unwrap();
    let limit_file = match memory.version {
        Version::V1 => "memory.limit_in_bytes",
        Version::V2 => "memory.max",
    };
    file::write(&memory.folder.join(limit_file), "33554432").unwrap();
    let baseline = group.baseline().unwrap();
    assert!(!run(&group, "exec tail /dev/zero").success());
    assert_eq!(group.usage().unwrap().delta(&baseline).oom_kills, 1);
    let (used, _) = group.since(&baseline, true).unwrap();
    assert!(!used.killed_by_own_limit(), "{used:?}");
}

#[test]
fn processes_are_counted_and_bounded_with_one_for_the_launcher() {
    let parent = parent();
    let group = parent.group("slot", &limits(64, 2)).unwrap();
    let mut child = shell(&group, "sleep 10 & sleep 10 & echo ok; wait");
    let mut line = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(group.processes().unwrap(), 3, "the shell stands for the launcher");
    let one_more = run(&group, "exec 2> /dev/null; (true)");
    assert!(!one_more.success(), "it may join a full group, but not fork there");
    parent.paths().iter().for_each(|path| remove_tree(&path.join("slot")).unwrap());
    child.wait().unwrap();
}

#[test]
fn a_recycled_group_counts_from_a_new_peak_and_holds_little() {
    let parent = parent();
    let group = parent.group("slot", &limits(128, 16)).unwrap();
    let scratch = std::env::temp_dir().join(format!("leanbox-scratch-{}", std::process::id()));
    run(&group, &format!("head -c 20m /dev/zero > {scratch:?}; rm {scratch:?}"));
    assert_eq!(group.processes().unwrap(), 0);
    // what the kernel frees in the background takes it some milliseconds on a busy machine
    let recycled = (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        group.recycle().unwrap()
    });
    assert!(recycled || group.into_dir().is_some(), "v1 always can");
    if recycled {
        let peak = group.usage().unwrap().memory_peak_bytes;
        assert!(peak <= 256 * 1024, "{peak}");
    }
}

#[test]
fn what_a_dead_owner_left_is_killed_and_removed() {
    let parent = parent();
    let paths = parent.paths();
    let group = parent.group("slot", &limits(64, 16)).unwrap();
    let mut child = shell(&group, "exec sleep 100");
    std::mem::forget(group);
    std::mem::forget(parent);
    paths.iter().for_each(|path| remove_tree(path).unwrap());
    assert!(!exists(&paths));
    assert!(!child.wait().unwrap().success());
    paths.iter().for_each(|path| remove_tree(path).expect("gone already is fine"));
}

#[test]
fn a_v2_group_is_killed_in_one_write_where_v2_is_mounted() {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let Some(line) = mounts.lines().find(|line| line.contains(" - cgroup2 ")) else { return };
    let point = Path::new(line.split(' ').nth(4).unwrap());
    let folder = point.join(format!("leanbox-test-v2-{}", std::process::id()));
    file::make_folder(&folder).unwrap();
    let join = format!("echo 0 > {folder:?}/cgroup.procs; echo in; exec sleep 100");
    let mut child = Command::new("sh").args(["-c", &join]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    remove_tree(&folder).unwrap();
    assert!(!folder.exists());
    assert!(!child.wait().unwrap().success());
}

#[test]
fn the_callers_own_group_is_never_removed() {
    for hierarchy in Layout::detect().unwrap().hierarchies {
        let error = remove_tree(&hierarchy.folder).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
    }
}

#[test]
fn a_name_that_is_a_path_is_refused() {
    let layout = Layout::detect().unwrap();
    for name in ["", "..", "a/b", "/a"] {
        assert!(Parent::find(&layout, name).is_err(), "{name:?}");
    }
}

#[test]
fn a_group_that_is_there_already_is_an_error_with_its_path() {
    let parent = parent();
    let _group = parent.group("slot", &limits(64, 16)).unwrap();
    let error = parent.group("slot", &limits(64, 16)).unwrap_err().to_string();
    assert!(error.starts_with("mkdir(\"") && error.ends_with("EEXIST"), "{error}");
    let exists = parent.paths().iter().any(|path| path.join("slot").exists());
    assert!(exists, "the failed one must not take the first one's folder away");
}
