//! What a benchmark found, for people and as JSON.

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
    /// `noop`, `exec` or `fork`.
    pub mode: String,
    /// `once`, `reuse`, or `shared` for the fork mode.
    pub policy: String,
    /// The CPU everything was bound to.
    pub pinned_cpu: Option<u32>,
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
    /// The mode's floor: vfork for `noop`, vfork+exec for `exec`, fork for `fork`.
    pub floor_p50_us: f64,
    /// The original's critical path.
    pub classic_p50_us: f64,
    /// `p50_us` in floors.
    pub ratio_to_floor: f64,
    /// How many times `classic` takes as long.
    pub times_faster_than_classic: f64,
    /// Descriptors, mounts, processes, groups and records left behind.
    pub leaked: usize,
    /// Processes the kernel counted while the loop ran, others on the machine included.
    pub kernel_processes: u64,
    /// Start to outcome in the sustained loop.
    pub sustained: Summary,
    /// `clone(CLONE_VM|CLONE_VFORK)`, exit, wait.
    pub vfork: Summary,
    /// The same with execve(2) of the do-nothing program.
    pub vfork_exec: Summary,
    /// fork(2), exit, wait.
    pub fork: Summary,
    /// The original's critical path.
    pub classic: Summary,
    /// The fork mode called by a process of the size of `classic`'s, not by this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fork_of_small: Option<Summary>,
    /// Start to outcome from a full reserve, beside the mode's floor and `classic`.
    pub distribution: Distribution,
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
        let pinned =
            self.pinned_cpu.map_or("not pinned".into(), |cpu| format!("pinned to CPU {cpu}"));
        writeln!(out, "{}", self.machine)?;
        writeln!(out, "mode {}, policy {}, {pinned}", self.mode, self.policy)?;
        let (p50, p99, max) = (self.p50_us, self.p99_us, self.max_us);
        row(out, "start to outcome, from a full reserve", p50, p99, max)?;
        let rows = [
            ("start to outcome, in the loop", self.sustained),
            ("floor: vfork + exit + wait", self.vfork),
            ("floor: vfork + exec + wait", self.vfork_exec),
            ("floor: fork + exit + wait", self.fork),
            ("classic: the original's critical path", self.classic),
        ];
        let small = self.fork_of_small.map(|small| ("from a process of classic's size", small));
        for (name, summary) in rows.into_iter().chain(small) {
            row(out, name, summary.p50_us, summary.p99_us, summary.max_us)?;
        }
        writeln!(
            out,
            "ratio to the {} floor {:.2}, {:.1} times faster than classic",
            self.floor_name(),
            self.ratio_to_floor,
            self.times_faster_than_classic
        )?;
        if let Some(small) = self.fork_of_small {
            let (ratio, times) =
                (small.p50_us / self.floor_p50_us, self.classic_p50_us / small.p50_us);
            writeln!(
                out,
                "from a process of classic's size: ratio {ratio:.2}, {times:.1} times faster"
            )?;
        }
        writeln!(
            out,
            "sustained {:.0} starts per second, making and teardown included",
            self.sustained_per_second
        )?;
        let (starts, counted) = (self.starts, self.kernel_processes);
        writeln!(out, "{starts} starts claimed, {counted} processes counted by the kernel")?;
        write!(
            out,
            "leaked: {}",
            if self.leaked == 0 { "nothing".into() } else { self.leaked.to_string() }
        )
    }
}

impl Report {
    fn floor_name(&self) -> &'static str {
        match self.mode.as_str() {
            "exec" => "vfork + exec",
            "fork" => "fork",
            _ => "vfork",
        }
    }
}

fn row(out: &mut fmt::Formatter<'_>, name: &str, p50: f64, p99: f64, max: f64) -> fmt::Result {
    writeln!(out, "  {name:<40} p50 {p50:9.1} us   p99 {p99:9.1} us   max {max:9.1} us")
}
