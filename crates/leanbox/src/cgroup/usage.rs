//! What a group has used, read through descriptors that stay open.
//!
//! In: the folders of a group. Out: [`Usage`]. Reading is one pread(2) a counter and allocates
//! nothing. Never: trusts a counter to start at 0, except the peak, which is reset instead.

use super::file;
use super::layout::{Hierarchy, Version};
use crate::{Error, Result, probe};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The longest of these files is v2's `cpu.stat`; what we look for in it stands first.
const TEXT_MOST: usize = 512;

/// A group's counters, or the difference of two readings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time of all processes, in user mode and in the kernel.
    pub(crate) cpu: Duration,
    /// The most memory at one time since the last reset of the peak; 0 on v2 before kernel 5.19.
    pub(crate) memory_peak_bytes: u64,
    /// Processes the kernel killed for want of memory, whoever's limit it was.
    pub(crate) oom_kills: u64,
    /// How often the group's *own* limit was in the way: v1 `memory.failcnt`, v2 `oom` of
    /// `memory.events.local`.
    pub(crate) own_limit_hits: u64,
}

impl Usage {
    /// Whether a kill was for the group's own limit: its kills rise too when a group above runs
    /// out, but then its own limit was not in the way.
    pub(crate) fn killed_by_own_limit(&self) -> bool {
        self.oom_kills > 0 && self.own_limit_hits > 0
    }

    /// What came since `baseline`; the peak is as it is.
    pub(crate) fn delta(&self, baseline: &Baseline) -> Self {
        let Baseline(before) = baseline;
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            memory_peak_bytes: self.memory_peak_bytes,
            oom_kills: self.oom_kills.saturating_sub(before.oom_kills),
            own_limit_hits: self.own_limit_hits.saturating_sub(before.own_limit_hits),
        }
    }
}

/// The counters as they stood at a start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Baseline(pub(super) Usage);

impl Baseline {
    /// The peak when it was taken.
    pub(crate) fn memory_peak_bytes(&self) -> u64 {
        self.0.memory_peak_bytes
    }
}

/// The counters of one group.
#[derive(Debug)]
pub(super) struct Counters {
    cpu: Option<Counter>,
    cpu_unit: Version,
    peak: Option<Counter>,
    oom_kills: Late,
    own_limit_hits: Late,
    own_limit_key: &'static str,
    processes: Late,
    /// A run was in the group: its counters of killings may not be 0 any more.
    served: AtomicBool,
}

impl Counters {
    /// Opens what the group's `places` have.
    pub(super) fn open(places: &[Hierarchy]) -> Result<Self> {
        let mut counters = Self {
            cpu: None,
            cpu_unit: Version::V1,
            peak: None,
            oom_kills: Late::default(),
            own_limit_hits: Late::default(),
            own_limit_key: "",
            processes: Late::default(),
            served: AtomicBool::new(false),
        };
        for place in places {
            counters.open_in(place)?;
        }
        Ok(counters)
    }

    fn open_in(&mut self, place: &Hierarchy) -> Result<()> {
        let Hierarchy { version, roles, .. } = *place;
        let v1 = version == Version::V1;
        if roles.cpu_time {
            let name = if v1 { "cpuacct.usage" } else { "cpu.stat" };
            self.cpu = Counter::open(place, name)?;
            self.cpu_unit = version;
        }
        if roles.pids {
            self.processes = Late::at(place, "pids.current");
        }
        if roles.memory && v1 {
            self.peak = Counter::open_writable(place, "memory.max_usage_in_bytes")?;
            self.oom_kills = Late::at(place, "memory.oom_control");
            self.own_limit_hits = Late::at(place, "memory.failcnt");
        } else if roles.memory {
            self.peak = match probe::is_off("memory_peak") {
                true => None,
                false if probe::is_off("peak_reset") => Counter::open(place, "memory.peak")?,
                false => Counter::open_writable(place, "memory.peak")?,
            };
            self.oom_kills = Late::at(place, "memory.events");
            self.own_limit_hits = Late::at(place, "memory.events.local");
            self.own_limit_key = "oom";
        }
        Ok(())
    }

    pub(super) fn usage(&self) -> Result<Usage> {
        Ok(Usage {
            cpu: self.cpu()?,
            memory_peak_bytes: value(&self.peak, "")?,
            oom_kills: self.oom_kills.value("oom_kill")?,
            own_limit_hits: self.own_limit_hits.value(self.own_limit_key)?,
        })
    }

    /// The counters as they stand, whatever the group has served for.
    pub(super) fn all(&self) -> Result<Usage> {
        self.has_served();
        self.usage()
    }

