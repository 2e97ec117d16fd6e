//! Each resource has its limit, also one that changes while the container runs, and a slot's next
//! container has the template's again. What is looked at is what the program got, so that this
//! holds on cgroup v1, v2 and hybrids.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Folder, hostile};
use leanbox::{
    BlockDevice, Cause, Command, Container, End, ErrorKind, IoLimit, Limits, LimitsChange, Outcome,
    Policy, Pool, Rootfs, Stdio, Template,
};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

const MIB: u64 = 1 << 20;

fn template(root: &Folder, policy: Policy, limits: Limits) -> leanbox::Result<Template> {
    Template::builder(Rootfs::open(&root.0).unwrap()).policy(policy).limits(limits).build()
}

fn pool(root: &Folder, limits: Limits) -> Pool {
    Pool::new(&template(root, Policy::Once, limits).unwrap(), 1).unwrap()
}

/// Waits for a line on its standard input, and does that then.
fn waiting(pool: &Pool, script: &str) -> Container {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("read go; {script}")]).stdin(Stdio::Piped);
    let captured = || Stdio::Captured { max_bytes: 1 << 20 };
    command.stdout(captured()).stderr(captured()).spawn(pool).unwrap()
}

fn go(mut container: Container) -> Outcome {
    container.stdin.take().unwrap().write_all(b"go\n").unwrap();
    container.wait().unwrap()
}

fn text(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.stdout.bytes).trim().to_string()
}

fn share(outcome: &Outcome) -> f64 {
    outcome.cpu.as_secs_f64() / outcome.wall.as_secs_f64()
}

/// The disk that the folder is on; `None`, loudly, where it is on none.
fn disk_of(folder: &Path) -> Option<BlockDevice> {
    let number = std::fs::metadata(folder).unwrap().dev();
    let numbers = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
    let device = std::fs::canonicalize(format!("/sys/dev/block/{numbers}")).ok();
    let Some(device) = device else {
        eprintln!("MISSING: {folder:?} is on no disk, so block I/O cannot be tried; set TMPDIR");
        return None;
    };
    let disk = if device.join("partition").exists() { device.parent().unwrap() } else { &device };
    Some(std::fs::read_to_string(disk.join("dev")).unwrap().trim().parse().unwrap())
}

/// A file of so many MiB in the root, on its disk.
fn large_file(root: &Folder, mib: usize) {
    let mut file = std::fs::File::create(root.0.join("large")).unwrap();
    (0..mib).for_each(|_| file.write_all(&vec![7; 1 << 20]).unwrap());
    file.sync_all().unwrap();
}

#[test]
fn ulimits_are_what_was_asked_for_and_ours_elsewhere() {
    let root = hostile("ulimits");
    let asked = ["nofile=100:200", "nproc=7", "fsize=4096", "core=0", "stack=1048576:unlimited"];
    let rlimits = asked.map(|text| text.parse().unwrap()).to_vec();
    let hard = rustix::process::getrlimit(rustix::process::Resource::Stack).maximum;
    for policy in [Policy::Once, Policy::Reuse, Policy::Shared] {
        let rlimits: Vec<leanbox::Rlimit> = match hard {
            None => rlimits.clone(),
            Some(_) => rlimits[..4].to_vec(),
        };
        let template = template(&root, policy, Limits { rlimits, ..Limits::default() }).unwrap();
        let pool = Pool::new(&template, 1).unwrap();
        for _ in 0..2 {
            let got = Command::new("attack").arg("rlimits").output(&pool).unwrap();
            let lines: Vec<String> = text(&got).lines().map(str::to_string).collect();
            for wanted in ["7 100 200", "6 7 7", "1 4096 4096", "4 0 0", "8 65536 65536"] {
                assert!(lines.iter().any(|line| line == wanted), "{policy:?} {wanted}: {lines:?}");
            }
            if hard.is_none() {
                assert!(lines.iter().any(|line| line == "3 1048576 -1"), "{policy:?} {lines:?}");
            }
        }
    }
}

