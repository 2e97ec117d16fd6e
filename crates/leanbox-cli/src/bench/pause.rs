//! `leanbox bench pause`: how long pausing and resuming a container takes.

use leanbox::Result;
use leanbox_bench::Options;
use std::process::ExitCode;

/// Arguments of `leanbox bench pause`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Numbers of processes in the container, one container for each
    #[arg(long, value_name = "N,N...", value_delimiter = ',', value_parser = super::count)]
    #[arg(default_value = "1,10,100", allow_negative_numbers = true)]
    processes: Vec<usize>,
    /// Bind everything to this CPU
    #[arg(long, value_name = "CPU")]
    pin: Option<u32>,
    /// Print one JSON object instead of the table (which goes to standard error)
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let options = Options { pin: args.pin, ..super::options()? };
    let found = leanbox_bench::pause(&options, &args.processes, |line| {
        if args.json { crate::tell(line) } else { crate::say(line) }
    })?;
    crate::say(&if args.json { super::json(&found)? } else { found.to_string() });
    Ok(super::exit_code(true))
}
