//! What to write into a new group, as data.
//!
//! In: a hierarchy's version and roles, and the limits. Out: files and values in the order they
//! must be written. Never: writes.

use super::layout::{Roles, Version};
use crate::Limits;

/// How much v1's limit of memory with swap is above that of memory. It is charged first, and what
/// it refuses is counted nowhere (6.18: neither `failcnt` rises); so the other must be the one
/// that is hit, whatever the kernel charges at a time (256 KiB).
const SWAP_MARGIN_BYTES: u64 = 1 << 20;

/// One file of a group and what goes into it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) file: &'static str,
    pub(super) value: String,
    /// Whether a kernel without this file will do.
    pub(super) optional: bool,
}

/// The settings that put `limits` on a new group.
pub(super) fn settings(version: Version, roles: Roles, limits: &Limits) -> Vec<Setting> {
    let set = |file, value| Setting { file, value, optional: false };
    let try_set = |file, value| Setting { file, value, optional: true };
    let bytes = limits.memory_max_bytes.to_string();
    // one more than asked, for the launcher: it lives in the group and is not the container's
    let pids = (u64::from(limits.pids_max) + 1).to_string();
    let mut plan = Vec::new();
    if roles.memory && version == Version::V1 {
        plan.push(set("memory.limit_in_bytes", bytes));
        // absent where swap is not accounted
        let with_swap = limits.memory_max_bytes.saturating_add(SWAP_MARGIN_BYTES);
        plan.push(try_set("memory.memsw.limit_in_bytes", with_swap.to_string()));
    } else if roles.memory {
        plan.push(set("memory.max", bytes));
        plan.push(try_set("memory.swap.max", "0".into()));
    }
    if roles.pids {
        plan.push(set("pids.max", pids));
    }
    if let (true, Some(cpus)) = (roles.cpu, limits.cpus) {
        let (quota_us, period_us) = quota(cpus);
        if version == Version::V1 {
            plan.push(set("cpu.cfs_period_us", period_us.to_string()));
            plan.push(set("cpu.cfs_quota_us", quota_us.to_string()));
        } else {
            plan.push(set("cpu.max", format!("{quota_us} {period_us}")));
        }
    }
    plan
}

/// CPU time and the period it is for, in µs. The kernel's usual period, 100 ms; 1 s, its
/// longest, where the time would fall below its least, 1 ms.
fn quota(cpus: f64) -> (u64, u64) {
    const QUOTA_LEAST_US: u64 = 1_000;
    const PERIOD_US: u64 = 100_000;
    const PERIOD_MOST_US: u64 = 1_000_000;
    #[expect(clippy::cast_possible_truncation, reason = "cpus is at most 10,000")]
    #[expect(clippy::cast_sign_loss, reason = "cpus is at least 0.001")]
    #[expect(clippy::cast_precision_loss, reason = "a period is a small number")]
    let of = |period: u64| (cpus * period as f64).round() as u64;
    match of(PERIOD_US) {
        quota if quota >= QUOTA_LEAST_US => (quota, PERIOD_US),
        _ => (of(PERIOD_MOST_US).max(QUOTA_LEAST_US), PERIOD_MOST_US),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Roles = Roles { memory: true, pids: true, cpu: true, cpu_time: true };

    fn lines(version: Version, roles: Roles, limits: &Limits) -> Vec<String> {
        let line = |one: Setting| format!("{} {}", one.file, one.value);
        settings(version, roles, limits).into_iter().map(line).collect()
    }

    fn limits(cpus: Option<f64>) -> Limits {
        Limits { memory_max_bytes: 8 << 20, pids_max: 10, cpus, ..Limits::default() }
    }

    #[test]
    fn v1_lets_memory_alone_be_hit_first_and_adds_one_pid_for_the_launcher() {
        let wanted = [
            "memory.limit_in_bytes 8388608",
            "memory.memsw.limit_in_bytes 9437184",
            "pids.max 11",
            "cpu.cfs_period_us 100000",
            "cpu.cfs_quota_us 150000",
        ];
        assert_eq!(lines(Version::V1, ALL, &limits(Some(1.5))), wanted);
    }

    #[test]
    fn v2_forbids_swap_so_that_memory_bounds_both() {
        let wanted =
            ["memory.max 8388608", "memory.swap.max 0", "pids.max 11", "cpu.max 50000 100000"];
        assert_eq!(lines(Version::V2, ALL, &limits(Some(0.5))), wanted);
    }

    #[test]
    fn without_a_cpu_limit_the_cpu_files_are_left_alone() {
        let only_cpu = Roles { cpu: true, ..Roles::default() };
        assert!(lines(Version::V1, only_cpu, &limits(None)).is_empty());
        assert!(lines(Version::V2, only_cpu, &limits(None)).is_empty());
    }

    #[test]
    fn the_least_cpu_limit_takes_the_longest_period() {
        assert_eq!(quota(0.001), (1_000, 1_000_000));
        assert_eq!(quota(0.009), (9_000, 1_000_000));
        assert_eq!(quota(0.01), (1_000, 100_000));
        assert_eq!(quota(10_000.0), (1_000_000_000, 100_000));
    }

    #[test]
    fn the_largest_number_of_processes_does_not_overflow() {
        let limits = Limits { pids_max: u32::MAX, ..Limits::default() };
        let only_pids = Roles { pids: true, ..Roles::default() };
        assert_eq!(lines(Version::V2, only_pids, &limits), ["pids.max 4294967296"]);
    }
}
