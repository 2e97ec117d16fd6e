//! How a run ended, told to whoever started it: the exit code, a line where the program could
//! not say it itself, and JSON if asked for.

use crate::run::{Args, explain};
use crate::{say, tell};
use leanbox::{Cause, End, Error, ErrorKind, Outcome, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// leanbox itself could not do it, as with Docker.
pub(crate) const FAILED: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
/// Stopped by `--timeout` or `--cpu-time`, as with timeout(1).
const TIMED_OUT: u8 = 124;

/// A run that did not come to its program's end.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) code: u8,
}

impl Failure {
    /// The program could not be started: a shell's 126 and 127.
    pub(crate) fn of_program(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::NotFound => NOT_FOUND,
            ErrorKind::NotExecutable => NOT_EXECUTABLE,
            _ => FAILED,
        };
        Self { error, code }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, code: FAILED }
    }
}

/// Where the JSON goes: opened before the start, so that nothing runs in vain.
#[derive(Debug)]
pub(crate) enum Json {
    None,
    StandardError,
    StandardOutput,
    File(File, PathBuf),
}

impl Json {
    /// `None`: not asked for; an empty path: standard error; `-`: standard output.
    pub(crate) fn open(asked: Option<&str>) -> Result<Self> {
        match asked {
            None => Ok(Self::None),
            Some("") => Ok(Self::StandardError),
            Some("-") => Ok(Self::StandardOutput),
            Some(path) => {
                let file = File::create(path).map_err(|error| Error::io(path, &error))?;
                Ok(Self::File(file, path.into()))
            }
        }
    }

    fn write(self, report: &Report) {
        let Ok(line) = serde_json::to_string(report) else { return };
        match self {
            Self::None => {}
            Self::StandardError => tell(&line),
            Self::StandardOutput => say(&line),
            Self::File(mut file, path) => {
                if let Err(error) = writeln!(file, "{line}") {
                    tell(&format!("leanbox: {}", Error::io(path.display(), &error)));
                }
            }
        }
    }
}

/// One JSON object; what is not known is null.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Of this command, or of one that would have waited.
    pub(crate) exit_code: u8,
    /// Of the program.
    exited: Option<i32>,
    signal: Option<i32>,
    timed_out: bool,
    oom_killed: bool,
    /// Why the program ended: `exited`, `signal`, `oom_killed`, `wall_timeout`, `cpu_timeout`,
    /// `output_limit`, `killed`.
    cause: Option<String>,
    cpu_us: Option<u64>,
    memory_peak_bytes: Option<u64>,
    start_us: Option<u64>,
    wall_us: Option<u64>,
    error: Option<String>,
}

impl Report {
    /// Of what did not come to its program's end, or to the end of a look at it.
    pub(crate) fn of_failure(code: u8, text: String) -> Self {
        Self { exit_code: code, error: Some(text), ..Self::default() }
    }
}

/// Tells how it ended, and gives the exit code.
pub(crate) fn conclude(result: Result<Outcome, Failure>, args: &Args, json: Json) -> ExitCode {
    let code = match result {
        Ok(outcome) => {
            let code = exit_code(&outcome);
            tell_why(&outcome, args);
            outcome.explanation.iter().for_each(explain::say);
            json.write(&report(&outcome));
            code
        }
        Err(Failure { error, code }) => {
            let text = error.to_string();
            tell(&format!("leanbox: {text}"));
            json.write(&Report::of_failure(code, text));
            code
        }
    };
    ExitCode::from(code)
}

pub(crate) fn exit_code(outcome: &Outcome) -> u8 {
    if outcome.timed_out { TIMED_OUT } else { u8::try_from(outcome.shell_code()).unwrap_or(FAILED) }
}

/// What a killed program cannot say itself.
fn tell_why(outcome: &Outcome, args: &Args) {
    let limits = &args.limits;
    if let (Cause::WallTimeout, Some(timeout)) = (outcome.cause, limits.timeout) {
        tell(&format!("leanbox: timed out after {} s", timeout.as_secs_f64()));
    } else if let (Cause::CpuTimeout, Some(time)) = (outcome.cause, limits.cpu_time) {
        tell(&format!("leanbox: timed out after {} s of CPU time", time.as_secs_f64()));
    } else if let (Cause::OutputLimit, Some(most)) = (outcome.cause, limits.output_max) {
        tell(&format!("leanbox: killed: it wrote more than {}; raise --output-max", size(most)));
    } else if outcome.cause == Cause::HostGone {
        tell("leanbox: killed: the process that keeps its slot (leanbox-keeper) has ended");
    } else if outcome.oom_killed {
        let who = match outcome.end {
            End::Signaled(9) => "killed",
            _ => "one of its processes was killed",
        };
        let limit = size(limits.memory);
        tell(&format!("leanbox: out of memory: {who} at the limit of {limit}; raise --memory"));
    }
}

/// All that is known of an end.
pub(crate) fn report(outcome: &Outcome) -> Report {
    let microseconds = |time: Duration| u64::try_from(time.as_micros()).ok();
    let (exited, signal) = match outcome.end {
        End::Exited(code) => (Some(code), None),
        End::Signaled(signal) => (None, Some(signal)),
    };
    Report {
        exit_code: exit_code(outcome),
        exited,
        signal,
        timed_out: outcome.timed_out,
        oom_killed: outcome.oom_killed,
        cause: Some(outcome.cause.name().to_string()),
        cpu_us: microseconds(outcome.cpu).filter(|_| outcome.accounted),
        memory_peak_bytes: Some(outcome.memory_peak_bytes).filter(|_| outcome.accounted),
        start_us: microseconds(outcome.start),
        wall_us: microseconds(outcome.wall),
        error: None,
    }
}

/// A number of bytes for people: exact, in the largest unit that leaves it whole.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let whole = units.into_iter().find(|(unit, _)| bytes >= *unit && bytes % unit == 0);
    whole
        .map_or_else(|| format!("{bytes} bytes"), |(unit, name)| format!("{} {name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_exactly() {
        assert_eq!(size(64 << 20), "64 MiB");
        assert_eq!(size(3 << 30), "3 GiB");
        assert_eq!(size(1536 << 20), "1536 MiB");
        assert_eq!(size(5000), "5000 bytes");
    }

    #[test]
    fn programs_that_do_not_start_have_a_shells_codes() {
        let code = |kind| Failure::of_program(Error::new(kind, "x")).code;
        assert_eq!(code(ErrorKind::NotFound), 127);
        assert_eq!(code(ErrorKind::NotExecutable), 126);
        assert_eq!(code(ErrorKind::Exhausted), 125);
    }
}
