//! What every report records: the machine, the kernel, this build, and how quiet it was.
//!
//! In: `/proc`, `uname(2)`, a short run of the vfork floor. Out: a [`Machine`]. Never: a host
//! name, a user, a path.

use crate::Summary;
use crate::cpu::CpuTimes;
use crate::subject::pin;
use leanbox::Result;
use leanbox::floor::{Floor, FloorKind};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;
use std::fmt;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long the benchmark sleeps, before and after, to see what others use.
const LISTEN: Duration = Duration::from_millis(200);
/// Floors that show how fast the machine is just now.
const CALIBRATION: usize = 200;
/// More than this of all CPUs used by others, or taken away, is noise.
const OTHERS_PERCENT_MAX: f64 = 10.0;
/// A vfork floor that moved by more than this between before and after is noise.
const DRIFT_PERCENT_MAX: f64 = 25.0;

/// Where and with what a benchmark ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// The processors' name.
    pub cpu: String,
    /// CPUs that the benchmark might use unless it was bound to one.
    pub cpus: u64,
    /// CPUs that are online.
    pub cpus_online: u64,
    /// All memory.
    pub memory_kib: u64,
    /// `v1`, `v2`, or `hybrid` where both are mounted.
    pub cgroups: String,
    /// Whether a hypervisor says that it is there.
    pub virtual_machine: bool,
    /// leanbox's version.
    pub leanbox: String,
    /// `release` or `debug`, and for what processor.
    pub build: String,
    /// `static` or `dynamic`.
    pub linkage: String,
    /// When it began, UTC.
    pub date: String,
    /// How quiet it was.
    pub noise: Noise,
}

/// What else went on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Noise {
    /// CPU time used by others while the benchmark slept before it began, of all CPUs.
    pub others_percent_before: f64,
    /// The same after its end.
    pub others_percent_after: f64,
    /// CPU time that the host of this virtual machine gave to others meanwhile, of all CPUs.
    pub steal_percent: f64,
    /// Runnable processes in the last minute, before (`/proc/loadavg`).
    pub load_before: f64,
    /// The same after, the benchmark's own included.
    pub load_after: f64,
    /// The vfork floor before.
    pub vfork_before_us: f64,
    /// The vfork floor after.
    pub vfork_after_us: f64,
    /// One line where the figures are to be doubted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// A look at the machine before a measurement, to be ended after it.
#[derive(Debug)]
pub struct Watch {
    machine: Machine,
    begun: CpuTimes,
}

impl Watch {
    /// Looks, for about 0.2 s.
    ///
    /// # Errors
    /// The floor process cannot be started.
    pub fn begin() -> Result<Self> {
        Self::begin_on(None)
    }

    /// The same, and binds this thread, and what it starts, to one CPU.
    ///
    /// # Errors
    /// This process may not run on that CPU, or the floor process cannot be started.
    pub fn begin_on(cpu: Option<u32>) -> Result<Self> {
        let mut machine = Machine::here();
        pin(cpu)?;
        let noise = &mut machine.noise;
        (noise.others_percent_before, noise.vfork_before_us) = listen()?;
        noise.load_before = load();
        Ok(Self { machine, begun: CpuTimes::now() })
    }

    /// Looks again, for about 0.2 s.
    ///
    /// # Errors
    /// The floor process cannot be started.
    pub fn end(self) -> Result<Machine> {
        let Self { mut machine, begun } = self;
        let now = CpuTimes::now();
        let noise = &mut machine.noise;
        noise.steal_percent = percent_of_all(now, now.used_since(begun).1);
        (noise.others_percent_after, noise.vfork_after_us) = listen()?;
        noise.load_after = load();
        noise.warning = noise.judge();
        Ok(machine)
    }
}

impl Noise {
    fn judge(&self) -> Option<String> {
        let others = self.others_percent_before.max(self.others_percent_after);
        let drift = (self.vfork_after_us / self.vfork_before_us - 1.0) * 100.0;
        if others > OTHERS_PERCENT_MAX {
            Some(format!("noisy machine: {others:.0} % of the CPUs used by others"))
        } else if self.steal_percent > OTHERS_PERCENT_MAX {
            let steal = self.steal_percent;
            Some(format!("noisy machine: {steal:.0} % of the CPUs taken away by its host"))
        } else if drift.abs() > DRIFT_PERCENT_MAX {
            let (before, after) = (self.vfork_before_us, self.vfork_after_us);
            Some(format!(
                "noisy machine: the vfork floor took {before:.1} us before and {after:.1} us after"
            ))
        } else {
            None
        }
    }
}

/// What others use while this process sleeps, and the vfork floor's median.
fn listen() -> Result<(f64, f64)> {
    let before = CpuTimes::now();
    std::thread::sleep(LISTEN);
    let now = CpuTimes::now();
    let vfork = on_one_cpu()?.measure(FloorKind::Vfork, CALIBRATION, &[])?;
    Ok((percent_of_all(now, now.used_since(before).0), Summary::of(&vfork).p50_us))
}

