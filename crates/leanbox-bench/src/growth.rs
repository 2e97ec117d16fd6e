//! `bench growth`: what a start takes and what a container costs with very many of them, idle or
//! live, and whether anything grows over very many starts.

use crate::folder::Folder;
use crate::held::Held;
use crate::machine::{Watch, on_one_cpu};
use crate::memory::{Memory, each};
use crate::options::within;
use crate::statistics::number;
use crate::workload::Workload;
use crate::{Growth, GrowthRow, Mode, Options, Summary, Tenth, is_median_sure};
use leanbox::floor::FloorKind;
use leanbox::{Error, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::{Duration, Instant};

/// Containers at most: a machine has room for 4,096 slots.
const CONTAINERS_MAX: usize = 4000;
/// Single starts for a row, at least and at most.
const STARTS: std::ops::RangeInclusive<usize> = 100..=2000;
/// And no more after that time.
const STARTS_TIME: Duration = Duration::from_secs(3);
/// Each tenth of the starts is made in so many pieces, with so many vfork floors after each: the
/// speed of a machine that others use changes within seconds. As many stand between single starts.
const SLICES: u32 = 20;
const FLOORS: usize = 50;
/// How long the kernel gets to free what it puts off, before memory is read.
const PUT_OFF: Duration = Duration::from_millis(300);
/// Starts before the first census: what grows once has grown then.
const WARM_UP: u64 = 200;

/// What to measure.
#[derive(Debug, Clone)]
pub struct GrowthOptions {
    /// Policy, network and what else all benchmarks have; without a duration for the starts.
    pub options: Options,
    /// How many containers, one row each.
    pub containers: Vec<usize>,
    /// Starts in a row, of which each tenth is timed.
    pub starts: u64,
    /// And no longer than that.
    pub time: Option<Duration>,
}

/// Whether the containers of a row only wait for a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Live,
}

/// Measures; `line` is told of each row and each tenth as it comes.
///
/// # Errors
/// A number that makes no sense, or a slot cannot be made.
pub fn growth(wanted: &GrowthOptions, mut line: impl FnMut(&str)) -> Result<Growth> {
    let options = &Options { mode: Mode::Noop, ..wanted.options.clone() };
    options.validate()?;
    for count in &wanted.containers {
        within("--containers", *count, CONTAINERS_MAX)?;
    }
    raise_descriptors()?;
    let watch = Watch::begin_on(options.pin)?;
    let mut found = Growth::of(options);
    let root = Folder::make()?;
    match measure(wanted, options, &root, &mut found, &mut line) {
        Err(_) if options.is_stopped() => {}
        result => result?,
    }
    drop(root);
    found.interrupted = options.is_stopped();
    found.machine = watch.end()?;
    Ok(found)
}

fn measure(
    wanted: &GrowthOptions,
    options: &Options,
    root: &Folder,
    found: &mut Growth,
    line: &mut impl FnMut(&str),
) -> Result<()> {
    line(&GrowthRow::head());
    for state in [State::Idle, State::Live] {
        for count in &wanted.containers {
            let row = row(options, root, *count, state)?;
            line(&row.line());
            found.rows.push(row);
        }
    }
    // A living pool keeps some groups and their descriptors, now more, now fewer; so what is left
    // behind is counted around it.
    let before = Held::take(None);
    many_starts(wanted, options, root, found, line)?;
    found.leaked = Held::take(None).more_than(before);
    Ok(())
}

/// A slot needs some descriptors here.
fn raise_descriptors() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .map_err(|errno| Error::syscall("setrlimit(RLIMIT_NOFILE)", errno))
}