#[test]
fn ulimits_hold() {
    let root = hostile("ulimits-hold");
    let limited = |limit: &str| {
        pool(&root, Limits { rlimits: vec![limit.parse().unwrap()], ..Limits::default() })
    };
    let few = common::sh(&limited("nproc=5"), "attack fork-bomb");
    // One and four more; where slots share their ids, what waits in the next is one of them.
    let is_shared = !common::maps_ids() && text(&few) == "3 11";
    assert!(text(&few) == "4 11" || is_shared, "{few:?}");
    let small = common::sh(&limited("fsize=8192"), "yes > /tmp/x; stat -c %s /tmp/x");
    assert_eq!(text(&small), "8192", "{small:?}");
    let busy = Command::new("attack").args(["spin-wall", "20000"]).output(&limited("cpu=1"));
    assert!(matches!(busy.unwrap().end, End::Signaled(9 | 24)), "SIGXCPU or SIGKILL");
    let descriptors = common::sh(
        &limited("nofile=16"),
        "i=3; while [ $i -lt 64 ]; do eval \"exec $i</dev/null\" || break; i=$((i+1)); done",
    );
    assert!(!descriptors.success(), "{descriptors:?}");
}

#[test]
fn a_ulimit_above_the_hosts_own_is_refused_with_the_hosts() {
    let root = hostile("ulimit-above");
    let nofile = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap();
    let limit = format!("nofile={}", nofile + 1).parse().unwrap();
    let limits = Limits { rlimits: vec![limit], ..Limits::default() };
    let error = template(&root, Policy::Once, limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains(&format!("may give {nofile} at most")), "{error}");
    let queues = Limits { rlimits: vec!["msgqueue=4096".parse().unwrap()], ..Limits::default() };
    let error = template(&root, Policy::Reuse, queues).unwrap_err();
    assert!(error.to_string().starts_with("policy reuse with ulimit msgqueue"), "{error}");
}

#[test]
fn a_container_runs_on_the_cpus_and_nodes_that_it_was_given() {
    let root = hostile("cpuset");
    let limits = Limits {
        cpuset_cpus: Some("0".parse().unwrap()),
        cpuset_mems: Some("0".parse().unwrap()),
        ..Limits::default()
    };
    let pool = pool(&root, limits);
    let allowed = "grep _allowed_list /proc/self/status | tr -d '\\t' | tr '\\n' ' '";
    for _ in 0..3 {
        assert_eq!(common::says(&pool, allowed), "Cpus_allowed_list:0 Mems_allowed_list:0");
    }
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return eprintln!("MISSING: a second CPU, to move a container to");
    }
    let container = waiting(&pool, allowed);
    let cpus = Some("0-1".parse().unwrap());
    container.update(&LimitsChange { cpuset_cpus: cpus, ..LimitsChange::default() }).unwrap();
    assert_eq!(text(&go(container)), "Cpus_allowed_list:0-1 Mems_allowed_list:0");
    assert_eq!(common::says(&pool, allowed), "Cpus_allowed_list:0 Mems_allowed_list:0");
}

#[test]
fn a_second_program_runs_on_the_cpus_of_its_container() {
    let root = hostile("cpuset-second");
    let limits = Limits { cpuset_cpus: Some("0".parse().unwrap()), ..Limits::default() };
    let pool = pool(&root, limits);
    let container = Command::new("sleep").arg("60").spawn(&pool).unwrap();
    let mut command = Command::new("grep");
    command.args(["Cpus_allowed_list", "/proc/self/status"]).stdout(Stdio::Piped);
    let mut second = container.exec(&mut command).unwrap();
    let mut text = String::new();
    second.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "Cpus_allowed_list:\t0\n");
}

