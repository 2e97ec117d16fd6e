//! Sizes and numbers of CPUs as Docker spells them.

use super::{CPUS_LEAST, CPUS_MOST, KIB, MIB};
use crate::{Error, Result};

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