fn row(options: &Options, root: &Folder, count: usize, state: State) -> Result<GrowthRow> {
    let base = Options { reserve: Some(1), ..options.clone() };
    let workload = Workload::prepare(&base, root)?;
    workload.settle()?;
    let before = look();
    // One of the two is empty; both end before the template does.
    let (idle, live) = match state {
        State::Idle => (Some(workload.with_reserve(count)?), Vec::new()),
        State::Live => (None, workload.live(count)?),
    };
    let measured = idle.as_ref().unwrap_or(&workload);
    measured.settle()?;
    let after = look();
    let (samples, floors) = single_starts(options, measured)?;
    let Summary { count: starts, p50_us, p99_us, .. } = Summary::of(&samples);
    let floor_us = Summary::of(&floors).p50_us;
    drop((idle, live));
    workload.settle()?;
    Ok(GrowthRow {
        containers: count,
        state: if state == State::Idle { "idle" } else { "live" },
        starts,
        p50_us,
        p99_us,
        floor_us,
        memory_kib_each: each(after.available_kib, before.available_kib, count),
        memory_free_kib_each: each(after.free_kib, before.free_kib, count),
        grown: after.grown_since(&before, count),
    })
}

fn look() -> Memory {
    std::thread::sleep(PUT_OFF);
    Memory::now()
}

/// Starts, each from a full reserve, and vfork floors between them.
fn single_starts(options: &Options, workload: &Workload) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let (floor, mut floors) = (on_one_cpu()?, Vec::new());
    let (mut starter, mut samples, begin) = (workload.starter(), Vec::new(), Instant::now());
    while samples.len() < *STARTS.end() {
        if options.is_stopped() {
            return Err(Error::invalid("interrupted"));
        }
        let is_sure = samples.len() % 100 == 0 && is_median_sure(&samples, 0.02);
        if samples.len() >= *STARTS.start() && (is_sure || begin.elapsed() > STARTS_TIME) {
            break;
        }
        if samples.len() % FLOORS == 0 {
            floors.extend(floor.measure(FloorKind::Vfork, FLOORS, &[])?);
        }
        workload.settle()?;
        samples.push(starter.once()?);
    }
    Ok((samples, floors))
}

/// One start after the other, each tenth timed in turns with the floor, with a census of the living
/// pool before and after.
fn many_starts(
    wanted: &GrowthOptions,
    options: &Options,
    root: &Folder,
    found: &mut Growth,
    line: &mut impl FnMut(&str),
) -> Result<()> {
    let workload = Workload::prepare(options, root)?;
    let mut starter = workload.starter();
    let mut start = |count: u64, time: Option<Duration>| -> Result<(u64, Duration)> {
        let begin = Instant::now();
        let mut made = 0;
        while made < count && !options.is_stopped() {
            starter.once()?;
            made += 1;
            if time.is_some_and(|time| begin.elapsed() >= time) {
                break;
            }
        }
        Ok((made, begin.elapsed()))
    };
    start(WARM_UP.min(wanted.starts), wanted.time)?;
    let floor = on_one_cpu()?;
    workload.settle()?;
    found.before = Held::take(workload.keeper_pid());
    for tenth in 1..=10u64 {
        let count = wanted.starts * tenth / 10 - wanted.starts * (tenth - 1) / 10;
        let (mut made, mut taken, mut floors) = (0, Duration::ZERO, Vec::new());
        for slice in 1..=u64::from(SLICES) {
            let part = |slice: u64| count * slice / u64::from(SLICES);
            let time = wanted.time.map(|time| time / 10 / SLICES);
            let (more, time) = start(part(slice) - part(slice - 1), time)?;
            (made, taken) = (made + more, taken + time);
            floors.extend(floor.measure(FloorKind::Vfork, FLOORS, &[])?);
        }
        if options.is_stopped() {
            break;
        }
        let (rate, floor_us) = (number(made) / taken.as_secs_f64(), Summary::of(&floors).p50_us);
        line(&format!(
            "tenth {tenth} of 10: {made} starts, {rate:.0} a second; vfork floor {floor_us:.1} us"
        ));
        found.starts.push(Tenth { tenth, starts: made, rate, floor_us });
        found.total_starts += made;
        found.total_seconds += taken.as_secs_f64();
    }
    workload.settle()?;
    found.after = Held::take(workload.keeper_pid());
    if let (Some(first), Some(last)) = (found.starts.first(), found.starts.last()) {
        found.last_to_first = last.rate / first.rate;
        found.last_to_first_by_floor = found.last_to_first * last.floor_us / first.floor_us;
    }
    Ok(())
}
