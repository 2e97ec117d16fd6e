//! What one container may use at most.
//!
//! In: numbers, or text as Docker spells it (`512m`, `1.5`). Out: a [`Limits`] that is known to
//! make sense. Never: writes to a resource group; `cgroup` does.

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

/// What one container may use at most.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Memory with swap, in bytes; going past it kills the container.
    pub memory_max_bytes: u64,
    /// Processes and threads at one time.
    pub pids_max: u32,
    /// CPU time a second of wall time: `1.5` is one CPU and a half. `None`: no limit.
    pub cpus: Option<f64>,
    /// Size of `/tmp`, in bytes. What is in it counts as memory too.
    pub tmp_max_bytes: u64,
}

impl Default for Limits {
    /// 512 MiB of memory, 256 processes, no CPU limit, 64 MiB of `/tmp`.
    fn default() -> Self {
        Self { memory_max_bytes: 512 * MIB, pids_max: 256, cpus: None, tmp_max_bytes: 64 * MIB }
    }
}

impl Limits {
    /// Checks that a container can live within these limits.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) with the limit that makes no sense and
    /// what it must be.
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
        match self.cpus {
            Some(cpus) if !(CPUS_LEAST..=CPUS_MOST).contains(&cpus) => Err(Error::invalid(
                format!("cpu limit of {cpus}: must be from {CPUS_LEAST} to {CPUS_MOST}"),
            )),
            _ => Ok(()),
        }
    }
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

/// Reads a size as Docker spells it: `4096`, `512m`, `1.5G`, `64kb`; powers of 1024.
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) if it is not a size, or more than 2⁶³ bytes.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let number_len = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(number_len);
    let bytes = unit_bytes(unit).and_then(|scale| scaled(number, scale));
    bytes.ok_or_else(|| {
        Error::invalid(format!("{text:?} is not a size"))
            .remedy("write a number with b, k, m or g after it, as in 512m")
    })
}

/// Reads a number of CPUs as Docker spells it: `2`, `0.5`.
///
/// # Errors
/// [`InvalidInput`](crate::ErrorKind::InvalidInput) if it is not a number from 0.001 to 10,000.
pub fn parse_cpus(text: &str) -> Result<f64> {
    let cpus = text.trim().parse::<f64>().ok();
    cpus.filter(|cpus| (CPUS_LEAST..=CPUS_MOST).contains(cpus)).ok_or_else(|| {
        Error::invalid(format!("{text:?} is not a number of cpus"))
            .remedy(format!("write a number from {CPUS_LEAST} to {CPUS_MOST}, as in 1.5"))
    })
}

fn unit_bytes(unit: &str) -> Option<u64> {
    match unit {
        "" | "b" => Some(1),
        "k" | "kb" | "kib" => Some(KIB),
        "m" | "mb" | "mib" => Some(MIB),
        "g" | "gb" | "gib" => Some(1024 * MIB),
        "t" | "tb" | "tib" => Some(1024 * 1024 * MIB),
        _ => None,
    }
}

/// `number` times `scale`: whole numbers exactly, fractions rounded down.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    const MOST: u64 = 1 << 63;
    let bytes = match number.split_once('.') {
        None => number.parse::<u64>().ok()?.checked_mul(scale)?,
        Some((whole, fraction)) => {
            let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
            whole.checked_add(fraction_of(fraction, scale)?)?
        }
    };
    (bytes <= MOST).then_some(bytes)
}

/// `0.fraction` times `scale`. Nine digits tell apart more than a disk or a memory can.
fn fraction_of(fraction: &str, scale: u64) -> Option<u64> {
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| (1..=9).contains(digits))?;
    let parts = fraction.parse::<u64>().ok()?;
    u64::try_from(u128::from(parts) * u128::from(scale) / 10_u128.pow(digits)).ok()
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
        };
        least.validate().unwrap();
    }

    #[test]
    fn sizes_are_read_as_docker_spells_them() {
        let cases = [
            ("4096", 4096),
            ("1b", 1),
            ("64k", 64 << 10),
            ("512m", 512 << 20),
            ("512MB", 512 << 20),
            ("2G", 2 << 30),
            ("1.5g", 3 << 29),
            ("0.5k", 512),
            ("1t", 1 << 40),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_in_one_line() {
        let none =
            ["", "m", "-1", "1 2", "1x", "1.", ".5", "1.2.3", "+1", "1e3", "99999999999999t"];
        for text in none {
            let line = parse_bytes(text).unwrap_err().to_string();
            assert!(line.starts_with(&format!("{text:?} is not a size; ")), "{line}");
        }
    }

    #[test]
    fn cpus_are_read_as_numbers_in_range() {
        assert_eq!(parse_cpus("1.5").unwrap(), 1.5);
        assert_eq!(parse_cpus("2").unwrap(), 2.0);
        for text in ["", "0", "-1", "nan", "inf", "two", "10001"] {
            let line = parse_cpus(text).unwrap_err().to_string();
            assert!(line.starts_with(&format!("{text:?} is not a number of cpus; ")), "{line}");
        }
    }
}
