//! `bench sweep`: how many starts a second N driver processes make together, for leanbox,
//! `classic` and the floors, in turns: what each reaches at its best, and what it keeps with more.

use crate::driver::Job;
use crate::drivers::Drivers;
use crate::machine::{Machine, Watch};
use crate::options::{PROCESSES_MAX, within};
use crate::statistics::Summary;
use crate::subject::Subject;
use crate::{Mode, Options};
use leanbox::floor::FloorKind;
use leanbox::{Error, Result};
use serde::Serialize;
use std::fmt;

/// What the sweep found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sweep {
    /// `sweep`.
    pub benchmark: &'static str,
    /// Where, with what, and how quiet it was.
    pub machine: Machine,
    /// What a container did.
    pub mode: Mode,
    /// `once`, `reuse`, or `shared` for the fork mode.
    pub policy: String,
    /// The CPU everything was bound to.
    pub pinned_cpu: Option<u32>,
    /// How long each was measured.
    pub seconds: f64,
    /// It was ended before its time.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// One for each number of driver processes.
    pub rows: Vec<SweepRow>,
    /// The best rate of each, and what it keeps of it with the most processes.
    pub peaks: Peaks,
    /// Groups and records left behind.
    pub leaked: usize,
}

/// That many driver processes at once.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SweepRow {
    /// Driver processes.
    pub processes: usize,
    /// Containers of leanbox.
    pub leanbox: Throughput,
    /// The original's critical path.
    pub classic: Throughput,
    /// The mode's floor: vfork for `noop`, vfork+exec for `exec`, fork for `fork`.
    pub floor: Throughput,
    /// The vfork floor where the mode's is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vfork: Option<Throughput>,
}

/// What one of them did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Throughput {
    /// Starts a second, of all processes together.
    pub rate: f64,
    /// Half of the starts took less.
    pub p50_us: f64,
    /// 99 % took less.
    pub p99_us: f64,
    /// CPUs busy meanwhile: user, nice, system, irq and softirq time of the whole machine.
    pub cpu: f64,
    /// Starts for each second of CPU time.
    pub starts_per_cpu_second: f64,
}

/// The best of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Peaks {
    /// Of leanbox.
    pub leanbox: Peak,
    /// Of the original's critical path.
    pub classic: Peak,
    /// Of the mode's floor.
    pub floor: Peak,
    /// How many times `classic`'s peak leanbox's is.
    pub times_classic: f64,
}

/// A best rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Peak {
    /// Starts a second.
    pub rate: f64,
    /// With that many processes.
    pub processes: usize,
    /// Share of it that is left with the most processes.
    pub kept: f64,
}

/// Measures each number of `processes`; `line` is told of each row as it comes.
///
/// # Errors
/// A number that makes no sense, or a container cannot be started.
pub fn sweep(options: &Options, processes: &[usize], mut line: impl FnMut(&str)) -> Result<Sweep> {
    check(options, processes)?;
    let watch = Watch::begin_on(options.pin)?;
    let mut sweep = Sweep {
        benchmark: "sweep",
        mode: options.mode,
        policy: options.policy_name().into(),
        pinned_cpu: options.pin,
        seconds: options.duration.as_secs_f64(),
        ..Sweep::default()
    };
    line(&head());
    for count in processes {
        match sweep.row(options, *count) {
            Err(_) if options.is_stopped() => {}
            row => sweep.rows.push(row?),
        }
        if options.is_stopped() {
            // what was under way is no row to compare
            sweep.interrupted = true;
            break;
        }
        if let Some(row) = sweep.rows.last() {
            line(&row.lines());
        }
    }
    sweep.peaks = Peaks::of(&sweep.rows);
    sweep.machine = watch.end()?;
    Ok(sweep)
}

fn check(options: &Options, processes: &[usize]) -> Result<()> {
    if processes.is_empty() {
        return Err(Error::invalid("--processes: at least one number"));
    }
    for count in processes {
        within("--processes", *count, PROCESSES_MAX)?;
        Options { processes: *count, ..options.clone() }.validate()?;
    }
    Ok(())
}

impl Sweep {
    fn row(&mut self, options: &Options, processes: usize) -> Result<SweepRow> {
        let mut measure = |subject| self.measure(options, processes, subject);
        let floor = match options.mode.floor() {
            FloorKind::Vfork => Subject::Vfork,
            FloorKind::VforkExec => Subject::VforkExec,
            _ => Subject::Fork,
        };
        let needs_vfork = floor != Subject::Vfork;
        Ok(SweepRow {
            processes,
            leanbox: measure(Subject::Leanbox)?,
            classic: measure(Subject::Classic)?,
            floor: measure(floor)?,
            vfork: needs_vfork.then(|| measure(Subject::Vfork)).transpose()?,
        })
    }

