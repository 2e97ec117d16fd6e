//! What was found on the hosts, as text and JSON.

use super::plan::Task;
use super::progress::Progress;
use super::total::{self, Span};
use serde::Serialize;
use std::fmt;

/// What many hosts did together.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Always `cluster`.
    pub benchmark: &'static str,
    /// A row for each host.
    pub hosts: Vec<HostRow>,
    /// Starts a second of all that ran to their end, while all of them ran.
    pub total_rate: f64,
    /// How long that was.
    pub overlap_seconds: f64,
    /// What these have started, also outside the common time.
    pub total_starts: u64,
    /// How many processes that were.
    pub counted: usize,
    /// How many of them had no start barrier of their own.
    pub without_barrier: usize,
    /// Ended by Ctrl-C.
    pub interrupted: bool,
}

/// One host.
#[derive(Debug, Clone, Default, Serialize)]
pub struct HostRow {
    /// Its name.
    pub host: String,
    /// Commands that were to run there.
    pub processes: usize,
    /// Containers started there, also outside the common time.
    pub starts: u64,
    /// Starts a second in the common time; of a host that failed, while it ran.
    pub rate: f64,
    /// What was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Report {
    /// Whether all did what they should.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.interrupted && self.hosts.iter().all(|host| host.error.is_none())
    }
}

pub(super) fn make(tasks: &[Task], progress: &[Progress], interrupted: bool) -> Report {
    let good = || progress.iter().filter(|one| one.error.is_none());
    let span = total::common(good().map(|one| &one.track));
    let mut hosts: Vec<HostRow> = Vec::new();
    for (task, one) in tasks.iter().zip(progress) {
        let at = hosts.iter().position(|row| row.host == task.label).unwrap_or_else(|| {
            hosts.push(HostRow { host: task.label.clone(), ..HostRow::default() });
            hosts.len() - 1
        });
        add(&mut hosts[at], one, span);
    }
    for row in &mut hosts {
        of_some(row, tasks, progress);
    }
    let counted = good().filter(|one| one.track.span().is_some());
    Report {
        benchmark: "cluster",
        total_rate: good().map(|one| rate(one, span)).sum(),
        total_starts: good().map(|one| one.track.starts()).sum(),
        overlap_seconds: span.map_or(0.0, Span::seconds),
        counted: counted.clone().count(),
        without_barrier: counted.filter(|one| !one.has_barrier).count(),
        hosts,
        interrupted,
    }
}

fn rate(one: &Progress, span: Option<Span>) -> f64 {
    span.map_or(0.0, |span| one.track.within(span) / span.seconds())
}

fn add(row: &mut HostRow, one: &Progress, span: Option<Span>) {
    row.processes += 1;
    row.starts += one.track.starts();
    match &one.error {
        None => row.rate += rate(one, span),
        Some(error) => row.error = row.error.take().or_else(|| Some(error.clone())),
    }
}

/// Says of how many processes the error is; a host with none left shows what it did until then.
fn of_some(row: &mut HostRow, tasks: &[Task], progress: &[Progress]) {
    let own = || tasks.iter().zip(progress).filter(|(task, _)| task.label == row.host);
    let failed = own().filter(|(_, one)| one.error.is_some()).count();
    if failed == row.processes {
        row.rate = own().map(|(_, one)| one.track.rate()).sum();
    } else if failed > 0 {
        let error = row.error.take().unwrap_or_default();
        row.error = Some(format!("{failed} of {} processes: {error}", row.processes));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{:<20} {:>9} {:>12} {:>12}", "host", "processes", "starts", "starts/s")?;
        for row in &self.hosts {
            let HostRow { host, processes, starts, rate, error } = row;
            write!(out, "{host:<20} {processes:>9} {starts:>12} {rate:>12.1}")?;
            match error {
                Some(error) => writeln!(out, "   {error}")?,
                None => writeln!(out)?,
            }
        }
        let (counted, starts, seconds) = (self.counted, self.total_starts, self.overlap_seconds);
        if seconds > 0.0 {
            let (total, rate) = ("total", self.total_rate);
            write!(out, "{total:<20} {counted:>9} {starts:>12} {rate:>12.1}")?;
            write!(out, "   in the {seconds:.2} seconds that {} ran", together(counted))?;
        } else {
            write!(out, "no total: no time that all processes ran together")?;
        }
        self.notes(out)
    }
}

impl Report {
    fn notes(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without = self.without_barrier;
        if without > 0 {
            write!(out, "\n{without} of them began from the shell, without a start barrier")?;
        }
        let missing: Vec<&str> = self
            .hosts
            .iter()
            .filter(|row| row.error.is_some())
            .map(|row| row.host.as_str())
            .collect();
        if !missing.is_empty() {
            write!(out, "\nthe total is that of the rest: missing {}", missing.join(", "))?;
        }
        if self.interrupted {
            write!(out, "\ninterrupted: this is what there was")?;
        }
        Ok(())
    }
}

fn together(counted: usize) -> String {
    if counted == 1 { "the one process".into() } else { format!("all {counted} processes") }
}
