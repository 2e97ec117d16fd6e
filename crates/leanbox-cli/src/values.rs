//! Values of options: text in, something that makes sense out, else a line that says what would.

use leanbox::{Capability, Error, Result};
use std::time::Duration;

/// The longest time limit: ten years.
const TIME_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);
/// HOST_NAME_MAX of Linux (uname(2)).
const HOSTNAME_MAX_BYTES: usize = 64;

/// What one `--cap-add` names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capabilities(pub(crate) &'static [Capability]);

/// `ALL` or one name.
pub(crate) fn capabilities(text: &str) -> Result<Capabilities> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(Capabilities(Capability::ALL));
    }
    let named: Capability = text.parse()?;
    let one = Capability::ALL.iter().position(|known| *known == named);
    Ok(Capabilities(one.map_or(&[], |at| &Capability::ALL[at..=at])))
}

/// `10`, `1.5s`, `500ms`, `2m`, `1h`: a number of seconds unless a unit says otherwise.
pub(crate) fn time(text: &str) -> Result<Duration> {
    let number_len = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_len);
    let seconds = match unit {
        "ms" => Some(0.001),
        "" | "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    let time = number.parse::<f64>().ok().zip(seconds).map(|(number, unit)| number * unit);
    time.and_then(|time| Duration::try_from_secs_f64(time).ok())
        .filter(|time| !time.is_zero() && *time <= TIME_MAX)
        .ok_or_else(|| {
            Error::invalid(format!("{text:?} is not a time above 0"))
                .remedy("write a number with ms, s, m or h after it, as in 500ms")
        })
}

/// `KEY=VALUE`, or `KEY` for this process's own value (nothing where it has none).
pub(crate) fn variable(text: &str) -> Result<(String, Option<String>)> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_string())),
        None => (text, std::env::var(text).ok()),
    };
    if key.is_empty() {
        return Err(Error::invalid(format!("{text:?} is not a variable"))
            .remedy("write KEY=VALUE, or KEY to take its value from here"));
    }
    Ok((key.to_string(), value))
}

/// `TERM`, `sigint`, `9`: a signal by its name or number (signal(7)).
pub(crate) fn signal(text: &str) -> Result<i32> {
    const NAMES: [(&str, i32); 19] = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ILL", 4),
        ("TRAP", 5),
        ("ABRT", 6),
        ("BUS", 7),
        ("FPE", 8),
        ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11),
        ("USR2", 12),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
        ("CHLD", 17),
        ("CONT", 18),
        ("STOP", 19),
        ("WINCH", 28),
    ];
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let number = || text.parse().ok().filter(|number| (1..=31).contains(number));
    named.or_else(number).ok_or_else(|| {
        Error::invalid(format!("{text:?} is not a signal"))
            .remedy("write a name as in TERM, or a number up to 31")
    })
}

/// A path from the top of the root.
pub(crate) fn absolute(text: &str) -> Result<String> {
    if text.starts_with('/') {
        return Ok(text.to_string());
    }
    Err(Error::invalid(format!("{text:?} is not an absolute path")).remedy("begin it with /"))
}

/// A name that sethostname(2) takes.
pub(crate) fn hostname(text: &str) -> Result<String> {
    let fits = (1..=HOSTNAME_MAX_BYTES).contains(&text.len());
    if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_string());
    }
    Err(Error::invalid(format!("{text:?} is not a host name"))
        .remedy(format!("1 to {HOSTNAME_MAX_BYTES} letters, digits, dots and dashes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_are_seconds_without() {
        let cases = [("10", 10_000), ("1.5s", 1500), ("500ms", 500), ("2m", 120_000)];
        for (text, milliseconds) in cases {
            assert_eq!(time(text).unwrap(), Duration::from_millis(milliseconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_above_zero_is_refused() {
        for text in ["", "0", "-1", "s", "1x", "nan", "inf", "1e3", "99999999999999999999"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_variable_has_a_name() {
        assert_eq!(variable("A=b=c").unwrap(), ("A".into(), Some("b=c".into())));
        assert_eq!(variable("A=").unwrap(), ("A".into(), Some(String::new())));
        assert!(variable("=b").is_err());
        assert!(variable("").is_err());
    }

    #[test]
    fn all_means_every_capability() {
        assert_eq!(capabilities("all").unwrap().0.len(), 41);
        assert_eq!(capabilities("cap_net_raw").unwrap().0, [Capability::NetRaw]);
        assert!(capabilities("FLY").is_err());
    }

    #[test]
    fn host_names_are_what_the_kernel_takes() {
        assert!(hostname("web-1").is_ok());
        for text in ["", "a b", &"x".repeat(65)] {
            assert!(hostname(text).is_err(), "{text}");
        }
    }

    #[test]
    fn signals_have_names_and_numbers() {
        let signals = ["TERM", "sigint", "9", "SIGUSR1"].map(|text| signal(text).unwrap());
        assert_eq!(signals, [15, 2, 9, 10]);
        for text in ["", "0", "99", "NOPE"] {
            assert!(signal(text).is_err(), "{text}");
        }
    }
}