    /// What tells the CPU time since `baseline` to whoever has no group.
    pub(super) fn cpu_meter(&self, baseline: &Baseline) -> Result<CpuMeter> {
        let Some(cpu) = &self.cpu else {
            let text = "no mounted cgroup hierarchy counts CPU time";
            return Err(Error::new(crate::ErrorKind::Unsupported, text)
                .remedy("mount v1's cpuacct: mount -t cgroup -o cpuacct …"));
        };
        let fd = cpu.fd.try_clone().map_err(|error| Error::io("fcntl(F_DUPFD_CLOEXEC)", &error))?;
        let counter = Counter { fd, path: cpu.path.clone(), writable: false };
        Ok(CpuMeter { counter, unit: self.cpu_unit, before: baseline.0.cpu })
    }

    /// From now on all counters count.
    pub(super) fn has_served(&self) {
        self.served.store(true, Ordering::Relaxed);
    }

    /// As [`usage`](Self::usage), to be taken off a later one.
    pub(super) fn baseline(&self) -> Result<Baseline> {
        if self.served.load(Ordering::Relaxed) {
            return self.usage().map(Baseline);
        }
        Ok(Baseline(Usage { cpu: self.cpu()?, ..Usage::default() }))
    }

    /// What was used since `baseline` under a limit of `memory_max_bytes`, and the baseline of
    /// whoever runs next. The counters of killings are only read where a process was killed or the
    /// peak came near the limit: a kill for the group's own limit follows a charge of at most
    /// 32 KiB (the kernel kills for no larger allocation).
    pub(super) fn since(
        &self,
        baseline: &Baseline,
        memory_max_bytes: u64,
        was_killed: bool,
    ) -> Result<(Usage, Baseline)> {
        const NEAR_BYTES: u64 = 4 << 20;
        self.has_served();
        let peak = value(&self.peak, "")?;
        let near = self.peak.is_none() || peak + NEAR_BYTES >= memory_max_bytes;
        let now = if near || was_killed {
            self.usage()?
        } else {
            Usage { cpu: self.cpu()?, memory_peak_bytes: peak, ..baseline.0 }
        };
        Ok((now.delta(baseline), Baseline(now)))
    }

    fn cpu(&self) -> Result<Duration> {
        self.cpu.as_ref().map_or(Ok(Duration::ZERO), |counter| cpu_time(counter, self.cpu_unit))
    }

    pub(super) fn processes(&self) -> Result<u64> {
        self.processes.value("")
    }

    /// The most memory at one time since the last reset.
    pub(super) fn peak_bytes(&self) -> Result<u64> {
        value(&self.peak, "")
    }

    /// Starts a new peak: v1 by writing 0; v2 from 6.12 on by any write, for this descriptor
    /// alone. `false`: this kernel cannot.
    pub(super) fn reset_peak(&self) -> Result<bool> {
        let Some(peak) = self.peak.as_ref().filter(|peak| peak.writable) else { return Ok(false) };
        match file::write_raw(&peak.fd, "0") {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::BADF | Errno::ACCESS | Errno::OPNOTSUPP) => Ok(false),
            Err(errno) => Err(Error::syscall(format!("write({:?}, \"0\")", peak.path), errno)),
        }
    }
}

/// One group's CPU time since a baseline.
#[derive(Debug)]
pub(crate) struct CpuMeter {
    counter: Counter,
    unit: Version,
    before: Duration,
}

impl CpuMeter {
    pub(crate) fn used(&self) -> Result<Duration> {
        Ok(cpu_time(&self.counter, self.unit)?.saturating_sub(self.before))
    }
}

fn cpu_time(counter: &Counter, unit: Version) -> Result<Duration> {
    match unit {
        Version::V1 => counter.value("").map(Duration::from_nanos),
        Version::V2 => counter.value("usage_usec").map(Duration::from_micros),
    }
}

/// A counter that most runs do not need: opened, to stay so, when it is first read.
#[derive(Debug, Default)]
struct Late {
    place: Option<Box<(Hierarchy, &'static str)>>,
    counter: OnceLock<Option<Counter>>,
}

impl Late {
    fn at(place: &Hierarchy, name: &'static str) -> Self {
        Self { place: Some(Box::new((place.clone(), name))), counter: OnceLock::new() }
    }

    fn value(&self, key: &str) -> Result<u64> {
        let Some(place) = &self.place else { return Ok(0) };
        if self.counter.get().is_none() {
            let _ = self.counter.set(Counter::open(&place.0, place.1)?);
        }
        self.counter.get().map_or(Ok(0), |counter| value(counter, key))
    }
}

/// One file that stays open.
#[derive(Debug)]
struct Counter {
    fd: OwnedFd,
    path: PathBuf,
    writable: bool,
}

impl Counter {
    /// `None` if this kernel has no such file.
    fn open(place: &Hierarchy, name: &str) -> Result<Option<Self>> {
        let path = place.folder.join(name);
        let fd = file::open_if_there(&path, OFlags::RDONLY)?;
        Ok(fd.map(|fd| Self { fd, path, writable: false }))
    }

