//! `leanbox bench start`: the benchmark of a start, with the original's lines.

use clap::{Subcommand, ValueEnum};
use leanbox::{Policy, Result};
use leanbox_bench::{Mode, Options};
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `leanbox bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Start containers one after the other and print how many and how fast, once a second
    Start(Start),
}

#[derive(Debug, clap::Args)]
struct Start {
    /// How long the loop runs, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    seconds: f64,
    /// What a container does before it ends
    #[arg(long, value_enum, default_value_t = ModeName::Noop)]
    mode: ModeName,
    /// Whether slots serve once (a fresh one for each start) or again after a reset
    #[arg(long, value_enum, default_value_t = PolicyName::Once)]
    policy: PolicyName,
    /// Bind the driver and its slots to this CPU: for ratios
    #[arg(long, value_name = "CPU")]
    pin: Option<u32>,
    /// Put @NAME before each line
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Print one JSON object instead of the block (the lines go to standard error)
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeName {
    /// Exit at once: the original's critical path
    Noop,
    /// Execute a do-nothing program
    Exec,
    /// The call that returns twice, in namespaces shared by all
    Fork,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PolicyName {
    /// A fresh slot for every start
    Once,
    /// Slots serve again after a reset
    Reuse,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let What::Start(start) = &args.what;
    let duration = Duration::try_from_secs_f64(start.seconds).map_err(|_| {
        leanbox::Error::invalid(format!("--seconds {}: a number above 0", start.seconds))
    })?;
    let options = Options {
        duration,
        mode: match start.mode {
            ModeName::Noop => Mode::Noop,
            ModeName::Exec => Mode::Exec,
            ModeName::Fork => Mode::Fork,
        },
        policy: match start.policy {
            PolicyName::Once => Policy::Once,
            PolicyName::Reuse => Policy::Reuse,
        },
        pin: start.pin,
        name: start.name.clone(),
    };
    let report = leanbox_bench::run(&options, |line| {
        if start.json { eprintln!("{line}") } else { crate::say(line) }
    })?;
    let text = if start.json {
        serde_json::to_string(&report)
            .map_err(|error| leanbox::Error::invalid(format!("report: {error}")))?
    } else {
        report.to_string()
    };
    crate::say(&text);
    Ok(if report.leaked == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
