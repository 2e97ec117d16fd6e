//! What a running container uses, as the host reads it from the container's group.
//!
//! In: the folders of a group, and what its counters said before. Out: [`Stats`], with `None` for
//! what this layout or kernel does not tell. Never: asks anything in the slot.

use super::file;
use super::layout::{Hierarchy, Version};
use super::usage::Usage;
use crate::Result;
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

/// Counters that a baseline of every start does not have.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wide {
    /// In user mode and in the kernel, by the kernel's ticks.
    cpu: Option<(u64, u64)>,
    throttling: Option<Throttling>,
    io: Option<IoStats>,
}

impl Wide {
    pub(super) fn read(places: &[Hierarchy]) -> Result<Self> {
        let mut wide = Self::default();
        for place in places {
            let Hierarchy { version, roles, .. } = place;
            let is_v2 = *version == Version::V2;
            if roles.cpu_time || (roles.cpu && !is_v2) {
                wide.read_cpu(place)?;
            }
            if roles.io {
                wide.io = read_io(place)?;
            }
        }
        Ok(wide)
    }

    fn read_cpu(&mut self, place: &Hierarchy) -> Result<()> {
        if place.version == Version::V2 {
            let text = file::read(&place.folder.join("cpu.stat"))?;
            self.cpu = number(&text, "user_usec").zip(number(&text, "system_usec"));
            self.throttling = throttling(&text, "throttled_usec", Duration::from_micros);
            return Ok(());
        }
        if place.roles.cpu_time {
            let user = one(place, "cpuacct.usage_user")?;
            self.cpu = user.zip(one(place, "cpuacct.usage_sys")?);
        }
        if place.roles.cpu {
            let text = file::read(&place.folder.join("cpu.stat"))?;
            self.throttling = throttling(&text, "throttled_time", Duration::from_nanos);
        }
        Ok(())
    }
}

/// What is used, and was since `before` (`None`: not known).
pub(super) fn read(places: &[Hierarchy], usage: &Usage, before: Option<&Wide>) -> Result<Stats> {
    let wide = Wide::read(places)?;
    let (user, system) = match (wide.cpu, before) {
        (Some(now), Some(before)) => share_out(usage.cpu, now, before.cpu.unwrap_or_default()),
        _ => (None, None),
    };
    let throttling = wide.throttling.zip(before).map(|(now, before)| {
        let before = before.throttling.unwrap_or_default();
        Throttling {
            periods: now.periods.saturating_sub(before.periods),
            throttled: now.throttled.saturating_sub(before.throttled),
            time: now.time.saturating_sub(before.time),
        }
    });
    let io = wide.io.zip(before).map(|(now, before)| {
        let before = before.io.unwrap_or_default();
        IoStats {
            read_bytes: now.read_bytes.saturating_sub(before.read_bytes),
            write_bytes: now.write_bytes.saturating_sub(before.write_bytes),
            reads: now.reads.saturating_sub(before.reads),
            writes: now.writes.saturating_sub(before.writes),
        }
    });
    let v2 = places.iter().find(|place| place.version == Version::V2);
    Ok(Stats {
        cpu: CpuStats { total: usage.cpu, user, system, throttling },
        memory: read_memory(places, usage)?,
        pids: read_pids(places)?,
        io,
        pressure: v2.and_then(read_pressure),
    })
}

/// v1 tells exactly how much there was, and by ticks in which mode: as v2 does, the ticks share it
/// out.
fn share_out(
    total: Duration,
    (user, system): (u64, u64),
    before: (u64, u64),
) -> (Option<Duration>, Option<Duration>) {
    let (user, system) = (user.saturating_sub(before.0), system.saturating_sub(before.1));
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let share = match user.saturating_add(system) {
        0 => 0.0,
        both => user as f64 / both as f64,
    };
    let user = total.mul_f64(share);
    (Some(user), Some(total.saturating_sub(user)))
}

