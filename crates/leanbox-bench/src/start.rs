//! `bench start`: the single-thread benchmark of the critical path. First the original's lines
//! from the sustained loop, then single starts from a full reserve in turns with the floors and
//! `classic`.

use crate::leaks::{Census, processes_since_boot};
use crate::workload::{Folder, Workload};
use crate::{Mode, Options, Report, Summary, barrier, classic, interrupted};
use leanbox::floor::{Floor, FloorKind};
use leanbox::{Policy, Result};
use std::time::{Duration, Instant};

/// Turns of floors, workload and `classic`.
const TURNS: usize = 10;
/// Single starts in each turn.
const STARTS_PER_TURN: usize = 40;
/// Floors in each turn.
const FLOORS_PER_TURN: usize = 100;
/// Unmeasured runs of `classic` before its first turn: its first moves between groups after a
/// pause wait for RCU, some milliseconds each.
const WARM_UP: usize = 10;
/// How often the sustained loop tells.
const SECOND: Duration = Duration::from_secs(1);

/// Runs the benchmark; `line` gets each line of the original's output as it comes.
///
/// # Errors
/// A container cannot be started.
pub fn run(options: &Options, mut line: impl FnMut(&str)) -> Result<Report> {
    if let Some(cpu) = options.pin {
        pin(cpu)?;
    }
    // The launcher's memory stays open for all templates of a process: opened before counting.
    drop(Floor::start()?);
    let before = Census::take();
    let root = Folder::make()?;
    let mut report = Report {
        mode: options.mode.name().into(),
        policy: policy_name(options).into(),
        pinned_cpu: options.pin,
        ..Report::default()
    };
    let mut workload = Workload::prepare(options, &root)?;
    if options.await_go {
        barrier::await_go(&mut line)?;
    }
    sustained(options, &mut workload, &mut report, &mut line)?;
    if !options.lines_only {
        in_turns(&mut workload, &root, &mut report)?;
    }
    drop((workload, root));
    report.leaked = Census::take().more_than(before);
    Ok(report)
}

fn policy_name(options: &Options) -> &'static str {
    match (options.mode, options.policy) {
        (Mode::Fork, _) => "shared",
        (_, Policy::Once) => "once",
        (_, Policy::Reuse) => "reuse",
    }
}

fn pin(cpu: u32) -> Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    let index = usize::try_from(cpu).unwrap_or(usize::MAX).min(rustix::thread::CpuSet::MAX_CPU - 1);
    set.set(index);
    rustix::thread::sched_setaffinity(None, &set).map_err(|errno| {
        leanbox::Error::syscall(format!("sched_setaffinity({cpu})"), errno)
            .remedy("name a CPU this process may run on")
    })
}

/// The closed loop of the original: start, exit, wait, and again.
fn sustained(
    options: &Options,
    workload: &mut Workload,
    report: &mut Report,
    line: &mut impl FnMut(&str),
) -> Result<()> {
    let prefix = options.name.as_ref().map_or(String::new(), |name| format!("@{name:<10} "));
    let counted = processes_since_boot();
    let mut samples = Vec::new();
    let begin = Instant::now();
    let mut second = (begin, 0u32);
    while begin.elapsed() < options.duration && !interrupted() {
        samples.push(workload.once()?);
        second.1 += 1;
        let elapsed = second.0.elapsed();
        if elapsed >= SECOND {
            line(&format!("{prefix}{}", original_line(second.1, elapsed)));
            second = (Instant::now(), 0);
        }
    }
    let elapsed = begin.elapsed();
    report.starts = samples.len() as u64;
    report.seconds = elapsed.as_secs_f64();
    report.kernel_processes = processes_since_boot() - counted;
    report.sustained = Summary::of(&samples);
    report.sustained_per_second = per_second(samples.len(), elapsed);
    let (starts, seconds) = (report.starts, report.seconds);
    line(&format!("{prefix}total: start {starts} lean containers in {seconds:.6} second(s)"));
    Ok(())
}

fn original_line(count: u32, elapsed: Duration) -> String {
    let (seconds, each_ms) =
        (elapsed.as_secs_f64(), elapsed.as_secs_f64() * 1e3 / f64::from(count));
    format!(
        "start {count} lean containers in {seconds:.6} second(s), latency per container {each_ms:.6}ms"
    )
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn per_second(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

/// Floors before, then turns of everything, floors after: all in the same minute.
fn in_turns(workload: &mut Workload, root: &Folder, report: &mut Report) -> Result<()> {
    let floor = Floor::start()?;
    let groups = classic::Groups::create()?;
    let (program, folder) = (root.program().display().to_string(), root.0.display().to_string());
    let procs = groups.procs();
    let classic_texts: Vec<&str> =
        std::iter::once(&folder).chain(&procs).map(String::as_str).collect();
    let mut samples: [Vec<Duration>; 5] = Default::default();
    let mut small = Vec::new();
    floor.measure(FloorKind::Classic, WARM_UP, &classic_texts)?;
    for _ in 0..TURNS {
        let count = FLOORS_PER_TURN;
        samples[0].extend(floor.measure(FloorKind::Vfork, count, &[])?);
        samples[1].extend(floor.measure(FloorKind::VforkExec, count, &[&program])?);
        samples[2].extend(floor.measure(FloorKind::Fork, count, &[])?);
        for _ in 0..STARTS_PER_TURN {
            workload.settle()?;
            samples[3].push(workload.once()?);
        }
        small.extend(workload.once_by(&floor, STARTS_PER_TURN)?);
        samples[4].extend(floor.measure(FloorKind::Classic, count / 2, &classic_texts)?);
    }
    let [vfork, vfork_exec, fork, starts, classic] = samples.map(|samples| Summary::of(&samples));
    (report.vfork, report.vfork_exec, report.fork) = (vfork, vfork_exec, fork);
    report.classic = classic;
    report.fork_of_small = (!small.is_empty()).then(|| Summary::of(&small));
    (report.p50_us, report.p99_us, report.max_us) = (starts.p50_us, starts.p99_us, starts.max_us);
    report.floor_p50_us = match report.mode.as_str() {
        "exec" => vfork_exec.p50_us,
        "fork" => fork.p50_us,
        _ => vfork.p50_us,
    };
    report.classic_p50_us = classic.p50_us;
    report.ratio_to_floor = starts.p50_us / report.floor_p50_us;
    report.times_faster_than_classic = classic.p50_us / starts.p50_us;
    Ok(())
}
