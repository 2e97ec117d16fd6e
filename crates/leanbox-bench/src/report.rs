//! What `bench start` found, for people and as JSON.

use crate::Mode;
use crate::machine::Machine;
use crate::statistics::Summary;
use serde::Serialize;
use std::fmt;

/// One benchmark's result.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// `start`.
    pub benchmark: &'static str,
    /// Where, with what, and how quiet it was.
    pub machine: Machine,
    /// What a container did.
    pub mode: Mode,
    /// `once`, `reuse`, or `shared` for the fork mode.
    pub policy: String,
    /// The CPU everything was bound to.
    pub pinned_cpu: Option<u32>,
    /// Driver processes in the sustained loop, each with a pool of its own.
    pub processes: usize,
    /// Threads in each, which shared its pool.
    pub threads: usize,
    /// It was ended before its time; what was not measured is 0.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// Containers started in the sustained loop.
    pub starts: u64,
    /// How long that loop ran.
    pub seconds: f64,
    /// Start to outcome from a full reserve, nothing else going on.
    pub p50_us: f64,
    /// Likewise.
    pub p99_us: f64,
    /// Likewise.
    pub max_us: f64,
    /// Starts a second in the loop, making, reset and teardown of slots included.
    pub sustained_per_second: f64,
    /// CPUs of the whole machine that were busy while the loop ran.
    pub cpus_used: f64,
    /// The mode's floor: vfork for `noop`, fork for `fork`, else vfork+exec.
    pub floor_p50_us: f64,
    /// The original's critical path.
    pub classic_p50_us: f64,
    /// `p50_us` in floors.
    pub ratio_to_floor: f64,
    /// The median cycle of the loop in floors.
    pub cycle_ratio_to_floor: f64,
    /// How many times `classic` takes as long.
    pub times_faster_than_classic: f64,
    /// Descriptors, mounts, processes, groups and records left behind.
    pub leaked: usize,
    /// Processes the kernel counted while the loop ran, others on the machine included.
    pub kernel_processes: u64,
    /// Turns of floors, single starts and `classic`.
    pub turns: usize,
    /// Whether the 95 % confidence interval of every median is within 2 % of it.
    pub converged: bool,
    /// Start to outcome in the sustained loop; with a rate, from the intended start.
    pub sustained: Summary,
    /// From one start to the next in a closed loop, making or reset included.
    pub cycle: Summary,
    /// Where arrivals had a rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_loop: Option<OpenLoop>,
    /// Where slots are reused: runs that dirty their scratch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dirty: Option<Dirty>,
    /// `clone(CLONE_VM|CLONE_VFORK)`, exit, wait.
    pub vfork: Summary,
    /// The same with execve(2) of the do-nothing program.
    pub vfork_exec: Summary,
    /// fork(2), exit, wait.
    pub fork: Summary,
    /// The mode's floor in a block before the first turn.
    pub floor_before: Summary,
    /// The same after the last.
    pub floor_after: Summary,
    /// The original's critical path.
    pub classic: Summary,
    /// The fork mode called by a process of the size of `classic`'s, not by this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fork_of_small: Option<Summary>,
    /// From a start, out of a full reserve, until the container's first instruction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_instruction: Option<Summary>,
    /// `first_instruction` in vfork floors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_instruction_ratio_to_vfork: Option<f64>,
    /// Start to outcome from a full reserve, beside the mode's floor and `classic`.
    pub distribution: Distribution,
}

/// Arrivals at a rate, whether starts keep up or not.
#[derive(Debug, Clone, Default, Serialize)]
pub struct OpenLoop {
    /// Arrivals a second that were asked for, of all drivers together (a Poisson process).
    pub offered_rate: f64,
    /// Starts a second that were made.
    pub achieved_rate: f64,
    /// How many arrived.
    pub arrivals: u64,
    /// Began more than a millisecond after their time.
    pub late: u64,
    /// Were given up a second after the last arrival, charged with the time they had waited.
    pub unserved: u64,
    /// Containers that may run at once in each driver process.
    pub waiters: usize,
    /// From the intended start to the outcome.
    #[serde(flatten)]
    pub latency: Summary,
    /// How long the tail is.
    pub p99_over_p50: f64,
}

/// Runs that leave a file in `/tmp`, in a closed loop.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Dirty {
    /// Start to outcome.
    pub start: Summary,
    /// From one start to the next: with the reset that has to clean.
    pub cycle: Summary,
    /// The median cycle in vfork + exec floors.
    pub cycle_ratio_to_floor: f64,
}

