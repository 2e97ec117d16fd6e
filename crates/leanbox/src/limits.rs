//! What one container may use at most.
//!
//! In: numbers, or text as Docker spells it (`512m`, `1.5`). Out: a [`Limits`] that is known to
//! make sense. Never: writes to a resource group; `cgroup` does.

mod change;
mod device;
mod id_list;
mod rlimit;
mod size;

pub use change::LimitsChange;
pub use device::{BlockDevice, IoLimit};
pub use id_list::IdList;
pub use rlimit::Rlimit;
pub(crate) use rlimit::name_of as name_of_rlimit;
pub use size::{parse_bytes, parse_cpus};

use crate::{Error, Result};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What a small program starts in: measured on 6.18, an idle slot has up to 0.4 MiB charged to it,
/// `sh` takes 0.3 more, a static busybox read for the first time 2.4. Below this a start fails
/// now and then instead of always. (Python needs more.)
const MEMORY_LEAST_BYTES: u64 = 4 * MIB;
/// One page: a smaller tmpfs holds no file with anything in it.
const TMP_LEAST_BYTES: u64 = 4 * KIB;
/// The kernel gives a group at least 1 ms of CPU a period, and a period is at most 1 s.
const CPUS_LEAST: f64 = 0.001;
/// Beyond every machine; keeps the quota far from the kernel's own bound.
const CPUS_MOST: f64 = 10_000.0;
/// The kernel's PID_MAX_LIMIT, on 64-bit machines; the launcher is one.
const PIDS_MOST: u32 = 4_194_304;

/// What cgroup v2 takes (`cgroup-v2.rst`, "cpu.weight", "io.weight").
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=10_000;
/// Capture per stream unless told otherwise.
const OUTPUT_MAX_BYTES: u64 = MIB;

/// What one container may use at most. What is `None` or empty is not limited, and costs nothing:
/// a slot joins only hierarchies that carry a limit. What is asked for and cannot be had (a
/// controller that no mounted hierarchy has, a CPU that is not there) is an error of
/// [`build`](crate::TemplateBuilder::build).
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Memory, in bytes; going past it kills the container.
    pub memory_max_bytes: u64,
    /// Swap beside the memory, in bytes; `u64::MAX`: as much as there is.
    pub swap_max_bytes: u64,
    /// Processes and threads at one time.
    pub pids_max: u32,
    /// CPU time a second of wall time: `1.5` is one CPU and a half. `None`: no limit.
    pub cpus: Option<f64>,
    /// Share of the CPUs while others want them too, from 1 to 10,000; all others have 100
    /// (v2's `cpu.weight`; v1's `cpu.shares` as the kernel converts it, 1,024 for 100). All
    /// containers of a template but the first together weigh as much as one.
    pub cpu_weight: Option<u32>,
    /// CPUs that it may run on.
    pub cpuset_cpus: Option<IdList>,
    /// NUMA nodes that its memory comes from.
    pub cpuset_mems: Option<IdList>,
    /// Block I/O, for each device.
    pub io: Vec<IoLimit>,
    /// Share of the disks, from 1 to 10,000; all others have 100. Needs the I/O scheduler bfq (up
    /// to 1,000 there) or, on v2, `io.cost.qos`.
    pub io_weight: Option<u32>,
    /// Limits of each process; instead of ours, where we set one (no core dumps, 4,096
    /// descriptors, 8 MiB of stack, 64 KiB of locked memory). Children of
    /// [`Template::fork`](crate::Template::fork) keep the caller's.
    pub rlimits: Vec<Rlimit>,
    /// Size of `/tmp`, in bytes. What is in it counts as memory too.
    pub tmp_max_bytes: u64,
    /// Captured output that is kept of each stream, in bytes, unless
    /// [`Stdio::Captured`](crate::Stdio::Captured) says otherwise.
    pub output_max_bytes: u64,
}

impl Default for Limits {
    /// 512 MiB of memory, no swap, 256 processes, 64 MiB of `/tmp`, 1 MiB of captured output a
    /// stream, and no other limit.
    fn default() -> Self {
        Self {
            memory_max_bytes: 512 * MIB,
            swap_max_bytes: 0,
            pids_max: 256,
            cpus: None,
            cpu_weight: None,
            cpuset_cpus: None,
            cpuset_mems: None,
            io: Vec::new(),
            io_weight: None,
            rlimits: Vec::new(),
            tmp_max_bytes: 64 * MIB,
            output_max_bytes: OUTPUT_MAX_BYTES,
        }
    }
}

