//! `--sustained`: how many starts a second, in whole blocks in turns: leanbox as a library
//! (a slot serves once, default isolation and limits, making and teardown included) and `crun run`
//! with the same namespaces, limits and filter; both run the do-nothing program.

use super::level::Level;
use super::process;
use super::stage::{NOTHING, Runs, Stage, heed};
use super::tool::Tool;
use super::words;
use leanbox::{Command, Error, Pool, Result, Rootfs, Stdio, Template};
use serde::Serialize;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Blocks of both together.
const BLOCKS: u32 = 6;
/// Slots kept ready in each loop.
const RESERVE: usize = 16;

/// One tool's rate over all its blocks.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Rate {
    /// `leanbox` or `crun`.
    pub tool: String,
    /// Starts a second.
    pub rate: f64,
    /// How long its blocks took.
    pub seconds: f64,
    /// How many it started.
    pub starts: u64,
    /// How many loops ran side by side.
    pub loops: usize,
}

impl Rate {
    fn of(tool: Tool, loops: usize) -> Self {
        Self { tool: tool.name().into(), loops, ..Self::default() }
    }

    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn add(&mut self, (starts, taken): (u64, Duration)) {
        self.starts += starts;
        self.seconds += taken.as_secs_f64();
        self.rate = self.starts as f64 / self.seconds;
    }
}

/// Measures for `whole`, with so many loops side by side; `crun` only where it works.
///
/// # Errors
/// A container cannot be started, or a signal has come.
pub(crate) fn run(
    stage: &Stage,
    whole: Duration,
    loops: usize,
    crun: bool,
    interrupted: &AtomicBool,
) -> Result<Vec<Rate>> {
    let length = whole / BLOCKS;
    let mut rates = vec![Rate::of(Tool::Leanbox, loops)];
    rates.extend(crun.then(|| Rate::of(Tool::Crun, loops)));
    let tools = rates.len();
    for number in 0..BLOCKS / 2 {
        // Who comes first changes, so that nobody always follows the other.
        let order: &[usize] = if number % 2 == 0 { &[0, 1] } else { &[1, 0] };
        for index in order.iter().copied().filter(|index| *index < tools) {
            let block = match index {
                0 => block(loops, length, |_, until| leanbox_loop(stage, until, interrupted)),
                _ => block(loops, length, |at, until| {
                    crun_loop(stage, &format!("{number}-{at}"), until, interrupted)
                }),
            };
            rates[index].add(block?);
        }
    }
    Ok(rates)
}

/// Loops side by side, until all have ended.
fn block(
    loops: usize,
    length: Duration,
    each: impl Fn(usize, Instant) -> Result<u64> + Sync,
) -> Result<(u64, Duration)> {
    let (begin, each) = (Instant::now(), &each);
    let counts: Result<Vec<u64>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..loops).map(|at| scope.spawn(move || each(at, begin + length))).collect();
        let ends = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(Error::invalid("a loop of the benchmark died")))
        });
        // All are waited for, also after a failure.
        ends.collect::<Vec<_>>().into_iter().collect()
    });
    Ok((counts?.into_iter().sum(), begin.elapsed()))
}

fn leanbox_loop(stage: &Stage, until: Instant, interrupted: &AtomicBool) -> Result<u64> {
    let template = Template::builder(Rootfs::open(stage.root())?).build()?;
    let pool = Pool::new(&template, RESERVE)?;
    let mut command = Command::new(NOTHING);
    command.stdin(Stdio::Null).stdout(Stdio::Null).stderr(Stdio::Null);
    let mut starts = 0;
    while Instant::now() < until {
        heed(interrupted)?;
        let outcome = command.status(&pool)?;
        if !outcome.success() {
            return Err(Error::invalid(format!("leanbox: {NOTHING}: {:?}", outcome.end)));
        }
        starts += 1;
    }
    Ok(starts)
}

fn crun_loop(stage: &Stage, name: &str, until: Instant, interrupted: &AtomicBool) -> Result<u64> {
    let said = stage.at(&format!("said-{name}"));
    let mut starts = 0;
    while Instant::now() < until {
        let id = format!("{}-{name}-{starts}", stage.name());
        let mut command = words::oci_runtime(Tool::Crun, Level::Full, stage, Runs::Nothing, &id);
        process::succeed(&mut command, &said, interrupted)?;
        starts += 1;
    }
    Ok(starts)
}
