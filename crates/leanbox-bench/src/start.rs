//! `bench start`: the benchmark of the critical path. First the original's lines from the
//! sustained loop, by one driver or many, closed or open; then single starts from a full reserve
//! in turns with the floors and `classic`.

use crate::cpu::CpuTimes;
use crate::driver::Job;
use crate::drivers::{Drivers, Run};
use crate::folder::Folder;
use crate::leaks::{Census, processes_since_boot};
use crate::machine::Watch;
use crate::open_loop::Plan;
use crate::report::{Dirty, Distribution, OpenLoop};
use crate::second::{Second, Totals};
use crate::statistics::number;
use crate::subject::{Subject, pin};
use crate::turns::Turns;
use crate::workload::Workload;
use crate::{Mode, Options, Report, Summary, barrier, closed_loop, distribution};
use leanbox::floor::FloorKind;
use leanbox::{Policy, Result};
use std::time::{Duration, Instant};

/// How long a reused slot is dirtied again and again, at most.
const DIRTY: Duration = Duration::from_secs(1);

/// Runs the benchmark; `line` gets each line of the original's output as it comes.
///
/// # Errors
/// A container cannot be started.
pub fn run(options: &Options, mut line: impl FnMut(&str)) -> Result<Report> {
    options.validate()?;
    let watch = Watch::begin_on(options.pin)?;
    let before = Census::take();
    let mut report = Report::of(options);
    let counted = processes_since_boot();
    let (run, own) = loop_of(options, &mut line)?;
    report.kernel_processes = processes_since_boot() - counted;
    report.take_loop(&run, options);
    line(&total_line(options, &run.totals.all));
    if options.is_stopped() || options.lines_only {
        drop(own);
    } else {
        let own = own.map_or_else(|| Own::prepare(options), Ok)?;
        report.take_turns(&Turns::measure(options, &own.workload, &own.root)?, options);
        let Own { workload, root } = own;
        drop(workload);
        report.dirty = dirty(options, &root, report.vfork_exec.p50_us)?;
    }
    report.leaked = run.leaked + Census::take().more_than(before);
    report.machine = watch.end()?;
    report.interrupted = options.is_stopped();
    Ok(report)
}

/// The loop alone, as options say: for whoever needs a sustained rate.
///
/// # Errors
/// A container cannot be started.
pub fn sustained(options: &Options) -> Result<Totals> {
    options.validate()?;
    pin(options.pin)?;
    loop_of(options, &mut |_| {}).map(|(run, _)| run.totals)
}

/// A workload of this process's own. It goes before its root does.
struct Own {
    workload: Workload,
    root: Folder,
}

impl Own {
    fn prepare(options: &Options) -> Result<Self> {
        let root = Folder::make()?;
        Ok(Self { workload: Workload::prepare(options, &root)?, root })
    }
}

/// The loop by this process, whose workload can then serve again, or by several.
fn loop_of(options: &Options, line: &mut impl FnMut(&str)) -> Result<(Run, Option<Own>)> {
    if options.processes > 1 {
        let rate = options.rate.map(|rate| rate / number(options.processes as u64));
        let job = Job {
            subject: Subject::Leanbox,
            options: Options { rate, ..options.clone() },
            seed: 1,
        };
        let drivers = Drivers::prepare(&job, options.processes)?;
        await_go(options, line)?;
        let run = drivers.run(options, |second| tell(options, line, second))?;
        return Ok((run, None));
    }
    let own = Own::prepare(options)?;
    await_go(options, line)?;
    let (mut run, before) = (Run::default(), CpuTimes::now());
    own.workload.run(options, Instant::now(), 1, |second| {
        tell(options, line, &second);
        run.totals.add(second);
    })?;
    run.cpus_used = CpuTimes::now().used_since(before).0;
    Ok((run, Some(own)))
}

fn tell(options: &Options, line: &mut impl FnMut(&str), second: &Second) {
    if second.is_whole {
        line(&original_line(options, second));
    }
}

/// The start barrier, where it was asked for: everything is prepared.
fn await_go(options: &Options, line: &mut impl FnMut(&str)) -> Result<()> {
    if options.await_go { barrier::await_go(&options.stop, line) } else { Ok(()) }
}

fn prefix(options: &Options) -> String {
    options.name.as_ref().map_or(String::new(), |name| format!("@{name:<10} "))
}

/// A second of all drivers; a container's latency is a driver's time for it.
fn original_line(options: &Options, second: &Second) -> String {
    let (prefix, count, seconds) = (prefix(options), second.starts, second.seconds);
    let drivers = number((options.processes * options.threads) as u64);
    let each_ms = seconds * 1e3 * drivers / number(count.max(1));
    format!(
        "{prefix}start {count} lean containers in {seconds:.6} second(s), latency per container {each_ms:.6}ms"
    )
}