impl Limits {
    /// Checks that a container can live within these limits.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) with the limit that makes no sense and
    /// what it must be; [`NotFound`](crate::ErrorKind::NotFound) for a device that is not there.
    pub fn validate(&self) -> Result<()> {
        at_least(
            "memory limit",
            self.memory_max_bytes,
            MEMORY_LEAST_BYTES,
            "to start a container",
        )?;
        at_least("size of /tmp", self.tmp_max_bytes, TMP_LEAST_BYTES, "to hold a file")?;
        if self.pids_max == 0 {
            return Err(Error::invalid(
                "process limit of 0: at least 1 process is needed to start a container",
            ));
        }
        if self.pids_max >= PIDS_MOST {
            return Err(Error::invalid(format!(
                "process limit of {}: a Linux machine has {PIDS_MOST} at most",
                self.pids_max
            )));
        }
        if let Some(cpus) = self.cpus.filter(|cpus| !(CPUS_LEAST..=CPUS_MOST).contains(cpus)) {
            let text = format!("cpu limit of {cpus}: must be from {CPUS_LEAST} to {CPUS_MOST}");
            return Err(Error::invalid(text));
        }
        weight("cpu weight", self.cpu_weight)?;
        weight("I/O weight", self.io_weight)?;
        self.io.iter().try_for_each(IoLimit::validate)?;
        once("block I/O limit for", self.io.iter().map(|limit| limit.device))?;
        once("ulimit of resource", self.rlimits.iter().map(Rlimit::resource))
    }
}

fn weight(what: &str, weight: Option<u32>) -> Result<()> {
    let (least, most) = (WEIGHTS.start(), WEIGHTS.end());
    match weight.filter(|weight| !WEIGHTS.contains(weight)) {
        None => Ok(()),
        Some(weight) => {
            Err(Error::invalid(format!("{what} of {weight}: must be from {least} to {most}")))
        }
    }
}

/// Of two of the same one would be ignored.
fn once<T: Ord + Copy + std::fmt::Display>(what: &str, all: impl Iterator<Item = T>) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    for one in all {
        if !seen.insert(one) {
            return Err(Error::invalid(format!("{what} {one}: given twice")));
        }
    }
    Ok(())
}

fn at_least(what: &str, bytes: u64, least: u64, purpose: &str) -> Result<()> {
    if bytes >= least {
        return Ok(());
    }
    let unit = if bytes == 1 { "byte" } else { "bytes" };
    Err(Error::invalid(format!(
        "{what} of {bytes} {unit}: at least {least} bytes are needed {purpose}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_limits_are_valid() {
        Limits::default().validate().unwrap();
    }

    #[test]
    fn each_senseless_limit_is_refused_with_what_it_must_be() {
        let cases = [
            (
                Limits { memory_max_bytes: 1, ..Limits::default() },
                "memory limit of 1 byte: at least 4194304 bytes are needed to start a container",
            ),
            (
                Limits { tmp_max_bytes: 0, ..Limits::default() },
                "size of /tmp of 0 bytes: at least 4096 bytes are needed to hold a file",
            ),
            (
                Limits { pids_max: 0, ..Limits::default() },
                "process limit of 0: at least 1 process is needed to start a container",
            ),
            (
                Limits { pids_max: PIDS_MOST, ..Limits::default() },
                "process limit of 4194304: a Linux machine has 4194304 at most",
            ),
            (
                Limits { cpus: Some(0.0), ..Limits::default() },
                "cpu limit of 0: must be from 0.001 to 10000",
            ),
            (
                Limits { cpus: Some(f64::NAN), ..Limits::default() },
                "cpu limit of NaN: must be from 0.001 to 10000",
            ),
            (
                Limits { cpus: Some(f64::INFINITY), ..Limits::default() },
                "cpu limit of inf: must be from 0.001 to 10000",
            ),
            (
                Limits { cpu_weight: Some(0), ..Limits::default() },
                "cpu weight of 0: must be from 1 to 10000",
            ),
            (
                Limits { io_weight: Some(10_001), ..Limits::default() },
                "I/O weight of 10001: must be from 1 to 10000",
            ),
            (
                Limits {
                    rlimits: vec!["core=0".parse().unwrap(), "core=1".parse().unwrap()],
                    ..Limits::default()
                },
                "ulimit of resource 4: given twice",
            ),
        ];
        for (limits, line) in cases {
            assert_eq!(limits.validate().unwrap_err().to_string(), line);
        }
    }

    #[test]
    fn the_least_limits_are_valid() {
        let least = Limits {
            memory_max_bytes: 4 << 20,
            pids_max: 1,
            cpus: Some(0.001),
            tmp_max_bytes: 4096,
            ..Limits::default()
        };
        least.validate().unwrap();
    }
}
