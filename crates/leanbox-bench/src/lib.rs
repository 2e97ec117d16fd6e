//! The benchmarks of leanbox: how long a start takes and how many a second it makes, beside
//! the floors a kernel sets and beside `classic`, the original's critical path, in one run.
//!
//! In: [`Options`]. Out: the original's lines while it runs, then a [`Report`]. Sorts of start
//! and policies are never mixed in one report.
#![forbid(unsafe_code)]

mod classic;
mod cold;
mod leaks;
pub mod page;
mod report;
mod start;
mod statistics;
mod workload;

pub use cold::{Cold, ColdRow, compare};
pub use report::Report;
pub use start::run;
pub use statistics::Summary;

use std::time::Duration;

/// What a container does before it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Exits at once without executing anything: the original's critical path.
    Noop,
    /// Executes the do-nothing program.
    Exec,
    /// The call that returns twice; no security boundary.
    Fork,
}

impl Mode {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::Exec => "exec",
            Self::Fork => "fork",
        }
    }
}

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long the sustained loop runs.
    pub duration: Duration,
    /// What a container does.
    pub mode: Mode,
    /// Whether slots serve once or again.
    pub policy: leanbox::Policy,
    /// Bind driver, keeper and slots to one CPU.
    pub pin: Option<u32>,
    /// Stands before each line, as `@name`.
    pub name: Option<String>,
}
