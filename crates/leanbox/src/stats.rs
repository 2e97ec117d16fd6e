//! What a running container uses, as data: `cgroup` reads it.

use std::time::Duration;

/// What a container uses and has used since its start, its launcher included (less than 1 MiB, and
/// well below 1 ms). `None`: this cgroup layout, kernel or template does not tell.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// CPU time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Processes and threads, without the launcher.
    pub pids: u64,
    /// Block I/O. v1: only where the template limits it.
    pub io: Option<IoStats>,
    /// How long its processes waited for resources (the kernel's `psi.rst`). v2 only.
    pub pressure: Option<Pressure>,
}

/// CPU time of all processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuStats {
    /// In user mode and in the kernel.
    pub total: Duration,
    /// In user mode. On v1 `None` in a slot whose group served another container before anybody
    /// asked for statistics.
    pub user: Option<Duration>,
    /// In the kernel; as `user`.
    pub system: Option<Duration>,
    /// By the CPU limit, where the template has a CPU limit or weight.
    pub throttling: Option<Throttling>,
}

/// What a CPU limit held up (the kernel's `sched-bwc.rst`, "Statistics").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Throttling {
    /// Periods in which something ran.
    pub periods: u64,
    /// Of these, the periods whose time was used up.
    pub throttled: u64,
    /// How long, summed up over CPUs.
    pub time: Duration,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStats {
    /// In use now, with page cache and the kernel's own.
    pub current_bytes: u64,
    /// The most in use at one time; 0 on v2 before Linux 5.19.
    pub peak_bytes: u64,
    /// Of its programs' own: heaps and stacks.
    pub anon_bytes: Option<u64>,
    /// Of files, with what is in `/tmp` and shared memory.
    pub file_bytes: Option<u64>,
    /// How many of its processes were killed for want of memory, its own limit's or a group's
    /// above.
    pub oom_kills: u64,
}

/// Block I/O of all devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoStats {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Read operations.
    pub reads: u64,
    /// Write operations.
    pub writes: u64,
}

/// Waiting for resources (the kernel's `psi.rst`).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Pressure {
    /// For a CPU.
    pub cpu: Option<Stall>,
    /// For memory.
    pub memory: Option<Stall>,
    /// For block I/O.
    pub io: Option<Stall>,
}

/// Of one resource.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Stall {
    /// Some process waited.
    pub some: PressureShare,
    /// All of them did.
    pub full: Option<PressureShare>,
}

/// Shares of wall time, in percent. They are the group's, and may show what was before the
/// container's start.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PressureShare {
    /// Of the last 10 seconds.
    pub avg10: f64,
    /// Of the last minute.
    pub avg60: f64,
    /// Of the last 5 minutes.
    pub avg300: f64,
}
