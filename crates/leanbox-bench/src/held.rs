//! What this process and its descendants hold of the kernel, to be compared over very many starts.

use crate::leaks;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// A census.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Open descriptors of this process.
    pub descriptors: usize,
    /// Mounts in this process's namespace.
    pub mounts: usize,
    /// Groups of ours, in every hierarchy.
    pub groups: usize,
    /// Records of ours in the state folder.
    pub records: usize,
    /// This process's descendants.
    pub processes: usize,
    /// Namespaces that they are in.
    pub namespaces: usize,
    /// Resident memory of this process.
    pub host_rss_kib: u64,
    /// Resident memory of the keeper.
    pub keeper_rss_kib: u64,
}

impl Held {
    pub(crate) fn take(keeper: Option<i32>) -> Self {
        let own = std::process::id();
        let prefix = format!("leanbox-{own}-");
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let descendants = descendants(own);
        let namespaces: BTreeSet<PathBuf> =
            descendants.iter().flat_map(|pid| namespaces(*pid)).collect();
        Self {
            descriptors: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            mounts: mountinfo.lines().count(),
            groups: leaks::groups(&mountinfo, &prefix),
            records: leaks::named(&leanbox::state_folder(), &prefix, 1),
            processes: descendants.len(),
            namespaces: namespaces.len(),
            host_rss_kib: rss_kib("self"),
            keeper_rss_kib: keeper.map_or(0, |pid| rss_kib(&pid.to_string())),
        }
    }

    /// How many objects more there are than `before`; memory is told, not counted.
    pub(crate) fn more_than(self, before: Self) -> usize {
        let pairs = [
            (self.descriptors, before.descriptors),
            (self.mounts, before.mounts),
            (self.groups, before.groups),
            (self.records, before.records),
            (self.processes, before.processes),
            (self.namespaces, before.namespaces),
        ];
        pairs.into_iter().map(|(now, then)| now.saturating_sub(then)).sum()
    }
}

fn namespaces(pid: u32) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/ns")).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_link(entry.path()).ok())
}

/// All processes below this one.
pub(crate) fn descendants(of: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let (Some(pid), Some(parent)) = (pid, parent_in(&stat)) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![of];
    while let Some(parent) = next.pop() {
        let own = children.remove(&parent).unwrap_or_default();
        found.extend(&own);
        next.extend(own);
    }
    found
}

/// Field 4 of `/proc/PID/stat`, behind a name with any bytes in it.
fn parent_in(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn rss_kib(process: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    crate::machine::kib(&status, "VmRSS")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_child_is_among_the_descendants_until_it_has_ended() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(descendants(std::process::id()).contains(&child.id()));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!descendants(std::process::id()).contains(&child.id()));
    }

    #[test]
    fn only_objects_count_as_left_behind() {
        let before = Held { descriptors: 5, host_rss_kib: 10, ..Held::default() };
        let after = Held { descriptors: 7, namespaces: 1, host_rss_kib: 99, ..before };
        assert_eq!((after.more_than(before), before.more_than(after)), (3, 0));
        assert!(Held::take(None).host_rss_kib > 0);
    }
}
