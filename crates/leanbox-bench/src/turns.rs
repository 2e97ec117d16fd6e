//! Single starts from a full reserve, in turns with the floors and `classic`, so that what the
//! machine does meanwhile meets all of them; a block of the mode's floor before and after. It
//! goes on until every median is known well enough.

use crate::folder::Folder;
use crate::subject::Floors;
use crate::workload::Workload;
use crate::{Options, is_median_sure};
use leanbox::Result;
use leanbox::floor::FloorKind;
use std::time::{Duration, Instant};

/// Turns at least.
const TURNS_MIN: usize = 10;
/// Turns at most, however unsure the medians are.
const TURNS_MAX: usize = 100;
/// No turn begins after that time.
const TIME_MAX: Duration = Duration::from_secs(10);
/// How near the ends of a median's confidence interval have to be.
const SURE: f64 = 0.02;
/// Single starts in each turn.
const STARTS_PER_TURN: usize = 40;
/// First instructions in each turn.
const FIRSTS_PER_TURN: usize = 20;
/// Floors in each turn.
const FLOORS_PER_TURN: usize = 100;
/// Starts of `classic` in each turn.
const CLASSICS_PER_TURN: usize = 50;
/// Floors in the blocks before and after.
const BLOCK: usize = 1000;

/// The samples of all turns.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    pub(crate) vfork: Vec<Duration>,
    pub(crate) vfork_exec: Vec<Duration>,
    pub(crate) fork: Vec<Duration>,
    pub(crate) starts: Vec<Duration>,
    /// Until a container's first instruction, of other starts: these ask for the clock twice.
    pub(crate) first: Vec<Duration>,
    /// The fork mode called by the floors' process.
    pub(crate) small: Vec<Duration>,
    pub(crate) classic: Vec<Duration>,
    /// The mode's floor before the first turn and after the last.
    pub(crate) before: Vec<Duration>,
    pub(crate) after: Vec<Duration>,
    pub(crate) count: usize,
    /// Whether every median is sure.
    pub(crate) converged: bool,
}

impl Turns {
    /// Measures.
    pub(crate) fn measure(options: &Options, workload: &Workload, root: &Folder) -> Result<Self> {
        let kinds = [FloorKind::Vfork, FloorKind::VforkExec, FloorKind::Fork, FloorKind::Classic];
        let [vfork, vfork_exec, fork, classic] = kinds.map(|kind| Floors::prepare(kind, root));
        let (vfork, vfork_exec, fork, classic) = (vfork?, vfork_exec?, fork?, classic?);
        let floor = match options.mode.floor() {
            FloorKind::VforkExec => &vfork_exec,
            FloorKind::Fork => &fork,
            _ => &vfork,
        };
        let mut turns = Self { before: floor.measure(BLOCK)?, ..Self::default() };
        let begin = Instant::now();
        while !options.is_stopped() && !turns.is_enough(options.turns, begin.elapsed()) {
            let floors = [&vfork, &vfork_exec, &fork, &classic];
            match turns.one(workload, floors) {
                // whatever was under way when it was to end
                Err(_) if options.is_stopped() => break,
                result => result?,
            }
        }
        turns.converged = turns.is_sure();
        turns.after = floor.measure(BLOCK)?;
        Ok(turns)
    }

    fn one(&mut self, workload: &Workload, floors: [&Floors; 4]) -> Result<()> {
        let [vfork, vfork_exec, fork, classic] = floors;
        self.vfork.extend(vfork.measure(FLOORS_PER_TURN)?);
        self.vfork_exec.extend(vfork_exec.measure(FLOORS_PER_TURN)?);
        self.fork.extend(fork.measure(FLOORS_PER_TURN)?);
        let mut starter = workload.starter();
        for _ in 0..STARTS_PER_TURN {
            workload.settle()?;
            self.starts.push(starter.once()?);
        }
        let mut starter = workload.starter();
        for _ in 0..FIRSTS_PER_TURN {
            workload.settle()?;
            self.first.extend(starter.first_instruction()?);
        }
        self.small.extend(workload.once_by(&fork.floor, STARTS_PER_TURN)?);
        self.classic.extend(classic.measure(CLASSICS_PER_TURN)?);
        self.count += 1;
        Ok(())
    }

    fn is_enough(&self, asked: Option<usize>, elapsed: Duration) -> bool {
        match asked {
            Some(turns) => self.count >= turns,
            None if self.count < TURNS_MIN => false,
            None => self.count >= TURNS_MAX || elapsed >= TIME_MAX || self.is_sure(),
        }
    }

    fn is_sure(&self) -> bool {
        let rows = [&self.vfork, &self.vfork_exec, &self.fork, &self.starts, &self.classic];
        let small = Some(&self.small).filter(|small| !small.is_empty());
        rows.into_iter().chain(small).all(|row| is_median_sure(row, SURE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_until_every_median_is_sure_or_a_bound_is_reached() {
        let same = || vec![Duration::from_micros(20); 400];
        let mut turns = Turns {
            vfork: same(),
            vfork_exec: same(),
            fork: same(),
            starts: same(),
            classic: (1..=400).map(Duration::from_micros).collect(),
            count: TURNS_MIN,
            ..Turns::default()
        };
        assert!(!turns.is_enough(None, Duration::ZERO));
        assert!(turns.is_enough(None, TIME_MAX));
        assert!(turns.is_enough(Some(3), Duration::ZERO));
        turns.classic = same();
        assert!(turns.is_enough(None, Duration::ZERO) && turns.is_sure());
        turns.small = vec![Duration::from_micros(1)];
        assert!(!turns.is_sure());
        turns.count = TURNS_MAX;
        assert!(turns.is_enough(None, Duration::ZERO));
    }
}
