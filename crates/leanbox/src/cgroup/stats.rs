//! What a running container uses, as the host reads it from the container's group.
//!
//! In: the folders of a group, and what its counters said before. Out: [`Stats`], with `None` for
//! what this layout or kernel does not tell. Never: asks anything in the slot.

use super::file;
use super::layout::{Hierarchy, Version};
use super::usage::Usage;
use crate::Result;
use crate::stats::{
    CpuStats, IoStats, MemoryStats, Pressure, PressureShare, Stall, Stats, Throttling,
};
use std::time::Duration;

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

#[cfg(test)]
mod tests {
    use super::super::layout::Roles;
    use super::*;

    fn fake(version: Version, name: &str, files: &[(&str, &str)]) -> Hierarchy {
        let folder = std::env::temp_dir().join(format!("leanbox-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (file, text) in files {
            std::fs::write(folder.join(file), text).unwrap();
        }
        let roles =
            Roles { memory: true, pids: true, cpu: true, cpu_time: true, cpuset: true, io: true };
        Hierarchy { version, roles, folder }
    }

    const V2: [(&str, &str); 7] = [
        (
            "cpu.stat",
            "usage_usec 900\nuser_usec 600\nsystem_usec 300\nnr_periods 9\nnr_throttled 4\n\
             throttled_usec 70\n",
        ),
        ("memory.stat", "anon 100\nfile 50\nshmem 10\nslab_reclaimable 5\n"),
        ("memory.current", "180\n"),
        ("pids.current", "3\n"),
        (
            "io.stat",
            "8:0 rbytes=10 wbytes=20 rios=1 wios=2\n8:16 rbytes=5 wbytes=0 rios=1 wios=0\n",
        ),
        ("cpu.pressure", "some avg10=1.50 avg60=0.25 avg300=0.00 total=7\n"),
        (
            "memory.pressure",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n\
             full avg10=2.00 avg60=0.00 avg300=0.00 total=0\n",
        ),
    ];

    #[test]
    fn v2_tells_all_of_it_and_what_was_before_is_taken_off() {
        let place = fake(Version::V2, "stats-v2", &V2);
        let before = Wide {
            cpu: Some((300, 300)),
            throttling: Some(Throttling { periods: 8, ..Throttling::default() }),
            io: Some(IoStats { read_bytes: 5, ..IoStats::default() }),
        };
        let usage = Usage { cpu: Duration::from_micros(300), ..Usage::default() };
        let stats = read(std::slice::from_ref(&place), &usage, Some(&before)).unwrap();
        assert_eq!(stats.cpu.user, Some(Duration::from_micros(300)));
        assert_eq!(stats.cpu.system, Some(Duration::ZERO));
        let time = Duration::from_micros(70);
        assert_eq!(stats.cpu.throttling, Some(Throttling { periods: 1, throttled: 4, time }));
        let io = IoStats { read_bytes: 10, write_bytes: 20, reads: 2, writes: 2 };
        assert_eq!((stats.io, stats.pids), (Some(io), 3));
        assert_eq!((stats.memory.anon_bytes, stats.memory.file_bytes), (Some(100), Some(50)));
        let pressure = stats.pressure.unwrap();
        let cpu = pressure.cpu.unwrap();
        assert!((cpu.some.avg10 - 1.5).abs() < 1e-9 && cpu.full.is_none());
        assert!(pressure.memory.unwrap().full.is_some() && pressure.io.is_none());
        assert_eq!(unfreeable_bytes(&place).unwrap(), 135);
        std::fs::remove_dir_all(&place.folder).unwrap();
    }

    #[test]
    fn what_is_not_known_is_none() {
        let place = fake(Version::V2, "stats-unknown", &V2);
        let stats = read(std::slice::from_ref(&place), &Usage::default(), None).unwrap();
        assert_eq!((stats.cpu.user, stats.cpu.throttling, stats.io), (None, None, None));
        std::fs::remove_dir_all(&place.folder).unwrap();
        let files = [("pids.current", "1\n"), ("memory.stat", "cache 4\nrss 8\n")];
        let mut place = fake(Version::V1, "stats-v1", &files);
        place.roles = Roles { memory: true, pids: true, ..Roles::default() };
        let stats =
            read(std::slice::from_ref(&place), &Usage::default(), Some(&Wide::default())).unwrap();
        assert_eq!((stats.cpu.user, stats.io, stats.pressure), (None, None, None));
        assert_eq!((stats.memory.anon_bytes, stats.memory.file_bytes), (Some(8), Some(4)));
        std::fs::remove_dir_all(&place.folder).unwrap();
    }

    #[test]
    fn v1_block_io_is_summed_by_kind_over_devices() {
        let files = [
            ("blkio.throttle.io_service_bytes", "8:0 Read 4\n8:0 Write 2\n8:16 Read 6\nTotal 12\n"),
            ("blkio.throttle.io_serviced", "8:0 Read 1\n8:0 Write 1\n8:16 Read 2\nTotal 4\n"),
        ];
        let place = fake(Version::V1, "stats-blkio", &files);
        let io = IoStats { read_bytes: 10, write_bytes: 2, reads: 3, writes: 1 };
        assert_eq!(read_io(&place).unwrap(), Some(io));
        std::fs::remove_dir_all(&place.folder).unwrap();
    }
}
