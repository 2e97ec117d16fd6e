//! How much memory the machine has left, and what has grown: `/proc/meminfo` and
//! `/proc/slabinfo` (proc(5)), before and after.

use crate::machine::kib;
use crate::statistics::number;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;

/// Lines of `/proc/meminfo` that do not count the same page twice; the slabs come from
/// `/proc/slabinfo`. (`VmallocUsed` has the kernel's stacks in it where they are mapped.)
const KINDS: [&str; 8] = [
    "AnonPages",
    "Buffers",
    "Cached",
    "KernelStack",
    "PageTables",
    "SecPageTables",
    "Percpu",
    "VmallocUsed",
];
/// How many of those that grew most are told.
const GROWN_MAX: usize = 10;

/// A look at the machine's memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    pub(crate) available_kib: u64,
    pub(crate) free_kib: u64,
    kinds: BTreeMap<String, u64>,
}

/// Something that grew.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Grown {
    /// A line of `/proc/meminfo`, or `slab` and the name of a cache.
    pub what: String,
    /// For each container.
    pub kib_each: f64,
}

impl Memory {
    pub(crate) fn now() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let page_kib = u64::try_from(rustix::param::page_size()).unwrap_or(4096) / 1024;
        Self::parse(&read("/proc/meminfo"), &read("/proc/slabinfo"), page_kib)
    }

    fn parse(meminfo: &str, slabinfo: &str, page_kib: u64) -> Self {
        let lines = KINDS.iter().map(|name| ((*name).to_string(), kib(meminfo, name)));
        let slabs = slabinfo.lines().skip(2).filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let pages: u64 = words.get(5)?.parse().ok()?;
            let slabs: u64 = words.get(14)?.parse().ok()?;
            Some((format!("slab {}", words.first()?), slabs * pages * page_kib))
        });
        Self {
            available_kib: kib(meminfo, "MemAvailable"),
            free_kib: kib(meminfo, "MemFree"),
            kinds: lines.chain(slabs).collect(),
        }
    }

    /// What grew most since `earlier`, for each of `count`.
    pub(crate) fn grown_since(&self, earlier: &Self, count: usize) -> Vec<Grown> {
        let mut grown: Vec<Grown> = self
            .kinds
            .iter()
            .map(|(what, now)| {
                let before = earlier.kinds.get(what).copied().unwrap_or(0);
                Grown { what: what.clone(), kib_each: each(before, *now, count) }
            })
            .filter(|grown| grown.kib_each > 0.0)
            .collect();
        grown.sort_by(|a, b| b.kib_each.total_cmp(&a.kib_each));
        grown.truncate(GROWN_MAX);
        grown
    }
}

/// What there is more of, for each of `count`, to a tenth; negative where there is less.
pub(crate) fn each(before: u64, now: u64, count: usize) -> f64 {
    let more = number(now) - number(before);
    (more * 10.0 / number(count.max(1) as u64)).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLABS: &str = "slabinfo - version: 2.1\n# name <active_objs> ...\n\
        dentry 40 42 192 21 1 : tunables 0 0 0 : slabdata 2 2 0\n\
        task_struct 4 4 4096 8 8 : tunables 0 0 0 : slabdata 1 1 0\n";

    #[test]
    fn what_grew_is_told_for_each_container_the_most_first() {
        let before = Memory::parse("MemFree: 500 kB\nAnonPages: 100 kB\n", SLABS, 4);
        let slabs = SLABS.replace("slabdata 2 2", "slabdata 12 12");
        let after = Memory::parse("MemFree: 400 kB\nAnonPages: 105 kB\n", &slabs, 4);
        let grown = after.grown_since(&before, 10);
        assert_eq!(grown[0], Grown { what: "slab dentry".into(), kib_each: 4.0 });
        assert_eq!(grown[1], Grown { what: "AnonPages".into(), kib_each: 0.5 });
        assert_eq!(grown.len(), 2);
        assert!((each(after.free_kib, before.free_kib, 10) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn this_machine_tells_its_memory() {
        let now = Memory::now();
        assert!(now.available_kib > 0 && now.free_kib > 0);
        assert!(now.kinds["PageTables"] > 0, "{now:?}");
    }
}
