//! What each benchmark's JSON says, as values: required where nothing could be said without,
//! else optional, since older versions wrote less.

use serde::Deserialize;
use serde_json::{Map, Value};

/// More rows than any benchmark writes, few enough to draw.
const ROWS_MAX: usize = 1000;
/// A number beyond is no measurement: a thousand years in microseconds are fewer.
const AMOUNT_MAX: f64 = 1e17;

/// A number that was measured: finite, not below 0.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Deserialize)]
#[serde(try_from = "f64")]
pub(crate) struct Amount(pub(crate) f64);

impl TryFrom<f64> for Amount {
    type Error = String;

    fn try_from(value: f64) -> Result<Self, String> {
        if (0.0..=AMOUNT_MAX).contains(&value) {
            Ok(Self(value))
        } else {
            Err("not a number from 0 to 1e17".into())
        }
    }
}

/// A difference: may be below 0.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub(crate) struct Change(pub(crate) f64);

impl TryFrom<f64> for Change {
    type Error = String;

    fn try_from(value: f64) -> Result<Self, String> {
        Amount::try_from(value.abs()).map(|_| Self(value))
    }
}

/// At least one row, and not too many.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Vec<T>", bound(deserialize = "T: Deserialize<'de>"))]
pub(crate) struct Rows<T>(pub(crate) Vec<T>);

impl<T> TryFrom<Vec<T>> for Rows<T> {
    type Error = String;

    fn try_from(rows: Vec<T>) -> Result<Self, String> {
        match rows.len() {
            0 => Err("no rows".into()),
            1..=ROWS_MAX => Ok(Self(rows)),
            count => Err(format!("{count} rows, more than {ROWS_MAX}")),
        }
    }
}

/// Not too many rows; perhaps none.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Vec<T>", bound(deserialize = "T: Deserialize<'de>"))]
pub(crate) struct AnyRows<T>(pub(crate) Vec<T>);

impl<T> Default for AnyRows<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> TryFrom<Vec<T>> for AnyRows<T> {
    type Error = String;

    fn try_from(rows: Vec<T>) -> Result<Self, String> {
        if rows.is_empty() { Ok(Self(rows)) } else { Rows::try_from(rows).map(|rows| Self(rows.0)) }
    }
}

/// What every report may begin with.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Head {
    pub(crate) benchmark: Option<String>,
    pub(crate) machine: Option<Map<String, Value>>,
}

/// One of the benchmarks.
#[derive(Debug, Clone)]
pub(crate) enum Benchmark {
    Start(Box<Start>),
    Sweep(Sweep),
    Growth(Growth),
    Pause(Pause),
    Compare(Compare),
    Cluster(Cluster),
}

impl Benchmark {
    /// Nothing was measured.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Growth(Growth { rows, starts, .. }) => rows.0.is_empty() && starts.0.is_empty(),
            Self::Compare(Compare { levels, sustained, burst, .. }) => {
                levels.0.is_empty() && sustained.0.is_empty() && burst.0.is_empty()
            }
            _ => false,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Start {
    pub(crate) mode: String,
    pub(crate) policy: String,
    pub(crate) pinned_cpu: Option<u32>,
    pub(crate) starts: Option<Amount>,
    pub(crate) seconds: Option<Amount>,
    pub(crate) p50_us: Amount,
    pub(crate) p99_us: Option<Amount>,
    pub(crate) max_us: Option<Amount>,
    pub(crate) sustained_per_second: Option<Amount>,
    pub(crate) cpus_used: Option<Amount>,
    pub(crate) processes: Option<Amount>,
    pub(crate) threads: Option<Amount>,
    pub(crate) interrupted: Option<bool>,
    pub(crate) floor_p50_us: Option<Amount>,
    pub(crate) classic_p50_us: Option<Amount>,
    pub(crate) leaked: Option<Amount>,
    pub(crate) sustained: Option<Times>,
    pub(crate) cycle: Option<Times>,
    pub(crate) open_loop: Option<OpenLoop>,
    pub(crate) dirty: Option<Dirty>,
    pub(crate) vfork: Option<Times>,
    pub(crate) vfork_exec: Option<Times>,
    pub(crate) fork: Option<Times>,
    pub(crate) classic: Option<Times>,
    pub(crate) fork_of_small: Option<Times>,
    pub(crate) distribution: Option<Distribution>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Times {
    pub(crate) p50_us: Option<Amount>,
    pub(crate) p99_us: Option<Amount>,
    pub(crate) max_us: Option<Amount>,
}

/// Arrivals at a rate.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct OpenLoop {
    pub(crate) offered_rate: Option<Amount>,
    pub(crate) achieved_rate: Option<Amount>,
    pub(crate) arrivals: Option<Amount>,
    pub(crate) late: Option<Amount>,
    pub(crate) unserved: Option<Amount>,
}

/// Runs that leave something to clean.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Dirty {
    pub(crate) start: Option<Times>,
    pub(crate) cycle: Option<Times>,
}

