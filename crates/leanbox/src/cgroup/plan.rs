//! What to write into a group, as data.
//!
//! In: a hierarchy's version and roles, and the limits. Out: files and values in the order they
//! must be written. Never: writes.

use super::layout::{Roles, Version};
use crate::{IoLimit, Limits};

/// How much v1's limit of memory with swap is above that of memory. It is charged first, and what
/// it refuses is counted nowhere (6.18: neither `failcnt` rises); so the other must be the one
/// that is hit, whatever the kernel charges at a time (256 KiB).
const SWAP_MARGIN_BYTES: u64 = 1 << 20;

/// Of v1: memory with swap, which may not be below that of memory.
pub(super) const MEMSW: &str = "memory.memsw.limit_in_bytes";

/// One file of a group and what goes into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) file: &'static str,
    pub(super) value: String,
    pub(super) without: Without,
}

/// What a kernel without the file means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Without {
    /// A failure.
    Fails,
    /// Nothing.
    Does,
    /// That this other file is written instead, with what follows the blank.
    Takes(&'static str),
    /// That the limit cannot be had: what it is, and what to do.
    Refused(&'static str, &'static str),
}

const SWAP: Without = Without::Refused(
    "swap limit: this kernel does not account for swap",
    "start it with swapaccount=1, or allow no swap",
);
const IO_WEIGHT: Without = Without::Refused(
    "I/O weight: this kernel has no file for it in its groups",
    "use the I/O scheduler bfq, or leave out the weight",
);

/// The settings that put `limits` on a new group.
pub(super) fn settings(version: Version, roles: Roles, limits: &Limits) -> Vec<Setting> {
    let set = |file, value| Setting { file, value, without: Without::Fails };
    let mut plan = Vec::new();
    if roles.memory {
        plan.extend(memory(version, limits));
    }
    if roles.pids {
        // one more than asked, for the launcher: it lives in the group and is not the container's
        plan.push(set("pids.max", (u64::from(limits.pids_max) + 1).to_string()));
    }
    if roles.cpu {
        plan.extend(cpu(version, limits));
    }
    if roles.cpuset {
        let lists = [("cpuset.cpus", &limits.cpuset_cpus), ("cpuset.mems", &limits.cpuset_mems)];
        let given = lists.into_iter().filter_map(|(file, list)| Some((file, list.as_ref()?)));
        plan.extend(given.map(|(file, list)| set(file, list.to_string())));
    }
    if roles.io {
        plan.extend(io_weight(version, limits));
        plan.extend(limits.io.iter().flat_map(|limit| io(version, limit)));
    }
    plan
}

/// Whether it only counts against others, and so has to hold for all of one owner's groups too.
pub(super) fn is_weight(setting: &Setting) -> bool {
    setting.file.ends_with(".weight") || setting.file == "cpu.shares"
}

fn memory(version: Version, limits: &Limits) -> [Setting; 2] {
    let (memory, swap) = (limits.memory_max_bytes, limits.swap_max_bytes);
    let without = if swap == 0 { Without::Does } else { SWAP };
    let (files, swap) = match version {
        Version::V1 if swap == u64::MAX => (V1_MEMORY, "-1".into()),
        Version::V1 => {
            let both = memory.saturating_add(swap).saturating_add(SWAP_MARGIN_BYTES);
            (V1_MEMORY, both.to_string())
        }
        Version::V2 if swap == u64::MAX => (V2_MEMORY, "max".into()),
        Version::V2 => (V2_MEMORY, swap.to_string()),
    };
    let memory = memory.to_string();
    [
        Setting { file: files[0], value: memory, without: Without::Fails },
        Setting { file: files[1], value: swap, without },
    ]
}

const V1_MEMORY: [&str; 2] = ["memory.limit_in_bytes", MEMSW];
const V2_MEMORY: [&str; 2] = ["memory.max", "memory.swap.max"];

fn cpu(version: Version, limits: &Limits) -> Vec<Setting> {
    let set = |file, value| Setting { file, value, without: Without::Fails };
    let mut plan = Vec::new();
    if let Some(cpus) = limits.cpus {
        let (quota_us, period_us) = quota(cpus);
        if version == Version::V1 {
            plan.push(set("cpu.cfs_period_us", period_us.to_string()));
            plan.push(set("cpu.cfs_quota_us", quota_us.to_string()));
        } else {
            plan.push(set("cpu.max", format!("{quota_us} {period_us}")));
        }
    }
    if let Some(weight) = limits.cpu_weight {
        plan.push(match version {
            Version::V1 => set("cpu.shares", shares(weight).to_string()),
            Version::V2 => set("cpu.weight", weight.to_string()),
        });
    }
    plan
}

/// The kernel's own conversion (`sched_weight_from_cgroup`, Linux 6.12; the same arithmetic
/// before): a group of v2 with this weight and one of v1 with these shares weigh the same.
fn shares(weight: u32) -> u64 {
    ((u64::from(weight) * 1024 + 50) / 100).max(2)
}

fn io_weight(version: Version, limits: &Limits) -> Option<Setting> {
    // bfq goes from 1 to 1,000, with 100 for those that were given none, as the others have it.
    let weight = limits.io_weight?;
    let for_bfq = weight.min(1000).to_string();
    Some(match version {
        Version::V1 => Setting { file: "blkio.bfq.weight", value: for_bfq, without: IO_WEIGHT },
        Version::V2 if weight <= 1000 => Setting {
            file: "io.weight",
            value: weight.to_string(),
            without: Without::Takes("io.bfq.weight"),
        },
        Version::V2 => Setting { file: "io.weight", value: weight.to_string(), without: IO_WEIGHT },
    })
}

