//! `leanbox bench`: one verb for each thing that is measured.

mod cluster;
mod compare;
mod driver;
mod growth;
mod original;
mod password;
mod pause;
mod report;
mod start;
mod sweep;
mod sync;

use crate::images;
use clap::{Subcommand, ValueEnum};
use leanbox::{Error, Policy, Result};
use leanbox_bench::Options;
use leanbox_image::INTERRUPTED;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The longest loop: ten days.
const SECONDS_MAX: f64 = 864_000.0;

/// Arguments of `leanbox bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Start containers one after the other and print how many and how fast, once a second
    Start(Box<start::Args>),
    /// Throughput over the number of driver processes, beside classic and the floors
    Sweep(sweep::Args),
    /// Start latency and memory with very many containers, and over very many starts
    Growth(growth::Args),
    /// How long pausing and resuming take, over the number of processes in a container
    Pause(pause::Args),
    /// Compare with other tools, whichever are installed, at three levels, in turns
    Compare(compare::Args),
    /// Run the same benchmark on many hosts at once, over ssh
    Cluster(cluster::Args),
    /// Copy this program to hosts, also under the name of the original's benchmark
    Sync(sync::Args),
    /// Make one HTML page with tables and charts of what other benchmarks wrote with --json
    Report(report::Args),
    #[command(hide = true)]
    Driver,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PolicyName {
    /// A fresh slot for every start
    Once,
    /// Slots serve again after a reset
    Reuse,
    /// All containers in one set of namespaces, as the original has them: weak
    Shared,
}

impl PolicyName {
    fn policy(self) -> Policy {
        match self {
            Self::Once => Policy::Once,
            Self::Reuse => Policy::Reuse,
            Self::Shared => Policy::Shared,
        }
    }
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let result = match &args.what {
        What::Start(args) => start::run(args),
        What::Sweep(args) => sweep::run(args),
        What::Growth(args) => growth::run(args),
        What::Pause(args) => pause::run(args),
        What::Compare(args) => compare::run(args),
        What::Report(args) => report::run(args),
        What::Driver => Ok(driver::run()),
        What::Cluster(args) => cluster::run(args),
        What::Sync(args) => sync::run(args),
    };
    result.or_else(|error| match original::interrupted() {
        Some(code) => {
            crate::tell(&format!("leanbox: {error}"));
            Ok(code)
        }
        None => Err(error),
    })
}

/// What this program is under another name: the original's benchmark, or what ssh asks.
pub(crate) fn by_other_name() -> Option<ExitCode> {
    let name = std::env::args_os().next()?;
    match std::path::Path::new(&name).file_name()?.to_str()? {
        original::NAME => Some(original::run()),
        cluster::ASKED_BY_SSH => Some(cluster::answer_ssh()),
        _ => None,
    }
}

/// A report as one JSON object.
fn json(report: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(report).map_err(|error| Error::invalid(format!("report: {error}")))
}

/// What every benchmark needs: a place for its groups, this program, and Ctrl-C and SIGTERM, which
/// from now on end it at its next look, with what there is.
fn options() -> Result<Options> {
    leanbox::make_room_for_groups()?;
    let program = std::env::current_exe().map_err(|error| Error::io("/proc/self/exe", &error))?;
    images::heed_interrupts()?;
    Ok(Options { program, stop: Arc::clone(&INTERRUPTED), ..Options::default() })
}

fn exit_code(is_clean: bool) -> ExitCode {
    match images::interrupted() {
        Some(code) => ExitCode::from(code),
        None if is_clean => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}

fn seconds(seconds: f64) -> Result<Duration> {
    let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
    time.filter(|_| seconds <= SECONDS_MAX).ok_or_else(|| {
        Error::invalid(format!("--seconds {seconds}: a number above 0, at most {SECONDS_MAX}"))
    })
}

/// A count above 0; how many at most is for whoever counts them.
fn count(text: &str) -> Result<usize> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| Error::invalid(format!("{text:?} is not a whole number above 0")))
}
