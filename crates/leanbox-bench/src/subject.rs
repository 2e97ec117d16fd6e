//! What a driver starts again and again: containers of leanbox, or one of the floors' process.

use crate::closed_loop::{by_threads, closed_loop};
use crate::folder::Folder;
use crate::open_loop::{Plan, open_loop};
use crate::second::Second;
use crate::workload::Workload;
use crate::{Options, classic};
use leanbox::floor::{Floor, FloorKind};
use leanbox::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Unmeasured runs of `classic` before its first turn: its first moves between groups after a
/// pause wait for RCU, some milliseconds each.
const WARM_UP: usize = 10;
/// How much of a loop one request to the floors' process may take: it prepares `classic` anew
/// each time, in about a millisecond.
const REQUEST: Duration = Duration::from_millis(100);
/// Samples of the first request, before it is known how long one takes.
const FIRST_REQUEST: usize = 20;

/// What is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Subject {
    Leanbox,
    Classic,
    Vfork,
    VforkExec,
    Fork,
}

/// One that is prepared.
#[derive(Debug)]
pub(crate) enum Prepared {
    Leanbox(Workload),
    Floor(Floors),
}

/// The floors' process and what it is told. It has what it needs for each of its kinds.
#[derive(Debug)]
pub(crate) struct Floors {
    kind: FloorKind,
    pub(crate) floor: Floor,
    _groups: Option<classic::Groups>,
    texts: Vec<String>,
}

impl Subject {
    pub(crate) fn prepare(self, options: &Options, root: &Folder) -> Result<Prepared> {
        let kind = match self {
            Self::Leanbox => return Workload::prepare(options, root).map(Prepared::Leanbox),
            Self::Classic => FloorKind::Classic,
            Self::Vfork => FloorKind::Vfork,
            Self::VforkExec => FloorKind::VforkExec,
            Self::Fork => FloorKind::Fork,
        };
        Floors::prepare(kind, root).map(Prepared::Floor)
    }
}

impl Prepared {
    /// Starts from `begin` on as `options` say; `tell` gets every second. `seed` is for arrivals.
    pub(crate) fn run(
        &self,
        options: &Options,
        begin: Instant,
        seed: u64,
        tell: impl FnMut(Second),
    ) -> Result<()> {
        match self {
            Self::Leanbox(workload) => workload.run(options, begin, seed, tell),
            Self::Floor(floors) => {
                closed_loop(begin, options.duration, &options.stop, floors.starter(), tell)
            }
        }
    }
}

impl Workload {
    /// Starts containers, by as many threads and at the rate that `options` say.
    pub(crate) fn run(
        &self,
        options: &Options,
        begin: Instant,
        seed: u64,
        tell: impl FnMut(Second),
    ) -> Result<()> {
        let (duration, stop, threads) = (options.duration, &*options.stop, options.threads);
        if let Some(rate) = options.rate {
            let waiters = if threads > 1 { threads } else { Plan::waiters(rate) };
            let plan = Plan { rate, duration, seed, waiters };
            let starter = || {
                let mut starter = self.starter();
                move || starter.once()
            };
            return open_loop(begin, &plan, stop, starter, tell);
        }
        let starter = || {
            let mut starter = self.starter();
            move |_, samples: &mut Vec<Duration>| {
                samples.push(starter.once()?);
                Ok(())
            }
        };
        match threads {
            1 => closed_loop(begin, duration, stop, starter(), tell),
            _ => by_threads(threads, begin, duration, stop, starter, tell),
        }
    }
}

impl Floors {
    pub(crate) fn prepare(kind: FloorKind, root: &Folder) -> Result<Self> {
        let is_classic = kind == FloorKind::Classic;
        let groups = is_classic.then(classic::Groups::create).transpose()?;
        let texts = match (&groups, kind) {
            (Some(groups), _) => {
                std::iter::once(root.path.display().to_string()).chain(groups.procs()).collect()
            }
            (None, FloorKind::VforkExec) => vec![root.program().display().to_string()],
            (None, _) => Vec::new(),
        };
        let floors = Self { kind, floor: Floor::start()?, _groups: groups, texts };
        if is_classic {
            floors.measure(WARM_UP)?;
        }
        Ok(floors)
    }

    pub(crate) fn measure(&self, count: usize) -> Result<Vec<Duration>> {
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        self.floor.measure(self.kind, count, &texts)
    }

    /// As many as take some tenths of a second each time, and no more than there is time for.
    fn starter(&self) -> impl FnMut(Duration, &mut Vec<Duration>) -> Result<()> {
        let mut each: Option<Duration> = None;
        move |left, samples| {
            let count = each.map_or(FIRST_REQUEST, |each| {
                let room = left.min(REQUEST).as_nanos() / each.as_nanos().max(1);
                usize::try_from(room).unwrap_or(usize::MAX).max(1)
            });
            let begin = Instant::now();
            let taken = self.measure(count)?;
            // not the samples' sum: others have the CPU meanwhile
            let some = u32::try_from(taken.len()).ok().filter(|count| *count > 0);
            let some = some.ok_or_else(|| Error::invalid("the floor measured nothing"))?;
            each = Some(begin.elapsed() / some);
            samples.extend(taken);
            Ok(())
        }
    }
}

/// Binds this thread, and what it starts, to one CPU.
pub(crate) fn pin(cpu: Option<u32>) -> Result<()> {
    let Some(cpu) = cpu else { return Ok(()) };
    let mut set = rustix::thread::CpuSet::new();
    let index = usize::try_from(cpu).unwrap_or(usize::MAX).min(rustix::thread::CpuSet::MAX_CPU - 1);
    set.set(index);
    rustix::thread::sched_setaffinity(None, &set).map_err(|errno| {
        Error::syscall(format!("sched_setaffinity({cpu})"), errno)
            .remedy("name a CPU this process may run on")
    })
}
