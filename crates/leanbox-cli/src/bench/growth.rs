//! `leanbox bench growth`: very many containers, very many starts.

use super::PolicyName;
use clap::ValueEnum;
use leanbox::Result;
use leanbox_bench::{GrowthOptions, Options};
use std::process::ExitCode;

/// Arguments of `leanbox bench growth`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Numbers of containers, first idle, then live
    #[arg(long, value_name = "N,N...", value_delimiter = ',', value_parser = super::count)]
    #[arg(default_value = "1,10,100,1000", allow_negative_numbers = true)]
    containers: Vec<usize>,
    /// Starts in a row after them
    #[arg(long, value_name = "N", default_value_t = 1_000_000, allow_negative_numbers = true)]
    #[arg(value_parser = super::count)]
    starts: usize,
    /// End the starts in a row after this time, in seconds [default: never]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    seconds: Option<f64>,
    /// Whether slots serve once (a fresh one for each start), again after a reset, or share their
    /// namespaces
    #[arg(long, value_enum, default_value_t = PolicyName::Once)]
    policy: PolicyName,
    /// The network of a slot
    #[arg(long, value_enum, default_value_t = NetworkName::None)]
    network: NetworkName,
    /// Bind everything to this CPU
    #[arg(long, value_name = "CPU")]
    pin: Option<u32>,
    /// Print one JSON object instead of the table (which goes to standard error)
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NetworkName {
    /// A namespace of its own, with loopback only
    None,
    /// The host's
    Host,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let wanted = GrowthOptions {
        options: Options {
            policy: PolicyName::policy(args.policy),
            host_network: args.network == NetworkName::Host,
            pin: args.pin,
            ..super::options()?
        },
        containers: args.containers.clone(),
        starts: args.starts as u64,
        time: args.seconds.map(super::seconds).transpose()?,
    };
    let found = leanbox_bench::growth(&wanted, |line| {
        if args.json { crate::tell(line) } else { crate::say(line) }
    })?;
    crate::say(&if args.json { super::json(&found)? } else { found.to_string() });
    Ok(super::exit_code(found.leaked == 0))
}
