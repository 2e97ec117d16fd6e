//! Many starts of each policy: what host and keeper hold is the same before and after.
//! `LEANBOX_SOAK_STARTS` says how many (2,000). One test, for it counts what others would change.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/host.rs"]
mod host;

use common::{Folder, busybox, field, template};
use leanbox::{Command, End, Policy, Pool, Template};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// What allocators and the kernel's rounding may add.
const HOST_GROWTH_KIB: u64 = 1024;
const KEEPER_GROWTH_KIB: u64 = 64;
/// Groups that a pool keeps for its next slots, those of four ready slots, and their parent.
const GROUPS_MOST: usize = 64 + 4 + 1;
/// An idle slot's private memory (PSS).
const SLOT_KIB: u64 = 40;

#[test]
fn many_starts_leave_nothing_behind_and_idle_slots_stay_small() {
    let starts = std::env::var("LEANBOX_SOAK_STARTS").map_or(2000, |text| text.parse().unwrap());
    let root = busybox("soak");
    for policy in [Policy::Once, Policy::Reuse, Policy::Shared] {
        let template = template(&root, policy);
        let pool = Pool::new(&template, 4).unwrap();
        let start = || drop(Command::noop().status(&pool).unwrap());
        soak(&format!("{policy:?}"), &template, starts, &start, &|| pool.settle().unwrap());
        if policy != Policy::Shared {
            assert_idle_slots_are_small(&template);
        }
    }
    programs(&root, Policy::Reuse, starts / 4);
    programs(&root, Policy::Shared, starts / 4);
    forks(&root, starts);
    assert_all_gone();
}

/// Programs that dirty their slot, through streams.
fn programs(root: &Folder, policy: Policy, starts: u64) {
    let template = template(root, policy);
    let pool = Pool::new(&template, 4).unwrap();
    let start = || drop(common::says(&pool, "echo x >/tmp/x; sleep 9 & echo done"));
    soak(&format!("{policy:?}, dirty"), &template, starts, &start, &|| pool.settle().unwrap());
}

fn forks(root: &Folder, starts: u64) {
    let template = template(root, Policy::Once);
    let start = || assert_eq!(template.fork_noop().unwrap().wait().unwrap(), End::Exited(0));
    soak("fork", &template, starts, &start, &|| ());
}

fn soak(name: &str, template: &Template, starts: u64, start: &dyn Fn(), settle: &dyn Fn()) {
    (0..starts.min(500)).for_each(|_| start());
    settle();
    let before = Held::now(template);
    (0..starts).for_each(|_| start());
    settle();
    let mut after = Held::now(template);
    // A namespace is destroyed in the background.
    host::within(std::time::Duration::from_secs(5), || {
        after = Held::now(template);
        after.counts == before.counts
    });
    eprintln!("{name}: {starts} starts: {before:?} -> {after:?}");
    assert_eq!(after.counts, before.counts, "{name}");
    assert!(after.blocks <= before.blocks.max(320), "{name}: {after:?}");
    assert!(after.nets <= after.blocks, "{name}: {after:?}");
    assert!(after.groups <= GROUPS_MOST, "{name}: {after:?}");
    assert!(after.host_kib <= before.host_kib + HOST_GROWTH_KIB, "{name}: {after:?}");
    assert!(after.keeper_kib <= before.keeper_kib + KEEPER_GROWTH_KIB, "{name}: {after:?}");
}

/// What host and keeper hold.
#[derive(Debug)]
struct Held {
    /// Must be the same.
    counts: BTreeMap<String, usize>,
    /// Id blocks that are reserved: as many as slots were alive at a time, in steps of 64.
    blocks: usize,
    /// Network namespaces that the keeper keeps: no more than slots were alive at a time.
    nets: usize,
    /// Folders in a hierarchy: a killed slot's group is kept for the next slots if it is clean.
    groups: usize,
    host_kib: u64,
    keeper_kib: u64,
}

impl Held {
    fn now(template: &Template) -> Self {
        let keeper = template.keeper_pid();
        let own = i32::try_from(std::process::id()).unwrap();
        let slots = host::below(keeper);
        let mut counts = BTreeMap::new();
        let mut count = |what: &str, number| {
            counts.insert(what.to_string(), number);
        };
        let group = format!("/leanbox-{own}-");
        count("descriptors", links(own).iter().filter(|link| !link.contains(&group)).count());
        // The keeper keeps one user namespace for each block that was ever used, and for each place
        // one network namespace with a socket that is told of its changes.
        let nets = links(keeper).iter().filter(|link| link.starts_with("net:")).count();
        let kept = |link: &String| link.starts_with("user:") || link.starts_with("net:");
        let held = links(keeper).into_iter().filter(|link| !kept(link));
        count("keeper's descriptors", held.count() - nets);
        count("keeper's mounts", lines(&format!("/proc/{keeper}/mountinfo")));
        count("mounts", lines("/proc/self/mountinfo"));
        count("processes", slots.len());
        for name in ["user", "pid", "mnt", "uts", "ipc", "net", "cgroup"] {
            let of = |pid: &i32| fs::read_link(format!("/proc/{pid}/ns/{name}")).ok();
            count(name, slots.iter().filter_map(of).collect::<BTreeSet<PathBuf>>().len());
        }
        let (host_kib, keeper_kib) = (resident_kib(own), resident_kib(keeper));
        let groups = host::group_folders(&group);
        let hierarchies = groups.iter().filter(|folder| !folder.ends_with("fork"));
        let groups = hierarchies.count() / host::hierarchies(&groups);
        Self { counts, blocks: blocks(), nets, groups, host_kib, keeper_kib }
    }
}

fn lines(path: &str) -> usize {
    fs::read_to_string(path).unwrap().lines().count()
}

/// Where the descriptors of a process lead.
fn links(pid: i32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    entries
        .filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.display().to_string()))
        .collect()
}

fn resident_kib(pid: i32) -> u64 {
    field(&host::status(pid), "VmRSS").trim_end_matches(" kB").parse().unwrap()
}

/// Of this process's records.
fn blocks() -> usize {
    let state = std::env::var_os("LEANBOX_STATE").map_or("/run/leanbox".into(), PathBuf::from);
    let name = format!("leanbox-{}-", std::process::id());
    let records = fs::read_dir(state).unwrap().flatten().filter(|entry| entry.path().is_file());
    let own = records.filter(|entry| entry.file_name().to_string_lossy().starts_with(&name));
    own.map(|entry| {
        let text = fs::read_to_string(entry.path()).unwrap();
        let pieces = text.split("\"blocks\":[").skip(1);
        pieces.map(|piece| piece.split(']').next().unwrap().split(',').count()).sum::<usize>()
    })
    .sum()
}

fn assert_idle_slots_are_small(template: &Template) {
    let slots = host::below(template.keeper_pid());
    let launchers = slots.into_iter().filter(|pid| host::parent_of(*pid) == template.keeper_pid());
    let pss = |pid: i32| -> u64 {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        field(&text, "Pss").trim_end_matches(" kB").trim().parse().unwrap()
    };
    let sizes: Vec<u64> = launchers.map(pss).collect();
    eprintln!("idle slots: PSS {sizes:?} KiB");
    assert!(sizes.len() == 4 && sizes.iter().all(|size| *size <= SLOT_KIB), "{sizes:?}");
}

fn assert_all_gone() {
    let name = format!("leanbox-{}-", std::process::id());
    assert_eq!(host::group_folders(&name), Vec::<PathBuf>::new());
    assert_eq!(host::below(i32::try_from(std::process::id()).unwrap()), Vec::<i32>::new());
    assert_eq!(blocks(), 0);
}