/// `[quantile, microseconds]`, each from the least to the most.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Distribution {
    /// Start to outcome from a full reserve.
    pub leanbox: Vec<[f64; 2]>,
    /// The mode's floor.
    pub floor: Vec<[f64; 2]>,
    /// The original's critical path.
    pub classic: Vec<[f64; 2]>,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.machine)?;
        self.head(out)?;
        if self.turns > 0 {
            self.rows(out)?;
            self.ratios(out)?;
        }
        self.sustained(out)?;
        let (starts, counted) = (self.starts, self.kernel_processes);
        writeln!(out, "{starts} starts claimed, {counted} processes counted by the kernel")?;
        let leaked = if self.leaked == 0 { "nothing".into() } else { self.leaked.to_string() };
        write!(out, "leaked: {leaked}")
    }
}

impl Report {
    fn head(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pinned =
            self.pinned_cpu.map_or("not pinned".into(), |cpu| format!("pinned to CPU {cpu}"));
        write!(out, "mode {}, policy {}, {pinned}", self.mode.name(), self.policy)?;
        match (self.processes, self.threads) {
            (1, 1) => writeln!(out),
            (processes, threads) => {
                writeln!(out, "; {processes} driver processes of {threads} threads in the loop")
            }
        }
    }

    fn rows(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99, max) = (self.p50_us, self.p99_us, self.max_us);
        row(out, "start to outcome, from a full reserve", p50, p99, max)?;
        let in_loop = match self.open_loop {
            Some(_) => "intended start to outcome, at that rate",
            None => "start to outcome, in the loop",
        };
        let some = |summary: Summary| (summary.count > 0).then_some(summary);
        let rows = [
            ("start to first instruction, full reserve", self.first_instruction),
            (in_loop, some(self.sustained)),
            ("start to next start, in the loop", some(self.cycle)),
            ("floor: vfork + exit + wait", Some(self.vfork)),
            ("floor: vfork + exec + wait", Some(self.vfork_exec)),
            ("floor: fork + exit + wait", Some(self.fork)),
            ("the mode's floor, in a block before", Some(self.floor_before)),
            ("the mode's floor, in a block after", some(self.floor_after)),
            ("classic: the original's critical path", Some(self.classic)),
            ("from a process of classic's size", self.fork_of_small),
            ("start to outcome, scratch dirtied", self.dirty.as_ref().map(|dirty| dirty.start)),
            ("start to next start, scratch dirtied", self.dirty.as_ref().map(|dirty| dirty.cycle)),
        ];
        for (name, summary) in rows {
            if let Some(Summary { p50_us, p99_us, max_us, .. }) = summary {
                row(out, name, p50_us, p99_us, max_us)?;
            }
        }
        Ok(())
    }

    fn ratios(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let floor = self.mode.floor_name();
        let (ratio, times) = (self.ratio_to_floor, self.times_faster_than_classic);
        writeln!(
            out,
            "ratio to the {floor} floor {ratio:.2}, {times:.1} times faster than classic"
        )?;
        if let Some(ratio) = self.first_instruction_ratio_to_vfork {
            writeln!(out, "start to first instruction: ratio {ratio:.2} to the vfork floor")?;
        }
        if self.cycle.count > 0 {
            let ratio = self.cycle_ratio_to_floor;
            write!(out, "start to next start: ratio {ratio:.2}")?;
            match &self.dirty {
                Some(Dirty { cycle_ratio_to_floor: ratio, .. }) => {
                    writeln!(out, "; scratch dirtied: ratio {ratio:.2} to the vfork + exec floor")?;
                }
                None => writeln!(out)?,
            }
        }
        if let Some(small) = self.fork_of_small {
            let (ratio, times) =
                (small.p50_us / self.floor_p50_us, self.classic_p50_us / small.p50_us);
            writeln!(
                out,
                "from a process of classic's size: ratio {ratio:.2}, {times:.1} times faster"
            )?;
        }
        let sure = if self.converged { "every" } else { "not every" };
        writeln!(out, "{} turns, {sure} median known within 2 %", self.turns)
    }

    fn sustained(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rate, cpus) = (self.sustained_per_second, self.cpus_used);
        if let Some(open) = &self.open_loop {
            let OpenLoop { offered_rate, arrivals, late, unserved, p99_over_p50, .. } = open;
            writeln!(
                out,
                "open loop: {offered_rate:.0} a second offered, {rate:.0} achieved; of {arrivals} \
                 arrivals {late} began late, {unserved} never; p99 {p99_over_p50:.1} times p50"
            )?;
            return Ok(());
        }
        writeln!(
            out,
            "sustained {rate:.0} starts per second, making and teardown included, \
             {cpus:.1} CPUs busy"
        )
    }
}

fn row(out: &mut fmt::Formatter<'_>, name: &str, p50: f64, p99: f64, max: f64) -> fmt::Result {
    writeln!(out, "  {name:<40} p50 {p50:9.1} us   p99 {p99:9.1} us   max {max:9.1} us")
}
