//! What a benchmark left behind: counted before its first slot and after its last.

use serde::Serialize;
use std::fs;
use std::path::Path;

/// Kernel objects of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Census {
    descriptors: usize,
    mounts: usize,
    children: usize,
    records: usize,
    groups: usize,
}

impl Census {
    /// Counts now.
    pub(crate) fn take() -> Self {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = format!("leanbox-{}-", std::process::id());
        Self {
            descriptors: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            mounts: mountinfo.lines().count(),
            children: children(),
            records: named(&leanbox::state_folder(), &own, 1),
            groups: groups(&mountinfo, &own),
        }
    }

    /// How much more there is now than `before`.
    pub(crate) fn more_than(self, before: Self) -> usize {
        let more = |now: usize, then: usize| now.saturating_sub(then);
        more(self.descriptors, before.descriptors)
            + more(self.mounts, before.mounts)
            + more(self.children, before.children)
            + more(self.records, before.records)
            + more(self.groups, before.groups)
    }
}

/// Records and groups of other processes, which have ended.
pub(crate) fn left_by(pids: &[u32]) -> usize {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let left = |pid: &u32| {
        let own = format!("leanbox-{pid}-");
        named(&leanbox::state_folder(), &own, 1) + groups(&mountinfo, &own)
    };
    pids.iter().map(left).sum()
}

/// Groups whose name begins so, in every hierarchy.
pub(crate) fn groups(mountinfo: &str, prefix: &str) -> usize {
    let cgroups = mountinfo.lines().filter(|line| line.contains(" - cgroup"));
    let mounts = cgroups.filter_map(|line| line.split(' ').nth(4));
    mounts.map(|mount| named(Path::new(mount), prefix, 4)).sum()
}

fn children() -> usize {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.map(|list| list.split_whitespace().count()).sum()
}

/// Folders and files whose name begins so, at most `depth` levels down.
pub(crate) fn named(folder: &Path, prefix: &str, depth: usize) -> usize {
    if depth == 0 {
        return 0;
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let here = usize::from(entry.file_name().to_string_lossy().starts_with(prefix));
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            here + if is_dir { named(&entry.path(), prefix, depth - 1) } else { 0 }
        })
        .sum()
}

/// Processes and threads the kernel has made since boot (proc(5), `/proc/stat`).
pub(crate) fn processes_since_boot() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let count = stat.lines().find_map(|line| line.strip_prefix("processes "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}