fn read_memory(places: &[Hierarchy], usage: &Usage) -> Result<MemoryStats> {
    let mut memory = MemoryStats {
        current_bytes: 0,
        peak_bytes: usage.memory_peak_bytes,
        anon_bytes: None,
        file_bytes: None,
        oom_kills: usage.oom_kills,
    };
    let Some(place) = places.iter().find(|place| place.roles.memory) else { return Ok(memory) };
    let (current, anon, files) = match place.version {
        Version::V1 => ("memory.usage_in_bytes", "rss", "cache"),
        Version::V2 => ("memory.current", "anon", "file"),
    };
    let text = file::read(&place.folder.join("memory.stat"))?;
    memory.current_bytes = one(place, current)?.unwrap_or(0);
    memory.anon_bytes = number(&text, anon);
    memory.file_bytes = number(&text, files);
    Ok(memory)
}

/// What is charged to a group of v2 but is neither page cache nor the kernel's caches.
pub(super) fn unfreeable_bytes(place: &Hierarchy) -> Result<u64> {
    let text = file::read(&place.folder.join("memory.stat"))?;
    let of = |key| number(&text, key).unwrap_or(0);
    let freeable = of("file").saturating_sub(of("shmem")) + of("slab_reclaimable");
    Ok(one(place, "memory.current")?.unwrap_or(0).saturating_sub(freeable))
}

/// In shared namespaces there is no launcher in the group.
fn read_pids(places: &[Hierarchy]) -> Result<u64> {
    let place = places.iter().find(|place| place.roles.pids);
    place.map_or(Ok(0), |place| Ok(one(place, "pids.current")?.unwrap_or(0)))
}

fn read_io(place: &Hierarchy) -> Result<Option<IoStats>> {
    let read = |name: &str| file::read(&place.folder.join(name));
    if place.version == Version::V2 {
        let text = read("io.stat")?;
        let sum = |key: &str| {
            let words = text.split_whitespace().filter_map(|word| word.split_once('='));
            words
                .filter(|(name, _)| *name == key)
                .filter_map(|(_, value)| value.parse::<u64>().ok())
                .sum()
        };
        return Ok(Some(IoStats {
            read_bytes: sum("rbytes"),
            write_bytes: sum("wbytes"),
            reads: sum("rios"),
            writes: sum("wios"),
        }));
    }
    let (bytes, operations) =
        (read("blkio.throttle.io_service_bytes")?, read("blkio.throttle.io_serviced")?);
    // `8:0 Read 4096`
    let sum = |text: &str, kind: &str| {
        let lines = text.lines().filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            (words.next() == Some(kind)).then(|| words.next()?.parse::<u64>().ok())?
        });
        lines.sum()
    };
    Ok(Some(IoStats {
        read_bytes: sum(&bytes, "Read"),
        write_bytes: sum(&bytes, "Write"),
        reads: sum(&operations, "Read"),
        writes: sum(&operations, "Write"),
    }))
}

fn read_pressure(place: &Hierarchy) -> Option<Pressure> {
    let stall = |name: &str| {
        let text = std::fs::read_to_string(place.folder.join(name)).ok()?;
        let share = |kind: &str| {
            let line = text.lines().find(|line| line.split(' ').next() == Some(kind))?;
            let of = |key: &str| {
                line.split(' ')
                    .find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
            };
            Some(PressureShare { avg10: of("avg10")?, avg60: of("avg60")?, avg300: of("avg300")? })
        };
        Some(Stall { some: share("some")?, full: share("full") })
    };
    let pressure = Pressure {
        cpu: stall("cpu.pressure"),
        memory: stall("memory.pressure"),
        io: stall("io.pressure"),
    };
    let any = pressure.cpu.or(pressure.memory).or(pressure.io);
    any.map(|_| pressure)
}

fn throttling(text: &str, time_key: &str, unit: fn(u64) -> Duration) -> Option<Throttling> {
    Some(Throttling {
        periods: number(text, "nr_periods")?,
        throttled: number(text, "nr_throttled")?,
        time: unit(number(text, time_key)?),
    })
}

/// The number in a file that has but one; `None` if this kernel has no such file.
fn one(place: &Hierarchy, name: &str) -> Result<Option<u64>> {
    let path = place.folder.join(name);
    match file::read(&path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == crate::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number on the line that begins with `key`.
fn number(text: &str, key: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value)
}
