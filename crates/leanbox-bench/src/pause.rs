//! `bench pause`: how long it takes to pause and to resume a container of many processes, as the
//! original's pause benchmark asks.

use crate::folder::Folder;
use crate::held::descendants;
use crate::machine::{Machine, Watch};
use crate::options::within;
use crate::statistics::Summary;
use crate::workload::Workload;
use crate::{Mode, Options, is_median_sure};
use leanbox::{Error, ErrorKind, Result};
use serde::Serialize;
use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

/// Processes in a container at most: it may have 256.
const PROCESSES_MAX: usize = 250;
/// Rounds of each row, at least and at most.
const ROUNDS: std::ops::RangeInclusive<usize> = 100..=2000;
/// And no more after that time.
const ROUNDS_TIME: Duration = Duration::from_secs(5);
/// How long a container may take to have all its processes.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Pauses {
    /// `pause`.
    pub benchmark: &'static str,
    /// Where, with what, and how quiet it was.
    pub machine: Machine,
    /// The CPU everything was bound to.
    pub pinned_cpu: Option<u32>,
    /// It was ended before its time.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// For each number of processes in the container.
    pub rows: Vec<PauseRow>,
}

/// A container with that many processes, paused and resumed again and again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct PauseRow {
    /// Processes in the container.
    pub processes: usize,
    /// Rounds measured, after a first one.
    pub rounds: usize,
    /// The first pause, which may have to move the processes.
    pub first_pause_us: f64,
    /// Until all are paused: half took less.
    pub pause_p50_us: f64,
    /// 99 % took less.
    pub pause_p99_us: f64,
    /// Until all may run again: half took less.
    pub unpause_p50_us: f64,
    /// 99 % took less.
    pub unpause_p99_us: f64,
    /// Both together: half took less.
    pub round_p50_us: f64,
    /// 99 % took less.
    pub round_p99_us: f64,
}

/// Measures each number of `processes`; `line` is told of each row as it comes.
///
/// # Errors
/// A number that makes no sense, or a container cannot be started, paused or resumed.
pub fn pause(options: &Options, processes: &[usize], mut line: impl FnMut(&str)) -> Result<Pauses> {
    let options = &Options { mode: Mode::Exec, reserve: Some(1), ..options.clone() };
    options.validate()?;
    for count in processes {
        within("--processes", *count, PROCESSES_MAX)?;
    }
    let watch = Watch::begin_on(options.pin)?;
    let mut found = Pauses { benchmark: "pause", pinned_cpu: options.pin, ..Pauses::default() };
    let root = Folder::make()?;
    let workload = Workload::prepare(options, &root)?;
    line(&PauseRow::head());
    for count in processes {
        match row(options, &workload, *count) {
            Err(_) if options.is_stopped() => break,
            row => found.rows.push(row?),
        }
        if let Some(row) = found.rows.last() {
            line(&row.line());
        }
    }
    drop((workload, root));
    found.interrupted = options.is_stopped();
    found.machine = watch.end()?;
    Ok(found)
}

fn row(options: &Options, workload: &Workload, processes: usize) -> Result<PauseRow> {
    let container = workload.sleeping(processes)?;
    await_processes(options, processes)?;
    let first = Instant::now();
    container.pause()?;
    let first_pause_us = first.elapsed().as_secs_f64() * 1e6;
    container.resume()?;
    let (mut pauses, mut resumes, mut rounds) = (Vec::new(), Vec::new(), Vec::new());
    let begin = Instant::now();
    while rounds.len() < *ROUNDS.end() && !options.is_stopped() {
        let is_sure = rounds.len() % 100 == 0 && is_median_sure(&rounds, 0.02);
        if rounds.len() >= *ROUNDS.start() && (is_sure || begin.elapsed() > ROUNDS_TIME) {
            break;
        }
        let (from, paused) = (Instant::now(), container.pause().map(|()| Instant::now())?);
        container.resume()?;
        let resumed = Instant::now();
        pauses.push(paused - from);
        resumes.push(resumed - paused);
        rounds.push(resumed - from);
    }
    drop(container);
    workload.settle()?;
    let [pause, resume, round] = [&pauses, &resumes, &rounds].map(|all| Summary::of(all));
    Ok(PauseRow {
        processes,
        rounds: rounds.len(),
        first_pause_us,
        pause_p50_us: pause.p50_us,
        pause_p99_us: pause.p99_us,
        unpause_p50_us: resume.p50_us,
        unpause_p99_us: resume.p99_us,
        round_p50_us: round.p50_us,
        round_p99_us: round.p99_us,
    })
}

/// Waits until the container has as many as it was told to.
fn await_processes(options: &Options, processes: usize) -> Result<()> {
    let begin = Instant::now();
    let is_asleep = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep")
    };
    while descendants(std::process::id()).iter().filter(|pid| is_asleep(pid)).count() < processes {
        if options.is_stopped() || begin.elapsed() > PATIENCE {
            let text = format!("the container did not have {processes} processes in {PATIENCE:?}");
            return Err(Error::new(ErrorKind::Exhausted, text));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

impl PauseRow {
    fn head() -> String {
        format!(
            "processes  {:>25}  {:>25}  {:>25}  {:>13}",
            "pause p50 / p99", "resume p50 / p99", "both p50 / p99", "first pause"
        )
    }

    fn line(&self) -> String {
        let pairs = [
            (self.pause_p50_us, self.pause_p99_us),
            (self.unpause_p50_us, self.unpause_p99_us),
            (self.round_p50_us, self.round_p99_us),
        ];
        let pairs = pairs.map(|(p50, p99)| format!("  {p50:>10.1} / {p99:>9.1} us"));
        let first = self.first_pause_us;
        format!("{:>9}{}  {first:>10.1} us", self.processes, pairs.concat())
    }
}

impl fmt::Display for Pauses {
    /// What is to be said after the rows.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pinned =
            self.pinned_cpu.map_or("not pinned".into(), |cpu| format!("pinned to CPU {cpu}"));
        write!(out, "{}\none container with that many processes, {pinned}", self.machine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_of_many_processes_is_paused_and_resumed_in_turns() {
        let mut lines = Vec::new();
        let mut line = |line: &str| lines.push(line.to_string());
        let found = pause(&Options::default(), &[1, 5], &mut line).unwrap();
        assert_eq!((lines.len(), found.rows.len()), (3, 2), "{lines:?}");
        assert_eq!((found.rows[0].processes, found.rows[1].processes), (1, 5));
        for row in found.rows {
            assert!(row.rounds >= *ROUNDS.start() && row.pause_p50_us > 0.0, "{row:?}");
            assert!(row.round_p50_us > row.unpause_p50_us, "{row:?}");
            assert!(row.round_p99_us >= row.round_p50_us, "{row:?}");
        }
    }

    #[test]
    fn more_processes_than_a_container_may_have_are_refused() {
        let error = pause(&Options::default(), &[251], |_| {}).unwrap_err();
        assert!(error.to_string().contains("from 1 to 250"), "{error}");
    }
}