fn io(version: Version, limit: &IoLimit) -> Vec<Setting> {
    let device = limit.device;
    let all = [
        ("blkio.throttle.read_bps_device", "rbps", limit.read_bps),
        ("blkio.throttle.write_bps_device", "wbps", limit.write_bps),
        ("blkio.throttle.read_iops_device", "riops", limit.read_iops),
        ("blkio.throttle.write_iops_device", "wiops", limit.write_iops),
    ];
    let given = all.into_iter().filter_map(|(file, key, value)| Some((file, key, value?)));
    match version {
        Version::V1 => given
            .map(|(file, _, value)| Setting {
                file,
                value: format!("{device} {value}"),
                without: Without::Refused(
                    "block I/O limit: this kernel has no blkio.throttle files",
                    "it needs CONFIG_BLK_DEV_THROTTLING",
                ),
            })
            .collect(),
        Version::V2 => {
            let keys: Vec<String> = given.map(|(_, key, value)| format!("{key}={value}")).collect();
            let value = format!("{device} {}", keys.join(" "));
            let without = Without::Refused(
                "block I/O limit: this kernel has no io.max files",
                "it needs CONFIG_BLK_DEV_THROTTLING",
            );
            let one = Setting { file: "io.max", value, without };
            if keys.is_empty() { Vec::new() } else { vec![one] }
        }
    }
}

/// What has to be written to a group with the limits `now` so that it has `wanted`, which leave
/// none of these out. On v1 memory with swap may never be below memory, nor memory above it: it
/// goes first where it grows.
pub(super) fn changes(
    version: Version,
    roles: Roles,
    now: &Limits,
    wanted: &Limits,
) -> Vec<Setting> {
    let has = settings(version, roles, now);
    let mut plan = settings(version, roles, wanted);
    plan.retain(|setting| !has.contains(setting));
    let with_swap = |limits: &Limits| limits.memory_max_bytes.saturating_add(limits.swap_max_bytes);
    if with_swap(wanted) > with_swap(now) {
        plan.sort_by_key(|setting| setting.file != MEMSW);
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

    const ALL: Roles =
        Roles { memory: true, pids: true, cpu: true, cpu_time: true, cpuset: true, io: true };

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

    #[test]
    fn weights_are_converted_as_the_kernel_does() {
        assert_eq!([1, 50, 100, 10_000].map(shares), [10, 512, 1024, 102_400]);
        let limits = Limits { cpu_weight: Some(100), ..limits(None) };
        let only_cpu = Roles { cpu: true, ..Roles::default() };
        assert_eq!(lines(Version::V1, only_cpu, &limits), ["cpu.shares 1024"]);
        assert_eq!(lines(Version::V2, only_cpu, &limits), ["cpu.weight 100"]);
    }

    fn with_io() -> Limits {
        let one = IoLimit {
            read_bps: Some(1_000_000),
            write_iops: Some(5),
            ..IoLimit::new(crate::BlockDevice { major: 8, minor: 0 })
        };
        Limits { io: vec![one], io_weight: Some(200), ..Limits::default() }
    }

    #[test]
    fn one_spelling_of_block_io_becomes_both_interfaces() {
        let only_io = Roles { io: true, ..Roles::default() };
        let v1 = [
            "blkio.bfq.weight 200",
            "blkio.throttle.read_bps_device 8:0 1000000",
            "blkio.throttle.write_iops_device 8:0 5",
        ];
        assert_eq!(lines(Version::V1, only_io, &with_io()), v1);
        let v2 = ["io.weight 200", "io.max 8:0 rbps=1000000 wiops=5"];
        assert_eq!(lines(Version::V2, only_io, &with_io()), v2);
    }

    #[test]
    fn swap_is_beside_memory_in_one_and_on_top_of_it_in_the_other() {
        let only_memory = Roles { memory: true, ..Roles::default() };
        let swap = |bytes| Limits { swap_max_bytes: bytes, ..limits(None) };
        let v1 = |bytes| lines(Version::V1, only_memory, &swap(bytes)).remove(1);
        assert_eq!(v1(8 << 20), "memory.memsw.limit_in_bytes 17825792");
        assert_eq!(v1(u64::MAX), "memory.memsw.limit_in_bytes -1");
        let v2 = |bytes| lines(Version::V2, only_memory, &swap(bytes)).remove(1);
        assert_eq!(v2(8 << 20), "memory.swap.max 8388608");
        assert_eq!(v2(u64::MAX), "memory.swap.max max");
    }

    #[test]
    fn a_change_writes_what_is_new_and_on_v1_the_larger_first() {
        let memory = |bytes| Limits { memory_max_bytes: bytes, ..limits(Some(1.0)) };
        let files = |version, now: &Limits, wanted: &Limits| -> Vec<&str> {
            let name = |one: Setting| one.file;
            changes(version, ALL, now, wanted).into_iter().map(name).collect()
        };
        let (small, large) = (memory(8 << 20), memory(16 << 20));
        assert_eq!(files(Version::V1, &small, &large), [MEMSW, "memory.limit_in_bytes"]);
        assert_eq!(files(Version::V1, &large, &small), ["memory.limit_in_bytes", MEMSW]);
        assert_eq!(files(Version::V2, &small, &large), ["memory.max"]);
        let more = Limits { cpus: Some(2.0), pids_max: 20, ..small.clone() };
        assert_eq!(files(Version::V2, &small, &more), ["pids.max", "cpu.max"]);
        assert!(files(Version::V1, &small, &small).is_empty());
    }
}
