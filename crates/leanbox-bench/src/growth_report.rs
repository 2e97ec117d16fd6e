//! What `bench growth` found, for people and as JSON.

use crate::Options;
use crate::held::Held;
use crate::machine::Machine;
use crate::memory::Grown;
use serde::Serialize;
use std::fmt;

/// One run's result.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Growth {
    /// `growth`.
    pub benchmark: &'static str,
    /// Where, with what, and how quiet it was.
    pub machine: Machine,
    /// `once` or `reuse`.
    pub policy: String,
    /// `none` (a network namespace each) or `host`.
    pub network: &'static str,
    /// The CPU everything was bound to.
    pub pinned_cpu: Option<u32>,
    /// It was ended before its time.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// For each number of containers, idle and live.
    pub rows: Vec<GrowthRow>,
    /// Each tenth of the starts in a row.
    pub starts: Vec<Tenth>,
    /// How many they were.
    pub total_starts: u64,
    /// How long they took.
    pub total_seconds: f64,
    /// The rate of the last tenth over that of the first.
    pub last_to_first: f64,
    /// The same, each rate in starts per vfork floor of its tenth.
    pub last_to_first_by_floor: f64,
    /// What was held before them, the pool's reserve and recycled groups included.
    pub before: Held,
    /// The same after them.
    pub after: Held,
    /// Objects left behind when the pool was gone.
    pub leaked: usize,
}

/// That many containers at once.
#[derive(Debug, Clone, Default, Serialize)]
pub struct GrowthRow {
    /// How many.
    pub containers: usize,
    /// `idle`: slots that wait for a start; `live`: containers that run and sleep.
    pub state: &'static str,
    /// Single starts beside them, from a full reserve.
    pub starts: usize,
    /// Half of the starts took less.
    pub p50_us: f64,
    /// 99 % took less.
    pub p99_us: f64,
    /// The vfork floor between them: half took less.
    pub floor_us: f64,
    /// What the machine has less of for each, by `MemAvailable`.
    pub memory_kib_each: f64,
    /// The same by `MemFree`, with what the kernel could give back.
    pub memory_free_kib_each: f64,
    /// Where it went: what grew most.
    pub grown: Vec<Grown>,
}

/// A tenth of the starts in a row.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Tenth {
    /// Which, from 1.
    pub tenth: u64,
    /// How many.
    pub starts: u64,
    /// Starts a second.
    pub rate: f64,
    /// The vfork floor between them: half took less.
    pub floor_us: f64,
}

impl Growth {
    pub(crate) fn of(options: &Options) -> Self {
        Self {
            benchmark: "growth",
            policy: options.policy_name().into(),
            network: if options.host_network { "host" } else { "none" },
            pinned_cpu: options.pin,
            ..Self::default()
        }
    }
}

impl GrowthRow {
    pub(crate) fn head() -> String {
        format!(
            "containers  state  {:>12} {:>12} {:>12}  {:>22}  {:>14}",
            "p50", "p99", "vfork floor", "KiB each, MemAvailable", "by MemFree"
        )
    }

    pub(crate) fn line(&self) -> String {
        let Self { containers, state, p50_us, p99_us, floor_us, .. } = self;
        let (available, free) = (self.memory_kib_each, self.memory_free_kib_each);
        format!(
            "{containers:>10}  {state:<5}  {p50_us:>9.1} us {p99_us:>9.1} us \
             {floor_us:>9.1} us  {available:>22.1}  {free:>14.1}"
        )
    }
}

impl fmt::Display for Growth {
    /// What is to be said after the rows and tenths.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.machine)?;
        writeln!(out, "mode noop, policy {}, network {}", self.policy, self.network)?;
        for state in ["idle", "live"] {
            self.state(out, state)?;
        }
        let (last, total) = (self.last_to_first, self.total_starts);
        writeln!(
            out,
            "{total} starts in {:.1} s, the last tenth at {last:.3} times the rate of the first, \
             {:.3} times measured in floors",
            self.total_seconds, self.last_to_first_by_floor
        )?;
        self.held(out)?;
        match self.leaked {
            0 => write!(out, "leaked: nothing"),
            some => write!(out, "leaked: {some}"),
        }
    }
}

impl Growth {
    /// How a start grew from the fewest to the most, and where the memory of the most is.
    fn state(&self, out: &mut fmt::Formatter<'_>, state: &str) -> fmt::Result {
        let rows = || self.rows.iter().filter(|row| row.state == state);
        let fewest = rows().min_by_key(|row| row.containers);
        let most = rows().max_by_key(|row| row.containers);
        let (Some(fewest), Some(most)) = (fewest, most) else { return Ok(()) };
        let ratio = most.p50_us / fewest.p50_us;
        let by_floor = ratio * fewest.floor_us / most.floor_us;
        let (many, few) = (most.containers, fewest.containers);
        writeln!(
            out,
            "a start with {many} {state} takes {ratio:.2} times that with {few}, \
             {by_floor:.2} times measured in floors"
        )?;
        let grown = most.grown.iter().map(|grown| format!("{} {:.1}", grown.what, grown.kib_each));
        let grown: Vec<String> = grown.collect();
        writeln!(out, "what grew most, KiB each: {}", grown.join(", "))
    }

    fn held(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (self.before, self.after);
        let pairs = [
            ("descriptors", before.descriptors, after.descriptors),
            ("mounts", before.mounts, after.mounts),
            ("groups", before.groups, after.groups),
            ("records", before.records, after.records),
            ("processes", before.processes, after.processes),
            ("namespaces", before.namespaces, after.namespaces),
        ];
        let pairs = pairs.map(|(what, then, now)| format!("{what} {then} -> {now}"));
        let memory = format!(
            "host {} -> {} KiB, keeper {} -> {} KiB resident",
            before.host_rss_kib, after.host_rss_kib, before.keeper_rss_kib, after.keeper_rss_kib
        );
        writeln!(out, "{}, {memory}", pairs.join(", "))
    }
}
