//! `leanbox bench sweep`: throughput over the number of driver processes.

use super::PolicyName;
use clap::ValueEnum;
use leanbox::{Error, Policy, Result};
use leanbox_bench::{Mode, Options};
use std::process::ExitCode;

/// Arguments of `leanbox bench sweep`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Numbers of driver processes, each with a pool of its own
    #[arg(long, value_name = "N,N...", value_delimiter = ',', value_parser = super::count)]
    #[arg(default_value = "1,2,6,10,12,16,24,64", allow_negative_numbers = true)]
    processes: Vec<usize>,
    /// How long each is measured, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, allow_negative_numbers = true)]
    seconds: f64,
    /// What a container does before it ends
    #[arg(long, value_enum, default_value_t = ModeName::Noop)]
    mode: ModeName,
    /// Whether slots serve once (a fresh one for each start), again after a reset, or share their
    /// namespaces; the fork mode has none [default: reuse]
    #[arg(long, value_enum)]
    policy: Option<PolicyName>,
    /// Slots kept ready in each process [default: as the policy needs]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = super::count)]
    reserve: Option<usize>,
    /// Bind everything to this CPU
    #[arg(long, value_name = "CPU")]
    pin: Option<u32>,
    /// Print one JSON object instead of the table (which goes to standard error)
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeName {
    /// Exit at once: the original's critical path
    Noop,
    /// Execute a do-nothing program
    Exec,
    /// The call that returns twice, in namespaces shared by all
    Fork,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mode = match args.mode {
        ModeName::Noop => Mode::Noop,
        ModeName::Exec => Mode::Exec,
        ModeName::Fork => Mode::Fork,
    };
    if mode == Mode::Fork && args.policy.is_some() {
        return Err(Error::invalid("--mode fork has no slots, and so no --policy"));
    }
    let options = Options {
        duration: super::seconds(args.seconds)?,
        mode,
        policy: args.policy.map_or(Policy::Reuse, PolicyName::policy),
        reserve: args.reserve,
        pin: args.pin,
        ..super::options()?
    };
    let found = leanbox_bench::sweep(&options, &args.processes, |line| {
        if args.json { crate::tell(line) } else { crate::say(line) }
    })?;
    crate::say(&if args.json { super::json(&found)? } else { found.to_string() });
    Ok(super::exit_code(found.leaked == 0))
}