fn total_line(options: &Options, all: &Second) -> String {
    let (prefix, count, seconds) = (prefix(options), all.starts, all.seconds);
    format!("{prefix}total: start {count} lean containers in {seconds:.6} second(s)")
}

/// What a reset costs that has something to clean: runs that write a file to `/tmp`.
fn dirty(options: &Options, root: &Folder, floor_us: f64) -> Result<Option<Dirty>> {
    let is_reused = options.policy == Policy::Reuse;
    if !is_reused || !matches!(options.mode, Mode::Noop | Mode::Exec) || options.is_stopped() {
        return Ok(None);
    }
    let options = Options {
        mode: Mode::Dirty,
        threads: 1,
        reserve: None,
        duration: options.duration.min(DIRTY),
        ..options.clone()
    };
    let workload = Workload::prepare(&options, root)?;
    let (mut starter, mut totals) = (workload.starter(), Totals::default());
    let start = |_, samples: &mut Vec<Duration>| {
        samples.push(starter.once()?);
        Ok(())
    };
    closed_loop(Instant::now(), options.duration, &options.stop, start, |second| {
        totals.add(second)
    })?;
    let cycle = Summary::of(&totals.all.cycles);
    let cycle_ratio_to_floor = cycle.p50_us / floor_us;
    let start = Summary::of(&totals.all.samples);
    Ok(Some(Dirty { start, cycle, cycle_ratio_to_floor }))
}

impl Report {
    fn of(options: &Options) -> Self {
        Self {
            benchmark: "start",
            mode: options.mode,
            policy: options.policy_name().into(),
            pinned_cpu: options.pin,
            processes: options.processes,
            threads: options.threads,
            ..Self::default()
        }
    }

    fn take_loop(&mut self, run: &Run, options: &Options) {
        let all = &run.totals.all;
        (self.starts, self.seconds) = (all.starts, all.seconds);
        self.sustained = Summary::of(&all.samples);
        self.cycle = Summary::of(&all.cycles);
        self.sustained_per_second = run.totals.rate();
        self.cpus_used = run.cpus_used;
        self.open_loop = options.rate.map(|offered_rate| OpenLoop {
            offered_rate,
            achieved_rate: run.totals.rate(),
            arrivals: all.samples.len() as u64,
            late: all.late,
            unserved: all.unserved,
            waiters: match options.threads {
                1 => Plan::waiters(offered_rate / number(options.processes as u64)),
                threads => threads,
            },
            latency: self.sustained,
            p99_over_p50: self.sustained.p99_us / self.sustained.p50_us,
        });
    }

    fn take_turns(&mut self, turns: &Turns, options: &Options) {
        let floor = match options.mode.floor() {
            FloorKind::VforkExec => &turns.vfork_exec,
            FloorKind::Fork => &turns.fork,
            _ => &turns.vfork,
        };
        let starts = Summary::of(&turns.starts);
        (self.p50_us, self.p99_us, self.max_us) = (starts.p50_us, starts.p99_us, starts.max_us);
        self.vfork = Summary::of(&turns.vfork);
        self.vfork_exec = Summary::of(&turns.vfork_exec);
        self.fork = Summary::of(&turns.fork);
        self.classic = Summary::of(&turns.classic);
        self.fork_of_small = (!turns.small.is_empty()).then(|| Summary::of(&turns.small));
        self.first_instruction = (!turns.first.is_empty()).then(|| Summary::of(&turns.first));
        self.first_instruction_ratio_to_vfork =
            self.first_instruction.map(|first| first.p50_us / self.vfork.p50_us);
        (self.floor_before, self.floor_after) =
            (Summary::of(&turns.before), Summary::of(&turns.after));
        self.floor_p50_us = Summary::of(floor).p50_us;
        self.classic_p50_us = self.classic.p50_us;
        self.ratio_to_floor = self.p50_us / self.floor_p50_us;
        self.cycle_ratio_to_floor = self.cycle.p50_us / self.floor_p50_us;
        self.times_faster_than_classic = self.classic_p50_us / self.p50_us;
        (self.turns, self.converged) = (turns.count, turns.converged);
        self.distribution = Distribution {
            leanbox: distribution(&turns.starts),
            floor: distribution(floor),
            classic: distribution(&turns.classic),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_the_originals() {
        let options = Options { name: Some("val01".into()), ..Options::default() };
        let second = Second { starts: 832, seconds: 1.000_416, ..Second::default() };
        assert_eq!(
            original_line(&options, &second),
            "@val01      start 832 lean containers in 1.000416 second(s), latency per container 1.202423ms"
        );
        let two = Options { processes: 2, ..Options::default() };
        let line = original_line(&two, &Second { starts: 1000, seconds: 1.0, ..second });
        assert!(line.ends_with("latency per container 2.000000ms"), "{line}");
        assert!(total_line(&two, &Second::default()).starts_with("total: start 0 lean"));
    }
}
