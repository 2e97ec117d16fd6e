//! `leanbox bench`: one verb for each thing that is measured.

mod cold;
mod report;
mod start;

use clap::Subcommand;
use leanbox::{Error, Result};
use std::process::ExitCode;

/// Arguments of `leanbox bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Start containers one after the other and print how many and how fast, once a second
    Start(start::Args),
    /// Time `leanbox run` as a whole process, in turns with crun and bwrap where installed
    Cold(cold::Args),
    /// Make one HTML page with tables and charts of what other benchmarks wrote with --json
    Report(report::Args),
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Start(args) => start::run(args),
        What::Cold(args) => cold::run(args),
        What::Report(args) => report::run(args),
    }
}

/// A report as one JSON object.
fn json(report: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(report).map_err(|error| Error::invalid(format!("report: {error}")))
}