    /// For writing too, where that is allowed.
    fn open_writable(place: &Hierarchy, name: &str) -> Result<Option<Self>> {
        let path = place.folder.join(name);
        match file::open_if_there(&path, OFlags::RDWR) {
            Ok(fd) => Ok(fd.map(|fd| Self { fd, path, writable: true })),
            Err(_) => Self::open(place, name), // read-only before 6.12
        }
    }

    fn value(&self, key: &str) -> Result<u64> {
        let mut text = [0; TEXT_MOST];
        let len = rustix::io::retry_on_intr(|| rustix::io::pread(&self.fd, &mut text[..], 0))
            .map_err(|errno| Error::syscall(format!("pread({:?})", self.path), errno))?;
        number(&text[..len], key.as_bytes()).ok_or_else(|| {
            Error::new(crate::ErrorKind::System, format!("{:?} has no number {key:?}", self.path))
        })
    }
}

/// The counter's value; 0 for one this kernel does not have.
fn value(counter: &Option<Counter>, key: &str) -> Result<u64> {
    counter.as_ref().map_or(Ok(0), |counter| counter.value(key))
}

/// The number on the line that starts with `key`; without a key, the first line's.
fn number(text: &[u8], key: &[u8]) -> Option<u64> {
    text.split(|&byte| byte == b'\n').find_map(|line| {
        let rest = line.strip_prefix(key)?;
        let digits = if key.is_empty() { rest } else { rest.strip_prefix(b" ")? };
        std::str::from_utf8(digits).ok()?.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::super::layout::Roles;
    use super::*;
    use std::path::Path;

    fn fake_v2(name: &str, files: &[(&str, &str)]) -> Hierarchy {
        let folder = std::env::temp_dir().join(format!("leanbox-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (file, text) in files {
            std::fs::write(folder.join(file), text).unwrap();
        }
        let roles =
            Roles { memory: true, pids: true, cpu: true, cpu_time: true, ..Roles::default() };
        Hierarchy { version: Version::V2, roles, folder }
    }

    fn remove(folder: &Path) {
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_number_is_found_by_its_whole_key() {
        let events = b"low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 3\n";
        assert_eq!(number(events, b"oom"), Some(1));
        assert_eq!(number(events, b"oom_kill"), Some(2));
        assert_eq!(number(events, b"none"), None);
        assert_eq!(number(b"4096\n", b""), Some(4096));
        assert_eq!(number(b"", b""), None);
        assert_eq!(number(b"max\n", b""), None);
    }

    #[test]
    fn v2_files_are_read_by_their_keys_and_units() {
        let place = fake_v2(
            "v2-usage",
            &[
                ("cpu.stat", "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n"),
                ("memory.peak", "8192\n"),
                ("memory.events", "low 0\nmax 9\noom 2\noom_kill 1\n"),
                ("memory.events.local", "low 0\nmax 9\noom 2\noom_kill 1\n"),
                ("pids.current", "3\n"),
            ],
        );
        let counters = Counters::open(std::slice::from_ref(&place)).unwrap();
        let wanted = Usage {
            cpu: Duration::from_micros(1500),
            memory_peak_bytes: if probe::is_off("memory_peak") { 0 } else { 8192 },
            oom_kills: 1,
            own_limit_hits: 2,
        };
        assert_eq!(counters.usage().unwrap(), wanted);
        assert_eq!(counters.processes().unwrap(), 3);
        remove(&place.folder);
    }

    #[test]
    fn a_v2_kernel_without_memory_peak_reports_0_and_cannot_reset_it() {
        let place = fake_v2(
            "v2-old",
            &[
                ("cpu.stat", "usage_usec 1\n"),
                ("memory.events", "oom_kill 0\n"),
                ("memory.events.local", "oom 0\n"),
                ("pids.current", "0\n"),
            ],
        );
        let counters = Counters::open(std::slice::from_ref(&place)).unwrap();
        assert_eq!(counters.usage().unwrap().memory_peak_bytes, 0);
        assert!(!counters.reset_peak().unwrap());
        remove(&place.folder);
    }

    #[test]
    fn a_delta_leaves_out_what_was_before_and_keeps_the_peak() {
        let before = Usage {
            cpu: Duration::from_secs(1),
            oom_kills: 1,
            own_limit_hits: 5,
            ..Usage::default()
        };
        let after = Usage {
            cpu: Duration::from_secs(3),
            memory_peak_bytes: 9,
            oom_kills: 2,
            own_limit_hits: 5,
        };
        let delta = after.delta(&Baseline(before));
        assert_eq!(delta.cpu, Duration::from_secs(2));
        assert_eq!((delta.memory_peak_bytes, delta.oom_kills), (9, 1));
        assert!(!delta.killed_by_own_limit(), "the group above ran out, not this one");
    }
}