/// Pairs of a quantile (0 to 1) and microseconds.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Distribution {
    #[serde(default)]
    pub(crate) leanbox: Vec<(Amount, Amount)>,
    #[serde(default)]
    pub(crate) floor: Vec<(Amount, Amount)>,
    #[serde(default)]
    pub(crate) classic: Vec<(Amount, Amount)>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Sweep {
    pub(crate) mode: Option<String>,
    pub(crate) policy: Option<String>,
    pub(crate) seconds: Option<Amount>,
    pub(crate) pinned_cpu: Option<u32>,
    pub(crate) interrupted: Option<bool>,
    pub(crate) leaked: Option<Amount>,
    pub(crate) rows: Rows<SweepRow>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SweepRow {
    pub(crate) processes: Amount,
    pub(crate) leanbox: Option<SweepSide>,
    pub(crate) classic: Option<SweepSide>,
    pub(crate) floor: Option<SweepSide>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct SweepSide {
    pub(crate) rate: Amount,
    pub(crate) p50_us: Option<Amount>,
    pub(crate) p99_us: Option<Amount>,
    /// CPUs used.
    pub(crate) cpu: Option<Amount>,
    pub(crate) starts_per_cpu_second: Option<Amount>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Growth {
    pub(crate) mode: Option<String>,
    pub(crate) policy: Option<String>,
    pub(crate) network: Option<String>,
    pub(crate) interrupted: Option<bool>,
    pub(crate) leaked: Option<Amount>,
    #[serde(default)]
    pub(crate) rows: AnyRows<GrowthRow>,
    #[serde(default)]
    pub(crate) starts: AnyRows<GrowthTenth>,
    pub(crate) total_starts: Option<Amount>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct GrowthRow {
    pub(crate) containers: Amount,
    pub(crate) state: String,
    pub(crate) p50_us: Option<Amount>,
    pub(crate) p99_us: Option<Amount>,
    pub(crate) memory_kib_each: Option<Change>,
    pub(crate) memory_free_kib_each: Option<Change>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct GrowthTenth {
    pub(crate) tenth: Amount,
    pub(crate) rate: Amount,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Pause {
    pub(crate) policy: Option<String>,
    pub(crate) rows: Rows<PauseRow>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct PauseRow {
    pub(crate) processes: Amount,
    pub(crate) pause_p50_us: Option<Amount>,
    pub(crate) pause_p99_us: Option<Amount>,
    pub(crate) unpause_p50_us: Option<Amount>,
    pub(crate) unpause_p99_us: Option<Amount>,
    pub(crate) round_p50_us: Option<Amount>,
    pub(crate) round_p99_us: Option<Amount>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Compare {
    pub(crate) policy: Option<String>,
    #[serde(default)]
    pub(crate) program: Vec<String>,
    pub(crate) gap_ms: Option<Amount>,
    #[serde(default)]
    pub(crate) levels: AnyRows<Level>,
    #[serde(default)]
    pub(crate) absent: AnyRows<NotCompared>,
    #[serde(default)]
    pub(crate) sustained: AnyRows<Sustained>,
    #[serde(default)]
    pub(crate) burst: AnyRows<Burst>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Level {
    pub(crate) level: String,
    pub(crate) rows: Rows<ToolRow>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ToolRow {
    pub(crate) tool: String,
    pub(crate) version: Option<String>,
    pub(crate) runs: Option<Amount>,
    pub(crate) p50_us: Option<Amount>,
    pub(crate) p99_us: Option<Amount>,
    #[serde(default)]
    pub(crate) lacks: Vec<String>,
    #[serde(default)]
    pub(crate) beyond: Vec<String>,
    pub(crate) note: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct NotCompared {
    pub(crate) tool: String,
    pub(crate) level: Option<String>,
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Sustained {
    pub(crate) tool: String,
    pub(crate) rate: Amount,
    pub(crate) seconds: Option<Amount>,
    pub(crate) starts: Option<Amount>,
    pub(crate) loops: Option<Amount>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Burst {
    pub(crate) tool: String,
    pub(crate) count: Option<Amount>,
    pub(crate) reserve: Option<Amount>,
    pub(crate) last_us: Amount,
    pub(crate) p50_us: Option<Amount>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Cluster {
    pub(crate) mode: Option<String>,
    pub(crate) policy: Option<String>,
    pub(crate) hosts: Rows<Host>,
    pub(crate) total_rate: Option<Amount>,
    pub(crate) total_starts: Option<Amount>,
    pub(crate) interrupted: Option<bool>,
    pub(crate) overlap_seconds: Option<Amount>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Host {
    pub(crate) host: String,
    pub(crate) processes: Option<Amount>,
    pub(crate) starts: Option<Amount>,
    pub(crate) rate: Option<Amount>,
    pub(crate) error: Option<String>,
}
