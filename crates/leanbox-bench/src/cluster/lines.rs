//! The original's lines, read back.

/// What a line of a benchmark says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Line {
    /// So many in the last seconds.
    Part {
        /// Containers.
        starts: u64,
        /// How long.
        seconds: f64,
    },
    /// So many in all.
    Total {
        /// Containers.
        starts: u64,
        /// How long.
        seconds: f64,
    },
}

/// Reads a line; most lines of most programs are none.
pub(super) fn parse(line: &str) -> Option<Line> {
    let at = line.find("start ")?;
    let is_total = line[..at].trim_end().ends_with("total:");
    let (starts, rest) = line[at..].strip_prefix("start ")?.split_once(" lean containers in ")?;
    let (seconds, _) = rest.split_once(" second(s)")?;
    let (starts, seconds) = (starts.parse().ok()?, seconds.parse::<f64>().ok()?);
    let fits = seconds.is_finite() && seconds >= 0.0;
    fits.then_some(if is_total {
        Line::Total { starts, seconds }
    } else {
        Line::Part { starts, seconds }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_s_lines_are_understood() {
        let line = "start 832 lean containers in 1.000416 second(s), latency per container 1.2ms";
        assert_eq!(parse(line), Some(Line::Part { starts: 832, seconds: 1.000_416 }));
        let line = "@x          start 8 lean containers in 1.5 second(s)";
        assert_eq!(parse(line), Some(Line::Part { starts: 8, seconds: 1.5 }));
        let line = "total: start 8396 lean containers in 10.000178 second(s)";
        assert_eq!(parse(line), Some(Line::Total { starts: 8396, seconds: 10.000_178 }));
    }

    #[test]
    fn other_lines_are_not_numbers() {
        for line in [
            "",
            "start",
            "start x lean containers in 1 second(s)",
            "starting up",
            "start 1 lean containers in inf second(s)",
            "start 1 lean containers in -1 second(s)",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