#[test]
fn what_cannot_be_had_is_refused_when_the_template_is_built() {
    let root = hostile("cannot");
    let refused = |limits: Limits, words: &str| {
        let error = template(&root, Policy::Once, limits).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    let cpus = Some("60000".parse().unwrap());
    refused(Limits { cpuset_cpus: cpus, ..Limits::default() }, "60000 cannot be had");
    let nowhere = IoLimit::new(BlockDevice { major: 4000, minor: 1 });
    refused(Limits { io: vec![nowhere], ..Limits::default() }, "4000:1: no such block device");
}

#[test]
fn weights_share_one_cpu_out() {
    let root = hostile("weights");
    let pool = |weight| {
        let cpuset_cpus = Some("0".parse().unwrap());
        pool(&root, Limits { cpuset_cpus, cpu_weight: Some(weight), ..Limits::default() })
    };
    let (light, heavy) = (pool(50), pool(1000));
    let begin = |pool: &Pool| {
        let mut command = Command::new("attack");
        command.args(["spin-wall", "2000"]).spawn(pool).unwrap()
    };
    let (light, heavy) = (begin(&light), begin(&heavy));
    let (light, heavy) = (light.wait().unwrap(), heavy.wait().unwrap());
    let times = heavy.cpu.as_secs_f64() / light.cpu.as_secs_f64();
    assert!(times > 4.0, "{times} times: {heavy:?} {light:?}");
}

#[test]
fn reads_are_slowed_down_and_counted_per_device() {
    let root = hostile("disk");
    let Some(device) = disk_of(&root.0) else { return };
    // A copy with shifted owners is in memory.
    if !common::maps_ids() {
        return eprintln!("MISSING: mapped ids, to have the root on its disk; `over` has a volume");
    }
    large_file(&root, 16);
    let limit = IoLimit { read_bps: Some(8 * MIB), ..IoLimit::new(device) };
    let slow = pool(&root, Limits { io: vec![limit], ..Limits::default() });
    let read = Command::new("attack").args(["direct-read", "/large"]).output(&slow).unwrap();
    assert_eq!(text(&read), (16 * MIB).to_string(), "{read:?}");
    assert!(read.wall > Duration::from_millis(1500), "{read:?}");

    let limit = IoLimit { read_iops: Some(100_000), ..IoLimit::new(device) };
    let counted = pool(&root, Limits { io: vec![limit], ..Limits::default() });
    for _ in 0..2 {
        let mut command = Command::new("sh");
        let script = "attack direct-read /large; exec sleep 100";
        let mut container =
            command.args(["-c", script]).stdout(Stdio::Piped).spawn(&counted).unwrap();
        let mut line = [0; 9];
        container.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        let io = container.stats().unwrap().io.unwrap();
        let off = io.read_bytes.abs_diff(16 * MIB);
        assert!(off <= 16 * MIB / 20, "{io:?}");
        assert!(io.reads >= 16, "{io:?}");
    }
    let container = waiting(&counted, "attack direct-read /large");
    let change = IoLimit { read_bps: Some(8 * MIB), ..IoLimit::new(device) };
    container.update(&LimitsChange { io: vec![change], ..LimitsChange::default() }).unwrap();
    let slowed = go(container);
    assert!(slowed.wall > Duration::from_millis(1500), "{slowed:?}");
    let fast = Command::new("attack").args(["direct-read", "/large"]).output(&counted).unwrap();
    assert!(fast.wall < slowed.wall / 2, "{fast:?}");
}

#[test]
fn memory_and_processes_change_while_it_runs_and_not_for_the_next() {
    let root = hostile("update");
    for policy in [Policy::Once, Policy::Reuse, Policy::Shared] {
        let limits = Limits { memory_max_bytes: 64 * MIB, pids_max: 20, ..Limits::default() };
        let pool = Pool::new(&template(&root, policy, limits).unwrap(), 1).unwrap();
        let change = |memory_mib: u64, pids_max| LimitsChange {
            memory_max_bytes: Some(memory_mib * MIB),
            pids_max: Some(pids_max),
            ..LimitsChange::default()
        };
        for _ in 0..2 {
            let more = waiting(&pool, "exec attack hog 100");
            more.update(&change(256, 20)).unwrap();
            assert!(go(more).success(), "{policy:?}");
            let less = waiting(&pool, "exec attack hog 50");
            less.update(&change(256, 20)).unwrap();
            less.update(&change(32, 10)).unwrap();
            assert_eq!(go(less).cause, Cause::OomKilled, "{policy:?}");
            let fewer = waiting(&pool, "exec attack fork-bomb");
            fewer.update(&change(64, 5)).unwrap();
            assert_eq!(text(&go(fewer)), "4 11", "{policy:?}");

            let next = Command::new("attack").args(["hog", "100"]).output(&pool).unwrap();
            assert_eq!(next.cause, Cause::OomKilled, "{policy:?} {next:?}");
            let next = Command::new("attack").args(["hog", "50"]).output(&pool).unwrap();
            assert!(next.success(), "{policy:?} {next:?}");
            let next = Command::new("attack").arg("fork-bomb").output(&pool).unwrap();
            assert_eq!(text(&next), "19 11", "{policy:?}");
        }
    }
}

#[test]
fn memory_in_use_is_not_taken_away() {
    let root = hostile("in-use");
    let pool = pool(&root, Limits { memory_max_bytes: 256 * MIB, ..Limits::default() });
    let mut command = Command::new("attack");
    let mut held = command.args(["hold", "100"]).stdout(Stdio::Piped).spawn(&pool).unwrap();
    held.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    let less = |mib: u64| LimitsChange {
        memory_max_bytes: Some(mib * MIB),
        pids_max: Some(10),
        ..LimitsChange::default()
    };
    let error = held.update(&less(32)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    held.update(&less(120)).unwrap();
    let stats = held.stats().unwrap();
    assert!(stats.memory.current_bytes > 100 * MIB && stats.memory.oom_kills == 0, "{stats:?}");
}

#[test]
fn a_cpu_limit_changes_while_it_runs() {
    let root = hostile("update-cpu");
    let pool = pool(&root, Limits { cpus: Some(1.0), ..Limits::default() });
    let slow = waiting(&pool, "exec attack spin-wall 1000");
    slow.update(&LimitsChange { cpus: Some(0.1), ..LimitsChange::default() }).unwrap();
    let slow = go(slow);
    assert!(share(&slow) < 0.2, "{slow:?}");
    let next = Command::new("attack").args(["spin-wall", "1000"]).output(&pool).unwrap();
    assert!(share(&next) > 1.5 * share(&slow), "{next:?}");
}

#[test]
fn an_updatable_container_gets_limits_of_kinds_that_its_template_lacks() {
    let root = hostile("updatable");
    let template = Template::builder(leanbox::Rootfs::open(&root.0).unwrap()).updatable();
    let pool = Pool::new(&template.build().unwrap(), 1).unwrap();
    let slow = waiting(&pool, "exec attack spin-wall 1000");
    let stats = slow.stats().unwrap();
    assert!(stats.io.is_some() && stats.cpu.throttling.is_some(), "{stats:?}");
    let cpuset_cpus = Some("0".parse().unwrap());
    let change = LimitsChange { cpus: Some(0.1), cpuset_cpus, ..LimitsChange::default() };
    slow.update(&change).unwrap();
    let slow = go(slow);
    assert!(share(&slow) < 0.2, "{slow:?}");
}

#[test]
fn what_an_update_cannot_do_is_refused_and_changes_nothing() {
    let root = hostile("update-no");
    let pool = pool(&root, Limits { pids_max: 20, ..Limits::default() });
    let container = waiting(&pool, "exec attack fork-bomb");
    let refused = |change: LimitsChange, kind, words: &str| {
        let error = container.update(&change).unwrap_err();
        assert!(error.kind() == kind && error.to_string().contains(words), "{error}");
    };
    let none = LimitsChange::default;
    let cpu = LimitsChange { cpus: Some(1.0), pids_max: Some(5), ..none() };
    refused(cpu, ErrorKind::Unsupported, "in no group of the cpu controller; its slot is, where");
    let zero = LimitsChange { pids_max: Some(0), ..none() };
    refused(zero, ErrorKind::InvalidInput, "process limit of 0");
    let little = LimitsChange { memory_max_bytes: Some(1), pids_max: Some(5), ..none() };
    refused(little, ErrorKind::InvalidInput, "memory limit of 1 byte");
    assert_eq!(text(&go(container)), "19 11");
}

#[test]
fn without_groups_what_needs_one_is_refused_and_nothing_is_ignored() {
    let root = common::busybox("groupless");
    let builder = || Template::builder(leanbox::Rootfs::open(&root.0).unwrap()).without_groups();
    let limited = Limits { memory_max_bytes: 64 << 20, ..Limits::default() };
    let refused = builder().limits(limited).build().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
    let refused = builder().limits(Limits { cpus: Some(0.5), ..Limits::default() }).build();
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    let pool = Pool::new(&builder().build().unwrap(), 0).unwrap();
    let container = Command::new("sleep").arg("60").spawn(&pool).unwrap();
    let change = LimitsChange { pids_max: Some(4), ..LimitsChange::default() };
    let refused = [
        container.stats().map(drop),
        container.update(&change),
        container.signal_all(10),
        container.memory_event().map(drop),
        container.pause(),
    ];
    for one in refused {
        assert_eq!(one.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    let timed = Command::new("sleep").arg("60").cpu_time(Duration::from_secs(1)).spawn(&pool);
    assert_eq!(timed.unwrap_err().kind(), ErrorKind::Unsupported);
    container.kill();
    assert_eq!(container.wait().unwrap().cause, Cause::Killed);
}
