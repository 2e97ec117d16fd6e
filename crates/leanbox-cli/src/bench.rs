//! `leanbox bench`: one verb for each thing that is measured.

mod cluster;
mod cold;
mod original;
mod password;
mod start;
mod sync;

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
    /// Run the same benchmark on many hosts at once, over ssh
    Cluster(cluster::Args),
    /// Copy this program to hosts, also under the name of the original's benchmark
    Sync(sync::Args),
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let result = match &args.what {
        What::Start(args) => start::run(args),
        What::Cold(args) => cold::run(args),
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
