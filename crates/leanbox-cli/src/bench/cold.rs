//! `leanbox bench cold`: whole processes.

use leanbox::{Error, Result};
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `leanbox bench cold`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many of each tool
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The pause before each, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    gap_ms: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let own = std::env::current_exe().map_err(|error| Error::io("/proc/self/exe", &error))?;
    let found =
        leanbox_bench::compare(&own, args.runs as usize, Duration::from_millis(args.gap_ms))?;
    crate::say(&if args.json { super::json(&found)? } else { found.to_string() });
    Ok(ExitCode::SUCCESS)
}
