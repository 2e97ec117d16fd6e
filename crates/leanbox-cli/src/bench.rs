//! `leanbox bench`: one verb for each thing that is measured.

mod compare;
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
    /// Compare with other tools, whichever are installed, at three levels, in turns
    Compare(compare::Args),
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Start(args) => start::run(args),
        What::Compare(args) => compare::run(args),
    }
}

/// A report as one JSON object.
fn json(report: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(report).map_err(|error| Error::invalid(format!("report: {error}")))
}
