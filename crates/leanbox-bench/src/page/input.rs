//! Benchmark files: read with a bound, told apart, checked; each that is none is one line that
//! names it, says what is wrong, and where.

use super::benchmarks::{Benchmark, Head};
use super::text::plain;
use leanbox::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A report of a million rows would be shorter.
const BYTES_MAX: u64 = 64 << 20;
const KNOWN: &str = "start, sweep, growth, pause, compare, cluster";
const REMEDY: &str = "give files that leanbox bench … --json wrote";

/// One file of the page.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file's name, without its folder.
    pub(crate) name: String,
    pub(crate) machine: Map<String, Value>,
    pub(crate) benchmark: Benchmark,
}

impl Source {
    /// Reads one file.
    ///
    /// # Errors
    /// It cannot be read, or is no report of a benchmark: one line that begins with its path.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = shown(&path.to_string_lossy());
        let io = |error: std::io::Error| Error::io(&shown, &error);
        let mut bytes = Vec::new();
        File::open(path).map_err(io)?.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > BYTES_MAX {
            let text = format!("{shown}: larger than {} MiB", BYTES_MAX >> 20);
            return Err(Error::invalid(text).remedy(REMEDY));
        }
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Self::parse(&name, &bytes).map_err(|error| error.during(&shown))
    }

    /// The same of its bytes.
    pub(crate) fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        if bytes.trim_ascii().is_empty() {
            return Err(Error::invalid("the file is empty").remedy(REMEDY));
        }
        // All of it first, so that what is cut off is called that and not a missing field.
        serde_json::from_slice::<serde::de::IgnoredAny>(bytes)
            .map_err(|error| Error::invalid(format!("not JSON: {error}")).remedy(REMEDY))?;
        if !bytes.trim_ascii().starts_with(b"{") {
            return Err(not_ours("not one JSON object"));
        }
        let head: Head = typed(bytes)?;
        let benchmark = match head.benchmark.as_deref() {
            Some(known) => benchmark(known, bytes)?,
            // An older version had only this one, which did not say so.
            None if is_old_start(bytes)? => Benchmark::Start(typed(bytes)?),
            None => return Err(not_ours("no field \"benchmark\"")),
        };
        if benchmark.is_empty() {
            return Err(
                Error::invalid("no rows").remedy("the benchmark was ended before its first")
            );
        }
        let machine = head.machine.unwrap_or_default();
        Ok(Self { name: name.to_string(), machine, benchmark })
    }
}

fn benchmark(name: &str, bytes: &[u8]) -> Result<Benchmark> {
    Ok(match name {
        "start" => Benchmark::Start(typed(bytes)?),
        "sweep" => Benchmark::Sweep(typed(bytes)?),
        "growth" => Benchmark::Growth(typed(bytes)?),
        "pause" => Benchmark::Pause(typed(bytes)?),
        "compare" => Benchmark::Compare(typed(bytes)?),
        "cluster" => Benchmark::Cluster(typed(bytes)?),
        other => {
            let text = format!("unknown benchmark {:?}", shown(other));
            return Err(Error::invalid(text).remedy(format!("known are {KNOWN}")));
        }
    })
}

fn is_old_start(bytes: &[u8]) -> Result<bool> {
    let object: Map<String, Value> = typed(bytes)?;
    Ok(["mode", "policy", "p50_us", "sustained_per_second"]
        .iter()
        .all(|key| object.contains_key(*key)))
}

fn not_ours(why: &str) -> Error {
    Error::invalid(format!("not a report of leanbox bench ({why})")).remedy(REMEDY)
}

/// A mistake says where: `rows[2].leanbox.rate: invalid type: …`.
fn typed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let at = if path == "." { String::new() } else { format!("{}: ", shown(&path)) };
        Error::invalid(format!("{at}{}", shown(&error.inner().to_string())))
    })
}

/// Text of others in a line of ours: plain and short.
fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    let mut chars = text.chars();
    let mut out: String = chars.by_ref().take(CHARS_MAX).collect();
    if chars.next().is_some() {
        out.push('…');
    }
    plain(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(text: &str) -> String {
        Source::parse("x.json", text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_report_is_one_line_that_says_why() {
        let deep = ["[", "]"].map(|text| text.repeat(100_000)).concat();
        let deep = format!("{{\"benchmark\": \"start\", \"machine\": {{\"a\": {deep}}}}}");
        let cases = [
            ("", "the file is empty"),
            (" \n", "the file is empty"),
            ("leanbox", "not JSON: expected value at line 1 column 1"),
            ("{\"benchmark\": \"sweep\"", "not JSON: EOF"),
            (&deep, "recursion limit exceeded"),
            ("[1]", "not one JSON object"),
            ("{}", "no field \"benchmark\""),
            ("{\"benchmark\": 1}", "benchmark: invalid type: integer `1`, expected a string"),
            (
                "{\"benchmark\": \"fly\\u0007\"}",
                "unknown benchmark \"fly\u{fffd}\"; known are start,",
            ),
            ("{\"benchmark\": \"start\"}", "missing field `mode`"),
            ("{\"benchmark\": \"sweep\"}", "missing field `rows`"),
            ("{\"benchmark\": \"sweep\", \"rows\": []}", "rows: no rows"),
            (
                "{\"benchmark\": \"growth\", \"rows\": [], \"starts\": []}",
                "no rows; the benchmark was ended",
            ),
            ("{\"benchmark\": \"compare\", \"levels\": []}", "no rows; the benchmark was ended"),
            ("{\"benchmark\": \"pause\", \"rows\": [{}]}", "rows[0]: missing field `processes`"),
            ("{\"benchmark\": \"sweep\", \"machine\": 3}", "machine: invalid type"),
        ];
        for (text, words) in cases {
            let line = mistake(text);
            assert!(line.contains(words), "{words:?} is not in {line:?}");
            assert_eq!(line.lines().count(), 1, "{line:?}");
        }
    }

    #[test]
    fn a_mistake_names_the_place() {
        let row = |value: &str| {
            format!(
                "{{\"benchmark\": \"sweep\", \"rows\": [{{\"processes\": 1, \"leanbox\": {{\"rate\": {value}}}}}]}}"
            )
        };
        assert!(mistake(&row("\"fast\"")).starts_with("rows[0].leanbox.rate: invalid type"));
        assert!(mistake(&row("-1")).contains("rate: not a number from 0"));
        assert!(mistake(&row("1e300")).contains("rate: not a number from 0"));
    }

    #[test]
    fn a_start_report_without_a_name_is_one_of_an_older_version() {
        let text = r#"{"mode": "noop", "policy": "once", "p50_us": 1, "sustained_per_second": 2}"#;
        let source = Source::parse("x.json", text.as_bytes()).unwrap();
        assert!(matches!(source.benchmark, Benchmark::Start(_)));
    }
}