/// The floors' process, bound to the last CPU there is for this thread: not bound it takes one
/// time where its children run on the same CPU and five times that where they do not.
pub(crate) fn on_one_cpu() -> Result<Floor> {
    let wrap = |errno| leanbox::Error::syscall("sched_setaffinity", errno);
    let all = sched_getaffinity(None).map_err(wrap)?;
    let mut last = CpuSet::new();
    (0..CpuSet::MAX_CPU).rfind(|cpu| all.is_set(*cpu)).into_iter().for_each(|cpu| last.set(cpu));
    sched_setaffinity(None, &last).map_err(wrap)?;
    let floor = Floor::start();
    sched_setaffinity(None, &all).map_err(wrap)?;
    floor
}

/// The launcher's memory stays open for all templates and floors of a process: whoever counts
/// descriptors opens it before.
pub(crate) fn open_launcher() -> Result<()> {
    Floor::start().map(drop)
}

fn percent_of_all(times: CpuTimes, cpus: f64) -> f64 {
    let percent = cpus * 100.0 / crate::statistics::number(times.cpus().max(1));
    (percent * 10.0).round() / 10.0
}

fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

impl Machine {
    /// What can be said without measuring.
    #[must_use]
    pub fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let (cpuinfo, meminfo) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        let is_static = cfg!(target_feature = "crt-static");
        let affinity = sched_getaffinity(None).map_or(0, |set| set.count());
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            cpu: field(&cpuinfo, "model name").unwrap_or(std::env::consts::ARCH).into(),
            cpus: affinity.into(),
            cpus_online: CpuTimes::now().cpus(),
            memory_kib: kib(&meminfo, "MemTotal"),
            cgroups: cgroups(&read("/proc/self/mountinfo")).into(),
            virtual_machine: field(&cpuinfo, "flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            leanbox: env!("CARGO_PKG_VERSION").into(),
            build: format!("{profile}, {}", std::env::consts::ARCH),
            linkage: if is_static { "static" } else { "dynamic" }.into(),
            date: date(SystemTime::now()),
            noise: Noise::default(),
        }
    }
}

/// The value of the first `name : value` of `/proc/cpuinfo`.
fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(key, _)| key.trim_end() == name).map(|(_, value)| value.trim())
}

/// One size of `/proc/meminfo`.
pub(crate) fn kib(meminfo: &str, name: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn cgroups(mountinfo: &str) -> &'static str {
    match (mountinfo.contains(" - cgroup "), mountinfo.contains(" - cgroup2 ")) {
        (true, true) => "hybrid",
        (true, false) => "v1",
        (false, true) => "v2",
        (false, false) => "none",
    }
}

/// ISO 8601 in UTC, to the second. Days to a date as in Hinnant's `civil_from_days`.
fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, cpu, cpus, cgroups, leanbox, build, linkage, .. } = self;
        write!(out, "Linux {kernel}, {cpus} CPUs ({cpu}), cgroup {cgroups}; ")?;
        write!(out, "leanbox {leanbox} ({build}, {linkage})")?;
        match &self.noise.warning {
            Some(warning) => write!(out, "\n{warning}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds| date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_735_689_599), "2024-12-31T23:59:59Z");
    }

    #[test]
    fn the_machine_is_known() {
        let machine = Machine::here();
        assert!(machine.kernel.starts_with(|first: char| first.is_ascii_digit()), "{machine:?}");
        assert!(machine.cpus >= 1 && machine.cpus_online >= machine.cpus, "{machine:?}");
        assert!(machine.memory_kib > 1024 && machine.cgroups != "none", "{machine:?}");
    }

    #[test]
    fn a_layout_is_hybrid_where_both_are_mounted() {
        assert_eq!(
            cgroups("1 2 0:3 / /a rw - cgroup c rw\n1 2 0:3 / /b rw - cgroup2 c rw"),
            "hybrid"
        );
        assert_eq!(cgroups("1 2 0:3 / /b rw - cgroup2 c rw"), "v2");
    }

    #[test]
    fn noise_is_told_in_one_line() {
        let quiet = Noise { vfork_before_us: 20.0, vfork_after_us: 22.0, ..Noise::default() };
        assert_eq!(quiet.judge(), None);
        let busy = Noise { others_percent_after: 31.0, ..quiet.clone() };
        assert_eq!(busy.judge().unwrap(), "noisy machine: 31 % of the CPUs used by others");
        let robbed = Noise { steal_percent: 12.0, ..quiet.clone() };
        assert!(robbed.judge().unwrap().contains("12 % of the CPUs taken away"));
        let drifting = Noise { vfork_after_us: 30.0, ..quiet };
        assert!(drifting.judge().unwrap().contains("20.0 us before and 30.0 us after"));
    }
}