    fn measure(
        &mut self,
        options: &Options,
        processes: usize,
        subject: Subject,
    ) -> Result<Throughput> {
        let job = Job { subject, options: options.clone(), seed: 1 };
        let run = Drivers::prepare(&job, processes)?.run(options, |_| {})?;
        self.leaked += run.leaked;
        let Summary { p50_us, p99_us, .. } = Summary::of(&run.totals.all.samples);
        let (rate, cpu) = (run.totals.rate(), run.cpus_used);
        let starts_per_cpu_second = if cpu > 0.0 { rate / cpu } else { 0.0 };
        Ok(Throughput { rate, p50_us, p99_us, cpu, starts_per_cpu_second })
    }
}

impl Peaks {
    fn of(rows: &[SweepRow]) -> Self {
        let peak = |of: fn(&SweepRow) -> Throughput| {
            let best = rows.iter().max_by(|a, b| of(a).rate.total_cmp(&of(b).rate));
            let most = rows.iter().max_by_key(|row| row.processes);
            best.zip(most).map_or(Peak::default(), |(best, most)| Peak {
                rate: of(best).rate,
                processes: best.processes,
                kept: of(most).rate / of(best).rate,
            })
        };
        let (leanbox, classic) = (peak(|row| row.leanbox), peak(|row| row.classic));
        let times_classic = if classic.rate > 0.0 { leanbox.rate / classic.rate } else { 0.0 };
        Self { leanbox, classic, floor: peak(|row| row.floor), times_classic }
    }
}

fn head() -> String {
    let (starts, per_cpu) = ("starts/s", "per CPU-second");
    format!(
        "processes  what     {starts:>10} {:>12} {:>12} {:>6} {per_cpu:>15}",
        "p50", "p99", "CPUs"
    )
}

impl SweepRow {
    fn lines(&self) -> String {
        let rows = [
            ("leanbox", Some(self.leanbox)),
            ("classic", Some(self.classic)),
            ("floor", Some(self.floor)),
            ("vfork", self.vfork),
        ];
        let line = |(name, throughput): (&str, Option<Throughput>)| {
            let Throughput { rate, p50_us, p99_us, cpu, starts_per_cpu_second } = throughput?;
            Some(format!(
                "{:>9}  {name:<8} {rate:>10.0} {p50_us:>9.1} us {p99_us:>9.1} us {cpu:>6.2} \
                 {starts_per_cpu_second:>15.0}",
                self.processes
            ))
        };
        rows.into_iter().filter_map(line).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Sweep {
    /// What is to be said after the rows.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.machine)?;
        let pinned =
            self.pinned_cpu.map_or("not pinned".into(), |cpu| format!("pinned to CPU {cpu}"));
        let (mode, policy, seconds) = (self.mode.name(), &self.policy, self.seconds);
        writeln!(out, "mode {mode}, policy {policy}, {pinned}, {seconds} s each, in turns")?;
        let most = self.rows.iter().map(|row| row.processes).max().unwrap_or(0);
        let Peaks { leanbox, classic, floor, times_classic } = self.peaks;
        for (name, peak) in [("leanbox", leanbox), ("classic", classic), ("floor", floor)] {
            let Peak { rate, processes, kept } = peak;
            let kept = kept * 100.0;
            writeln!(
                out,
                "{name:<8} peak {rate:.0} starts a second with {processes} processes; \
                 with {most} it keeps {kept:.0} %"
            )?;
        }
        write!(out, "leanbox's peak is {times_classic:.1} times classic's\nleaked: ")?;
        match self.leaked {
            0 => write!(out, "nothing"),
            some => write!(out, "{some}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(processes: usize, leanbox: f64, classic: f64) -> SweepRow {
        let of = |rate| Throughput { rate, ..Throughput::default() };
        SweepRow { processes, leanbox: of(leanbox), classic: of(classic), ..SweepRow::default() }
    }

    #[test]
    fn a_peak_says_what_is_kept_of_it_with_the_most_processes() {
        let rows = [row(64, 900.0, 70.0), row(1, 500.0, 80.0), row(6, 1000.0, 100.0)];
        let peaks = Peaks::of(&rows);
        assert_eq!(peaks.leanbox, Peak { rate: 1000.0, processes: 6, kept: 0.9 });
        assert_eq!(peaks.classic, Peak { rate: 100.0, processes: 6, kept: 0.7 });
        assert!((peaks.times_classic - 10.0).abs() < 1e-9);
        assert_eq!(Peaks::of(&[]), Peaks::default());
    }

    #[test]
    fn a_row_has_a_line_for_each_that_was_measured() {
        let mut one = row(6, 1000.0, 100.0);
        assert_eq!(one.lines().lines().count(), 3);
        one.vfork = Some(Throughput::default());
        assert!(one.lines().lines().last().unwrap().contains("6  vfork"));
    }
}
