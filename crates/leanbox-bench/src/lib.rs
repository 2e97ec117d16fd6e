//! The benchmarks of leanbox: how long a start takes and how many a second it makes, beside
//! the floors a kernel sets and beside `classic`, the original's critical path, in one run.
//!
//! In: [`Options`]. Out: the original's lines while it runs, then a [`Report`]. Sorts of start
//! and policies are never mixed in one report.
#![forbid(unsafe_code)]

mod barrier;
mod classic;
mod closed_loop;
pub mod cluster;
pub mod compare;
mod cpu;
mod driver;
mod drivers;
mod folder;
mod growth;
mod growth_report;
mod held;
mod leaks;
mod machine;
mod memory;
mod open_loop;
mod options;
pub mod page;
mod pause;
mod report;
mod second;
mod start;
mod start_line;
mod statistics;
mod subject;
mod sweep;
mod turns;
mod workload;

pub use barrier::READY;
pub use closed_loop::closed_loop;
pub use driver::drive;
pub use growth::{GrowthOptions, growth};
pub use growth_report::{Growth, GrowthRow, Tenth};
pub use held::Held;
pub use machine::{Machine, Noise, Watch};
pub use memory::Grown;
pub use options::{InRoot, Mode, Options};
pub use pause::{PauseRow, Pauses, pause};
pub use report::{Dirty, Distribution, OpenLoop, Report};
pub use second::{Second, Totals};
pub use start::{run, sustained};
pub use statistics::{Summary, distribution, is_median_sure};
pub use sweep::{Peak, Peaks, Sweep, SweepRow, Throughput, sweep};

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

/// Set by a signal handler: loops end early, print what there is, and leave nothing behind.
pub static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Whether a signal came.
#[must_use]
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
