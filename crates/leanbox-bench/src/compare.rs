//! `bench compare`: leanbox beside the tools one would use instead, whichever are installed: same
//! root, same program, in turns, at three stated levels, with what each lacks at that level.
//!
//! In: [`Options`]. Out: a [`Comparison`]. Never: touches containers, images or state of the
//! tools that are not this comparison's own; leaves anything behind, also after a signal.

mod burst;
mod find;
mod level;
mod oci;
mod process;
mod report;
mod show;
mod stage;
mod sustained;
mod tool;
mod traces;
mod words;

pub use burst::Burst;
pub use level::{Feature, Level};
pub use report::{Absent, Comparison, Row, Rows};
pub use show::{Shown, show};
pub use sustained::Rate;
pub use tool::Tool;

use find::Usable;
use leanbox::{ErrorKind, Result};
use stage::{Stage, heed};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Unmeasured turns before the first.
const WARM_UP: usize = 3;
/// A start that takes longer takes part in every tenth turn only.
const SLOW: Duration = Duration::from_millis(100);
const SLOW_TURNS: usize = 10;

/// What to compare.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program to compare.
    pub leanbox: PathBuf,
    /// Turns at each level; 0: none.
    pub runs: usize,
    /// The pause before each start of a turn.
    pub gap: Duration,
    /// The tools to compare leanbox with.
    pub tools: Vec<Tool>,
    /// The levels.
    pub levels: Vec<Level>,
    /// What runs in every container: program and arguments.
    pub words: Vec<String>,
    /// How long to measure rates for.
    pub sustained: Option<Duration>,
    /// Loops of each tool side by side while rates are measured.
    pub loops: usize,
    /// How many to start at once.
    pub burst: Option<usize>,
    /// leanbox's ready slots at that time.
    pub reserve: usize,
    /// Set where a signal has come: what runs is ended and taken apart.
    pub interrupted: Arc<AtomicBool>,
}

/// Compares.
///
/// # Errors
/// busybox is not installed, leanbox cannot start a container, or a signal has come; what cannot
/// be compared is in the report.
pub fn compare(options: &Options) -> Result<Comparison> {
    let mut stage = Stage::make(&options.leanbox, &options.words)?;
    let flag = &*options.interrupted;
    let (usable, mut absent) = find::find(&options.tools, &mut stage, flag)?;
    let mut levels = Vec::new();
    for level in options.levels.iter().filter(|_| options.runs > 0) {
        levels.push(in_turns(&stage, *level, &usable, options, &mut absent)?);
    }
    let crun = usable.iter().any(|one| one.tool == Tool::Crun);
    let sustained = options
        .sustained
        .map_or(Ok(Vec::new()), |whole| sustained::run(&stage, whole, options.loops, crun, flag))?;
    let burst = options
        .burst
        .map_or(Ok(Vec::new()), |count| burst::run(&stage, count, options.reserve, crun, flag))?;
    let sustained_ratio = match sustained.as_slice() {
        [own, crun] => Some(own.rate / crun.rate),
        _ => None,
    };
    Ok(Comparison {
        benchmark: "compare",
        program: options.words.clone(),
        gap_ms: u64::try_from(options.gap.as_millis()).unwrap_or(u64::MAX),
        levels,
        absent,
        sustained,
        sustained_ratio,
        burst,
    })
}

/// One level: every tool that can start a container, in turns.
fn in_turns(
    stage: &Stage,
    level: Level,
    usable: &[Usable],
    options: &Options,
    absent: &mut Vec<Absent>,
) -> Result<Rows> {
    let once = |tool: Tool, number: usize| {
        let id = format!("{}-{}-{number}", stage.name(), level.name());
        let mut command = words::command(tool, level, stage, &id)?;
        process::succeed(&mut command, &stage.at("said"), &options.interrupted)
    };
    // A peer that fails is left out from then on; leanbox must not fail, and a signal ends all.
    let mut or_leave_out = |tool: Tool, started: Result<Duration>| match started {
        Ok(taken) => Ok(Some(taken)),
        Err(error) if tool == Tool::Leanbox || error.kind() == ErrorKind::Gone => Err(error),
        Err(error) => {
            absent.push(Absent::at(tool, level, &error));
            Ok(None)
        }
    };
    let mut peers = Vec::new();
    for one in usable {
        let first = or_leave_out(one.tool, once(one.tool, 0))?;
        peers.extend(first.map(|taken| Peer::of(one, taken)));
    }
    for run in 0..WARM_UP + options.runs {
        let takes_part = |peer: &Peer<'_>| !peer.is_slow || run % SLOW_TURNS == WARM_UP;
        for index in turn(run, peers.len()) {
            let peer: &mut Peer<'_> = &mut peers[index];
            if peer.is_out || !takes_part(peer) {
                continue;
            }
            pause(options)?;
            let taken = or_leave_out(peer.one.tool, once(peer.one.tool, run + 1))?;
            peer.is_out = taken.is_none();
            peer.samples.extend(taken.filter(|_| run >= WARM_UP));
        }
    }
    let row = |peer: &Peer<'_>| Row::of(peer.one.tool, &peer.one.version, level, &peer.samples);
    Ok(Rows { level, rows: peers.iter().filter(|peer| !peer.is_out).map(row).collect() })
}

/// A tool that takes part at a level.
struct Peer<'a> {
    one: &'a Usable,
    /// By its first start.
    is_slow: bool,
    /// It failed.
    is_out: bool,
    samples: Vec<Duration>,
}

impl<'a> Peer<'a> {
    fn of(one: &'a Usable, first: Duration) -> Self {
        Self { one, is_slow: first > SLOW, is_out: false, samples: Vec::new() }
    }
}

/// The order of one turn. Each comes after each other one: the kernel takes apart what the one
/// before has left while the next begins.
fn turn(run: usize, peers: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..peers).map(|index| (index + run / 2) % peers).collect();
    if run % 2 == 1 {
        order.reverse();
    }
    order
}

/// The pause before a start. A signal ends it at its next piece.
fn pause(options: &Options) -> Result<()> {
    const PIECE: Duration = Duration::from_millis(100);
    let mut left = options.gap;
    while !left.is_zero() {
        heed(&options.interrupted)?;
        let piece = left.min(PIECE);
        std::thread::sleep(piece);
        left -= piece;
    }
    heed(&options.interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_each_place_in_a_turn_and_follows_each_other_one() {
        let turns: Vec<Vec<usize>> = (0..6).map(|run| turn(run, 3)).collect();
        for tool in 0..3 {
            for place in 0..3 {
                assert!(turns.iter().any(|turn| turn[place] == tool), "{tool} at {place}");
            }
            for other in (0..3).filter(|other| *other != tool) {
                let follows = |turn: &Vec<usize>| turn.windows(2).any(|two| two == [other, tool]);
                assert!(turns.iter().any(follows), "{tool} after {other}");
            }
        }
    }
}
