//! Numbers as text: thousands apart, as many decimals as asked for, a unit that fits.

/// What an axis or a bar counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Things; no unit.
    Count,
    /// Microseconds, shown in µs, ms or s.
    Micros,
    /// KiB of memory, shown in KiB, MiB or GiB.
    Kib,
    /// A share between 0 and 1, shown in percent.
    Share,
}

/// `12345.678` with one decimal is `12,345.7`.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::new();
    if value < 0.0 && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) {
        out.push('−');
    }
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// At least three digits that count, no zeros behind the point.
pub(crate) fn short(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.1 => 3,
        _ => 6,
    };
    let text = fixed(value, decimals);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

/// A value with the unit in which it is short.
pub(crate) fn with_unit(value: f64, unit: Unit) -> String {
    let (divisor, name) = match unit {
        _ if value == 0.0 => return "0".into(),
        Unit::Count => return short(value),
        Unit::Share => return format!("{} %", share(value)),
        Unit::Micros if value >= 1e6 => (1e6, "s"),
        Unit::Micros if value >= 1e3 => (1e3, "ms"),
        Unit::Micros => (1.0, "µs"),
        Unit::Kib if value >= 1_048_576.0 => (1_048_576.0, "GiB"),
        Unit::Kib if value >= 10_240.0 => (1024.0, "MiB"),
        Unit::Kib => (1.0, "KiB"),
    };
    format!("{}\u{a0}{name}", short(value / divisor))
}

/// `0.999` as `99.9`: a share is named exactly, not rounded up to all.
fn share(value: f64) -> String {
    let text = format!("{:.4}", value * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart_and_decimals_as_asked() {
        let cases = [
            (0.0, 1, "0.0"),
            (16.04, 1, "16.0"),
            (999.96, 1, "1,000.0"),
            (12345.678, 1, "12,345.7"),
            (1_000_000.0, 0, "1,000,000"),
            (-1234.5, 1, "−1,234.5"),
            (-0.01, 1, "0.0"),
        ];
        for (value, decimals, text) in cases {
            assert_eq!(fixed(value, decimals), text);
        }
    }

    #[test]
    fn short_numbers_have_no_zeros_behind_the_point() {
        let cases = [(0.0, "0"), (5.0, "5"), (2.5, "2.5"), (8.888, "8.89"), (1500.0, "1,500")];
        for (value, text) in cases {
            assert_eq!(short(value), text);
        }
        assert_eq!((short(0.125), short(0.00002)), ("0.125".into(), "0.00002".into()));
    }

    #[test]
    fn units_are_those_in_which_a_value_is_short() {
        let cases = [
            (16.04, Unit::Micros, "16\u{a0}µs"),
            (3670.0, Unit::Micros, "3.67\u{a0}ms"),
            (2.5e6, Unit::Micros, "2.5\u{a0}s"),
            (130.0, Unit::Kib, "130\u{a0}KiB"),
            (20480.0, Unit::Kib, "20\u{a0}MiB"),
            (5665.0, Unit::Count, "5,665"),
            (0.999, Unit::Share, "99.9 %"),
        ];
        for (value, unit, text) in cases {
            assert_eq!(with_unit(value, unit), text);
        }
    }
}
